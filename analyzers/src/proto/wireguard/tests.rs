//! Conversations of the four messages; keys and ciphertext are placeholders.

use super::*;
use crate::Side as End;
use crate::fixture::{Fixture, drive};

const UP: Dir = Dir::ToServer;
const DOWN: Dir = Dir::ToClient;

/// A message with these first bytes; the rest stands for keys.
const fn message<const N: usize>(head: [u8; 12]) -> [u8; N] {
    let mut bytes = [0xA5; N];
    let mut i = 0;
    while i < head.len() {
        bytes[i] = head[i];
        i += 1;
    }
    bytes
}

/// A data packet to index 05 06 07 08 under this mark; its ciphertext depends on the counter.
const fn data<const N: usize>(mark: [u8; 4], counter: u8) -> [u8; N] {
    let mut bytes = [0; N];
    let mut i = 0;
    while i < N {
        bytes[i] = match i {
            0..=3 => mark[i],
            4..=7 => i as u8 + 1,
            8 => counter,
            9..=15 => 0,
            _ => (i as u8).wrapping_mul(counter.wrapping_add(77)).wrapping_add(counter),
        };
        i += 1;
    }
    bytes
}

const OWN: [u8; 4] = [4, 0, 0, 0];
const INIT: &[u8] = &message::<148>([1, 0, 0, 0, 0x11, 0x22, 0x33, 0x44, 9, 9, 9, 9]);
const ANSWER: &[u8] = &message::<92>([2, 0, 0, 0, 5, 6, 7, 8, 0x11, 0x22, 0x33, 0x44]);
const TO_RESPONDER: &[u8] = &data::<32>(OWN, 0);

const fn talk(name: &'static str, payloads: &'static [(Dir, &'static [u8])]) -> Fixture<'static> {
    Fixture { name, transport: Transport::Udp, payloads }
}

const HANDSHAKE: Fixture<'_> =
    talk("handshake, then data", &[(UP, INIT), (DOWN, ANSWER), (UP, TO_RESPONDER)]);
const DATA_ONLY: Fixture<'_> = talk(
    "data only, cut to the MTU at 1452",
    &[(UP, &data::<96>(OWN, 100)), (UP, &data::<1452>(OWN, 101)), (UP, &data::<96>(OWN, 103))],
);
/// The initiator's index is the data's here.
const RESPONDER_ALONE: Fixture<'_> = talk(
    "the responder's side alone",
    &[(DOWN, &message::<92>([2, 0, 0, 0, 0xA, 0xB, 0xC, 0xD, 5, 6, 7, 8])), (DOWN, &data::<32>(OWN, 0))],
);
const LONGER: Fixture<'_> = talk(
    "a service with a longer handshake",
    &[
        (UP, &message::<204>([1, 0, 0, 0, 0x11, 0x22, 0x33, 0x44, 9, 9, 9, 9])),
        (DOWN, &message::<100>([2, 0, 0, 0, 5, 6, 7, 8, 0x11, 0x22, 0x33, 0x44])),
    ],
);
const RESERVED: Fixture<'_> = talk(
    "a service that uses the reserved bytes",
    &[
        (UP, &message::<148>([1, 7, 8, 9, 0x11, 0x22, 0x33, 0x44, 9, 9, 9, 9])),
        (DOWN, &message::<92>([2, 7, 8, 9, 5, 6, 7, 8, 0x11, 0x22, 0x33, 0x44])),
    ],
);
const MARKED: Fixture<'_> = talk(
    "type byte with upper bits set",
    &[
        (DOWN, &message::<100>([0xC2, 2, 0x78, 0, 5, 6, 7, 8, 1, 1, 1, 1])),
        (UP, &data::<96>([0xC4, 2, 0x78, 0], 1)),
    ],
);

