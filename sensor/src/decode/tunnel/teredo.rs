//! Teredo, IPv6 through NATs (RFC 4380). In: a UDP payload of its port. Out: the IPv6 packet inside.

use super::super::outcome::{Layer, Walked};
use super::super::packet::Packet;
use super::super::region::Region;
use super::super::{Context, Fit, Walk};

/// Indications before the packet (section 5.1.1): authentication, then origin.
mod indication {
    pub(super) const AUTHENTICATION: [u8; 2] = [0, 1];
    /// Its length without identifier and authentication value: type, two lengths, nonce, confirmation.
    pub(super) const AUTHENTICATION_LEN: usize = 2 + 1 + 1 + 8 + 1;
    pub(super) const ORIGIN: [u8; 2] = [0, 0];
    pub(super) const ORIGIN_LEN: usize = 2 + 2 + 4;
}

impl Walk<'_> {
    /// Teredo.
    pub(super) fn teredo(&mut self, region: Region<'_>, carrier: &mut Packet) -> Walked {
        let mut inside = region;
        if inside.peek() == Some(&indication::AUTHENTICATION) {
            let [_, _, id_len, value_len] = *inside.header::<4>(Layer::Teredo)?;
            let len = indication::AUTHENTICATION_LEN + usize::from(id_len) + usize::from(value_len);
            inside = inside.after(len, Layer::Teredo)?;
        }
        if inside.peek() == Some(&indication::ORIGIN) {
            inside = inside.after(indication::ORIGIN_LEN, Layer::Teredo)?;
        }
        carrier.open(Layer::Teredo)?;
        self.ipv6(inside, Context::inside(carrier, Fit::Exact))
    }
}
