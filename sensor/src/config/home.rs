//! Networks that are inside, as flags and the file name them.

use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::HomeSection;
use crate::home::{Home, Net};

/// What `auto` stands for beside other networks: RFC 1918, RFC 3927, RFC 6598, RFC 4193 and RFC 4291 (link-local).
const PRIVATE: [&str; 7] = [
    "10.0.0.0/8",
    "172.16.0.0/12",
    "192.168.0.0/16",
    "169.254.0.0/16",
    "100.64.0.0/10",
    "fc00::/7",
    "fe80::/10",
];

/// `auto`, or a network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub struct HomeNet {
    text: String,
    net: Option<Net>,
}

impl HomeNet {
    /// The private ranges.
    #[must_use]
    pub fn auto() -> Self {
        Self { text: "auto".into(), net: None }
    }
}

impl FromStr for HomeNet {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let net = if text == "auto" { None } else { Some(text.parse()?) };
        Ok(Self { text: text.into(), net })
    }
}

impl TryFrom<String> for HomeNet {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<HomeNet> for String {
    fn from(net: HomeNet) -> Self {
        net.text
    }
}

impl HomeSection {
    /// What is inside. `auto` alone, or nothing, leaves it to the class of addresses; beside networks it adds the private ranges.
    #[must_use]
    pub fn home(&self) -> Home {
        let mut nets: Vec<Net> = self.networks.iter().filter_map(|n| n.net).collect();
        if !nets.is_empty() && self.networks.iter().any(|n| n.net.is_none()) {
            nets.extend(PRIVATE.iter().filter_map(|net| net.parse::<Net>().ok()));
        }
        Home::new(nets)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn home(networks: &[&str]) -> Home {
        HomeSection { networks: networks.iter().map(|n| n.parse().expect("a network")).collect() }.home()
    }

    #[test]
    fn auto_beside_a_network_adds_the_private_ranges_to_it() {
        let both = home(&["auto", "203.0.113.0/24"]);
        let only = home(&["203.0.113.0/24"]);
        for inside in ["203.0.113.9", "10.1.2.3", "100.64.0.1", "169.254.9.9", "fd00::1", "fe80::1"] {
            let ip = inside.parse().expect("an address");
            assert!(both.holds(ip, true), "{inside}");
            assert_eq!(only.holds(ip, true), inside == "203.0.113.9", "{inside}");
        }
        assert!(both.is_outside("198.51.100.1".parse().expect("an address")));
        assert!(home(&["auto"]).is_auto() && home(&[]).is_auto() && !both.is_auto());
    }
}
