//! LISP data (RFC 9300). In: a UDP payload of its data port. Out: the IP packet inside, in the overlay segment of the
//! instance identifier if there is one.

use super::super::outcome::{Layer, Walked};
use super::super::packet::Packet;
use super::super::region::Region;
use super::super::{Context, Fit, Walk};
use super::{NOT_THIS, be24};

const HEADER: usize = 8;

/// The first byte (section 5.3).
mod flag {
    pub(super) const NONCE: u8 = 0x80;
    pub(super) const ECHO_NONCE: u8 = 0x20;
    pub(super) const MAP_VERSION: u8 = 0x10;
    pub(super) const INSTANCE: u8 = 0x08;
    /// The reserved bit and the two that tell the payload is encrypted.
    pub(super) const RESERVED_OR_ENCRYPTED: u8 = 0x07;
}

impl Walk<'_> {
    /// LISP data.
    pub(super) fn lisp(&mut self, region: Region<'_>, carrier: &mut Packet) -> Walked {
        let header = region.header::<HEADER>(Layer::Lisp)?;
        let has = |flag| header[0] & flag != 0;
        // An echo is asked for a nonce; a map version takes the nonce's place.
        if has(flag::RESERVED_OR_ENCRYPTED)
            || has(flag::ECHO_NONCE) && !has(flag::NONCE)
            || has(flag::MAP_VERSION) && has(flag::NONCE)
        {
            return Err(NOT_THIS);
        }
        carrier.open(Layer::Lisp)?;
        let mut ctx = Context::inside(carrier, Fit::Exact);
        if has(flag::INSTANCE) {
            ctx = ctx.in_segment(be24(header, 4));
        }
        self.ip(region.after(HEADER, Layer::Lisp)?, ctx)
    }
}