pub(crate) const FIXTURES: &[Fixture<'_>] =
    &[HANDSHAKE, DATA_ONLY, RESPONDER_ALONE, LONGER, RESERVED, MARKED];

#[test]
fn every_conversation_is_wireguard() {
    for fixture in FIXTURES {
        let got = drive::<State>(fixture, usize::MAX);
        assert_eq!(got.out.label, Some("wireguard"), "{}", fixture.name);
        let data_only = fixture.name == DATA_ONLY.name;
        let expected = if data_only { (Basis::Midstream, None) } else { (Basis::Handshake, Some(End::Src)) };
        assert_eq!((got.out.basis, got.out.client), expected, "{}", fixture.name);
    }
}

#[test]
fn the_same_number_in_both_sides_reserved_bytes_is_warps_beside_wireguard() {
    for fixture in [RESERVED, MARKED] {
        let got = drive::<State>(&fixture, usize::MAX);
        assert_eq!((got.out.label, got.out.brand), (Some("wireguard"), Some("warp")), "{}", fixture.name);
    }
    // The number comes with the response: the client's data must show it too.
    const ANSWER: &[u8] = &message::<92>([2, 7, 8, 9, 5, 6, 7, 8, 0x11, 0x22, 0x33, 0x44]);
    const DATA: &[u8] = &data::<32>([4, 7, 8, 9], 0);
    let brand = |payloads| {
        let got = drive::<State>(&Fixture { payloads, ..HANDSHAKE }, usize::MAX);
        assert_eq!(got.out.label, Some("wireguard"));
        got.out.brand
    };
    assert_eq!(brand(&[(UP, INIT), (DOWN, ANSWER)]), None);
    assert_eq!(brand(&[(UP, INIT), (DOWN, ANSWER), (UP, TO_RESPONDER)]), None);
    assert_eq!(brand(&[(UP, INIT), (DOWN, ANSWER), (UP, DATA)]), Some("warp"));
    assert_eq!(brand(HANDSHAKE.payloads), None);
}

#[test]
fn discovery_before_or_behind_a_recognition_in_the_middle_is_tailscales_beside_wireguard() {
    let mut disco = b"TS\xf0\x9f\x92\xac".to_vec();
    disco.resize(92, 0xA5);
    let brand = |at: usize, disco: &[u8]| {
        let mut payloads: Vec<(Dir, &[u8])> = DATA_ONLY.payloads.to_vec();
        payloads.extend([DATA_ONLY.payloads[0]; 4]);
        payloads.insert(at, (DOWN, disco));
        let got = drive::<State>(&Fixture { payloads: &payloads, ..DATA_ONLY }, usize::MAX);
        assert_eq!((got.out.label, got.out.basis), (Some("wireguard"), Basis::Midstream));
        got.out.brand
    };
    assert_eq!(brand(1, &disco), Some("tailscale"));
    assert_eq!(brand(6, &disco), Some("tailscale"));
    assert_eq!(brand(6, &disco[..60]), None);
}

#[test]
fn strangers_after_an_answer_do_not_take_the_label_back() {
    const ANSWER: &[u8] = &message::<92>([2, 7, 8, 9, 5, 6, 7, 8, 0x11, 0x22, 0x33, 0x44]);
    let mut payloads = vec![(UP, INIT), (DOWN, ANSWER)];
    payloads.extend([(UP, &b"no message of WireGuard's"[..]); 40]);
    let got = drive::<State>(&Fixture { payloads: &payloads, ..HANDSHAKE }, usize::MAX);
    assert_eq!((got.mine, got.out.label), (true, Some("wireguard")));
}

#[test]
fn an_unanswered_initiation_is_evidence_and_no_label() {
    let got = drive::<State>(&Fixture { payloads: &[(UP, INIT), (UP, INIT)], ..HANDSHAKE }, usize::MAX);
    assert_eq!(got.out.label, None);
    assert_eq!(got.out.evidence.len(), 1);
}

/// Initiations `gap_ms` apart, each with its own index and key, and what is in the cookie's place at the end of all.
fn initiations(count: u8, gap_ms: i64, cookie: u8) -> (State, Out) {
    let (mut state, mut out) = (State::default(), Out::default());
    for i in 0..count {
        let mut data =
            message::<148>([1, 0, 0, 0, 9, 8, 7, i, i.wrapping_mul(31), i, !i, i.wrapping_mul(77)]);
        for (at, b) in data.iter_mut().enumerate().skip(8) {
            *b = (at as u8 ^ i).wrapping_mul(2 * i + 3);
        }
        data[132..].fill(cookie);
        let ts_ns = i64::from(i) * gap_ms * 1_000_000;
        state.on_data(
            &Segment { dir: UP, transport: Transport::Udp, data: &data, wire_len: 148, gap: false, ts_ns },
            &mut out,
        );
    }
    (state, out)
}

#[test]
fn initiations_that_repeat_as_they_should_are_wireguard_while_the_other_side_is_not_seen() {
    let (mut state, mut out) = initiations(3, 5_200, 0);
    assert_eq!((out.label, out.client), (Some("wireguard"), Some(crate::Side::Src)));
    let names: Vec<_> = out.evidence.iter().map(|e| e.kind.name).collect();
    assert_eq!(names, ["wireguard.initiation", "wireguard.initiations"]);
    // Whatever the other side says is not an answer.
    let data = [0; 48];
    let seg =
        Segment { dir: DOWN, transport: Transport::Udp, data: &data, wire_len: 48, gap: false, ts_ns: 0 };
    state.on_data(&seg, &mut out);
    assert_eq!(out.label, None);
}

#[test]
fn initiations_too_few_too_fast_or_with_bytes_for_a_cookie_are_no_label() {
    for (count, gap_ms, cookie) in [(2, 5_200, 0), (6, 1_000, 0), (6, 5_200, 3)] {
        assert_eq!(initiations(count, gap_ms, cookie).1.label, None, "{count} {gap_ms} {cookie}");
    }
}

#[test]
fn an_initiation_put_off_with_a_cookie_is_evidence_and_no_label() {
    const REPLY: &[u8] = &message::<64>([3, 0, 0, 0, 0x11, 0x22, 0x33, 0x44, 7, 7, 7, 7]);
    let got = drive::<State>(&Fixture { payloads: &[(UP, INIT), (DOWN, REPLY)], ..HANDSHAKE }, usize::MAX);
    assert_eq!(got.out.label, None);
    assert_eq!(got.out.evidence[1].kind.name, "wireguard.cookie");
}

#[test]
fn an_answer_to_another_index_confirms_nothing() {
    const OTHER: &[u8] = &message::<92>([2, 0, 0, 0, 5, 6, 7, 8, 0x11, 0x22, 0x33, 0x45]);
    let got = drive::<State>(&Fixture { payloads: &[(UP, INIT), (DOWN, OTHER)], ..HANDSHAKE }, usize::MAX);
    assert_eq!(got.out.label, None);
}

fn label_of(packets: &[Vec<u8>]) -> Option<&'static str> {
    let payloads: Vec<_> = packets.iter().map(|p| (UP, &p[..])).collect();
    drive::<State>(&Fixture { payloads: &payloads, ..HANDSHAKE }, usize::MAX).out.label
}

