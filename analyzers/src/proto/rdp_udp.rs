//! Remote Desktop Protocol's UDP transport ([MS-RDPEUDP]).
//!
//! In: datagrams. Out: the label `rdp` once a SYN was answered by a datagram that acknowledges its sequence number.
//!
//! Without its beginning it is told by TLS records that fill source packets exactly, acknowledged by the other side.
//!
//! The transport always runs beside a TCP connection that was set up before; TLS or DTLS follows in its source packets.

use crate::{
    Analyzer, Basis, Dir, FirstBytes, Kind, Meta, Next, Out, Probe, Reader, Segment, Short, Transport,
    Verdict,
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

const DATA: Kind = Kind {
    name: "rdp_udp.data",
    decibans: 28,
    says: "source packets with whole TLS records, acknowledged by the other side's ([MS-RDPEUDP] 2.2.2.1, 2.2.2.4, 2.2.2.7)",
};

/// Header of a datagram that sets a connection up ([MS-RDPEUDP] 2.2.2.1, 2.2.2.5).
mod field {
    /// Acknowledged so far: nothing.
    pub(super) const NO_SOURCE_ACK: u32 = u32::MAX;
    pub(super) const SYN: u16 = 0x0001;
    pub(super) const ACK: u16 = 0x0004;
    pub(super) const DATA: u16 = 0x0008;
    /// Beside a SYN: lossy mode, correlation id, version.
    pub(super) const WITH_SYN: u16 = 0x0200 | 0x0800 | 0x1000;
    pub(super) const MTU: std::ops::RangeInclusive<u16> = 1132..=1232;
}

/// What is known of the connection.
#[derive(Debug, Default)]
pub struct State {
    /// Who sent the SYN, and its initial sequence number.
    syn: Option<(Dir, u32)>,
    /// Last source packet, by direction.
    data: [Option<Source>; 2],
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

/// A source packet that a TLS record fills.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Source {
    acknowledged: u32,
    coded: u32,
}

impl Source {
    fn parse(data: &[u8], wire_len: usize) -> Result<Option<Self>, Short> {
        /// Application data, handshake, change of cipher.
        const RECORDS: std::ops::RangeInclusive<u8> = 0x14..=0x17;
        const ACK_VECTOR_MAX: u16 = 64;
        let mut r = Reader::new(data);
        let (acknowledged, _window, flags) = (r.u32()?, r.u16()?, r.u16()?);
        let vector = r.u16()?;
        if flags != field::ACK | field::DATA || vector > ACK_VECTOR_MAX {
            return Ok(None);
        }
        // The vector is padded to whole words together with its size.
        let padded = usize::from(vector).saturating_add(2).next_multiple_of(4).saturating_sub(2);
        r.skip(padded)?;
        let (coded, start) = (r.u32()?, r.u32()?);
        // Records, one or more, to the very end; what a short capture cut off is not missed.
        let lost = wire_len.saturating_sub(data.len());
        let mut records = 0_u8;
        while !r.is_empty() {
            let (record, major, _minor) = (r.u8()?, r.u8()?, r.u8()?);
            let len = usize::from(r.u16()?);
            if !RECORDS.contains(&record) || major != 3 || len > r.rest().len().saturating_add(lost) {
                return Ok(None);
            }
            r.skip(len.min(r.rest().len()))?;
            records = records.saturating_add(1);
        }
        Ok((coded == start && records > 0).then_some(Self { acknowledged, coded }))
    }

    /// Whether this packet acknowledges one that came shortly before `other`.
    fn acknowledges(self, other: Self) -> bool {
        /// Packets under way at once.
        const WINDOW: u32 = 64;
        other.coded.wrapping_sub(self.acknowledged) <= WINDOW
            || self.acknowledged.wrapping_sub(other.coded) <= WINDOW
    }
}

impl State {
    /// A source packet of a connection whose beginning was not seen.
    fn on_source(&mut self, source: Source, dir: Dir, out: &mut Out) -> bool {
        let there = self.data.get(dir.reverse().index()).copied().flatten();
        if let Some(slot) = self.data.get_mut(dir.index()) {
            *slot = Some(source);
        }
        let both = there.is_some_and(|there| source.acknowledges(there));
        if both {
            out.evidence(&DATA, format!("packet {:#010x}", source.coded));
            out.is("rdp");
            out.basis = Basis::Midstream;
        }
        both
    }
}

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
        evidence: &[SYN, ANSWER, DATA],
    };

    fn probe(p: &Probe<'_>) -> Verdict {
        let set_up = SetUp::parse(p.data, p.wire_len).is_ok_and(|s| s.is_some());
        let source = Source::parse(p.data, p.wire_len).is_ok_and(|s| s.is_some());
        if set_up || source { Verdict::Yes } else { Verdict::No }
    }

    fn on_data(&mut self, seg: &Segment<'_>, out: &mut Out) -> Next {
        let go_on = Next::Continue { consumed: seg.data.len() };
        let Ok(Some(set_up)) = SetUp::parse(seg.data, seg.wire_len) else {
            let source = Source::parse(seg.data, seg.wire_len).ok().flatten();
            let told = source.is_some_and(|source| self.on_source(source, seg.dir, out));
            return if told { Next::Done } else { go_on };
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
pub(crate) const FIXTURES: &[crate::fixture::Fixture<'_>] =
    &[tests::BOTH, tests::ANSWER_ALONE, tests::UNDER_WAY];

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

    pub(super) const UNDER_WAY: Fixture<'_> = Fixture {
        name: "a connection that is older than the capture",
        transport: Transport::Udp,
        payloads: &[
            (
                Dir::ToServer,
                b"\x10\x97\x60\x33\x04\x00\x00\x0c\x00\x01\x01\x00\xe6\x5f\x84\x6d\xe6\x5f\x84\x6d\x17\x03\x03\x00\x04abcd",
            ),
            (
                Dir::ToClient,
                b"\xe6\x5f\x84\x6d\x00\xc8\x00\x0c\x00\x01\x01\x00\x10\x97\x60\x34\x10\x97\x60\x34\x17\x03\x03\x00\x02ab",
            ),
        ],
    };

    #[test]
    fn source_packets_that_acknowledge_each_other_are_rdp_under_way() {
        let got = drive::<State>(&UNDER_WAY, usize::MAX);
        assert_eq!((got.out.label, got.out.basis), (Some("rdp"), Basis::Midstream));
        let mut stranger = UNDER_WAY.payloads[1].1.to_vec();
        stranger[0] ^= 0x40;
        let payloads = &[UNDER_WAY.payloads[0], (Dir::ToClient, &stranger[..])];
        assert_eq!(drive::<State>(&Fixture { payloads, ..BOTH }, usize::MAX).out.label, None);
    }

    #[test]
    fn an_answered_syn_is_rdp_and_the_called_side_operated() {
        for fixture in [BOTH, ANSWER_ALONE] {
            let got = drive::<State>(&fixture, usize::MAX);
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
