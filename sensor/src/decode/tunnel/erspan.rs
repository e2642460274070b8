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
