//! A finding: what is claimed of a host, and every line of evidence behind it.

use std::net::IpAddr;

use super::service::Service;
use super::weights::Weights;
use crate::intel::FarEnd;
use crate::pipeline::FlowId;
use farend_analyzers::decibans;

/// What can be found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum FindingKind {
    /// The host is operated remotely.
    RemoteControl,
    /// … from a hosting network, VPN, Tor or proxy.
    RemoteControlSuspiciousOrigin,
    /// Sessions into the host come from hosting networks or anonymizers.
    InboundSuspiciousOrigin,
    /// The host's traffic leaves through a VPN.
    EgressVpn,
    /// … through a proxy outside.
    EgressProxy,
    /// … through Tor.
    EgressTor,
    /// … through a carrier of its own, which ends at a server in a hosting network.
    EgressVps,
    /// A tunnel in DNS, ICMP, HTTP, WebSocket or TLS, or one that lets somebody in from outside.
    TunnelCovert,
    /// The host is an IP-KVM: keyboard, screen and mouse of a machine beside it.
    IpKvm,
}

impl FindingKind {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::RemoteControl,
        Self::RemoteControlSuspiciousOrigin,
        Self::InboundSuspiciousOrigin,
        Self::EgressVpn,
        Self::EgressProxy,
        Self::EgressTor,
        Self::EgressVps,
        Self::TunnelCovert,
        Self::IpKvm,
    ];

    /// The contract's word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::RemoteControl => "remote_control",
            Self::RemoteControlSuspiciousOrigin => "remote_control_suspicious_origin",
            Self::InboundSuspiciousOrigin => "inbound_suspicious_origin",
            Self::EgressVpn => "egress_vpn",
            Self::EgressProxy => "egress_proxy",
            Self::EgressTor => "egress_tor",
            Self::EgressVps => "egress_vps",
            Self::TunnelCovert => "tunnel_covert",
            Self::IpKvm => "ip_kvm",
        }
    }

    /// Signature id of its alerts; never reused.
    #[must_use]
    pub const fn signature_id(self) -> u32 {
        match self {
            Self::RemoteControl => 9_100_001,
            Self::RemoteControlSuspiciousOrigin => 9_100_002,
            Self::InboundSuspiciousOrigin => 9_100_003,
            Self::EgressVpn => 9_100_004,
            Self::EgressProxy => 9_100_005,
            Self::EgressTor => 9_100_006,
            Self::EgressVps => 9_100_007,
            Self::TunnelCovert => 9_100_008,
            Self::IpKvm => 9_100_009,
        }
    }

    /// `alert.category`.
    #[must_use]
    pub const fn category(self) -> &'static str {
        match self {
            Self::RemoteControl | Self::RemoteControlSuspiciousOrigin | Self::IpKvm => "Remote access",
            Self::InboundSuspiciousOrigin => "Suspicious origin",
            Self::EgressVpn | Self::EgressProxy | Self::EgressTor | Self::EgressVps => "Hidden egress",
            Self::TunnelCovert => "Covert tunnel",
        }
    }
}

/// How urgent it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// For the record.
    Low,
    /// To be looked at.
    Medium,
    /// To be looked at today.
    High,
    /// Now.
    Critical,
}

impl Severity {
    /// The contract's word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Critical => "critical",
        }
    }

    /// Suricata's number: 1 is the worst.
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::Critical => 1,
            Self::High => 2,
            Self::Medium => 3,
            Self::Low => 4,
        }
    }
}

/// One line of evidence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Dotted name.
    pub kind: &'static str,
    /// Family whose sum is capped; analyzers' evidence is of the family `protocol`.
    pub family: String,
    /// Its weight.
    pub decibans: i32,
    /// Packet it can be checked at, 1-based.
    pub packet: u64,
    /// Index of the input that the packet is in.
    pub input: u16,
    /// The particulars.
    pub detail: String,
}

/// Labels of which a covert tunnel's finding speaks in its own words.
const DNS_TUNNEL: &str = "dns_tunnel";
const REVERSE_TUNNEL: &str = "reverse_tunnel";
const TLS_TUNNEL: &str = "tls_tunnel";

