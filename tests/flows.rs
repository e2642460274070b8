//! Flows: what is one, who opened it, when it ends, what its record counts.

use crate::support::capture::{Capture, SECOND_NS};
use crate::support::frame::{self, ACK, FIN, Ip, PSH, RST, SYN, end, ip};
use crate::support::payloads::{noise, rdp, sessions};
use crate::support::records::{Records, ends, number, packets};
use crate::support::replay::{Setup, records_of, run_capture};
use crate::support::tcp::{Client, Server, Tcp};

const CLIENT: &str = "192.168.1.10:40000";
const SERVER: &str = "203.0.113.5:443";

fn tcp() -> (Capture, Tcp) {
    (Capture::default(), Tcp::between(end(CLIENT), end(SERVER)))
}

/// Somebody else's datagrams, one a second, so that time goes on.
fn pass(c: &mut Capture, seconds: u32) {
    for _ in 0..seconds {
        c.wait(1.0);
        let step = std::mem::replace(&mut c.step_ns, 0);
        c.datagram(end("192.168.1.77:5000"), end("192.168.1.78:5000"), b"tick");
        c.step_ns = step;
    }
}

fn ours(r: &Records) -> Vec<&serde_json::Value> {
    r.between(end(CLIENT), end(SERVER))
}

#[test]
fn a_syn_sent_again_belongs_to_the_same_flow() {
    let (mut c, mut t) = tcp();
    t.syn(&mut c);
    t.next[0] = t.next[0].wrapping_sub(1);
    c.wait(1.0);
    t.syn(&mut c);
    t.syn_ack(&mut c);
    t.next[1] = t.next[1].wrapping_sub(1);
    c.wait(1.0);
    t.next[0] = t.next[0].wrapping_sub(1);
    t.syn(&mut c);
    t.syn_ack(&mut c);
    t.ack(Client, &mut c);
    t.send(Client, b"hello", &mut c);
    let r = records_of(&c);
    assert_eq!(packets(r.only_flow()), [5, 2]);
}

#[test]
fn a_second_connection_on_the_same_ports_is_a_second_flow() {
    for goodbye in ["both fin", "reset", "nothing"] {
        let (mut c, mut t) = tcp();
        t.handshake(&mut c);
        t.send(Client, b"first", &mut c);
        match goodbye {
            "both fin" => t.close(&mut c),
            "reset" => t.reset(Server, &mut c),
            _ => {}
        }
        c.wait(0.5);
        t.next = [900_000, 800_000];
        t.handshake(&mut c);
        t.send(Client, b"second", &mut c);
        t.send(Server, b"answer", &mut c);
        let r = records_of(&c);
        let flows = ours(&r);
        assert_eq!(flows.len(), 2, "{goodbye}: {:#?}", r.told());
        assert_ne!(flows[0]["flow_id"], flows[1]["flow_id"], "{goodbye}: two flows, one id");
        assert_eq!(packets(flows[1]), [3, 2], "{goodbye}: the second flow counts its own packets only");
        for f in flows {
            assert_eq!(ends(f), [end(CLIENT), end(SERVER)]);
        }
    }
}

#[test]
fn a_reset_closes_a_flow_and_its_stragglers_still_belong_to_it() {
    let (mut c, mut t) = tcp();
    t.handshake(&mut c);
    t.reset(Server, &mut c);
    t.flags(Client, RST, &mut c);
    let r = records_of(&c);
    let f = r.only_flow();
    assert_eq!((f["flow"]["state"].as_str(), packets(f)), (Some("closed"), [3, 2]));
    assert_eq!((f["tcp"]["rst"].as_bool(), f["tcp"]["tcp_flags_tc"].as_str()), (Some(true), Some("16")));
}

