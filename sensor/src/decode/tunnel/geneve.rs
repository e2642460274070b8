//! Geneve (RFC 8926). In: a UDP payload of its port. Out: the packets of the frame or IP packet inside, in the overlay
//! segment of the VNI.

use super::super::ethernet::ethertype;
use super::super::outcome::{Layer, Walked};
use super::super::packet::Packet;
use super::super::region::{Region, be16};
use super::super::{Context, Fit, Walk};
use super::{NOT_THIS, be24, content};

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
        let kind = be16(header, 2);
        // Some senders say IP and put a frame: it is one if it fills the datagram.
        let kind = match kind {
            ethertype::IPV4 | ethertype::IPV6
                if !content::packet_fits(inside.captured(), inside.wire(), 0)
                    && content::frame_fits(inside.captured(), inside.wire(), 0) =>
            {
                ethertype::TRANSPARENT_ETHERNET
            }
            kind => kind,
        };
        match kind {
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
    use super::super::super::outcome::Why;
    use super::super::super::{Decoded, Decoder, Link, Malformed, Outcome};
    use super::*;

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
    fn a_frame_that_is_called_a_packet_is_found_if_it_fills_the_datagram() {
        let header = [0, 0, 0x08, 0x00, 0, 0, 9, 0];
        assert_only_inner(&geneve(&header, &inner_ethernet()), &["geneve"]);
        assert_plain(&geneve(&header, &join(&[&inner_ethernet(), &[1]])), 17);
    }

    #[test]
    fn a_datagram_whose_other_fragments_contradict_the_first_is_its_carrier() {
        let whole = udp(50000, 6081, &join(&[&[0, 0, 0x65, 0x58, 0, 0, 9, 0], &inner_ethernet()]));
        let mut decoder = Decoder::default();
        let mut out = Decoded::default();
        let mut feed = |flags_offset, bytes: &[u8]| {
            let frame = ethernet(0x0800, &ipv4_fragment(17, flags_offset, bytes));
            let outcome = decoder.decode(Link::Ethernet, &frame, frame.len() as u32, 0, &mut out);
            (outcome, out.packets.to_vec())
        };
        assert_eq!(feed(0x2000, &whole[..24]).0, Outcome::Fragment);
        let (outcome, packets) = feed(3, &whole[24..40]);
        assert_eq!((outcome, layers(&packets[0])), (Outcome::Packets(1), vec!["geneve"]));
        // Without the tunnel's header, and without fragments, it is as malformed as ever.
        let mut other = whole.clone();
        other[11] = 0x59;
        assert_eq!(feed(0x2000, &other[..24]).0, Outcome::Fragment);
        let malformed = Outcome::Malformed(Malformed { layer: Layer::Udp, why: Why::BeyondFrame });
        assert_eq!(feed(3, &whole[24..40]).0, malformed);
        assert_eq!(feed(0x4000, &whole[..40]).0, malformed);
    }

    #[test]
    fn other_versions_control_packets_and_short_options_stay_udp_packets() {
        assert_plain(&geneve(&[0x40, 0, 0x65, 0x58, 0, 0, 9, 0], &inner_ethernet()), 17);
        assert_plain(&geneve(&[0, 0x80, 0x65, 0x58, 0, 0, 9, 0], &inner_ethernet()), 17);
        assert_plain(&geneve(&[0x3f, 0, 0x65, 0x58, 0, 0, 9, 0], &inner_ethernet()), 17);
        assert_plain(&geneve(&[0, 0, 0x12, 0x34, 0, 0, 9, 0], &inner_ethernet()), 17);
    }
}
