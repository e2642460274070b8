//! mKCP, the UDP transport of V2Ray and Xray (VMess, VLESS).
//!
//! In: datagrams. Out: the label `vmess` once a datagram of each side, or an acknowledgement, has opened. Without a seed mKCP's packets
//! are not encrypted but only folded over themselves, and carry a checksum and their length: 48 bits that must fit. What may stand
//! before them (disguises as uTP, SRTP, WeChat video, DTLS, WireGuard) is passed over. With a seed nothing shows.

use crate::{
    Analyzer, Dir, FirstBytes, Kind, Meta, Next, Out, Probe, Reader, Segment, Short, Transport, Verdict,
};

const PACKET: Kind = Kind {
    name: "mkcp.packet",
    decibans: 30,
    says: "a datagram whose checksum and length fit once it is unfolded, with a segment inside (V2Ray, transport/internet/kcp)",
};
const ANSWER: Kind = Kind {
    name: "mkcp.answer",
    decibans: 38,
    says: "such datagrams from both sides, or one that acknowledges the other side's",
};

/// Bytes of disguise before a packet (V2Ray, transport/internet/headers): none; uTP, SRTP and WireGuard; WeChat video and DTLS.
const DISGUISES: [usize; 3] = [0, 4, 13];
/// Checksum and length.
const HEADER: usize = 6;
/// FNV-1a of 32 bits (its authors' offset basis and prime).
const FNV_BASIS: u32 = 0x811C_9DC5;
const FNV_PRIME: u32 = 0x0100_0193;

/// Commands and the least size of their segments (V2Ray, kcp/segment.go).
mod segment {
    pub(super) const ACK: u8 = 0;
    pub(super) const DATA: u8 = 1;
    pub(super) const TERMINATE: u8 = 2;
    pub(super) const PING: u8 = 3;
    /// The only option bit: the sender closes.
    pub(super) const OPTIONS: u8 = 1;
    pub(super) const NUMBERS_MAX: u8 = 128;
}

/// Datagrams that do not open before it is something else.
const STRANGERS_MAX: u8 = 4;

/// What is known of the conversation.
#[derive(Debug, Default)]
pub struct State {
    first: Option<Dir>,
    strangers: u8,
}

/// What one datagram holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Packet {
    conversation: u16,
    command: u8,
    disguise: usize,
}

/// Unfolds and checks a datagram; `None` for anything else.
fn packet(data: &[u8], wire_len: usize) -> Option<Packet> {
    if data.len() != wire_len {
        return None;
    }
    DISGUISES.into_iter().find_map(|disguise| unfold(data.get(disguise..)?, disguise))
}

/// Every byte was XORed with the one four before it, from the front; back to front the same undoes it.
fn unfold(folded: &[u8], disguise: usize) -> Option<Packet> {
    let plain = |at: usize| Some(folded.get(at)? ^ folded.get(at.checked_sub(4)?)?);
    let length = u16::from_be_bytes([plain(4)?, plain(5)?]);
    if usize::from(length) != folded.len().checked_sub(HEADER)? {
        return None;
    }
    let body: Vec<u8> = folded.iter().zip(folded.get(4..)?).map(|(a, b)| a ^ b).collect();
    let sum = body.iter().fold(FNV_BASIS, |sum, byte| (sum ^ u32::from(*byte)).wrapping_mul(FNV_PRIME));
    let carried = folded.first_chunk::<4>().map(|bytes| u32::from_be_bytes(*bytes))?;
    if sum != carried {
        return None;
    }
    let (conversation, command) = segments(body.get(2..)?).ok()??;
    Some(Packet { conversation, command, disguise })
}

/// The conversation, and the command of the first segment; all must be whole and of one conversation.
fn segments(bytes: &[u8]) -> Result<Option<(u16, u8)>, Short> {
    let mut r = Reader::new(bytes);
    let mut first = None;
    while !r.is_empty() {
        let (conversation, command, options) = (r.u16()?, r.u8()?, r.u8()?);
        if options & !segment::OPTIONS != 0 || first.is_some_and(|(c, _)| c != conversation) {
            return Ok(None);
        }
        match command {
            segment::DATA => {
                r.skip(12)?; // time, number, next number
                r.vec16()?;
            }
            segment::ACK => {
                r.skip(12)?; // window, next number, time
                let numbers = r.u8()?;
                if numbers > segment::NUMBERS_MAX {
                    return Ok(None);
                }
                r.skip(usize::from(numbers).saturating_mul(4))?;
            }
            segment::TERMINATE | segment::PING => r.skip(12)?, // next numbers of both, time-out
            _ => return Ok(None),
        }
        first.get_or_insert((conversation, command));
    }
    Ok(first)
}

