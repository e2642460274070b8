//! Geneve (RFC 8926). In: a UDP payload of its port. Out: the packets of the frame or IP packet inside, in the overlay
//! segment of the VNI.

use super::super::ethernet::ethertype;
use super::super::outcome::{Layer, Walked};
use super::super::packet::Packet;
use super::super::region::{Region, be16};
use super::super::{Context, Fit, Walk};
use super::{NOT_THIS, be24};

const HEADER: usize = 8;

/// The second byte: a control packet for the tunnel's end, not a packet in the tunnel.
const CONTROL: u8 = 0x80;

impl Walk<'_> {
    /// Geneve.
    pub(super) fn geneve(&mut self, region: Region<'_>, carrier: &mut Packet) -> Walked {
        let header = region.header::<HEADER>(Layer::Geneve)?;
        let version = header[0] >> 6;
        let options_len = usize::from(header[0] & 0x3f) * 4;
        if version != 0 || header[1] & CONTROL != 0 {
            return Err(NOT_THIS);
        }
        let inside = region.after(HEADER + options_len, Layer::Geneve)?;
        carrier.open(Layer::Geneve)?;
        let ctx = |fit| Context::inside(carrier, fit).in_segment(be24(header, 4));
        match be16(header, 2) {
            ethertype::TRANSPARENT_ETHERNET => self.ethernet(inside, ctx(Fit::MaybeMirror)),
            ethertype::IPV4 => self.ipv4(inside, ctx(Fit::Exact)),
            ethertype::IPV6 => self.ipv6(inside, ctx(Fit::Exact)),
            ethertype::MPLS => self.mpls(inside, ctx(Fit::Exact)),
            _ => Err(NOT_THIS),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::fixtures::*;

    fn geneve(header: &[u8], payload: &[u8]) -> Vec<u8> {
        ipv4(17, &udp(50000, 6081, &join(&[header, payload])))
    }

    #[test]
    fn frames_and_ip_packets_come_out_in_the_segment_of_the_vni() {
        let one = assert_only_inner(&geneve(&[0, 0, 0x65, 0x58, 0, 0, 9, 0], &inner_ethernet()), &["geneve"]);
        let other = assert_only_inner(&geneve(&[0, 0, 0x08, 0x00, 0, 0, 8, 0], &inner_ipv4()), &["geneve"]);
        assert_only_inner(&geneve(&[0, 0, 0x86, 0xdd, 0, 0, 9, 0], &inner_ipv6()), &["geneve"]);
        assert!(one.domain != 0 && one.domain != other.domain);
    }

    #[test]
    fn options_are_stepped_over() {
        let header = [2, 0x40, 0x65, 0x58, 0, 0, 9, 0, 1, 1, 0x80, 1, 0xde, 0xad, 0xbe, 0xef];
        assert_only_inner(&geneve(&header, &inner_ethernet()), &["geneve"]);
    }

    #[test]
    fn other_versions_control_packets_and_short_options_stay_udp_packets() {
        assert_plain(&geneve(&[0x40, 0, 0x65, 0x58, 0, 0, 9, 0], &inner_ethernet()), 17);
        assert_plain(&geneve(&[0, 0x80, 0x65, 0x58, 0, 0, 9, 0], &inner_ethernet()), 17);
        assert_plain(&geneve(&[0x3f, 0, 0x65, 0x58, 0, 0, 9, 0], &inner_ethernet()), 17);
        assert_plain(&geneve(&[0, 0, 0x12, 0x34, 0, 0, 9, 0], &inner_ethernet()), 17);
    }
}
