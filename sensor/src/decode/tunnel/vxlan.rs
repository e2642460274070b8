//! VXLAN (RFC 7348) and VXLAN-GPE (draft-ietf-nvo3-vxlan-gpe). In: a UDP payload of their ports. Out: the packets of
//! the frame inside, in the overlay segment of the VNI.

use super::super::outcome::{Layer, Walked};
use super::super::packet::Packet;
use super::super::region::Region;
use super::super::{Context, Fit, Walk};
use super::{NOT_THIS, be24};

const HEADER: usize = 8;

/// The first byte.
mod flag {
    /// The VNI is valid: always set.
    pub(super) const INSTANCE: u8 = 0x08;
    /// GPE: a next protocol is given.
    pub(super) const NEXT_PROTOCOL: u8 = 0x04;
    /// GPE: operation and maintenance, no packet.
    pub(super) const OAM: u8 = 0x01;
    /// GPE: the version, zero.
    pub(super) const VERSION: u8 = 0x30;
}

/// Next protocols of GPE.
mod next {
    pub(super) const IPV4: u8 = 1;
    pub(super) const IPV6: u8 = 2;
    pub(super) const ETHERNET: u8 = 3;
    pub(super) const MPLS: u8 = 5;
}

impl Walk<'_> {
    /// VXLAN. Reserved bits are not looked at: group policies and vendors use them.
    pub(super) fn vxlan(&mut self, region: Region<'_>, carrier: &mut Packet) -> Walked {
        let header = region.header::<HEADER>(Layer::Vxlan)?;
        if header[0] & flag::INSTANCE == 0 {
            return Err(NOT_THIS);
        }
        carrier.open(Layer::Vxlan)?;
        // Cloud mirrors put frames into VXLAN and cut them to fit.
        let ctx = Context::inside(carrier, Fit::MaybeMirror).in_segment(be24(header, 4));
        self.ethernet(region.after(HEADER, Layer::Vxlan)?, ctx)
    }

    /// VXLAN-GPE.
    pub(super) fn vxlan_gpe(&mut self, region: Region<'_>, carrier: &mut Packet) -> Walked {
        let header = region.header::<HEADER>(Layer::Vxlan)?;
        let flags = header[0];
        if flags & flag::INSTANCE == 0 || flags & (flag::OAM | flag::VERSION) != 0 {
            return Err(NOT_THIS);
        }
        carrier.open(Layer::Vxlan)?;
        let inside = region.after(HEADER, Layer::Vxlan)?;
        let ctx = |fit| Context::inside(carrier, fit).in_segment(be24(header, 4));
        let next = if flags & flag::NEXT_PROTOCOL == 0 { next::ETHERNET } else { header[3] };
        match next {
            next::ETHERNET => self.ethernet(inside, ctx(Fit::MaybeMirror)),
            next::IPV4 => self.ipv4(inside, ctx(Fit::Exact)),
            next::IPV6 => self.ipv6(inside, ctx(Fit::Exact)),
            next::MPLS => self.mpls(inside, ctx(Fit::Exact)),
            _ => Err(NOT_THIS),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::fixtures::*;
    use super::super::super::{Link, Outcome};

    fn vxlan(port: u16, header: [u8; 8], frame: &[u8]) -> Vec<u8> {
        ipv4(17, &udp(50000, port, &join(&[&header, frame])))
    }

    #[test]
    fn both_ports_yield_the_inner_packet_in_the_segment_of_the_vni() {
        let one = assert_only_inner(&vxlan(4789, [8, 0, 0, 0, 0, 0, 100, 0], &inner_ethernet()), &["vxlan"]);
        let same = assert_only_inner(&vxlan(8472, [8, 0, 0, 0, 0, 0, 100, 0], &inner_ethernet()), &["vxlan"]);
        let other =
            assert_only_inner(&vxlan(4789, [8, 0, 0, 0, 0, 0, 101, 0], &inner_ethernet()), &["vxlan"]);
        assert!(one.domain != 0 && one.domain == same.domain && one.domain != other.domain);
        assert_ne!(
            assert_only_inner(&vxlan(4789, [8, 0, 0, 0, 0, 0, 0, 0], &inner_ethernet()), &["vxlan"]).domain,
            0
        );
    }

    #[test]
    fn group_policy_and_other_reserved_bits_do_not_hide_the_packet() {
        assert_only_inner(&vxlan(4789, [0x88, 0x40, 0, 9, 0, 0, 100, 1], &inner_ethernet()), &["vxlan"]);
    }

    #[test]
    fn gpe_carries_ip_ethernet_and_mpls() {
        assert_only_inner(&vxlan(4790, [0x0c, 0, 0, 1, 0, 0, 100, 0], &inner_ipv4()), &["vxlan"]);
        assert_only_inner(&vxlan(4790, [0x0c, 0, 0, 2, 0, 0, 100, 0], &inner_ipv6()), &["vxlan"]);
        assert_only_inner(&vxlan(4790, [0x0c, 0, 0, 3, 0, 0, 100, 0], &inner_ethernet()), &["vxlan"]);
        let labelled = join(&[&[0, 1, 0x01, 64], &inner_ipv4()]);
        assert_only_inner(&vxlan(4790, [0x0c, 0, 0, 5, 0, 0, 100, 0], &labelled), &["vxlan", "mpls"]);
    }

    #[test]
    fn what_does_not_make_sense_inside_stays_a_udp_packet() {
        assert_plain(&vxlan(4789, [0, 0, 0, 0, 0, 0, 100, 0], &inner_ethernet()), 17);
        assert_plain(&vxlan(4790, [0x0d, 0, 0, 1, 0, 0, 100, 0], &inner_ipv4()), 17);
        assert_plain(&vxlan(4790, [0x0c, 0, 0, 1, 0, 0, 100, 0], &join(&[&inner_ipv4(), &[0]])), 17);
        assert_plain(&vxlan(4789, [8, 0, 0, 0, 0, 0, 100, 0], &inner_ethernet()[..30]), 17);
        assert_plain(&vxlan(4789, [8, 0, 0, 0, 0, 0, 100, 0], &ethernet(0x1234, &[0; 50])), 17);
        assert_plain(
            &ipv4(17, &udp(4789, 53, b"not a tunnel at all, just a long enough text to be one")),
            17,
        );
    }

    #[test]
    fn a_segment_without_ip_comes_out_as_its_carrier() {
        let packets = packets_of(&vxlan(4789, [8, 0, 0, 0, 0, 0, 100, 0], &arp()));
        assert_eq!((packets.len(), packets[0].dst_port, layers(&packets[0])), (1, 4789, vec!["vxlan"]));
        assert_eq!((packets[0].payload_len, packets[0].domain), (8 + 42, 0));
    }

    #[test]
    fn a_mirrored_frame_cut_to_fit_is_known_by_its_checksum() {
        let mirrored = ethernet(0x0800, &ipv4(6, &tcp(40000, 22, &[7; 1000])));
        let packets = packets_of(&vxlan(4789, [8, 0, 0, 0, 0, 0, 1, 0], &mirrored[..600]));
        assert_eq!((packets[0].proto, packets[0].payload_len, packets[0].payload_wire), (6, 600 - 54, 1000));
        let mut wrong = mirrored;
        wrong[24] ^= 1;
        assert_plain(&vxlan(4789, [8, 0, 0, 0, 0, 0, 1, 0], &wrong[..600]), 17);
    }

    #[test]
    fn a_capture_cut_before_the_inner_ports_stays_a_udp_packet() {
        let frame = ethernet(0x0800, &vxlan(4789, [8, 0, 0, 0, 0, 0, 1, 0], &inner_ethernet()));
        let (outcome, packets) = decode_cut(Link::Ethernet, &frame, 64);
        assert_eq!(outcome, Outcome::Packets(1));
        assert_eq!((packets[0].proto, packets[0].dst_port, packets[0].payload_len), (17, 4789, 64 - 42));
        let (_, packets) = decode_cut(Link::Ethernet, &frame, 96);
        assert_eq!((packets[0].proto, packets[0].dst_port, packets[0].payload_len), (6, 22, 0));
        assert_eq!((packets[0].cut, packets[0].payload_wire), (true, 4));
    }

    #[test]
    fn segments_inside_segments_are_domains_of_their_own() {
        let inner = vxlan(4789, [8, 0, 0, 0, 0, 0, 7, 0], &inner_ethernet());
        let nested = |vni| vxlan(4789, [8, 0, 0, 0, 0, 0, vni, 0], &ethernet(0x0800, &inner));
        let one = assert_only_inner(&nested(1), &["vxlan", "vxlan"]);
        assert_ne!(one.domain, assert_only_inner(&nested(2), &["vxlan", "vxlan"]).domain);
        assert_ne!(one.domain, assert_only_inner(&inner, &["vxlan"]).domain);
    }

    #[test]
    fn nesting_beyond_the_bound_comes_out_as_the_last_carrier() {
        let mut packet = inner_ipv4();
        for _ in 0..12 {
            packet = vxlan(4789, [8, 0, 0, 0, 0, 0, 1, 0], &ethernet(0x0800, &packet));
        }
        let packets = packets_of(&packet);
        assert_eq!((packets.len(), packets[0].dst_port, packets[0].encap.len()), (1, 4789, 8));
    }
}
