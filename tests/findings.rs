//! Findings explain themselves: scores add up, every packet they name is one of the session's, and what was not seen lowers
//! them.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::path::Path;

use farend::decode::{Addrs, Decoded, Decoder, Link, Outcome};
use farend::host::Weights;
use farend::source::{Batch, Status};
use farend_analyzers::decibans::per_mille;
use serde_json::Value;

use crate::support::capture::Capture;
use crate::support::corpus::{corpus_captures, pcaps, short};
use crate::support::frame::{end, ip};
use crate::support::payloads::{encrypted, rdp, wireguard};
use crate::support::records::{Records, addr, ends, number, text, told};
use crate::support::replay::{Setup, records_of, run_capture, run_file};
use crate::support::tcp::{Client, Server, Side, Tcp};

/// An operator in a hosting network (Clouvider), and what is operated.
const OPERATOR: &str = "194.33.44.11:50220";
const LAPTOP: &str = "192.168.178.149:3389";

/// A session in which somebody works.
fn session(records: usize) -> Vec<(Side, Vec<u8>)> {
    let mut all = rdp(0);
    all.extend(encrypted(records));
    all
}

fn talk(t: &mut Tcp, payloads: &[(Side, Vec<u8>)], c: &mut Capture) {
    for (side, bytes) in payloads {
        t.send(*side, bytes, c);
        t.ack(if *side == Client { Server } else { Client }, c);
    }
}

/// prior + evidence, each family capped, from the record alone.
fn sum(prior: i64, evidence: &Value, weights: &Weights) -> i64 {
    let mut families: BTreeMap<String, i64> = BTreeMap::new();
    for line in evidence.as_array().expect("evidence") {
        let (_, family) = weights.of(text(&line["kind"]));
        let family = if family.is_empty() { "protocol" } else { family };
        *families.entry(family.to_owned()).or_default() += line["decibans"].as_i64().expect("decibans");
    }
    prior + families.iter().map(|(family, n)| (*n).min(i64::from(weights.cap(family)))).sum::<i64>()
}

/// Every score of a run is the sum of what is written beside it.
fn scores_add_up(r: &Records, what: &str) -> usize {
    let weights = Weights::default();
    let int = |v: &Value| v.as_i64().unwrap_or_else(|| panic!("{what}: no integer: {v}"));
    let mut findings = Vec::new();
    findings.extend(r.alerts().into_iter().map(|a| &a["farend"]));
    for host in r.of("host") {
        let ledger = host["farend"]["ledger"].as_array().expect("a ledger");
        let best = ledger.iter().map(|f| int(&f["score_decibans"])).max();
        if let Some(best) = best {
            assert_eq!(int(&host["farend"]["score_decibans"]), best, "{what}: {host}");
        }
        findings.extend(ledger);
    }
    for f in &findings {
        let score = int(&f["score_decibans"]);
        assert_eq!(score, sum(int(&f["prior_decibans"]), &f["evidence"], &weights), "{what}: {f}");
        if let Some(posterior) = f["posterior"].as_f64() {
            let thousandths = per_mille(i32::try_from(score).expect("a score"));
            assert_eq!(posterior, f64::from(thousandths) / 1000.0, "{what}: {f}");
        }
        if let Some(raised) = f["raised"].as_bool() {
            // An alert is not taken back, but none is missing.
            assert!(raised || score < i64::from(weights.raise_at), "{what}: not raised: {f}");
        }
    }
    for a in r.alerts() {
        assert!(int(&a["farend"]["score_decibans"]) >= i64::from(weights.raise_at), "{what}: {a}");
    }
    findings.len()
}

