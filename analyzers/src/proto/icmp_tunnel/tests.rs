use super::*;
use crate::fixture::{Fixture, Outcome, drive};

const UP: Dir = Dir::ToServer;
const DOWN: Dir = Dir::ToClient;
const ICMP: Transport = Transport::Ip(1);

/// Start, data (an SSH greeting) and their answers.
const START: &[u8] = b"\xDE\xAD\xC0\xDE\x7F\0\0\x01\0\0\0\x16\x40\0\0\0\0\0\xFF\xFF\0\0\0\0\0\0\xF9\x73";
const DATA: &[u8] =
    b"\xDE\xAD\xC0\xDE\0\0\0\0\0\0\0\0\x40\0\0\x02\0\0\xFF\xFF\0\0\0\x0B\0\x01\xF9\x73SSH-2.0-x\r\n\0";
const ACCEPTED: &[u8] = b"\xDE\xAD\xC0\xDE\x7F\0\0\x01\0\0\0\x16\x80\0\0\x01\0\0\0\x01\0\0\0\0\0\0\xF9\x73";
const ANSWER: &[u8] =
    b"\xDE\xAD\xC0\xDE\0\0\0\0\0\0\0\0\x80\0\0\x02\0\0\0\x01\0\0\0\x0B\0\x01\xF9\x73SSH-2.0-y\r\n\0";

pub(crate) const FIXTURES: &[Fixture<'_>] = &[
    Fixture {
        name: "ptunnel-ng",
        transport: ICMP,
        payloads: &[(UP, START), (UP, DATA), (DOWN, ACCEPTED), (DOWN, ANSWER)],
    },
    Fixture {
        name: "Hans",
        transport: ICMP,
        payloads: &[(UP, b"hanc\x02\x0A\0\0\0\0"), (DOWN, b"hans\x03challenge-of-20-bytes")],
    },
];

fn talk(payloads: &[(Dir, &[u8])]) -> Outcome {
    drive::<State>(&Fixture { name: "", transport: ICMP, payloads }, usize::MAX)
}

fn label(payloads: &[(Dir, Vec<u8>)]) -> Option<&'static str> {
    let payloads: Vec<(Dir, &[u8])> = payloads.iter().map(|(d, p)| (*d, &p[..])).collect();
    talk(&payloads).out.label
}

fn noise(seed: u32, len: usize) -> Vec<u8> {
    let mut x = seed.wrapping_mul(2_654_435_761) | 1;
    (0..len)
        .map(|_| {
            x ^= x << 13;
            x ^= x >> 17;
            x ^= x << 5;
            x.to_le_bytes()[1]
        })
        .collect()
}

/// An IPv4 packet with the right checksum, of `len` bytes.
fn packet(len: u8) -> Vec<u8> {
    let mut p = b"\x45\0\0\0\0\0\x40\0\x40\x06\0\0\x0A\x5F\x01\x01\x0A\x5F\x01\x02".to_vec();
    p[3] = len;
    let sum = !checksum(&p);
    p[10..12].copy_from_slice(&sum.to_be_bytes());
    p.resize(usize::from(len), 7);
    p
}

#[test]
fn ptunnel_is_known_and_the_stream_inside_is_handed_on_once() {
    let out = talk(&[(UP, START), (UP, DATA), (UP, DATA), (DOWN, ACCEPTED), (DOWN, ANSWER)]);
    assert_eq!((out.out.label, out.out.tool), (Some("icmp_tunnel"), Some("ptunnel-ng")));
    assert_eq!(out.out.client, Some(Side::Src));
    assert_eq!(out.inner, [b"SSH-2.0-x\r\n".to_vec(), b"SSH-2.0-y\r\n".to_vec()]);
}

#[test]
fn ptunnel_that_nobody_answers_or_with_another_length_is_none() {
    assert_eq!(talk(&[(UP, START), (UP, START)]).out.label, None);
    let longer = [START, b"xx"].concat();
    assert_eq!(Message::parse(&longer, longer.len()), None);
    let mut unknown = START.to_vec();
    unknown[15] = 9;
    assert_eq!(Message::parse(&unknown, unknown.len()), None);
}

