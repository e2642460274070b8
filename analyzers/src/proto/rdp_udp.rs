//! Remote Desktop Protocol's UDP transport ([MS-RDPEUDP]).
//!
//! In: datagrams. Out: the label `rdp` once a SYN was answered by a datagram that acknowledges its sequence number.
//!
//! The transport always runs beside a TCP connection that was set up before; TLS or DTLS follows in its source packets.

use crate::{
    Analyzer, Dir, FirstBytes, Kind, Meta, Next, Out, Probe, Reader, Segment, Short, Transport, Verdict,
};

const SYN: Kind = Kind {
    name: "rdp_udp.syn",
    decibans: 25,
    says: "SYN padded to the MTU it offers ([MS-RDPEUDP] 3.1.5.1.1)",
};
const ANSWER: Kind = Kind {
    name: "rdp_udp.answer",
    decibans: 40,
    says: "SYN and ACK of the other side's initial sequence number, padded to the MTU ([MS-RDPEUDP] 3.1.5.1.3)",
};

/// Header of a datagram that sets a connection up ([MS-RDPEUDP] 2.2.2.1, 2.2.2.5).
mod field {
    /// Acknowledged so far: nothing.
    pub(super) const NO_SOURCE_ACK: u32 = u32::MAX;
    pub(super) const SYN: u16 = 0x0001;
    pub(super) const ACK: u16 = 0x0004;
    /// Beside a SYN: lossy mode, correlation id, version.
    pub(super) const WITH_SYN: u16 = 0x0200 | 0x0800 | 0x1000;
    pub(super) const MTU: std::ops::RangeInclusive<u16> = 1132..=1232;
}

/// What is known of the connection.
#[derive(Debug, Default)]
pub struct State {
    /// Who sent the SYN, and its initial sequence number.
    syn: Option<(Dir, u32)>,
}

/// A datagram that sets a connection up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct SetUp {
    acknowledged: Option<u32>,
    initial: u32,
    lossy: bool,
}

impl SetUp {
    fn parse(data: &[u8], wire_len: usize) -> Result<Option<Self>, Short> {
        let mut r = Reader::new(data);
        let (source_ack, _window, flags) = (r.u32()?, r.u16()?, r.u16()?);
        let (initial, up, down) = (r.u32()?, r.u16()?, r.u16()?);
        let acknowledged = (flags & field::ACK != 0).then_some(source_ack);
        let fits = flags & field::SYN != 0
            && flags & !(field::SYN | field::ACK | field::WITH_SYN) == 0
            && (acknowledged.is_some() || source_ack == field::NO_SOURCE_ACK)
            && field::MTU.contains(&up)
            && field::MTU.contains(&down)
            // Padded with zeros to what it offers, to find out whether that passes.
            && (wire_len == usize::from(up) || wire_len == usize::from(down))
            && data.iter().rev().take(PADDING_SEEN).all(|b| *b == 0);
        Ok(fits.then_some(Self { acknowledged, initial, lossy: flags & 0x0200 != 0 }))
    }
}

/// Zeros at the end that are asked for; headers take less than 100 bytes.
const PADDING_SEEN: usize = 512;

impl Analyzer for State {
    const META: Meta = Meta {
        name: "rdp_udp",
        title: "Remote Desktop Protocol, UDP transport",
        label: Some("rdp"),
        app_proto: "failed",
        transports: &[Transport::Udp],
        ports: &[3389],
        first: FirstBytes::ANY,
        budget: 8_192,
        carrier: false,
        reference: "[MS-RDPEUDP] 2.2.2.1, 2.2.2.5, 3.1.5.1",
        evidence: &[SYN, ANSWER],
    };

    fn probe(p: &Probe<'_>) -> Verdict {
        match SetUp::parse(p.data, p.wire_len) {
            Ok(Some(_)) => Verdict::Yes,
            _ => Verdict::No,
        }
    }