/// The pairs of addresses in every frame of a file, by frame number.
fn pairs(path: &Path) -> Vec<Vec<[(IpAddr, u16); 2]>> {
    let mut source = farend::source::open(&[path.to_owned()], &Default::default()).expect("opens");
    let mut decoder = Decoder::default();
    let (mut batch, mut out) = (Batch::default(), Decoded::default());
    let mut all = vec![Vec::new()];
    while source.next_batch(&mut batch, 4096) == Status::More {
        for (frame, bytes) in batch.iter() {
            let link = Link::from_dlt(u32::from(frame.dlt));
            let outcome = decoder.decode(link, bytes, frame.wirelen, frame.ts_ns, &mut out);
            assert_eq!(frame.number as usize, all.len(), "{}: frames in order", short(path));
            all.push(match outcome {
                Outcome::Packets(_) => out
                    .packets
                    .iter()
                    .map(|p| match p.addrs {
                        Addrs::V4 { src, dst } => [(src.into(), p.src_port), (dst.into(), p.dst_port)],
                        Addrs::V6 { src, dst } => [(src.into(), p.src_port), (dst.into(), p.dst_port)],
                    })
                    .collect(),
                _ => Vec::new(),
            });
        }
    }
    all
}

/// Sender and receiver of a packet.
type Ends = [(IpAddr, u16); 2];

/// Every packet number in evidence is that of a frame of its flow, or of a flow between host and peer. Returns how many.
fn packets_are_theirs(r: &Records, frames: &[Vec<Ends>], what: &str) -> usize {
    let weights = Weights::default();
    let mut checked = 0;
    let holds = |packet: &Value, fits: &dyn Fn(&Ends) -> bool| {
        frames.get(number(packet) as usize).is_some_and(|f| f.iter().any(fits))
    };
    for f in r.flows() {
        let [a, b] = ends(f).map(|e| (e.ip(), e.port()));
        let ports = f.get("src_port").is_some();
        let same = |x: (IpAddr, u16), y: (IpAddr, u16)| x.0 == y.0 && (!ports || x.1 == y.1);
        for line in f["farend"]["evidence"].as_array().expect("evidence") {
            let fits =
                |p: &[(IpAddr, u16); 2]| same(p[0], a) && same(p[1], b) || same(p[0], b) && same(p[1], a);
            assert!(holds(&line["packet"], &fits), "{what}: packet {} is not of {}", line["packet"], told(f));
            checked += 1;
        }
    }
    let ledgers = r.of("host").into_iter().flat_map(|h| {
        let host = &h["farend"]["host"];
        h["farend"]["ledger"].as_array().expect("a ledger").iter().map(move |f| (host, &f["peer"], f))
    });
    let alerts =
        r.alerts().into_iter().map(|a| (&a["farend"]["host"], &a["farend"]["far_end"]["ip"], &a["farend"]));
    for (host, peer, finding) in ledgers.chain(alerts) {
        let host = addr(host);
        for line in finding["evidence"].as_array().expect("evidence") {
            // Sessions with several peers are one finding, and one tool speaks for another; such a line begins with its peer.
            let first = text(&line["detail"]).split(' ').next().and_then(|w| w.parse().ok());
            let peer = match text(&line["kind"]) {
                "inbound.session" | "host.several_tools" => first.expect("a peer"),
                "egress.tor_listed" => first.unwrap_or_else(|| addr(peer)),
                _ => addr(peer),
            };
            // What a device says of itself it says to anybody, and before it has an address.
            let itself = |p: &Ends| p.iter().any(|(ip, _)| *ip == host || ip.is_unspecified());
            let between = |p: &Ends| [p[0].0, p[1].0] == [host, peer] || [p[0].0, p[1].0] == [peer, host];
            let fits = |p: &Ends| if host == peer { itself(p) } else { between(p) };
            assert!(
                holds(&line["packet"], &fits),
                "{what}: packet {} is not between {host} and {peer}: {finding}",
                line["packet"]
            );
            if weights.of(text(&line["kind"])).1.is_empty() {
                // What an analyzer saw stands in a flow's record, too.
                let same = |l: &Value| l["kind"] == line["kind"] && l["packet"] == line["packet"];
                let said =
                    |f: &&Value| f["farend"]["evidence"].as_array().is_some_and(|e| e.iter().any(same));
                assert!(r.flows().iter().any(said), "{what}: no flow record has {line}");
            }
            checked += 1;
        }
    }
    checked
}

