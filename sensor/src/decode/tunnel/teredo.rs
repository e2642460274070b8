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

#[cfg(test)]
mod tests {
    use super::super::super::fixtures::*;

    fn teredo(payload: &[u8]) -> Vec<u8> {
        ipv4(17, &udp(3544, 50000, payload))
    }

    #[test]
    fn a_packet_comes_out_behind_any_indications() {
        let origin = [0, 0, 0xcf, 0xc7, 0x3f, 0xff, 0xfd, 0xfe];
        let authentication = [0, 1, 2, 1, b'i', b'd', 0x55, 1, 2, 3, 4, 5, 6, 7, 8, 0];
        assert_only_inner(&teredo(&inner_ipv6()), &["teredo"]);
        assert_only_inner(&teredo(&join(&[&origin, &inner_ipv6()])), &["teredo"]);
        assert_only_inner(&teredo(&join(&[&authentication, &inner_ipv6()])), &["teredo"]);
        assert_only_inner(&teredo(&join(&[&authentication, &origin, &inner_ipv6()])), &["teredo"]);
    }

    #[test]
    fn a_bubble_comes_out_as_its_carrier() {
        let packets = packets_of(&teredo(&ipv6(59, &[])));
        assert_eq!((packets.len(), packets[0].src_port, layers(&packets[0])), (1, 3544, vec!["teredo"]));
    }

    #[test]
    fn anything_else_stays_a_udp_packet() {
        assert_plain(&teredo(&inner_ipv4()), 17);
        assert_plain(&teredo(&join(&[&inner_ipv6(), &[0]])), 17);
        assert_plain(&teredo(&[0, 1, 255, 255]), 17);
        assert_plain(&teredo(&[]), 17);
    }
}
