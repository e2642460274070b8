//! Egress: a host's traffic leaves through a VPN, a proxy, Tor, or a carrier of its own to a server in a hosting network.
//!
//! One session may bear two claims: that it is a VPN or a proxy, and the stronger one that it ends at a rented server
//! (`egress_vps`). Each has a score of its own and a host's score is the best of them, so nothing counts twice.

use std::net::IpAddr;
use std::sync::Arc;

use farend_analyzers::{Category, LabelInfo, Side};

use super::finding::{Finding, FindingKind};
use super::ledger::{Claim, Context, Host, Ledger};
use super::session::{LONG_NS, Session, add_session, may_reach_a_relay, network, weighed};
use super::weights::Weights;
use crate::intel::Class;
use crate::pipeline::Ended;

/// Carriers that people run on servers of their own, by label. A brand's service is not one's own; IPsec, AnyConnect and the
/// clients of firewall makers lead to gateways of companies, which stand in clouds, too; meshes and reverse tunnels lead to
/// their makers' relays; DNS tunnels to any resolver.
const OWN_CARRIERS: [&str; 24] = [
    "openvpn",
    "wireguard",
    "l2tp",
    "pptp",
    "sstp",
    "softether",
    "n2n",
    "tinc",
    "fastd",
    "vtun",
    "sshuttle",
    "ssh_tunnel",
    "websocket_tunnel",
    "http_tunnel",
    "tls_tunnel",
    "icmp_tunnel",
    "socks",
    "http_connect",
    "http_proxy",
    "shadowsocks",
    "vmess",
    "vless",
    "trojan",
    "hysteria",
];
/// Sessions through one proxy that are use, however short each of them was (`session.many` in the weights).
const MANY_SESSIONS: u64 = 5;
/// Thousandths of a host's bytes over the border from which a carrier takes most of them, and up to which hardly any.
const MOST: u16 = 500;
/// See [`MOST`].
const LITTLE: u16 = 50;

/// What a label says of where traffic leaves, if its far end is outside.
fn leaves_through(info: &LabelInfo) -> Option<FindingKind> {
    match info.category {
        Category::Vpn => Some(FindingKind::EgressVpn),
        Category::Proxy => Some(FindingKind::EgressProxy),
        Category::Anonymizer if matches!(info.label, "tor" | "obfs4" | "snowflake") => {
            Some(FindingKind::EgressTor)
        }
        // Psiphon, UltraSurf and I2P: proxies that change, not Tor.
        Category::Anonymizer => Some(FindingKind::EgressProxy),
        _ => None,
    }
}

impl Session<'_> {
    /// Whether traffic of the flow's side `n` leaves through the session: it is inside, the other side is outside, and it is the
    /// one that uses the carrier: whoever serves one takes others' traffic in. Of a VPN under way it does not show who is whose client.
    pub(super) fn is_egress_of(&self, n: usize, ctx: Context<'_>) -> bool {
        let carries = leaves_through(self.info).is_some() || OWN_CARRIERS.contains(&self.info.label);
        let client = usize::from(self.verdict.client == Some(Side::Dest));
        let unknown = self.info.category == Category::Vpn && self.verdict.client.is_none();
        carries
            && ctx.home.holds(self.flow.ip[n], ctx.private_seen)
            && ctx.home.is_outside(self.flow.ip[1 - n])
            && (unknown || n == client)
    }
}

impl Ledger {
    pub(super) fn egress(&mut self, s: &Session<'_>, ctx: Context<'_>) {
        // Where both sides could be inside (nothing private in the capture) it is the side that opened.
        let Some(n) = [0, 1].into_iter().find(|n| s.is_egress_of(*n, ctx)) else { return };
        let far = ctx.intel.lookup(s.flow.ip[1 - n]);
        let weights = Arc::clone(&self.weights);
        let through = self.through(s, n);
        // Where most of a host's traffic goes shows once there was time for other traffic.
        let share = (s.ended || s.lasted_ns() >= LONG_NS).then(|| through.per_mille()).flatten();
        let own = far.class == Class::Hosting && OWN_CARRIERS.contains(&s.info.label) && share.is_some();
        for kind in [leaves_through(s.info), own.then_some(FindingKind::EgressVps)].into_iter().flatten() {
            let Some(finding) = self.finding(kind, s, 1 - n, &far) else { continue };
            add_session(finding, &weights, s, 1 - n, false);
            if s.info.category == Category::Proxy && through.sessions >= MANY_SESSIONS {
                finding.retract("session.short");
                let detail = format!("{} sessions so far", through.sessions);
                finding.put(weighed(&weights, "session.many", s.flow, detail));
            }
            if kind == FindingKind::EgressTor && far.class == Class::Tor {
                finding.put(weighed(&weights, "egress.tor_listed", s.flow, network(&far)));
            }
            if kind == FindingKind::EgressVps {
                finding.put(weighed(&weights, "egress.hosting", s.flow, network(&far)));
            }
            if share.is_some() {
                add_share(finding, &weights, through);
            }
        }
    }

