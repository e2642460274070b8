//! Conversations from RFC 1928, RFC 1929 and the SOCKS 4 memo.

use super::*;
use crate::Side as End;
use crate::fixture::{Fixture, drive};

const UP: Dir = Dir::ToServer;
const DOWN: Dir = Dir::ToClient;
const HELLO: &[u8] = b"\x16\x03\x01\x00\x05hello";
const REPLY: &[u8] = b"\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00";

const fn talk(name: &'static str, payloads: &'static [(Dir, &'static [u8])]) -> Fixture<'static> {
    Fixture { name, transport: Transport::Tcp, payloads }
}

const NAME: Fixture<'_> = talk(
    "SOCKS 5 to a name, without authentication",
    &[
        (UP, b"\x05\x01\x00"),
        (DOWN, b"\x05\x00"),
        (UP, b"\x05\x01\x00\x03\x0bexample.com\x01\xbb"),
        (DOWN, REPLY),
        (UP, HELLO),
        (DOWN, b"HELLO"),
    ],
);
const PASSWORD: Fixture<'_> = talk(
    "SOCKS 5 to an address, with a password",
    &[
        (UP, b"\x05\x02\x00\x02"),
        (DOWN, b"\x05\x02"),
        (UP, b"\x01\x04user\x06secret"),
        (DOWN, b"\x01\x00"),
        (UP, b"\x05\x01\x00\x01\xc0\x00\x02\x01\x0d\x3d"),
        (DOWN, REPLY),
        (UP, HELLO),
        (DOWN, b"HELLO"),
    ],
);
const V4A: Fixture<'_> = talk(
    "SOCKS 4a",
    &[
        (UP, b"\x04\x01\x01\xbb\x00\x00\x00\x01me\x00example.com\x00"),
        (DOWN, b"\x00\x5a\x00\x00\x00\x00\x00\x00"),
        (UP, HELLO),
        (DOWN, b"HELLO"),
    ],
);
const BOUND: Fixture<'_> = talk(
    "SOCKS 5 BIND",
    &[
        (UP, b"\x05\x01\x00"),
        (DOWN, b"\x05\x00"),
        (UP, b"\x05\x02\x00\x01\xc0\x00\x02\x01\x00\x15"),
        (DOWN, REPLY),
        (DOWN, b"\x05\x00\x00\x01\xc0\x00\x02\x01\x00\x14"),
        (DOWN, b"HELLO"),
    ],
);
const PROXY_ALONE: Fixture<'_> =
    talk("the proxy's side alone", &[(DOWN, b"\x05\x00"), (DOWN, REPLY), (DOWN, b"HELLO")]);
const CLIENT_ALONE: Fixture<'_> = talk(
    "the client's side alone",
    &[(UP, b"\x05\x01\x00"), (UP, b"\x05\x01\x00\x01\xc0\x00\x02\x01\x0d\x3d"), (UP, HELLO)],
);

