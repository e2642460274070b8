//! The ledger: evidence a host and peer, and the findings it adds up to.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use farend_analyzers::{Category, LabelInfo, Side, label_info};

use super::finding::{Finding, FindingKind, Line, Tally};
use super::looked::LookUps;
use super::room::{least, worth};
use super::weights::Weights;
use crate::clock::SECOND_NS;
use crate::flow::State;
use crate::home::Home;
use crate::inspect::Verdict;
use crate::intel::{FarEnd, Intel};
use crate::pipeline::{Ended, FlowId, Sighting, Volume};

/// Hosts kept.
const MAX_HOSTS: usize = 65_536;
/// Findings kept of one host, and peers that its traffic leaves to.
const MAX_FINDINGS: usize = 256;
/// Findings kept of all hosts together: some 100 MB when each is full of lines.
const MAX_ALL_FINDINGS: usize = 65_536;
/// Packets each side must have sent before a session counts as more than an attempt (`session.sustained` in the weights).
const SUSTAINED_PACKETS: u64 = 24;
/// From here on a session is long.
const LONG_NS: i64 = 600 * SECOND_NS;

/// What judgements rest on besides evidence.
#[derive(Clone, Copy)]
pub struct Context<'a> {
    /// Address intelligence.
    pub intel: &'a Intel,
    /// What is inside.
    pub home: &'a Home,
    /// Some packet had a private address so far.
    pub private_seen: bool,
}

