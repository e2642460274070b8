//! AmneziaWG (UDP): WireGuard under other message types, with junk before its handshake.
//!
//! In: datagrams. Out: the label `wireguard` from its data plane: both sides begin with the same secret type, each sends to an index of
//! its own, counters rise, sizes are WireGuard's. Its handshake shows nothing, and neither does data that is given junk or a range of types
//! (version 2). Messages under WireGuard's own types are left to `wireguard.rs`.

use crate::{
    Analyzer, Basis, Dir, FirstBytes, Kind, Meta, Next, Out, Probe, Reader, Segment, Short, Transport,
    Verdict,
};

/// Data (amneziawg-go's `device/noise-types.go`, `send.go`): type, receiver's index, counter; as in WireGuard little-endian.
mod data {
    pub(super) const LEN_MIN: usize = 32;
    pub(super) const PADDING: usize = 16;
    /// Types below are WireGuard's own.
    pub(super) const TYPE_MIN: u32 = 5;
    /// Far beyond what a session sends before it has new keys.
    pub(super) const COUNTER_MAX: u64 = 1 << 32;
    pub(super) const STEP_MAX: u64 = 1024;
}

/// Packets in a row of each side: each fixes both words and, but for its step, the counter.
const RUN: u8 = 3;
/// Datagrams without them after which it is something else.
const GIVE_UP: u8 = 32;

const DATA: Kind = Kind {
    name: "amneziawg.data",
    decibans: 24,
    says: "data of both sides under one type, to indices that stay, with WireGuard's counters and padding (amneziawg-go device/send.go)",
};

/// Head of a data packet.
#[derive(Clone, Copy, Debug)]
struct Head {
    kind: u32,
    index: u32,
    counter: u64,
    cipher: [u8; 8],
}

impl Head {
    fn parse(bytes: &[u8], wire_len: usize) -> Option<Self> {
        let mut r = Reader::new(bytes);
        let head = (|| {
            let (kind, index) = (r.u32_le()?, r.u32_le()?);
            Ok::<_, Short>(Self {
                kind,
                index,
                counter: r.array().map(u64::from_le_bytes)?,
                cipher: r.array()?,
            })
        })();
        let random = |word: u32| word.to_le_bytes().iter().filter(|b| **b == 0).count() <= 1;
        head.ok().filter(|h| {
            wire_len >= data::LEN_MIN
                && h.kind >= data::TYPE_MIN
                && h.counter < data::COUNTER_MAX
                && random(h.index)
        })
    }

    /// Whether this and the other side's are of one tunnel.
    const fn pairs_with(&self, other: &Self) -> bool {
        self.kind == other.kind && self.index != other.index
    }
}

/// Data packets of a side in a row.
#[derive(Clone, Copy, Debug)]
struct Run {
    head: Head,
    packets: u8,
    largest: usize,
    padded: bool,
}

/// What is known of the flow.
#[derive(Debug, Default)]
pub struct State {
    runs: [Option<Run>; 2],
    packets: u8,
}

impl Run {
    const fn start(head: Head, len: usize) -> Self {
        Self { head, packets: 1, largest: len, padded: true }
    }

    /// Takes the next packet in: all but the largest, which the MTU cuts, are padded.
    fn push(&mut self, head: Head, len: usize) {
        let (small, large) = if len < self.largest { (len, self.largest) } else { (self.largest, len) };
        self.padded &= small == large || small.is_multiple_of(data::PADDING);
        (self.head, self.largest, self.packets) = (head, large, self.packets.saturating_add(1));
    }

    const fn is_enough(&self) -> bool {
        self.packets >= RUN && self.padded
    }
}

impl Analyzer for State {
    const META: Meta = Meta {
        name: "amneziawg",
        title: "AmneziaWG",
        label: Some("wireguard"),
        app_proto: "failed",
        transports: &[Transport::Udp],
        ports: &[],
        first: FirstBytes::ANY,
        budget: 65_536,
        carrier: false,
        reference: "amnezia-vpn/amneziawg-go sources: device/noise-types.go, device/send.go",
        evidence: &[DATA],
    };

    fn probe(p: &Probe<'_>) -> Verdict {
        // Cheap for everything else: the other side's first four bytes are hardly ever the same.
        if !p.other.is_empty() && p.other.get(..4) != p.data.get(..4) {
            return Verdict::More;
        }
        match (Head::parse(p.data, p.wire_len), Head::parse(p.other, p.other.len())) {
            (Some(head), Some(other)) if head.pairs_with(&other) => Verdict::Yes,
            _ => Verdict::More,
        }
    }

