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

/// Bits of a segment of which one must be set: VMware's mirror sessions put the direction of the mirrored frame, and
/// nothing else, into the key's highest byte.
const NVGRE_LOW_BITS: u32 = 0xffff;

/// Source route entries walked at most (RFC 1701).
const MAX_ROUTES: usize = 8;

impl Walk<'_> {
    /// IP protocol 47.
    pub(in super::super) fn gre(&mut self, region: Region<'_>) -> Walked {
        if region.wire() < GRE_HEADER {
            return Err(Stop::malformed(Layer::Gre, Why::TooShort));
        }
        let packet = self.packets.draft();
        packet.set_payload(region, 0);
        let mut carrier = *packet;
        if is_pptp(region) {
            let inside = Context::inside(&carrier, Fit::Padded);
            return self.outer_and_inner(|walk| walk.pptp(region, inside));
        }
        match self.gre_payload(region, &mut carrier) {
            Err(Stop::Ignored(_)) => self.emit(&carrier),
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
                if let Some(segment) = key.map(|key| key >> 8)
                    && flags & (flag::CHECKSUM | flag::SEQUENCE) == 0
                    && NVGRE_SEGMENTS.contains(&segment)
                    && segment & NVGRE_LOW_BITS != 0
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
    fn pptp(&mut self, region: Region<'_>, inside: Context) -> Walked {
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
        self.ppp(rest.of_length(len), inside.entered(Layer::Gre)?.entered(Layer::Pptp)?)
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

#[cfg(test)]
mod tests {
    use super::super::super::fixtures::*;
    use super::super::super::{Link, Malformed, Outcome};
    use super::*;

    fn gre(header: &[u8], payload: &[u8]) -> Vec<u8> {
        ipv4(47, &join(&[header, payload]))
    }

    #[test]
    fn plain_gre_yields_the_inner_packet() {
        let packet = assert_only_inner(&gre(&[0, 0, 8, 0], &inner_ipv4()), &["gre"]);
        assert_eq!((packet.payload_at, packet.l4_at), (14 + 20 + 4 + 20 + 20, 14 + 20 + 4 + 20));
        assert_only_inner(&gre(&[0, 0, 0x86, 0xdd], &inner_ipv6()), &["gre"]);
        assert_only_inner(&ipv6(47, &join(&[&[0, 0, 8, 0], &inner_ipv4()])), &["gre"]);
    }

    #[test]
    fn checksum_key_and_sequence_number_are_stepped_over() {
        let header = [0xb0, 0, 8, 0, 0xaa, 0xaa, 0, 0, 0, 0, 0, 7, 0, 0, 0, 1];
        let packet = assert_only_inner(&gre(&header, &inner_ipv4()), &["gre"]);
        assert_eq!(packet.domain, 0, "a GRE key is no segment");
    }

    #[test]
    fn source_routes_are_stepped_over() {
        let header = [0x40, 0, 8, 0, 0, 0, 0, 0, 8, 0, 0, 4, 192, 0, 2, 9, 0, 0, 0, 0];
        assert_only_inner(&gre(&header, &inner_ipv4()), &["gre"]);
        let endless: Vec<u8> =
            [0x40, 0, 8, 0, 0, 0, 0, 0].into_iter().chain([8, 0, 0, 0].repeat(20)).collect();
        let (outcome, _) = decode(Link::RawIp, &gre(&endless, &[]));
        assert_eq!(outcome, Outcome::Malformed(Malformed { layer: Layer::Gre, why: Why::Endless }));
    }

    #[test]
    fn ethernet_in_gre_is_peeled_and_a_small_key_makes_no_segment() {
        assert_only_inner(&gre(&[0, 0, 0x65, 0x58], &inner_ethernet()), &["gre"]);
        let packet =
            assert_only_inner(&gre(&[0x20, 0, 0x65, 0x58, 0, 0, 0, 42], &inner_ethernet()), &["gre"]);
        assert_eq!(packet.domain, 0);
    }

    #[test]
    fn an_nvgre_segment_is_a_domain_of_its_own() {
        let nvgre = |segment| gre(&[0x20, 0, 0x65, 0x58, 0, segment, 1, 9], &inner_ethernet());
        let one = assert_only_inner(&nvgre(0x51), &["gre", "nvgre"]);
        let other = assert_only_inner(&nvgre(0x52), &["gre", "nvgre"]);
        assert!(one.domain != 0 && other.domain != 0 && one.domain != other.domain);
    }

    #[test]
    fn the_directions_of_a_vmware_mirror_share_a_domain() {
        let mirror = |direction| gre(&[0x20, 0, 0x65, 0x58, direction, 0, 0, 0], &inner_ethernet());
        assert_eq!(
            assert_only_inner(&mirror(0), &["gre"]).domain,
            assert_only_inner(&mirror(2), &["gre"]).domain
        );
    }

    #[test]
    fn mpls_in_gre_is_peeled() {
        let labelled = join(&[&[0, 1, 0x01, 64], &inner_ipv4()]);
        assert_only_inner(&gre(&[0, 0, 0x88, 0x47], &labelled), &["gre", "mpls"]);
    }

    #[test]
    fn eoip_is_peeled_to_the_length_it_gives() {
        let frame = join(&[&inner_ethernet(), &[0xee; 6]]);
        let header = [0x20, 0x01, 0x64, 0x00, 0, inner_ethernet().len() as u8, 7, 0];
        assert_only_inner(&gre(&header, &frame), &["gre", "eoip"]);
    }

    #[test]
    fn version_1_without_a_known_protocol_is_a_gre_packet() {
        let packets = packets_of(&gre(&[0x00, 0x01, 0x64, 0x00], &inner_ethernet()));
        assert_eq!((packets[0].proto, layers(&packets[0])), (47, vec!["gre"]));
    }

    #[test]
    fn wccp_is_peeled_with_and_without_its_redirect_header() {
        assert_only_inner(&gre(&[0, 0, 0x88, 0x3e], &inner_ipv4()), &["gre"]);
        assert_only_inner(&gre(&[0, 0, 0x88, 0x3e, 0, 1, 0, 0], &inner_ipv4()), &["gre"]);
    }

    #[test]
    fn pptp_yields_the_gre_packet_and_the_inner_one() {
        let ppp = join(&[&[0xff, 0x03, 0x00, 0x21], &inner_ipv4()]);
        let header = [0x30, 0x81, 0x88, 0x0b, 0, ppp.len() as u8, 0, 9, 0, 0, 0, 1, 0, 0, 0, 2];
        let packets = packets_of(&gre(&header, &ppp));
        assert_eq!(packets.len(), 2);
        assert_eq!((packets[0].proto, layers(&packets[0]).len()), (47, 0));
        assert_eq!(packets[0].payload_at, packets[0].l4_at, "the GRE header is left to the analyzer");
        assert_inner(&packets[1], &["gre", "pptp"]);
    }

    #[test]
    fn pptp_without_an_ip_packet_is_a_gre_packet() {
        for ppp in [&[0xff, 0x03, 0xc0, 0x21, 1, 1, 0, 4][..], &[0x00, 0xfd, 0x90, 0, 1, 2, 3, 4], &[]] {
            let header = [0x30, 0x01, 0x88, 0x0b, 0, ppp.len() as u8, 0, 9, 0, 0, 0, 1];
            assert_plain(&gre(&header, ppp), 47);
        }
    }

    #[test]
    fn gre_around_an_unknown_protocol_is_a_gre_packet() {
        let packets = packets_of(&gre(&[0, 0, 0x12, 0x34], &[1, 2, 3, 4]));
        assert_eq!((packets.len(), packets[0].proto, layers(&packets[0])), (1, 47, vec!["gre"]));
        assert_eq!((packets[0].payload_at, packets[0].payload_len), (34, 8));
    }

    #[test]
    fn gre_around_a_broken_packet_is_malformed_where_it_is_broken() {
        let mut inner = inner_ipv4();
        inner[0] = 0x43;
        let (outcome, packets) = decode(Link::RawIp, &gre(&[0, 0, 8, 0], &inner));
        assert_eq!(outcome, Outcome::Malformed(Malformed { layer: Layer::Ipv4, why: Why::HeaderLength }));
        assert!(packets.is_empty());
        let (outcome, _) = decode(Link::RawIp, &gre(&[0, 5, 8, 0], &inner_ipv4()));
        assert_eq!(outcome, Outcome::Malformed(Malformed { layer: Layer::Gre, why: Why::Version }));
        let (outcome, _) = decode(Link::RawIp, &gre(&[0x80, 0, 8, 0], &[]));
        assert_eq!(outcome, Outcome::Malformed(Malformed { layer: Layer::Gre, why: Why::TooShort }));
    }
}
