//! Conversations in each wrapping, as the protocol's description has them; HMACs and ciphertext are placeholders.

use super::*;
use crate::Side as End;
use crate::fixture::{Fixture, drive};

const UP: Dir = Dir::ToServer;
const DOWN: Dir = Dir::ToClient;

const RESET_PLAIN: &[u8] = b"\x38CCCCCCCC\x00\x00\x00\x00\x00";
const ANSWER_PLAIN: &[u8] = b"\x40SSSSSSSS\x01\x00\x00\x00\x00CCCCCCCC\x00\x00\x00\x00";
const HELLO: &[u8] = b"\x20CCCCCCCC\x01\x00\x00\x00\x00SSSSSSSS\x00\x00\x00\x01\x16\x03\x01\x00\x02he";
const HELLO_2: &[u8] = b"\x20CCCCCCCC\x00\x00\x00\x00\x02llo";
const HELLO_BACK: &[u8] = b"\x20SSSSSSSS\x01\x00\x00\x00\x01CCCCCCCC\x00\x00\x00\x01\x16\x03\x03\x00\x01H";
const ACK: &[u8] = b"\x28CCCCCCCC\x01\x00\x00\x00\x01SSSSSSSS";
const ACK_2: &[u8] = b"\x28CCCCCCCC\x02\x00\x00\x00\x02\x00\x00\x00\x01SSSSSSSS";

const RESET_AUTH: &[u8] =
    b"\x38CCCCCCCChhhhhhhhhhhhhhhhhhhh\x00\x00\x00\x01\x66\x55\x44\x33\x00\x00\x00\x00\x00";
const ANSWER_AUTH: &[u8] =
    b"\x40SSSSSSSSHHHHHHHHHHHHHHHHHHHH\x00\x00\x00\x01\x66\x55\x44\x35\x01\x00\x00\x00\x00CCCCCCCC\x00\x00\x00\x00";

const RESET_CRYPT: &[u8] =
    b"\x38CCCCCCCC\x00\x00\x00\x01\x66\x55\x44\x33tttttttttttttttttttttttttttttttteeeee";
const ANSWER_CRYPT: &[u8] =
    b"\x40SSSSSSSS\x00\x00\x00\x01\x66\x55\x44\x35TTTTTTTTTTTTTTTTTTTTTTTTTTTTTTTTeeeeeeeeeeeeeeeee";

/// tls-crypt-v2: 290 bytes of wrapped key, whose length ends the packet.
const RESET_CRYPT_V2: &[u8; 344] = &{
    let mut packet = [0xA5; 344];
    let head = *b"\x50CCCCCCCC\x0f\x00\x00\x01\x66\x55\x44\x33";
    let mut i = 0;
    while i < head.len() {
        packet[i] = head[i];
        i += 1;
    }
    [packet[342], packet[343]] = 290u16.to_be_bytes();
    packet
};
const ANSWER_CRYPT_V2: &[u8] =
    b"\x40SSSSSSSS\x00\x00\x00\x01\x66\x55\x44\x35TTTTTTTTTTTTTTTTTTTTTTTTTTTTTTTTeeeeeeeeeeeeeeeeevvvvvv";

/// Data packets of peer 7.
const D1: &[u8] = b"\x48\x00\x00\x07\x00\x00\x00\x51abcdefghijklmnopciphertext";
const D2: &[u8] = b"\x48\x00\x00\x07\x00\x00\x00\x52qrstuvwxyz012345ciphertext";
const D3: &[u8] = b"\x48\x00\x00\x07\x00\x00\x00\x54ABCDEFGHIJKLMNOPciphertext";