    fn on_data(&mut self, seg: &Segment<'_>, out: &mut Out) -> Next {
        self.packets = self.packets.saturating_add(1);
        let [up, down] = &mut self.runs;
        let (here, there) = if seg.dir == Dir::ToServer { (up, down) } else { (down, up) };
        if let Some(head) = Head::parse(seg.data, seg.wire_len) {
            match &mut *here {
                Some(run) if (run.head.kind, run.head.index) == (head.kind, head.index) => {
                    let step = head.counter.checked_sub(run.head.counter);
                    let alike = run.head.cipher.iter().zip(&head.cipher).filter(|(a, b)| a == b).count() >= 3;
                    match step {
                        Some(1..=data::STEP_MAX) if !alike => run.push(head, seg.wire_len),
                        // Overtaken on the way.
                        None => {}
                        _ => *run = Run::start(head, seg.wire_len),
                    }
                }
                other => *other = Some(Run::start(head, seg.wire_len)),
            }
            if let (Some(a), Some(b)) = (&*here, &*there)
                && a.head.pairs_with(&b.head)
                && a.is_enough()
                && b.is_enough()
            {
                out.evidence(&DATA, format!("type {:#010x}, index {:#010x}", head.kind, head.index));
                out.is("wireguard");
                out.basis = Basis::Midstream;
                return Next::Done;
            }
        }
        if self.packets >= GIVE_UP { Next::NotMine } else { Next::Continue { consumed: seg.data.len() } }
    }
}

#[cfg(test)]
pub(crate) const FIXTURES: &[crate::fixture::Fixture<'_>] = &[tests::TALK];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{Fixture, drive};

    const UP: Dir = Dir::ToServer;
    const DOWN: Dir = Dir::ToClient;

    const fn packet<const N: usize>(kind: u8, index: u8, counter: u8) -> [u8; N] {
        let mut bytes = [0; N];
        let mut i = 0;
        while i < N {
            bytes[i] = match i {
                0..=3 => kind.wrapping_add(17 * i as u8),
                4..=7 => index.wrapping_add(31 * i as u8),
                8 => counter,
                9..=15 => 0,
                _ => (i as u8).wrapping_mul(counter.wrapping_mul(2).wrapping_add(77)).wrapping_add(counter),
            };
            i += 1;
        }
        bytes
    }

    pub(super) const TALK: Fixture<'_> = Fixture {
        name: "data of both sides under another type",
        transport: Transport::Udp,
        payloads: &[
            (UP, &packet::<128>(0x9C, 3, 1)),
            (DOWN, &packet::<112>(0x9C, 90, 1)),
            (UP, &packet::<32>(0x9C, 3, 2)),
            (DOWN, &packet::<1452>(0x9C, 90, 2)),
            (UP, &packet::<96>(0x9C, 3, 3)),
            (DOWN, &packet::<96>(0x9C, 90, 4)),
        ],
    };

    #[test]
    fn data_of_both_sides_under_one_type_is_wireguard() {
        let got = drive::<State>(&TALK, usize::MAX);
        assert_eq!((got.out.label, got.out.basis), (Some("wireguard"), Basis::Midstream));
    }

    #[test]
    fn one_thing_wrong_and_it_is_not() {
        let with = |bytes: &[u8]| {
            let mut payloads = TALK.payloads.to_vec();
            payloads[4].1 = bytes;
            drive::<State>(&Fixture { payloads: &payloads, ..TALK }, usize::MAX).out.label
        };
        assert_eq!(with(&packet::<89>(0x9C, 3, 3)), None, "a size that is not padded");
        assert_eq!(with(&packet::<96>(0x9C, 4, 3)), None, "another index");
        assert_eq!(with(&packet::<96>(0x9D, 3, 3)), None, "another type");
        assert_eq!(with(&packet::<96>(0x9C, 3, 2)), None, "a counter that stands still");
    }

    #[test]
    fn the_same_index_both_ways_is_not_taken() {
        let payloads = &[(UP, &packet::<96>(0x9C, 3, 1)[..]), (DOWN, &packet::<96>(0x9C, 3, 2)[..])];
        assert!(!drive::<State>(&Fixture { payloads, ..TALK }, usize::MAX).mine);
    }
}
