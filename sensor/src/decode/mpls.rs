//! MPLS label stacks. In: a region that begins with a label. Out: the walk goes on at IP or, in a pseudowire, at
//! Ethernet. Nothing in MPLS says what it carries, so the first bytes have to (RFC 4928).

use super::ethernet::looks_like_ethernet;
use super::outcome::{Ignored, Layer, Stop, Walked, Why};
use super::region::Region;
use super::{Context, Fit, Walk};

/// Labels of a stack walked at most; hardware handles about ten.
const MAX_LABELS: usize = 16;

/// The bit in a label's third byte that marks the bottom of the stack (RFC 3032 section 2.1).
const BOTTOM: u8 = 0x01;

/// Control word in front of a pseudowire's frame (RFC 4448 section 4.6).
const CONTROL_WORD: usize = 4;

impl Walk<'_> {
    /// A label stack and what it carries.
    pub(super) fn mpls(&mut self, mut region: Region<'_>, ctx: Context) -> Walked {
        let ctx = ctx.entered(Layer::Mpls)?;
        for _ in 0..MAX_LABELS {
            let label = region.header::<4>(Layer::Mpls)?;
            region = region.after(4, Layer::Mpls)?;
            if label[2] & BOTTOM != 0 {
                return self.mpls_payload(region, ctx);
            }
        }
        Err(Stop::malformed(Layer::Mpls, Why::Endless))
    }

    fn mpls_payload(&mut self, region: Region<'_>, ctx: Context) -> Walked {
        // Short frames are padded even where the packet would have to fill its tunnel.
        let frame = Context { fit: Fit::Padded, ..ctx };
        let first = region.header::<1>(Layer::Mpls)?[0];
        match first >> 4 {
            // A MAC address may begin like an IP header: a pseudowire without control word.
            4 if first & 0x0f >= 5 && !is_pseudowire(region) => self.ipv4(region, ctx),
            6 if !is_pseudowire(region) => self.ipv6(region, ctx),
            0 if looks_like_ethernet(region.after(CONTROL_WORD, Layer::Mpls)?) => {
                self.ethernet(region.after(CONTROL_WORD, Layer::Mpls)?, frame)
            }
            _ if looks_like_ethernet(region) => self.ethernet(region, frame),
            _ => Err(Stop::Ignored(Ignored::Mpls)),
        }
    }
}

/// Whether an Ethernet frame with an IP header of the right version behind it explains the bytes.
fn is_pseudowire(region: Region<'_>) -> bool {
    looks_like_ethernet(region)
        && matches!(region.peek::<15>(), Some([.., 0x08, 0x00, 0x45..=0x4f] | [.., 0x86, 0xdd, 0x60..=0x6f]))
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::*;
    use super::super::{Link, Malformed, Outcome};
    use super::*;

    const TWO_LABELS: [u8; 8] = [0x00, 0x01, 0x00, 64, 0x00, 0x02, 0x01, 64];

    #[test]
    fn ip_below_a_label_stack_is_found() {
        for ip in [inner_ipv4(), inner_ipv6()] {
            let packets = packets_in(&ethernet(0x8847, &join(&[&TWO_LABELS, &ip])));
            assert_eq!((packets[0].src_port, layers(&packets[0])), (40000, vec!["mpls"]));
            assert_eq!(packets[0].wire_len as usize, 22 + ip.len());
        }
    }

    #[test]
    fn a_pseudowire_is_found_with_and_without_control_word() {
        let with = join(&[&TWO_LABELS, &[0, 0, 0, 0], &inner_ethernet()]);
        assert_eq!(layers(&packets_in(&ethernet(0x8847, &with))[0]), ["mpls"]);
        let without = join(&[&TWO_LABELS, &inner_ethernet()]);
        assert_eq!(packets_in(&ethernet(0x8847, &without))[0].src_port, 40000);
    }

    #[test]
    fn a_mac_address_that_begins_like_an_ip_header_is_a_mac_address() {
        for first in [0x45, 0x60] {
            let mut frame = inner_ethernet();
            frame[0] = first;
            let packets = packets_in(&ethernet(0x8847, &join(&[&TWO_LABELS, &frame])));
            assert_eq!(packets[0].src_port, 40000, "MAC address {first:02x}:…");
        }
    }

    #[test]
    fn other_payloads_are_ignored_and_an_endless_stack_is_malformed() {
        let channel = join(&[&TWO_LABELS, &[0x10, 0, 0, 7, 1, 2, 3, 4]]);
        assert_eq!(decode(Link::Ethernet, &ethernet(0x8847, &channel)).0, Outcome::Ignored(Ignored::Mpls));
        let endless = [0x00, 0x01, 0x00, 64].repeat(40);
        let malformed = Outcome::Malformed(Malformed { layer: Layer::Mpls, why: Why::Endless });
        assert_eq!(decode(Link::Ethernet, &ethernet(0x8847, &endless)).0, malformed);
        assert_eq!(
            decode(Link::Ethernet, &ethernet(0x8847, &TWO_LABELS)).0,
            Outcome::Malformed(Malformed { layer: Layer::Mpls, why: Why::TooShort })
        );
    }
}
