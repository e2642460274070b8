//! Which addresses are inside.
//!
//! By default inside is what cannot be reached from the Internet: RFC 1918, unique local, link-local and shared (CGNAT)
//! addresses. A capture taken outside a NAT has none of them; then nothing is left out: both ends of a flow count as inside,
//! and the summary says so.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// A prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Net {
    addr: IpAddr,
    len: u8,
}

impl Net {
    /// Whether `ip` lies in it.
    #[must_use]
    pub fn contains(&self, ip: IpAddr) -> bool {
        match (self.addr, ip) {
            (IpAddr::V4(net), IpAddr::V4(ip)) => {
                let shift = 32 - u32::from(self.len);
                shift == 32 || (net.to_bits() ^ ip.to_bits()) >> shift == 0
            }
            (IpAddr::V6(net), IpAddr::V6(ip)) => {
                let shift = 128 - u32::from(self.len);
                shift == 128 || (net.to_bits() ^ ip.to_bits()) >> shift == 0
            }
            _ => false,
        }
    }
}

impl FromStr for Net {
    type Err = String;

    /// An address, or an address with a prefix length.
    fn from_str(text: &str) -> Result<Self, String> {
        let (addr, len) = text.split_once('/').map_or((text, None), |(a, l)| (a, Some(l)));
        let addr: IpAddr = addr.parse().map_err(|_| {
            format!("'{text}' is not an address or network (expected 192.0.2.0/24 or 2001:db8::/32)")
        })?;
        let max = if addr.is_ipv4() { 32 } else { 128 };
        let len = match len {
            None => max,
            Some(l) => l
                .parse()
                .ok()
                .filter(|l| *l <= max)
                .ok_or_else(|| format!("'{text}': prefix length must be 0 to {max}"))?,
        };
        Ok(Self { addr, len })
    }
}

/// What is inside.
#[derive(Clone, Debug, Default)]
pub struct Home {
    /// Networks the user named; empty = by address class.
    nets: Vec<Net>,
}

impl Home {
    /// Inside is what lies in one of `nets`; without any, what the address class says.
    #[must_use]
    pub const fn new(nets: Vec<Net>) -> Self {
        Self { nets }
    }

    /// Whether inside is told by address class.
    #[must_use]
    pub const fn is_auto(&self) -> bool {
        self.nets.is_empty()
    }

    /// Whether `ip` is a host inside. `private_seen`: some packet of the input had a private address.
    #[must_use]
    pub fn holds(&self, ip: IpAddr, private_seen: bool) -> bool {
        if !is_host(ip) {
            return false;
        }
        if self.is_auto() {
            is_private(ip) || !private_seen
        } else {
            self.nets.iter().any(|n| n.contains(ip))
        }
    }

    /// Whether `ip` is a host that is not known to be inside.
    #[must_use]
    pub fn is_outside(&self, ip: IpAddr) -> bool {
        is_host(ip)
            && if self.is_auto() { !is_private(ip) } else { !self.nets.iter().any(|n| n.contains(ip)) }
    }
}

/// Whether the address can be a single host's: not multicast, broadcast or unspecified.
#[must_use]
pub const fn is_host(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => !(ip.is_multicast() || ip.is_broadcast() || ip.is_unspecified()),
        IpAddr::V6(ip) => !(ip.is_multicast() || ip.is_unspecified()),
    }
}

/// Private: RFC 1918, 169.254/16, 100.64/10 (RFC 6598), loopback; fc00::/7, fe80::/10, ::1.
#[must_use]
pub const fn is_private(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => is_private_v4(ip),
        IpAddr::V6(ip) => is_private_v6(ip),
    }
}

/// See [`is_private`].
#[must_use]
pub const fn is_private_v4(ip: Ipv4Addr) -> bool {
    let [a, b, ..] = ip.octets();
    ip.is_private() || ip.is_link_local() || ip.is_loopback() || (a == 100 && b & 0xC0 == 64)
}

/// See [`is_private`].
#[must_use]
pub const fn is_private_v6(ip: Ipv6Addr) -> bool {
    ip.is_unique_local() || ip.is_unicast_link_local() || ip.is_loopback()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn private_addresses_are_inside_and_public_ones_only_while_no_private_one_was_seen() {
        let home = Home::default();
        for inside in ["10.1.2.3", "172.31.0.1", "192.168.0.1", "100.64.0.1", "fd00::1", "fe80::1"] {
            assert!(home.holds(ip(inside), true), "{inside}");
            assert!(!home.is_outside(ip(inside)));
        }
        assert!(!home.holds(ip("100.128.0.1"), true));
        assert!(home.holds(ip("203.0.113.1"), false));
        assert!(!home.holds(ip("224.0.0.251"), false), "a group is no host");
    }

    #[test]
    fn named_networks_replace_the_default() {
        let home = Home::new(vec!["203.0.113.0/24".parse().unwrap(), "2001:db8::/32".parse().unwrap()]);
        assert!(home.holds(ip("203.0.113.9"), true) && home.holds(ip("2001:db8:1::2"), true));
        assert!(!home.holds(ip("10.0.0.1"), true));
        assert!(home.is_outside(ip("10.0.0.1")));
    }

    #[test]
    fn a_bad_network_is_named_with_what_was_expected() {
        assert_eq!("10.0.0.0/33".parse::<Net>().unwrap_err(), "'10.0.0.0/33': prefix length must be 0 to 32");
        assert!("ten/8".parse::<Net>().unwrap_err().contains("expected 192.0.2.0/24"));
        assert!("0.0.0.0/0".parse::<Net>().unwrap().contains(ip("255.255.255.255")));
    }
}