#[test]
fn every_score_is_the_sum_of_its_evidence_and_every_packet_is_one_of_the_sessions() {
    let mut sums = (0, 0);
    for path in pcaps() {
        let r = run_file(&path, &Setup::default()).records();
        sums.0 += scores_add_up(&r, &short(&path));
        sums.1 += packets_are_theirs(&r, &pairs(&path), &short(&path));
    }
    assert!(sums.0 > 20 && sums.1 > 100, "hardly a finding was checked: {sums:?}");
}

#[test]
fn scores_and_packets_hold_on_the_corpus() {
    for path in corpus_captures() {
        let r = run_file(&path, &Setup::default()).records();
        scores_add_up(&r, &short(&path));
        packets_are_theirs(&r, &pairs(&path), &short(&path));
    }
}

#[test]
fn evidence_names_the_packet_that_completed_it() {
    let payloads = session(60);
    let mut c = Capture::default();
    let mut t = Tcp::open(end(OPERATOR), end(LAPTOP), &mut c);
    // 4: half of the request; 5: somebody else's; 6: the other half; 7: its acknowledgment; 8: the answer.
    let (half, rest) = payloads[0].1.split_at(20);
    t.send(Client, half, &mut c);
    c.datagram(end("192.168.178.149:5000"), end("194.33.44.11:6000"), b"between");
    t.send(Client, rest, &mut c);
    t.ack(Server, &mut c);
    talk(&mut t, &payloads[1..], &mut c);
    let r = records_of(&c);
    let packet = |evidence: &Value, kind: &str| {
        let line = evidence.as_array().expect("evidence").iter().find(|l| l["kind"] == kind);
        number(&line.unwrap_or_else(|| panic!("no {kind}: {evidence}"))["packet"])
    };
    let flow = r.flows().into_iter().find(|f| f["proto"] == "TCP").expect("the session");
    let alert = &r.alerts()[0]["farend"]["evidence"];
    let ledger = &r.of("host")[0]["farend"]["ledger"][0]["evidence"];
    for (what, evidence) in [("flow", &flow["farend"]["evidence"]), ("alert", alert), ("ledger", ledger)] {
        assert_eq!(packet(evidence, "rdp.request"), 6, "{what}");
        assert_eq!(packet(evidence, "rdp.confirm"), 8, "{what}");
    }
    assert_eq!(packet(alert, "session.sustained"), 1, "where the session begins");
}

#[test]
fn packet_numbers_are_those_of_the_file_whatever_a_filter_leaves_out() {
    let Some(path) = pcaps().into_iter().find(|p| p.ends_with("farm_laptop.pcap")) else {
        panic!("the demo's capture")
    };
    let frames = pairs(&path);
    let options = farend::source::Options { filter: Some("tcp port 3389".into()) };
    let mut source = match farend::source::open(std::slice::from_ref(&path), &options) {
        Ok(source) => source,
        Err(farend::source::OpenError::FilterUnsupported(_)) => {
            println!("skipped: this build has no filters");
            return;
        }
        Err(e) => panic!("{e}"),
    };
    let r = crate::support::replay::run(&mut *source, &Setup::default()).records();
    assert_eq!(r.flows().len(), 1, "{:#?}", r.told());
    assert!(packets_are_theirs(&r, &frames, "filtered") > 3);
    assert!(number(&r.stats()["farend"]["stats"]["packets"]["filtered"]) > 1_000);
}

/// The scores of a finding about the laptop, at the end.
fn score_of(r: &Records, finding: &str) -> Option<i64> {
    r.of("host")
        .into_iter()
        .filter(|h| addr(&h["farend"]["host"]) == end(LAPTOP).ip())
        .flat_map(|h| h["farend"]["ledger"].as_array().expect("a ledger"))
        .filter(|f| f["finding"] == finding)
        .filter_map(|f| f["score_decibans"].as_i64())
        .max()
}

