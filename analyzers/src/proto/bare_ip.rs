//! IP packets in clear in a TCP stream or in UDP datagrams, as `socat` with a TUN device sends them and small VPN programs do.
//!
//! In: a stream or datagrams, both directions or one. Out: the label `tunnel_unknown` after several packets with right lengths and
//! checksums. Before each may stand what the Linux TUN device puts there (flags and EtherType), or its length in two bytes.

use crate::{Analyzer, FirstBytes, Kind, Meta, Next, Out, Probe, Reader, Segment, Short, Transport, Verdict};

const PACKETS: Kind = Kind {
    name: "bare_ip.packets",
    decibans: 40,
    says: "four IP packets in a row, with the right lengths and header checksums (RFC 791 section 3.1), of a stream that is nothing else",
};

/// Packets in a row that make the label, and that a probe wants to see.
const ENOUGH: u32 = 4;
/// The longest packet that tunnels send.
const PACKET_MAX: usize = 9_216;
/// Protocols inside that are usual: ICMP, TCP, UDP, ICMPv6.
const PROTOCOLS: [u8; 4] = [1, 6, 17, 58];

/// What stands before each packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Prefix {
    None,
    /// Flags, which are zero, and an EtherType (Linux, Documentation/networking/tuntap.rst, 3.2).
    Tun,
    /// Its length.
    Length,
}

/// The packet at the start of `data` behind this prefix, with it; `None` for what is none.
fn packet(data: &[u8], prefix: Prefix) -> Result<Option<usize>, Short> {
    let mut r = Reader::new(data);
    let declared = match prefix {
        Prefix::None => None,
        Prefix::Tun => {
            let head = data.get(..4).unwrap_or(data);
            if ![&b"\0\0\x08\0"[..], b"\0\0\x86\xDD"].iter().any(|p| p.starts_with(head)) {
                return Ok(None);
            }
            r.skip(4)?;
            None
        }
        Prefix::Length => Some(usize::from(r.u16()?)),
    };
    let ip = r.rest();
    let length = match ip.first().ok_or(Short)? {
        0x45 => {
            let header = r.array::<20>()?;
            let [_, _, a, b, _, _, _, _, _, protocol, ..] = header;
            let plausible = PROTOCOLS.contains(&protocol) && sum(&header) == 0xFFFF;
            plausible.then(|| usize::from(u16::from_be_bytes([a, b])))
        }
        0x60 => {
            let [_, _, _, _, a, b, next, _, source, ..] = r.array::<40>()?;
            // No checksum; addresses of the Internet, of a site or of the link.
            let plausible = PROTOCOLS.contains(&next) && matches!(source, 0x20..=0x3F | 0xFC..=0xFF);
            plausible.then(|| usize::from(u16::from_be_bytes([a, b])).saturating_add(40))
        }
        _ => None,
    };
    let Some(length) = length.filter(|n| (20..=PACKET_MAX).contains(n)) else { return Ok(None) };
    if declared.is_some_and(|d| d != length) {
        return Ok(None);
    }
    let before =
        if prefix == Prefix::Tun { 4 } else { usize::from(prefix == Prefix::Length).saturating_mul(2) };
    Ok(Some(before.saturating_add(length)))
}

/// The one's complement sum of a header: all ones where its checksum is right (RFC 1071).
fn sum(header: &[u8; 20]) -> u16 {
    let sum = header.chunks(2).fold(0_u32, |sum, pair| match pair {
        [a, b] => sum.saturating_add(u32::from(u16::from_be_bytes([*a, *b]))),
        _ => sum,
    });
    let folded = (sum & 0xFFFF).saturating_add(sum >> 16);
    u16::try_from((folded & 0xFFFF).saturating_add(folded >> 16)).unwrap_or(0)
}

/// The prefix with which `data` begins a packet.
fn prefix_of(data: &[u8]) -> Result<Option<Prefix>, Short> {
    let mut short = false;
    for prefix in [Prefix::None, Prefix::Tun, Prefix::Length] {
        match packet(data, prefix) {
            Ok(Some(_)) => return Ok(Some(prefix)),
            Ok(None) => {}
            Err(Short) => short = true,
        }
    }
    if short { Err(Short) } else { Ok(None) }
}

