//! Addresses that no database can place: private, reserved and documentation ranges, and IPv6 addresses that carry
//! an IPv4 one.
//!
//! Source: the IANA IPv4 and IPv6 Special-Purpose Address Registries.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{Class, Net};

/// A special-purpose range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Special {
    pub(super) net: Net,
    pub(super) class: Class,
    /// `special:rfc1918` and so on.
    pub(super) basis: &'static str,
}

type V4Row = ([u8; 4], u8, Class, &'static str);
type V6Row = ([u16; 8], u8, Class, &'static str);

/// Longest prefix first where rows overlap.
const V4: [V4Row; 16] = [
    ([0, 0, 0, 0], 8, Class::Unknown, "special:this-network"),
    ([10, 0, 0, 0], 8, Class::Private, "special:rfc1918"),
    ([100, 64, 0, 0], 10, Class::Private, "special:cgnat"),
    ([127, 0, 0, 0], 8, Class::Private, "special:loopback"),
    ([169, 254, 0, 0], 16, Class::Private, "special:link-local"),
    ([172, 16, 0, 0], 12, Class::Private, "special:rfc1918"),
    ([192, 0, 0, 0], 24, Class::Unknown, "special:ietf-protocol"),
    ([192, 0, 2, 0], 24, Class::Unknown, "special:documentation"),
    ([192, 168, 0, 0], 16, Class::Private, "special:rfc1918"),
    ([198, 18, 0, 0], 15, Class::Unknown, "special:benchmarking"),
    ([198, 51, 100, 0], 24, Class::Unknown, "special:documentation"),
    ([203, 0, 113, 0], 24, Class::Unknown, "special:documentation"),
    ([224, 0, 0, 0], 4, Class::Unknown, "special:multicast"),
    ([255, 255, 255, 255], 32, Class::Unknown, "special:broadcast"),
    ([240, 0, 0, 0], 4, Class::Unknown, "special:reserved"),
    ([192, 88, 99, 0], 24, Class::Unknown, "special:6to4-relay"),
];

const V6: [V6Row; 10] = [
    ([0, 0, 0, 0, 0, 0, 0, 0], 128, Class::Unknown, "special:unspecified"),
    ([0, 0, 0, 0, 0, 0, 0, 1], 128, Class::Private, "special:loopback"),
    ([0x64, 0xff9b, 1, 0, 0, 0, 0, 0], 48, Class::Private, "special:local-nat64"),
    ([0x100, 0, 0, 0, 0, 0, 0, 0], 64, Class::Unknown, "special:discard"),
    ([0x2001, 2, 0, 0, 0, 0, 0, 0], 48, Class::Unknown, "special:benchmarking"),
    ([0x2001, 0xdb8, 0, 0, 0, 0, 0, 0], 32, Class::Unknown, "special:documentation"),
    ([0x3fff, 0, 0, 0, 0, 0, 0, 0], 20, Class::Unknown, "special:documentation"),
    ([0xfc00, 0, 0, 0, 0, 0, 0, 0], 7, Class::Private, "special:ula"),
    ([0xfe80, 0, 0, 0, 0, 0, 0, 0], 10, Class::Private, "special:link-local"),
    ([0xff00, 0, 0, 0, 0, 0, 0, 0], 8, Class::Unknown, "special:multicast"),
];

/// The special-purpose range that contains `ip`.
pub(super) fn find(ip: IpAddr) -> Option<Special> {
    let rows = |net: Option<Net>, class, basis| {
        net.filter(|net| net.contains(ip)).map(|net| Special { net, class, basis })
    };
    match ip {
        // Most addresses are ordinary: what these first bytes rule out need not be compared row by row.
        IpAddr::V4(v4)
            if !matches!(v4.octets()[0], 0 | 10 | 100 | 127 | 169 | 172 | 192 | 198 | 203 | 224..) =>
        {
            None
        }
        IpAddr::V4(_) => V4.iter().find_map(|&(addr, len, class, basis)| {
            rows(Net::new(Ipv4Addr::from(addr).into(), len), class, basis)
        }),
        IpAddr::V6(_) => V6.iter().find_map(|&(addr, len, class, basis)| {
            rows(Net::new(Ipv6Addr::from(addr).into(), len), class, basis)
        }),
    }
}

/// An IPv4 address inside an IPv6 one, and how it is carried.
pub(super) fn embedded_v4(ip: Ipv6Addr) -> Option<(Ipv4Addr, Carrier)> {
    let [a, b, c, d, e, f, g, h] = ip.segments();
    let v4 = |high: u16, low: u16| Ipv4Addr::from(u32::from(high) << 16 | u32::from(low));
    match (a, b) {
        (0, 0) if (c, d, e, f) == (0, 0, 0, 0xffff) => Some((v4(g, h), Carrier::Mapped)),
        (0x64, 0xff9b) if (c, d, e, f) == (0, 0, 0, 0) => Some((v4(g, h), Carrier::Nat64)),
        (0x2002, _) => Some((v4(b, c), Carrier::SixToFour)),
        (0x2001, 0) => Some((v4(!g, !h), Carrier::Teredo)),
        _ => None,
    }
}

/// How an IPv6 address carries an IPv4 one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Carrier {
    /// `::ffff:0:0/96`, RFC 4291: another spelling of the IPv4 address.
    Mapped,
    /// `64:ff9b::/96`, RFC 6052.
    Nat64,
    /// `2002::/16`, RFC 3056.
    SixToFour,
    /// `2001::/32`, RFC 4380: the client's address behind its NAT, inverted.
    Teredo,
}

impl Carrier {
    /// What the basis says before the basis of the IPv4 answer.
    pub(super) fn note(self) -> Option<&'static str> {
        match self {
            Self::Mapped => None,
            Self::Nat64 => Some("nat64"),
            Self::SixToFour => Some("6to4"),
            Self::Teredo => Some("teredo"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().expect(text)
    }

    #[test]
    fn first_and_last_address_of_each_range_is_special_and_its_neighbours_are_not() {
        for (first, last, basis) in [
            ("10.0.0.0", "10.255.255.255", "special:rfc1918"),
            ("172.16.0.0", "172.31.255.255", "special:rfc1918"),
            ("192.168.0.0", "192.168.255.255", "special:rfc1918"),
            ("100.64.0.0", "100.127.255.255", "special:cgnat"),
            ("127.0.0.0", "127.255.255.255", "special:loopback"),
            ("169.254.0.0", "169.254.255.255", "special:link-local"),
            ("192.0.2.0", "192.0.2.255", "special:documentation"),
            ("198.51.100.0", "198.51.100.255", "special:documentation"),
            ("203.0.113.0", "203.0.113.255", "special:documentation"),
            ("198.18.0.0", "198.19.255.255", "special:benchmarking"),
            ("224.0.0.0", "239.255.255.255", "special:multicast"),
            ("240.0.0.0", "255.255.255.254", "special:reserved"),
            ("255.255.255.255", "255.255.255.255", "special:broadcast"),
            ("::1", "::1", "special:loopback"),
            ("fc00::", "fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "special:ula"),
            ("fe80::", "febf:ffff::", "special:link-local"),
            ("ff00::", "ffff::", "special:multicast"),
            ("2001:db8::", "2001:db8:ffff::", "special:documentation"),
        ] {
            for text in [first, last] {
                assert_eq!(find(ip(text)).map(|s| s.basis), Some(basis), "{text}");
            }
        }
        for text in [
            "9.255.255.255",
            "11.0.0.0",
            "172.15.255.255",
            "172.32.0.0",
            "192.167.255.255",
            "192.169.0.0",
            "100.63.255.255",
            "100.128.0.0",
            "8.8.8.8",
            "192.0.3.0",
            "fbff::",
            "fec0::",
            "2001:db9::",
            "::2",
        ] {
            assert_eq!(find(ip(text)), None, "{text}");
        }
    }

    #[test]
    fn only_ranges_that_can_be_a_home_network_are_private() {
        for text in ["10.1.2.3", "fd00::1", "fe80::1", "100.64.9.9", "::1"] {
            assert_eq!(find(ip(text)).map(|s| s.class), Some(Class::Private), "{text}");
        }
        for text in ["192.0.2.1", "224.0.0.251", "ff02::fb", "255.255.255.255", "0.0.0.0", "::"] {
            assert_eq!(find(ip(text)).map(|s| s.class), Some(Class::Unknown), "{text}");
        }
    }

    #[test]
    fn the_ipv4_address_is_found_inside_each_kind_of_ipv6_address() {
        for (text, v4, carrier) in [
            ("::ffff:88.198.0.1", "88.198.0.1", Carrier::Mapped),
            ("64:ff9b::58c6:1", "88.198.0.1", Carrier::Nat64),
            ("2002:58c6:1::1", "88.198.0.1", Carrier::SixToFour),
            // RFC 4380, section 4: 192.0.2.45 obscured is 3fff:fdd2.
            ("2001:0:4136:e378:8000:63bf:3fff:fdd2", "192.0.2.45", Carrier::Teredo),
        ] {
            let v6: Ipv6Addr = text.parse().expect(text);
            assert_eq!(embedded_v4(v6), Some((v4.parse().expect(v4), carrier)), "{text}");
        }
        for text in ["::88.198.0.1", "2001:41d0::1", "2003::1"] {
            assert_eq!(embedded_v4(text.parse().expect(text)), None, "{text}");
        }
    }
}
