//! tinc 1.0 and 1.1: the meta connection (TCP), and 1.0's packets (UDP).
//!
//! In: a byte stream or datagrams. Out: the label `tinc` from the greeting and what a side sends only after the other has greeted it: its
//! session key (1.0) or its key exchange (1.1). Packets of 1.0 are ciphertext without a header; they show by their
//! sizes alone, while the path's MTU is searched for: `basis` is behaviour.

use crate::{Analyzer, Basis, Dir, FirstBytes, Kind, Meta, Next, Out, Probe, Segment, Transport, Verdict};

/// Lines of the meta protocol (tinc's `protocol.h`, `protocol_auth.c`).
mod meta {
    /// "0 name 17", "0 name 17.7": request, name, version.
    pub(super) const ID: &[u8] = b"0 ";
    pub(super) const VERSION: &[u8] = b"17";
    /// "1 cipher digest maclength compression key": the key in hexadecimal.
    pub(super) const METAKEY: &[u8] = b"1 ";
    pub(super) const NUMBERS: usize = 4;
    pub(super) const KEY_DIGITS_MIN: usize = 64;
    pub(super) const LINE_MAX: usize = 128;
    pub(super) const KEY_LINE_MAX: usize = 4096;
    /// 1.1: a record of the key exchange (`sptps.c`): length 65, handshake, version 0, then nonce and key.
    pub(super) const KEX: &[u8] = &[0, 65, 128, 0];
}

/// Sizes of packets of 1.0 (`net_packet.c`): whole blocks of a cipher in CBC mode, then four bytes of a digest.
mod packet {
    pub(super) const BLOCK: usize = 8;
    pub(super) const DIGEST: usize = 4;
    /// The shortest probe: 64 bytes and a counter.
    pub(super) const PROBE_MIN: usize = 76;
    /// The first of each side: probes are of any size, and what else begins with ciphertext begins with little.
    pub(super) const FIRST_MIN: usize = 180;
    /// Probes of different sizes that came back as long as they went.
    pub(super) const ANSWERED: usize = 4;
    /// Packets that must be on the lattice: three bits each.
    pub(super) const LEAST: u8 = 16;
    pub(super) const GIVE_UP: u8 = 40;
}

const GREETING: Kind = Kind {
    name: "tinc.greeting",
    decibans: 15,
    says: "line of request 0, a name and protocol version 17 (tinc protocol_auth.c)",
};
const KEY: Kind = Kind {
    name: "tinc.key",
    decibans: 38,
    says: "a session key or key exchange after the greeting: only a side that was greeted sends it (tinc protocol_auth.c, sptps.c)",
};
const PROBES: Kind = Kind {
    name: "tinc.probes",
    decibans: 22,
    says: "nothing but ciphertext in whole blocks and four bytes, and probes of several sizes that the other side returns as long as \
           they were (tinc net_packet.c)",
};

/// What is known of the flow.
#[derive(Debug, Default)]
pub struct State {
    greeted: [bool; 2],
    first: Option<Dir>,
    packets: Option<Box<Packets>>,
}

/// Sizes of packets.
#[derive(Debug, Default)]
struct Packets {
    /// Sizes that one side has sent and the other has not yet, by direction.
    open: [[u16; 12]; 2],
    answered: [u16; packet::ANSWERED],
    /// How the last packet of each side begins.
    last: [Option<[u8; 4]>; 2],
    total: u8,
}

/// A line at the start of `data`, without its end; `Err` says whether it may still come.
fn line(data: &[u8], max: usize) -> Result<&[u8], bool> {
    match data.iter().take(max).position(|b| *b == b'\n') {
        Some(end) => data.get(..end).ok_or(false),
        None => Err(data.len() < max),
    }
}

/// Whether the line is a greeting.
fn is_greeting(line: &[u8]) -> bool {
    let Some(rest) = line.strip_prefix(meta::ID) else { return false };
    let mut words = rest.split(|b| *b == b' ');
    let (Some(name), Some(version), None) = (words.next(), words.next(), words.next()) else { return false };
    let name = name.strip_prefix(b"?").or_else(|| name.strip_prefix(b"^")).unwrap_or(name);
    let minor = version.strip_prefix(meta::VERSION);
    let minor = minor.map(|m| m.strip_prefix(b".").unwrap_or(m));
    !name.is_empty()
        && name.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'+' | b'/' | b'='))
        && minor.is_some_and(|m| m.len() <= 2 && m.iter().all(u8::is_ascii_digit))
}