    /// What the session's carrier has taken so far, this session included.
    fn through(&self, s: &Session<'_>, n: usize) -> Share {
        let (label, peer) = (s.info.label, s.flow.ip[1 - n]);
        let known = self.hosts.get(&s.flow.ip[n]);
        let mut share = known.map(|host| Share::of(host, label, peer)).unwrap_or_default();
        if !s.ended {
            let live = s.volume.bytes.iter().sum::<u64>();
            (share.part, share.whole) = (share.part + live, share.whole + live);
        }
        share
    }

    /// A TLS session with an address that a list calls a Tor relay. Whoever runs a relay may run a mail server beside it, so one
    /// address is a hint; two are hardly chance.
    pub(super) fn listed_relay(&mut self, ended: &Ended, ctx: Context<'_>) {
        let flow = &ended.flow;
        let (host, peer) = (flow.ip[0], flow.ip[1]);
        let volume = ended.volume();
        let used = may_reach_a_relay(&ended.hot, ended.verdict.as_deref());
        // Where nothing is known to be inside, every session would be one out of the host.
        let unknown = ctx.home.is_auto() && !ctx.private_seen;
        if !used || unknown || !ctx.home.holds(host, ctx.private_seen) || !ctx.home.is_outside(peer) {
            return;
        }
        let far = ctx.intel.lookup(peer);
        if far.class != Class::Tor {
            return;
        }
        let kind = FindingKind::EgressTor;
        let (prior, weights) = (self.weights.prior(kind.as_str()), Arc::clone(&self.weights));
        let claim = Claim { kind, service: None, peer: host, label: None };
        let Some(finding) = self.entry(host, claim, 1, || Finding {
            packets: volume.packets,
            ..Finding::begun(kind, flow, 1, &far, prior)
        }) else {
            return;
        };
        finding.seen_ns =
            [finding.seen_ns[0].min(flow.birth.first_ns), finding.seen_ns[1].max(ended.hot.last_ns)];
        let detail = format!("{peer} port {} ({})", flow.port[1], network(&far));
        let line = weighed(&weights, "egress.tor_listed", flow, detail);
        let peer = peer.to_string();
        finding.put_once(line, |l| l.detail.split(' ').next() == Some(&peer));
    }

    /// At the end of the input all bytes are known: brings every share up to date.
    pub fn settle(&mut self) {
        let weights = Arc::clone(&self.weights);
        for host in self.hosts.values_mut() {
            let shares: Vec<(Claim, Share)> = host
                .findings
                .keys()
                .filter_map(|claim| Some((*claim, Share::of(host, claim.label?, claim.peer))))
                .filter(|(_, share)| share.sessions > 0)
                .collect();
            for (claim, share) in shares {
                if let Some(finding) = host.findings.get_mut(&claim)
                    && finding.share.is_some()
                {
                    add_share(finding, &weights, share);
                }
            }
        }
    }
}

/// Part of a host's bytes over the border that went through one carrier.
#[derive(Clone, Copy, Debug, Default)]
struct Share {
    part: u64,
    whole: u64,
    sessions: u64,
}

impl Share {
    fn of(host: &Host, label: &'static str, peer: IpAddr) -> Self {
        let row = host.egress.iter().find(|(key, _)| *key == (label, peer));
        let through = row.map(|(_, through)| *through).unwrap_or_default();
        Self { part: through.bytes, whole: host.bytes, sessions: through.sessions }
    }

    fn per_mille(&self) -> Option<u16> {
        let share = (u128::from(self.part.min(self.whole)) * 1_000).checked_div(u128::from(self.whole))?;
        u16::try_from(share).ok()
    }
}

/// Names the share in the finding; that it is most or hardly any of the traffic says whether the carrier is where it leaves.
fn add_share(finding: &mut Finding, weights: &Weights, share: Share) {
    let Some(per_mille) = share.per_mille() else { return };
    finding.share = Some(per_mille);
    if finding.kind != FindingKind::EgressVps {
        return;
    }
    let detail = format!(
        "{} of {} B over the border since this was first seen: {}.{} %",
        share.part,
        share.whole,
        per_mille / 10,
        per_mille % 10
    );
    for (kind, holds) in [("egress.most", per_mille >= MOST), ("egress.little", per_mille <= LITTLE)] {
        if holds {
            let line = weighed(weights, kind, &finding.flow, detail.clone());
            finding.put(line);
        } else {
            finding.retract(kind);
        }
    }
}
