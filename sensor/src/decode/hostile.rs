//! Hostile bytes through the whole decoder: random ones, and valid frames of every layer that were mutated, cut and
//! given wrong lengths. Nothing may panic, and what comes out must lie in the frame.

use super::fixtures::*;
use super::{Decoded, Decoder, Encap, Link, Outcome, Packets, proto};
use proptest::prelude::*;

const LINKS: [Link; 8] = [
    Link::Ethernet,
    Link::RawIp,
    Link::Null,
    Link::Loop,
    Link::Sll,
    Link::Sll2,
    Link::Ppp,
    Link::Unsupported(147),
];

/// One valid IP packet of every tunnel and transport.
fn valid_packets() -> Vec<Vec<u8>> {
    let gre = |header: &[u8], payload: &[u8]| ipv4(47, &join(&[header, payload]));
    let port =
        |port: u16, header: &[u8], payload: &[u8]| ipv4(17, &udp(50000, port, &join(&[header, payload])));
    let (v4, v6, eth) = (inner_ipv4(), inner_ipv6(), inner_ethernet());
    let label = [0, 1, 0x01, 64];
    let subframe = join(&[&[2; 12], &[0, 52, 0xaa, 0xaa, 0x03, 0, 0, 0, 0x08, 0x00], &v4, &[0; 2]]);
    let ppp = join(&[&[0xff, 0x03, 0x00, 0x21], &v4]);
    vec![
        v4.clone(),
        v6.clone(),
        ipv4(17, &udp(5353, 53, b"query")),
        ipv6(0, &join(&[&[44, 0, 1, 4, 0, 0, 0, 0, 17, 0, 0, 1, 0, 0, 0, 9], &udp(5353, 53, b"01234567")])),
        ipv4_fragment(17, 0x2000, &udp(5353, 53, b"01234567")),
        ipv4_fragment(17, 0x0002, b"the rest"),
        ipv4(1, &[8, 0, 0, 0, 0x12, 0x34, 0, 1, b'p', b'i']),
        ipv6(58, &[129, 0, 0, 0, 0x12, 0x34, 0, 1]),
        ipv4(132, &[0x0b, 0x59, 0x0b, 0x5a, 0, 0, 0, 1, 0, 0, 0, 0, 1]),
        ipv4(50, &[0, 0, 0x10, 1, 0, 0, 0, 1, 9, 9]),
        ipv4(
            51,
            &join(&[&[4, 4, 0, 0, 0, 0, 0x10, 1, 0, 0, 0, 1, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12], &v4]),
        ),
        ipv4(4, &v4),
        ipv6(41, &v6),
        ipv4(137, &join(&[&label, &[0; 4], &eth])),
        gre(&[0xf0, 0, 8, 0, 0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 1, 0, 0, 0, 0], &v4),
        gre(&[0x20, 0, 0x65, 0x58, 0, 0x51, 1, 9], &eth),
        gre(&[0, 0, 0x88, 0x47], &join(&[&label, &v6])),
        gre(&[0x20, 0x01, 0x64, 0x00, 0, 58, 7, 0], &eth),
        gre(&[0x30, 0x81, 0x88, 0x0b, 0, 48, 0, 9, 0, 0, 0, 1, 0, 0, 0, 2], &ppp),
        gre(&[0, 0, 0x88, 0xbe], &eth),
        gre(&[0x10, 0, 0x88, 0xbe, 0, 0, 0, 1, 0x10, 5, 0x08, 0x64, 0, 0, 0, 1], &eth),
        gre(&[0x10, 0, 0x22, 0xeb, 0, 0, 0, 1, 0x20, 5, 0x08, 0x64, 0, 0, 0, 1, 0, 0, 0, 0], &eth),
        gre(&[0, 0, 0x88, 0x3e, 0, 1, 0, 0], &v4),
        gre(&[0, 0, 0x82, 0x00, 0x88, 0x02], &join(&[&[2; 22], &[0x80, 0], &subframe, &subframe])),
        port(4789, &[8, 0, 0, 0, 0, 0, 100, 0], &eth),
        port(4790, &[0x0c, 0, 0, 1, 0, 0, 100, 0], &v4),
        port(6081, &[1, 0, 0x65, 0x58, 0, 0, 9, 0, 1, 1, 0x80, 0], &eth),
        port(2152, &[0x34, 255, 0, 52, 0, 0, 0, 7, 0, 0, 0, 0x85, 1, 0, 5, 0], &v4),
        port(3544, &[0, 1, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 0, 0, 0, 1, 2, 3, 4, 5, 6], &v6),
        port(1701, &[0x02, 0x02, 0, 5, 0, 6, 0, 1, 0], &ppp),
        port(1701, &[0, 3, 0, 0, 0, 0, 0, 9, 1, 2, 3, 4], &eth),
        port(5247, &[0, 0x10, 0x02, 0, 0, 0, 0, 0], &eth),
        port(4341, &[0x88, 1, 2, 3, 0, 0, 5, 1], &v6),
        port(5072, &[0x01, 0x02, 0x11, 41, 0, 0, 0, 0, 1], &v6),
        port(4754, &[0, 0, 8, 0], &v4),
        port(6635, &label, &v4),
        // On no tunnel's port.
        port(40002, &[8, 0, 0, 0, 0, 0, 100, 0], &eth),
        port(40002, &[0x0c, 0, 0, 2, 0, 0, 100, 0], &v6),
        port(40002, &[1, 0, 0x65, 0x58, 0, 0, 9, 0, 1, 1, 0x80, 0], &eth),
        port(40002, &[0x20, 0, 8, 0, 0, 0, 0, 7], &v4),
        port(40002, &[0, 1, 0, 64, 0, 1, 0x01, 64], &v4),
        port(40002, &[0x34, 255, 0, 52, 0, 0, 0, 7, 0, 0, 0, 0x85, 1, 0, 5, 0], &v4),
        port(40002, &[0, 1, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 0], &v6),
        port(40002, &[0x88, 1, 2, 3, 0, 0, 5, 1], &v6),
        port(40002, &[0, 0x10, 0x02, 0, 0, 0, 0, 0], &eth),
        port(40002, &[0x01, 0x02, 0x11, 41, 0, 0, 0, 0, 1], &v6),
        port(40002, &[0x48, 32, 0, 14, 0, 0, 0, 7, 0, 0, 1, 0], &[2, 0, 2, 0, 16, 0]),
        port(40002, &[0x32, 2, 0, 6, 0, 0, 0, 0, 0, 1, 0, 0], &[14, 3]),
        port(40002, &[0x2e, 240, 0, 8, 0, 4], &[126, 1, 252, 0, 3, 1, 1, 0]),
        port(
            40002,
            &[0x10, 0, 0, 1, 1, 2, 3, 4, 5, 6, 7, 8],
            &[0, 0, 0, 1, 192, 0, 2, 1, 0, 32, 0, 1, 198, 51, 100, 9],
        ),
        port(
            40002,
            &[0x20, 0, 0, 1, 1, 2, 3, 4, 5, 6, 7, 8, 0, 0, 5, 0xa0, 1, 24, 0x10, 0, 0, 0, 0, 1, 192, 0, 2, 0],
            &[1, 100, 1, 100, 0, 1, 0, 1, 198, 51, 100, 2],
        ),
    ]
}

