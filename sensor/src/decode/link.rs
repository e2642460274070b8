//! Link types of captures. In: a DLT number, then frames of that link. Out: the walk goes on at Ethernet, IP or PPP.

use super::ethernet::MAX_8023_LENGTH;
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
            // Linux' other numbers below the EtherTypes (CAN, IrDA, DSA…); not IEEE 802.3 lengths here.
            (_, 0..=MAX_8023_LENGTH) => Err(Stop::Ignored(Ignored::NonIp)),
            (_, ethertype) => self.ethertype(ethertype, region, Context::FRAME),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::*;
    use super::super::{Malformed, Outcome, Why};
    use super::*;

    fn assert_direct(link: Link, frame: &[u8], payload_at: u32) {
        let (outcome, packets) = decode(link, frame);
        assert_eq!(outcome, Outcome::Packets(1), "{link:?}");
        assert_eq!((packets[0].src_port, packets[0].payload_at), (40000, payload_at), "{link:?}");
        assert_eq!(packets[0].wire_len as usize, frame.len(), "the frame's length is accounted");
    }

    #[test]
    fn every_link_type_leads_to_its_packet() {
        let (v4, v6) = (inner_ipv4(), inner_ipv6());
        assert_direct(Link::Ethernet, &ethernet(0x0800, &v4), 14 + 40);
        assert_direct(Link::RawIp, &v4, 40);
        assert_direct(Link::RawIp, &v6, 60);
        assert_direct(Link::Null, &join(&[&[2, 0, 0, 0], &v4]), 44);
        assert_direct(Link::Null, &join(&[&[0, 0, 0, 2], &v4]), 44);
        for family in [10, 24, 28, 30] {
            assert_direct(Link::Null, &join(&[&[family, 0, 0, 0], &v6]), 64);
            assert_direct(Link::Null, &join(&[&[0, 0, 0, family], &v6]), 64);
            assert_direct(Link::Loop, &join(&[&[0, 0, 0, family], &v6]), 64);
        }
        assert_direct(Link::Loop, &join(&[&[0, 0, 0, 2], &v4]), 44);
        assert_direct(Link::Sll, &join(&[&[0, 0, 0, 1, 0, 6, 0, 0, 0x5e, 0, 0x53, 1, 0, 0, 8, 0], &v4]), 56);
        let sll2 = [0x86, 0xdd, 0, 0, 0, 0, 0, 2, 0, 1, 4, 6, 0, 0, 0x5e, 0, 0x53, 1, 0, 0];
        assert_direct(Link::Sll2, &join(&[&sll2, &v6]), 80);
        assert_direct(Link::Ppp, &join(&[&[0xff, 0x03, 0x00, 0x21], &v4]), 44);
        assert_direct(Link::Ppp, &join(&[&[0x21], &v4]), 41);
        assert_direct(Link::Ppp, &join(&[&[0x0f, 0x00, 0x08, 0x00], &v4]), 44);
    }

    #[test]
    fn a_cooked_frame_may_be_tagged_or_no_ip_at_all() {
        let sll = |hardware: [u8; 2], rest: &[u8]| {
            join(&[&[0, 0], &hardware, &[0, 6, 0, 0, 0x5e, 0, 0x53, 1, 0, 0], rest])
        };
        let (_, packets) = decode(Link::Sll, &sll([0, 1], &join(&[&[0x81, 0, 0, 5, 8, 0], &inner_ipv4()])));
        assert_eq!((packets[0].vlan, layers(&packets[0])), ([5, 0], vec!["vlan"]));
        let netlink = sll([0x03, 0x38], &join(&[&[8, 0], &inner_ipv4()]));
        assert_eq!(decode(Link::Sll, &netlink).0, Outcome::Ignored(Ignored::NonIp));
        let can = sll([0x01, 0x18], &[0, 0x0c, 0x42, 0x42, 3, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8]);
        assert_eq!(decode(Link::Sll, &can).0, Outcome::Ignored(Ignored::NonIp));
        let spanning_tree = sll([0, 1], &[0, 4, 0x42, 0x42, 3, 0, 0, 0]);
        assert_eq!(decode(Link::Sll, &spanning_tree).0, Outcome::Ignored(Ignored::Stp));
    }

    #[test]
    fn unknown_links_and_families_are_ignored() {
        assert_eq!(decode(Link::Unsupported(147), &[1; 60]).0, Outcome::Ignored(Ignored::UnsupportedLink));
        assert_eq!(decode(Link::Null, &[7, 0, 0, 0, 1, 2, 3, 4]).0, Outcome::Ignored(Ignored::NonIp));
    }

    #[test]
    fn a_frame_shorter_than_its_link_header_is_malformed() {
        let short = |layer| Outcome::Malformed(Malformed { layer, why: Why::TooShort });
        assert_eq!(decode(Link::Ethernet, &[0; 13]).0, short(Layer::Ethernet));
        assert_eq!(decode(Link::Sll, &[0; 15]).0, short(Layer::Sll));
        assert_eq!(decode(Link::Sll2, &[0; 19]).0, short(Layer::Sll2));
        assert_eq!(decode(Link::Null, &[0; 3]).0, short(Layer::Null));
        assert_eq!(decode(Link::Ppp, &[0x00]).0, short(Layer::Ppp));
        assert_eq!(decode(Link::RawIp, &[]).0, short(Layer::Ipv4));
    }

    #[test]
    fn numbers_and_links_agree() {
        for dlt in [0, 1, 9, 101, 108, 113, 276, 147] {
            assert_eq!(Link::from_dlt(dlt).dlt(), dlt);
        }
        for raw in [12, 14, 101, 228, 229] {
            assert_eq!(Link::from_dlt(raw), Link::RawIp);
        }
        assert_eq!(Link::from_dlt(50), Link::Ppp);
        assert_eq!(Link::from_dlt(1 << 20), Link::Unsupported(u16::MAX));
    }
}
