//! IPv4 and IPv6 with their options, extension headers and fragments. In: a region that begins with an IP header.
//! Out: the walk goes on at the upper layer with a [`Packet`] that has its addresses.

use super::fragment::{Arrival, Key, Reassembly};
use super::outcome::{Ignored, Layer, Stop, Walked, Why};
use super::packet::{Addrs, Packet};
use super::region::{Region, be16, be32};
use super::{Context, Fit, Walk};

const IPV4_HEADER: usize = 20;
const IPV6_HEADER: usize = 40;

/// The flag of [`Packet::ip_flags`] that tells of fragments to come; a whole datagram has none.
const MORE_FRAGMENTS: u8 = 1;

/// Extension headers walked at most. RFC 8200 section 4.1 lists seven, each at most once or twice.
const MAX_EXTENSIONS: usize = 10;

/// IPv6 extension headers that share one format: next header, length in units of 8 bytes beyond the first
/// (RFC 8200 section 4; RFC 6564; mobility RFC 6275, HIP RFC 7401, shim6 RFC 5533).
mod extension {
    pub(super) const HOP_BY_HOP: u8 = 0;
    pub(super) const ROUTING: u8 = 43;
    pub(super) const FRAGMENT: u8 = 44;
    pub(super) const NO_NEXT: u8 = 59;
    pub(super) const DESTINATION: u8 = 60;
    pub(super) const MOBILITY: u8 = 135;
    pub(super) const HIP: u8 = 139;
    pub(super) const SHIM6: u8 = 140;
}

impl Walk<'_> {
    /// IPv4 or IPv6 by the version nibble.
    pub(super) fn ip(&mut self, region: Region<'_>, ctx: Context) -> Walked {
        match region.header::<1>(Layer::Ipv4)?[0] >> 4 {
            4 => self.ipv4(region, ctx),
            6 => self.ipv6(region, ctx),
            _ => Err(Stop::malformed(Layer::Ipv4, Why::Version)),
        }
    }

    /// IPv4 (RFC 791).
    #[inline]
    pub(super) fn ipv4(&mut self, region: Region<'_>, ctx: Context) -> Walked {
        let header = region.header::<IPV4_HEADER>(Layer::Ipv4)?;
        if header[0] >> 4 != 4 {
            return Err(Stop::malformed(Layer::Ipv4, Why::Version));
        }
        let header_len = usize::from(header[0] & 0x0f) * 4;
        if header_len < IPV4_HEADER {
            return Err(Stop::malformed(Layer::Ipv4, Why::HeaderLength));
        }
        let total = match usize::from(be16(header, 2)) {
            // Segmentation offload leaves the length to the card: the rest of the frame is meant.
            0 => region.wire(),
            total => total,
        };
        if total < header_len {
            return Err(Stop::malformed(Layer::Ipv4, Why::Length));
        }
        ctx.fit.check(total, region, Layer::Ipv4, || checksum_is_right(region, header_len))?;
        *self.packets.draft() = Packet {
            addrs: Addrs::V4 {
                src: [header[12], header[13], header[14], header[15]],
                dst: [header[16], header[17], header[18], header[19]],
            },
            ip_id: be16(header, 4),
            ttl: header[8],
            ip_flags: header[6] >> 5,
            ..self.packet(ctx, total)
        };
        let payload = region.of_length(total).after(header_len, Layer::Ipv4)?;
        let fragment = be16(header, 6);
        if fragment & 0x3fff != 0 {
            let packet = self.packets.draft();
            let key =
                Key { addrs: packet.addrs, id: packet.ip_id.into(), proto: header[9], domain: ctx.domain };
            let offset = u32::from(fragment & 0x1fff) * 8;
            return self.fragment(payload, key, offset, fragment & 0x2000 != 0, header[9]);
        }
        self.upper(header[9], payload)
    }

    /// IPv6 (RFC 8200).
    pub(super) fn ipv6(&mut self, region: Region<'_>, ctx: Context) -> Walked {
        let header = region.header::<IPV6_HEADER>(Layer::Ipv6)?;
        if header[0] >> 4 != 6 {
            return Err(Stop::malformed(Layer::Ipv6, Why::Version));
        }
        let total = match usize::from(be16(header, 4)) {
            // A jumbogram (RFC 2675), or segmentation offload: the rest of the frame is meant.
            0 => region.wire(),
            payload => IPV6_HEADER + payload,
        };
        ctx.fit.check(total, region, Layer::Ipv6, || false)?;
        let mut src = [0; 16];
        let mut dst = [0; 16];
        src.copy_from_slice(&header[8..24]);
        dst.copy_from_slice(&header[24..40]);
        *self.packets.draft() =
            Packet { addrs: Addrs::V6 { src, dst }, ttl: header[7], ..self.packet(ctx, total) };
        let payload = region.of_length(total).after(IPV6_HEADER, Layer::Ipv6)?;
        self.ipv6_next(header[6], payload)
    }

    /// What follows an IPv6 header or an extension header.
    pub(super) fn ipv6_next(&mut self, mut next: u8, mut region: Region<'_>) -> Walked {
        use extension::{DESTINATION, FRAGMENT, HIP, HOP_BY_HOP, MOBILITY, NO_NEXT, ROUTING, SHIM6};
        for _ in 0..MAX_EXTENSIONS {
            match next {
                HOP_BY_HOP | ROUTING | DESTINATION | MOBILITY | HIP | SHIM6 => {
                    let header = region.header::<2>(Layer::Ipv6Extension)?;
                    next = header[0];
                    region = region.after((usize::from(header[1]) + 1) * 8, Layer::Ipv6Extension)?;
                }
                FRAGMENT => {
                    let header = region.header::<8>(Layer::Fragment)?;
                    self.fragmented = true;
                    next = header[0];
                    region = region.after(8, Layer::Fragment)?;
                    let (offset, more) = (be16(header, 2) & 0xfff8, header[3] & 1 != 0);
                    // An atomic fragment is a whole packet (RFC 6946).
                    if offset != 0 || more {
                        let packet = self.packets.draft();
                        let id = be32(header, 4);
                        let key = Key { addrs: packet.addrs, id, proto: 0, domain: packet.domain };
                        packet.ip_id = be16(header, 6);
                        return self.fragment(region, key, offset.into(), more, next);
                    }
                }
                NO_NEXT => return Err(Stop::Ignored(Ignored::NoNextHeader)),
                _ => return self.upper(next, region),
            }
        }
        Err(Stop::malformed(Layer::Ipv6Extension, Why::Endless))
    }

    #[cold]
    fn fragment(&mut self, region: Region<'_>, key: Key, offset: u32, more: bool, next: u8) -> Walked {
        self.fragmented = true;
        let packet = self.packets.draft();
        let arrival = Arrival {
            key,
            offset,
            more,
            bytes: region.captured(),
            wire: region.wire(),
            ts_ns: self.ts_ns,
            account: packet.wire_len,
            ttl: packet.ttl,
            next,
        };
        let whole = match self.fragments.insert(&arrival) {
            Reassembly::Held => return Err(Stop::Fragment),
            Reassembly::Rejected(why) => return Err(Stop::malformed(Layer::Fragment, why)),
            Reassembly::TooDeep => return Err(Stop::Ignored(Ignored::TooDeep)),
            Reassembly::Complete(whole) => whole,
        };
        packet.reassembled = true;
        packet.buffer = whole.buffer;
        packet.wire_len = whole.account;
        packet.ttl = whole.ttl;
        packet.ip_flags &= !MORE_FRAGMENTS;
        let region = Region::new(&whole.bytes, whole.wire);
        let walked = match packet.addrs {
            Addrs::V4 { .. } => self.upper(whole.next, region),
            Addrs::V6 { .. } => self.ipv6_next(whole.next, region),
        };
        self.fragments.keep(whole.buffer, whole.bytes);
        walked
    }

    /// A packet with what is known before its addresses are.
    #[inline]
    fn packet(&self, ctx: Context, total: usize) -> Packet {
        Packet {
            wire_len: if ctx.inner { total as u32 } else { self.wire_len },
            encap: ctx.encap,
            vlan: ctx.vlan,
            domain: ctx.domain,
            reassembled: ctx.buffer != 0,
            buffer: ctx.buffer,
            ..Packet::EMPTY
        }
    }
}