fn kinds(r: &Records) -> Vec<String> {
    let ledgers = r.of("host").into_iter().flat_map(|h| h["farend"]["ledger"].as_array().expect("a ledger"));
    ledgers
        .flat_map(|f| f["evidence"].as_array().expect("evidence"))
        .map(|l| text(&l["kind"]).to_owned())
        .collect()
}

fn operated(unseen: Option<Side>, drop_first: usize) -> Records {
    let mut c = Capture::default();
    let mut t = Tcp::between(end(OPERATOR), end(LAPTOP));
    t.unseen = unseen;
    t.handshake(&mut c);
    talk(&mut t, &session(60), &mut c);
    t.close(&mut c);
    c.frames.drain(..drop_first);
    records_of(&c)
}

#[test]
fn a_session_that_somebody_works_in_is_a_finding_with_who_what_and_since_when() {
    let r = operated(None, 0);
    let alerts = r.alerts();
    let a = alerts
        .iter()
        .find(|a| a["farend"]["finding"] == "remote_control_suspicious_origin")
        .unwrap_or_else(|| panic!("no alert: {:#?}", r.told()));
    let f = &a["farend"];
    assert_eq!(addr(&f["host"]), end(LAPTOP).ip());
    assert_eq!(addr(&f["far_end"]["ip"]), end(OPERATOR).ip());
    assert_eq!((f["label"].as_str(), f["far_end"]["class"].as_str()), (Some("rdp"), Some("hosting")));
    assert_eq!(f["first_seen"], "2026-01-01T00:00:00.000000+0000");
    let flow = r.only_flow();
    assert_eq!(a["flow_id"], flow["flow_id"]);
    assert_eq!(flow["flow"]["alerted"], true, "the record says that an alert rests on it");
    assert_eq!(a["alert"]["metadata"]["mitre_technique_id"], serde_json::json!(["T1021.001"]));
    let summary = text(&f["summary"]);
    for word in ["192.168.178.149", "194.33.44.11", "hosting"] {
        assert!(summary.contains(word), "'{word}' is missing in '{summary}'");
    }
}

#[test]
fn an_alert_does_not_wait_for_the_end_of_the_flow() {
    let mut c = Capture::default();
    let mut t = Tcp::open(end(OPERATOR), end(LAPTOP), &mut c);
    talk(&mut t, &session(60), &mut c);
    let raised_by = c.now_ns;
    for _ in 0..30 {
        c.wait(10.0);
        talk(&mut t, &encrypted(1), &mut c);
    }
    let r = records_of(&c);
    let alert = r.0.iter().position(|r| r["event_type"] == "alert").expect("an alert");
    let flow = r.0.iter().position(|r| r["event_type"] == "flow").expect("a flow");
    assert!(alert < flow);
    assert!(text(&r.0[alert]["timestamp"]) <= &*farend::sink::iso8601(raised_by), "{}", r.0[alert]);
}

#[test]
fn frames_that_the_capture_says_were_lost_lower_every_finding_from_its_alert_on() {
    let folder = tempfile::tempdir().expect("a folder");
    let farm = Capture::read(&crate::support::corpus::root().join("pcaps/farm_laptop.pcap"));
    let run = |lost: u64| {
        let path = folder.path().join("farm.pcapng");
        std::fs::write(&path, farm.pcapng(lost, 1_000_000)).expect("written");
        let r = run_file(&path, &Setup::default()).records();
        assert_eq!(number(&r.stats()["stats"]["capture"]["kernel_drops"]), lost);
        scores_add_up(&r, "farm.pcapng");
        r
    };
    let (whole, part) = (run(0), run(20_000));
    let accounts = |r: &Records| {
        let hosts = r.of("host").into_iter().map(|h| &h["farend"]);
        let all = hosts.flat_map(|h| h["ledger"].as_array().expect("a ledger").iter().map(move |f| (h, f)));
        let of = |(h, f): (&Value, &Value)| {
            let key = format!("{} {} {}", h["host"], f["finding"], f["peer"]);
            (key, f["score_decibans"].as_i64().expect("a score"))
        };
        all.map(of).collect::<BTreeMap<String, i64>>()
    };
    let lowered: BTreeMap<String, i64> =
        accounts(&whole).into_iter().map(|(k, score)| (k, score - 5)).collect();
    assert_eq!(accounts(&part), lowered, "every account by what one in a hundred weighs");
    let alerts = part.alerts();
    assert!(alerts.iter().any(|a| a["farend"]["finding"] == "remote_control_suspicious_origin"));
    assert!(alerts.len() < whole.alerts().len(), "the faintest is not sure enough any more");
    for alert in alerts {
        let evidence = alert["farend"]["evidence"].as_array().expect("evidence");
        let told = evidence.iter().find(|e| e["kind"] == "capture.loss_high").expect("the loss is told");
        let wanted = "20000 of 1000000 frames of the whole capture were lost before they were captured; it does not say when";
        assert_eq!(text(&told["detail"]), wanted);
    }
}

