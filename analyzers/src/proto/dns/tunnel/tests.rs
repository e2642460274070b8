//! Conversations of tunnels, and of what looks like them.

use super::super::State;
use crate::fixture::{Fixture, drive};
use crate::{Basis, Dir, Out, Transport};

const UP: Dir = Dir::ToServer;
const DOWN: Dir = Dir::ToClient;

const IODINE_QUERY: &[u8] = b"\x12\x34\x01\0\0\x01\0\0\0\0\0\0\x0Bvaaaakardjm\x01t\x07example\0\0\x0A\0\x01";
const IODINE_ANSWER: &[u8] =
    b"\x12\x34\x84\0\0\x01\0\x01\0\0\0\0\x0Bvaaaakardjm\x01t\x07example\0\0\x0A\0\x01\
    \xC0\x0C\0\x0A\0\x01\0\0\0\0\0\x09VACKw\xC1\x23\x4A\0";

pub(in super::super) const IODINE_SESSION: Fixture<'_> = Fixture {
    name: "iodine's version",
    transport: Transport::Udp,
    payloads: &[(UP, IODINE_QUERY), (DOWN, IODINE_ANSWER)],
};

/// A message: a question, and an answer of `data` under its name unless that is empty.
fn message(name: &str, rrtype: u16, data: &[u8], flags: u16) -> Vec<u8> {
    let mut m = vec![0x12, 0x34];
    m.extend_from_slice(&flags.to_be_bytes());
    m.extend_from_slice(&[0, 1, 0, u8::from(!data.is_empty()), 0, 0, 0, 0]);
    m.extend(labels(name));
    m.extend_from_slice(&rrtype.to_be_bytes());
    m.extend_from_slice(&[0, 1]);
    if !data.is_empty() {
        m.extend_from_slice(&[0xC0, 12]);
        m.extend_from_slice(&rrtype.to_be_bytes());
        m.extend_from_slice(&[0, 1, 0, 0, 0, 3]);
        m.extend_from_slice(&u16::try_from(data.len()).unwrap().to_be_bytes());
        m.extend_from_slice(data);
    }
    m
}

fn labels(name: &str) -> Vec<u8> {
    let mut wire = Vec::new();
    for label in name.split('.') {
        wire.push(u8::try_from(label.len()).unwrap());
        wire.extend_from_slice(label.as_bytes());
    }
    wire.push(0);
    wire
}

fn text(text: &str) -> Vec<u8> {
    [&[u8::try_from(text.len()).unwrap()], text.as_bytes()].concat()
}

/// What comes of questions with their answers.
fn talk(exchanges: &[(String, u16, Vec<u8>)]) -> Out {
    let messages: Vec<(Dir, Vec<u8>)> = exchanges
        .iter()
        .flat_map(|(name, t, data)| {
            [(UP, message(name, *t, &[], 0x0100)), (DOWN, message(name, *t, data, 0x8180))]
        })
        .collect();
    let payloads: Vec<(Dir, &[u8])> = messages.iter().map(|(d, m)| (*d, &m[..])).collect();
    drive::<State>(&Fixture { name: "", transport: Transport::Udp, payloads: &payloads }, usize::MAX).out
}

fn one(name: &str, rrtype: u16, data: &[u8]) -> Out {
    talk(&[(name.to_owned(), rrtype, data.to_vec())])
}

const NULL: u16 = 10;
const TXT: u16 = 16;
const CNAME: u16 = 5;
const A: u16 = 1;

/// Letters and digits that differ with `seed`.
fn noise(seed: u32, len: usize) -> String {
    let mut x = seed.wrapping_mul(2_654_435_761) | 1;
    let mut next = || {
        x ^= x << 13;
        x ^= x >> 17;
        x ^= x << 5;
        x
    };
    (0..len).map(|_| char::from(b"abcdefghijklmnopqrstuvwxyz012345"[(next() % 32) as usize])).collect()
}

