//! The ledger: evidence a host and peer, and the findings it adds up to.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use farend_analyzers::{Side, label_info};

use super::device::Devices;
use super::finding::{Finding, FindingKind, Tally};
use super::looked::LookUps;
use super::loss::Loss;
use super::room::{least, worth};
use super::service::Service;
use super::session::{Session, is_exchange};
use super::weights::Weights;
use crate::clock::SECOND_NS;
use crate::home::Home;
use crate::inspect::Verdict;
use crate::intel::Intel;
use crate::pipeline::{Ended, FlowId, Sighting};

/// Hosts kept.
const MAX_HOSTS: usize = 65_536;
/// Findings kept of one host, and peers that its traffic leaves to.
const MAX_FINDINGS: usize = 256;
/// Findings kept of all hosts together: some 100 MB when each is full of lines.
const MAX_ALL_FINDINGS: usize = 65_536;

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

/// What a finding of a host is about: what is claimed, of which service, the other side, the label.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Claim {
    pub(super) kind: FindingKind,
    pub(super) service: Option<Service>,
    /// The host itself where the finding is not about one peer.
    pub(super) peer: IpAddr,
    pub(super) label: Option<&'static str>,
}

/// Flows that ended, of one host and one carrier.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Through {
    pub(super) bytes: u64,
    pub(super) sessions: u64,
}