#[test]
fn one_direction_alone_lowers_a_finding() {
    let whole = operated(None, 0);
    let expected = score_of(&whole, "remote_control").expect("a finding");
    assert!(!kinds(&whole).contains(&"capture.one_sided".into()));
    for unseen in [Client, Server] {
        let half = operated(Some(unseen), 0);
        assert!(kinds(&half).contains(&"capture.one_sided".into()), "{unseen:?} unseen: {:?}", kinds(&half));
        let score = score_of(&half, "remote_control").expect("an account");
        assert!(score <= expected - 10, "{unseen:?} unseen: {score}, whole: {expected}");
        assert!(half.alerts().is_empty(), "{unseen:?} unseen: half a session is no alert");
    }
}

#[test]
fn who_serves_a_vpn_does_not_leave_through_it() {
    // A server of one's own, called from a hosting network: the caller's traffic comes in here.
    let (server, caller) = (end("192.168.178.149:51820"), end("194.33.44.11:40000"));
    let mut c = Capture::default();
    for (side, bytes) in wireguard(80) {
        let (from, to) = if side == Client { (caller, server) } else { (server, caller) };
        c.datagram(from, to, &bytes);
    }
    let r = records_of(&c);
    assert_eq!(r.only_flow()["farend"]["label"], "wireguard");
    assert_eq!(score_of(&r, "egress_vpn"), None);
    assert_eq!(score_of(&r, "egress_vps"), None);
}

#[test]
fn a_label_from_the_middle_of_a_session_lowers_a_finding() {
    // WireGuard is recognised by its data alone.
    let client = end("192.168.178.149:40000");
    let server = end("194.33.44.11:51820");
    let play = |skip: usize| {
        let mut c = Capture::default();
        for (side, bytes) in wireguard(80).into_iter().skip(skip) {
            let (from, to) = if side == Client { (client, server) } else { (server, client) };
            c.datagram(from, to, &bytes);
        }
        records_of(&c)
    };
    let (whole, late) = (play(0), play(6));
    assert_eq!(late.only_flow()["farend"]["basis"], "midstream", "{}", late.only_flow());
    let of = |r: &Records| score_of(r, "egress_vpn").expect("an account");
    assert!(kinds(&late).contains(&"label.midstream".into()));
    assert!(of(&late) < of(&whole), "late {}, whole {}", of(&late), of(&whole));
}

#[test]
fn a_greeting_alone_is_no_finding() {
    let mut c = Capture::default();
    let mut t = Tcp::open(end(OPERATOR), end(LAPTOP), &mut c);
    talk(&mut t, &rdp(1), &mut c);
    t.reset(Server, &mut c);
    let r = records_of(&c);
    assert_eq!(r.only_flow()["farend"]["label"], "rdp");
    let remote: Vec<_> =
        r.alerts().into_iter().filter(|a| text(&a["farend"]["finding"]).starts_with("remote")).collect();
    assert!(remote.is_empty(), "{remote:#?}");
}

