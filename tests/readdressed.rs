//! Every capture elsewhere: at random public addresses, over IPv6, on other ports. What a flow is called must not change.
//!
//! The captures of `pcaps/`, and of the corpus where there is one: every fourth, all of them with `FAREND_FULL=1`. Both
//! runs see the same frames: those that can be moved whole (not cut by a snapshot length, lengths right). What lies in
//! payloads stays: an address that FTP, STUN or SOCKS tells there is not the flow's any more, which only far ends and
//! findings may show, no label. The same holds of the inner packets of a tunnel, whose outer header alone is moved.
//!
//! Flows without label and layers are not counted: what was a broadcast, a multicast or a loopback address makes two
//! flows of one, or one of two.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::support::capture::{Capture, Taken};
use crate::support::corpus::{corpus_captures, pcaps, short};
use crate::support::frame::{GRE, ICMP};
use crate::support::readdress::{Move, is_echo};
use crate::support::records::{Records, ends, text};
use crate::support::replay::records_of;

/// One in so many captures of the corpus is taken where not all are asked for.
const SAMPLE: usize = 4;

/// Larger files are left out where not all are asked for.
const MAX_BYTES: u64 = 2 << 20;

/// The port that stays. Only a port tells a name server from other machines that are asked names in DNS's format, so
/// tunnels inside DNS are looked for there alone.
const KEPT: &[u16] = &[53];

const ADDRESSES: &str = "other addresses";
const IPV6: &str = "IPv6";
const PORTS: &str = "other ports";

/// Captures, the moves that change their verdicts, and why that is right.
const EXCEPTIONS: &[(&str, &[&str], &str)] = &[
    (
        "public/tcpdump/espudp1.pcap",
        &[PORTS],
        "ESP in UDP without its key exchange is a number and a counter, which others have too",
    ),
    ("public/zeek/cisco-fabric-path.pcap", &[ADDRESSES, IPV6], SEEN_TWICE),
    (
        "public/zeek/erspan.pcap",
        &[IPV6],
        "a pause as long as the timeout splits a flow or not, by when its shard is swept, which addresses choose",
    ),
    ("public/zeek/tunnels__tunnel-direct-bypass.pcap", &[ADDRESSES, IPV6], SEEN_TWICE),
];

const SEEN_TWICE: &str = "flows seen inside and outside of a tunnel, of which the outside alone is moved";

/// A flow's labels where it has none.
const NO_LABELS: &str = "[]";

/// How often every verdict was given: protocol, labels, layers, operated end, basis.
type Verdicts = BTreeMap<(String, String, String, String, String), u32>;

fn captures() -> Vec<PathBuf> {
    let full = std::env::var_os("FAREND_FULL").is_some_and(|v| v != "0");
    let small = |p: &PathBuf| full || std::fs::metadata(p).is_ok_and(|m| m.len() <= MAX_BYTES);
    let corpus = corpus_captures().into_iter().step_by(if full { 1 } else { SAMPLE }).filter(small);
    pcaps().into_iter().chain(corpus).collect()
}