#[test]
fn a_flow_is_closed_by_fin_from_both_sides_and_not_by_one() {
    let (mut c, mut t) = tcp();
    t.handshake(&mut c);
    t.send(Client, b"request", &mut c);
    t.fin(Client, &mut c);
    for n in 0..20 {
        t.send(Server, &noise(n, 1_000), &mut c);
        t.ack(Client, &mut c);
    }
    let half = records_of(&c);
    assert_eq!(half.only_flow()["flow"]["state"], "established", "the other side may still send");
    assert_eq!(packets(half.only_flow()), [24, 21]);
    t.fin(Server, &mut c);
    t.ack(Client, &mut c);
    let whole = records_of(&c);
    assert_eq!(whole.only_flow()["flow"]["state"], "closed");
    assert_eq!(packets(whole.only_flow()), [25, 22], "the last acknowledgment opens no flow of its own");
}

#[test]
fn a_simultaneous_open_is_one_flow_of_who_began() {
    let (mut c, mut t) = tcp();
    t.flags(Client, SYN, &mut c);
    t.flags(Server, SYN, &mut c);
    t.flags(Server, SYN | ACK, &mut c);
    t.flags(Client, SYN | ACK, &mut c);
    t.next = [t.next[0].wrapping_add(1), t.next[1].wrapping_add(1)];
    t.send(Server, b"hello", &mut c);
    let r = records_of(&c);
    assert_eq!(ends(r.only_flow()), [end(CLIENT), end(SERVER)]);
    assert_eq!(packets(r.only_flow()), [2, 3]);
}

#[test]
fn flows_expire_by_packet_time_by_what_was_seen_of_them() {
    // Sweeps pass every shard once in 16 s.
    const SWEEP: u32 = 17;
    type Begin = fn(&mut Capture, &mut Tcp);
    let cases: [(&str, u32, Begin); 4] = [
        ("TCP without an answer", 60, |c, t| t.syn(c)),
        ("established TCP", 600, |c, t| t.handshake(c)),
        ("UDP without an answer", 30, |c, _| c.datagram(end(CLIENT), end(SERVER), b"q")),
        ("answered UDP", 300, |c, _| {
            c.datagram(end(CLIENT), end(SERVER), b"q");
            c.datagram(end(SERVER), end(CLIENT), b"a");
        }),
    ];
    for (what, timeout, begin) in cases {
        for (silence, expected) in [(timeout - 1, 1), (timeout + SWEEP, 2)] {
            let (mut c, mut t) = tcp();
            begin(&mut c, &mut t);
            pass(&mut c, silence);
            if what.contains("TCP") {
                t.flags(Client, ACK, &mut c);
            } else {
                c.datagram(end(CLIENT), end(SERVER), b"q");
            }
            let r = records_of(&c);
            let flows = ours(&r);
            assert_eq!(flows.len(), expected, "{what} after {silence} s of silence: {:#?}", r.told());
            assert_eq!(
                flows[0]["flow"]["reason"],
                if expected == 2 { "timeout" } else { "shutdown" },
                "{what}"
            );
        }
    }
}

#[test]
fn a_closed_flow_is_reported_soon_and_before_the_input_ends() {
    let (mut c, mut t) = tcp();
    t.handshake(&mut c);
    t.close(&mut c);
    pass(&mut c, 40);
    let r = records_of(&c);
    assert_eq!(r.flows()[0]["dest_port"], 443, "the closed flow comes first: {:#?}", r.told());
    assert_eq!(r.flows()[0]["flow"]["reason"], "timeout");
}

#[test]
fn one_frame_from_the_future_ends_no_flow() {
    let (mut c, mut t) = tcp();
    t.handshake(&mut c);
    let now = c.now_ns;
    c.now_ns += 50 * 365 * 86_400 * SECOND_NS;
    c.datagram(end("192.168.1.9:9"), end("192.168.1.8:9"), b"from the future");
    c.now_ns = now;
    pass(&mut c, 30);
    t.send(Client, b"still there", &mut c);
    let r = records_of(&c);
    assert_eq!(ours(&r).len(), 1, "{:#?}", r.told());
    assert_eq!(r.stats()["farend"]["stats"]["time"]["disbelieved"], 1);
    assert_eq!(r.stats()["farend"]["stats"]["time"]["jumps"], 0);
}

