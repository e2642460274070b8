//! Sessions that come in from hosting networks and anonymizers: one finding a host and service, one line of evidence a peer.

use std::sync::Arc;

use farend_analyzers::LabelInfo;

use super::finding::{Finding, FindingKind};
use super::ledger::{Claim, Context, Ledger};
use super::service::Service;
use super::session::{is_exchange, weighed};
use crate::pipeline::Ended;

impl Ledger {
    pub(super) fn inbound(&mut self, ended: &Ended, label: Option<&'static LabelInfo>, ctx: Context<'_>) {
        let flow = &ended.flow;
        let (peer, host) = (flow.ip[0], flow.ip[1]);
        // Where nothing is known to be inside, every session would be "inbound".
        if ctx.home.is_auto() && !ctx.private_seen {
            return;
        }
        let comes_in = ctx.home.holds(host, ctx.private_seen) && ctx.home.is_outside(peer);
        if !comes_in || !is_exchange(&ended.hot) {
            return;
        }
        let volume = ended.volume();
        let far = ctx.intel.lookup(peer);
        if !far.class.is_suspicious_origin() {
            return;
        }
        let kind = FindingKind::InboundSuspiciousOrigin;
        let service = Some(Service::called(flow.proto, flow.port[1]));
        let prior = self.weights.prior(kind.as_str());
        let weights = Arc::clone(&self.weights);
        let claim = Claim { kind, service, peer: host, label: None };
        let Some(finding) = self.entry(host, claim, 1, || Finding {
            service,
            packets: volume.packets,
            ..Finding::begun(kind, flow, 0, &far, prior)
        }) else {
            return;
        };
        finding.seen_ns =
            [finding.seen_ns[0].min(flow.birth.first_ns), finding.seen_ns[1].max(ended.hot.last_ns)];
        // A session that broke off before anything showed may have come first.
        finding.label = finding.label.or(label.map(|l| l.label));
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
}
