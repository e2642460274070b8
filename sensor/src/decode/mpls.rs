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