fn moves() -> [(&'static str, Move); 3] {
    [
        (ADDRESSES, Move { seed: 11, prefixes: true, ..Move::default() }),
        (IPV6, Move { seed: 12, prefixes: true, to_v6: true, ..Move::default() }),
        (PORTS, Move { seed: 13, ports: true, keep: KEPT, ..Move::default() }),
    ]
}

/// The EtherType of a frame behind its VLAN tags, and what follows.
fn network(bytes: &[u8]) -> Option<([u8; 2], &[u8])> {
    let mut at = 12;
    while matches!(bytes.get(at..at + 2)?, [0x81, 0x00] | [0x88, 0xa8]) {
        at += 4;
    }
    Some((*bytes.get(at..)?.first_chunk()?, bytes.get(at + 2..)?))
}

/// Whether a frame is one that a move carries over as it is: whole, with lengths that are right.
fn is_whole(taken: &Taken) -> bool {
    if taken.bytes.len() < 34 || taken.wirelen as usize > taken.bytes.len() {
        return false;
    }
    let Some((kind, packet)) = network(&taken.bytes) else { return false };
    let word =
        |at: usize| packet.get(at..at + 2).map_or(0, |w| usize::from(u16::from_be_bytes([w[0], w[1]])));
    let Some(first) = packet.first() else { return false };
    match kind {
        [0x08, 0x00] => {
            let header = usize::from(first & 15) * 4;
            first >> 4 == 4 && (20..=word(2)).contains(&header) && word(2) <= packet.len()
        }
        [0x86, 0xdd] => first >> 4 == 6 && word(4) > 0 && 40 + word(4) <= packet.len(),
        _ => true,
    }
}

/// Whether IPv6 has the frame's packet too: all but ICMP that is no echo, which quotes packets of the other family, and
/// MikroTik's Ethernet over IP, which is no GRE there.
fn has_counterpart(taken: &Taken) -> bool {
    const EOIP: [u8; 4] = [0x20, 1, 0x64, 0];
    match network(&taken.bytes) {
        Some(([0x08, 0x00], packet)) => match packet[9] {
            ICMP => is_echo(packet),
            GRE => !packet[usize::from(packet[0] & 15) * 4..].starts_with(&EOIP),
            _ => true,
        },
        _ => true,
    }
}

/// The layer that frames are moved behind; the addresses behind any other stay.
const TAG: &str = "vlan";

fn verdicts(r: &Records, map: impl Fn(SocketAddr) -> SocketAddr) -> Verdicts {
    let mut all = Verdicts::new();
    for f in r.flows() {
        let ours = &f["farend"];
        let list = |key: &str| ours[key].as_array().cloned().unwrap_or_default();
        let (labels, layers) = (list("labels"), list("encapsulation"));
        if labels.is_empty() && layers.is_empty() {
            continue;
        }
        let is_inner = layers.iter().any(|layer| text(layer) != TAG);
        let end = |i: usize| if is_inner { ends(f)[i] } else { map(ends(f)[i]) };
        let operated = match ours["controlled"].as_str() {
            Some("src") => end(0).to_string(),
            Some("dest") => end(1).to_string(),
            _ => String::new(),
        };
        let proto = match text(&f["proto"]) {
            "IPv6-ICMP" => "ICMP",
            proto => proto,
        };
        let told = |v: &Value| v.to_string();
        let verdict = (
            proto.to_owned(),
            told(&ours["labels"]),
            told(&ours["encapsulation"]),
            operated,
            told(&ours["basis"]),
        );
        *all.entry(verdict).or_default() += 1;
    }
    all
}

/// What differs, one line for each verdict.
fn differences(before: &Verdicts, after: &Verdicts) -> Vec<String> {
    let mut lines = Vec::new();
    for verdict in before.keys().chain(after.keys().filter(|v| !before.contains_key(*v))) {
        let count = |all: &Verdicts| all.get(verdict).copied().unwrap_or(0);
        if count(before) != count(after) {
            lines.push(format!("{} flows became {}: {verdict:?}", count(before), count(after)));
        }
    }
    lines
}

/// Reads a capture of Ethernet frames.
fn read(path: &Path) -> Option<Capture> {
    farend::source::open(&[path.to_owned()], &Default::default()).ok()?;
    let mut capture = Capture::read(path);
    if capture.frames.iter().any(|f| f.dlt != 1) {
        return None;
    }
    capture.frames.retain(is_whole);
    (!capture.frames.is_empty()).then_some(capture)
}

#[test]
fn no_label_changes_when_a_capture_is_moved_to_other_addresses_to_ipv6_or_to_other_ports() {
    let (mut wrong, mut moved, mut labelled) = (Vec::new(), 0, 0);
    for path in captures() {
        let Some(original) = read(&path) else { continue };
        moved += 1;
        for (what, m) in moves() {
            let mut original = original.clone();
            if m.to_v6 {
                original.frames.retain(has_counterpart);
            }
            // Both have right checksums.
            let mut before = verdicts(&records_of(&Move::default().apply(&original)), |end| m.end(end));
            let mut after = verdicts(&records_of(&m.apply(&original)), |end| end);
            // On its own port a tunnel's header is taken at its word; elsewhere what is inside has to prove it, so
            // only what is inside and has a label has to come out.
            if m.ports {
                before.retain(|verdict, _| verdict.1 != NO_LABELS);
                after.retain(|verdict, _| verdict.1 != NO_LABELS);
            }
            labelled += before.keys().filter(|verdict| verdict.1 != NO_LABELS).count();
            let lines = differences(&before, &after);
            let name = short(&path);
            let exception = EXCEPTIONS.iter().find(|(file, by, _)| *file == name && by.contains(&what));
            match exception {
                Some((_, _, why)) if lines.is_empty() => {
                    wrong.push(format!("{name}, {what}: no exception any more: {why}"));
                }
                Some(_) => {}
                None => wrong.extend(lines.into_iter().map(|line| format!("{name}, {what}: {line}"))),
            }
        }
    }
    println!("{moved} captures moved, {labelled} labelled verdicts");
    assert!(labelled >= 30, "hardly a labelled flow was moved: {labelled}");
    assert!(wrong.is_empty(), "{} verdicts changed:\n{}", wrong.len(), wrong.join("\n"));
}
