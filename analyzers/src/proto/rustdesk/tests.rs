//! RustDesk: conversations written from the definitions of its messages.

use super::*;
use crate::fixture::{Fixture, drive};

const UP: Dir = Dir::ToServer;
const DOWN: Dir = Dir::ToClient;

const REGISTER: &[u8] = b"2\x0d\x0a\x09123456789\x10\x01";
const REGISTERED: &[u8] = b":\0";
const WANTS_KEY: &[u8] = b":\x02\x10\x01";
const REGISTER_KEY: &[u8] =
    b"z?\x0a\x09123456789\x12\x10BKIJKOVCMILUZOUI\x1a BJQYBRQUNXNZCBDQVRKFTVRBMXDCCPBK";
const KEY_REGISTERED: &[u8] = b"\x82\x01\0";
const NAT_ASKED: &[u8] = b"\x0c\xa2\x01\0";
const NAT_ANSWERED: &[u8] = b"\x1c\xaa\x01\x04\x08\xce\x9c\x03";
const PUNCH: &[u8] = b"hB\x18\x0a\x09987654321\x10\x01\x1a\x02Kx2\x051.4.2";
const PUNCHED: &[u8] = b"Q\x02Z\x91\x01\x0a\x09ARTPCNVCN\x12mWZNAIUAYLVORCTSFAHAYEQKGRIQZZCJUMRDSGGQJVFVCRPQWLKYODGVFRQMHSBMIFSUWVQJIKQOIDVAXCUNUNRAZWLSBAWORPFAAYPOJHPLDD\"\x13relay.example:21117(\x01";
const SERVER_KEY: &[u8] = b"\x95\x01\xca\x01b\x0a`CYASHKVBJTIQDYMFJYWKVWQBVPEJOEJTYGWIAERFZOKVWQCLGFBBKIDTAYRSOMRWRYGSOYXQZKWDRRULGIIXKJXCDKDOAOLI";
const CLIENT_KEY: &[u8] = b"]\x01\xca\x01T\x0a SSLIBHPJXFKTNALSGXWPRCGHCXAQBJJX\x0a0KFUZEUTJVREMLQZLCFWIISFSVQIQNMVRJFVDVSNQFWYVOSRE";
const RELAY: &[u8] = b"\xb4\x92\x01*\x12$6f1c2a9e-0b57-4c3d-9a41-2f0d8be61c752\x02Kx";
const SIGNED_ID: &[u8] = b"\xc5\x01\x1ao\x0amIRZLCFRIMXYWZHUQSPSBSMCPQKIQUVJOYJBZTXIYRDREEDBDODRGGMULXTRRMVWROPYXNNPMQLATZFCIXBTJZMAHSKYMVWVUYBQVRMJJUHHVW";
const PUBLIC_KEY: &[u8] =
    b"Y\x01\"T\x0a BKUEEVHOSHZOKHYBSAGNZSMJATHOQTSR\x120APTKNVFLISGDBVBWHKRHIPRXRCUTESUVDQOZQGCFPIXIDNZE";
const CHALLENGE: &[u8] = b"HJ\x10\x0a\x06aB3dE6\x12\x06Zy8xW5";
const LOGIN: &[u8] = b"5\x01:K\x0a\x09987654321\x12 LFYVLEUJYEEBLDNDDKRLHZUFIQSTMXDD\"\x09111222333*\x04desk2\x02\x08\x03PMZ\x051.4.2";
const PING: &[u8] = b"\xb2\x01\x06\x0a\x04ping";
const PONG: &[u8] =
    b"\xb2\x016\x0a\x04pong\x12\x1102:00:00:00:00:01\x1a\x09123456789\"\x03ann*\x04desk2\x05Linux";
const RELAY_BARE: &[u8] = b"\x92\x01*\x12$6f1c2a9e-0b57-4c3d-9a41-2f0d8be61c752\x02Kx";
const SIGNED_ID_BARE: &[u8] = b"\x1ao\x0amIRZLCFRIMXYWZHUQSPSBSMCPQKIQUVJOYJBZTXIYRDREEDBDODRGGMULXTRRMVWROPYXNNPMQLATZFCIXBTJZMAHSKYMVWVUYBQVRMJJUHHVW";
const PUBLIC_KEY_BARE: &[u8] =
    b"\"T\x0a BKUEEVHOSHZOKHYBSAGNZSMJATHOQTSR\x120APTKNVFLISGDBVBWHKRHIPRXRCUTESUVDQOZQGCFPIXIDNZE";

