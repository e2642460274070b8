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