pub(crate) const FIXTURES: &[Fixture<'_>] = &[NAME, PASSWORD, V4A, BOUND, PROXY_ALONE, CLIENT_ALONE];

#[test]
fn every_conversation_is_socks_and_what_rides_in_it_is_handed_on() {
    for fixture in FIXTURES {
        for piece in [usize::MAX, 3, 1] {
            let got = drive::<State>(fixture, piece);
            assert_eq!(got.out.label, Some("socks"), "{} in pieces of {piece}", fixture.name);
            assert_eq!(got.out.client, Some(End::Src), "{} in pieces of {piece}", fixture.name);
            let sent = |dir, bytes: &[u8]| {
                if fixture.payloads.contains(&(dir, bytes)) { bytes.to_vec() } else { vec![] }
            };
            assert_eq!(
                got.inner,
                [sent(UP, HELLO), sent(DOWN, b"HELLO")],
                "{} in pieces of {piece}",
                fixture.name
            );
        }
    }
}

fn details(fixture: &Fixture<'_>) -> Vec<(&'static str, String)> {
    let got = drive::<State>(fixture, usize::MAX);
    got.out.evidence.iter().map(|e| (e.kind.name, e.detail.to_string())).collect()
}

#[test]
fn the_target_is_evidence_and_the_password_is_not() {
    assert!(details(&NAME).contains(&("socks.granted", "CONNECT example.com:443".to_owned())));
    assert!(details(&V4A).contains(&("socks.granted", "CONNECT example.com:443".to_owned())));
    let with_password = details(&PASSWORD);
    assert!(with_password.contains(&("socks.granted", "CONNECT 192.0.2.1:3389".to_owned())));
    assert!(with_password.iter().all(|(_, d)| !d.contains("secret") && !d.contains("user:")));
}

#[test]
fn refusals_are_evidence_and_no_label() {
    type Refusal = (&'static [(Dir, &'static [u8])], &'static str);
    let refusals: [Refusal; 4] = [
        (&[(UP, b"\x05\x01\x02"), (DOWN, b"\x05\xff")], "no acceptable method"),
        (
            &[(UP, b"\x05\x01\x02"), (DOWN, b"\x05\x02"), (UP, b"\x01\x01a\x01b"), (DOWN, b"\x01\x01")],
            "user name or password",
        ),
        (
            &[
                (UP, b"\x05\x01\x00"),
                (DOWN, b"\x05\x00"),
                (UP, b"\x05\x01\x00\x01\xc0\x00\x02\x01\x0d\x3d"),
                (DOWN, b"\x05\x05\x00\x01\x00\x00\x00\x00\x00\x00"),
            ],
            "connection refused",
        ),
        (
            &[(UP, b"\x04\x01\x01\xbb\xc0\x00\x02\x01\x00"), (DOWN, b"\x00\x5b\x00\x00\x00\x00\x00\x00")],
            "failed",
        ),
    ];
    for (payloads, why) in refusals {
        let fixture = Fixture { payloads, ..NAME };
        assert_eq!(drive::<State>(&fixture, usize::MAX).out.label, None, "{why}");
        assert!(details(&fixture).contains(&("socks.refused", why.to_owned())), "{why}");
    }
}

#[test]
fn a_greeting_that_nobody_answers_is_evidence_and_no_label() {
    let got = drive::<State>(&Fixture { payloads: &NAME.payloads[..1], ..NAME }, usize::MAX);
    assert_eq!((got.mine, got.out.label, got.out.evidence.len()), (true, None, 1));
}

#[test]
fn an_answer_of_another_protocol_gives_no_label() {
    let payloads = &[(UP, &b"\x05\x01\x00"[..]), (DOWN, b"HTTP/1.1 400 Bad Request\r\n\r\n")];
    assert_eq!(drive::<State>(&Fixture { payloads, ..NAME }, usize::MAX).out.label, None);
}

#[test]
fn a_udp_relay_is_socks_and_hands_nothing_on() {
    let payloads = &[
        (UP, &b"\x05\x01\x00"[..]),
        (DOWN, b"\x05\x00"),
        (UP, b"\x05\x03\x00\x01\x00\x00\x00\x00\x00\x00"),
        (DOWN, REPLY),
    ];
    let got = drive::<State>(&Fixture { payloads, ..NAME }, usize::MAX);
    assert_eq!((got.out.label, got.inner), (Some("socks"), [vec![], vec![]]));
}

#[test]
fn what_only_begins_like_socks_is_not_taken() {
    let cases: [&[u8]; 6] = [
        b"\x05\x00\x0b\x03\x10\x00\x00\x00",
        b"\x05\x02\x00\x00",
        b"\x05\x01\x00\x05\x07\x00\x01",
        b"\x04\x01\x01\xbb\xc0\x00\x02\x01us\x01er\x00",
        b"\x04\x01\x00\x00\xc0\x00\x02\x01\x00",
        b"\x04\x03\x01\xbb\xc0\x00\x02\x01\x00",
    ];
    for bytes in cases {
        let got = drive::<State>(&Fixture { payloads: &[(UP, bytes)], ..NAME }, usize::MAX);
        assert!(!got.mine, "{bytes:02x?}");
    }
}