#[test]
fn iodine_is_known_by_its_accepted_version_in_any_record_type() {
    let out = drive::<State>(&IODINE_SESSION, usize::MAX).out;
    assert_eq!((out.label, out.tool, out.basis), (Some("dns_tunnel"), Some("iodine"), Basis::Handshake));
    assert_eq!(out.evidence[0].kind.name, "dns.iodine");
    let name = "vaaaakask0e.t.example";
    assert_eq!(one(name, TXT, &text("tkzaugsqx3nvgeaa")).tool, Some("iodine"));
    assert_eq!(one(name, CNAME, &labels("hkzaugsqx3nvgeaa.t.example")).tool, Some("iodine"));
}

#[test]
fn iodine_refused_or_not_answered_has_no_label() {
    assert_eq!(one("vaaaakardjm.t.example", NULL, b"VNAK\0\0\x05\x02\0").label, None);
    assert_eq!(one("vaaaakardjm.t.example", NULL, b"VFUL\0\0\0\0\0").label, None);
    let alone = &[(UP, IODINE_QUERY)];
    let fixture = Fixture { name: "", transport: Transport::Udp, payloads: alone };
    assert_eq!(drive::<State>(&fixture, usize::MAX).out.label, None);
}

#[test]
fn iodines_codec_tests_are_known_also_when_a_resolver_changed_their_case() {
    let name = "zi0oaa-aaahhh-drink-mal-ein-j-x.t.example";
    assert_eq!(one(name, NULL, name.as_bytes()).tool, Some("iodine"));
    let mut down =
        b"\0\0\0\0\xFF\xFF\xFF\xFF\x55\x55\x55\x55\xAA\xAA\xAA\xAA\x81\x63\xC8\xD2\xC7\x7C\xB2\x17\x5F"
            .to_vec();
    assert_eq!(one("yrbi02.t.example", NULL, &down).tool, Some("iodine"));
    down[9] ^= 1;
    assert_eq!(one("yrbi02.t.example", NULL, &down).label, None);
}

#[test]
fn dns2tcp_is_known_by_a_request_whose_counters_are_repeated() {
    let name = "azlDbhBOAHNzaA.=connect.t.example.net";
    let out = one(name, TXT, &text("AazlDbhBOAA"));
    assert_eq!((out.label, out.tool), (Some("dns_tunnel"), Some("dns2tcp")));
    assert_eq!(&*out.evidence[0].detail, "=connect");
    assert_eq!(one(name, TXT, &text("AazlDbhBPAA")).label, None);
    assert_eq!(one("azlDbhBOAHNzaA.connect.t.example.net", TXT, &text("AazlDbhBOAA")).label, None);
}

#[test]
fn dns2tcp_joined_midway_takes_three_packets_of_one_session() {
    let pair = |n: &str| {
        (format!("{n}CFNTSC0yLjAtT3BlblNTSF85LjJwMQ.t.example.net"), TXT, text(&format!("A{n}GAAA")))
    };
    let packets = [pair("azkAAAAB"), pair("azkAAAAC"), pair("azkAAAAD")];
    assert_eq!(talk(&packets[..2]).label, None);
    assert_eq!(talk(&packets).tool, Some("dns2tcp"));
    let same = [pair("azkAAAAB"), pair("azkAAAAB"), pair("azkAAAAB")];
    assert_eq!(talk(&same).label, None);
}

#[test]
fn dnscat2_is_known_by_session_and_type_in_two_exchanges_of_any_record_type() {
    let first = ("7cd501a621c362010a.example.org".to_owned(), TXT, text("96b201a621010ac362"));
    let second =
        ("0ab801a621c362010a.example.org".to_owned(), CNAME, labels("0e3d01a621010ac362.example.org"));
    let out = talk(&[first.clone(), second]);
    assert_eq!((out.label, out.tool), (Some("dns_tunnel"), Some("dnscat2")));
    assert_eq!(talk(&[first.clone(), first.clone()]).label, None, "one exchange, repeated");
    let stranger = ("0ab801a722c362010a.example.org".to_owned(), TXT, text("96b201a621010ac362"));
    assert_eq!(talk(&[first, stranger]).label, None, "another session");
}