const fn udp(name: &'static str, payloads: &'static [(Dir, &'static [u8])]) -> Fixture<'static> {
    Fixture { name, transport: Transport::Udp, payloads }
}

const fn tcp(name: &'static str, payloads: &'static [(Dir, &'static [u8])]) -> Fixture<'static> {
    Fixture { name, transport: Transport::Tcp, payloads }
}

const REGISTRATION: Fixture<'_> = udp("registration", &[(UP, REGISTER), (DOWN, REGISTERED)]);
const DIRECT: Fixture<'_> = tcp("a session to an address", &[(DOWN, CHALLENGE), (UP, LOGIN)]);
const OPERATOR_AT_RELAY: Fixture<'_> =
    tcp("a relay, at the operator's end", &[(UP, RELAY), (DOWN, SIGNED_ID), (UP, PUBLIC_KEY)]);
const OPERATED_AT_RELAY: Fixture<'_> =
    tcp("a relay, at the operated end", &[(UP, RELAY), (UP, SIGNED_ID), (DOWN, PUBLIC_KEY)]);
const SEARCH: Fixture<'_> = udp("the search's answer", &[(UP, PONG)]);

pub(crate) const FIXTURES: &[Fixture<'_>] = &[
    REGISTRATION,
    udp("first registration", &[(UP, REGISTER_KEY), (DOWN, KEY_REGISTERED)]),
    udp("registration with a new server", &[(UP, REGISTER), (DOWN, WANTS_KEY), (UP, REGISTER_KEY)]),
    tcp("question for the address", &[(UP, NAT_ASKED), (DOWN, NAT_ANSWERED)]),
    tcp("question for a machine", &[(UP, PUNCH), (DOWN, PUNCHED)]),
    tcp("keys with the server", &[(DOWN, SERVER_KEY), (UP, CLIENT_KEY)]),
    DIRECT,
    tcp("a session with keys", &[(DOWN, SIGNED_ID), (UP, PUBLIC_KEY)]),
    OPERATOR_AT_RELAY,
    OPERATED_AT_RELAY,
    tcp("a relay over WebSocket", &[(UP, RELAY_BARE), (DOWN, SIGNED_ID_BARE), (UP, PUBLIC_KEY_BARE)]),
    SEARCH,
];

#[test]
fn every_conversation_is_rustdesk_however_it_is_cut() {
    for fixture in FIXTURES {
        for piece in [usize::MAX, 7, 1] {
            assert_eq!(
                drive::<State>(fixture, piece).out.label,
                Some("rustdesk"),
                "{}, {piece}",
                fixture.name
            );
        }
    }
}

#[test]
fn the_operated_side_is_the_one_that_offers_its_identity_or_a_challenge() {
    for (fixture, controlled, client) in [
        (DIRECT, Some(Side::Dest), Some(Side::Src)),
        (OPERATOR_AT_RELAY, Some(Side::Dest), Some(Side::Src)),
        (OPERATED_AT_RELAY, Some(Side::Src), Some(Side::Src)),
        (REGISTRATION, None, Some(Side::Src)),
    ] {
        let out = drive::<State>(&fixture, usize::MAX).out;
        assert_eq!((out.controlled, out.client), (controlled, client), "{}", fixture.name);
    }
}

#[test]
fn what_nobody_answered_is_evidence_and_no_label() {
    for fixture in FIXTURES.iter().filter(|f| f.payloads[0].1.len() >= TELLING && f.name != SEARCH.name) {
        let alone = Fixture { payloads: &fixture.payloads[..1], ..*fixture };
        let out = drive::<State>(&alone, usize::MAX).out;
        assert_eq!(out.label, None, "{}", fixture.name);
    }
    let search = drive::<State>(&udp("search", &[(UP, PING)]), usize::MAX).out;
    assert_eq!((search.label, search.evidence.len()), (None, 1));
    let twice = udp("the same side twice", &[(UP, REGISTER), (UP, REGISTER)]);
    assert_eq!(drive::<State>(&twice, usize::MAX).out.label, None);
}

#[test]
fn messages_with_a_field_that_does_not_fit_are_not_taken() {
    // The identifier too long for its message, a number for the identifier, a serial before it, a character no identifier has.
    let datagrams: [&[u8]; 5] = [
        b"2\x0d\x0a\x0a123456789\x10\x01",
        b"2\x04\x08\x07\x10\x01",
        b"2\x0d\x10\x01\x0a\x09123456789",
        b"2\x0d\x0a\x0912345 789\x10\x01",
        b"2\x0d\x0a\x09123456789\x10\x01\0",
    ];
    for bytes in datagrams {
        let payloads = &[(UP, bytes), (DOWN, REGISTERED)];
        let got = drive::<State>(&Fixture { name: "", transport: Transport::Udp, payloads }, usize::MAX);
        assert_eq!(got.out.label, None, "{bytes:02x?}");
    }
    let mut no_uuid = RELAY.to_vec();
    no_uuid[8] = b'g';
    let mut longer = SIGNED_ID.to_vec();
    longer[0] += 4;
    for first in [&no_uuid[..], &longer] {
        let payloads = &[(UP, first), (UP, SIGNED_ID), (DOWN, PUBLIC_KEY)];
        let got = drive::<State>(&Fixture { name: "", transport: Transport::Tcp, payloads }, usize::MAX);
        assert_eq!(got.out.label, None, "{first:02x?}");
    }
}

#[test]
fn two_bytes_that_could_be_an_answer_are_left_to_others() {
    let got = drive::<State>(&udp("", &[(DOWN, REGISTERED)]), usize::MAX);
    assert!(!got.mine);
}

#[test]
fn an_operator_who_was_refused_by_silence_operates_nothing() {
    let out = drive::<State>(&tcp("", &[(DOWN, CHALLENGE)]), usize::MAX).out;
    assert_eq!((out.label, out.controlled), (None, None));
}
