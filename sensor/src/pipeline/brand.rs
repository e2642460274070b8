//! The brand behind a VPN protocol: a WireGuard or OpenVPN session does not say whose it is, the look-up of its server did.
//!
//! In: a flow's verdict, and the name that an answer on the wire gave to the far end before. Out: the same verdict, with the brand over
//! the protocol where that is a session name of a VPN. The protocol's content is what the label rests on; a name alone gives none.

use std::net::IpAddr;

use farend_analyzers::{Category, Evidence};

use crate::catalog::Catalogue;
use crate::inspect::{NAMED, Verdict};

/// Labels of protocols that VPN brands sell under their own name.
const PROTOCOLS: [&str; 7] = ["wireguard", "openvpn", "ipsec", "l2tp", "pptp", "sstp", "anyconnect"];

/// Puts the brand of the server called `name` over the protocol. `packet`: the flow's first.
pub(super) fn add(
    verdict: &mut Verdict,
    far: IpAddr,
    name: Option<&str>,
    packet: u64,
    catalogue: &Catalogue,
) {
    let Some(name) = name.filter(|_| verdict.labels.label.is_some_and(|label| PROTOCOLS.contains(&label)))
    else {
        return;
    };
    let Some(hit) = catalogue.name(name).filter(|hit| hit.session && hit.label.category == Category::Vpn)
    else {
        return;
    };
    if PROTOCOLS.contains(&hit.label.label) || !verdict.labels.brand(hit.label.label) {
        return;
    }
    verdict.tool = verdict.tool.or(Some(hit.tool));
    let detail = format!("{far} is {name}: {} (session rule {}; {})", hit.tool, hit.rule, hit.source);
    verdict.evidence.push(Evidence { kind: &NAMED, detail: detail.into(), packet });
}

#[cfg(test)]
mod tests {
    use super::*;
    use farend_analyzers::{Labels, Layer, resolve};

    fn labels(label: &'static str) -> Labels {
        resolve(&[Layer { label: Some(label), carrier: false, hiding: None }])
    }

    /// Leading label, all labels, tool and evidence of a flow with `label` to a server of this name.
    fn of(
        label: &'static str,
        name: Option<&str>,
    ) -> (Option<&'static str>, Vec<&'static str>, Option<&'static str>, usize) {
        let mut verdict = Verdict { labels: labels(label), ..Verdict::default() };
        let far = "203.0.113.9".parse().expect("an address");
        add(&mut verdict, far, name, 7, Catalogue::embedded());
        let Verdict { labels, tool, evidence, .. } = verdict;
        (labels.label, labels.iter().collect(), tool, evidence.len())
    }

    #[test]
    fn a_tunnel_to_a_server_that_was_looked_up_by_its_brands_name_has_the_brand() {
        let mullvad = of("wireguard", Some("se-got-wg-001.relays.mullvad.net"));
        assert_eq!(mullvad, (Some("mullvad"), vec!["wireguard", "mullvad"], Some("Mullvad"), 1));
        let other = of("openvpn", Some("87-1-nl.cg-dialup.net"));
        assert_eq!(other, (Some("vpn_other"), vec!["openvpn", "vpn_other"], Some("CyberGhost"), 1));
    }

    #[test]
    fn a_web_site_another_kind_of_tool_or_no_name_gives_no_brand() {
        for name in [None, Some("www.mullvad.net"), Some("router15.teamviewer.com"), Some("vpn.example.com")]
        {
            assert_eq!(of("wireguard", name), (Some("wireguard"), vec!["wireguard"], None, 0), "{name:?}");
        }
    }

    #[test]
    fn what_is_no_vpn_protocol_gains_nothing_by_a_name() {
        for label in ["ssh", "rdp", "tailscale", "http_proxy"] {
            assert_eq!(of(label, Some("se-got-wg-001.relays.mullvad.net")).1, [label]);
        }
    }
}