/// Whether the line is a session key.
fn is_key(line: &[u8]) -> bool {
    let Some(rest) = line.strip_prefix(meta::METAKEY) else { return false };
    let mut words = rest.split(|b| *b == b' ');
    let numbers = words
        .by_ref()
        .take(meta::NUMBERS)
        .filter(|w| (1..=5).contains(&w.len()) && w.iter().all(u8::is_ascii_digit));
    let numbers = numbers.count();
    let (Some(key), None) = (words.next(), words.next()) else { return false };
    numbers == meta::NUMBERS
        && key.len() >= meta::KEY_DIGITS_MIN
        && key.len().is_multiple_of(2)
        && key.iter().all(u8::is_ascii_hexdigit)
}

const fn is_on_lattice(len: usize) -> bool {
    len % packet::BLOCK == packet::DIGEST && len > packet::BLOCK
}

/// Whether bytes look like ciphertext: none of their first 32 values comes more than thrice.
fn is_random(data: &[u8]) -> bool {
    let head = data.get(..32).unwrap_or(data);
    head.len() >= 16 && head.iter().all(|b| head.iter().filter(|c| *c == b).count() <= 3)
}

impl Packets {
    /// Takes a packet in; whether it can be tinc's.
    fn push(&mut self, dir: Dir, data: &[u8], wire_len: usize) -> bool {
        self.total = self.total.saturating_add(1);
        let begins = data.first_chunk::<4>().copied();
        let Some(last) = self.last.get_mut(dir.index()) else { return false };
        // A header of any kind has bytes that stay.
        let stays = match (*last, begins) {
            (Some(a), Some(b)) => a.iter().zip(&b).filter(|(a, b)| a == b).count() >= 2,
            _ => false,
        };
        *last = begins;
        if !is_on_lattice(wire_len) || !is_random(data) || stays {
            return false;
        }
        let Ok(len) = u16::try_from(wire_len) else { return false };
        if wire_len < packet::PROBE_MIN || self.answered.contains(&len) {
            return true;
        }
        let [up, down] = &mut self.open;
        let (mine, theirs) = if dir == Dir::ToServer { (up, down) } else { (down, up) };
        if let Some(asked) = theirs.iter_mut().find(|l| **l == len) {
            *asked = 0;
            if let Some(free) = self.answered.iter_mut().find(|l| **l == 0) {
                *free = len;
            }
        } else if !mine.contains(&len)
            && let Some(free) = mine.iter_mut().find(|l| **l == 0)
        {
            *free = len;
        }
        true
    }

    fn is_enough(&self) -> bool {
        self.total >= packet::LEAST && self.answered.iter().all(|l| *l > 0)
    }
}

impl State {
    fn on_packet(&mut self, seg: &Segment<'_>, out: &mut Out) -> Next {
        // Both sides are alike; who sent first is all that tells them apart.
        out.client.get_or_insert(seg.dir.sender());
        let packets = self.packets.get_or_insert_default();
        if !packets.push(seg.dir, seg.data, seg.wire_len) {
            return Next::NotMine;
        }
        if packets.is_enough() {
            out.evidence(&PROBES, format!("{} packets; returned: {:?}", packets.total, packets.answered));
            out.is("tinc");
            out.basis = Basis::Behaviour;
            return Next::Done;
        }
        if packets.total >= packet::GIVE_UP {
            Next::NotMine
        } else {
            Next::Continue { consumed: seg.data.len() }
        }
    }
}

impl Analyzer for State {
    const META: Meta = Meta {
        name: "tinc",
        title: "tinc",
        label: Some("tinc"),
        app_proto: "failed",
        transports: &[Transport::Tcp, Transport::Udp],
        // Both sides send from 655: it does not tell who called.
        ports: &[],
        first: FirstBytes::ANY,
        budget: 65_536,
        carrier: false,
        reference: "tinc 1.0.36 and 1.1 sources: protocol.h, protocol_auth.c, sptps.c, net_packet.c",
        evidence: &[GREETING, KEY, PROBES],
    };