const fn talk(name: &'static str, payloads: &'static [(Dir, &'static [u8])]) -> Fixture<'static> {
    Fixture { name, transport: Transport::Udp, payloads }
}

const CLEAR: Fixture<'_> = talk(
    "in the clear",
    &[
        (UP, RESET_PLAIN),
        (DOWN, ANSWER_PLAIN),
        (UP, HELLO),
        (UP, HELLO_2),
        (DOWN, HELLO_BACK),
        (UP, ACK),
        (UP, D1),
    ],
);
const AUTH: Fixture<'_> = talk("tls-auth", &[(UP, RESET_AUTH), (DOWN, ANSWER_AUTH)]);
const CRYPT: Fixture<'_> = talk("tls-crypt", &[(UP, RESET_CRYPT), (DOWN, ANSWER_CRYPT)]);
const CRYPT_V2: Fixture<'_> = talk("tls-crypt-v2", &[(UP, RESET_CRYPT_V2), (DOWN, ANSWER_CRYPT_V2)]);
const TCP: Fixture<'_> = Fixture {
    name: "over TCP",
    transport: Transport::Tcp,
    payloads: &[
        (UP, b"\x00\x0e\x38CCCCCCCC\x00\x00\x00\x00\x00"),
        (DOWN, b"\x00\x1a\x40SSSSSSSS\x01\x00\x00\x00\x00CCCCCCCC\x00\x00\x00\x00"),
        (UP, b"\x00\x21\x20CCCCCCCC\x01\x00\x00\x00\x00SSSSSSSS\x00\x00\x00\x01\x16\x03\x01\x00\x02he"),
    ],
};
const MIDWAY: Fixture<'_> = talk("a handshake under way", &[(UP, HELLO), (DOWN, HELLO_BACK)]);
const DATA_ONLY: Fixture<'_> =
    talk("data only", &[(UP, D1), (DOWN, D1), (UP, D2), (DOWN, D2), (UP, D3), (DOWN, D3)]);
/// `xormask` with the key "k".
const MASKED: Fixture<'_> =
    talk("the XOR patch", &[(UP, b"\x53((((((((kkkkk"), (DOWN, b"\x2b88888888jkkkk((((((((kkkk")]);
const CLIENT_ALONE: Fixture<'_> =
    talk("the client's side alone", &[(UP, RESET_PLAIN), (UP, HELLO), (UP, ACK), (UP, ACK_2)]);

pub(crate) const FIXTURES: &[Fixture<'_>] =
    &[CLEAR, AUTH, CRYPT, CRYPT_V2, TCP, MIDWAY, DATA_ONLY, MASKED, CLIENT_ALONE];

#[test]
fn every_conversation_is_openvpn() {
    for fixture in FIXTURES {
        let got = drive::<State>(fixture, usize::MAX);
        assert_eq!(got.out.label, Some("openvpn"), "{}", fixture.name);
        assert_eq!(got.out.controlled, None, "{}", fixture.name);
        let midstream = [MIDWAY.name, DATA_ONLY.name].contains(&fixture.name);
        assert_eq!(got.out.basis == Basis::Midstream, midstream, "{}", fixture.name);
        if !midstream {
            assert_eq!(got.out.client, Some(End::Src), "{}", fixture.name);
        }
    }
    for piece in [1, 3] {
        assert_eq!(drive::<State>(&TCP, piece).out.label, Some("openvpn"));
    }
}

#[test]
fn the_wrapping_is_named() {
    let named = |f: &Fixture<'_>| drive::<State>(f, usize::MAX).out.evidence[0].detail.to_string();
    assert!(named(&CLEAR).ends_with("control channel in the clear"));
    assert!(named(&AUTH).ends_with("tls-auth, HMAC of 20 bytes"));
    assert!(named(&CRYPT).ends_with(", tls-crypt"));
    assert!(named(&CRYPT_V2).ends_with("tls-crypt-v2"));
    assert_eq!(named(&MASKED), "xormask");
}

#[test]
fn the_tls_stream_of_a_clear_control_channel_is_handed_on() {
    let got = drive::<State>(&CLEAR, usize::MAX);
    assert_eq!(got.inner, [b"\x16\x03\x01\x00\x02hello".to_vec(), b"\x16\x03\x03\x00\x01H".to_vec()]);
}

#[test]
fn a_packet_that_overtook_another_is_not_handed_on_before_it() {
    let overtaken =
        Fixture { payloads: &[(UP, RESET_PLAIN), (DOWN, ANSWER_PLAIN), (UP, HELLO_2), (UP, HELLO)], ..CLEAR };
    let got = drive::<State>(&overtaken, usize::MAX);
    assert_eq!(got.inner[0], b"\x16\x03\x01\x00\x02he");
}

#[test]
fn a_reset_without_an_answer_is_evidence_and_no_label() {
    for reset in [RESET_PLAIN, RESET_AUTH, RESET_CRYPT, RESET_CRYPT_V2] {
        let got = drive::<State>(&Fixture { payloads: &[(UP, reset), (UP, reset)], ..CLEAR }, usize::MAX);
        assert!(got.mine);
        assert_eq!(got.out.label, None);
        assert_eq!(got.out.evidence.len(), 1);
    }
}

#[test]
fn an_answer_to_another_session_confirms_nothing() {
    const OTHER: &[u8] = b"\x40SSSSSSSS\x01\x00\x00\x00\x00CCCCCCCX\x00\x00\x00\x00";
    let got = drive::<State>(&Fixture { payloads: &[(UP, RESET_PLAIN), (DOWN, OTHER)], ..CLEAR }, usize::MAX);
    assert_eq!(got.out.label, None);
}

#[test]
fn stamps_of_different_days_confirm_nothing() {
    let mut answer = ANSWER_CRYPT.to_vec();
    answer[13] ^= 1;
    let got =
        drive::<State>(&Fixture { payloads: &[(UP, RESET_CRYPT), (DOWN, &answer)], ..CLEAR }, usize::MAX);
    assert_eq!(got.out.label, None);
}

#[test]
fn a_dns_query_of_the_same_size_is_not_a_reset() {
    const QUERY: &[u8] = b"\x38\x01\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x03www\x20abcdefghijklmnopqrstuvwxyzabcdef\0\0\x01\0\x01";
    assert_eq!(QUERY.len(), RESET_CRYPT.len());
    let got = drive::<State>(&Fixture { payloads: &[(UP, QUERY)], ..CLEAR }, usize::MAX);
    assert!(!got.mine);
}

#[test]
fn text_and_foreign_counters_are_not_data_packets() {
    let cases: [[&[u8]; 3]; 3] = [
        [b"HTTP/1.1 200 OK\r\nCACHE-CONTROL: max-age=1800\r\n"; 3],
        // Counts, but the bytes behind the counter do not look like a tag.
        [
            b"\x48\x00\x00\x07\x00\x00\x00\x01\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0",
            b"\x48\x00\x00\x07\x00\x00\x00\x02\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0",
            b"\x48\x00\x00\x07\x00\x00\x00\x03\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0",
        ],
        // Looks random, but does not count.
        [
            b"\x48\x00\x00\x07\x35\x82\x11\x09abcdefghijklmnop",
            b"\x48\x00\x00\x07\x12\x63\x98\x77qrstuvwxyz012345",
            b"\x48\x00\x00\x07\x70\x00\x43\x21ABCDEFGHIJKLMNOP",
        ],
    ];
    for case in cases {
        let payloads: Vec<_> = case.iter().flat_map(|b| [(UP, *b), (DOWN, *b)]).collect();
        let got = drive::<State>(&Fixture { payloads: &payloads, ..CLEAR }, usize::MAX);
        assert_eq!(got.out.label, None, "{}", String::from_utf8_lossy(case[0]));
    }
}

#[test]
fn a_stream_that_is_not_framed_is_not_taken() {
    for bytes in
        [&b"\x16\x03\x01\x02\x00\x01"[..], b"8 is a number\r\n", b"\x00\x0e\x38CCCCCCCC\x01\x00\x00\x00\x00"]
    {
        let got = drive::<State>(&Fixture { payloads: &[(UP, bytes)], ..TCP }, usize::MAX);
        assert!(!got.mine);
    }
}
