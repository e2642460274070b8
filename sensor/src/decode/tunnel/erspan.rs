//! ERSPAN, a span port in GRE (draft-foschiano-erspan-03). In: what follows the GRE header. Out: the packets of the
//! mirrored frame, which the mirror may have cut.

use super::super::outcome::{Ignored, Layer, Stop, Walked};
use super::super::packet::Packet;
use super::super::region::Region;
use super::super::{Context, Fit, Walk};

const TYPE_II_HEADER: usize = 8;
const TYPE_III_HEADER: usize = 12;
const TYPE_III_SUBHEADER: usize = 8;

/// The version nibble: type I has no header, types II and III count from one.
mod version {
    pub(super) const TYPE_II: u8 = 1;
    pub(super) const TYPE_III: u8 = 2;
}

/// Frame types of ERSPAN III.
mod frame_type {
    pub(super) const ETHERNET: u8 = 0;
    pub(super) const IP: u8 = 2;
}

impl Walk<'_> {
    /// ERSPAN I, which has no sequence number and no header, or II.
    pub(super) fn erspan(&mut self, rest: Region<'_>, sequenced: bool, carrier: &mut Packet) -> Walked {
        carrier.open(Layer::Erspan)?;
        let mut frame = rest;
        if sequenced {
            let header = rest.header::<TYPE_II_HEADER>(Layer::Erspan)?;
            if header[0] >> 4 != version::TYPE_II {
                return Err(Stop::Ignored(Ignored::NonIp));
            }
            frame = rest.after(TYPE_II_HEADER, Layer::Erspan)?;
        }
        self.ethernet(frame, Context::inside(carrier, Fit::Mirror))
    }

    /// ERSPAN III.
    pub(super) fn erspan_iii(&mut self, rest: Region<'_>, carrier: &mut Packet) -> Walked {
        carrier.open(Layer::Erspan)?;
        let header = rest.header::<TYPE_III_HEADER>(Layer::Erspan)?;
        if header[0] >> 4 != version::TYPE_III {
            return Err(Stop::Ignored(Ignored::NonIp));
        }
        let mut frame = rest.after(TYPE_III_HEADER, Layer::Erspan)?;
        let has_subheader = header[11] & 1 != 0;
        if has_subheader {
            frame = frame.after(TYPE_III_SUBHEADER, Layer::Erspan)?;
        }
        let ctx = Context::inside(carrier, Fit::Mirror);
        match header[10] >> 2 & 0x1f {
            frame_type::ETHERNET => self.ethernet(frame, ctx),
            frame_type::IP => self.ip(frame, ctx),
            _ => Err(Stop::Ignored(Ignored::NonIp)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::fixtures::*;
    use super::super::super::{Link, Outcome};

    fn gre(header: &[u8], payload: &[u8]) -> Vec<u8> {
        ipv4(47, &join(&[header, payload]))
    }

    const TYPE_I: [u8; 4] = [0, 0, 0x88, 0xbe];
    const TYPE_II: [u8; 16] = [0x10, 0, 0x88, 0xbe, 0, 0, 0, 1, 0x10, 5, 0x08, 0x64, 0, 0, 0, 1];

    fn type_iii(frame_type: u8, subheader: bool) -> Vec<u8> {
        let last = [frame_type << 2, u8::from(subheader)];
        let header =
            join(&[&[0x10, 0, 0x22, 0xeb, 0, 0, 0, 1, 0x20, 5, 0x08, 0x64, 0, 0, 0, 1, 0, 0], &last]);
        if subheader { join(&[&header, &[0x10, 0, 0, 0, 0, 0, 0, 0]]) } else { header }
    }

    #[test]
    fn the_three_types_yield_the_mirrored_packet() {
        assert_only_inner(&gre(&TYPE_I, &inner_ethernet()), &["gre", "erspan"]);
        assert_only_inner(&gre(&TYPE_II, &inner_ethernet()), &["gre", "erspan"]);
        assert_only_inner(&gre(&type_iii(0, false), &inner_ethernet()), &["gre", "erspan"]);
        assert_only_inner(&gre(&type_iii(0, true), &inner_ethernet()), &["gre", "erspan"]);
        assert_only_inner(&gre(&type_iii(2, false), &inner_ipv6()), &["gre", "erspan"]);
    }

    #[test]
    fn a_frame_that_the_mirror_cut_is_decoded_as_far_as_it_goes() {
        let mirrored = ethernet(0x0800, &ipv4(6, &tcp(40000, 22, &[7; 1000])));
        let packets = packets_of(&gre(&TYPE_II, &mirrored[..128]));
        assert_eq!((packets[0].payload_len, packets[0].payload_wire), (128 - 14 - 40, 1000));
        assert_eq!(packets[0].wire_len, 1040);
    }

    #[test]
    fn vlan_tags_of_the_frame_and_of_the_mirrored_one_are_kept() {
        let tagged = join(&[&inner_ethernet()[..12], &[0x81, 0, 0, 7], &inner_ethernet()[12..]]);
        let outer = ethernet(0x8100, &join(&[&[0, 5, 8, 0], &gre(&TYPE_II, &tagged)]));
        let packets = packets_in(&outer);
        assert_inner(&packets[0], &["vlan", "gre", "erspan", "vlan"]);
        assert_eq!(packets[0].vlan, [5, 7]);
    }

    #[test]
    fn a_mirrored_frame_without_ip_comes_out_as_its_carrier() {
        let packets = packets_of(&gre(&TYPE_II, &arp()));
        assert_eq!((packets.len(), packets[0].proto, layers(&packets[0])), (1, 47, vec!["gre", "erspan"]));
        let (outcome, packets) = decode(Link::RawIp, &gre(&type_iii(7, false), &[1, 2, 3, 4]));
        assert_eq!(outcome, Outcome::Packets(1));
        assert_eq!(layers(&packets[0]), ["gre", "erspan"]);
    }
}