#[derive(Debug, Default)]
pub(super) struct Host {
    /// Boxed: a node of the tree has room for eleven, and most hosts have one.
    pub(super) findings: BTreeMap<Claim, Box<Finding>>,
    /// Bytes over the border in flows that ended since evidence first spoke of it.
    pub(super) bytes: u64,
    /// What has left through each carrier (label, peer).
    pub(super) egress: Vec<((&'static str, IpAddr), Through)>,
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
    pub(super) weights: Arc<Weights>,
    pub(super) hosts: BTreeMap<IpAddr, Host>,
    /// Look-ups that may come to count.
    looked: LookUps,
    pub(super) devices: Devices,
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
            devices: Devices::default(),
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

    /// From now on these weights count, also for evidence that is there already.
    pub fn set_weights(&mut self, weights: Weights) {
        for finding in self.hosts.values_mut().flat_map(|h| h.findings.values_mut()) {
            finding.reweigh(&weights);
        }
        self.weights = Arc::new(weights);
    }

    /// Hosts that evidence speaks of.
    #[must_use]
    pub fn hosts(&self) -> usize {
        self.hosts.len()
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
        if let Some(info) = s.verdict.labels.label.and_then(label_info) {
            let span = [s.flow.birth.first_ns, s.ts_ns];
            let session =
                Session { flow: &s.flow, verdict: &s.verdict, info, volume: s.volume, span, ended: false };
            self.labelled(&session, ctx);
        }
        self.clues(&s.flow, &s.verdict, ctx);
        self.looked_up(&s.flow, None, ctx);
    }

    /// A flow has ended; [`Ledger::bytes`] has counted it.
    pub fn ended(&mut self, ended: &Ended, ctx: Context<'_>) {
        let session = Session::of(ended);
        if let Some(session) = &session {
            self.tools(session, ctx);
            self.labelled(session, ctx);
        } else {
            self.listed_relay(ended, ctx);
        }
        if let Some(verdict) = ended.verdict.as_deref() {
            self.clues(&ended.flow, verdict, ctx);
            self.streamed(&ended.flow, verdict);
        }
        self.looked_up(&ended.flow, ended.verdict.as_deref(), ctx);
        self.inbound(ended, session.map(|s| s.info), ctx);
    }

    /// Counts an ended session in the records of the hosts inside.
    fn tools(&mut self, s: &Session<'_>, ctx: Context<'_>) {
        for ip in s.flow.ip {
            if !ctx.home.holds(ip, ctx.private_seen) {
                continue;
            }
            let Some(host) = self.host(ip) else { continue };
            host.sessions += 1;
            count(&mut host.tools, s.info.label, |n| *n += 1);
            for ns in s.span {
                host.hours |= 1 << (ns.div_euclid(3_600 * SECOND_NS)).rem_euclid(24);
            }
        }
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

    /// Counts bytes to the hosts inside that exchanged them with the outside, from the moment evidence speaks of them: greetings and
    /// single questions are left out. `ended` are the flows of a tick, `exchanged` the bytes of those that are not among them. To be
    /// called before [`Ledger::ended`] is for the first of them. Sessions come first, so that a share does not depend on which flows are reported.
    pub fn bytes(&mut self, ended: &[Ended], exchanged: &[(IpAddr, u64)], ctx: Context<'_>) {
        for ended in ended {
            let Some(session) = Session::of(ended) else { continue };
            for (n, ip) in ended.flow.ip.into_iter().enumerate() {
                if let Some(peer) = peer_outside(ended, n, ctx)
                    && let Some(host) = self.host(ip)
                {
                    let bytes: u64 = ended.hot.bytes.iter().sum();
                    host.bytes += bytes;
                    if session.is_egress_of(n, ctx) {
                        count(&mut host.egress, (session.info.label, peer), |through| {
                            through.bytes += bytes;
                            through.sessions += 1;
                        });
                    }
                }
            }
        }
        if self.hosts.is_empty() {
            return;
        }
        for ended in ended.iter().filter(|e| is_exchange(&e.hot) && Session::of(e).is_none()) {
            for (n, ip) in ended.flow.ip.iter().enumerate() {
                if peer_outside(ended, n, ctx).is_some()
                    && let Some(host) = self.hosts.get_mut(ip)
                {
                    host.bytes += ended.hot.bytes.iter().sum::<u64>();
                }
            }
        }
        for (ip, bytes) in exchanged {
            if let Some(host) = self.hosts.get_mut(ip) {
                host.bytes += bytes;
            }
        }
    }

    fn labelled(&mut self, s: &Session<'_>, ctx: Context<'_>) {
        if !s.info.category.is_remote_control() {
            self.egress(s, ctx);
            self.covert(s, ctx);
        } else if let Some(controlled) = s.verdict.controlled {
            self.remote_control(s, controlled, ctx);
            self.used_device(s, controlled, ctx);
        }
    }

    /// The finding of `key`, begun where there is room; else its `pieces` of evidence count as dropped.
    pub(super) fn entry(
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

    /// Findings whose score has reached the bar since the last call, in order of host and kind, with what was lost while they
    /// came about.
    pub fn raise(&mut self, touched: &mut [IpAddr], loss: &Loss, mut each: impl FnMut(&Finding, &Weights)) {
        touched.sort_unstable();
        let mut last = None;
        for ip in touched.iter().filter(|ip| last.replace(**ip) != Some(**ip)) {
            let Some(host) = self.hosts.get_mut(ip) else { continue };
            for finding in host.findings.values_mut() {
                loss.add_to(finding, &self.weights);
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
            (f.severity().number(), -f.score(&self.weights), f.host, f.kind, f.service, f.seen_ns[0], f.peer)
        });
        all
    }

    /// A record a host that evidence speaks of.
    pub fn records(&self) -> impl Iterator<Item = HostRecord> {
        self.hosts.iter().map(|(ip, host)| {
            let mut findings: Vec<Finding> = host.findings.values().map(|f| (**f).clone()).collect();
            findings.sort_by_key(|f| (-f.score(&self.weights), f.kind, f.service, f.peer));
            HostRecord {
                host: *ip,
                score: findings
                    .first()
                    .map_or_else(|| self.weights.prior("remote_control"), |f| f.score(&self.weights)),
                findings,
                egress: sorted(&host.egress).into_iter().map(|((l, peer), t)| (l, peer, t.bytes)).collect(),
                bytes: host.bytes,
                sessions: host.sessions,
                tools: sorted(&host.tools),
                active_hours: (0..24u8).filter(|h| host.hours & 1 << h != 0).collect(),
            }
        })
    }
}

/// Adds to a row; lists are short, and a tree a host would cost more than all of them.
fn count<K: PartialEq, V: Default>(rows: &mut Vec<(K, V)>, key: K, add: impl FnOnce(&mut V)) {
    if let Some((_, value)) = rows.iter_mut().find(|(k, _)| *k == key) {
        add(value);
    } else if rows.len() < MAX_FINDINGS {
        let mut value = V::default();
        add(&mut value);
        rows.push((key, value));
    }
}

fn sorted<K: Ord + Copy, V: Copy>(rows: &[(K, V)]) -> Vec<(K, V)> {
    let mut rows = rows.to_vec();
    rows.sort_unstable_by_key(|(k, _)| *k);
    rows
}

/// The other end of side `n` of a flow, if that side is inside and the other one outside.
fn peer_outside(ended: &Ended, n: usize, ctx: Context<'_>) -> Option<IpAddr> {
    let (ip, peer) = (ended.flow.ip[n], ended.flow.ip[1 - n]);
    (ctx.home.holds(ip, ctx.private_seen) && ctx.home.is_outside(peer)).then_some(peer)
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
