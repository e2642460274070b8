//! L2TP data: version 2 over UDP with PPP inside (RFC 2661), version 3 over UDP or IP with Ethernet inside (RFC 3931,
//! RFC 4719). In: a UDP payload, or an IP payload. Out: over UDP the UDP packet, which is a flow to be
//! reported, and the packets inside; over IP the packets inside. Control messages stay UDP packets. On another port the
//! packet inside has to fill the datagram.

use super::super::outcome::{Ignored, Layer, Stop, Walked, Why};
use super::super::region::{Region, be16};
use super::super::{Context, Fit, Walk};
use super::NOT_THIS;
use super::content::{frame_fits, packet_fits};

/// The first 16 bits (RFC 2661 section 3.1).
mod flag {
    pub(super) const CONTROL: u16 = 0x8000;
    pub(super) const LENGTH: u16 = 0x4000;
    pub(super) const SEQUENCE: u16 = 0x0800;
    pub(super) const OFFSET: u16 = 0x0200;
    pub(super) const VERSION: u16 = 0x000f;
}

/// Bytes between a version 3 session number and the frame: a cookie of 0, 4 or 8 bytes, then a sublayer header of 0 or
/// 4 (RFC 3931 sections 4.1 and 4.6). Only the two ends know which; the frame has to show.
const BEFORE_FRAME: [usize; 4] = [0, 4, 8, 12];

impl Walk<'_> {
    /// A UDP payload of port 1701, or one that [`is_whole`].
    pub(super) fn l2tp_udp(&mut self, region: Region<'_>) -> Walked {
        let inside = Context::inside(self.packets.draft(), Fit::Padded);
        self.outer_and_inner(|walk| {
            let flags = u16::from_be_bytes(*region.header::<2>(Layer::L2tp)?);
            match (flags & flag::CONTROL, flags & flag::VERSION) {
                (0, 2) => walk.ppp(behind_header(flags, region)?, inside.entered(Layer::L2tp)?),
                (0, 3) => walk.l2tpv3(region.after(4, Layer::L2tp)?, inside),
                _ => Err(NOT_THIS),
            }
        })
    }

    /// IP protocol 115.
    pub(in super::super) fn l2tpv3_ip(&mut self, region: Region<'_>, inside: Context) -> Walked {
        match self.l2tpv3(region, inside) {
            Err(Stop::Ignored(_) | Stop::Malformed(_)) => Err(Stop::Ignored(Ignored::IpProtocol)),
            walked => walked,
        }
    }

    fn l2tpv3(&mut self, region: Region<'_>, inside: Context) -> Walked {
        let session = u32::from_be_bytes(*region.header::<4>(Layer::L2tp)?);
        let rest = region.after(4, Layer::L2tp)?;
        // Session 0 is the control connection.
        if session == 0 {
            return Err(NOT_THIS);
        }
        let frame =
            BEFORE_FRAME.into_iter().find_map(|len| rest.after(len, Layer::L2tp).ok().filter(is_frame));
        self.ethernet(frame.ok_or(NOT_THIS)?, inside.entered(Layer::L2tp)?)
    }
}

/// Whether a UDP payload of `wire` bytes is L2TP data for sure: a packet inside fills it.
pub(super) fn is_whole(payload: &[u8], wire: usize) -> bool {
    match payload.first_chunk() {
        Some([first, 2]) => ppp_at(*first, payload, wire).is_some_and(|at| packet_fits(payload, wire, at)),
        Some([0, 3]) => BEFORE_FRAME.iter().any(|len| frame_fits(payload, wire, 8 + len)),
        _ => false,
    }
}

/// Where a packet lies behind a version 2 header and PPP's protocol of IPv4 or IPv6.
fn ppp_at(first: u8, payload: &[u8], wire: usize) -> Option<usize> {
    const PPP_HDLC: &[u8] = &[0xff, 0x03];
    let flags = u16::from(first) << 8;
    let word = |at: usize| payload.get(at..)?.first_chunk().map(|word| u16::from_be_bytes(*word));
    let mut at = 2;
    if flags & flag::LENGTH != 0 {
        if usize::from(word(at)?) != wire {
            return None;
        }
        at += 2;
    }
    if word(at)? == 0 || word(at + 2)? == 0 {
        return None;
    }
    at += 4;
    if flags & flag::SEQUENCE != 0 {
        at += 4;
    }
    if flags & flag::OFFSET != 0 {
        at += 2 + usize::from(word(at)?);
    }
    if payload.get(at..)?.starts_with(PPP_HDLC) {
        at += PPP_HDLC.len();
    }
    match payload.get(at..)? {
        [0, 0x21 | 0x57, ..] => Some(at + 2),
        [0x21 | 0x57, ..] => Some(at + 1),
        _ => None,
    }
}