/// Lines kept of one finding; the contract's bound on memory.
const MAX_LINES: usize = 32;

/// What became of evidence that was offered to findings: offered = the sum of all others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Pieces of evidence that spoke of a host.
    pub offered: u64,
    /// Became a line of its own.
    pub applied: u64,
    /// Brought a line up to date, or said again what one says.
    pub coalesced: u64,
    /// The finding had no room for another line.
    pub over_lines: u64,
    /// The host had no room for another finding.
    pub over_findings: u64,
    /// There was no room for another host.
    pub over_hosts: u64,
}

impl Tally {
    /// Adds another one.
    pub const fn add(&mut self, other: &Self) {
        self.offered += other.offered;
        self.applied += other.applied;
        self.coalesced += other.coalesced;
        self.over_lines += other.over_lines;
        self.over_findings += other.over_findings;
        self.over_hosts += other.over_hosts;
    }
}

/// A finding.
#[derive(Clone, Debug)]
pub struct Finding {
    /// What is claimed.
    pub kind: FindingKind,
    /// Of whom.
    pub host: IpAddr,
    /// The other side.
    pub peer: IpAddr,
    /// Port of the other side in the deciding flow.
    pub peer_port: u16,
    /// What is known of the other side's address.
    pub far_end: FarEnd,
    /// Label of the deciding flow, if any.
    pub label: Option<&'static str>,
    /// Catalogue name of the tool.
    pub tool: Option<&'static str>,
    /// The service that was called, where the finding is about one.
    pub service: Option<Service>,
    /// Thousandths of the host's bytes over the border that left this way, once known.
    pub share: Option<u16>,
    /// The deciding flow: when the finding was raised, the longest.
    pub flow: FlowId,
    /// First and last packet that count, ns since the epoch.
    pub seen_ns: [i64; 2],
    /// Score of the finding before evidence.
    pub prior: i32,
    /// The evidence.
    pub lines: Vec<Line>,
    /// Packets of the deciding flow so far, peer's first.
    pub packets: [u64; 2],
    /// An alert was given for it.
    pub raised: bool,
    /// What became of the evidence offered to it.
    pub tally: Tally,
}

impl Finding {
    /// A finding of this kind about the other side of the flow's side `peer_side`, with no evidence yet.
    pub(super) fn begun(
        kind: FindingKind,
        flow: &FlowId,
        peer_side: usize,
        far: &FarEnd,
        prior: i32,
    ) -> Self {
        Self {
            kind,
            host: flow.ip[1 - peer_side],
            peer: flow.ip[peer_side],
            peer_port: flow.port[peer_side],
            far_end: far.clone(),
            label: None,
            tool: None,
            service: None,
            share: None,
            flow: flow.clone(),
            seen_ns: [flow.birth.first_ns; 2],
            prior,
            lines: Vec::new(),
            packets: [0; 2],
            raised: false,
            tally: Tally::default(),
        }
    }

    /// Adds a line, or replaces the one of the same kind and packet input (a session that has grown is one line).
    pub fn put(&mut self, line: Line) {
        let same = |l: &Line| l.kind == line.kind && (l.family != "protocol" || l.packet == line.packet);
        let known = self.lines.iter().position(same);
        self.place(line, known);
    }

    /// Adds a line unless one is the `same`, which stays as it is.
    pub fn put_once(&mut self, line: Line, same: impl Fn(&Line) -> bool) {
        if self.lines.iter().any(same) {
            self.tally.offered += 1;
            self.tally.coalesced += 1;
        } else {
            self.place(line, None);
        }
    }

    fn place(&mut self, line: Line, known: Option<usize>) {
        self.tally.offered += 1;
        match known {
            Some(at) => {
                self.lines[at] = line;
                self.tally.coalesced += 1;
            }
            None if self.lines.len() < MAX_LINES => {
                self.lines.push(line);
                self.tally.applied += 1;
            }
            None => self.tally.over_lines += 1,
        }
    }

