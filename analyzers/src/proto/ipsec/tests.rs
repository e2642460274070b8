//! Conversations from RFC 7296, RFC 2409, RFC 3948 and RFC 8229; keys and ciphertext are placeholders.

use super::*;
use crate::Side as End;
use crate::fixture::{Fixture, drive};

const UP: Dir = Dir::ToServer;
const DOWN: Dir = Dir::ToClient;

/// IKE_SA_INIT: nonce payload alone stands for all.
const INIT: &[u8] = b"IIIIIIII\0\0\0\0\0\0\0\0\x28\x20\x22\x08\0\0\0\0\0\0\0\x30\0\0\0\x14NNNNNNNNNNNNNNNN";
const INIT_ANSWER: &[u8] = b"IIIIIIIIRRRRRRRR\x28\x20\x22\x20\0\0\0\0\0\0\0\x30\0\0\0\x14nnnnnnnnnnnnnnnn";
const AUTH: &[u8] = b"IIIIIIIIRRRRRRRR\x2e\x20\x23\x08\0\0\0\x01\0\0\0\x30\x23\0\0\x14EEEEEEEEEEEEEEEE";
/// NO_PROPOSAL_CHOSEN.
const NO_PROPOSAL: &[u8] = b"IIIIIIII\0\0\0\0\0\0\0\0\x29\x20\x22\x20\0\0\0\0\0\0\0\x24\0\0\0\x08\0\0\0\x0e";
/// COOKIE.
const COOKIE: &[u8] = b"IIIIIIII\0\0\0\0\0\0\0\0\x29\x20\x22\x20\0\0\0\0\0\0\0\x28\0\0\0\x0c\0\0\x40\x06CCCC";
/// Version 1, main mode: a vendor id stands for all payloads.
const MAIN: &[u8] = b"IIIIIIII\0\0\0\0\0\0\0\0\x0d\x10\x02\0\0\0\0\0\0\0\0\x24\0\0\0\x08VVVV";
const MAIN_ANSWER: &[u8] = b"IIIIIIIIRRRRRRRR\x0d\x10\x02\0\0\0\0\0\0\0\0\x24\0\0\0\x08vvvv";

const fn talk(name: &'static str, payloads: &'static [(Dir, &'static [u8])]) -> Fixture<'static> {
    Fixture { name, transport: Transport::Udp, payloads }
}

const V2: Fixture<'_> = talk("IKEv2", &[(UP, INIT), (DOWN, INIT_ANSWER), (UP, AUTH)]);
const V1: Fixture<'_> = talk("IKEv1", &[(UP, MAIN), (DOWN, MAIN_ANSWER)]);
const MIDWAY: Fixture<'_> = talk("the initiator's side alone", &[(UP, AUTH)]);
const IN_UDP: Fixture<'_> = talk(
    "behind a NAT, keep-alive first",
    &[
        (UP, b"\xff"),
        (UP, b"\0\0\0\0IIIIIIII\0\0\0\0\0\0\0\0\x28\x20\x22\x08\0\0\0\0\0\0\0\x30\0\0\0\x14NNNNNNNNNNNNNNNN"),
        (DOWN, b"\0\0\0\0IIIIIIIIRRRRRRRR\x28\x20\x22\x20\0\0\0\0\0\0\0\x30\0\0\0\x14nnnnnnnnnnnnnnnn"),
    ],
);
const OVER_TCP: Fixture<'_> = Fixture {
    name: "IKE over TCP",
    transport: Transport::Tcp,
    payloads: &[
        (
            UP,
            b"IKETCP\0\x36\0\0\0\0IIIIIIII\0\0\0\0\0\0\0\0\x28\x20\x22\x08\0\0\0\0\0\0\0\x30\0\0\0\x14NNNNNNNNNNNNNNNN",
        ),
        (
            DOWN,
            b"\0\x36\0\0\0\0IIIIIIIIRRRRRRRR\x28\x20\x22\x20\0\0\0\0\0\0\0\x30\0\0\0\x14nnnnnnnnnnnnnnnn",
        ),
    ],
};
const ESP_PACKET: Fixture<'_> = Fixture {
    name: "ESP",
    transport: Transport::Ip(50),
    payloads: &[(UP, b"\xc1\x02\x03\x04\0\0\0\x07abcdefghijklmnopqrstuvwx")],
};
const AH_PACKET: Fixture<'_> = Fixture {
    name: "AH",
    transport: Transport::Ip(51),
    payloads: &[(UP, b"\x06\x04\0\0\xc1\x02\x03\x04\0\0\0\x07checkchecks!payload")],
};

