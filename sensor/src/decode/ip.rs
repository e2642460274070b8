//! IPv4 and IPv6 with their options, extension headers and fragments. In: a region that begins with an IP header.
//! Out: the walk goes on at the upper layer with a [`Packet`] that has its addresses.

use super::fragment::{Arrival, Key, Reassembly};
use super::outcome::{Ignored, Layer, Stop, Walked, Why};
use super::packet::{Addrs, Packet};
use super::region::{Region, be16, be32};
use super::{Context, Fit, Walk};

const IPV4_HEADER: usize = 20;
const IPV6_HEADER: usize = 40;

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
        let mut packet = Packet {
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
            let key =
                Key { addrs: packet.addrs, id: packet.ip_id.into(), proto: header[9], domain: ctx.domain };
            let offset = u32::from(fragment & 0x1fff) * 8;
            return self.fragment(payload, key, offset, fragment & 0x2000 != 0, header[9], &mut packet);
        }
        self.upper(header[9], payload, &mut packet)
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
        let mut packet = Packet { addrs: Addrs::V6 { src, dst }, ttl: header[7], ..self.packet(ctx, total) };
        let payload = region.of_length(total).after(IPV6_HEADER, Layer::Ipv6)?;
        self.ipv6_next(header[6], payload, &mut packet)
    }

    /// What follows an IPv6 header or an extension header.
    pub(super) fn ipv6_next(&mut self, mut next: u8, mut region: Region<'_>, packet: &mut Packet) -> Walked {
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
                    next = header[0];
                    region = region.after(8, Layer::Fragment)?;
                    let (offset, more) = (be16(header, 2) & 0xfff8, header[3] & 1 != 0);
                    // An atomic fragment is a whole packet (RFC 6946).
                    if offset != 0 || more {
                        let id = be32(header, 4);
                        let key = Key { addrs: packet.addrs, id, proto: 0, domain: packet.domain };
                        packet.ip_id = be16(header, 6);
                        return self.fragment(region, key, offset.into(), more, next, packet);
                    }
                }
                NO_NEXT => return Err(Stop::Ignored(Ignored::NoNextHeader)),
                _ => return self.upper(next, region, packet),
            }
        }
        Err(Stop::malformed(Layer::Ipv6Extension, Why::Endless))
    }

    fn fragment(
        &mut self,
        region: Region<'_>,
        key: Key,
        offset: u32,
        more: bool,
        next: u8,
        packet: &mut Packet,
    ) -> Walked {
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
        let region = Region::new(&whole.bytes, whole.wire);
        let walked = match packet.addrs {
            Addrs::V4 { .. } => self.upper(whole.next, region, packet),
            Addrs::V6 { .. } => self.ipv6_next(whole.next, region, packet),
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
