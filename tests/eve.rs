//! EVE records: the schema, ids, addresses, times, and the order in which records come.

use std::collections::HashSet;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::LazyLock;

use serde_json::Value;

use crate::support::capture::Capture;
use crate::support::corpus::{corpus_captures, pcaps, root, short};
use crate::support::frame::{self, Ip, end, ip};
use crate::support::records::{Records, addr, ends, number, text, told};
use crate::support::replay::{Setup, records_of, run_capture, run_file};
use crate::support::schema;
use crate::support::tcp::{Client, Tcp};
use crate::support::traffic::{Mix, mixed};

static SCHEMA: LazyLock<Value> = LazyLock::new(|| {
    let path = root().join("tests/schema/eve.schema.json");
    serde_json::from_str(&std::fs::read_to_string(&path).expect("a schema")).expect("JSON")
});

/// Everything about a record that holds for every capture.
fn check(r: &Records, what: &str) {
    for record in &r.0 {
        let errors = schema::errors(&SCHEMA, record);
        assert!(errors.is_empty(), "{what}: {errors:#?}\nin {record}");
        addresses(record, what);
        vocabulary(record, what);
        if record["event_type"] == "flow" {
            let f = &record["flow"];
            assert_eq!(record["timestamp"], f["end"], "{what}: {}", told(record));
            assert!(text(&f["start"]) <= text(&f["end"]), "{what}: {f}");
            assert!(
                number(&f["pkts_toserver"]) + number(&f["pkts_toclient"]) > 0,
                "{what}: a flow without packets"
            );
            assert_eq!(
                text(&record["community_id"]),
                independent_community_id(record),
                "{what}: community_id of {}",
                told(record)
            );
        }
    }
    assert_eq!(r.of("stats").len(), 1, "{what}: one statistics record at the end");
    assert_eq!(r.0.last().map(|l| text(&l["event_type"])), Some("stats"), "{what}: it comes last");
}

/// Words that come from lists are in those lists.
fn vocabulary(record: &Value, what: &str) {
    let o = &record["farend"];
    let labels = o["labels"].as_array().into_iter().flatten().chain([&o["label"]]);
    for label in labels.filter_map(Value::as_str) {
        let info =
            farend_analyzers::label_info(label).unwrap_or_else(|| panic!("{what}: no label '{label}'"));
        if o["label"] == label && record["event_type"] == "flow" {
            assert_eq!(o["category"], info.category.as_str(), "{what}: category of {label}");
            assert!(o["labels"].as_array().is_some_and(|l| l.contains(&o["label"])), "{what}: {o}");
        }
    }
    for layer in o["encapsulation"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        let known = farend::decode::Layer::ALL.iter().any(|l| l.as_str() == layer);
        assert!(known, "{what}: no layer '{layer}'");
    }
}

/// Every address of a record is written as RFC 5952 wants it.
fn addresses(v: &Value, what: &str) {
    match v {
        Value::Object(map) => {
            for (name, inner) in map {
                if let ("src_ip" | "dest_ip" | "ip" | "host" | "peer", Some(text)) =
                    (name.as_str(), inner.as_str())
                {
                    assert_eq!(text, canonical(addr(inner)), "{what}: {name}");
                } else {
                    addresses(inner, what);
                }
            }
        }
        Value::Array(list) => list.iter().for_each(|inner| addresses(inner, what)),
        _ => {}
    }
}

/// RFC 5952 section 4: no leading zeros, lower case, the first of the longest runs of two or more zero fields shortened;
/// section 5: addresses that carry an IPv4 one show it.
fn canonical(ip: IpAddr) -> String {
    let v6 = match ip {
        IpAddr::V4(v4) => return v4.octets().map(|o| o.to_string()).join("."),
        IpAddr::V6(v6) => v6,
    };
    if let Some(v4) = v6.to_ipv4_mapped() {
        return format!("::ffff:{}", canonical(IpAddr::V4(v4)));
    }
    let fields = v6.segments();
    let run = |from: usize| fields[from..].iter().take_while(|f| **f == 0).count();
    let best = (0..8).map(run).max().unwrap_or(0);
    let hex = |part: &[u16]| part.iter().map(|f| format!("{f:x}")).collect::<Vec<_>>().join(":");
    if best < 2 {
        return hex(&fields);
    }
    let from = (0..8).find(|i| run(*i) == best).unwrap_or(0);
    format!("{}::{}", hex(&fields[..from]), hex(&fields[from + best..]))
}

