//! Nebula (UDP).
//!
//! In: datagrams. Out: the label `nebula` from a handshake that is answered, or in the middle from indices that stay and counters that rise.

use crate::{
    Analyzer, Basis, Dir, FirstBytes, Kind, Meta, Next, Out, Probe, Reader, Segment, Short, Transport,
    Verdict,
};

/// The header of 16 bytes (Nebula's `header/header.go`): version and type, subtype, zeros, the receiver's index, a counter.
mod header {
    pub(super) const LEN: usize = 16;
    pub(super) const VERSION: u8 = 1;
    pub(super) const HANDSHAKE: u8 = 0;
    /// Message, error, lighthouse, test, close, control.
    pub(super) const TYPE_LAST: u8 = 6;
    pub(super) const ERROR: u8 = 2;
    pub(super) const SUBTYPE_LAST: u8 = 1;
    /// Counters of the question and the answer of a handshake (`handshake_ix.go`).
    pub(super) const ASKS: u64 = 1;
    pub(super) const ANSWERS: u64 = 2;
    /// Noise IX: two keys at least, then a certificate.
    pub(super) const HANDSHAKE_LEN_MIN: usize = 16 + 64 + 64;
    /// Behind the header of all others: a tag.
    pub(super) const TAG: usize = 16;
}

/// Packets in a row of a side that make a recognition in the middle: each fixes 59 bits of header and most of a counter.
const RUN: u8 = 3;
/// Packets a capture may miss between two; strangers (a byte that keeps a NAT open) before it is something else.
const STEP_MAX: u64 = 1024;
const GIVE_UP: u8 = 24;
/// A rekeyed tunnel begins anew long before.
const COUNTER_MAX: u64 = 1 << 40;

const ASKED: Kind = Kind {
    name: "nebula.asked",
    decibans: 27,
    says: "first message of a handshake: a header of version 1 with index 0 and counter 1 (Nebula header/header.go)",
};
const ANSWERED: Kind = Kind {
    name: "nebula.answered",
    decibans: 38,
    says: "the answer to a handshake: counter 2, sent to the index that the question gave (Nebula handshake_ix.go)",
};
const DATA: Kind = Kind {
    name: "nebula.data",
    decibans: 27,
    says: "headers of version 1 to an index that stays, with counters that rise (Nebula header/header.go)",
};

/// What a datagram is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Message {
    Asks,
    Answers,
    Data { index: u32, counter: u64 },
    Error,
}

impl Message {
    fn parse(data: &[u8], wire_len: usize) -> Option<Self> {
        let mut r = Reader::new(data);
        let fields = (|| Ok::<_, Short>((r.u8()?, r.u8()?, r.u16()?, r.u32()?, r.u64()?)))();
        let (first, subtype, reserved, index, counter) = fields.ok()?;
        let kind = first & 0x0F;
        let sane = first >> 4 == header::VERSION
            && kind <= header::TYPE_LAST
            && subtype <= header::SUBTYPE_LAST
            && reserved == 0;
        if !sane {
            return None;
        }
        match (kind, index, counter) {
            (header::HANDSHAKE, 0, header::ASKS) if wire_len >= header::HANDSHAKE_LEN_MIN => Some(Self::Asks),
            (header::HANDSHAKE, 1.., header::ANSWERS) if wire_len >= header::HANDSHAKE_LEN_MIN => {
                Some(Self::Answers)
            }
            (header::HANDSHAKE, ..) => None,
            (header::ERROR, 1.., _) => (wire_len == header::LEN).then_some(Self::Error),
            (_, 1.., 1..COUNTER_MAX) => {
                (wire_len >= header::LEN.saturating_add(header::TAG)).then_some(Self::Data { index, counter })
            }
            _ => None,
        }
    }
}

/// Data packets in a row.
#[derive(Clone, Copy, Debug)]
struct Run {
    index: u32,
    counter: u64,
    packets: u8,
}

/// What is known of the flow.
#[derive(Debug, Default)]
pub struct State {
    asked: Option<Dir>,
    runs: [Option<Run>; 2],
    others: u8,
}

impl Analyzer for State {
    const META: Meta = Meta {
        name: "nebula",
        title: "Nebula",
        label: Some("nebula"),
        app_proto: "failed",
        transports: &[Transport::Udp],
        ports: &[4242],
        first: FirstBytes::range(0x10, 0x16),
        budget: 32_768,
        carrier: false,
        reference: "slackhq/nebula sources: header/header.go, handshake_ix.go",
        evidence: &[ASKED, ANSWERED, DATA],
    };

    fn probe(p: &Probe<'_>) -> Verdict {
        let Some(message) = Message::parse(p.data, p.wire_len) else { return Verdict::No };
        match (message, Message::parse(p.other, p.other.len())) {
            (Message::Asks, _) => Verdict::Yes,
            (Message::Answers, Some(Message::Asks)) => Verdict::Yes,
            (Message::Data { index, .. }, Some(Message::Data { index: other, .. })) if index != other => {
                Verdict::Yes
            }
            // Indices are random: a small one is some other field.
            (Message::Data { index, counter }, _) if index > 0xFFFF && counter > 0 => Verdict::Yes,
            _ => Verdict::More,
        }
    }

