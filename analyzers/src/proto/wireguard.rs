//! WireGuard (UDP).
//!
//! In: datagrams. Out: the label `wireguard` from the fixed sizes and types of its four messages, strongest when an answer
//! echoes the sender index of the question. Data-plane recognition without a handshake rests on the counter and the size lattice.

use crate::{
    Analyzer, Basis, FirstBytes, Kind, Meta, Next, Out, Probe, Reader, Segment, Short, Transport, Verdict,
};

/// Message type and three reserved zero bytes (WireGuard paper, section 5.4).
mod message {
    /// Handshake initiation: 148 bytes.
    pub(super) const INITIATION: u32 = 1;
    pub(super) const INITIATION_LEN: usize = 148;
    /// Handshake response: 92 bytes.
    pub(super) const RESPONSE: u32 = 2;
    pub(super) const RESPONSE_LEN: usize = 92;
    /// Cookie reply: 64 bytes.
    pub(super) const COOKIE: u32 = 3;
    pub(super) const COOKIE_LEN: usize = 64;
    /// Transport data: 16 bytes of header, then ciphertext with a 16-byte tag.
    pub(super) const DATA: u32 = 4;
    pub(super) const DATA_MIN: usize = 32;
}

/// Data packets of one session, in order, that make a mid-stream recognition: a random UDP payload starts with 04 00 00 00
/// once in 2^32, and has a small growing 64-bit counter behind it far more rarely still.
const MIDSTREAM_PACKETS: u8 = 3;
/// WireGuard rejects counters near 2^64 (REJECT_AFTER_MESSAGES); a session in the wild never comes near 2^48.
const COUNTER_MAX: u64 = 1 << 48;

const INITIATION: Kind = Kind {
    name: "wireguard.initiation",
    decibans: 26,
    says: "148-byte handshake initiation, type 1, reserved bytes zero (WireGuard paper 5.4.2)",
};
const RESPONSE: Kind = Kind {
    name: "wireguard.response",
    decibans: 40,
    says: "92-byte handshake response that names the initiation's sender index (WireGuard paper 5.4.3)",
};
const DATA: Kind = Kind {
    name: "wireguard.data",
    decibans: 20,
    says: "transport data with constant receiver index and growing counter (WireGuard paper 5.4.6)",
};

/// What is known of the session.
#[derive(Debug, Default)]
pub struct State {
    /// Sender index of the last initiation, by direction.
    initiation: [Option<u32>; 2],
    /// Receiver index, next counter and packets in a row of the data seen, by direction.
    data: [(u32, u64, u8); 2],
    said_initiation: bool,
    confirmed: bool,
}

/// What one datagram is.
enum Message {
    Initiation { sender: u32 },
    Response { receiver: u32 },
    Cookie,
    Data { receiver: u32, counter: u64 },
}

impl Message {
    fn parse(data: &[u8], wire_len: usize) -> Result<Option<Self>, Short> {
        let mut r = Reader::new(data);
        let kind = r.u32_le()?;
        Ok(match (kind, wire_len) {
            (message::INITIATION, message::INITIATION_LEN) => Some(Self::Initiation { sender: r.u32_le()? }),
            (message::RESPONSE, message::RESPONSE_LEN) => {
                r.skip(4)?;
                Some(Self::Response { receiver: r.u32_le()? })
            }
            (message::COOKIE, message::COOKIE_LEN) => Some(Self::Cookie),
            (message::DATA, len) if len >= message::DATA_MIN => {
                let receiver = r.u32_le()?;
                let counter = r.array().map(u64::from_le_bytes)?;
                (counter < COUNTER_MAX).then_some(Self::Data { receiver, counter })
            }
            _ => None,
        })
    }
}

impl Analyzer for State {
    const META: Meta = Meta {
        name: "wireguard",
        title: "WireGuard",
        label: Some("wireguard"),
        app_proto: "failed",
        transports: &[Transport::Udp],
        ports: &[51820],
        first: FirstBytes::of(&[1, 2, 3, 4]),
        budget: 16_384,
        carrier: false,
        reference: "Donenfeld, WireGuard: Next Generation Kernel Network Tunnel, NDSS 2017, section 5.4",
        evidence: &[INITIATION, RESPONSE, DATA],
    };

    fn probe(p: &Probe<'_>) -> Verdict {
        match Message::parse(p.data, p.wire_len) {
            Ok(Some(_)) => Verdict::Yes,
            _ => Verdict::No,
        }
    }