pub(crate) const FIXTURES: &[Fixture<'_>] = &[V2, V1, MIDWAY, IN_UDP, OVER_TCP, ESP_PACKET, AH_PACKET];

#[test]
fn every_conversation_is_ipsec() {
    for fixture in FIXTURES {
        let got = drive::<State>(fixture, usize::MAX);
        assert_eq!(got.out.label, Some("ipsec"), "{}", fixture.name);
        let ike = matches!(fixture.transport, Transport::Udp | Transport::Tcp);
        assert_eq!(got.out.client, ike.then_some(End::Src), "{}", fixture.name);
        assert_eq!(got.out.basis == Basis::Handshake, ike, "{}", fixture.name);
    }
    assert_eq!(drive::<State>(&OVER_TCP, 1).out.label, Some("ipsec"));
}

fn kinds(payloads: &[(Dir, &[u8])]) -> (Option<&'static str>, Vec<&'static str>) {
    let got = drive::<State>(&Fixture { name: "", transport: Transport::Udp, payloads }, usize::MAX);
    (got.out.label, got.out.evidence.iter().map(|e| e.kind.name).collect())
}

#[test]
fn an_offer_that_nobody_answers_is_evidence_and_no_label() {
    assert_eq!(kinds(&[(UP, INIT), (UP, INIT)]), (None, vec!["ipsec.offer"]));
    assert_eq!(kinds(&[(UP, MAIN)]), (None, vec!["ipsec.offer"]));
}

/// IKE_SA_INIT with a security association, a key exchange and a nonce, their contents cut short.
const WHOLE_INIT: &[u8] = b"IIIIIIII\0\0\0\0\0\0\0\0\x21\x20\x22\x08\0\0\0\0\0\0\0\x48\
    \x22\0\0\x0cPPPPPPPP\x28\0\0\x0cKKKKKKKK\0\0\0\x14NNNNNNNNNNNNNNNN";
/// Main mode, with its security association's domain and situation.
const WHOLE_MAIN: &[u8] =
    b"IIIIIIII\0\0\0\0\0\0\0\0\x01\x10\x02\0\0\0\0\0\0\0\0\x34\x0d\0\0\x10\0\0\0\x01\0\0\0\x01PPPP\0\0\0\x08VVVV";

#[test]
fn a_whole_opening_is_ipsec_while_the_other_side_is_not_seen_and_not_once_it_refused() {
    assert_eq!(kinds(&[(UP, WHOLE_INIT)]), (Some("ipsec"), vec!["ipsec.offer"]));
    assert_eq!(kinds(&[(UP, WHOLE_MAIN), (UP, WHOLE_MAIN)]), (Some("ipsec"), vec!["ipsec.offer"]));
    let refused = (None, vec!["ipsec.offer", "ipsec.refused"]);
    assert_eq!(kinds(&[(UP, WHOLE_INIT), (DOWN, NO_PROPOSAL)]), refused);
    assert_eq!(kinds(&[(UP, WHOLE_INIT), (DOWN, NO_PROPOSAL), (UP, WHOLE_INIT)]), refused);
}

#[test]
fn an_opening_that_lacks_a_payload_or_its_domain_is_no_label() {
    let mut cases = [WHOLE_INIT.to_vec(), WHOLE_INIT.to_vec(), WHOLE_MAIN.to_vec(), WHOLE_MAIN.to_vec()];
    cases[0][28] = 0x29; // a notify in place of the key exchange
    cases[1][19] = 0x20; // an answer
    cases[2][35] = 2; // another domain
    cases[3][23] = 1; // a message id
    for case in cases {
        assert_eq!(kinds(&[(UP, &case)]), (None, vec!["ipsec.offer"]));
    }
}

#[test]
fn a_header_without_its_length_is_believed_of_a_whole_opening_only() {
    let without_length = |message: &[u8]| {
        let mut message = message.to_vec();
        message[24..28].fill(0);
        message
    };
    assert_eq!(kinds(&[(UP, &without_length(WHOLE_MAIN))]).0, Some("ipsec"));
    assert_eq!(kinds(&[(UP, &without_length(MAIN))]), (None, vec![]));
    assert_eq!(kinds(&[(UP, &without_length(AUTH))]), (None, vec![]));
}

#[test]
fn a_refusal_is_evidence_and_a_cookie_is_neither() {
    assert_eq!(kinds(&[(UP, INIT), (DOWN, NO_PROPOSAL)]), (None, vec!["ipsec.offer", "ipsec.refused"]));
    assert_eq!(kinds(&[(UP, INIT), (DOWN, COOKIE)]), (None, vec!["ipsec.offer"]));
}

#[test]
fn payloads_that_do_not_add_up_are_not_ike() {
    let mut cases = vec![INIT.to_vec(); 5];
    cases[0][31] += 1; // nonce beyond the end
    cases[1][27] += 1; // message beyond the datagram
    cases[2][16] = 0x10; // no such payload
    cases[3][18] = 0x50; // no such exchange
    cases[4][19] |= 0x01; // a flag that is none
    for case in cases {
        assert_eq!(kinds(&[(UP, &case)]), (None, vec![]));
    }
}

#[test]
fn a_header_that_fits_is_enough_whatever_is_behind_it() {
    // IKE_AUTH, zero SPIs, an identification payload that ends before the message does.
    let mut message = vec![0; 16];
    message
        .extend(b"\x23\x20\x23\x08\0\0\0\x01\0\0\0\x2C\0\0\0\x09\x01\0\0\0\xDE\xAD\xBE\xEF\xDE\xAD\xBE\xEF");
    let probe = |message: &[u8], port_hint| {
        State::probe(&Probe {
            dir: UP,
            transport: Transport::Udp,
            data: message,
            wire_len: message.len(),
            other: &[],
            earlier: &[],
            from_start: true,
            port_hint,
        })
    };
    assert_eq!(probe(&message, true), Verdict::Yes);
    assert_eq!(probe(&message, false), Verdict::Yes);
    let mut out = Out::default();
    let seg = Segment {
        dir: UP,
        transport: Transport::Udp,
        data: &message,
        wire_len: message.len(),
        gap: false,
        ts_ns: 0,
    };
    State::default().on_data(&seg, &mut out);
    assert_eq!((out.label, out.evidence.len()), (Some("ipsec"), 1));
    // Any one field that does not fit, and it is noise: version, exchange, flags, length, payload.
    for (at, byte) in [(17, 0x30), (18, 7), (19, 0x48), (27, 0x2D), (16, 0)] {
        let mut noise = message.clone();
        noise[at] = byte;
        let same_length = !matches!(at, 17 | 27);
        let expected = if same_length { Verdict::More } else { Verdict::No };
        assert_eq!((probe(&noise, true), probe(&noise, false)), (expected, expected), "byte {at}");
    }
}

fn on_port_4500(packets: &[[u8; 32]]) -> Option<&'static str> {
    let probe = Probe {
        dir: UP,
        transport: Transport::Udp,
        data: &packets[0],
        wire_len: 32,
        other: &[],
        earlier: &[],
        from_start: true,
        port_hint: true,
    };
    assert_eq!(State::probe(&probe), Verdict::Yes);
    assert_eq!(State::probe(&Probe { port_hint: false, ..probe }), Verdict::No);
    let (mut state, mut out) = (State::default(), Out::default());
    for data in packets {
        let seg = Segment { dir: UP, transport: Transport::Udp, data, wire_len: 32, gap: false, ts_ns: 0 };
        state.on_data(&seg, &mut out);
    }
    out.label
}