#[test]
fn a_jump_that_all_hosts_make_is_believed() {
    let (mut c, mut t) = tcp();
    t.handshake(&mut c);
    c.wait(3_600.0);
    for n in 0..200u16 {
        let host = Ip::new(ip(&format!("192.168.1.{}", 20 + n % 9)), ip("192.168.1.2"));
        c.packet(&frame::udp(Ip { id: n + 1, ..host }, [4_000, 53], b"?"));
    }
    pass(&mut c, 20);
    t.send(Client, b"an hour later", &mut c);
    let r = records_of(&c);
    assert_eq!(ours(&r).len(), 2, "an hour of silence ends a flow: {:#?}", r.told());
    assert_eq!(r.stats()["farend"]["stats"]["time"]["jumps"], 1);
}

#[test]
fn a_step_back_is_counted_and_ends_no_flow() {
    let (mut c, mut t) = tcp();
    t.handshake(&mut c);
    c.wait(50.0);
    t.send(Client, b"before", &mut c);
    c.wait(-40.0);
    t.send(Client, b"after", &mut c);
    let r = records_of(&c);
    assert_eq!(packets(r.only_flow()), [4, 1]);
    assert_eq!(r.stats()["farend"]["stats"]["time"]["backward"], 1);
}

#[test]
fn timestamps_at_both_ends_of_their_range_are_values_like_any_other() {
    let session = |start: i64| {
        let mut c = Capture { now_ns: start, step_ns: 1, ..Capture::default() };
        sessions()[0].play(end("194.33.44.11:50000"), end("192.168.1.1:3389"), &mut c);
        c
    };
    let late = session(i64::MAX - SECOND_NS / 2);
    let early = session(i64::MIN);
    let mut torn = session(i64::MIN);
    torn.frames.iter_mut().skip(3).for_each(|f| f.ts_ns = i64::MAX);
    let mut copied = session(i64::MIN);
    copied.frames[1] = copied.frames[0].clone();
    copied.frames[1].ts_ns = i64::MAX;
    for (what, c, start, last) in [
        ("late", late, "2262-", "2262-"),
        ("early", early, "1677-", "1677-"),
        ("torn", torn, "1677-", "2262-"),
        ("copied", copied, "1677-", "2262-"),
    ] {
        let r = records_of(&c);
        let f = r.flows()[0];
        let told = [&f["flow"]["start"], &f["flow"]["end"]].map(|t| t.as_str().expect("a time"));
        assert!(told[0].starts_with(start) && told[1].starts_with(last), "{what}: {told:?}");
    }
}

#[test]
fn the_second_copy_of_a_frame_from_a_span_port_counts_once() {
    let (mut c, mut t) = tcp();
    t.handshake(&mut c);
    for n in 0..30 {
        t.send(Client, &noise(n, 100), &mut c);
        t.send(Server, &noise(n, 300), &mut c);
    }
    t.close(&mut c);
    let alone = records_of(&c);
    let mut twice = Capture::default();
    for f in &c.frames {
        for delay in [0, 100_000] {
            let mut copy = f.clone();
            copy.ts_ns += delay;
            twice.frames.push(copy);
        }
    }
    let r = records_of(&twice);
    assert_eq!(packets(r.only_flow()), packets(alone.only_flow()));
    assert_eq!(r.only_flow()["flow"]["bytes_toclient"], alone.only_flow()["flow"]["bytes_toclient"]);
    let untracked = &r.stats()["farend"]["stats"]["tracking"]["untracked"]["duplicate"];
    assert_eq!(number(untracked), c.frames.len() as u64);
}

