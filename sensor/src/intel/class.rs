//! What kind of network an address belongs to: the closed set of names that records and findings use.

use std::fmt;
use std::str::FromStr;

/// The kind of network at the far end, as `far_end.class` spells it.
///
/// `Unknown` is the answer when no source says anything: not being a hoster never makes an address residential.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Class {
    /// Rented machines: dedicated servers, VPS, cloud.
    Hosting,
    /// Exit of a VPN service, or a network that is mostly that.
    Vpn,
    /// Tor exit or relay.
    Tor,
    /// Open, residential or commercial proxy.
    Proxy,
    /// Egress of a privacy relay that hides the client's address but not its region.
    Relay,
    /// Access or transit provider.
    Isp,
    /// A home line; only from a source that says so.
    Residential,
    /// A company's own network.
    Business,
    /// Mobile carrier.
    Mobile,
    /// University, school or research network.
    Education,
    /// Edge servers that front other people's sites.
    Cdn,
    /// Not routed on the Internet: RFC 1918, ULA, link-local, CGNAT, loopback.
    Private,
    /// No source says.
    Unknown,
}

impl Class {
    /// Every class, in the order in which the contract lists them.
    pub const ALL: [Self; 13] = [
        Self::Hosting,
        Self::Vpn,
        Self::Tor,
        Self::Proxy,
        Self::Relay,
        Self::Isp,
        Self::Residential,
        Self::Business,
        Self::Mobile,
        Self::Education,
        Self::Cdn,
        Self::Private,
        Self::Unknown,
    ];

    /// Whether an operator of this class is unusual enough to raise a finding: hosting, VPN, Tor or proxy.
    pub fn is_suspicious_origin(self) -> bool {
        matches!(self, Self::Hosting | Self::Vpn | Self::Tor | Self::Proxy)
    }

    /// The lower-case name used in records.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Hosting => "hosting",
            Self::Vpn => "vpn",
            Self::Tor => "tor",
            Self::Proxy => "proxy",
            Self::Relay => "relay",
            Self::Isp => "isp",
            Self::Residential => "residential",
            Self::Business => "business",
            Self::Mobile => "mobile",
            Self::Education => "education",
            Self::Cdn => "cdn",
            Self::Private => "private",
            Self::Unknown => "unknown",
        }
    }

    /// The names a file may use, for error messages.
    pub(super) fn names() -> String {
        Self::ALL.map(Self::as_str).join(", ")
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// The text is none of the class names.
#[derive(Debug, PartialEq, Eq)]
pub struct UnknownClass;

impl FromStr for Class {
    type Err = UnknownClass;

    fn from_str(text: &str) -> Result<Self, UnknownClass> {
        Self::ALL.into_iter().find(|c| c.as_str().eq_ignore_ascii_case(text)).ok_or(UnknownClass)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_class_reads_back_from_its_own_name() {
        for class in Class::ALL {
            assert_eq!(class.as_str().parse(), Ok(class));
        }
        assert_eq!("datacentre".parse::<Class>(), Err(UnknownClass));
    }

    #[test]
    fn only_hosting_vpn_tor_and_proxy_are_suspicious_origins() {
        let suspicious: Vec<_> = Class::ALL.into_iter().filter(|c| c.is_suspicious_origin()).collect();
        assert_eq!(suspicious, [Class::Hosting, Class::Vpn, Class::Tor, Class::Proxy]);
    }
}
