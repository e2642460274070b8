//! Remote control: sessions by which somebody can operate a host inside.

use std::net::IpAddr;
use std::sync::Arc;

use farend_analyzers::Side;

use super::finding::{Finding, FindingKind};
use super::ledger::{Context, Ledger};
use super::session::{Session, add_origin, add_session, weighed};

/// Other tools named in one line.
const MAX_NAMED: usize = 3;

impl Ledger {
    pub(super) fn remote_control(&mut self, s: &Session<'_>, controlled: Side, ctx: Context<'_>) {
        let n = usize::from(controlled == Side::Dest);
        let (host, peer) = (s.flow.ip[n], s.flow.ip[1 - n]);
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
            let Some(finding) = self.finding(kind, s, 1 - n, &far) else { continue };
            add_session(finding, &weights, s, 1 - n, true);
            if kind == FindingKind::RemoteControlSuspiciousOrigin {
                add_origin(finding, &weights, s.flow, &far);
            }
        }
        self.several_tools(host, ctx);
    }

    /// Two families of tools that outsiders hold of one host speak for each other. Only sessions that went on count: whoever
    /// scans tries them all.
    fn several_tools(&mut self, host: IpAddr, ctx: Context<'_>) {
        let weights = Arc::clone(&self.weights);
        let Some(host) = self.hosts.get_mut(&host) else { return };
        let used = |f: &Finding| {
            f.kind == FindingKind::RemoteControl
                && f.has("session.sustained")
                && ctx.home.is_outside(f.peer)
                && !ctx.home.holds(f.peer, ctx.private_seen)
        };
        let mut tools: Vec<Tool> = host.findings.values().filter(|f| used(f)).map(|f| Tool::of(f)).collect();
        tools.sort_by(|a, b| (a.since_ns, a.family, a.peer).cmp(&(b.since_ns, b.family, b.peer)));
        if tools.iter().all(|t| Some(t.family) == tools.first().map(|t| t.family)) {
            return;
        }
        for finding in host.findings.values_mut() {
            let control = matches!(
                finding.kind,
                FindingKind::RemoteControl | FindingKind::RemoteControlSuspiciousOrigin
            );
            let own = family(finding);
            let mut others: Vec<&Tool> = Vec::new();
            for tool in &tools {
                if tool.family != own && others.iter().all(|t| t.family != tool.family) {
                    others.push(tool);
                }
            }
            let Some(first) = others.first().filter(|_| control && finding.has("session.sustained")) else {
                continue;
            };
            let named: Vec<String> =
                others.iter().take(MAX_NAMED).map(|t| format!("{} by {}", t.peer, t.name)).collect();
            finding.put(weighed(&weights, "host.several_tools", &first.flow, named.join(", ")));
        }
    }
}

/// A tool that an outsider has used on a host.
struct Tool {
    family: &'static str,
    name: &'static str,
    peer: IpAddr,
    since_ns: i64,
    flow: crate::pipeline::FlowId,
}

impl Tool {
    fn of(f: &Finding) -> Self {
        Self {
            family: family(f),
            name: f.tool_in_words(),
            peer: f.peer,
            since_ns: f.seen_ns[0],
            flow: f.flow.clone(),
        }
    }
}

/// What counts as one and the same kind of tool: a gateway in front of it, or the shell that starts it, is no second one.
fn family(f: &Finding) -> &'static str {
    match f.label.unwrap_or_default() {
        "rdp_gateway" => "rdp",
        "mosh" => "ssh",
        "rmm_other" | "ip_kvm_other" => f.tool_in_words(),
        label => label,
    }
}
