//! OpenVPN with a static key (`--secret`), UDP.
//!
//! In: datagrams. Out: the label `openvpn`, from behaviour alone: this mode has no handshake and not one constant bit. Each datagram is an
//! HMAC, a random IV and whole cipher blocks, so sizes stand on a lattice that starts at the tunnel's own ping; and a TCP
//! handshake inside shows as two datagrams of one size and a smaller one, whose sizes follow from the HMAC's.
//!
//! What it needs is told by the arithmetic: CBC with an HMAC of 20, 32 or 64 bytes, TCP with time stamps over IPv4 inside, twice. Other
//! mixtures are not told from other tunnels, and get no label.

use crate::{Analyzer, Basis, Dir, FirstBytes, Kind, Meta, Next, Out, Probe, Segment, Transport, Verdict};

const LATTICE: Kind = Kind {
    name: "openvpn_static.lattice",
    decibans: 12,
    says: "random datagrams both ways, sizes of HMAC, IV and whole blocks, and TCP handshakes of the sizes that follow (computed, recorded)",
};

/// Cipher block and IV of CBC.
const BLOCK: usize = 16;
/// HMACs whose sums are told from other tunnels': SHA-1 (the default), SHA-256, SHA-512.
const HMACS: [usize; 3] = [20, 32, 64];
/// Packet id and time before the inner packet.
const STAMP: usize = 8;
/// OpenVPN's own ping.
const PING: usize = 16;
/// A SYN and its answer, and the bare ACK that follows, with time stamps, over IPv4.
const INNER_SYN: usize = 60;
const INNER_ACK: usize = 52;

/// First bytes of a datagram that must look random: HMAC of at least 20 and the IV.
const HEAD: usize = 32;
/// Packets a direction over which no byte may be constant.
const HEADS: u8 = 8;
/// The same value at one place so often within [`HEADS`] packets is no chance (below 2^-40 for all places together).
const SAME_MAX: u8 = 3;
/// Handshakes inside that make a recognition.
const HANDSHAKES: u8 = 2;
/// Packets before which nothing is said.
const PACKETS: u16 = 24;
/// A tunnel begins with a ping, a SYN or a look-up: where both sides begin with more, the path's MTU is searched for (tinc).
const OPENING_MAX: usize = 180;
/// The answer to a SYN takes no longer, in nanoseconds.
const ANSWER_NS: i64 = 1_500_000_000;

/// Size of a datagram with `inner` bytes inside: PKCS padding always adds.
const fn sealed(hmac: usize, inner: usize) -> usize {
    let blocks = STAMP.saturating_add(inner) / BLOCK;
    hmac.saturating_add(BLOCK).saturating_add(blocks.saturating_add(1).saturating_mul(BLOCK))
}

/// Whether a datagram of `len` bytes can be one under this HMAC.
const fn on_lattice(hmac: usize, len: usize) -> bool {
    let smallest = sealed(hmac, PING);
    len >= smallest && len.saturating_sub(smallest).is_multiple_of(BLOCK)
}

/// Whether bytes look like an HMAC and an IV: hardly any byte twice, no text, no zeros in a row, and no header that others have.
fn is_random(head: &[u8]) -> bool {
    /// Magic cookie of STUN (RFC 8489) and version of QUIC 2 (RFC 9369).
    const STUN: [u8; 4] = [0x21, 0x12, 0xA4, 0x42];
    const QUIC_2: [u8; 4] = [0x6B, 0x33, 0x43, 0xCF];
    if head.get(4..8) == Some(&STUN)
        || head.get(1..5) == Some(&QUIC_2)
        || head.windows(2).any(|w| w == [0, 0])
    {
        return false;
    }
    /// Of 32 random bytes 30 are distinct on average; 24 or fewer come once in a million.
    const DISTINCT_MIN: usize = 25;
    let distinct = head.iter().enumerate().filter(|(i, b)| !head.iter().take(*i).any(|c| c == *b)).count();
    let text = head.iter().filter(|b| b.is_ascii_graphic() || **b == b' ').count();
    distinct >= DISTINCT_MIN && text < HEAD * 3 / 4
}

/// First bytes of a direction's first packet, and how often each came again.
#[derive(Debug, Default)]
struct Heads {
    first: [u8; HEAD],
    same: [u8; HEAD],
    packets: u8,
}

/// How far a TCP handshake inside has come.
#[derive(Clone, Copy, Debug, Default)]
enum Step {
    #[default]
    None,
    Syn(Dir, i64),
    Answer(Dir, i64),
}

