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

#[cfg(test)]
mod tests {
    use super::super::super::fixtures::*;

    fn lisp(header: [u8; 8], payload: &[u8]) -> Vec<u8> {
        ipv4(17, &udp(50000, 4341, &join(&[&header, payload])))
    }

    #[test]
    fn a_packet_comes_out_and_an_instance_is_a_domain() {
        let packet = assert_only_inner(&lisp([0xc0, 1, 2, 3, 0, 0, 0, 1], &inner_ipv4()), &["lisp"]);
        assert_eq!(packet.domain, 0);
        let packet = assert_only_inner(&lisp([0x88, 1, 2, 3, 0, 0, 5, 1], &inner_ipv6()), &["lisp"]);
        assert_ne!(packet.domain, 0);
    }

    #[test]
    fn implausible_flags_and_lengths_stay_udp_packets() {
        assert_plain(&lisp([0x20, 1, 2, 3, 0, 0, 0, 1], &inner_ipv4()), 17);
        assert_plain(&lisp([0x90, 1, 2, 3, 0, 0, 0, 1], &inner_ipv4()), 17);
        assert_plain(&lisp([0x81, 1, 2, 3, 0, 0, 0, 1], &inner_ipv4()), 17);
        assert_plain(&lisp([0x80, 1, 2, 3, 0, 0, 0, 1], &join(&[&inner_ipv4(), &[0]])), 17);
    }
}