#[test]
fn hashes_that_answers_repeat_are_not_dnscat2() {
    let hash = |n: u32| format!("{n:04x}01a621c362010a{n:016x}");
    let exchanges: Vec<_> = (0..40_u32)
        .map(|n| (format!("{}.cdn.example", hash(n)), CNAME, labels(&format!("{}.edge.example", hash(n)))))
        .collect();
    assert_eq!(talk(&exchanges).label, None);
}

#[test]
fn dnsteal_is_known_by_the_file_name_in_its_gzip_stream() {
    let name = "H4sICN03*2QAA3Rlc3QudHh0AAvJyCxWAKJEheLU5KLUEoW0zJxULgAge-.4S2FgAAAA==-.test.txt";
    let out = one(name, A, &[192, 0, 2, 1]);
    assert_eq!((out.label, out.tool), (Some("dns_tunnel"), Some("DNSteal")));
    assert_eq!(one(&name.replace("test.txt", "best.txt"), A, &[192, 0, 2, 1]).label, None);
}

#[test]
fn long_names_answered_with_null_records_are_a_tunnel_and_the_apex_is_not() {
    let exchange = |n: u32| (format!("{}.t.example", noise(n, 24)), NULL, noise(n + 7, 40).into_bytes());
    assert_eq!(talk(&[exchange(1), exchange(2)]).label, None);
    let out = talk(&[exchange(1), exchange(2), exchange(3)]);
    assert_eq!((out.label, out.basis), (Some("dns_tunnel"), Basis::Behaviour));
    // BIND keeps signing state in records of type 65534 at the zone's own name.
    let apex: Vec<_> = (0..9).map(|n| (format!("z{n}.example"), 65_534, vec![8, 0, 0, 0, 1])).collect();
    assert_eq!(talk(&apex).label, None);
}

#[test]
fn unknown_programs_are_known_by_what_names_and_answers_say() {
    let exchanges: Vec<_> = (0..12_u32)
        .map(|n| (format!("{}.q.example.com", noise(n, 60)), TXT, text(&noise(n + 99, 120))))
        .collect();
    let out = talk(&exchanges);
    assert_eq!((out.label, out.evidence[0].kind.name), (Some("dns_tunnel"), "dns.tunnel_rate"));
    let long = |n: u32| format!("{}.{}.{}.q.example.com", noise(n, 60), noise(n + 50, 60), noise(n + 90, 30));
    let upload: Vec<_> = (0..40_u32).map(|n| (long(n), A, vec![192, 0, 2, 1])).collect();
    assert_eq!(talk(&upload).evidence[0].kind.name, "dns.upload_rate");
}

#[test]
fn what_asks_with_long_names_and_is_no_tunnel_stays_silent() {
    let many = |f: &dyn Fn(u32) -> (String, u16, Vec<u8>)| talk(&(0..60).map(f).collect::<Vec<_>>()).label;
    // A block list of hashes: 127.0.0.2 means listed.
    let long = |n: u32| format!("{}.{}.dbl.example.net", noise(n, 60), noise(n + 50, 60));
    assert_eq!(many(&|n| (long(n), A, vec![127, 0, 0, 2])), None);
    // A virus scanner: what it has to say is short.
    assert_eq!(many(&|n| (format!("{}.v1.av.example.net", noise(n, 52)), TXT, text("w1"))), None);
    // Telemetry with UUIDs, answered with an alias and an address.
    let uuid = |n: u32| format!("{n:08x}-1111-4222-8333-{n:012x}.events.example.com");
    assert_eq!(many(&|n| (uuid(n), CNAME, labels("collector-eu-west-1.prod.events.example.com"))), None);
    // Host names of a cloud.
    let cloud = |n: u32| format!("ec2-198-51-100-{n}.eu-west-1.compute.example.com");
    assert_eq!(many(&|n| (cloud(n), A, vec![198, 51, 100, 7])), None);
    // One long name, over and over.
    assert_eq!(many(&|_| (long(1), TXT, text(&noise(3, 120)))), None);
    // Reverse names.
    assert_eq!(many(&|n| (format!("{n}.2.0.192.in-addr.arpa"), 12, labels("host.example.net"))), None);
}