/// What is known of the flow.
#[derive(Debug, Default)]
pub struct State {
    /// HMACs whose lattice all packets were on.
    hmacs: [Candidate; HMACS.len()],
    heads: [Heads; 2],
    packets: u16,
}

/// One HMAC length under trial.
#[derive(Clone, Copy, Debug, Default)]
struct Candidate {
    excluded: bool,
    step: Step,
    handshakes: u8,
}

impl Heads {
    /// Takes a packet's head in; whether some place is constant.
    fn is_constant_with(&mut self, data: &[u8]) -> bool {
        if self.packets >= HEADS {
            return false;
        }
        self.packets = self.packets.saturating_add(1);
        if self.packets == 1 {
            self.first.iter_mut().zip(data).for_each(|(first, b)| *first = *b);
            return false;
        }
        let mut constant = false;
        for ((same, first), b) in self.same.iter_mut().zip(&self.first).zip(data) {
            if first == b {
                *same = same.saturating_add(1);
                constant |= *same >= SAME_MAX;
            }
        }
        constant
    }
}

impl Candidate {
    fn push(&mut self, hmac: usize, len: usize, dir: Dir, ts_ns: i64) {
        let (syn, ack) = (sealed(hmac, INNER_SYN), sealed(hmac, INNER_ACK));
        self.excluded |= !on_lattice(hmac, len);
        self.step = match self.step {
            Step::Syn(from, at) if len == syn && dir != from && ts_ns.saturating_sub(at) <= ANSWER_NS => {
                Step::Answer(from, ts_ns)
            }
            Step::Answer(from, at) if len == ack && dir == from && ts_ns.saturating_sub(at) <= ANSWER_NS => {
                self.handshakes = self.handshakes.saturating_add(1);
                Step::None
            }
            _ if len == syn => Step::Syn(dir, ts_ns),
            _ => Step::None,
        };
    }
}

impl Analyzer for State {
    const META: Meta = Meta {
        name: "openvpn_static",
        title: "OpenVPN with a static key",
        label: Some("openvpn"),
        app_proto: "failed",
        transports: &[Transport::Udp],
        ports: &[1194],
        first: FirstBytes::ANY,
        budget: 65_536,
        carrier: false,
        reference: "openvpn(8), --secret; OpenVPN's doc on the data channel format; sizes recorded from OpenVPN 2.6",
        evidence: &[LATTICE],
    };

    fn probe(p: &Probe<'_>) -> Verdict {
        let fits = |data: &[u8], len: usize, hmac: usize| {
            on_lattice(hmac, len) && data.get(..HEAD).is_some_and(is_random)
        };
        let mine = |hmac: &&usize| fits(p.data, p.wire_len, **hmac);
        // The other side's first datagram must stand on the same lattice.
        let both = HMACS.iter().filter(mine).any(|hmac| fits(p.other, p.other.len(), *hmac));
        let searching = p.from_start && p.wire_len >= OPENING_MAX && p.other.len() >= OPENING_MAX;
        match (HMACS.iter().any(|hmac| mine(&hmac)), p.other.is_empty()) {
            (true, true) => Verdict::More,
            (true, false) if both && !searching => Verdict::Yes,
            _ => Verdict::No,
        }
    }

    fn on_data(&mut self, seg: &Segment<'_>, out: &mut Out) -> Next {
        self.packets = self.packets.saturating_add(1);
        let constant =
            self.heads.get_mut(seg.dir.index()).is_none_or(|heads| heads.is_constant_with(seg.data));
        for (candidate, hmac) in self.hmacs.iter_mut().zip(HMACS) {
            candidate.push(hmac, seg.wire_len, seg.dir, seg.ts_ns);
        }
        if constant || self.hmacs.iter().all(|c| c.excluded) {
            return Next::NotMine;
        }
        let heard = self.heads.iter().all(|heads| heads.packets >= HEADS);
        let found = self.hmacs.iter().zip(HMACS).find(|(c, _)| !c.excluded && c.handshakes >= HANDSHAKES);
        if let Some((_, hmac)) = found
            && heard
            && self.packets >= PACKETS
        {
            let (syn, ack) = (sealed(hmac, INNER_SYN), sealed(hmac, INNER_ACK));
            out.evidence(&LATTICE, format!("HMAC of {hmac} bytes, handshakes {syn}/{syn}/{ack}"));
            out.is("openvpn");
            out.basis = Basis::Behaviour;
            return Next::Done;
        }
        Next::Continue { consumed: seg.data.len() }
    }
}