    /// Takes over other weights.
    pub(super) fn reweigh(&mut self, weights: &Weights) {
        self.prior = weights.prior(self.kind.as_str());
        for line in &mut self.lines {
            // An analyzer's own stays, unless a file says otherwise.
            if let (decibans, family) = weights.of(line.kind)
                && !family.is_empty()
            {
                line.decibans = decibans;
                family.clone_into(&mut line.family);
            }
        }
    }

    /// Takes out lines of this kind.
    pub fn retract(&mut self, kind: &str) {
        self.lines.retain(|l| l.kind != kind);
    }

    /// Sum of the evidence by family, in the order in which families first appear.
    fn families(&self) -> Vec<(&str, i32)> {
        let mut families: Vec<(&str, i32)> = Vec::new();
        for line in &self.lines {
            match families.iter_mut().find(|(f, _)| *f == line.family) {
                Some((_, sum)) => *sum += line.decibans,
                None => families.push((&line.family, line.decibans)),
            }
        }
        families
    }

    /// prior + evidence, each family capped.
    #[must_use]
    pub fn score(&self, weights: &Weights) -> i32 {
        self.prior + self.families().iter().map(|(family, sum)| (*sum).min(weights.cap(family))).sum::<i32>()
    }

    /// Families whose evidence adds up to more than they may count: family, sum, cap. Without them nobody could check the score.
    #[must_use]
    pub fn capped(&self, weights: &Weights) -> Vec<(&str, i32, i32)> {
        let families = self.families().into_iter().map(|(family, sum)| (family, sum, weights.cap(family)));
        families.filter(|(_, sum, cap)| sum > cap).collect()
    }

    /// Probability × 1000.
    #[must_use]
    pub fn posterior(&self, weights: &Weights) -> u16 {
        decibans::per_mille(self.score(weights))
    }

