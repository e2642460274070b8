//! Captures multiplied (`farend::traffic::mix`): every copy of what is recognised in a capture is recognised.

use std::collections::BTreeMap;
use std::path::PathBuf;

use farend::source::{Inputs, Options};
use farend::traffic::mix::{Captures, write};

use crate::support::corpus::root;
use crate::support::records::{Records, text};
use crate::support::replay::{Setup, run, run_file};

/// Remote desktops that are operated, plain IPv6, a VPN, a proxy, and work that nobody operates from outside.
const SCENES: [&str; 7] = [
    "farm_laptop",
    "rdp_tls",
    "vnc_vncauth",
    "ipv6_web_and_ssh",
    "wireguard_browse",
    "socks5",
    "negative_local_work",
];
const COPIES: u64 = 5;

/// Flows by label and findings by kind. Those that hang on whose network an address is are left out: a copy's is a neighbour.
fn recognised(records: &Records) -> BTreeMap<String, u64> {
    let mut all = BTreeMap::new();
    for flow in records.flows() {
        *all.entry(format!("flows with label {}", flow["farend"]["label"])).or_default() += 1;
    }
    for alert in records.alerts() {
        let finding = text(&alert["farend"]["finding"]);
        if !finding.ends_with("suspicious_origin") && !finding.starts_with("egress") {
            *all.entry(format!("findings {finding}")).or_default() += 1;
        }
    }
    all
}

#[test]
fn every_copy_gets_the_labels_and_findings_of_its_capture() {
    let paths: Vec<PathBuf> = SCENES.iter().map(|name| root().join(format!("pcaps/{name}.pcap"))).collect();
    let mut expected = BTreeMap::new();
    for path in &paths {
        for (what, n) in recognised(&run_file(path, &Setup::default()).records()) {
            *expected.entry(what).or_default() += n * COPIES;
        }
    }
    assert!(expected["findings remote_control"] >= 3 * COPIES, "{expected:?}");

    let captures = Captures::open(&paths).expect("the captures are there");
    let mut file = Vec::new();
    let written = write(&captures, captures.frames() * COPIES, 1, &mut file).expect("memory");
    assert_eq!(written.copies, SCENES.len() as u64 * COPIES);
    let mut source =
        Inputs::from_stream("mix.pcap", Box::new(std::io::Cursor::new(file)), &Options::default())
            .expect("no filter");
    // Copies overlap: more at a time are inspected than in one capture.
    let setup =
        Setup { limits: farend::inspect::Limits { flows: 1 << 16, bytes: 1 << 26 }, ..Setup::default() };
    let outcome = run(&mut source, &setup);
    assert_eq!(outcome.frames, written.packets);
    assert_eq!(recognised(&outcome.records()), expected);
}