/// The Community ID by another implementation (for protocols that it knows as the specification does).
fn independent_community_id(record: &Value) -> String {
    let number_of = |proto: &str| match proto {
        "TCP" => frame::TCP,
        "UDP" => frame::UDP,
        "ICMP" => frame::ICMP,
        "IPv6-ICMP" => frame::ICMPV6,
        "SCTP" => frame::SCTP,
        "GRE" => frame::GRE,
        "ESP" => 50,
        "AH" => 51,
        other => panic!("no protocol: {other}"),
    };
    let proto = number_of(text(&record["proto"]));
    let [src, dst] = ends(record);
    let ports = match proto {
        frame::ICMP | frame::ICMPV6 => {
            [number(&record["icmp_type"]), number(&record["icmp_code"])].map(|n| Some(n as u16))
        }
        frame::TCP | frame::UDP | frame::SCTP => [Some(src.port()), Some(dst.port())],
        _ => [None, None],
    };
    community_id::calculate_community_id(0, src.ip(), dst.ip(), ports[0], ports[1], proto, Default::default())
        .expect("an id")
}

#[test]
fn every_record_of_the_projects_captures_is_valid() {
    let mut types = HashSet::new();
    for path in pcaps() {
        let r = run_file(&path, &Setup::default()).records();
        check(&r, &short(&path));
        types.extend(r.0.iter().map(|r| text(&r["event_type"]).to_owned()));
    }
    assert_eq!(types.len(), 4, "records of all types were checked: {types:?}");
}

#[test]
fn every_record_of_the_corpus_is_valid() {
    for path in corpus_captures() {
        check(&run_file(&path, &Setup { workers: 2, ..Setup::default() }).records(), &short(&path));
    }
}

#[test]
fn every_record_of_mixed_traffic_is_valid_and_flow_ids_are_unique() {
    let capture = mixed(Mix { seed: 77, packets: 40_000, at_once: 800, hosts: 60, step_ns: 4_000_000 });
    for capacity in [65_536, 256] {
        let r = run_capture(&capture, &Setup { capacity, ..Setup::default() }).records();
        check(&r, "mixed traffic");
        let ids: HashSet<u64> = r.flows().iter().map(|f| number(&f["flow_id"])).collect();
        assert_eq!(ids.len(), r.flows().len(), "two flows with one id");
    }
}

#[test]
fn the_schema_refuses_what_the_contract_does_not_know() {
    let path = &pcaps()[0];
    let r = run_file(path, &Setup::default()).records();
    let flow = r.flows()[0].clone();
    type Change = fn(&mut Value);
    let changes: [(&str, Change); 9] = [
        ("a field more", |f| f["extra"] = 1.into()),
        ("a field of ours more", |f| f["farend"]["extra"] = 1.into()),
        ("a flow id beyond 2^53", |f| f["flow_id"] = (1u64 << 53).into()),
        ("local time", |f| f["timestamp"] = "2026-11-24T05:53:56.123456+0100".into()),
        ("a month 13", |f| f["timestamp"] = "2026-13-24T05:53:56.123456+0000".into()),
        ("a state of our own", |f| f["flow"]["state"] = "open".into()),
        ("no ports", |f| drop(f.as_object_mut().and_then(|o| o.remove("src_port")))),
        ("a type of message", |f| f["icmp_type"] = 8.into()),
        ("a label without a reason", |f| f["farend"]["label"] = "rdp".into()),
    ];
    assert!(schema::errors(&SCHEMA, &flow).is_empty());
    for (what, change) in changes {
        let mut changed = flow.clone();
        change(&mut changed);
        assert!(!schema::errors(&SCHEMA, &changed).is_empty(), "passed: {what}");
    }
}

