//! GRE (RFC 2784, 2890, 1701) and what shares its header: NVGRE (RFC 7637), MikroTik's EoIP, PPTP's enhanced GRE
//! (RFC 2637), WCCP redirection, Aruba's 802.11 bridging. In: a region that begins with a GRE header. Out: the packets
//! inside; for PPTP the GRE packet too.

use super::super::ethernet::ethertype;
use super::super::outcome::{Ignored, Layer, Stop, Walked, Why};
use super::super::packet::{Addrs, Packet};
use super::super::region::{Region, be16};
use super::super::{Context, Fit, Walk};

const GRE_HEADER: usize = 4;

/// The first 16 bits (RFC 1701, RFC 2637 section 4.1).
mod flag {
    pub(super) const CHECKSUM: u16 = 0x8000;
    pub(super) const ROUTING: u16 = 0x4000;
    pub(super) const KEY: u16 = 0x2000;
    pub(super) const SEQUENCE: u16 = 0x1000;
    /// Only in version 1.
    pub(super) const ACKNOWLEDGMENT: u16 = 0x0080;
    pub(super) const VERSION: u16 = 0x0007;
}

/// Protocol types beside the EtherTypes.
mod protocol {
    pub(super) const ERSPAN: u16 = 0x88be;
    pub(super) const ERSPAN_III: u16 = 0x22eb;
    pub(super) const PPP: u16 = 0x880b;
    pub(super) const EOIP: u16 = 0x6400;
    pub(super) const WCCP: u16 = 0x883e;
    /// Aruba numbers its forwarding modes here; the payload is an 802.11 frame.
    pub(super) const ARUBA: std::ops::RangeInclusive<u16> = 0x8200..=0x8370;
}

/// NVGRE segments: those below are reserved, the last is for vendors (RFC 7637 section 3.2). Keys of ordinary
/// Ethernet-in-GRE tunnels are small numbers, which tells the two apart.
const NVGRE_SEGMENTS: std::ops::Range<u32> = 0x1000..0xff_ffff;

/// Source route entries walked at most (RFC 1701).
const MAX_ROUTES: usize = 8;

