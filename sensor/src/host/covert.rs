//! Covert tunnels: a host talks through DNS, ICMP, HTTP, WebSocket or TLS that carry something else, or lets somebody in from outside
//! through a server in between.
//!
//! The finding is about the side inside; where both are, about the one that uses the tunnel: whoever serves one takes others'
//! traffic. Of a tunnel in DNS the other side is a resolver more often than not, and says nothing of where it ends.

use std::sync::Arc;

use farend_analyzers::Side;

use super::finding::FindingKind;
use super::ledger::{Context, Ledger};
use super::session::{Session, add_session};

/// Labels of tunnels that hide what they carry. An `ssh_tunnel` does not pretend to be something else; `tunnel_unknown` is a
/// finding of its own.
const COVERT: [&str; 6] =
    ["dns_tunnel", "icmp_tunnel", "websocket_tunnel", "http_tunnel", "tls_tunnel", "reverse_tunnel"];

impl Session<'_> {
    /// The side that a covert tunnel makes a finding about.
    fn covert_of(&self, ctx: Context<'_>) -> Option<usize> {
        if !COVERT.contains(&self.info.label) {
            return None;
        }
        let client = usize::from(self.verdict.client == Some(Side::Dest));
        let inside = |n: usize| ctx.home.holds(self.flow.ip[n], ctx.private_seen);
        [client, 1 - client].into_iter().find(|n| inside(*n))
    }
}

impl Ledger {
    pub(super) fn covert(&mut self, s: &Session<'_>, ctx: Context<'_>) {
        let Some(n) = s.covert_of(ctx) else { return };
        let far = ctx.intel.lookup(s.flow.ip[1 - n]);
        let weights = Arc::clone(&self.weights);
        let Some(finding) = self.finding(FindingKind::TunnelCovert, s, 1 - n, &far) else { return };
        add_session(finding, &weights, s, 1 - n, false);
    }
}
