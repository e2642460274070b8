//! AYIYA, IPv6 tunnel brokers' "anything in anything" (draft-massar-v6ops-ayiya-02). In: a UDP payload of its port.
//! Out: the IPv6 packet inside.

use super::super::outcome::{Layer, Walked};
use super::super::packet::Packet;
use super::super::region::Region;
use super::super::{Context, Fit, Walk};
use super::NOT_THIS;

const HEADER: usize = 8;

/// The operation that carries a packet.
const FORWARD: u8 = 1;

/// IP protocol number of the packet inside.
const NEXT_IPV6: u8 = 41;

impl Walk<'_> {
    /// AYIYA.
    pub(super) fn ayiya(&mut self, region: Region<'_>, carrier: &mut Packet) -> Walked {
        let header = region.header::<HEADER>(Layer::Ayiya)?;
        let identity_len = 1 << (header[0] >> 4);
        let signature_len = usize::from(header[1] >> 4) * 4;
        if header[2] & 0x0f != FORWARD || header[3] != NEXT_IPV6 {
            return Err(NOT_THIS);
        }
        let inside = region.after(HEADER + identity_len + signature_len, Layer::Ayiya)?;
        carrier.open(Layer::Ayiya)?;
        self.ipv6(inside, Context::inside(carrier, Fit::Exact))
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::fixtures::*;

    fn ayiya(header: [u8; 8], identity_and_signature: &[u8], payload: &[u8]) -> Vec<u8> {
        ipv4(17, &udp(50000, 5072, &join(&[&header, identity_and_signature, payload])))
    }

    /// Identity of 16 bytes, SHA-1 signature, shared secret, forward, IPv6.
    const HEADER: [u8; 8] = [0x41, 0x52, 0x11, 41, 0x50, 0, 0, 0];

    #[test]
    fn a_packet_comes_out_behind_identity_and_signature() {
        assert_only_inner(&ayiya(HEADER, &[0xaa; 36], &inner_ipv6()), &["ayiya"]);
    }

    #[test]
    fn other_operations_and_lengths_stay_udp_packets() {
        assert_plain(&ayiya([0x41, 0x52, 0x10, 41, 0x50, 0, 0, 0], &[0xaa; 36], &inner_ipv6()), 17);
        assert_plain(&ayiya([0x41, 0x52, 0x11, 59, 0x50, 0, 0, 0], &[0xaa; 36], &inner_ipv6()), 17);
        assert_plain(&ayiya(HEADER, &[0xaa; 40], &inner_ipv6()), 17);
        assert_plain(&ayiya([0xf1, 0x52, 0x11, 41, 0x50, 0, 0, 0], &[0xaa; 36], &inner_ipv6()), 17);
    }
}