#[test]
fn esp_in_udp_alone_needs_the_port_and_a_counter_before_random_bytes() {
    let packet = |sequence: u8, salt: u8| {
        let mut packet = [0; 32];
        packet[..8].copy_from_slice(&[0xC1, 2, 3, 4, 0, 0, 0, sequence]);
        for (i, b) in packet[8..].iter_mut().enumerate() {
            *b = (i as u8 + 3).wrapping_mul(salt);
        }
        packet
    };
    assert_eq!(on_port_4500(&[1, 2, 4, 5].map(|i| packet(i, 37 * i))), Some("ipsec"));
    assert_eq!(on_port_4500(&[1, 2, 3].map(|i| packet(i, 37 * i))), None);
    assert_eq!(on_port_4500(&[1, 2, 3, 4].map(|i| packet(i, 1))), None);
    assert_eq!(on_port_4500(&[9, 9, 9, 9].map(|i| packet(i, 37))), None);
}

#[test]
fn a_truncated_header_is_not_ipsec_and_not_a_panic() {
    for n in 0..INIT.len() {
        assert_eq!(kinds(&[(UP, &INIT[..n])]).0, None);
    }
    let no_length = Fixture { payloads: &[(UP, &b"\x3a\0\0\0\0\0\0\0\x80\0\xfa\xe6"[..])], ..AH_PACKET };
    assert_eq!(drive::<State>(&no_length, usize::MAX).out.label, Some("ipsec"));
    let short = Fixture { payloads: &[(UP, &b"\x06\x09\0\0\xc1\x02\x03\x04\0\0\0\x07"[..])], ..AH_PACKET };
    assert!(!drive::<State>(&short, usize::MAX).mine);
}
