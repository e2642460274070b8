//! Lines of a Spur feed: a JSON object an address, with what is known of it.
//!
//! In: a line such as `{"ip":"192.0.2.1","infrastructure":"DATACENTER","tunnels":[{"operator":"X","type":"VPN"}]}`. Out: class and
//! words for the basis, the most telling statement first: a tunnel, a proxy that rents the address out, the infrastructure.

use serde::Deserialize;

use super::{Class, Net};

/// The fields that tell a class; a feed has many more.
#[derive(Deserialize)]
struct Line {
    #[serde(alias = "network")]
    ip: String,
    infrastructure: Option<String>,
    tunnels: Option<Vec<Tunnel>>,
    client: Option<Client>,
}

#[derive(Deserialize)]
struct Tunnel {
    operator: Option<String>,
    #[serde(rename = "type")]
    kind: Option<String>,
}

#[derive(Deserialize)]
struct Client {
    proxies: Option<Vec<String>>,
}

/// An address of the feed.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) net: Net,
    /// `None`: the feed says nothing that has a class here.
    pub(super) said: Option<(Class, String)>,
}

/// Reads a line; `None` if it is not one of a feed.
pub(super) fn line(text: &str) -> Option<Entry> {
    let line: Line = serde_json::from_str(text).ok()?;
    let net = line.ip.parse().ok()?;
    let tunnels = line.tunnels.iter().flatten().filter_map(|tunnel| {
        let operator = tunnel.operator.as_deref().unwrap_or("unnamed");
        let kind = tunnel.kind.as_deref().unwrap_or_default();
        let class = match (kind, operator) {
            // TorGuard is a VPN.
            ("TOR", _) | (_, "TOR" | "TOR_EXIT" | "TOR_PROXY") => Class::Tor,
            ("VPN", _) => Class::Vpn,
            ("PROXY", _) => Class::Proxy,
            _ => return None,
        };
        Some((class, format!("spur {operator}")))
    });
    let proxies = line.client.iter().flat_map(|client| client.proxies.iter().flatten());
    let proxies = proxies.map(|name| (Class::Proxy, format!("spur {name}")));
    let infrastructure = line.infrastructure.as_deref().and_then(|kind| {
        let class = match kind {
            "DATACENTER" => Class::Hosting,
            "MOBILE" => Class::Mobile,
            _ => return None,
        };
        Some((class, format!("spur {kind}")))
    });
    let said =
        tunnels.min_by_key(|(class, _)| *class != Class::Tor).or({ proxies }.next()).or(infrastructure);
    Some(Entry { net, said })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_telling_statement_of_a_line_is_its_class() {
        let said = |text| line(text).expect("a line").said;
        let vpn = r#"{"ip":"192.0.2.1","infrastructure":"DATACENTER","tunnels":[{"operator":"TORGUARD_VPN","type":"VPN"}]}"#;
        assert_eq!(said(vpn), Some((Class::Vpn, "spur TORGUARD_VPN".into())));
        let both = r#"{"ip":"192.0.2.1","tunnels":[{"operator":"X","type":"VPN"},{"operator":"TOR","type":"PROXY"}]}"#;
        assert_eq!(said(both), Some((Class::Tor, "spur TOR".into())));
        let rented = r#"{"ip":"2001:db8::1","client":{"proxies":["LUMINATI_PROXY"],"count":3}}"#;
        assert_eq!(said(rented), Some((Class::Proxy, "spur LUMINATI_PROXY".into())));
        assert_eq!(
            said(r#"{"ip":"192.0.2.1","infrastructure":"DATACENTER"}"#).map(|(c, _)| c),
            Some(Class::Hosting)
        );
        assert_eq!(said(r#"{"ip":"192.0.2.1","tunnels":null,"client":{"proxies":null}}"#), None);
        assert_eq!(said(r#"{"ip":"192.0.2.1","as":{"number":64500}}"#), None);
    }

    #[test]
    fn what_is_no_line_of_a_feed_is_none() {
        for text in ["", "{", "{}", r#"{"ip":"nowhere"}"#, r#"{"ip":"192.0.2.1","tunnels":"x"}"#, "192.0.2.1"]
        {
            assert_eq!(line(text), None, "{text}");
        }
    }
}
