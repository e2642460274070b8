//! Prefixes and the one number space that both address families share: an IPv4 address is the low 32 bits of
//! `::/96`, as in the MaxMind DB format.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// Bits above an IPv4 address in the shared number space.
pub(super) const V4_DEPTH: u8 = 96;

/// An address prefix; bits of `addr` past `len` are zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Net {
    addr: IpAddr,
    len: u8,
}

impl Net {
    /// The prefix of `len` bits that contains `addr`; `None` if `len` is more than the address has.
    pub fn new(addr: IpAddr, len: u8) -> Option<Self> {
        let bits = match addr {
            IpAddr::V4(_) => 32,
            IpAddr::V6(_) => 128,
        };
        (len <= bits).then(|| {
            let depth = len + (128 - bits);
            let addr = to_addr(to_number(addr) & !host_mask(depth), addr.is_ipv4());
            Self { addr, len }
        })
    }

    /// The first address.
    pub fn addr(self) -> IpAddr {
        self.addr
    }

    /// Length in bits, 0 to 32 or 128.
    pub fn prefix_len(self) -> u8 {
        self.len
    }

    /// Whether `ip` lies inside; addresses of the other family never do.
    pub fn contains(self, ip: IpAddr) -> bool {
        ip.is_ipv4() == self.addr.is_ipv4() && {
            let (first, last) = self.span();
            (first..=last).contains(&to_number(ip))
        }
    }

    /// First and last address as numbers of the shared space.
    pub(super) fn span(self) -> (u128, u128) {
        let first = to_number(self.addr);
        (first, first | host_mask(self.depth()))
    }

    /// Length counted in the shared space, 0 to 128.
    pub(super) fn depth(self) -> u8 {
        if self.addr.is_ipv4() { self.len + V4_DEPTH } else { self.len }
    }

    /// The largest prefix around `ip` that stays inside `first..=last`.
    pub(super) fn around(ip: IpAddr, first: u128, last: u128) -> Self {
        let number = to_number(ip);
        let top = if ip.is_ipv4() { V4_DEPTH } else { 0 };
        let depth = (top..128)
            .find(|&depth| {
                let mask = host_mask(depth);
                number & !mask >= first && number | mask <= last
            })
            .unwrap_or(128);
        Self { addr: to_addr(number & !host_mask(depth), ip.is_ipv4()), len: depth - top }
    }
}

impl fmt::Display for Net {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.addr, self.len)
    }
}

/// The text is neither an address nor a prefix.
#[derive(Debug, PartialEq, Eq)]
pub struct NotANet;

impl FromStr for Net {
    type Err = NotANet;

    /// Reads `192.0.2.0/24`, `2001:db8::/32` or one address; host bits are cleared.
    fn from_str(text: &str) -> Result<Self, NotANet> {
        let (addr, len) = match text.split_once('/') {
            Some((addr, len)) if len.bytes().all(|b| b.is_ascii_digit()) => (addr, Some(len)),
            Some(_) => return Err(NotANet),
            None => (text, None),
        };
        let addr: IpAddr = addr.parse().map_err(|_| NotANet)?;
        let full = if addr.is_ipv4() { 32 } else { 128 };
        let len = len.map_or(Ok(full), |len| len.parse().map_err(|_| NotANet))?;
        Self::new(addr, len).ok_or(NotANet)
    }
}

/// The address in the shared number space.
pub(super) fn to_number(ip: IpAddr) -> u128 {
    match ip {
        IpAddr::V4(v4) => u128::from(u32::from(v4)),
        IpAddr::V6(v6) => u128::from(v6),
    }
}

/// The address that `number` stands for; `v4` tells the families apart, which the number alone cannot.
pub(super) fn to_addr(number: u128, v4: bool) -> IpAddr {
    if v4 { Ipv4Addr::from(number as u32).into() } else { Ipv6Addr::from(number).into() }
}

/// The bits below a prefix of `depth` bits.
pub(super) fn host_mask(depth: u8) -> u128 {
    u128::MAX.checked_shr(u32::from(depth)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn net(text: &str) -> Net {
        text.parse().unwrap_or_else(|_| panic!("{text} is a prefix"))
    }

    #[test]
    fn a_prefix_reads_with_host_bits_cleared_and_prints_canonically() {
        assert_eq!(net("192.0.2.77/24").to_string(), "192.0.2.0/24");
        assert_eq!(net("2001:DB8:0:0::1/32").to_string(), "2001:db8::/32");
        assert_eq!(net("192.0.2.77").to_string(), "192.0.2.77/32");
        assert_eq!(net("0.0.0.0/0").span(), (0, 0xffff_ffff));
    }

    #[test]
    fn text_that_is_no_prefix_is_refused() {
        for text in
            ["", "192.0.2.0/33", "2001:db8::/129", "192.0.2/24", "192.0.2.0/", "192.0.2.0/+8", "host/8"]
        {
            assert_eq!(text.parse::<Net>(), Err(NotANet), "{text:?}");
        }
    }

    #[test]
    fn the_families_do_not_contain_each_other() {
        assert!(net("192.0.2.0/24").contains("192.0.2.255".parse().unwrap()));
        assert!(!net("192.0.2.0/24").contains("192.0.3.0".parse().unwrap()));
        assert!(!net("::/96").contains("192.0.2.1".parse().unwrap()));
    }

    #[test]
    fn the_prefix_around_an_address_stays_inside_its_range() {
        let (first, last) = (0xc000_0201, 0xc000_02ff);
        assert_eq!(Net::around("192.0.2.200".parse().unwrap(), first, last), net("192.0.2.128/25"));
        assert_eq!(Net::around("192.0.2.1".parse().unwrap(), first, last), net("192.0.2.1/32"));
        assert_eq!(Net::around("192.0.2.1".parse().unwrap(), 0, u128::from(u32::MAX)), net("0.0.0.0/0"));
    }
}
