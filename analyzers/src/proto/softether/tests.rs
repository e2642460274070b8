//! Conversations built by SoftEther's sources; ciphertext is a generator's.

use super::*;
use crate::Side;
use crate::fixture::{Fixture, drive};

const UP: Dir = Dir::ToServer;
const DOWN: Dir = Dir::ToClient;

const GET_TOKEN: &[u8] = b"\0\0\0\x03\0\0\0\x07opcode\0\0\0\x02\0\0\0\x01\0\0\0\x09get_token\
    \0\0\0\x08tran_id\0\0\0\x04\0\0\0\x01\xbf\x3c\x26\x84\x03\xc4\xea\x88\
    \0\0\0\x16nat_traversal_version\0\0\0\0\0\0\0\x01\0\0\0\x01";
const TOKEN: &[u8] = b"\0\0\0\x03\0\0\0\x06isret\0\0\0\0\0\0\0\x01\0\0\0\x01\
    \0\0\0\x07opcode\0\0\0\x02\0\0\0\x01\0\0\0\x09get_token\
    \0\0\0\x08tran_id\0\0\0\x04\0\0\0\x01\xbf\x3c\x26\x84\x03\xc4\xea\x88";
const QUESTION: &[u8] =
    b"\xca\x58\x01\0\0\x01\0\0\0\0\0\x01\x083a448060\0\0\x30\0\x01\0\0\x29\x10\0\0\0\x80\0\0\x16\
    \0\x7f\x6b\x78\xb0\x42\x87\x8e\x99\x4b\xd3\x32\0\x48\x01\x23\x78\x45\x72\x78\x87\x12";
const QUESTION_2: &[u8] =
    b"\xdc\x58\x01\0\0\x01\0\0\0\0\0\x01\x085d9cc7bf\0\0\x30\0\x01\0\0\x29\x10\0\0\0\x80\0\0\x16\
    \0\x7f\x6b\x78\xb0\x42\x87\x8e\x99\x4b\xd3\x32\0\x48\x01\x23\x78\x45\x72\x78\x3f\x1c";

/// Bytes that look random.
const fn noise<const N: usize>(seed: u32) -> [u8; N] {
    let mut bytes = [0; N];
    let (mut x, mut i) = (seed.wrapping_mul(0x9E37_79B9) | 1, 0);
    while i < N {
        x ^= x << 13;
        x ^= x >> 17;
        x ^= x << 5;
        bytes[i] = (x >> 11) as u8;
        i += 1;
    }
    bytes
}

/// `next` with the vector that `packet` tells.
const fn following<const N: usize>(packet: &[u8; 80], next: [u8; N], from: usize, iv: usize) -> [u8; N] {
    let mut next = next;
    let mut i = 0;
    while i < iv {
        next[i] = packet[from + i];
        i += 1;
    }
    next
}

const A1: [u8; 80] = noise(1);
const A2: [u8; 80] = following(&A1, noise(2), 12, 12);
const A3: [u8; 80] = following(&A2, noise(3), 12, 12);
const B1: [u8; 80] = noise(4);
const B2: [u8; 80] = following(&B1, noise(5), 60, 20);
const B3: [u8; 80] = following(&B2, noise(6), 60, 20);