#[test]
fn more_sessions_with_one_peer_do_not_add_up() {
    let play = |sessions: u16| {
        let mut c = Capture::default();
        for n in 0..sessions {
            let mut t = Tcp::open(end(&format!("194.33.44.11:{}", 50_000 + n)), end(LAPTOP), &mut c);
            talk(&mut t, &session(60), &mut c);
            t.close(&mut c);
            c.wait(1.0);
        }
        score_of(&records_of(&c), "remote_control")
    };
    assert_eq!(play(1), play(20), "twenty sessions to one peer are one piece of evidence");
}

#[test]
fn the_operator_is_found_behind_a_crowd_of_scanners() {
    let mut c = Capture { step_ns: 50_000, ..Capture::default() };
    let crowd = |from: u16, c: &mut Capture| {
        for n in from..from + 600 {
            let scanner = end(&format!("45.155.{}.{}:40000", n / 250, 1 + n % 250));
            let mut t = Tcp::open(scanner, end(LAPTOP), c);
            talk(&mut t, &rdp(1), c);
            t.reset(Server, c);
        }
    };
    crowd(0, &mut c);
    let mut t = Tcp::open(end(OPERATOR), end(LAPTOP), &mut c);
    talk(&mut t, &session(60), &mut c);
    crowd(600, &mut c);
    t.close(&mut c);
    let r = run_capture(&c, &Setup::default()).records();
    let found: Vec<_> = r
        .alerts()
        .into_iter()
        .filter(|a| {
            a["farend"]["finding"] == "remote_control"
                && addr(&a["farend"]["far_end"]["ip"]) == end(OPERATOR).ip()
        })
        .collect();
    assert_eq!(found.len(), 1, "{} alerts", r.alerts().len());
    let host =
        r.of("host").into_iter().find(|h| addr(&h["farend"]["host"]) == end(LAPTOP).ip()).expect("a host");
    let ledger = host["farend"]["ledger"].as_array().expect("a ledger");
    assert!(ledger.len() <= 256, "{} findings of one host", ledger.len());
    assert!(ledger.iter().any(|f| f["raised"] == true && addr(&f["peer"]) == end(OPERATOR).ip()));
}

#[test]
fn ids_of_findings_are_unique_and_the_same_in_every_run() {
    let path = pcaps().into_iter().find(|p| p.ends_with("farm_laptop.pcap")).expect("the demo's capture");
    let ids = |workers| {
        let r = run_file(&path, &Setup { workers, ..Setup::default() }).records();
        let mut seen = HashMap::new();
        for a in r.alerts() {
            let id = text(&a["farend"]["finding_id"]).to_owned();
            assert!(seen.insert(id, a["farend"]["summary"].clone()).is_none(), "two alerts with one id: {a}");
        }
        seen
    };
    assert!(!ids(1).is_empty());
    assert_eq!(ids(1), ids(3));
}

#[test]
fn what_is_named_inside_replaces_what_private_addresses_say() {
    let mut c = Capture::default();
    let (outside, inside) = (end("192.168.1.5:50000"), end("203.0.113.8:3389"));
    let mut t = Tcp::open(outside, inside, &mut c);
    talk(&mut t, &session(60), &mut c);
    let home = farend::home::Home::new(vec!["203.0.113.0/24".parse().expect("a network")]);
    let r = run_capture(&c, &Setup { home, ..Setup::default() }).records();
    let hosts: Vec<IpAddr> = r.of("host").iter().map(|h| addr(&h["farend"]["host"])).collect();
    assert_eq!(hosts, [ip("203.0.113.8")]);
}

#[test]
fn findings_and_shares_do_not_depend_on_which_records_are_written() {
    for name in ["socks4.pcap", "wireguard_browse.pcap", "farm_laptop.pcap", "http_proxy.pcap"] {
        let path = pcaps().into_iter().find(|p| p.ends_with(name)).expect("a recording");
        let play = |types: &str| {
            let setup = Setup { types: types.parse().expect("types"), ..Setup::default() };
            let r = run_file(&path, &setup).records();
            let records = r.alerts().into_iter().chain(r.of("host")).map(ToString::to_string);
            records.collect::<Vec<_>>()
        };
        assert_eq!(play("alert,host"), play("flow,alert,host,stats"), "{name}");
    }
}