impl Analyzer for State {
    const META: Meta = Meta {
        name: "mkcp",
        title: "mKCP (V2Ray, Xray)",
        label: Some("vmess"),
        app_proto: "failed",
        transports: &[Transport::Udp],
        ports: &[],
        first: FirstBytes::ANY,
        budget: 65_536,
        carrier: false,
        reference: "V2Ray 4 sources, transport/internet/kcp and transport/internet/headers",
        evidence: &[PACKET, ANSWER],
    };

    fn probe(p: &Probe<'_>) -> Verdict {
        if packet(p.data, p.wire_len).is_some() { Verdict::Yes } else { Verdict::No }
    }

    fn on_data(&mut self, seg: &Segment<'_>, out: &mut Out) -> Next {
        let go_on = Next::Continue { consumed: seg.data.len() };
        let Some(packet) = packet(seg.data, seg.wire_len) else {
            self.strangers = self.strangers.saturating_add(1);
            return match self.first {
                None => Next::NotMine,
                Some(_) if self.strangers > STRANGERS_MAX => Next::Done,
                Some(_) => go_on,
            };
        };
        if self.first.is_none() {
            self.first = Some(seg.dir);
            out.evidence(
                &PACKET,
                format!("conversation {}, {} bytes before it", packet.conversation, packet.disguise),
            );
        }
        if self.first == Some(seg.dir) && packet.command != segment::ACK {
            return go_on;
        }
        out.evidence(&ANSWER, format!("conversation {}", packet.conversation));
        out.is("vmess");
        Next::Done
    }
}

#[cfg(test)]
pub(crate) const FIXTURES: &[crate::fixture::Fixture<'_>] = &[tests::SESSION];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{Fixture, drive};
    use crate::test_vectors::unhex;

    /// Acknowledgements as V2Ray 4.34 sent them, of one and of two numbers.
    const ACK: [u8; 27] = unhex("a66e2490a67b6531a67b6531a5736531a5736531a4e26431a4e264");
    const ACKS: [u8; 31] = unhex("7a7b84397a62c5987a62c598796ac598796ac5987918c7987918c7987918c7");
    /// A ping: conversation 7, nothing sent or received yet, time-out of a second.
    const PING: [u8; 22] = unhex("1236b2281226b22f1126b22f1126b22f1126b22f12ce");

    pub(super) const SESSION: Fixture<'_> = Fixture {
        name: "mKCP, no disguise",
        transport: Transport::Udp,
        payloads: &[(Dir::ToServer, &PING), (Dir::ToClient, &ACKS)],
    };

    fn label(payloads: &[(Dir, &[u8])]) -> Option<&'static str> {
        drive::<State>(&Fixture { payloads, ..SESSION }, usize::MAX).out.label
    }

    #[test]
    fn packets_of_both_sides_are_v2ray_and_of_one_side_are_evidence() {
        assert_eq!(drive::<State>(&SESSION, usize::MAX).out.label, Some("vmess"));
        let alone = drive::<State>(&Fixture { payloads: &SESSION.payloads[..1], ..SESSION }, usize::MAX);
        assert_eq!((alone.out.label, alone.out.evidence.len()), (None, 1));
        assert_eq!(label(&[(Dir::ToServer, &ACK)]), Some("vmess"), "what is acknowledged was sent");
    }

    #[test]
    fn disguises_are_passed_over() {
        for disguise in [4, 13] {
            let with = |packet: &[u8]| [&vec![0xA1; disguise][..], packet].concat();
            let (ping, acks) = (with(&PING), with(&ACKS));
            assert_eq!(label(&[(Dir::ToServer, &ping), (Dir::ToClient, &acks)]), Some("vmess"), "{disguise}");
        }
    }

    #[test]
    fn any_other_bit_is_not_mkcp() {
        for at in 0..PING.len() {
            let mut bytes = PING;
            bytes[at] ^= 1;
            assert!(
                !drive::<State>(&Fixture { payloads: &[(Dir::ToServer, &bytes)], ..SESSION }, usize::MAX)
                    .mine,
                "{at}"
            );
        }
        assert_eq!(packet(&PING[..21], 22), None, "cut by the capture");
    }

    #[test]
    fn a_checksum_without_a_segment_is_not_enough() {
        // An empty body: the FNV of its two bytes of length is right.
        let sum = [0, 0]
            .iter()
            .fold(FNV_BASIS, |s, b: &u8| (s ^ u32::from(*b)).wrapping_mul(FNV_PRIME))
            .to_be_bytes();
        let bytes = [sum[0], sum[1], sum[2], sum[3], sum[0], sum[1]];
        assert_eq!(packet(&bytes, 6), None);
    }
}
