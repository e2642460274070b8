//! VXLAN (RFC 7348) and VXLAN-GPE (draft-ietf-nvo3-vxlan-gpe). In: a UDP payload of their ports. Out: the packets of
//! the frame inside, in the overlay segment of the VNI.

use super::super::outcome::{Layer, Walked};
use super::super::packet::Packet;
use super::super::region::Region;
use super::super::{Context, Fit, Walk};
use super::{NOT_THIS, be24};

const HEADER: usize = 8;

/// The first byte.
mod flag {
    /// The VNI is valid: always set.
    pub(super) const INSTANCE: u8 = 0x08;
    /// GPE: a next protocol is given.
    pub(super) const NEXT_PROTOCOL: u8 = 0x04;
    /// GPE: operation and maintenance, no packet.
    pub(super) const OAM: u8 = 0x01;
    /// GPE: the version, zero.
    pub(super) const VERSION: u8 = 0x30;
}

/// Next protocols of GPE.
mod next {
    pub(super) const IPV4: u8 = 1;
    pub(super) const IPV6: u8 = 2;
    pub(super) const ETHERNET: u8 = 3;
    pub(super) const MPLS: u8 = 5;
}

impl Walk<'_> {
    /// VXLAN. Reserved bits are not looked at: group policies and vendors use them.
    pub(super) fn vxlan(&mut self, region: Region<'_>, carrier: &mut Packet) -> Walked {
        let header = region.header::<HEADER>(Layer::Vxlan)?;
        if header[0] & flag::INSTANCE == 0 {
            return Err(NOT_THIS);
        }
        carrier.open(Layer::Vxlan)?;
        // Cloud mirrors put frames into VXLAN and cut them to fit.
        let ctx = Context::inside(carrier, Fit::MaybeMirror).in_segment(be24(header, 4));
        self.ethernet(region.after(HEADER, Layer::Vxlan)?, ctx)
    }

    /// VXLAN-GPE.
    pub(super) fn vxlan_gpe(&mut self, region: Region<'_>, carrier: &mut Packet) -> Walked {
        let header = region.header::<HEADER>(Layer::Vxlan)?;
        let flags = header[0];
        if flags & flag::INSTANCE == 0 || flags & (flag::OAM | flag::VERSION) != 0 {
            return Err(NOT_THIS);
        }
        carrier.open(Layer::Vxlan)?;
        let inside = region.after(HEADER, Layer::Vxlan)?;
        let ctx = |fit| Context::inside(carrier, fit).in_segment(be24(header, 4));
        let next = if flags & flag::NEXT_PROTOCOL == 0 { next::ETHERNET } else { header[3] };
        match next {
            next::ETHERNET => self.ethernet(inside, ctx(Fit::MaybeMirror)),
            next::IPV4 => self.ipv4(inside, ctx(Fit::Exact)),
            next::IPV6 => self.ipv6(inside, ctx(Fit::Exact)),
            next::MPLS => self.mpls(inside, ctx(Fit::Exact)),
            _ => Err(NOT_THIS),
        }
    }
}