#[test]
fn a_fast_flow_loses_no_packet_to_the_search_for_copies() {
    let (mut c, mut t) = tcp();
    c.step_ns = 2_000;
    t.handshake(&mut c);
    for n in 0..200_000 {
        t.send(Server, &[n as u8; 16], &mut c);
    }
    let r = records_of(&c);
    assert_eq!(packets(r.only_flow()), [2, 200_001]);
}

#[test]
fn a_retransmission_is_no_copy() {
    let (mut c, mut t) = tcp();
    t.handshake(&mut c);
    t.send(Client, b"lost on the way", &mut c);
    c.wait(0.2);
    t.next[0] = t.next[0].wrapping_sub(15);
    t.send(Client, b"lost on the way", &mut c);
    let r = records_of(&c);
    assert_eq!(packets(r.only_flow()), [4, 1]);
    assert_eq!(r.stats()["farend"]["stats"]["tracking"]["untracked"]["duplicate"], 0);
}

#[test]
fn segments_out_of_order_reach_the_analyzer_in_order() {
    let payloads = rdp(0);
    let (request, confirm) = (&payloads[0].1, &payloads[1].1);
    // (from, to) of the request in the order in which the segments come: late, twice, overlapping.
    let orders: [&[(usize, usize)]; 5] = [
        &[(0, 46)],
        &[(20, 46), (0, 20)],
        &[(30, 46), (10, 30), (0, 10)],
        &[(0, 10), (5, 30), (0, 10), (25, 46)],
        &[(20, 40), (20, 40), (40, 46), (0, 25)],
    ];
    for order in orders {
        let (mut c, mut t) = tcp();
        t.handshake(&mut c);
        let first = t.next[0];
        for (from, to) in order {
            let to = (*to).min(request.len());
            t.raw(Client, PSH | ACK, first.wrapping_add(*from as u32), &request[*from..to], &mut c);
        }
        t.next[0] = first.wrapping_add(request.len() as u32);
        t.send(Server, confirm, &mut c);
        let r = records_of(&c);
        let f = r.only_flow();
        assert_eq!(f["farend"]["label"], "rdp", "{order:?}");
        let request_evidence = &f["farend"]["evidence"][0];
        assert!(
            request_evidence["detail"].to_string().contains("anna"),
            "{order:?}: the request was read in order: {request_evidence}"
        );
    }
}

#[test]
fn a_gap_does_not_join_what_was_apart() {
    let payloads = rdp(0);
    let (mut c, mut t) = tcp();
    t.handshake(&mut c);
    t.send(Client, &payloads[0].1[..20], &mut c);
    t.lose(Client, 7);
    t.send(Client, &payloads[0].1[20..], &mut c);
    for n in 0..10 {
        t.send(Client, &noise(n, 50), &mut c);
    }
    let r = records_of(&c);
    assert_eq!(r.only_flow()["farend"]["label"], serde_json::Value::Null, "a request with a hole was joined");
}

#[test]
fn echo_request_and_reply_are_one_flow_with_type_and_code_and_without_ports() {
    for (a, b, proto, kinds) in
        [("192.168.1.1", "203.0.113.1", "ICMP", [8, 0]), ("fd00::1", "2a01::1", "IPv6-ICMP", [128, 129])]
    {
        let mut c = Capture::default();
        for n in 0..4 {
            let body = [0x12, 0x34, 0, n, 1, 2, 3, 4];
            let id = u16::from(n) + 1;
            c.packet(&frame::icmp(Ip { id, ..Ip::new(ip(a), ip(b)) }, kinds[0], 0, &body));
            c.packet(&frame::icmp(Ip { id, ..Ip::new(ip(b), ip(a)) }, kinds[1], 0, &body));
        }
        let r = records_of(&c);
        let f = r.only_flow();
        assert_eq!(f["proto"], proto);
        assert_eq!((f["icmp_type"].as_u64(), f["icmp_code"].as_u64()), (Some(u64::from(kinds[0])), Some(0)));
        assert_eq!(packets(f), [4, 4]);
        assert!(f.get("src_port").is_none() && f.get("dest_port").is_none(), "{f}");
    }
}