    fn probe(p: &Probe<'_>) -> Verdict {
        if p.transport.is_stream() {
            if !meta::ID.iter().zip(p.data).all(|(a, b)| a == b) {
                return Verdict::No;
            }
            return match line(p.data, meta::LINE_MAX) {
                Ok(line) if is_greeting(line) => Verdict::Yes,
                Ok(_) | Err(false) => Verdict::No,
                Err(true) => Verdict::More,
            };
        }
        let may_be =
            |data: &[u8], len: usize| is_on_lattice(len) && len >= packet::FIRST_MIN && is_random(data);
        if !p.from_start || !may_be(p.data, p.wire_len) {
            return Verdict::No;
        }
        // What remains has no header at all; whoever knows better has answered by then.
        match p.other {
            [] => Verdict::More,
            other if may_be(other, other.len()) => Verdict::Yes,
            _ => Verdict::No,
        }
    }

    fn on_data(&mut self, seg: &Segment<'_>, out: &mut Out) -> Next {
        if !seg.transport.is_stream() {
            return self.on_packet(seg, out);
        }
        if seg.gap {
            return Next::NotMine;
        }
        let mut data = seg.data;
        let wait = |data: &[u8]| Next::Continue { consumed: seg.data.len().saturating_sub(data.len()) };
        let Some(greeted) = self.greeted.get_mut(seg.dir.index()) else { return Next::NotMine };
        if !*greeted {
            let text = match line(data, meta::LINE_MAX) {
                Ok(text) if is_greeting(text) => text,
                Err(true) => return wait(data),
                _ => return Next::NotMine,
            };
            *greeted = true;
            let first = *self.first.get_or_insert(seg.dir);
            if first == seg.dir {
                out.client = Some(seg.dir.sender());
                out.evidence(&GREETING, String::from_utf8_lossy(text));
            }
            data = data.get(text.len().saturating_add(1)..).unwrap_or_default();
        }
        if data.is_empty() {
            return wait(data);
        }
        let how = if data.starts_with(meta::METAKEY) {
            match line(data, meta::KEY_LINE_MAX) {
                Ok(text) if is_key(text) => "session key",
                Err(true) => return wait(data),
                _ => return Next::NotMine,
            }
        } else if data.starts_with(meta::KEX) {
            "key exchange"
        } else if data.len() < meta::KEX.len() {
            return wait(data);
        } else {
            return Next::NotMine;
        };
        out.evidence(&KEY, how);
        out.is("tinc");
        Next::Done
    }
}