#[test]
fn addresses_are_written_as_rfc_5952_wants_it() {
    let cases = [
        ("2001:db8::1", "2001:0DB8:0:0:0:0:0:1"),
        ("2001:db8:0:1:1:1:1:1", "2001:db8:0:1:1:1:1:1"),
        ("2001:0:0:1::1", "2001:0:0:1:0:0:0:1"),
        ("2001:db8::1:0:0:1", "2001:db8:0:0:1:0:0:1"),
        ("fe80::abcd", "fe80:0:0:0:0:0:0:ABCD"),
    ];
    for (expected, written) in cases {
        let address: Ipv6Addr = written.parse().expect("an address");
        assert_eq!(canonical(address.into()), expected);
        let mut c = Capture::default();
        Tcp::open((address, 50_000).into(), end("[2a01::9]:443"), &mut c);
        assert_eq!(records_of(&c).only_flow()["src_ip"], expected);
    }
}

#[test]
fn the_community_id_is_the_published_one() {
    // From the specification's own list (seed 0).
    let cases = [
        ("128.232.110.120:34855", "66.35.250.204:80", "1:LQU9qZlK+B5F3KDmev6m5PMibrg="),
        ("66.35.250.204:80", "128.232.110.120:34855", "1:LQU9qZlK+B5F3KDmev6m5PMibrg="),
    ];
    for (a, b, expected) in cases {
        let mut c = Capture::default();
        Tcp::open(end(a), end(b), &mut c);
        assert_eq!(records_of(&c).only_flow()["community_id"], expected);
    }
}

#[test]
fn the_community_id_of_icmp_has_type_and_code_in_the_ports_place() {
    let messages = [
        ("192.168.0.89", "192.168.0.1", 8, 0),
        ("192.168.0.1", "192.168.0.89", 0, 0),
        ("192.168.0.89", "192.168.0.1", 3, 1),
        ("192.168.0.89", "192.168.0.1", 13, 0),
        ("192.168.0.1", "192.168.0.89", 11, 0),
        ("fe80::1", "ff02::1", 134, 0),
        ("fe80::2", "fe80::1", 135, 0),
        ("fe80::2", "fe80::1", 136, 0),
        ("fe80::2", "fe80::1", 1, 4),
        ("2a01::2", "fd00::1", 128, 0),
    ];
    for (a, b, kind, code) in messages {
        let mut c = Capture::default();
        c.packet(&frame::icmp(Ip::new(ip(a), ip(b)), kind, code, &[0; 28]));
        let r = records_of(&c);
        let f = r.only_flow();
        assert_eq!(
            text(&f["community_id"]),
            independent_community_id(f),
            "{a} → {b} type {kind} code {code}"
        );
    }
}

#[test]
fn a_flow_id_is_the_same_in_every_run_and_with_any_filename() {
    let capture = Capture::read(&pcaps()[0]);
    let dir = tempfile::tempdir().expect("a directory");
    let ids = |r: &Records| r.flows().iter().map(|f| number(&f["flow_id"])).collect::<Vec<_>>();
    let expected = ids(&records_of(&capture));
    for name in ["a.pcap", "other name.pcap"] {
        let path = dir.path().join(name);
        std::fs::write(&path, capture.pcap()).expect("written");
        let r = run_file(&path, &Setup { seed: None, workers: 3, ..Setup::default() }).records();
        assert_eq!(ids(&r), expected, "{name}");
        assert_eq!(r.flows()[0]["pcap_filename"], name);
    }
}

#[test]
fn flows_that_end_together_come_in_the_order_of_their_first_packets() {
    let capture = mixed(Mix { seed: 78, packets: 5_000, at_once: 300, hosts: 60, step_ns: 1_000 });
    let r = run_capture(&capture, &Setup { workers: 3, ..Setup::default() }).records();
    let starts: Vec<&str> = r
        .flows()
        .iter()
        .filter(|f| f["flow"]["reason"] == "shutdown")
        .map(|f| text(&f["flow"]["start"]))
        .collect();
    // Frames stamped by a clock that is behind begin flows out of order of time: packet order counts.
    let behind = starts.windows(2).filter(|w| w[0] > w[1]).count();
    assert!(starts.len() > 100 && behind < starts.len() / 20, "{behind} of {} out of order", starts.len());
}