    fn on_data(&mut self, seg: &Segment<'_>, out: &mut Out) -> Next {
        let go_on = Next::Continue { consumed: seg.data.len() };
        let Ok(Some(set_up)) = SetUp::parse(seg.data, seg.wire_len) else {
            return if self.syn.is_some() { go_on } else { Next::NotMine };
        };
        let mode = if set_up.lossy { "best effort" } else { "reliable" };
        let client = match (set_up.acknowledged, self.syn) {
            (None, None) => {
                self.syn = Some((seg.dir, set_up.initial));
                out.client = Some(seg.dir.sender());
                out.evidence(&SYN, mode);
                return go_on;
            }
            (None, Some(_)) => return go_on,
            (Some(ack), Some((dir, initial))) if dir != seg.dir && ack == initial => dir,
            (Some(_), Some(_)) => return go_on,
            // The client's side is not captured: an answer has a question.
            (Some(_), None) => seg.dir.reverse(),
        };
        out.client = Some(client.sender());
        out.controlled = Some(client.receiver());
        out.evidence(&ANSWER, mode);
        out.is("rdp");
        Next::Done
    }
}

#[cfg(test)]
pub(crate) const FIXTURES: &[crate::fixture::Fixture<'_>] = &[tests::BOTH, tests::ANSWER_ALONE];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Side;
    use crate::fixture::{Fixture, drive};

    /// These first bytes, zeros up to 1,232.
    const fn padded(head: [u8; 16]) -> [u8; 1232] {
        let mut bytes = [0; 1232];
        let mut i = 0;
        while i < head.len() {
            bytes[i] = head[i];
            i += 1;
        }
        bytes
    }

    /// SYN with version, initial sequence number 0x11223344, MTU 1232 both ways.
    const SYN_PACKET: [u8; 1232] =
        padded(*b"\xff\xff\xff\xff\x00\x40\x10\x01\x11\x22\x33\x44\x04\xd0\x04\xd0");
    const ANSWER_PACKET: [u8; 1232] =
        padded(*b"\x11\x22\x33\x44\x00\x40\x10\x05\x55\x66\x77\x88\x04\xd0\x04\xd0");

    pub(super) const BOTH: Fixture<'_> = Fixture {
        name: "SYN and answer",
        transport: Transport::Udp,
        payloads: &[(Dir::ToServer, &SYN_PACKET), (Dir::ToClient, &ANSWER_PACKET)],
    };
    pub(super) const ANSWER_ALONE: Fixture<'_> = Fixture {
        name: "the server's side alone",
        transport: Transport::Udp,
        payloads: &[(Dir::ToClient, &ANSWER_PACKET)],
    };

    #[test]
    fn an_answered_syn_is_rdp_and_the_called_side_operated() {
        for fixture in FIXTURES {
            let got = drive::<State>(fixture, usize::MAX);
            assert_eq!(got.out.label, Some("rdp"), "{}", fixture.name);
            assert_eq!((got.out.client, got.out.controlled), (Some(Side::Src), Some(Side::Dest)));
        }
    }

    #[test]
    fn a_syn_without_an_answer_or_with_another_ones_is_evidence_and_no_label() {
        let mut other = ANSWER_PACKET;
        other[3] ^= 1;
        let unanswered: [&[(Dir, &[u8])]; 2] = [
            &[(Dir::ToServer, &SYN_PACKET), (Dir::ToServer, &SYN_PACKET)],
            &[(Dir::ToServer, &SYN_PACKET), (Dir::ToClient, &other)],
        ];
        for payloads in unanswered {
            let got = drive::<State>(&Fixture { payloads, ..BOTH }, usize::MAX);
            assert_eq!((got.out.label, got.out.evidence.len()), (None, 1));
        }
    }

    #[test]
    fn a_datagram_that_is_not_padded_to_its_mtu_is_not_taken() {
        let mut full = SYN_PACKET;
        full[1000] = 1;
        let mut flags = SYN_PACKET;
        flags[7] = 0x09;
        for data in [&SYN_PACKET[..1200], &full, &flags] {
            let got = drive::<State>(&Fixture { payloads: &[(Dir::ToServer, data)], ..BOTH }, usize::MAX);
            assert!(!got.mine);
        }
    }
}