#[cfg(test)]
pub(crate) const FIXTURES: &[crate::fixture::Fixture<'_>] = &[tests::V1_0, tests::V1_1, tests::PACKETS];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Side;
    use crate::fixture::{Fixture, drive};

    const UP: Dir = Dir::ToServer;
    const DOWN: Dir = Dir::ToClient;

    const KEY_LINE: &[u8] =
        b"1 94 64 0 0 0B25790D9B2ADD0489B8BA987A3A393FDFB23AABEAE73E6133C4B2BA197E9F389FC6\n";

    /// `N` bytes that depend on the seed and repeat nothing near.
    const fn cipher<const N: usize>(seed: u64) -> [u8; N] {
        let mut bytes = [0; N];
        let mut x = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
        let mut i = 0;
        while i < N {
            x ^= x << 13;
            x ^= x >> 7;
            x ^= x << 17;
            bytes[i] = (x >> 24) as u8;
            i += 1;
        }
        bytes
    }

    pub(super) const V1_0: Fixture<'_> = Fixture {
        name: "1.0: greetings and session keys",
        transport: Transport::Tcp,
        payloads: &[(UP, b"0 lap 17\n"), (DOWN, b"0 srv 17\n"), (DOWN, KEY_LINE), (UP, KEY_LINE)],
    };
    pub(super) const V1_1: Fixture<'_> = Fixture {
        name: "1.1: greetings and key exchange",
        transport: Transport::Tcp,
        payloads: &[
            (UP, b"0 lap 17.7\n"),
            (DOWN, b"0 srv 17.7\n"),
            (UP, b"\0\x41\x80\0nonce"),
            (DOWN, b"\0\x41\x80\0NONCE"),
        ],
    };
    pub(super) const PACKETS: Fixture<'_> = Fixture {
        name: "1.0: probes of several sizes",
        transport: Transport::Udp,
        payloads: &[
            (UP, &cipher::<836>(1)),
            (UP, &cipher::<660>(2)),
            (DOWN, &cipher::<836>(3)),
            (DOWN, &cipher::<324>(4)),
            (DOWN, &cipher::<660>(5)),
            (UP, &cipher::<324>(6)),
            (UP, &cipher::<1444>(7)),
            (DOWN, &cipher::<1444>(8)),
            (DOWN, &cipher::<84>(9)),
            (UP, &cipher::<84>(10)),
            (UP, &cipher::<84>(11)),
            (UP, &cipher::<116>(12)),
            (UP, &cipher::<1300>(13)),
            (DOWN, &cipher::<84>(14)),
            (DOWN, &cipher::<92>(15)),
            (DOWN, &cipher::<92>(16)),
            (UP, &cipher::<132>(17)),
        ],
    };

    #[test]
    fn greetings_and_keys_are_tinc() {
        for fixture in [V1_0, V1_1] {
            for piece in [usize::MAX, 3, 1] {
                let got = drive::<State>(&fixture, piece);
                assert_eq!(
                    (got.out.label, got.out.client),
                    (Some("tinc"), Some(Side::Src)),
                    "{}",
                    fixture.name
                );
            }
        }
    }

    #[test]
    fn greetings_alone_are_evidence_and_no_label() {
        let got = drive::<State>(&Fixture { payloads: &V1_0.payloads[..2], ..V1_0 }, usize::MAX);
        assert_eq!((got.out.label, got.out.evidence.len()), (None, 1));
    }

    #[test]
    fn lines_that_only_look_like_it_are_not_tinc() {
        for line in
            [&b"0 lap 16\n"[..], b"0 lap 17 18\n", b"0 l@p 17\n", b"0 lap 17.1.2\n", b"0 0\n", b"0 lap\n"]
        {
            assert!(
                !drive::<State>(&Fixture { payloads: &[(UP, line)], ..V1_0 }, usize::MAX).mine,
                "{line:?}"
            );
        }
        for next in [&b"1 94 64 0 zero 0B2579\n"[..], b"1 94 64 0 0 0B25\n", b"GET / HTTP/1.1\r\n"] {
            let payloads = &[(UP, &b"0 lap 17\n"[..]), (UP, next)];
            assert!(!drive::<State>(&Fixture { payloads, ..V1_0 }, usize::MAX).mine, "{next:?}");
        }
    }

    #[test]
    fn probes_that_come_back_as_long_as_they_went_are_tinc_by_behaviour() {
        let got = drive::<State>(&PACKETS, usize::MAX);
        assert_eq!((got.out.label, got.out.basis), (Some("tinc"), Basis::Behaviour));
        assert_eq!(
            drive::<State>(&Fixture { payloads: &PACKETS.payloads[..14], ..PACKETS }, usize::MAX).out.label,
            None
        );
    }

    #[test]
    fn a_packet_off_the_lattice_a_header_or_sizes_that_nobody_returns_are_not_tinc() {
        let mut off = PACKETS.payloads.to_vec();
        off[12].1 = &PACKETS.payloads[12].1[..1299];
        let alone: Vec<_> = PACKETS.payloads.iter().cycle().take(60).map(|(_, b)| (UP, *b)).collect();
        let same: Vec<_> = [(UP, PACKETS.payloads[0].1), (DOWN, PACKETS.payloads[2].1)].repeat(20);
        let with_header: Vec<Vec<u8>> =
            PACKETS.payloads.iter().map(|(_, b)| [&b"\x80\x60\x01\x02"[..], &b[4..]].concat()).collect();
        let with_header: Vec<_> =
            PACKETS.payloads.iter().zip(&with_header).map(|((d, _), b)| (*d, &b[..])).collect();
        for payloads in [&off[..], &alone, &same, &with_header] {
            assert_eq!(drive::<State>(&Fixture { payloads, ..PACKETS }, usize::MAX).out.label, None);
        }
    }
}