/// What is known of the flow.
#[derive(Debug, Default)]
pub struct State {
    prefix: Option<Prefix>,
    packets: u32,
    /// Stream: bytes of the packet at work that are still to pass, by direction.
    left: [usize; 2],
}

impl Analyzer for State {
    const META: Meta = Meta {
        name: "bare_ip",
        title: "IP packets in TCP or UDP",
        label: Some("tunnel_unknown"),
        app_proto: "failed",
        transports: &[Transport::Tcp, Transport::Udp],
        ports: &[],
        first: FirstBytes::range(0, 0x60),
        budget: 65_536,
        carrier: false,
        reference: "RFC 791, RFC 8200; socat(1), TUN; Linux Documentation/networking/tuntap.rst",
        evidence: &[PACKETS],
    };

    fn probe(p: &Probe<'_>) -> Verdict {
        if !p.from_start && p.transport.is_stream() {
            return Verdict::No; // nothing says where a packet begins
        }
        match prefix_of(p.data) {
            // A datagram is a packet, or a prefix and a packet; a first one by itself may be chance no more than in a stream.
            Ok(Some(prefix)) if !p.transport.is_stream() => {
                let whole = packet(p.data, prefix) == Ok(Some(p.wire_len)) && prefix != Prefix::Length;
                if whole { Verdict::Yes } else { Verdict::No }
            }
            Ok(Some(_)) => Verdict::Yes,
            Ok(None) => Verdict::No,
            Err(Short) if p.transport.is_stream() => Verdict::More,
            Err(Short) => Verdict::No,
        }
    }

    fn on_data(&mut self, seg: &Segment<'_>, out: &mut Out) -> Next {
        if seg.gap && self.packets > 0 {
            return Next::Done;
        }
        let stream = seg.transport.is_stream();
        let mut rest = seg.data;
        let d = seg.dir.index();
        loop {
            let left = self.left.get(d).copied().unwrap_or(0);
            let passed = left.min(rest.len());
            rest = rest.get(passed..).unwrap_or_default();
            self.left_is(d, left.saturating_sub(passed));
            let consumed = seg.data.len().saturating_sub(rest.len());
            if rest.is_empty() {
                return Next::Continue { consumed };
            }
            let found = match self.prefix {
                Some(prefix) => packet(rest, prefix),
                None => prefix_of(rest).and_then(|prefix| {
                    self.prefix = prefix;
                    prefix.map_or(Ok(None), |prefix| packet(rest, prefix))
                }),
            };
            match found {
                Ok(Some(n)) if stream || n == seg.wire_len => {
                    self.packets = self.packets.saturating_add(1);
                    self.left_is(d, n);
                    if !stream {
                        rest = &[];
                        self.left_is(d, 0);
                    }
                    if self.packets == ENOUGH {
                        let before = match self.prefix {
                            Some(Prefix::Tun) => "a TUN device's header before each",
                            Some(Prefix::Length) => "a length before each",
                            _ => "nothing before them",
                        };
                        out.evidence(&PACKETS, before);
                        out.is("tunnel_unknown");
                        return Next::Done;
                    }
                }
                Err(Short) if stream => return Next::Continue { consumed },
                // A packet that the snap length cut, or a datagram of another kind.
                Err(Short) => return Next::Continue { consumed: seg.data.len() },
                _ => return Next::NotMine,
            }
        }
    }
}

impl State {
    fn left_is(&mut self, d: usize, n: usize) {
        if let Some(left) = self.left.get_mut(d) {
            *left = n;
        }
    }
}