#[test]
fn echoes_of_two_programs_are_two_flows() {
    let mut c = Capture::default();
    for (n, id) in [1u8, 2, 1, 2].into_iter().enumerate() {
        let ip = Ip { id: n as u16 + 1, ..Ip::new(ip("192.168.1.1"), ip("203.0.113.1")) };
        c.packet(&frame::icmp(ip, 8, 0, &[0, id, 0, n as u8]));
    }
    assert_eq!(records_of(&c).flows().len(), 2);
}

#[test]
fn sctp_has_ports_and_its_name() {
    let mut c = Capture::default();
    for n in 0..3 {
        let there = Ip { id: n + 1, ..Ip::new(ip("192.168.1.1"), ip("203.0.113.1")) };
        let back = Ip { id: n + 1, ..Ip::new(ip("203.0.113.1"), ip("192.168.1.1")) };
        c.packet(&frame::sctp(there, [3_000, 3_868], 1, &noise(1, 16)));
        c.packet(&frame::sctp(back, [3_868, 3_000], 2, &noise(2, 16)));
    }
    let r = records_of(&c);
    let f = r.only_flow();
    assert_eq!(
        (f["proto"].as_str(), f["src_port"].as_u64(), f["dest_port"].as_u64()),
        (Some("SCTP"), Some(3_000), Some(3_868))
    );
    assert_eq!(packets(f), [3, 3]);
}

#[test]
fn what_follows_ipv6_extension_headers_is_found() {
    let (a, b) = (end("[fd00::1]:40000"), end("[2a01::1]:3389"));
    let mut c = Capture::default();
    let mut t = Tcp::between(a, b);
    let options: &[(u8, &[u8])] =
        &[(0, &[1, 4, 0, 0, 0, 0]), (60, &[1, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0])];
    let mut send = |t: &mut Tcp, from, flags, bytes: &[u8]| {
        let plain = t.packet(from, flags, t.next[from as usize], bytes);
        let ends = if from == Client { [a, b] } else { [b, a] };
        c.packet(&Ip::new(ends[0].ip(), ends[1].ip()).with_extensions(options, frame::TCP, &plain[40..]));
        t.lose(from, bytes.len() + usize::from(flags & (SYN | FIN) != 0));
    };
    send(&mut t, Client, SYN, &[]);
    send(&mut t, Server, SYN | ACK, &[]);
    for (side, bytes) in rdp(1) {
        send(&mut t, side, PSH | ACK, &bytes);
    }
    let r = records_of(&c);
    assert_eq!(ends(r.only_flow()), [a, b]);
    assert_eq!(r.only_flow()["farend"]["label"], "rdp");
}

#[test]
fn vlan_tags_are_an_array_outermost_first_and_separate_no_directions() {
    for tags in [vec![], vec![100], vec![10, 20]] {
        let (mut c, mut t) = tcp();
        c.vlan.clone_from(&tags);
        t.handshake(&mut c);
        let r = records_of(&c);
        let expected = if tags.is_empty() { serde_json::Value::Null } else { serde_json::json!(tags) };
        assert_eq!(r.only_flow()["vlan"], expected);
        assert_eq!(packets(r.only_flow()), [2, 1]);
    }
    let (mut c, mut t) = tcp();
    c.vlan = vec![100];
    t.syn(&mut c);
    c.vlan = vec![200]; // a span of two access ports tags by direction
    t.syn_ack(&mut c);
    assert_eq!(packets(records_of(&c).only_flow()), [1, 1]);
}