/// What a finding of a host is about: what is claimed, the other side, the label.
type Claim = (FindingKind, IpAddr, Option<&'static str>);

#[derive(Debug, Default)]
struct Host {
    /// Boxed: a node of the tree has room for eleven, and most hosts have one.
    findings: BTreeMap<Claim, Box<Finding>>,
    /// Bytes over the border in flows that ended since evidence first spoke of it.
    bytes: u64,
    /// Bytes through each egress (label, peer).
    egress: Vec<((&'static str, IpAddr), u64)>,
    /// Labelled sessions that ended.
    sessions: u64,
    tools: Vec<(&'static str, u64)>,
    /// Hours of the day (UTC) with a labelled session's packet.
    hours: u32,
}

/// What is known of a host at the end.
#[derive(Clone, Debug)]
pub struct HostRecord {
    /// The host.
    pub host: IpAddr,
    /// Its findings, raised or not, the highest score first.
    pub findings: Vec<Finding>,
    /// Best score.
    pub score: i32,
    /// Egress: label, peer, bytes, and all bytes of the host over the border.
    pub egress: Vec<(&'static str, IpAddr, u64)>,
    /// Bytes over the border.
    pub bytes: u64,
    /// Labelled sessions.
    pub sessions: u64,
    /// Labels and how many sessions had them.
    pub tools: Vec<(&'static str, u64)>,
    /// Hours of the day (UTC).
    pub active_hours: Vec<u8>,
}

/// All hosts.
pub struct Ledger {
    weights: Arc<Weights>,
    hosts: BTreeMap<IpAddr, Host>,
    /// Look-ups that may come to count.
    looked: LookUps,
    /// Findings of all hosts.
    count: usize,
    /// Evidence that no finding counts: of findings that made way, or that found no room.
    elsewhere: Tally,
    /// Hosts that made way or were left out at the bound.
    pub hosts_dropped: u64,
    /// Findings that made way or were left out at a bound.
    pub findings_dropped: u64,
}

impl Ledger {
    /// An empty ledger.
    #[must_use]
    pub fn new(weights: Weights) -> Self {
        Self {
            weights: Arc::new(weights),
            hosts: BTreeMap::new(),
            looked: LookUps::default(),
            count: 0,
            elsewhere: Tally::default(),
            hosts_dropped: 0,
            findings_dropped: 0,
        }
    }

    /// The weights in force.
    #[must_use]
    pub fn weights(&self) -> &Weights {
        &self.weights
    }

    /// What became of all evidence so far.
    #[must_use]
    pub fn tally(&self) -> Tally {
        let mut all = self.elsewhere;
        self.hosts.values().flat_map(|h| h.findings.values()).for_each(|f| all.add(&f.tally));
        all
    }

    fn host(&mut self, ip: IpAddr) -> Option<&mut Host> {
        if !self.hosts.contains_key(&ip) && self.hosts.len() >= MAX_HOSTS {
            self.clear_hosts();
            if self.hosts.len() >= MAX_HOSTS {
                self.hosts_dropped += 1;
                return None;
            }
        }
        Some(self.hosts.entry(ip).or_default())
    }

    /// The least valuable hosts make way.
    #[cold]
    fn clear_hosts(&mut self) {
        let Self { hosts, weights, .. } = self;
        let of =
            |h: &Host| h.findings.values().map(|f| worth(f, weights)).max().unwrap_or((false, i32::MIN, 0));
        for ip in least(hosts.iter().map(|(ip, h)| (of(h), *ip))) {
            let Some(gone) = self.hosts.remove(&ip) else { continue };
            self.hosts_dropped += 1;
            self.forget(gone.findings.into_values());
        }
    }

    /// The least valuable findings of a host make way.
    #[cold]
    fn clear_findings(&mut self, ip: IpAddr) {
        let Some(host) = self.hosts.get_mut(&ip) else { return };
        let keys = least(host.findings.iter().map(|(key, f)| (worth(f, &self.weights), *key)));
        let gone: Vec<Box<Finding>> = keys.iter().filter_map(|key| host.findings.remove(key)).collect();
        self.forget(gone.into_iter());
    }

    fn forget(&mut self, findings: impl Iterator<Item = Box<Finding>>) {
        for finding in findings {
            self.elsewhere.add(&finding.tally);
            self.findings_dropped += 1;
            self.count -= 1;
        }
    }

    /// A labelled flow has appeared, changed or grown.
    pub fn sighted(&mut self, s: &Sighting, ctx: Context<'_>) {
        self.labelled(&s.flow, &s.verdict, s.volume, [s.flow.birth.first_ns, s.ts_ns], ctx);
        self.looked_up(&s.flow, None, ctx);
    }

    /// A flow has ended.
    pub fn ended(&mut self, ended: &Ended, ctx: Context<'_>) {
        let flow = &ended.flow;
        let span = [flow.birth.first_ns, ended.hot.last_ns];
        let label = ended.verdict.as_ref().and_then(|v| v.labels.label).and_then(label_info);
        if let (Some(label), Some(verdict)) = (label, ended.verdict.as_deref()) {
            self.labelled(flow, verdict, ended.volume(), span, ctx);
            for (n, ip) in flow.ip.into_iter().enumerate() {
                if !ctx.home.holds(ip, ctx.private_seen) {
                    continue;
                }
                let bytes: u64 = ended.hot.bytes.iter().sum();
                let outside = ctx.home.is_outside(flow.ip[1 - n]);
                if let Some(host) = self.host(ip) {
                    host.sessions += 1;
                    count(&mut host.tools, label.label, 1);
                    for ns in span {
                        host.hours |= 1 << (ns.div_euclid(3_600 * SECOND_NS)).rem_euclid(24);
                    }
                    if label.category == Category::Vpn && outside {
                        count(&mut host.egress, (label.label, flow.ip[1 - n]), bytes);
                    }
                }
            }
        }
        self.looked_up(flow, ended.verdict.as_deref(), ctx);
        self.inbound(ended, label, ctx);
    }

    /// Keeps whom a host inside has looked up, and lets it count in what is claimed of the host and the same tools, now or later.
    fn looked_up(&mut self, flow: &FlowId, verdict: Option<&Verdict>, ctx: Context<'_>) {
        if let Some(verdict) =
            verdict.filter(|v| !v.looked_up.is_empty() && ctx.home.holds(flow.ip[0], ctx.private_seen))
        {
            self.looked.learn(flow, &verdict.looked_up, &self.weights);
        }
        for host in flow.ip.iter().filter(|ip| self.looked.speaks_of(**ip)) {
            for finding in self.hosts.get_mut(host).into_iter().flat_map(|h| h.findings.values_mut()) {
                self.looked.add_to(finding);
            }
        }
    }

    /// Counts a flow's bytes to the hosts inside that it connects to the outside, from the moment evidence speaks of them: a share
    /// of what they have exchanged since. Only as whole as the flows that are reported.
    pub fn bytes(&mut self, ended: &Ended, ctx: Context<'_>) {
        for (n, ip) in ended.flow.ip.into_iter().enumerate() {
            if let Some(host) = self.hosts.get_mut(&ip)
                && ctx.home.holds(ip, ctx.private_seen)
                && ctx.home.is_outside(ended.flow.ip[1 - n])
            {
                host.bytes += ended.hot.bytes.iter().sum::<u64>();
            }
        }
    }

    fn labelled(&mut self, flow: &FlowId, v: &Verdict, volume: Volume, span: [i64; 2], ctx: Context<'_>) {
        let Some(info) = v.labels.label.and_then(label_info) else { return };
        if info.category.is_remote_control() {
            if let Some(controlled) = v.controlled {
                self.remote_control(flow, v, info, controlled, volume, span, ctx);
            }
        } else if info.category == Category::Vpn {
            self.egress(flow, v, info, volume, span, ctx);
        }
    }

    #[allow(clippy::too_many_arguments)] // the parts of one sighting
    fn remote_control(
        &mut self,
        flow: &FlowId,
        v: &Verdict,
        info: &'static LabelInfo,
        controlled: Side,
        volume: Volume,
        span: [i64; 2],
        ctx: Context<'_>,
    ) {
        let n = usize::from(controlled == Side::Dest);
        let (host, peer) = (flow.ip[n], flow.ip[1 - n]);
        if !ctx.home.holds(host, ctx.private_seen) || host == peer {
            return;
        }
        let far = ctx.intel.lookup(peer);
        let suspicious = far.class.is_suspicious_origin();
        let weights = Arc::clone(&self.weights);
        let kinds = [
            Some(FindingKind::RemoteControl),
            suspicious.then_some(FindingKind::RemoteControlSuspiciousOrigin),
        ];
        for kind in kinds.into_iter().flatten() {
            let Some(finding) = self.finding(kind, host, peer, info, flow, 1 - n, v, &far) else { continue };
            finding.seen_ns = [finding.seen_ns[0].min(span[0]), finding.seen_ns[1].max(span[1])];
            add_session(finding, &weights, flow, v, volume, span, 1 - n);
            if kind == FindingKind::RemoteControlSuspiciousOrigin {
                add_origin(finding, &weights, flow, &far);
            }
        }
    }

    fn egress(
        &mut self,
        flow: &FlowId,
        v: &Verdict,
        info: &'static LabelInfo,
        volume: Volume,
        span: [i64; 2],
        ctx: Context<'_>,
    ) {
        // The host is the inner side; where both could be (nothing private in the capture) it is the side that opened.
        let inside =
            |n: usize| ctx.home.holds(flow.ip[n], ctx.private_seen) && ctx.home.is_outside(flow.ip[1 - n]);
        let Some(n) = [0, 1].into_iter().find(|n| inside(*n)) else { return };
        let (host, peer) = (flow.ip[n], flow.ip[1 - n]);
        let far = ctx.intel.lookup(peer);
        let weights = Arc::clone(&self.weights);
        let Some(finding) = self.finding(FindingKind::EgressVpn, host, peer, info, flow, 1 - n, v, &far)
        else {
            return;
        };
        finding.seen_ns = [finding.seen_ns[0].min(span[0]), finding.seen_ns[1].max(span[1])];
        add_session(finding, &weights, flow, v, volume, span, 1 - n);
    }

    /// A session that came in from a hosting network or an anonymizer.
    fn inbound(&mut self, ended: &Ended, label: Option<&'static LabelInfo>, ctx: Context<'_>) {
        let flow = &ended.flow;
        let (peer, host) = (flow.ip[0], flow.ip[1]);
        // Where nothing is known to be inside, every session would be "inbound".
        if ctx.home.is_auto() && !ctx.private_seen {
            return;
        }
        if !ctx.home.holds(host, ctx.private_seen)
            || !ctx.home.is_outside(peer)
            || ended.hot.state() == State::New
        {
            return;
        }
        let volume = ended.volume();
        if volume.packets.iter().any(|p| *p < 4) {
            return;
        }
        let far = ctx.intel.lookup(peer);
        if !far.class.is_suspicious_origin() {
            return;
        }
        let key = (FindingKind::InboundSuspiciousOrigin, host, None);
        let prior = self.weights.prior(FindingKind::InboundSuspiciousOrigin.as_str());
        let weights = Arc::clone(&self.weights);
        let Some(finding) = self.entry(host, key, 1, || Finding {
            kind: FindingKind::InboundSuspiciousOrigin,
            host,
            peer,
            peer_port: flow.port[0],
            far_end: far.clone(),
            label: None,
            tool: None,
            flow: flow.clone(),
            seen_ns: [flow.birth.first_ns, ended.hot.last_ns],
            prior,
            lines: Vec::new(),
            packets: volume.packets,
            raised: false,
            tally: Tally::default(),
        }) else {
            return;
        };
        finding.seen_ns =
            [finding.seen_ns[0].min(flow.birth.first_ns), finding.seen_ns[1].max(ended.hot.last_ns)];
        // One line a peer: the first session of each shows, more of them change nothing.
        let detail = format!(
            "{} ({}) to port {}{}",
            peer,
            far.class_basis,
            flow.port[1],
            label.map(|l| format!(", {}", l.name)).unwrap_or_default()
        );
        let line = weighed(&weights, "inbound.session", flow, detail);
        let peer = peer.to_string();
        finding.put_once(line, |l| l.detail.split(' ').next() == Some(&peer));
    }

    #[allow(clippy::too_many_arguments)] // the parts of one finding
    fn finding(
        &mut self,
        kind: FindingKind,
        host: IpAddr,
        peer: IpAddr,
        info: &'static LabelInfo,
        flow: &FlowId,
        peer_side: usize,
        v: &Verdict,
        far: &FarEnd,
    ) -> Option<&mut Finding> {
        let prior = self.weights.prior(kind.as_str());
        self.entry(host, (kind, peer, Some(info.label)), v.evidence.len() as u64, || Finding {
            kind,
            host,
            peer,
            peer_port: flow.port[peer_side],
            far_end: far.clone(),
            label: Some(info.label),
            tool: v.tool,
            flow: flow.clone(),
            seen_ns: [flow.birth.first_ns; 2],
            prior,
            lines: Vec::new(),
            packets: [0; 2],
            raised: false,
            tally: Tally::default(),
        })
    }

    /// The finding of `key`, begun where there is room; else its `pieces` of evidence count as dropped.
    fn entry(
        &mut self,
        ip: IpAddr,
        key: Claim,
        pieces: u64,
        begin: impl FnOnce() -> Finding,
    ) -> Option<&mut Finding> {
        if self.hosts.get(&ip).is_none_or(|h| !h.findings.contains_key(&key)) {
            if self.count >= MAX_ALL_FINDINGS {
                self.clear_hosts();
            }
            if self.host(ip).is_none() {
                self.elsewhere.offered += pieces;
                self.elsewhere.over_hosts += pieces;
                return None;
            }
            if self.hosts.get(&ip).is_some_and(|h| h.findings.len() >= MAX_FINDINGS) {
                self.clear_findings(ip);
            }
            let full = self.hosts.get(&ip).is_none_or(|h| h.findings.len() >= MAX_FINDINGS);
            if full || self.count >= MAX_ALL_FINDINGS {
                self.findings_dropped += 1;
                self.elsewhere.offered += pieces;
                self.elsewhere.over_findings += pieces;
                return None;
            }
            self.count += 1;
        }
        Some(self.hosts.get_mut(&ip)?.findings.entry(key).or_insert_with(|| Box::new(begin())))
    }

    /// Findings whose score has reached the bar since the last call, in order of host and kind.
    pub fn raise(&mut self, touched: &[IpAddr], mut each: impl FnMut(&Finding, &Weights)) {
        let mut touched = touched.to_vec();
        touched.sort_unstable();
        touched.dedup();
        for ip in touched {
            let Some(host) = self.hosts.get_mut(&ip) else { continue };
            for finding in host.findings.values_mut() {
                if !finding.raised && finding.score(&self.weights) >= self.weights.raise_at {
                    finding.raised = true;
                    each(finding, &self.weights);
                }
            }
        }
    }

    /// Findings that stand, the worst first.
    #[must_use]
    pub fn findings(&self) -> Vec<&Finding> {
        let mut all: Vec<&Finding> = self
            .hosts
            .values()
            .flat_map(|h| h.findings.values())
            .map(|f| &**f)
            .filter(|f| f.raised)
            .collect();
        all.sort_by_key(|f| {
            (f.severity().number(), -f.score(&self.weights), f.host, f.kind, f.seen_ns[0], f.peer)
        });
        all
    }

    /// A record a host that evidence speaks of.
    pub fn records(&self) -> impl Iterator<Item = HostRecord> {
        self.hosts.iter().map(|(ip, host)| {
            let mut findings: Vec<Finding> = host.findings.values().map(|f| (**f).clone()).collect();
            findings.sort_by_key(|f| (-f.score(&self.weights), f.kind, f.peer));
            HostRecord {
                host: *ip,
                score: findings
                    .first()
                    .map_or_else(|| self.weights.prior("remote_control"), |f| f.score(&self.weights)),
                findings,
                egress: sorted(&host.egress).into_iter().map(|((l, peer), bytes)| (l, peer, bytes)).collect(),
                bytes: host.bytes,
                sessions: host.sessions,
                tools: sorted(&host.tools),
                active_hours: (0..24u8).filter(|h| host.hours & 1 << h != 0).collect(),
            }
        })
    }
}

/// Adds to a count; lists are short, and a tree a host would cost more than all of them.
fn count<K: PartialEq>(rows: &mut Vec<(K, u64)>, key: K, n: u64) {
    if let Some((_, sum)) = rows.iter_mut().find(|(k, _)| *k == key) {
        *sum += n;
    } else if rows.len() < MAX_FINDINGS {
        rows.push((key, n));
    }
}

fn sorted<K: Ord + Copy>(rows: &[(K, u64)]) -> Vec<(K, u64)> {
    let mut rows = rows.to_vec();
    rows.sort_unstable();
    rows
}

fn add_session(
    finding: &mut Finding,
    weights: &Weights,
    flow: &FlowId,
    v: &Verdict,
    volume: Volume,
    span: [i64; 2],
    peer_side: usize,
) {
    for e in &v.evidence {
        finding.put(Line {
            kind: e.kind.name,
            family: "protocol".into(),
            decibans: i32::from(e.kind.decibans),
            packet: e.packet,
            input: flow.birth.input,
            detail: e.detail.to_string(),
        });
    }
    let packets = [volume.packets[peer_side], volume.packets[1 - peer_side]];
    // The longest session with this peer speaks, for the finding and against it.
    if finding.packets[0] + finding.packets[1] > packets[0] + packets[1] {
        return;
    }
    finding.packets = packets;
    let bytes = [volume.bytes[peer_side], volume.bytes[1 - peer_side]];
    let lasted_ns = span[1].saturating_sub(span[0]).max(0);
    let seconds = lasted_ns / SECOND_NS;
    let told = format!(
        "{} packets ({} B) from the far end, {} ({} B) back, {} s",
        packets[0], bytes[0], packets[1], bytes[1], seconds
    );
    let sustained = packets.iter().all(|p| *p >= SUSTAINED_PACKETS);
    let midstream = v.basis == farend_analyzers::Basis::Midstream;
    let facts = [
        ("capture.one_sided", packets.contains(&0), "one direction only".to_owned()),
        ("label.midstream", midstream, "the beginning was not captured".to_owned()),
        ("session.sustained", sustained, told.clone()),
        ("session.long", sustained && lasted_ns >= LONG_NS, format!("{seconds} s")),
        ("session.short", !sustained, told),
    ];
    for (kind, holds, detail) in facts {
        if holds {
            finding.put(weighed(weights, kind, flow, detail));
        } else {
            finding.retract(kind);
        }
    }
}

/// A line of evidence that is no analyzer's, shown at the flow's first packet.
fn weighed(weights: &Weights, kind: &'static str, flow: &FlowId, detail: String) -> Line {
    let (decibans, family) = weights.of(kind);
    let (packet, input) = (flow.birth.number, flow.birth.input);
    Line { kind, family: family.to_owned(), decibans, packet, input, detail }
}

fn add_origin(finding: &mut Finding, weights: &Weights, flow: &FlowId, far: &FarEnd) {
    let kind = match far.class {
        crate::intel::Class::Vpn => "origin.vpn",
        crate::intel::Class::Tor => "origin.tor",
        crate::intel::Class::Proxy => "origin.proxy",
        _ => "origin.hosting",
    };
    let org = far.as_org.as_deref().unwrap_or("");
    let asn = far.asn.map(|a| format!("AS{a} {org}, ")).unwrap_or_default();
    finding.put(weighed(weights, kind, flow, format!("{asn}{}", far.class_basis)));
}

/// The side of a flow that is the far end: 0 = the opener, 1 = the other. The side outside; where both or none is, the side
/// that operates the other, else the called one.
#[must_use]
pub fn far_side(flow: &FlowId, verdict: Option<&Verdict>, ctx: Context<'_>) -> usize {
    let inside = [0, 1].map(|n| ctx.home.holds(flow.ip[n], ctx.private_seen));
    match inside {
        [true, false] => 1,
        [false, true] => 0,
        _ => usize::from(verdict.and_then(|v| v.controlled) != Some(Side::Dest)),
    }
}
