//! Look-ups of tools' session names, host by host, kept until other evidence speaks of the same tool.
//!
//! A look-up is no session: it says only that a program on the host wanted to know an address. So it counts for little, and only in
//! findings that rest on something else.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::finding::{Finding, Line};
use super::weights::Weights;
use crate::catalog::Hit;
use crate::inspect::LookedUp;
use crate::pipeline::FlowId;

/// Look-ups kept of all hosts; of one host and tool the first is kept.
const MAX: usize = 8_192;
/// The only kind of evidence here.
const KIND: &str = "catalogue.lookup";

/// The memory.
#[derive(Debug, Default)]
pub(super) struct LookUps(BTreeMap<(IpAddr, &'static str), (Hit, Line)>);

impl LookUps {
    /// Keeps the look-ups of a flow; the opener asked.
    pub(super) fn learn(&mut self, flow: &FlowId, all: &[LookedUp], weights: &Weights) {
        for looked in all {
            let key = (flow.ip[0], looked.hit.tool);
            if self.0.len() >= MAX || self.0.contains_key(&key) {
                continue;
            }
            let (decibans, family) = weights.of(KIND);
            let line = Line {
                kind: KIND,
                family: family.to_owned(),
                decibans,
                packet: looked.packet,
                input: flow.birth.input,
                detail: format!("{}: {}", looked.name, looked.hit.tool),
            };
            self.0.insert(key, (looked.hit, line));
        }
    }

    /// Whether the host has looked up any.
    pub(super) fn speaks_of(&self, host: IpAddr) -> bool {
        self.of(host).next().is_some()
    }

    fn of(&self, host: IpAddr) -> impl Iterator<Item = &(Hit, Line)> {
        self.0.range((host, "")..).take_while(move |((ip, _), _)| *ip == host).map(|(_, looked)| looked)
    }

    /// Puts into a finding of its host what was looked up of its tool.
    pub(super) fn add_to(&self, finding: &mut Finding) {
        // Of a session that was recognised by its name the look-up is the same fact.
        if finding.lines.iter().any(|line| line.kind.starts_with("catalogue.")) {
            return;
        }
        let same = self.of(finding.host).find(|(hit, _)| {
            // Labels of many tools say nothing of which.
            let one = !hit.label.label.ends_with("_other");
            finding.label == Some(hit.label.label) && (one || finding.tool == Some(hit.tool))
        });
        if let Some((_, line)) = same {
            finding.put(line.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::Catalogue;
    use crate::flow::{Birth, OpenerBasis};
    use crate::host::{FindingKind, Tally};
    use crate::intel::Intel;

    const HOST: &str = "192.168.1.9";

    fn flow(host: &str) -> FlowId {
        FlowId {
            id: 1,
            ip: [host, "203.0.113.9"].map(|ip| ip.parse().expect("an address")),
            port: [40_000, 53],
            proto: 17,
            birth: Birth::default(),
            basis: OpenerBasis::Syn,
        }
    }

    fn looked(names: &[&str]) -> LookUps {
        let all: Vec<LookedUp> = names
            .iter()
            .map(|name| {
                let hit = Catalogue::embedded().name(name).expect("known");
                LookedUp { hit, name: (*name).into(), packet: 3 }
            })
            .collect();
        let mut looked = LookUps::default();
        looked.learn(&flow(HOST), &all, &Weights::default());
        looked
    }

    /// A finding of a host that rests on one line of this kind.
    fn finding(host: &str, label: &'static str, tool: Option<&'static str>, kind: &'static str) -> Finding {
        let flow = flow(host);
        let line = Line {
            kind,
            family: "protocol".into(),
            decibans: 20,
            packet: 9,
            input: 0,
            detail: String::new(),
        };
        Finding {
            kind: FindingKind::EgressVpn,
            host: flow.ip[0],
            peer: flow.ip[1],
            peer_port: 443,
            service: None,
            share: None,
            far_end: Intel::embedded().lookup(flow.ip[1]),
            label: Some(label),
            tool,
            flow,
            seen_ns: [0; 2],
            prior: -20,
            lines: vec![line],
            packets: [0; 2],
            raised: false,
            tally: Tally::default(),
        }
    }

    fn gained(looked: &LookUps, mut finding: Finding) -> i32 {
        let weights = Weights::default();
        let before = finding.score(&weights);
        looked.add_to(&mut finding);
        looked.add_to(&mut finding);
        finding.score(&weights) - before
    }

    #[test]
    fn a_look_up_counts_once_and_little_beside_other_evidence_of_the_same_tool() {
        let looked = looked(&["controlplane.tailscale.com", "derp4.tailscale.com"]);
        assert_eq!(gained(&looked, finding(HOST, "tailscale", None, "tailscale.disco")), 3);
        assert_eq!(
            gained(&looked, finding(HOST, "mullvad", None, "wireguard.initiation")),
            0,
            "another tool"
        );
        assert_eq!(
            gained(&looked, finding("192.168.1.8", "tailscale", None, "tailscale.disco")),
            0,
            "another host"
        );
    }

    #[test]
    fn a_session_known_by_its_name_gains_nothing_from_the_look_up_of_that_name() {
        let looked = looked(&["nl-1.sec-tunnel.com"]);
        assert_eq!(gained(&looked, finding(HOST, "operavpn", None, "catalogue.sni")), 0);
    }

    #[test]
    fn of_a_label_that_many_tools_share_only_the_same_tool_counts() {
        let looked = looked(&["acme.twingate.com"]);
        assert_eq!(gained(&looked, finding(HOST, "vpn_other", Some("Twingate"), "x.y")), 3);
        assert_eq!(gained(&looked, finding(HOST, "vpn_other", Some("IPVanish"), "x.y")), 0);
        assert_eq!(gained(&looked, finding(HOST, "vpn_other", None, "x.y")), 0);
    }

    #[test]
    fn the_memory_is_bounded() {
        let hit = Catalogue::embedded().name("derp4.tailscale.com").expect("known");
        let all = [LookedUp { hit, name: "derp4.tailscale.com".into(), packet: 1 }];
        let mut looked = LookUps::default();
        for n in 0..=MAX as u32 {
            let mut flow = flow(HOST);
            flow.ip[0] = IpAddr::V4((0x0A00_0000 + n).into());
            looked.learn(&flow, &all, &Weights::default());
        }
        assert_eq!(looked.0.len(), MAX);
    }
}
