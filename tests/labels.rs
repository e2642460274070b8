//! A label needs content: the same content has it anywhere, and no port gives it.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use serde_json::Value;

use crate::support::capture::Capture;
use crate::support::corpus::{pcaps, short};
use crate::support::frame::end;
use crate::support::payloads::{Transport, client_hello, dns_question, noise, recognised, sessions};
use crate::support::readdress::Move;
use crate::support::records::{Records, ends, packets, told};
use crate::support::replay::records_of;
use crate::support::tcp::{Client, Server, Tcp};

/// Ports that tools of this field usually have.
const NOTED: [u16; 16] =
    [3389, 5900, 22, 51_820, 1194, 443, 1723, 1080, 5938, 7070, 500, 4500, 53, 80, 8080, 6129];

#[test]
fn the_same_content_has_its_label_on_any_port_and_over_both_families() {
    let mut covered = 0;
    for session in sessions() {
        if !recognised(session.label) {
            println!("not yet covered: no analyzer gives the label {}", session.label);
            continue;
        }
        covered += 1;
        for port in NOTED.into_iter().chain([session.usual_port, 1, 50_000, 65_535]) {
            for (client, server) in [("192.168.1.9:40000", "203.0.113.9"), ("[fd00::9]:40000", "[2a01::9]")] {
                let mut c = Capture::default();
                session.play(end(client), end(&format!("{server}:{port}")), &mut c);
                let r = records_of(&c);
                let f = r.only_flow();
                assert_eq!(f["farend"]["label"], session.label, "on port {port}: {}", told(f));
                assert_eq!(ends(f)[0], end(client), "on port {port}");
            }
        }
    }
    assert!(covered >= 2, "no analyzer was tested");
}

/// Payload number n.
type Content = fn(u64) -> Vec<u8>;

#[test]
fn arbitrary_content_on_a_noted_port_has_no_label() {
    let kinds: [(&str, Content); 8] = [
        ("noise", |n| noise(n, 20 + (n as usize * 37) % 1_300)),
        // The sizes of WireGuard's handshake messages.
        ("148 bytes of noise", |n| noise(n, 148)),
        ("92 bytes of noise", |n| noise(n, 92)),
        ("zeros", |n| vec![0; 1 + (n as usize * 53) % 500]),
        ("text", |n| format!("hello {n}, is anybody there?\r\n").into_bytes()),
        ("a web request", |n| format!("GET /{n} HTTP/1.1\r\nHost: www.example\r\n\r\n").into_bytes()),
        ("a TLS opening", |n| client_hello(&format!("www{n}.example"))),
        ("a DNS question", |n| dns_question(n as u16, "www.example")),
    ];
    for (what, content) in kinds {
        let mut c = Capture::default();
        for (n, port) in NOTED.into_iter().enumerate() {
            for client_port in 0..6u16 {
                let (client, server) = (
                    end(&format!("192.168.1.9:{}", 40_000 + client_port)),
                    SocketAddr::new(end("203.0.113.9:1").ip(), port),
                );
                let seed = |k: u64| n as u64 * 1_000 + u64::from(client_port) * 10 + k;
                let mut t = Tcp::open(client, server, &mut c);
                for k in 0..5 {
                    t.send(Client, &content(seed(k)), &mut c);
                    t.send(Server, &content(seed(k + 5)), &mut c);
                    c.datagram(client, server, &content(seed(k)));
                    c.datagram(server, client, &content(seed(k + 5)));
                }
                t.close(&mut c);
            }
        }
        let r = records_of(&c);
        assert_eq!(r.flows().len(), NOTED.len() * 6 * 2, "{what}");
        for f in r.flows() {
            assert_eq!(f["farend"]["label"], Value::Null, "{what}: {}", told(f));
            assert_eq!(f["farend"]["labels"], serde_json::json!([]), "{what}: {}", told(f));
            assert_eq!(f["farend"]["category"], Value::Null, "{what}: {}", told(f));
            assert_eq!(f["farend"]["controlled"], Value::Null, "{what}: {}", told(f));
        }
        assert!(r.alerts().is_empty(), "{what}: {:#?}", r.alerts());
    }
}

#[test]
fn an_opening_that_nobody_answers_has_no_label() {
    for session in sessions().into_iter().filter(|s| recognised(s.label)) {
        let mut c = Capture::default();
        let (client, server) =
            (end("192.168.1.9:40000"), end(&format!("203.0.113.9:{}", session.usual_port)));
        let (side, first) = &session.payloads[0];
        match session.transport {
            Transport::Udp => (0..4).for_each(|_| {
                c.wait(5.0);
                c.datagram(client, server, first);
            }),
            Transport::Tcp => {
                let mut t = Tcp::open(client, server, &mut c);
                t.send(*side, first, &mut c);
                t.reset(if *side == Client { Server } else { Client }, &mut c);
            }
        }
        let r = records_of(&c);
        let f = r.only_flow();
        assert_eq!(
            f["farend"]["label"],
            Value::Null,
            "an opening alone: {} {}",
            session.label,
            f["farend"]["evidence"]
        );
    }
}

/// What must not depend on where traffic is: by opener, other side and first packet.
type Verdicts = BTreeMap<(SocketAddr, SocketAddr, String, String), (Value, Value, Value, Value, [u64; 2])>;

fn verdicts(r: &Records, map: impl Fn(SocketAddr) -> SocketAddr) -> Verdicts {
    r.flows()
        .into_iter()
        .filter(|f| f.get("icmp_type").is_none())
        .map(|f| {
            let [src, dst] = ends(f);
            let o = &f["farend"];
            let key = (map(src), map(dst), f["proto"].to_string(), f["flow"]["start"].to_string());
            let value = [&o["label"], &o["labels"], &o["controlled"], &f["app_proto"]].map(Value::clone);
            let [label, labels, controlled, app] = value;
            (key, (label, labels, controlled, app, packets(f)))
        })
        .collect()
}

#[test]
fn labels_operated_side_and_opener_stay_when_addresses_family_ports_and_tags_change() {
    let moves = [
        Move { seed: 1, prefixes: true, ..Move::default() },
        Move { seed: 2, prefixes: true, to_v6: true, ..Move::default() },
        Move { seed: 3, ports: true, ..Move::default() },
        Move { seed: 4, vlan: vec![7], ..Move::default() },
        Move { seed: 5, prefixes: true, to_v6: true, ports: true, vlan: vec![10, 20], ..Move::default() },
        Move { seed: 6, prefixes: true, ports: true, ..Move::default() },
    ];
    let mut labelled = 0;
    for path in pcaps() {
        let original = Capture::read(&path);
        let before = records_of(&original);
        for m in &moves {
            let after = records_of(&m.apply(&original));
            let expected = verdicts(&before, |end| m.end(end));
            let got = verdicts(&after, |end| end);
            labelled += expected.values().filter(|v| !v.0.is_null()).count();
            for (key, value) in &expected {
                assert_eq!(Some(value), got.get(key), "{}: {key:?} under {m:?}", short(&path));
            }
            assert_eq!(expected.len(), got.len(), "{}: flows under {m:?}", short(&path));
        }
    }
    assert!(labelled >= 6 * 10, "hardly a labelled flow was moved: {labelled}");
}