#[test]
fn an_overlay_is_peeled_and_named() {
    let outer = Ip::new(ip("10.0.0.1"), ip("10.0.0.2"));
    type Wrap = fn(Ip, &[u8], u32) -> Vec<u8>;
    let wraps: [(&[&str], Wrap); 3] = [
        (&["vxlan"], |o, f, _| frame::vxlan(o, 5_001, f)),
        (&["gre", "erspan"], |o, f, n| frame::erspan2(o, 100, n, f)),
        (&["gre"], |o, f, _| frame::gre(o, &f[14..])),
    ];
    for (names, wrap) in wraps {
        let (mut inner, mut t) = tcp();
        t.handshake(&mut inner);
        for (side, bytes) in rdp(1) {
            t.send(side, &bytes, &mut inner);
        }
        let mut c = Capture::default();
        for (n, f) in inner.frames.iter().enumerate() {
            let outer = Ip { id: n as u16 + 1, ..outer };
            c.packet(&wrap(outer, &f.bytes, n as u32));
        }
        let r = records_of(&c);
        let f = r.only_flow();
        assert_eq!(ends(f), [end(CLIENT), end(SERVER)], "{names:?}: the inner flow is reported");
        let peeled: Vec<&str> = f["farend"]["encapsulation"]
            .as_array()
            .expect("layers")
            .iter()
            .filter_map(|l| l.as_str())
            .collect();
        for name in names {
            assert!(peeled.contains(name), "{names:?}: got {peeled:?}");
        }
        assert_eq!(f["farend"]["label"], "rdp", "{names:?}: plumbing is no label");
    }
}

#[test]
fn the_same_addresses_in_two_overlay_segments_are_two_flows() {
    let mut c = Capture::default();
    for vni in [1, 2, 1, 2] {
        let (mut inner, mut t) = tcp();
        t.syn(&mut inner);
        c.packet(&frame::vxlan(
            Ip { id: vni as u16 + 9, ..Ip::new(ip("10.0.0.1"), ip("10.0.0.2")) },
            vni,
            &inner.frames[0].bytes,
        ));
    }
    assert_eq!(records_of(&c).flows().len(), 2);
}

#[test]
fn a_fragmented_datagram_is_one_packet_with_all_its_bytes() {
    for (a, b) in [("192.168.1.1", "203.0.113.1"), ("fd00::1", "2a01::1")] {
        let ip = Ip::new(ip(a), ip(b));
        let whole = frame::udp_datagram(ip, [5_000, 6_000], &noise(1, 4_000));
        let pieces: Vec<Vec<u8>> = whole
            .chunks(1_000)
            .enumerate()
            .map(|(i, part)| ip.fragment(frame::UDP, part, (i * 1_000) as u16, (i + 1) * 1_000 < whole.len()))
            .collect();
        for order in [[0, 1, 2, 3, 4], [4, 3, 2, 1, 0], [2, 0, 4, 1, 3]] {
            let mut c = Capture::default();
            order.iter().for_each(|i| c.packet(&pieces[*i]));
            let r = records_of(&c);
            let f = r.only_flow();
            assert_eq!((packets(f), f["src_port"].as_u64()), ([1, 0], Some(5_000)), "{order:?}");
            let on_the_wire: usize = c.frames.iter().map(|f| f.bytes.len()).sum();
            assert_eq!(number(&f["flow"]["bytes_toserver"]), on_the_wire as u64, "{order:?}");
            assert_eq!(r.stats()["farend"]["stats"]["packets"]["fragments_held"], 4, "{order:?}");
        }
    }
}

#[test]
fn bytes_are_those_of_the_frames_on_the_wire_also_when_the_capture_cut_them() {
    let (mut c, mut t) = tcp();
    t.handshake(&mut c);
    t.send(Client, &noise(1, 1_000), &mut c);
    t.send(Server, &noise(2, 1_400), &mut c);
    let sent = |from: &str| -> u64 {
        let src = end(from).ip();
        c.frames
            .iter()
            .filter(|f| {
                f.bytes[26..30]
                    == match src {
                        std::net::IpAddr::V4(v4) => v4.octets(),
                        _ => [0; 4],
                    }
            })
            .map(|f| u64::from(f.wirelen))
            .sum()
    };
    let expected = [sent(CLIENT), sent(SERVER)];
    let mut cut = c.clone();
    cut.cut(64);
    for capture in [&c, &cut] {
        let r = records_of(capture);
        let f = r.only_flow();
        assert_eq!([number(&f["flow"]["bytes_toserver"]), number(&f["flow"]["bytes_toclient"])], expected);
        assert_eq!(packets(f), [3, 2]);
    }
}

