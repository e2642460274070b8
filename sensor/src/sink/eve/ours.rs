//! The `farend` object of flow, alert and host records.

use std::net::{IpAddr, SocketAddr};

use farend_analyzers::{Side, Stun, label_info};
use serde::Serialize;

use super::probability;
use crate::host::{Finding, Line, Weights};
use crate::intel::FarEnd;
use crate::pipeline::{Ended, Far};
use crate::sink::iso8601;

#[derive(Serialize)]
pub(super) struct FarEndRecord<'a> {
    pub(super) ip: IpAddr,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) port: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) name: Option<&'a str>,
    pub(super) asn: Option<u32>,
    pub(super) as_org: Option<&'a str>,
    pub(super) country: Option<&'a str>,
    pub(super) class: &'static str,
    pub(super) class_basis: &'a str,
    pub(super) reached: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) relay: Option<Endpoint>,
}

/// An address and its port.
#[derive(Serialize)]
pub(super) struct Endpoint {
    ip: IpAddr,
    port: u16,
}

impl Endpoint {
    pub(super) const fn of(addr: SocketAddr) -> Self {
        Self { ip: addr.ip(), port: addr.port() }
    }
}

impl<'a> FarEndRecord<'a> {
    pub(super) fn of(ip: IpAddr, port: Option<u16>, name: Option<&'a str>, end: &'a FarEnd) -> Self {
        Self {
            ip,
            port,
            name,
            asn: end.asn,
            as_org: end.as_org.as_deref(),
            country: end.country.as_ref().and_then(|c| std::str::from_utf8(c).ok()),
            class: end.class.as_str(),
            class_basis: &end.class_basis,
            reached: "direct",
            relay: None,
        }
    }

    fn through(self, relay: Option<SocketAddr>) -> Self {
        match relay {
            Some(relay) => Self { reached: "relay", relay: Some(Endpoint::of(relay)), ..self },
            None => self,
        }
    }
}

#[derive(Serialize)]
pub(super) struct EvidenceLine<'a> {
    pub(super) kind: &'a str,
    pub(super) decibans: i32,
    pub(super) packet: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) file: Option<u16>,
    pub(super) detail: &'a str,
}

impl<'a> EvidenceLine<'a> {
    pub(super) fn of(line: &'a Line, several: bool) -> Self {
        Self {
            kind: line.kind,
            decibans: line.decibans,
            packet: line.packet,
            file: several.then_some(line.input),
            detail: &line.detail,
        }
    }
}

#[derive(Serialize)]
pub(super) struct FlowPart<'a> {
    pub(super) label: Option<&'static str>,
    pub(super) labels: Vec<&'static str>,
    pub(super) tool: Option<&'static str>,
    pub(super) category: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) basis: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) confidence: Option<f64>,
    pub(super) controlled: Option<&'static str>,
    pub(super) opener_basis: &'static str,
    pub(super) encapsulation: Vec<&'static str>,
    pub(super) far_end: FarEndRecord<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) stun: Option<StunRecord<'a>>,
    pub(super) evidence: Vec<EvidenceLine<'a>>,
}

/// What STUN and TURN say of addresses (RFC 8489, RFC 8656).
#[derive(Serialize)]
pub(super) struct StunRecord<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    software: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    realm: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mapped: Option<Endpoint>,
    #[serde(skip_serializing_if = "Option::is_none")]
    relayed: Option<Endpoint>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    peers: Vec<Endpoint>,
}

impl<'a> StunRecord<'a> {
    fn of(stun: &'a Stun) -> Self {
        Self {
            software: stun.software.as_deref(),
            realm: stun.realm.as_deref(),
            mapped: stun.mapped.map(Endpoint::of),
            relayed: stun.relayed.map(Endpoint::of),
            peers: stun.peers.iter().copied().map(Endpoint::of).collect(),
        }
    }
}