impl Fit {
    /// Whether an IP packet of `total` bytes may lie in `region`.
    #[inline]
    fn check(
        self,
        total: usize,
        region: Region<'_>,
        layer: Layer,
        checksum_is_right: impl FnOnce() -> bool,
    ) -> Result<(), Stop> {
        if total > region.wire() {
            let cut_by_mirror = match self {
                Self::Mirror => true,
                Self::MaybeMirror => checksum_is_right(),
                Self::Padded | Self::Exact => false,
            };
            if !cut_by_mirror {
                return Err(Stop::malformed(layer, Why::BeyondFrame));
            }
        } else if self == Self::Exact && total != region.wire() {
            return Err(Stop::malformed(layer, Why::Length));
        }
        Ok(())
    }
}

/// Whether the ones'-complement sum over the IPv4 header comes out even (RFC 791 section 3.1).
#[cold]
fn checksum_is_right(region: Region<'_>, header_len: usize) -> bool {
    let Some(header) = region.captured().get(..header_len) else { return false };
    let sum: u32 = header.chunks_exact(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(pair[1])).sum();
    (sum >> 16) + (sum & 0xffff) == 0xffff
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::*;
    use super::super::{Link, Malformed, Outcome};
    use super::*;

    fn malformed(layer: Layer, why: Why) -> Outcome {
        Outcome::Malformed(Malformed { layer, why })
    }

    #[test]
    fn ipv4_fields_are_read_and_options_stepped_over() {
        let packet = packets_of(&inner_ipv4())[0];
        assert_eq!(packet.addrs, Addrs::V4 { src: SRC4, dst: DST4 });
        assert_eq!((packet.ip_id, packet.ttl, packet.ip_flags), (0x1234, 63, 2));
        let mut optioned = inner_ipv4();
        optioned[0] = 0x46;
        optioned[3] += 4;
        optioned.splice(20..20, [0x94, 0x04, 0, 0]);
        let packet = packets_of(&optioned)[0];
        assert_eq!((packet.dst_port, packet.payload_at, packet.payload_len), (22, 14 + 24 + 20, 4));
    }

    #[test]
    fn ipv4_lengths_that_contradict_the_frame_are_malformed() {
        let with = |at: usize, value: u8| {
            let mut ip = inner_ipv4();
            ip[at] = value;
            decode(Link::Ethernet, &ethernet(0x0800, &ip)).0
        };
        assert_eq!(with(0, 0x44), malformed(Layer::Ipv4, Why::HeaderLength));
        assert_eq!(with(0, 0x65), malformed(Layer::Ipv4, Why::Version));
        assert_eq!(with(3, 19), malformed(Layer::Ipv4, Why::Length));
        assert_eq!(with(3, 45), malformed(Layer::Ipv4, Why::BeyondFrame));
        assert_eq!(decode(Link::RawIp, &inner_ipv4()[..19]).0, malformed(Layer::Ipv4, Why::TooShort));
    }

    #[test]
    fn an_ipv4_length_of_zero_means_the_rest_of_the_frame() {
        let mut ip = ipv4(6, &tcp(40000, 22, &[7; 9000]));
        ip[2..4].copy_from_slice(&[0, 0]);
        assert_eq!(packets_of(&ip)[0].payload_wire, 9000);
    }

    #[test]
    fn a_cut_ip_header_is_not_malformed() {
        let frame = inner_ethernet();
        assert_eq!(decode_cut(Link::Ethernet, &frame, 30).0, Outcome::Ignored(Ignored::Snaplen));
        assert_eq!(decode_cut(Link::Ethernet, &frame, 34).0, Outcome::Ignored(Ignored::Snaplen));
        assert_eq!(decode_cut(Link::Ethernet, &frame, 38).0, Outcome::Packets(1));
    }

    #[test]
    fn ipv6_fields_are_read_and_extension_headers_stepped_over() {
        let packet = packets_of(&inner_ipv6())[0];
        assert_eq!(packet.addrs, Addrs::V6 { src: SRC6, dst: DST6 });
        assert_eq!((packet.ttl, packet.ip_id, packet.payload_at), (62, 0, 14 + 40 + 20));
        let chain = [
            43, 0, 1, 4, 0, 0, 0, 0, 60, 0, 0, 0, 0, 0, 0, 0, 6, 1, 1, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
        ];
        let packet = packets_of(&ipv6(0, &join(&[&chain, &tcp(40000, 22, b"SSH-")])))[0];
        assert_eq!((packet.dst_port, packet.payload_len, packet.l4_at), (22, 4, 14 + 40 + 32));
    }

    #[test]
    fn ipv6_lengths_that_contradict_the_frame_are_malformed() {
        let mut ip = inner_ipv6();
        ip[5] += 1;
        assert_eq!(decode(Link::RawIp, &ip).0, malformed(Layer::Ipv6, Why::BeyondFrame));
        let long = ipv6(0, &[6, 200, 0, 0, 0, 0, 0, 0]);
        assert_eq!(decode(Link::RawIp, &long).0, malformed(Layer::Ipv6Extension, Why::TooShort));
        let endless = ipv6(60, &[60, 0, 0, 0, 0, 0, 0, 0].repeat(30));
        assert_eq!(decode(Link::RawIp, &endless).0, malformed(Layer::Ipv6Extension, Why::Endless));
        assert_eq!(decode(Link::RawIp, &inner_ipv6()[..39]).0, malformed(Layer::Ipv6, Why::TooShort));
    }

    #[test]
    fn a_jumbogram_reaches_to_the_end_of_the_frame() {
        let hop_by_hop = [6, 0, 0xc2, 4, 0, 1, 0x11, 0x84];
        let mut ip = ipv6(0, &join(&[&hop_by_hop, &tcp(40000, 22, b"")]));
        ip[4..6].copy_from_slice(&[0, 0]);
        ip.extend(vec![7; 70_000]);
        assert_eq!(packets_of(&ip)[0].payload_wire, 70_000);
    }

    #[test]
    fn an_atomic_fragment_is_a_whole_packet() {
        let header = [6, 0, 0, 0, 0, 0, 0, 9];
        let packet = packets_of(&ipv6(44, &join(&[&header, &tcp(40000, 22, b"SSH-")])))[0];
        assert_eq!((packet.dst_port, packet.reassembled), (22, false));
    }

    #[test]
    fn ipv6_without_a_payload_is_ignored() {
        assert_eq!(decode(Link::RawIp, &ipv6(59, &[])).0, Outcome::Ignored(Ignored::NoNextHeader));
    }
}