#[test]
fn the_record_tells_when_the_flow_began_and_ended_and_what_flags_it_saw() {
    let (mut c, mut t) = tcp();
    c.step_ns = 0;
    t.syn(&mut c);
    c.wait(1.25);
    t.syn_ack(&mut c);
    c.wait(2.0);
    t.ack(Client, &mut c);
    let r = records_of(&c);
    let f = r.only_flow();
    assert_eq!(f["flow"]["start"], "2026-01-01T00:00:00.000000+0000");
    assert_eq!(f["flow"]["end"], "2026-01-01T00:00:03.250000+0000");
    assert_eq!(f["timestamp"], f["flow"]["end"]);
    assert_eq!(f["flow"]["age"], 3);
    assert_eq!(f["tcp"]["tcp_flags"], "12");
    assert_eq!(f["tcp"]["tcp_flags_ts"], "12");
    assert_eq!(f["tcp"]["tcp_flags_tc"], "12");
    assert_eq!(
        (f["tcp"]["syn"].as_bool(), f["tcp"]["ack"].as_bool(), f["tcp"]["fin"].as_bool()),
        (Some(true), Some(true), Some(false))
    );
}

#[test]
fn the_opener_is_who_sent_the_syn_whichever_address_is_lower() {
    for (a, b) in [
        ("10.0.0.1:50000", "10.0.0.2:22"),
        ("10.0.0.2:22", "10.0.0.1:50000"),
        ("10.0.0.1:1", "10.0.0.1:2"),
        ("10.0.0.1:2", "10.0.0.1:1"),
    ] {
        let mut c = Capture::default();
        Tcp::open(end(a), end(b), &mut c);
        let r = records_of(&c);
        assert_eq!(ends(r.only_flow()), [end(a), end(b)]);
        assert_eq!(r.only_flow()["farend"]["opener_basis"], "syn");
    }
}

#[test]
fn the_answer_to_a_syn_tells_who_sent_it() {
    let (mut c, mut t) = tcp();
    t.handshake(&mut c);
    c.frames.remove(0);
    let r = records_of(&c);
    assert_eq!(ends(r.only_flow()), [end(CLIENT), end(SERVER)]);
    assert_eq!(r.only_flow()["farend"]["opener_basis"], "syn");
}

#[test]
fn without_a_syn_ports_tell_the_opener_and_then_sizes() {
    let cases = [
        ("192.168.1.10:40000", "203.0.113.5:443", 100, 100, "ports"),
        ("192.168.1.10:40000", "203.0.113.5:8443", 100, 100, "ports"),
        ("192.168.1.10:40000", "203.0.113.5:50000", 60, 1_300, "sizes"),
    ];
    for (a, b, there, back, basis) in cases {
        for first in [Client, Server] {
            let mut c = Capture::default();
            let mut t = Tcp::between(end(a), end(b));
            for n in 0..10 {
                let (one, two) = if first == Client { (Client, Server) } else { (Server, Client) };
                for side in [one, two] {
                    t.send(side, &noise(n, if side == Client { there } else { back }), &mut c);
                }
            }
            let r = records_of(&c);
            let f = r.only_flow();
            assert_eq!(ends(f), [end(a), end(b)], "{basis}, the {first:?} seen first");
            assert_eq!(f["farend"]["opener_basis"], basis, "the {first:?} seen first");
        }
    }
}