impl<'a> FlowPart<'a> {
    pub(super) fn of(ended: &'a Ended, far: &'a Far<'a>, several: bool) -> Self {
        let flow = &ended.flow;
        let verdict = ended.verdict.as_deref();
        let label = verdict.and_then(|v| v.labels.label);
        Self {
            label,
            labels: verdict.map(|v| v.labels.iter().collect()).unwrap_or_default(),
            tool: verdict.and_then(|v| v.tool),
            category: label.and_then(label_info).map(|l| l.category.as_str()),
            basis: label.and(verdict).map(|v| v.basis.as_str()),
            confidence: label.and(verdict).map(|v| probability(v.confidence())),
            controlled: verdict.and_then(|v| v.controlled).map(|side| match side {
                Side::Src => "src",
                Side::Dest => "dest",
            }),
            opener_basis: flow.basis.as_str(),
            encapsulation: flow.birth.encap.iter().map(|l| l.as_str()).collect(),
            far_end: FarEndRecord::of(far.ip, far.port, far.name, &far.end).through(far.relay),
            stun: verdict.and_then(|v| v.facts.stun.as_deref()).map(StunRecord::of),
            evidence: verdict
                .map(|v| {
                    v.evidence
                        .iter()
                        .map(|e| EvidenceLine {
                            kind: e.kind.name,
                            decibans: i32::from(e.kind.decibans),
                            packet: e.packet,
                            file: several.then_some(flow.birth.input),
                            detail: &e.detail,
                        })
                        .collect()
                })
                .unwrap_or_default(),
        }
    }
}

#[derive(Serialize)]
pub(super) struct AlertPart<'a> {
    pub(super) finding_id: String,
    pub(super) finding: &'static str,
    pub(super) host: IpAddr,
    pub(super) far_end: FarEndRecord<'a>,
    pub(super) label: Option<&'static str>,
    pub(super) tool: Option<&'static str>,
    pub(super) score_decibans: i32,
    pub(super) posterior: f64,
    pub(super) severity: &'static str,
    pub(super) first_seen: String,
    pub(super) last_seen: String,
    pub(super) summary: String,
    pub(super) prior_decibans: i32,
    pub(super) evidence: Vec<EvidenceLine<'a>>,
    pub(super) capped: Vec<Capped<'a>>,
}

/// A family whose evidence adds up to more than it may count.
#[derive(Serialize)]
pub(super) struct Capped<'a> {
    family: &'a str,
    decibans: i32,
    cap: i32,
}

impl<'a> Capped<'a> {
    pub(super) fn of(f: &'a Finding, weights: &Weights) -> Vec<Self> {
        f.capped(weights).into_iter().map(|(family, decibans, cap)| Self { family, decibans, cap }).collect()
    }
}

impl<'a> AlertPart<'a> {
    pub(super) fn of(f: &'a Finding, weights: &Weights, several: bool) -> Self {
        Self {
            finding_id: f.id(),
            finding: f.kind.as_str(),
            host: f.host,
            far_end: FarEndRecord::of(f.peer, Some(f.peer_port), None, &f.far_end),
            label: f.label,
            tool: f.tool,
            score_decibans: f.score(weights),
            posterior: probability(f.posterior(weights)),
            severity: f.severity().as_str(),
            first_seen: iso8601(f.seen_ns[0]),
            last_seen: iso8601(f.seen_ns[1]),
            summary: f.summary(),
            prior_decibans: f.prior,
            evidence: f.lines.iter().map(|l| EvidenceLine::of(l, several)).collect(),
            capped: Capped::of(f, weights),
        }
    }
}

#[derive(Serialize)]
pub(super) struct HostLine<'a> {
    pub(super) timestamp: String,
    pub(super) event_type: &'static str,
    pub(super) farend: HostPart<'a>,
}

#[derive(Serialize)]
pub(super) struct HostPart<'a> {
    pub(super) host: IpAddr,
    pub(super) score_decibans: i32,
    pub(super) posterior: f64,
    pub(super) egress: Vec<Egress>,
    pub(super) sessions: u64,
    pub(super) tools: Vec<&'static str>,
    pub(super) active_hours: &'a [u8],
    pub(super) ledger: Vec<Account<'a>>,
}

#[derive(Serialize)]
pub(super) struct Egress {
    pub(super) label: &'static str,
    pub(super) peer: IpAddr,
    pub(super) bytes: u64,
    pub(super) share: Option<f64>,
}

#[derive(Serialize)]
pub(super) struct Account<'a> {
    pub(super) finding: &'static str,
    pub(super) finding_id: String,
    pub(super) peer: IpAddr,
    pub(super) raised: bool,
    pub(super) prior_decibans: i32,
    pub(super) score_decibans: i32,
    pub(super) evidence: Vec<EvidenceLine<'a>>,
    pub(super) capped: Vec<Capped<'a>>,
}