impl Walk<'_> {
    /// IP protocol 47.
    pub(in super::super) fn gre(&mut self, region: Region<'_>, packet: &mut Packet) -> Walked {
        if region.wire() < GRE_HEADER {
            return Err(Stop::malformed(Layer::Gre, Why::TooShort));
        }
        packet.set_payload(region, 0);
        let outer = *packet;
        if is_pptp(region) {
            return self.outer_and_inner(&outer, |walk| walk.pptp(region, packet));
        }
        match self.gre_payload(region, packet) {
            Err(Stop::Ignored(_)) => self.emit(packet),
            walked => walked,
        }
    }

    /// A GRE header and what it carries.
    pub(super) fn gre_payload(&mut self, region: Region<'_>, carrier: &mut Packet) -> Walked {
        let header = region.header::<GRE_HEADER>(Layer::Gre)?;
        carrier.open(Layer::Gre)?;
        let (flags, kind) = (be16(header, 0), be16(header, 2));
        match flags & flag::VERSION {
            0 => {}
            1 => return self.eoip(flags, kind, region, carrier),
            _ => return Err(Stop::malformed(Layer::Gre, Why::Version)),
        }
        let mut rest = region.after(GRE_HEADER, Layer::Gre)?;
        if flags & (flag::CHECKSUM | flag::ROUTING) != 0 {
            rest = rest.after(4, Layer::Gre)?;
        }
        let mut key = None;
        if flags & flag::KEY != 0 {
            key = Some(u32::from_be_bytes(*rest.header::<4>(Layer::Gre)?));
            rest = rest.after(4, Layer::Gre)?;
        }
        if flags & flag::SEQUENCE != 0 {
            rest = rest.after(4, Layer::Gre)?;
        }
        if flags & flag::ROUTING != 0 {
            rest = behind_routes(rest)?;
        }
        match kind {
            ethertype::IPV4 => self.ipv4(rest, Context::inside(carrier, Fit::Padded)),
            ethertype::IPV6 => self.ipv6(rest, Context::inside(carrier, Fit::Padded)),
            ethertype::TRANSPARENT_ETHERNET => {
                let mut ctx = Context::inside(carrier, Fit::MaybeMirror);
                // NVGRE has neither checksum nor sequence number.
                let segment = key.map(|key| key >> 8).filter(|segment| NVGRE_SEGMENTS.contains(segment));
                if let Some(segment) = segment
                    && flags & (flag::CHECKSUM | flag::SEQUENCE) == 0
                {
                    carrier.open(Layer::Nvgre)?;
                    ctx = ctx.entered(Layer::Nvgre)?.in_segment(segment);
                }
                self.ethernet(rest, ctx)
            }
            ethertype::MPLS | ethertype::MPLS_MULTICAST => {
                self.mpls(rest, Context::inside(carrier, Fit::Padded))
            }
            ethertype::ARP => Err(Stop::Ignored(Ignored::Arp)),
            protocol::ERSPAN => self.erspan(rest, flags & flag::SEQUENCE != 0, carrier),
            protocol::ERSPAN_III => self.erspan_iii(rest, carrier),
            protocol::WCCP => self.wccp(rest, carrier),
            kind if protocol::ARUBA.contains(&kind) => self.wlan(rest, Context::inside(carrier, Fit::Padded)),
            _ => Err(Stop::Ignored(Ignored::NonIp)),
        }
    }

    /// MikroTik's Ethernet over IP: version 1 with exactly the key bit, over IPv4; the key is the frame's length and,
    /// in little-endian order, the tunnel's number.
    fn eoip(&mut self, flags: u16, kind: u16, region: Region<'_>, carrier: &mut Packet) -> Walked {
        if flags != flag::KEY | 1 || kind != protocol::EOIP || !matches!(carrier.addrs, Addrs::V4 { .. }) {
            return Err(Stop::Ignored(Ignored::NonIp));
        }
        let len = usize::from(be16(region.header::<8>(Layer::Eoip)?, 4));
        let frame = region.after(8, Layer::Eoip)?;
        carrier.open(Layer::Eoip)?;
        if len > frame.wire() {
            return Err(Stop::malformed(Layer::Eoip, Why::BeyondFrame));
        }
        // A keep-alive has no frame.
        if len == 0 {
            return Err(Stop::Ignored(Ignored::LinkControl));
        }
        self.ethernet(frame.of_length(len), Context::inside(carrier, Fit::Padded))
    }

    /// PPTP's enhanced GRE: call, then sequence and acknowledgment number if present, then PPP.
    fn pptp(&mut self, region: Region<'_>, packet: &mut Packet) -> Walked {
        let header = region.header::<8>(Layer::Pptp)?;
        let (flags, len) = (be16(header, 0), usize::from(be16(header, 4)));
        let mut rest = region.after(8, Layer::Pptp)?;
        for optional in [flag::SEQUENCE, flag::ACKNOWLEDGMENT] {
            if flags & optional != 0 {
                rest = rest.after(4, Layer::Pptp)?;
            }
        }
        if len > rest.wire() {
            return Err(Stop::malformed(Layer::Pptp, Why::BeyondFrame));
        }
        packet.open(Layer::Gre)?;
        packet.open(Layer::Pptp)?;
        self.ppp(rest.of_length(len), Context::inside(packet, Fit::Padded))
    }

    /// WCCP redirection: version 2 puts four bytes before the packet, version 1 none (draft-wilson-wrec-wccp-v2
    /// section 4.12.1).
    fn wccp(&mut self, rest: Region<'_>, carrier: &mut Packet) -> Walked {
        let ctx = Context::inside(carrier, Fit::Padded);
        match rest.header::<1>(Layer::Gre)?[0] {
            0x45..=0x4f => self.ipv4(rest, ctx),
            _ => self.ipv4(rest.after(4, Layer::Gre)?, ctx),
        }
    }
}

fn is_pptp(region: Region<'_>) -> bool {
    region.peek::<4>().is_some_and(|header| {
        let flags = be16(header, 0);
        flags & flag::VERSION == 1 && flags & flag::KEY != 0 && be16(header, 2) == protocol::PPP
    })
}

/// Behind the source route entries of RFC 1701: address family, offset, length, route; the last is all zero.
fn behind_routes(mut rest: Region<'_>) -> Result<Region<'_>, Stop> {
    for _ in 0..MAX_ROUTES {
        let [family_high, family_low, _, len] = *rest.header::<4>(Layer::Gre)?;
        rest = rest.after(4 + usize::from(len), Layer::Gre)?;
        if [family_high, family_low, len] == [0; 3] {
            return Ok(rest);
        }
    }
    Err(Stop::malformed(Layer::Gre, Why::Endless))
}
