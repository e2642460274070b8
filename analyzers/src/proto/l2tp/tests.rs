//! Conversations built by RFC 2661 and RFC 3931.

use super::*;
use crate::Side;
use crate::fixture::{Fixture, drive};

const UP: Dir = Dir::ToServer;
const DOWN: Dir = Dir::ToClient;

/// Version 2: message type, protocol version, assigned tunnel 5.
const REQUEST: &[u8] =
    b"\xc8\x02\0\x24\0\0\0\0\0\0\0\0\x80\x08\0\0\0\0\0\x01\x80\x08\0\0\0\x02\x01\0\x80\x08\0\0\0\x09\0\x05";
const REPLY: &[u8] =
    b"\xc8\x02\0\x24\0\x05\0\0\0\0\0\x01\x80\x08\0\0\0\0\0\x02\x80\x08\0\0\0\x02\x01\0\x80\x08\0\0\0\x09\0\x07";
const EMPTY: &[u8] = b"\xc8\x02\0\x0c\0\x07\0\0\0\x01\0\x01";
const HELLO: &[u8] = b"\xc8\x02\0\x14\0\x07\0\0\0\x09\0\x04\x80\x08\0\0\0\0\0\x06";
const STOP: &[u8] = b"\xc8\x02\0\x1e\0\x05\0\0\0\0\0\x01\x80\x08\0\0\0\0\0\x04\x80\x0a\0\0\0\x01\0\x02\0\x06";
/// Version 3: message type, assigned control connection.
const REQUEST_V3: &[u8] =
    b"\xc8\x03\0\x1e\0\0\0\0\0\0\0\0\x80\x08\0\0\0\0\0\x01\x80\x0a\0\0\0\x3d\0\0\x12\x34";
const REPLY_V3: &[u8] =
    b"\xc8\x03\0\x1e\0\0\x12\x34\0\0\0\x01\x80\x08\0\0\0\0\0\x02\x80\x0a\0\0\0\x3d\0\0\x56\x78";
const PPP_IP: &[u8] =
    b"\x40\x02\0\x20\0\x05\0\x06\xff\x03\0\x21\x45\0\0\x14\0\0\0\0\x40\x01\0\0\x0a\0\0\x01\x0a\0\0\x02";
const PPP_SHORT: &[u8] = b"\0\x02\0\x05\0\x06\x21\x45\0\0\x14\0\0\0\0\x40\x01\0\0\x0a\0\0\x01\x0a\0\0\x02";
const FRAME_V3: &[u8] = b"\0\x03\0\0\0\0\0\x09CCCCddddddssssss\x08\0\x45\0\0\x14";

const fn talk(name: &'static str, payloads: &'static [(Dir, &'static [u8])]) -> Fixture<'static> {
    Fixture { name, transport: Transport::Udp, payloads }
}

const OPENING: Fixture<'_> = talk("version 2", &[(UP, REQUEST), (DOWN, REPLY), (UP, EMPTY)]);
const OPENING_V3: Fixture<'_> = talk("version 3", &[(UP, REQUEST_V3), (DOWN, REPLY_V3)]);
const MIDWAY: Fixture<'_> = talk("hello of a standing tunnel", &[(UP, EMPTY), (UP, HELLO)]);
const DATA: Fixture<'_> = talk("PPP", &[(UP, PPP_IP), (DOWN, PPP_SHORT), (UP, PPP_IP), (UP, PPP_IP)]);
const DATA_V3: Fixture<'_> = talk("frames", &[(UP, FRAME_V3), (UP, FRAME_V3), (UP, FRAME_V3)]);

pub(crate) const FIXTURES: &[Fixture<'_>] = &[OPENING, OPENING_V3, MIDWAY, DATA, DATA_V3];

fn told(payloads: &[(Dir, &[u8])]) -> (Option<&'static str>, Vec<&'static str>) {
    let got = drive::<State>(&Fixture { name: "", transport: Transport::Udp, payloads }, usize::MAX);
    (got.out.label, got.out.evidence.iter().map(|e| e.kind.name).collect())
}

#[test]
fn every_conversation_is_l2tp_and_says_how_it_was_seen() {
    for (fixture, basis) in FIXTURES.iter().zip([
        Basis::Handshake,
        Basis::Handshake,
        Basis::Midstream,
        Basis::Midstream,
        Basis::Midstream,
    ]) {
        let got = drive::<State>(fixture, usize::MAX);
        assert_eq!((got.out.label, got.out.basis), (Some("l2tp"), basis), "{}", fixture.name);
        let client = (basis == Basis::Handshake).then_some(Side::Src);
        assert_eq!(got.out.client, client, "{}", fixture.name);
    }
}

#[test]
fn a_request_alone_and_a_refusal_are_evidence_and_no_label() {
    assert_eq!(told(&[(UP, REQUEST), (UP, REQUEST)]), (None, vec!["l2tp.request"]));
    assert_eq!(told(&[(UP, REQUEST), (DOWN, STOP)]), (None, vec!["l2tp.request", "l2tp.refused"]));
}

#[test]
fn acknowledgements_alone_are_no_label() {
    assert_eq!(told(&[(UP, EMPTY), (DOWN, EMPTY), (UP, EMPTY)]), (None, vec![]));
}

#[test]
fn an_attribute_that_does_not_add_up_is_no_l2tp() {
    // Flags, length, reserved bits, an attribute's length, the message type's number and value.
    for (at, byte) in [(0, 0x88), (1, 4), (3, 0x25), (12, 0xBC), (13, 7), (21, 9), (17, 1), (19, 77), (18, 1)]
    {
        let mut wrong = REPLY.to_vec();
        wrong[at] = byte;
        assert_eq!(told(&[(DOWN, &wrong)]), (None, vec![]), "byte {at}");
    }
}

#[test]
fn data_needs_three_packets_of_one_session_with_something_known_inside() {
    assert_eq!(told(&[(UP, PPP_IP), (UP, PPP_IP)]), (None, vec![]));
    let mut other = PPP_IP.to_vec();
    other[7] = 9;
    assert_eq!(told(&[(UP, PPP_IP), (UP, &other), (UP, PPP_IP), (UP, &other)]).0, None);
    let mut unknown = PPP_IP.to_vec();
    unknown[11] = 0x77;
    assert_eq!(told(&[(UP, &unknown), (UP, &unknown), (UP, &unknown)]).0, None);
    let mut later = FRAME_V3.to_vec();
    later[24] = 0x18;
    assert_eq!(told(&[(UP, &later), (UP, &later), (UP, &later)]).0, None);
}

#[test]
fn a_dns_question_with_the_number_of_a_data_message_is_no_l2tp() {
    let question = b"\0\x02\x01\0\0\x01\0\0\0\0\0\0\x03www\x07example\x03com\0\0\x01\0\x01";
    assert_eq!(told(&[(UP, question), (UP, question), (UP, question)]), (None, vec![]));
}

#[test]
fn a_cut_message_is_read_as_far_as_it_goes_and_never_a_panic() {
    for n in 0..REPLY.len() {
        assert!(wire::message(&REPLY[..n], n).is_none(), "{n}: the length does not fit");
        assert_eq!(wire::message(&REPLY[..n], REPLY.len()).is_some(), n >= 20, "{n}");
    }
}