const fn talk(name: &'static str, payloads: &'static [(Dir, &'static [u8])]) -> Fixture<'static> {
    Fixture { name, transport: Transport::Udp, payloads }
}

const NAT: Fixture<'_> = talk("NAT traversal", &[(UP, b"A"), (UP, GET_TOKEN), (DOWN, TOKEN)]);
const ADDRESS: Fixture<'_> = talk("own address", &[(UP, b"A"), (DOWN, b"IP=192.0.2.7,PORT=51381")]);
const IN_DNS: Fixture<'_> = talk("in questions", &[(UP, QUESTION), (UP, QUESTION), (UP, QUESTION_2)]);
const VERSION_2: Fixture<'_> = talk("acceleration 2", &[(UP, &A1), (UP, &A2), (DOWN, &B1), (UP, &A3)]);
const VERSION_1: Fixture<'_> = talk("acceleration 1", &[(UP, &B1), (UP, &B2), (UP, &B3)]);

/// The SHA-1 of 39 bytes, and these.
const ECHO: &[u8] = b"\x5c\x07\x82\xf4\x2b\xe6\x44\xc3\xe2\x93\xe5\xca\xc5\xdc\xbb\x49\x41\x3e\xb7\x19\
    \x0b\x30\x55\x7a\x9f\xc4\xe9\x0e\x33\x58\x7d\xa2\xc7\xec\x11\x36\x5b\x80\xa5\xca\
    \xef\x14\x39\x5e\x83\xa8\xcd\xf2\x17\x3c\x61\x86\xab\xd0\xf5\x1a\x3f\x64\x89";
const IN_ICMP: Fixture<'_> =
    Fixture { name: "in echoes", transport: Transport::Ip(1), payloads: &[(UP, ECHO), (DOWN, ECHO)] };

pub(crate) const FIXTURES: &[Fixture<'_>] = &[NAT, ADDRESS, IN_DNS, VERSION_2, VERSION_1, IN_ICMP];

fn label(transport: Transport, payloads: &[(Dir, &[u8])]) -> Option<&'static str> {
    drive::<State>(&Fixture { name: "", transport, payloads }, usize::MAX).out.label
}

#[test]
fn every_conversation_is_softether() {
    for fixture in FIXTURES {
        let got = drive::<State>(fixture, usize::MAX);
        assert_eq!(got.out.label, Some("softether"), "{}", fixture.name);
    }
    assert_eq!(drive::<State>(&NAT, usize::MAX).out.client, Some(Side::Src));
}

#[test]
fn a_question_to_the_nat_service_without_an_answer_is_no_label() {
    assert_eq!(label(Transport::Udp, &[(UP, b"A"), (UP, GET_TOKEN), (UP, GET_TOKEN)]), None);
    assert_eq!(label(Transport::Udp, &[(UP, b"A"), (UP, b"A")]), None);
    assert_eq!(label(Transport::Udp, &[(UP, b"B"), (DOWN, b"IP=192.0.2.7,PORT=51381")]), None);
    assert_eq!(label(Transport::Udp, &[(UP, b"A"), (DOWN, b"IP=192.0.2.7,PORT=x")]), None);
}

#[test]
fn a_pack_of_another_service_or_one_that_does_not_end_is_nothing() {
    let mut other = TOKEN.to_vec();
    let at = TOKEN.windows(9).position(|w| w == b"get_token").unwrap();
    other[at] = b'p';
    assert_eq!(label(Transport::Udp, &[(DOWN, &other)]), None);
    assert_eq!(label(Transport::Udp, &[(DOWN, &[TOKEN, b"\0"].concat())]), None);
    for n in 0..TOKEN.len() {
        assert_eq!(label(Transport::Udp, &[(DOWN, &TOKEN[..n])]), None, "{n}");
    }
}

#[test]
fn ordinary_questions_for_keys_are_left_to_dns() {
    // A cookie option that fills the record (RFC 7873).
    let mut options = QUESTION[..QUESTION.len() - 22].to_vec();
    options.extend(b"\0\x0a\0\x12ABCDEFGHIJKLMNOPQR");
    assert_eq!(dns_question(&options), None);
    let mut long = QUESTION.to_vec();
    long[14] = b'x';
    assert_eq!(dns_question(&long), None);
    assert!(dns_question(QUESTION).is_some());
    assert_eq!(label(Transport::Udp, &[(UP, QUESTION), (UP, QUESTION)]), None, "sent again");
}

#[test]
fn random_datagrams_whose_beginnings_nobody_told_are_nothing() {
    let packets: Vec<[u8; 80]> = (10..20).map(noise).collect();
    let payloads: Vec<(Dir, &[u8])> = packets.iter().map(|p| (UP, &p[..])).collect();
    assert_eq!(label(Transport::Udp, &payloads), None);
    // One link alone, and one that is told to the other side.
    assert_eq!(label(Transport::Udp, &[(UP, &A1), (UP, &A2), (UP, &B1)]), None);
    assert_eq!(label(Transport::Udp, &[(UP, &A1), (DOWN, &A2), (UP, &A3)]), None);
}

#[test]
fn a_payload_that_repeats_itself_is_no_chain() {
    let repeated = b"abcdefghijkl".repeat(8);
    assert_eq!(label(Transport::Udp, &[(UP, &repeated), (UP, &repeated), (UP, &repeated)]), None);
}

#[test]
fn echoes_that_begin_with_the_hash_of_the_rest_are_softether() {
    use sha1::{Digest, Sha1};
    let signed = |body: &[u8]| [Sha1::digest(body).as_slice(), body].concat();
    let (first, second) = (signed(&noise::<39>(7)), signed(&noise::<100>(8)));
    for protocol in [1, 58] {
        let icmp = Transport::Ip(protocol);
        assert_eq!(label(icmp, &[(UP, &first), (DOWN, &first)]), Some("softether"));
        assert_eq!(label(icmp, &[(UP, &first)]), None);
        let mut wrong = second.clone();
        wrong[30] ^= 1;
        assert_eq!(label(icmp, &[(UP, &wrong), (UP, &wrong)]), None);
        let ping: Vec<u8> = (0x10..0x48).collect();
        assert_eq!(label(icmp, &[(UP, &ping), (DOWN, &ping)]), None);
    }
}
