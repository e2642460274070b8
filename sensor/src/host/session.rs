//! What a labelled session adds to a finding: the protocol's own evidence, how long it went on, where it comes from.

use std::net::IpAddr;

use farend_analyzers::{Basis, LabelInfo, label_info};

use super::finding::{Finding, FindingKind, Line};
use super::ledger::{Claim, Ledger};
use super::weights::Weights;
use crate::clock::SECOND_NS;
use crate::flow::{Hot, State};
use crate::inspect::Verdict;
use crate::intel::{Class, FarEnd};
use crate::pipeline::{Ended, FlowId, Volume};

/// Packets each side must have sent before a session counts as more than an attempt (`session.sustained` in the weights).
pub(super) const SUSTAINED_PACKETS: u64 = 24;
/// From here on a session is long.
pub(super) const LONG_NS: i64 = 600 * SECOND_NS;
/// What analyzers see of a flow's contents is of this family, unless the weights name another one.
const PROTOCOL: &str = "protocol";

/// Packets of either side from which an answered flow counts as an exchange, with a label or without.
const EXCHANGE_PACKETS: u64 = 4;

/// Whether a flow without a label matters to findings: both sides took part, and beyond a greeting or one question.
#[must_use]
pub fn is_exchange(hot: &Hot) -> bool {
    hot.state() != State::New && (0..2).all(|side| hot.packets(side) >= EXCHANGE_PACKETS)
}

/// Whether a flow without a label could lead into a network of relays if its far end turns out to be listed as one: TLS that was used.
#[must_use]
pub fn may_reach_a_relay(hot: &Hot, verdict: Option<&Verdict>) -> bool {
    verdict.is_some_and(|v| v.app_proto == "tls") && (0..2).all(|side| hot.packets(side) >= SUSTAINED_PACKETS)
}

/// A labelled flow at a moment.
#[derive(Clone, Copy)]
pub(super) struct Session<'a> {
    pub(super) flow: &'a FlowId,
    pub(super) verdict: &'a Verdict,
    pub(super) info: &'static LabelInfo,
    pub(super) volume: Volume,
    /// First and last packet so far, ns since the epoch.
    pub(super) span: [i64; 2],
    pub(super) ended: bool,
}

impl<'a> Session<'a> {
    /// A flow that has ended, if it has a label.
    pub(super) fn of(ended: &'a Ended) -> Option<Self> {
        let (flow, verdict) = (&ended.flow, ended.verdict.as_deref()?);
        let info = verdict.labels.label.and_then(label_info)?;
        let span = [flow.birth.first_ns, ended.hot.last_ns];
        Some(Self { flow, verdict, info, volume: ended.volume(), span, ended: true })
    }

    pub(super) fn lasted_ns(&self) -> i64 {
        self.span[1].saturating_sub(self.span[0]).max(0)
    }
}

impl Ledger {
    /// The finding of this kind about `host` that the session speaks of; its peer is the flow's side `peer_side`.
    pub(super) fn finding(
        &mut self,
        kind: FindingKind,
        s: &Session<'_>,
        peer_side: usize,
        far: &FarEnd,
    ) -> Option<&mut Finding> {
        let (host, peer): (IpAddr, IpAddr) = (s.flow.ip[1 - peer_side], s.flow.ip[peer_side]);
        let prior = self.weights.prior(kind.as_str());
        let claim = Claim { kind, service: None, peer, label: Some(s.info.label) };
        let finding = self.entry(host, claim, s.verdict.evidence.len() as u64, || Finding {
            label: Some(s.info.label),
            tool: s.verdict.tool,
            ..Finding::begun(kind, s.flow, peer_side, far, prior)
        })?;
        finding.seen_ns = [finding.seen_ns[0].min(s.span[0]), finding.seen_ns[1].max(s.span[1])];
        Some(finding)
    }
}

