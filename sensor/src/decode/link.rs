//! Link types of captures. In: a DLT number, then frames of that link. Out: the walk goes on at Ethernet, IP or PPP.

use super::outcome::{Ignored, Layer, Stop, Walked};
use super::region::{Region, be16};
use super::{Context, Walk};

/// What a capture's frames begin with (libpcap's link-type registry, <https://www.tcpdump.org/linktypes.html>).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Link {
    /// Ethernet (1).
    Ethernet,
    /// An IPv4 or IPv6 header (12, 14, 101, 228, 229).
    RawIp,
    /// BSD null: an address family in the byte order of the capturing host (0).
    Null,
    /// OpenBSD loopback: an address family in network order (108).
    Loop,
    /// Linux cooked capture (113).
    Sll,
    /// Linux cooked capture, version 2 (276).
    Sll2,
    /// PPP with or without HDLC-like framing (9, 50).
    Ppp,
    /// Any other, with its number (65,535 for all above that).
    Unsupported(u16),
}

impl Link {
    /// The link type of a DLT or LINKTYPE number.
    pub fn from_dlt(dlt: u32) -> Self {
        match dlt {
            0 => Self::Null,
            1 => Self::Ethernet,
            9 | 50 => Self::Ppp,
            12 | 14 | 101 | 228 | 229 => Self::RawIp,
            108 => Self::Loop,
            113 => Self::Sll,
            276 => Self::Sll2,
            other => Self::Unsupported(u16::try_from(other).unwrap_or(u16::MAX)),
        }
    }

    /// The LINKTYPE number a capture file would carry.
    pub fn dlt(self) -> u32 {
        match self {
            Self::Null => 0,
            Self::Ethernet => 1,
            Self::Ppp => 9,
            Self::RawIp => 101,
            Self::Loop => 108,
            Self::Sll => 113,
            Self::Sll2 => 276,
            Self::Unsupported(other) => other.into(),
        }
    }
}

/// Address families as BSD systems number them; IPv6 has a number per system (Linux 10, NetBSD and OpenBSD 24,
/// FreeBSD 28, macOS 30).
mod family {
    pub(super) const INET: u32 = 2;
    pub(super) const INET6: [u32; 4] = [10, 24, 28, 30];
}

/// Hardware types of Linux cooked captures whose protocol field is no EtherType (`if_arp.h`).
mod arphrd {
    pub(super) const NETLINK: u16 = 824;
    pub(super) const IEEE80211: u16 = 801;
    pub(super) const IEEE80211_RADIOTAP: u16 = 803;
    pub(super) const FRAD: u16 = 770;
}

/// Protocol values of Linux cooked captures below the EtherTypes (`if_ether.h`).
mod sll_protocol {
    pub(super) const NOVELL_RAW: u16 = 1;
    pub(super) const LLC: u16 = 4;
}

impl Walk<'_> {
    /// A frame of any link type but Ethernet.
    pub(super) fn link(&mut self, link: Link, region: Region<'_>) -> Walked {
        match link {
            Link::Ethernet => self.ethernet(region, Context::FRAME),
            Link::RawIp => self.ip(region, Context::FRAME),
            Link::Ppp => self.ppp_link(region, Context::FRAME),
            Link::Null => {
                let header = region.header::<4>(Layer::Null)?;
                // Families are small numbers: the order that makes one is the capturing host's.
                let family = u32::from_be_bytes(*header).min(u32::from_le_bytes(*header));
                self.family(family, region.after(4, Layer::Null)?)
            }
            Link::Loop => {
                let header = region.header::<4>(Layer::Null)?;
                self.family(u32::from_be_bytes(*header), region.after(4, Layer::Null)?)
            }
            Link::Sll => {
                let header = region.header::<16>(Layer::Sll)?;
                self.cooked(be16(header, 2), be16(header, 14), region.after(16, Layer::Sll)?)
            }
            Link::Sll2 => {
                let header = region.header::<20>(Layer::Sll2)?;
                self.cooked(be16(header, 8), be16(header, 0), region.after(20, Layer::Sll2)?)
            }
            Link::Unsupported(_) => Err(Stop::Ignored(Ignored::UnsupportedLink)),
        }
    }

    fn family(&mut self, family: u32, region: Region<'_>) -> Walked {
        match family {
            family::INET => self.ipv4(region, Context::FRAME),
            inet6 if family::INET6.contains(&inet6) => self.ipv6(region, Context::FRAME),
            _ => Err(Stop::Ignored(Ignored::NonIp)),
        }
    }

    fn cooked(&mut self, hardware: u16, protocol: u16, region: Region<'_>) -> Walked {
        match (hardware, protocol) {
            (arphrd::NETLINK | arphrd::FRAD | arphrd::IEEE80211..=arphrd::IEEE80211_RADIOTAP, _) => {
                Err(Stop::Ignored(Ignored::NonIp))
            }
            (_, sll_protocol::LLC) => self.llc(region, Context::FRAME),
            (_, sll_protocol::NOVELL_RAW) => Err(Stop::Ignored(Ignored::Llc)),
            (_, ethertype) => self.ethertype(ethertype, region, Context::FRAME),
        }
    }
}