#[test]
fn with_one_file_evidence_names_no_file_and_with_several_it_does() {
    let mut c = Capture::default();
    crate::support::payloads::sessions()[0].play(end("192.168.1.9:40000"), end("203.0.113.9:3389"), &mut c);
    let mut t = Tcp::open(end("192.168.1.9:40001"), end("203.0.113.9:1"), &mut c);
    t.ack(Client, &mut c);
    let one = records_of(&c);
    assert!(one.flows().iter().any(|f| f["farend"]["evidence"][0].get("packet").is_some()));
    assert!(one.flows().iter().all(|f| f["farend"]["evidence"][0].get("file").is_none()));
    let dir = tempfile::tempdir().expect("a directory");
    let paths = ["0.pcap", "1.pcap"].map(|n| dir.path().join(n));
    let mut early = Capture { now_ns: c.frames[0].ts_ns - 5_000_000_000, ..Capture::default() };
    early.datagram(end("192.168.1.3:1"), end("192.168.1.4:2"), b"x");
    std::fs::write(&paths[0], early.pcap()).expect("written");
    std::fs::write(&paths[1], c.pcap()).expect("written");
    let mut source = farend::source::open(&paths, &Default::default()).expect("opens");
    let two = crate::support::replay::run(&mut *source, &Setup::default()).records();
    let labelled: Vec<_> = two.flows().into_iter().filter(|f| !f["farend"]["label"].is_null()).collect();
    assert_eq!(labelled.len(), 1);
    assert_eq!(labelled[0]["farend"]["evidence"][0]["file"], 1, "{}", labelled[0]);
    assert_eq!(labelled[0]["pcap_filename"], "1.pcap");
    assert_eq!(two.stats()["farend"]["inputs"].as_array().map(Vec::len), Some(2));
}

/// A TURN message with the address of a peer (RFC 8656 section 18.3).
fn turn(kind: u16, peer: std::net::SocketAddrV4) -> Vec<u8> {
    const COOKIE: u32 = 0x2112_A442;
    let mut message = kind.to_be_bytes().to_vec();
    message.extend([0, 12]);
    message.extend(COOKIE.to_be_bytes());
    message.extend([7; 12]);
    message.extend([0, 0x12, 0, 8, 0, 1]);
    message.extend((peer.port() ^ (COOKIE >> 16) as u16).to_be_bytes());
    message.extend((u32::from(*peer.ip()) ^ COOKIE).to_be_bytes());
    message
}

#[test]
fn whoever_is_talked_to_through_a_turn_server_is_the_far_end() {
    const CREATE_PERMISSION: u16 = 0x008;
    const CHANNEL_BIND: u16 = 0x009;
    let (client, server) = (end("192.168.1.10:50000"), end("203.0.113.7:3478"));
    let far_end = |messages: &[(u16, &str)]| {
        let mut c = Capture::default();
        for (kind, peer) in messages {
            c.datagram(client, server, &turn(*kind, peer.parse().unwrap()));
        }
        let outcome = run_capture(&c, &Setup::default());
        let r = outcome.records();
        check(&r, "TURN");
        r.only_flow()["farend"].clone()
    };
    let bound = far_end(&[(CREATE_PERMISSION, "10.1.1.1:9"), (CHANNEL_BIND, "88.198.54.20:3389")]);
    assert_eq!(bound["far_end"]["ip"], "88.198.54.20");
    assert_eq!(bound["far_end"]["port"], 3389);
    assert_eq!(bound["far_end"]["class"], "hosting", "of the peer, not of the relay");
    assert_eq!(bound["far_end"]["reached"], "relay");
    assert_eq!(bound["far_end"]["relay"], serde_json::json!({"ip": "203.0.113.7", "port": 3478}));
    assert_eq!(bound["stun"]["peers"].as_array().map(Vec::len), Some(2));
    // Asked for only, and an address inside: neither is anybody outside that is talked to.
    for message in [(CREATE_PERMISSION, "88.198.54.20:3389"), (CHANNEL_BIND, "192.168.1.77:5")] {
        let asked = far_end(&[message]);
        assert_eq!(asked["far_end"]["ip"], "203.0.113.7", "{message:?}");
        assert_eq!(asked["far_end"]["reached"], "direct");
    }
}