#[test]
fn data_on_a_syn_is_read() {
    let payloads = rdp(0);
    let (mut c, mut t) = tcp();
    let seq = t.next[0];
    t.raw(Client, SYN, seq, &payloads[0].1, &mut c);
    t.next[0] = seq.wrapping_add(1 + payloads[0].1.len() as u32);
    t.syn_ack(&mut c);
    t.send(Server, &payloads[1].1, &mut c);
    assert_eq!(records_of(&c).only_flow()["farend"]["label"], "rdp");
}

#[test]
fn a_flow_seen_before_its_syn_by_a_reordering_tap_is_one_flow_and_has_its_opener() {
    // The tap delivered the SYN-ACK before the SYN.
    let (mut c, mut t) = tcp();
    t.handshake(&mut c);
    t.send(Server, b"hello", &mut c);
    c.frames.swap(0, 1);
    let r = records_of(&c);
    assert_eq!(ends(r.only_flow()), [end(CLIENT), end(SERVER)]);
    assert_eq!(packets(r.only_flow()), [2, 2]);
}

#[test]
fn of_two_syn_acks_the_one_that_the_opener_acknowledges_counts() {
    for answered_last in [false, true] {
        let (client, server) = (end("192.168.1.2:40000"), end("203.0.113.5:8080"));
        let (there, back) = (Ip::new(client.ip(), server.ip()), Ip::new(server.ip(), client.ip()));
        let (c_port, s_port) = (client.port(), server.port());
        let mut c = Capture::default();
        let mut segment = |from_client: bool, seq, ack, flags, payload: &[u8]| {
            let (ip, ports) = if from_client { (there, [c_port, s_port]) } else { (back, [s_port, c_port]) };
            c.packet(&frame::tcp(ip, ports, seq, ack, flags, payload));
        };
        let taken = 5_000_000;
        let other = 90_000_000;
        segment(true, 100, 0, SYN, b"");
        for seq in if answered_last { [other, taken] } else { [taken, other] } {
            segment(false, seq, 101, SYN | ACK, b"");
        }
        let request = b"GET http://www.example.com/ HTTP/1.1\r\nHost: www.example.com\r\n\r\n";
        let sent = request.len() as u32;
        segment(true, 101, taken + 1, ACK, b"");
        segment(true, 101, taken + 1, ACK | PSH, request);
        segment(false, taken + 1, 101 + sent, ACK | PSH, b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
        let r = records_of(&c);
        assert_eq!(r.only_flow()["farend"]["label"], "http_proxy", "answered last: {answered_last}");
    }
}

#[test]
fn a_flow_that_goes_on_is_recorded_at_its_interval_with_what_it_came_to() {
    let (mut c, mut t) = tcp();
    t.handshake(&mut c);
    for _ in 0..200 {
        c.wait(1.0);
        t.send(Client, b"on and on", &mut c);
    }
    t.close(&mut c);
    pass(&mut c, 30);
    let run = |workers| {
        let setup = Setup { flow_interval_ns: Some(60 * SECOND_NS), workers, ..Setup::default() };
        run_capture(&c, &setup).records()
    };
    let r = run(1);
    assert_eq!(r.0, run(3).0, "for any number of workers");
    let lasting: Vec<_> =
        r.of("farend_flow").into_iter().filter(|f| ends(f) == [end(CLIENT), end(SERVER)]).collect();
    let ended = ours(&r);
    assert_eq!((lasting.len(), ended.len()), (3, 1));
    let mut before = 0;
    for (i, f) in lasting.iter().enumerate() {
        assert_eq!(f["flow_id"], ended[0]["flow_id"]);
        assert_eq!(f["flow"]["start"], ended[0]["flow"]["start"]);
        assert!(f["flow"].get("reason").is_none(), "it has not ended: {f}");
        let sent = packets(f)[0];
        let due = 60 * (i as u64 + 1);
        assert!((due..due + 20).contains(&sent) && sent > before, "{sent} packets at the {}th", i + 1);
        before = sent;
    }
    assert!(packets(ended[0])[0] > before);
}