#[cfg(test)]
pub(crate) const FIXTURES: &[crate::fixture::Fixture<'_>] = &[tests::SOCAT];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Dir;
    use crate::fixture::{Fixture, drive};

    const UP: Dir = Dir::ToServer;
    const DOWN: Dir = Dir::ToClient;
    /// TCP's opening, from 10.22.0.2 to 10.22.0.1, with a TUN device's header.
    const SYN: &[u8] = b"\0\0\x08\0\x45\0\0\x3C\x3A\xD4\x40\0\x40\x06\xEB\xB9\x0A\x16\0\x02\x0A\x16\0\x01\xB0\x8C\x01\xBB\x1E\x6B\xB3\x8C\
        \0\0\0\0\xA0\x02\xFA\xF0\x3E\x41\0\0\x02\x04\x05\xB4\x04\x02\x08\x0A\x89\x81\xEC\xDB\0\0\0\0\x01\x03\x03\x0A";
    const SYN_ACK: &[u8] = b"\0\0\x08\0\x45\0\0\x3C\0\0\x40\0\x40\x06\x26\x8E\x0A\x16\0\x01\x0A\x16\0\x02\x01\xBB\xB0\x8C\x1C\xAD\x04\xCC\
        \x1E\x6B\xB3\x8D\xA0\x12\xFE\x88\xD4\x81\0\0\x02\x04\x05\xB4\x04\x02\x08\x0A\xDB\x08\x69\x94\x89\x81\xEC\xDB\x01\x03\x03\x0A";
    pub(super) const SOCAT: Fixture<'_> = Fixture {
        name: "socat with a TUN device",
        transport: Transport::Tcp,
        payloads: &[(UP, SYN), (DOWN, SYN_ACK), (UP, SYN), (DOWN, SYN_ACK)],
    };

    fn label(transport: Transport, payloads: &[(Dir, &[u8])], piece: usize) -> Option<&'static str> {
        drive::<State>(&Fixture { name: "", transport, payloads }, piece).out.label
    }

    #[test]
    fn packets_in_a_stream_are_a_tunnel_however_they_are_cut() {
        for piece in [usize::MAX, 100, 31, 1] {
            assert_eq!(label(Transport::Tcp, SOCAT.payloads, piece), Some("tunnel_unknown"), "{piece}");
        }
        assert_eq!(label(Transport::Tcp, &SOCAT.payloads[..3], usize::MAX), None);
    }

    #[test]
    fn packets_with_a_length_or_nothing_before_them_and_in_datagrams_are_a_tunnel() {
        let [bare, answer] = [&SYN[4..], &SYN_ACK[4..]];
        let four = |a, b| [(UP, a), (DOWN, b), (UP, a), (DOWN, b)];
        assert_eq!(label(Transport::Tcp, &four(bare, answer), 33), Some("tunnel_unknown"));
        let [long, longer] = [bare, answer].map(|p| [&[0, 60][..], p].concat());
        assert_eq!(label(Transport::Tcp, &four(&long, &longer), 33), Some("tunnel_unknown"));
        assert_eq!(label(Transport::Udp, &four(bare, answer), usize::MAX), Some("tunnel_unknown"));
        assert_eq!(label(Transport::Udp, &four(SYN, SYN_ACK), usize::MAX), Some("tunnel_unknown"));
    }

    #[test]
    fn wrong_checksums_lengths_and_text_are_no_packets() {
        let mut wrong = SYN.to_vec();
        wrong[14] ^= 1;
        assert_eq!(label(Transport::Tcp, &[(UP, &wrong[..]); 4], usize::MAX), None);
        let mut cut = SYN.to_vec();
        cut.pop();
        assert_eq!(label(Transport::Udp, &[(UP, &cut[..]); 4], usize::MAX), None);
        let long = [SYN, b"x"].concat();
        assert_eq!(label(Transport::Udp, &[(UP, &long[..]); 4], usize::MAX), None);
        assert_eq!(label(Transport::Tcp, &[(UP, &long[..]); 4], usize::MAX), None);
        assert_eq!(
            label(Transport::Tcp, &[(UP, &b"EHLO example.com\r\nMAIL FROM:<a@b>\r\n"[..]); 4], 7),
            None
        );
    }
}