#[cfg(test)]
pub(crate) const FIXTURES: &[crate::fixture::Fixture<'_>] = &[tests::BROWSING];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{Fixture, drive};

    const UP: Dir = Dir::ToServer;
    const DOWN: Dir = Dir::ToClient;

    /// Bytes without structure: a multiplicative generator, one seed a packet.
    const fn noise<const N: usize>(seed: u64) -> [u8; N] {
        let mut bytes = [0; N];
        let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
        let mut i = 0;
        while i < N {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            bytes[i] = (state >> 32) as u8;
            i += 1;
        }
        bytes
    }

    /// A ping each way, then twice: SYN, answer, ACK, request, acknowledgement, response, acknowledgement, …
    pub(super) const BROWSING: Fixture<'_> = Fixture {
        name: "two connections inside, HMAC of 20 bytes",
        transport: Transport::Udp,
        payloads: &[
            (UP, &noise::<68>(1)),
            (DOWN, &noise::<68>(2)),
            (UP, &noise::<116>(3)),
            (DOWN, &noise::<116>(4)),
            (UP, &noise::<100>(5)),
            (UP, &noise::<180>(6)),
            (DOWN, &noise::<100>(7)),
            (DOWN, &noise::<1444>(8)),
            (UP, &noise::<100>(9)),
            (DOWN, &noise::<308>(10)),
            (UP, &noise::<100>(11)),
            (DOWN, &noise::<100>(12)),
            (UP, &noise::<116>(13)),
            (DOWN, &noise::<116>(14)),
            (UP, &noise::<100>(15)),
            (UP, &noise::<196>(16)),
            (DOWN, &noise::<100>(17)),
            (DOWN, &noise::<1444>(18)),
            (UP, &noise::<100>(19)),
            (DOWN, &noise::<212>(20)),
            (UP, &noise::<100>(21)),
            (DOWN, &noise::<100>(22)),
            (UP, &noise::<68>(23)),
            (DOWN, &noise::<68>(24)),
        ],
    };

    #[test]
    fn the_sizes_are_those_that_openvpn_2_6_sends() {
        assert_eq!([PING, INNER_SYN, INNER_ACK].map(|inner| sealed(20, inner)), [68, 116, 100]);
        assert_eq!([PING, INNER_SYN, INNER_ACK].map(|inner| sealed(32, inner)), [80, 128, 112]);
    }

    #[test]
    fn two_handshakes_on_the_lattice_are_openvpn_by_behaviour() {
        let got = drive::<State>(&BROWSING, usize::MAX);
        assert_eq!((got.out.label, got.out.basis), (Some("openvpn"), Basis::Behaviour));
        assert_eq!(&*got.out.evidence[0].detail, "HMAC of 20 bytes, handshakes 116/116/100");
    }

    #[test]
    fn one_handshake_or_one_size_off_the_lattice_is_no_label() {
        let mut one = BROWSING.payloads.to_vec();
        one[14].1 = BROWSING.payloads[13].1;
        assert_eq!(drive::<State>(&Fixture { payloads: &one, ..BROWSING }, usize::MAX).out.label, None);
        let mut off = BROWSING.payloads.to_vec();
        off[9].1 = &off[9].1[..301];
        let got = drive::<State>(&Fixture { payloads: &off, ..BROWSING }, usize::MAX);
        assert_eq!((got.mine, got.out.label), (false, None));
    }

    #[test]
    fn a_constant_byte_is_another_protocol() {
        let marked: Vec<(Dir, Vec<u8>)> =
            BROWSING.payloads.iter().map(|(d, b)| (*d, [&[0x80], &b[1..]].concat())).collect();
        let payloads: Vec<_> = marked.iter().map(|(d, b)| (*d, &b[..])).collect();
        assert_eq!(drive::<State>(&Fixture { payloads: &payloads, ..BROWSING }, usize::MAX).out.label, None);
    }

    #[test]
    fn text_zeros_and_other_sizes_are_not_taken() {
        for first in [&[0; 68][..], &[b'a'; 68], &noise::<68>(7)[..67]] {
            let payloads = &[(UP, first), (DOWN, BROWSING.payloads[1].1)];
            assert!(!drive::<State>(&Fixture { payloads, ..BROWSING }, usize::MAX).mine);
        }
    }
}