    fn on_data(&mut self, seg: &Segment<'_>, out: &mut Out) -> Next {
        let go_on = Next::Continue { consumed: seg.data.len() };
        let Ok(Some(message)) = Message::parse(seg.data, seg.wire_len) else {
            return if self.confirmed { go_on } else { Next::NotMine };
        };
        let (here, there) = (seg.dir.index(), seg.dir.reverse().index());
        match message {
            Message::Initiation { sender } => {
                if let Some(slot) = self.initiation.get_mut(here) {
                    *slot = Some(sender);
                }
                out.client.get_or_insert(seg.dir.sender());
                // One unanswered initiation is an attempt, not a session: evidence, no label.
                if !self.said_initiation {
                    self.said_initiation = true;
                    out.evidence(&INITIATION, format!("sender index {sender:#010x}"));
                }
                go_on
            }
            Message::Response { receiver } => {
                if self.initiation.get(there).copied().flatten() == Some(receiver) {
                    out.evidence(&RESPONSE, format!("answers index {receiver:#010x}"));
                    out.is("wireguard");
                    self.confirmed = true;
                    return Next::Done;
                }
                go_on
            }
            Message::Cookie => go_on,
            Message::Data { receiver, counter } => {
                let Some((index, next, run)) = self.data.get_mut(here) else { return go_on };
                if *run > 0 && *index == receiver && counter >= *next {
                    *run = run.saturating_add(1);
                } else {
                    (*index, *run) = (receiver, 1);
                }
                *next = counter.saturating_add(1);
                let packets = *run;
                if packets >= MIDSTREAM_PACKETS {
                    out.evidence(
                        &DATA,
                        format!("{packets} packets to index {receiver:#010x}, counter {counter}"),
                    );
                    out.is("wireguard");
                    out.basis = Basis::Midstream;
                    return Next::Done;
                }
                go_on
            }
        }
    }
}

#[cfg(test)]
pub(crate) const FIXTURES: &[crate::fixture::Fixture] = &[
    crate::fixture::Fixture {
        name: "handshake, then data",
        transport: Transport::Udp,
        payloads: &[
            (
                crate::Dir::ToServer,
                &tests::with_header::<148>([1, 0, 0, 0, 0x11, 0x22, 0x33, 0x44, 9, 9, 9, 9]),
            ),
            (
                crate::Dir::ToClient,
                &tests::with_header::<92>([2, 0, 0, 0, 5, 6, 7, 8, 0x11, 0x22, 0x33, 0x44]),
            ),
            (crate::Dir::ToServer, &tests::with_header::<32>([4, 0, 0, 0, 5, 6, 7, 8, 0, 0, 0, 0])),
        ],
    },
    crate::fixture::Fixture {
        name: "data only",
        transport: Transport::Udp,
        payloads: &[
            (crate::Dir::ToServer, &tests::with_header::<96>([4, 0, 0, 0, 5, 6, 7, 8, 100, 0, 0, 0])),
            (crate::Dir::ToServer, &tests::with_header::<1452>([4, 0, 0, 0, 5, 6, 7, 8, 101, 0, 0, 0])),
            (crate::Dir::ToServer, &tests::with_header::<96>([4, 0, 0, 0, 5, 6, 7, 8, 103, 0, 0, 0])),
        ],
    },
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{Fixture, drive};
    use crate::{Dir, Side};

    /// A message with these first 12 bytes; bytes 12 to 15 are zero (the counter's upper half) and the rest stands for ciphertext.
    pub(super) const fn with_header<const N: usize>(head: [u8; 12]) -> [u8; N] {
        let mut bytes = [0xA5; N];
        let mut i = 0;
        while i < 16 {
            bytes[i] = if i < 12 { head[i] } else { 0 };
            i += 1;
        }
        bytes
    }

    #[test]
    fn an_answered_initiation_is_wireguard_and_its_sender_the_client() {
        let got = drive::<State>(&FIXTURES[0], usize::MAX);
        assert_eq!(got.out.label, Some("wireguard"));
        assert_eq!(got.out.basis, Basis::Handshake);
        assert_eq!(got.out.client, Some(Side::Src));
    }

    #[test]
    fn growing_counters_are_wireguard_without_a_handshake() {
        let got = drive::<State>(&FIXTURES[1], usize::MAX);
        assert_eq!(got.out.label, Some("wireguard"));
        assert_eq!(got.out.basis, Basis::Midstream);
    }

    #[test]
    fn an_unanswered_initiation_is_evidence_and_no_label() {
        let alone = Fixture { payloads: &FIXTURES[0].payloads[..1], ..FIXTURES[0] };
        let got = drive::<State>(&alone, usize::MAX);
        assert_eq!(got.out.label, None);
        assert_eq!(got.out.evidence.len(), 1);
    }

    #[test]
    fn an_answer_to_another_index_confirms_nothing() {
        const OTHER: &[u8] = &with_header::<92>([2, 0, 0, 0, 5, 6, 7, 8, 0x11, 0x22, 0x33, 0x45]);
        let got = drive::<State>(
            &Fixture {
                name: "wrong index",
                transport: Transport::Udp,
                payloads: &[FIXTURES[0].payloads[0], (Dir::ToClient, OTHER)],
            },
            usize::MAX,
        );
        assert_eq!(got.out.label, None);
    }
}