    fn on_data(&mut self, seg: &Segment<'_>, out: &mut Out) -> Next {
        match Message::parse(seg.data, seg.wire_len) {
            Some(Message::Asks) => {
                if self.asked.is_none() {
                    out.client = Some(seg.dir.sender());
                    out.evidence(&ASKED, "");
                }
                self.asked = Some(seg.dir);
            }
            Some(Message::Answers) if self.asked == Some(seg.dir.reverse()) => {
                out.client = Some(seg.dir.receiver());
                out.evidence(&ANSWERED, "");
                out.is("nebula");
                return Next::Done;
            }
            Some(Message::Data { index, counter }) => {
                let Some(slot) = self.runs.get_mut(seg.dir.index()) else { return Next::NotMine };
                let run = match *slot {
                    // Overtaken on the way, or repeated.
                    Some(run) if run.index == index && counter <= run.counter => run,
                    Some(run) if run.index == index && counter.saturating_sub(run.counter) <= STEP_MAX => {
                        Run { index, counter, packets: run.packets.saturating_add(1) }
                    }
                    _ => Run { index, counter, packets: 1 },
                };
                *slot = Some(run);
                let [up, down] = self.runs;
                let one = up.is_some_and(|r| r.packets >= RUN) || down.is_some_and(|r| r.packets >= RUN);
                let same = up.zip(down).is_some_and(|(a, b)| a.index == b.index);
                if one && !same && run.packets >= RUN {
                    out.evidence(&DATA, format!("index {index:#010x}, counter {counter}"));
                    out.is("nebula");
                    out.basis = Basis::Midstream;
                    return Next::Done;
                }
                self.others = self.others.saturating_add(1);
            }
            _ => self.others = self.others.saturating_add(1),
        }
        if self.others >= GIVE_UP { Next::NotMine } else { Next::Continue { consumed: seg.data.len() } }
    }
}

#[cfg(test)]
pub(crate) const FIXTURES: &[crate::fixture::Fixture<'_>] = &[tests::HANDSHAKE, tests::MIDDLE];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Side;
    use crate::fixture::{Fixture, drive};

    const UP: Dir = Dir::ToServer;
    const DOWN: Dir = Dir::ToClient;

    const fn datagram<const N: usize>(kind: u8, index: u32, counter: u8) -> [u8; N] {
        let mut bytes = [0; N];
        let mut i = 0;
        while i < N {
            bytes[i] = match i {
                0 => kind,
                4..=7 => index.to_be_bytes()[i - 4],
                15 => counter,
                16.. => (i as u8).wrapping_mul(counter.wrapping_add(41)),
                _ => 0,
            };
            i += 1;
        }
        bytes
    }

    const ASK: &[u8] = &datagram::<231>(0x10, 0, 1);

    pub(super) const HANDSHAKE: Fixture<'_> = Fixture {
        name: "handshake",
        transport: Transport::Udp,
        payloads: &[(UP, ASK), (DOWN, &datagram::<269>(0x10, 0xBAEC_7739, 2))],
    };
    pub(super) const MIDDLE: Fixture<'_> = Fixture {
        name: "messages, lighthouse and a byte that keeps the NAT open",
        transport: Transport::Udp,
        payloads: &[
            (UP, &datagram::<116>(0x11, 0x7784_80DA, 6)),
            (DOWN, &datagram::<116>(0x11, 0xBAEC_7739, 5)),
            (UP, &datagram::<62>(0x13, 0x7784_80DA, 9)),
            (UP, b"\x01"),
            (UP, &datagram::<62>(0x14, 0x7784_80DA, 10)),
        ],
    };

    #[test]
    fn an_answered_handshake_is_nebula() {
        let got = drive::<State>(&HANDSHAKE, usize::MAX);
        assert_eq!((got.out.label, got.out.client), (Some("nebula"), Some(Side::Src)));
    }

    #[test]
    fn a_handshake_that_nobody_answers_is_evidence_and_no_label() {
        let got = drive::<State>(&Fixture { payloads: &[(UP, ASK), (UP, ASK)], ..HANDSHAKE }, usize::MAX);
        assert_eq!((got.out.label, got.out.evidence.len()), (None, 1));
    }

    #[test]
    fn indices_that_stay_and_counters_that_rise_are_nebula_in_the_middle() {
        let got = drive::<State>(&MIDDLE, usize::MAX);
        assert_eq!((got.out.label, got.out.basis), (Some("nebula"), Basis::Midstream));
    }

    #[test]
    fn counters_that_stand_still_and_indices_that_change_are_not_nebula() {
        let still: Vec<_> = vec![MIDDLE.payloads[0]; 30];
        let changing: Vec<Vec<u8>> =
            (0..30).map(|i| datagram::<116>(0x11, 0x7784_8000 + i, 6 + i as u8).to_vec()).collect();
        let changing: Vec<_> = changing.iter().map(|b| (UP, &b[..])).collect();
        for payloads in [&still[..], &changing] {
            assert!(!drive::<State>(&Fixture { payloads, ..MIDDLE }, usize::MAX).mine);
        }
    }

    #[test]
    fn headers_of_other_shape_are_not_taken() {
        let mut reserved = datagram::<116>(0x11, 0x7784_80DA, 6);
        reserved[3] = 1;
        for bytes in
            [&reserved[..], &datagram::<116>(0x21, 0x7784_80DA, 6), &datagram::<20>(0x11, 0x7784_80DA, 6)]
        {
            assert!(
                !drive::<State>(&Fixture { payloads: &[(UP, bytes), (UP, bytes)], ..MIDDLE }, usize::MAX)
                    .mine
            );
        }
    }
}