/// A valid frame of `link` around an IP packet.
fn framed(link: Link, ip: &[u8], wrap: u8) -> Vec<u8> {
    let kind: [u8; 2] = if ip[0] >> 4 == 6 { [0x86, 0xdd] } else { [0x08, 0x00] };
    let family = if ip[0] >> 4 == 6 { 10 } else { 2 };
    match link {
        Link::Ethernet => match wrap % 4 {
            0 => ethernet(u16::from_be_bytes(kind), ip),
            1 => ethernet(0x88a8, &join(&[&[0, 5, 0x81, 0, 0, 6], &kind, ip])),
            2 => ethernet(0x8847, &join(&[&[0, 1, 0x01, 64], ip])),
            _ => ethernet(ip.len() as u16 + 8, &join(&[&[0xaa, 0xaa, 0x03, 0, 0, 0], &kind, ip])),
        },
        Link::RawIp | Link::Unsupported(_) => ip.to_vec(),
        Link::Null => join(&[&[family, 0, 0, 0], ip]),
        Link::Loop => join(&[&[0, 0, 0, family], ip]),
        Link::Sll => join(&[&[0, 0, 0, 1, 0, 6, 0, 0, 0, 0, 0, 0, 0, 0], &kind, ip]),
        Link::Sll2 => join(&[&kind, &[0, 0, 0, 0, 0, 2, 0, 1, 4, 6, 0, 0, 0, 0, 0, 0, 0, 0], ip]),
        Link::Ppp => join(&[&[0xff, 0x03, 0x00, if family == 10 { 0x57 } else { 0x21 }], ip]),
    }
}