/// Adds what the session shows. `of_behaviour`: what its shape says of somebody at work counts, too.
pub(super) fn add_session(
    finding: &mut Finding,
    weights: &Weights,
    s: &Session<'_>,
    peer_side: usize,
    of_behaviour: bool,
) {
    let packets = [s.volume.packets[peer_side], s.volume.packets[1 - peer_side]];
    // The longest session with this peer speaks, for the finding and against it.
    let longest = finding.packets[0] + finding.packets[1] <= packets[0] + packets[1];
    if longest && !finding.raised && finding.flow.id != s.flow.id {
        // Attempts that came before it are not what the finding rests on.
        finding.lines.retain(|l| l.family != PROTOCOL);
        finding.flow = s.flow.clone();
        finding.peer_port = s.flow.port[peer_side];
        finding.tool = s.verdict.tool;
    }
    let deciding = finding.flow.id == s.flow.id;
    for e in &s.verdict.evidence {
        let (decibans, family) = match weights.of(e.kind.name) {
            (_, "") => (i32::from(e.kind.decibans), PROTOCOL),
            weighed => weighed,
        };
        // Every session with a peer begins with the same handshake: said once, it is said.
        let counts = if family == PROTOCOL { deciding } else { of_behaviour };
        if counts {
            finding.put(Line {
                kind: e.kind.name,
                family: family.into(),
                decibans,
                packet: e.packet,
                input: s.flow.birth.input,
                detail: e.detail.to_string(),
            });
        } else {
            finding.tally.offered += 1;
            finding.tally.coalesced += 1;
        }
    }
    if !longest {
        return;
    }
    finding.packets = packets;
    let bytes = [s.volume.bytes[peer_side], s.volume.bytes[1 - peer_side]];
    let seconds = s.lasted_ns() / SECOND_NS;
    let told = format!(
        "{} packets ({} B) from the far end, {} ({} B) back, {} s",
        packets[0], bytes[0], packets[1], bytes[1], seconds
    );
    let sustained = packets.iter().all(|p| *p >= SUSTAINED_PACKETS);
    let midstream = s.verdict.basis == Basis::Midstream;
    let facts = [
        ("capture.one_sided", packets.contains(&0), "one direction only".to_owned()),
        ("label.midstream", midstream, "the beginning was not captured".to_owned()),
        ("session.sustained", sustained, told.clone()),
        ("session.long", sustained && s.lasted_ns() >= LONG_NS, format!("{seconds} s")),
        ("session.short", !sustained, told),
    ];
    // First what no longer holds, so that there is room for what does.
    facts.iter().filter(|(_, holds, _)| !holds).for_each(|(kind, ..)| finding.retract(kind));
    for (kind, _, detail) in facts.into_iter().filter(|(_, holds, _)| *holds) {
        finding.put(weighed(weights, kind, s.flow, detail));
    }
}

/// A line of evidence that is no analyzer's, shown at the flow's first packet.
pub(super) fn weighed(weights: &Weights, kind: &'static str, flow: &FlowId, detail: String) -> Line {
    let (decibans, family) = weights.of(kind);
    let (packet, input) = (flow.birth.number, flow.birth.input);
    Line { kind, family: family.to_owned(), decibans, packet, input, detail }
}

/// The far end's network in words: AS, and what its class rests on.
pub(super) fn network(far: &FarEnd) -> String {
    let org = far.as_org.as_deref().unwrap_or("");
    let asn = far.asn.map(|a| format!("AS{a} {org}, ")).unwrap_or_default();
    format!("{asn}{}", far.class_basis)
}

pub(super) fn add_origin(finding: &mut Finding, weights: &Weights, flow: &FlowId, far: &FarEnd) {
    let kind = match far.class {
        Class::Vpn => "origin.vpn",
        Class::Tor => "origin.tor",
        Class::Proxy => "origin.proxy",
        _ => "origin.hosting",
    };
    finding.put(weighed(weights, kind, flow, network(far)));
}