    /// Stable name: the same host, claim, peer and tool (of a finding about a service: that service, whoever called first) have
    /// the same id in every run.
    #[must_use]
    pub fn id(&self) -> String {
        let mut hash = 0xCBF2_9CE4_8422_2325_u64; // FNV-1a, 64 bits
        let (host, kind) = (self.host, self.kind.as_str());
        let text = match self.service {
            Some(service) => format!("{host}|{kind}|{service}"),
            None => format!("{host}|{kind}|{}|{}", self.peer, self.label.unwrap_or("-")),
        };
        for byte in text.bytes() {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3);
        }
        format!("F-{:010x}", hash & 0xFF_FFFF_FFFF)
    }

    /// How urgent, by what kind it is and where the other side sits.
    #[must_use]
    pub fn severity(&self) -> Severity {
        let private = crate::home::is_private(self.peer);
        match self.kind {
            FindingKind::RemoteControl if private => Severity::Low,
            FindingKind::RemoteControl => Severity::Medium,
            FindingKind::RemoteControlSuspiciousOrigin => Severity::High,
            FindingKind::InboundSuspiciousOrigin => Severity::Low,
            FindingKind::EgressVpn | FindingKind::EgressProxy
                if self.far_end.class.is_suspicious_origin() =>
            {
                Severity::Medium
            }
            FindingKind::EgressVpn | FindingKind::EgressProxy => Severity::Low,
            // Addresses on a list, without the protocol, are a reason to look, not to act.
            FindingKind::EgressTor if self.label.is_none() => Severity::Medium,
            FindingKind::EgressTor => Severity::High,
            FindingKind::EgressVps => Severity::Medium,
            // Within the network it leads nowhere that matters more than its ends; a resolver inside asks outside.
            FindingKind::TunnelCovert if private && self.label != Some(DNS_TUNNEL) => Severity::Low,
            // A resolver's address says nothing of where the tunnel ends.
            FindingKind::TunnelCovert if self.label == Some(DNS_TUNNEL) => Severity::Medium,
            FindingKind::TunnelCovert
                if self.label == Some(REVERSE_TUNNEL) || self.far_end.class.is_suspicious_origin() =>
            {
                Severity::High
            }
            FindingKind::TunnelCovert => Severity::Medium,
            FindingKind::IpKvm if self.has("device.operator_outside") => Severity::High,
            FindingKind::IpKvm => Severity::Medium,
        }
    }

    /// The other side in words: address, network, class.
    #[must_use]
    pub fn peer_in_words(&self) -> String {
        let mut words = self.peer.to_string();
        let org = self.far_end.as_org.as_deref().unwrap_or("unknown network");
        match self.far_end.asn {
            Some(asn) => words += &format!(" (AS{asn} {org}, {})", self.far_end.class.as_str()),
            None => words += &format!(" ({})", self.far_end.class.as_str()),
        }
        words
    }

    /// The tool's or protocol's name for people.
    #[must_use]
    pub fn tool_in_words(&self) -> &'static str {
        self.tool
            .or_else(|| self.label.and_then(farend_analyzers::label_info).map(|l| l.name))
            .unwrap_or("an unknown protocol")
    }

    /// Whether a line of this kind counts.
    #[must_use]
    pub fn has(&self, kind: &str) -> bool {
        self.lines.iter().any(|l| l.kind == kind)
    }

    /// The claim in a sentence: what was seen, no more.
    #[must_use]
    pub fn summary(&self) -> String {
        let (host, peer, tool) = (self.host, self.peer_in_words(), self.tool_in_words());
        let control = || {
            if self.has("shape.operated") {
                format!("{host} is operated by {tool} from {peer}, at a person's pace")
            } else if self.has("session.sustained") {
                format!("{host} can be operated by {tool} from {peer}: a session went on beyond log-in")
            } else {
                format!("{host} may be operated by {tool} from {peer}")
            }
        };
        let through = |what: &str| format!("{host} sends traffic through {what}{}", self.share_in_words());
        match self.kind {
            FindingKind::RemoteControl => control(),
            FindingKind::RemoteControlSuspiciousOrigin => {
                format!("{}; people seldom sit at such an address", control())
            }
            FindingKind::InboundSuspiciousOrigin => {
                let service = self.service.map(|s| format!(", {s}")).unwrap_or_default();
                let label = self.label.map(|_| format!(" ({tool})")).unwrap_or_default();
                format!("sessions into {host}{service}{label} come from {peer}")
            }
            FindingKind::EgressVpn => through(&format!("{tool} to {peer}")),
            FindingKind::EgressProxy => through(&format!("a proxy ({tool}) at {peer}")),
            FindingKind::EgressTor if self.label.is_none() => format!(
                "{host} has TLS sessions with addresses that are listed as Tor relays, the first {peer}; Tor itself was not recognised"
            ),
            FindingKind::EgressTor => through(&format!("{tool}, by way of {peer}")),
            FindingKind::EgressVps => {
                let what = through(&format!("{tool} to a server in a hosting network, {peer}"));
                format!("{what}; who rents it does not show")
            }
            FindingKind::TunnelCovert => match self.label {
                Some(DNS_TUNNEL) => {
                    format!("{host} talks through {tool}, by way of {peer}; where it ends does not show")
                }
                Some(REVERSE_TUNNEL) => {
                    format!("{host} lets sessions in from outside through {tool} at {peer}")
                }
                Some(TLS_TUNNEL) => format!("{host} talks to {peer} through a tunnel inside TLS"),
                _ => format!("{host} talks to {peer} through {tool}"),
            },
            FindingKind::IpKvm => self.device_in_words(),
        }
    }

    fn device_in_words(&self) -> String {
        let detail = |kind: &str| self.lines.iter().find(|l| l.kind == kind).map(|l| &*l.detail);
        let used = detail("device.operator_outside").map(|who| format!(", used from outside by {who}"));
        let beside = detail("device.beside").map_or_else(
            || "nobody else on its network was seen".to_owned(),
            |hosts| format!("on its network at the time: {hosts}"),
        );
        let (host, tool) = (self.host, self.tool_in_words());
        let what = format!("{host} is an IP-KVM ({tool}), keyboard, screen and mouse of a machine beside it");
        format!("{what}{}; {beside}", used.unwrap_or_default())
    }

    fn share_in_words(&self) -> String {
        let of = |s: u16| format!(": {}.{} % of its bytes over the border", s / 10, s % 10);
        self.share.map(of).unwrap_or_default()
    }
}