/// What must hold of every outcome.
fn check(decoder: &mut Decoder, link: Link, frame: &[u8], wire_len: u32, ts_ns: i64) {
    let mut out = Decoded::default();
    let outcome = decoder.decode(link, frame, wire_len, ts_ns, &mut out);
    match outcome {
        Outcome::Packets(n) => assert!(n >= 1 && n == out.packets.len() && n <= Packets::CAPACITY),
        _ => assert!(out.packets.is_empty(), "{outcome:?} with packets"),
    }
    for packet in &out.packets {
        assert!(
            matches!(
                packet.proto,
                proto::TCP
                    | proto::UDP
                    | proto::ICMP
                    | proto::ICMPV6
                    | proto::SCTP
                    | proto::GRE
                    | proto::ESP
                    | proto::AH
            ),
            "{packet:?}"
        );
        assert_eq!(decoder.bytes(frame, packet).len(), packet.payload_len as usize, "{packet:?}");
        assert!(packet.payload_len <= packet.payload_wire, "{packet:?}");
        assert!(packet.l4_at <= packet.payload_at, "{packet:?}");
        assert!(packet.encap.len() <= Encap::CAPACITY);
        assert_eq!(packet.reassembled, packet.buffer != 0);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4096, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_bytes_never_panic(
        frames in prop::collection::vec((prop::collection::vec(any::<u8>(), 0..200), any::<u32>()), 1..6),
    ) {
        let mut decoder = Decoder::default();
        for (frame, wire_len) in &frames {
            for link in LINKS {
                check(&mut decoder, link, frame, *wire_len, i64::from(*wire_len));
                check(&mut decoder, link, frame, 0, i64::MIN);
            }
        }
    }

    #[test]
    fn mutated_frames_never_panic(
        link in prop::sample::select(LINKS.as_slice()),
        frames in prop::collection::vec(
            (
                prop::sample::select(valid_packets()),
                prop::sample::select(valid_packets()),
                any::<u8>(),
                prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
                any::<prop::sample::Index>(),
                any::<bool>(),
                any::<i64>(),
            ),
            1..8,
        ),
    ) {
        let mut decoder = Decoder::default();
        for (ip, inner, wrap, mutations, end, cut, ts_ns) in &frames {
            // Tunnels in tunnels: one packet's tail replaced by a whole other packet.
            let nested = if wrap & 0x80 != 0 { ipv4(4, inner) } else { ip.clone() };
            let mut frame = framed(link, &nested, *wrap);
            let wire_len = frame.len() as u32;
            for (at, value) in mutations {
                let at = at.index(frame.len());
                frame[at] = *value;
            }
            let end = if *cut { end.index(frame.len() + 1) } else { frame.len() };
            check(&mut decoder, link, &frame[..end], wire_len, *ts_ns);
            check(&mut decoder, link, &frame[..end], 0, ts_ns.wrapping_neg());
        }
    }
}

#[test]
fn every_valid_packet_decodes_on_every_link() {
    for link in LINKS {
        for (i, ip) in valid_packets().iter().enumerate() {
            for wrap in 0..4 {
                let (outcome, _) = decode(link, &framed(link, ip, wrap));
                let expected = match link {
                    Link::Unsupported(_) => matches!(outcome, Outcome::Ignored(_)),
                    _ => matches!(outcome, Outcome::Packets(_) | Outcome::Fragment),
                };
                assert!(expected, "{link:?}, packet {i}, wrapping {wrap}: {outcome:?}");
            }
        }
    }
}

#[test]
fn the_same_bytes_give_the_same_packets() {
    let frames: Vec<_> = valid_packets().iter().map(|ip| framed(Link::Ethernet, ip, 0)).collect();
    let run = || {
        let mut decoder = Decoder::default();
        let mut out = Decoded::default();
        let all = frames.iter().map(|frame| {
            let outcome = decoder.decode(Link::Ethernet, frame, frame.len() as u32, 0, &mut out);
            (outcome, out.packets.to_vec())
        });
        all.collect::<Vec<_>>()
    };
    assert_eq!(run(), run());
}