/// Behind a version 2 header, whose optional fields the flags announce.
fn behind_header(flags: u16, region: Region<'_>) -> Result<Region<'_>, Stop> {
    let mut region = region;
    let mut rest = region.after(2, Layer::L2tp)?;
    if flags & flag::LENGTH != 0 {
        let len = usize::from(be16(region.header::<4>(Layer::L2tp)?, 2));
        if len > region.wire() {
            return Err(Stop::malformed(Layer::L2tp, Why::BeyondFrame));
        }
        region = region.of_length(len);
        rest = region.after(4, Layer::L2tp)?;
    }
    let ids = rest.header::<4>(Layer::L2tp)?;
    // Data needs a tunnel and a session.
    if be16(ids, 0) == 0 || be16(ids, 2) == 0 {
        return Err(NOT_THIS);
    }
    rest = rest.after(4, Layer::L2tp)?;
    if flags & flag::SEQUENCE != 0 {
        rest = rest.after(4, Layer::L2tp)?;
    }
    if flags & flag::OFFSET != 0 {
        let pad = usize::from(u16::from_be_bytes(*rest.header::<2>(Layer::L2tp)?));
        rest = rest.after(2 + pad, Layer::L2tp)?;
    }
    Ok(rest)
}

/// Whether the bytes are an Ethernet frame beyond doubt: with an IP header, an ARP request or a tag at the right place.
fn is_frame(region: &Region<'_>) -> bool {
    matches!(
        region.peek::<15>(),
        Some(
            [.., 0x08, 0x00, 0x45..=0x4f]
                | [.., 0x86, 0xdd, 0x60..=0x6f]
                | [.., 0x08, 0x06, 0x00]
                | [.., 0x81, 0x00, _]
        )
    )
}

#[cfg(test)]
mod tests {
    use super::super::super::fixtures::*;
    use super::super::super::{Ignored, Link, Outcome};

    fn l2tp(payload: &[u8]) -> Vec<u8> {
        ipv4(17, &udp(1701, 1701, payload))
    }

    fn assert_outer_and_inner(ip: &[u8]) {
        let packets = packets_of(ip);
        assert_eq!(packets.len(), 2, "the UDP packet and the one inside: {packets:?}");
        assert_eq!((packets[0].proto, packets[0].dst_port, layers(&packets[0]).len()), (17, 1701, 0));
        assert_inner(&packets[1], &["l2tp"]);
    }

    #[test]
    fn version_2_data_yields_the_udp_packet_and_the_inner_one() {
        let ppp = join(&[&[0xff, 0x03, 0x00, 0x21], &inner_ipv4()]);
        assert_outer_and_inner(&l2tp(&join(&[&[0x00, 0x02, 0, 5, 0, 6], &ppp])));
        assert_outer_and_inner(&l2tp(&join(&[&[0x00, 0x02, 0, 5, 0, 6, 0x57], &inner_ipv6()])));
        let len = (16 + ppp.len()) as u8;
        let all = [0x4a, 0x02, 0, len, 0, 5, 0, 6, 0, 1, 0, 2, 0, 2, 0xee, 0xee];
        assert_outer_and_inner(&l2tp(&join(&[&all, &ppp, &[0xee; 3]])));
    }

    #[test]
    fn on_another_port_the_packet_inside_has_to_fill_the_datagram() {
        let ppp = join(&[&[0xff, 0x03, 0x00, 0x21], &inner_ipv4()]);
        let len = (12 + ppp.len()) as u8;
        let sequenced = join(&[&[0x48, 0x02, 0, len, 0, 5, 0, 6, 0, 1, 0, 2], &ppp]);
        let shifted = join(&[&[0x02, 0x02, 0, 5, 0, 6, 0, 1, 0xee, 0x57], &inner_ipv6()]);
        let version_3 = join(&[&[0, 3, 0, 0, 0, 0, 0, 9, 0xaa, 0xaa, 0xaa, 0xaa], &inner_ethernet()]);
        for whole in [&sequenced, &shifted, &version_3] {
            let anywhere = |payload: &[u8]| ipv4(17, &udp(40001, 40002, payload));
            let packets = packets_of(&anywhere(whole));
            assert_eq!((packets.len(), packets[0].dst_port), (2, 40002), "{whole:02x?}");
            assert_inner(&packets[1], &["l2tp"]);
            assert_plain(&anywhere(&join(&[whole, &[1]])), 17);
            assert_plain(&anywhere(&whole[..whole.len() - 1]), 17);
        }
        let mut other = sequenced;
        other[7] = 0; // no session
        assert_plain(&ipv4(17, &udp(40001, 40002, &other)), 17);
    }

    #[test]
    fn control_messages_and_ppp_negotiation_are_udp_packets() {
        assert_plain(&l2tp(&[0xc8, 0x02, 0, 12, 0, 5, 0, 0, 0, 1, 0, 2]), 17);
        assert_plain(&l2tp(&[0x00, 0x02, 0, 5, 0, 6, 0xff, 0x03, 0xc0, 0x21, 1, 1, 0, 4]), 17);
        assert_plain(&l2tp(&join(&[&[0x00, 0x02, 0, 0, 0, 0, 0x00, 0x21], &inner_ipv4()])), 17);
        assert_plain(&l2tp(&join(&[&[0x40, 0x02, 0xff, 0xff, 0, 5, 0, 6, 0x00, 0x21], &inner_ipv4()])), 17);
    }

    #[test]
    fn version_3_finds_the_frame_behind_any_cookie() {
        for cookie in [&[][..], &[0xaa; 4], &[0xbb; 8], &[0xcc; 12]] {
            let data = join(&[&[0, 0, 0, 9], cookie, &inner_ethernet()]);
            assert_outer_and_inner(&l2tp(&join(&[&[0x00, 0x03, 0, 0], &data])));
            assert_only_inner(&ipv4(115, &data), &["l2tp"]);
        }
    }

    #[test]
    fn version_3_over_ip_without_a_frame_is_ignored() {
        for data in [&[0; 40][..], &[0, 0, 0, 9, 1, 2, 3, 4], &[0, 0]] {
            let (outcome, _) = decode(Link::RawIp, &ipv4(115, data));
            assert_eq!(outcome, Outcome::Ignored(Ignored::IpProtocol));
        }
    }
}