#[test]
fn hans_and_icmptunnel_are_known_by_the_magic_of_both_sides() {
    assert_eq!(drive::<State>(&FIXTURES[1], usize::MAX).out.tool, Some("Hans"));
    assert_eq!(talk(&[(UP, b"LNUT\0\0"), (DOWN, b"TUNL\0\x01")]).out.tool, Some("icmptunnel"));
    assert_eq!(talk(&[(UP, b"hanc\x02\x0A\0\0\0\0"), (DOWN, b"hanc\x02\x0A\0\0\0\0")]).out.label, None);
    assert_eq!(talk(&[(UP, b"LNUT\0\x07"), (DOWN, b"TUNL\0\x07")]).out.label, None);
}

#[test]
fn pingback_is_known_by_its_structure_and_its_commands() {
    let message = |command: &[u8]| {
        let mut m = command.to_vec();
        m.resize(PINGBACK_LENGTH, 0);
        m
    };
    let session = [(UP, message(b"shell")), (DOWN, message(b"shell"))];
    assert_eq!(label(&session), Some("icmp_tunnel"));
    assert_eq!(label(&session[..1]), None);
    assert_eq!(label(&[(UP, message(b"hello")), (DOWN, message(b"hello"))]), None);
}

#[test]
fn ip_packets_inside_are_a_tunnel_and_a_wrong_checksum_is_none() {
    let good: Vec<_> = (0..3).map(|n| (UP, packet(84 + n))).collect();
    assert_eq!(label(&good), Some("icmp_tunnel"));
    assert_eq!(label(&good[..2]), None);
    let bad: Vec<_> = good
        .into_iter()
        .map(|(d, mut p)| {
            p[11] ^= 1;
            (d, p)
        })
        .collect();
    assert_eq!(label(&bad), None);
}

#[test]
fn answers_that_are_not_what_was_asked_are_a_tunnel() {
    let mut talk = Vec::new();
    for n in 0..4_u32 {
        talk.push((UP, noise(n, 40 + n as usize)));
        talk.push((DOWN, noise(n + 9, 200 + n as usize)));
    }
    assert_eq!(label(&talk), Some("icmp_tunnel"));
    assert_eq!(label(&talk[..5]), None);
}

#[test]
fn a_shell_in_replies_to_blank_requests_is_a_tunnel() {
    let commands = ["whoami\n", "ipconfig /all\n", "dir C:\\Users\n", "net user /domain\n"];
    let talk: Vec<_> = commands
        .iter()
        .flat_map(|c| [(UP, b"blank of icmpsh?".to_vec()), (DOWN, c.as_bytes().to_vec())])
        .collect();
    assert_eq!(label(&talk), Some("icmp_tunnel"));
}

/// A ping's payload: a time, then `fill`.
fn ping(n: u32, fill: &[u8]) -> Vec<u8> {
    [&noise(n, 16)[..], fill].concat()
}

#[test]
fn pings_of_every_kind_stay_silent() {
    let counting: Vec<u8> = (0x10..0x38).collect();
    let long: Vec<u8> = (0..1400_u32).map(|i| i.to_le_bytes()[0]).collect();
    let windows = b"abcdefghijklmnopqrstuvwabcdefghi";
    let pattern = b"\xCA\xFE\xBA\xBE\x01".repeat(12);
    for fill in [&counting[..], &long, windows, &pattern, &[0; 40], b"monitored by example.com every minute"]
    {
        let mut talk = Vec::new();
        for n in 0..40 {
            let request = ping(n, fill);
            talk.push((UP, request.clone()));
            // Every third answer is lost, every seventh request was not captured.
            if n % 3 != 0 {
                talk.push((DOWN, request));
            }
            if n % 7 == 0 {
                talk.remove(talk.len() - 1);
            }
        }
        assert_eq!(label(&talk), None, "{fill:?}");
    }
}

#[test]
fn both_sides_asking_different_sizes_and_answers_cut_short_stay_silent() {
    let mut talk = Vec::new();
    for n in 0..40 {
        let (mine, yours) = (noise(n, 64), noise(n + 1000, 100));
        talk.extend([(UP, mine.clone()), (DOWN, yours.clone()), (DOWN, mine), (UP, yours)]);
    }
    assert_eq!(label(&talk), None);
    let cut: Vec<_> =
        (0..40).flat_map(|n| [(UP, noise(n, 1400)), (DOWN, noise(n, 1400)[..64].to_vec())]).collect();
    assert_eq!(label(&cut), None);
}
