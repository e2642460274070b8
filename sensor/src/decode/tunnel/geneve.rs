//! Geneve (RFC 8926). In: a UDP payload of its port. Out: the packets of the frame or IP packet inside, in the overlay
//! segment of the VNI.

use super::super::ethernet::ethertype;
use super::super::outcome::{Layer, Walked};
use super::super::packet::Packet;
use super::super::region::{Region, be16};
use super::super::{Context, Fit, Walk};
use super::{NOT_THIS, be24};

const HEADER: usize = 8;

/// The second byte: a control packet for the tunnel's end, not a packet in the tunnel.
const CONTROL: u8 = 0x80;

impl Walk<'_> {
    /// Geneve.
    pub(super) fn geneve(&mut self, region: Region<'_>, carrier: &mut Packet) -> Walked {
        let header = region.header::<HEADER>(Layer::Geneve)?;
        let version = header[0] >> 6;
        let options_len = usize::from(header[0] & 0x3f) * 4;
        if version != 0 || header[1] & CONTROL != 0 {
            return Err(NOT_THIS);
        }
        let inside = region.after(HEADER + options_len, Layer::Geneve)?;
        carrier.open(Layer::Geneve)?;
        let ctx = |fit| Context::inside(carrier, fit).in_segment(be24(header, 4));
        match be16(header, 2) {
            ethertype::TRANSPARENT_ETHERNET => self.ethernet(inside, ctx(Fit::MaybeMirror)),
            ethertype::IPV4 => self.ipv4(inside, ctx(Fit::Exact)),
            ethertype::IPV6 => self.ipv6(inside, ctx(Fit::Exact)),
            ethertype::MPLS => self.mpls(inside, ctx(Fit::Exact)),
            _ => Err(NOT_THIS),
        }
    }
}
