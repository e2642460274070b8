//! PPP: on its own link, in PPPoE, and inside tunnels. In: a region that begins with a PPPoE header, an HDLC-like
//! frame or a PPP protocol field. Out: the walk goes on at IP.

use super::outcome::{Ignored, Layer, Stop, Walked, Why};
use super::region::{Region, be16};
use super::{Context, Walk};

const PPPOE_HEADER: usize = 6;

/// Version 1, type 1 (RFC 2516 section 4).
const PPPOE_VERSION_TYPE: u8 = 0x11;

/// Code of session data.
const PPPOE_SESSION_DATA: u8 = 0;

/// Address and control field of HDLC-like framing (RFC 1662 section 3.1).
const HDLC: [u8; 2] = [0xff, 0x03];

/// Addresses of Cisco's HDLC, unicast and multicast, which serial captures hold as well: an EtherType follows.
const CISCO_HDLC: [[u8; 2]; 2] = [[0x0f, 0x00], [0x8f, 0x00]];

/// PPP protocol numbers (IANA "PPP Numbers").
mod protocol {
    pub(super) const IPV4: u16 = 0x0021;
    pub(super) const IPV6: u16 = 0x0057;
    pub(super) const COMPRESSED_LINK: u16 = 0x00fb;
    pub(super) const COMPRESSED: u16 = 0x00fd;
    pub(super) const ENCRYPTED_LINK: u16 = 0x0055;
    pub(super) const ENCRYPTED: u16 = 0x0053;
    pub(super) const MPLS: u16 = 0x0281;
    /// From here on protocols carry control, not data (RFC 1661 section 2).
    pub(super) const CONTROL: u16 = 0x4000;
}

impl Walk<'_> {
    /// A PPPoE session frame (RFC 2516).
    pub(super) fn pppoe(&mut self, region: Region<'_>, ctx: Context) -> Walked {
        let header = region.header::<PPPOE_HEADER>(Layer::Pppoe)?;
        if header[0] != PPPOE_VERSION_TYPE {
            return Err(Stop::malformed(Layer::Pppoe, Why::Version));
        }
        if header[1] != PPPOE_SESSION_DATA {
            return Err(Stop::Ignored(Ignored::PppoeDiscovery));
        }
        let len = usize::from(be16(header, 4));
        let region = region.after(PPPOE_HEADER, Layer::Pppoe)?;
        if len > region.wire() {
            return Err(Stop::malformed(Layer::Pppoe, Why::BeyondFrame));
        }
        self.ppp(region.of_length(len), ctx.entered(Layer::Pppoe)?)
    }

    /// A frame of a PPP link.
    pub(super) fn ppp_link(&mut self, region: Region<'_>, ctx: Context) -> Walked {
        let start = *region.header::<2>(Layer::Ppp)?;
        if CISCO_HDLC.contains(&start) {
            let header = region.header::<4>(Layer::Ppp)?;
            return self.ethertype(be16(header, 2), region.after(4, Layer::Ppp)?, ctx);
        }
        self.ppp(region, ctx)
    }

    /// A PPP protocol field, after an address and control field if there is one, and what follows.
    pub(super) fn ppp(&mut self, mut region: Region<'_>, ctx: Context) -> Walked {
        if region.peek::<2>() == Some(&HDLC) {
            region = region.after(2, Layer::Ppp)?;
        }
        let first = region.header::<1>(Layer::Ppp)?[0];
        // Protocol-field compression: only the last byte of a number is odd (RFC 1661 section 6.5).
        let (number, len) = if first & 1 != 0 {
            (u16::from(first), 1)
        } else {
            (u16::from_be_bytes(*region.header::<2>(Layer::Ppp)?), 2)
        };
        let region = region.after(len, Layer::Ppp)?;
        match number {
            protocol::IPV4 => self.ipv4(region, ctx),
            protocol::IPV6 => self.ipv6(region, ctx),
            protocol::MPLS => self.mpls(region, ctx),
            protocol::COMPRESSED
            | protocol::COMPRESSED_LINK
            | protocol::ENCRYPTED
            | protocol::ENCRYPTED_LINK => Err(Stop::Ignored(Ignored::Opaque)),
            protocol::CONTROL.. => Err(Stop::Ignored(Ignored::PppControl)),
            _ => Err(Stop::Ignored(Ignored::NonIp)),
        }
    }
}