#[test]
fn sizes_off_the_lattice_need_a_longer_run() {
    let unpadded: Vec<_> = (0..8).map(|i| data::<93>(OWN, i).to_vec()).collect();
    let mixed: Vec<_> = unpadded.iter().map(|p| [p, &vec![0; usize::from(p[8]) % 3][..]].concat()).collect();
    assert_eq!(label_of(&mixed[..7]), None);
    assert_eq!(label_of(&mixed), Some("wireguard"));
}

#[test]
fn a_counter_that_stands_still_or_a_constant_body_is_not_wireguard() {
    assert_eq!(label_of(&vec![data::<96>(OWN, 5).to_vec(); 20]), None);
    let constant: Vec<_> = (0..20).map(|i| [&data::<96>(OWN, i)[..16], &[7; 80]].concat()).collect();
    assert_eq!(label_of(&constant), None);
}

#[test]
fn a_packet_that_was_overtaken_and_a_new_index_are_borne() {
    let packets = [100, 102, 101, 103].map(|i| data::<96>(OWN, i).to_vec());
    assert_eq!(label_of(&packets), Some("wireguard"));
    let mut rekeyed = [100, 101, 0, 1, 2].map(|i| data::<96>(OWN, i).to_vec());
    for packet in &mut rekeyed[2..] {
        packet[4] = 0x99;
    }
    assert_eq!(label_of(&rekeyed), Some("wireguard"));
}

#[test]
fn discovery_packets_between_are_borne() {
    let disco = b"TS\xf0\x9f\x92\xac discovery".to_vec();
    let packets = [
        data::<96>(OWN, 1).to_vec(),
        disco.clone(),
        data::<96>(OWN, 2).to_vec(),
        disco,
        data::<96>(OWN, 3).to_vec(),
    ];
    assert_eq!(label_of(&packets), Some("wireguard"));
}

#[test]
fn an_ike_cookie_that_looks_like_a_marked_data_packet_is_not_taken() {
    const IKE: &[u8] = b"\xc4\x11\x22\x33\x44\x55\x66\x77\0\0\0\0\0\0\0\0\x21\x20\x22\x08\0\0\0\0\0\0\0\x24\0\0\0\x08\0\0\0\0";
    let got = drive::<State>(&Fixture { payloads: &[(UP, IKE), (DOWN, IKE)], ..HANDSHAKE }, usize::MAX);
    assert!(!got.mine);
}

#[test]
fn a_dns_query_of_a_cookie_replys_size_is_not_taken() {
    const QUERY: &[u8] = &{
        let mut query = [b'a'; 64];
        let head = *b"\x03\0\x01\0\0\x01\0\0\0\0\0\0\x2e";
        let mut i = 0;
        while i < head.len() {
            query[i] = head[i];
            i += 1;
        }
        query
    };
    let got = drive::<State>(&Fixture { payloads: &[(UP, QUERY)], ..HANDSHAKE }, usize::MAX);
    assert!(!got.mine);
}
