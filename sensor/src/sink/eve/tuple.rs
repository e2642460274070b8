//! Who talks to whom, in Suricata's fields, and the Community ID.

use std::net::IpAddr;

use base64::Engine;
use serde::Serialize;
use sha1::{Digest, Sha1};

use crate::decode::proto;
use crate::pipeline::FlowId;

#[derive(Serialize)]
pub(super) struct Tuple {
    pub(super) src_ip: IpAddr,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) src_port: Option<u16>,
    pub(super) dest_ip: IpAddr,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) dest_port: Option<u16>,
    pub(super) proto: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) icmp_type: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) icmp_code: Option<u8>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) vlan: Vec<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) community_id: Option<String>,
}

impl Tuple {
    pub(super) fn of(flow: &FlowId) -> Self {
        let ports = matches!(flow.proto, proto::TCP | proto::UDP | proto::SCTP);
        let icmp = matches!(flow.proto, proto::ICMP | proto::ICMPV6);
        Self {
            src_ip: flow.ip[0],
            src_port: ports.then_some(flow.port[0]),
            dest_ip: flow.ip[1],
            dest_port: ports.then_some(flow.port[1]),
            proto: proto_name(flow.proto),
            icmp_type: icmp.then_some(flow.birth.icmp[0]),
            icmp_code: icmp.then_some(flow.birth.icmp[1]),
            vlan: flow.birth.vlan.iter().copied().filter(|v| *v != 0).collect(),
            community_id: Some(community_id(flow)),
        }
    }
}

/// Suricata's name of an IP protocol.
#[must_use]
pub const fn proto_name(number: u8) -> &'static str {
    match number {
        proto::TCP => "TCP",
        proto::UDP => "UDP",
        proto::ICMP => "ICMP",
        proto::ICMPV6 => "IPv6-ICMP",
        proto::SCTP => "SCTP",
        proto::GRE => "GRE",
        proto::ESP => "ESP",
        _ => "AH",
    }
}

/// Community ID v1 with seed 0 (Corelight, "Community ID flow hashing" specification).
#[must_use]
pub fn community_id(flow: &FlowId) -> String {
    let mut ports = flow.port;
    let mut one_way = false;
    if matches!(flow.proto, proto::ICMP | proto::ICMPV6) {
        let [kind, code] = flow.birth.icmp;
        let answer = icmp_counterpart(flow.proto, kind);
        one_way = answer.is_none();
        ports = [u16::from(kind), answer.map_or(u16::from(code), u16::from)];
    }
    let ports_count =
        matches!(flow.proto, proto::TCP | proto::UDP | proto::SCTP | proto::ICMP | proto::ICMPV6);
    let [src, dst] = flow.ip;
    let in_order = one_way || (src, ports[0]) <= (dst, ports[1]);
    let (ips, ports) = if in_order { ([src, dst], ports) } else { ([dst, src], [ports[1], ports[0]]) };
    let mut hash = Sha1::new();
    hash.update([0, 0]);
    for ip in ips {
        match ip {
            IpAddr::V4(ip) => hash.update(ip.octets()),
            IpAddr::V6(ip) => hash.update(ip.octets()),
        }
    }
    hash.update([flow.proto, 0]);
    if ports_count {
        hash.update(ports[0].to_be_bytes());
        hash.update(ports[1].to_be_bytes());
    }
    format!("1:{}", base64::engine::general_purpose::STANDARD.encode(hash.finalize()))
}

/// The ICMP type that answers `kind` (Community ID specification); `None` = a message without an answer.
const fn icmp_counterpart(protocol: u8, kind: u8) -> Option<u8> {
    Some(match (protocol, kind) {
        (proto::ICMP, 8) => 0,
        (proto::ICMP, 0) => 8,
        (proto::ICMP, 13) => 14,
        (proto::ICMP, 14) => 13,
        (proto::ICMP, 15) => 16,
        (proto::ICMP, 16) => 15,
        (proto::ICMP, 17) => 18,
        (proto::ICMP, 18) => 17,
        (proto::ICMP, 9) => 10,
        (proto::ICMP, 10) => 9,
        (proto::ICMPV6, 128) => 129,
        (proto::ICMPV6, 129) => 128,
        (proto::ICMPV6, 130) => 131,
        (proto::ICMPV6, 131) => 130,
        (proto::ICMPV6, 133) => 134,
        (proto::ICMPV6, 134) => 133,
        (proto::ICMPV6, 135) => 136,
        (proto::ICMPV6, 136) => 135,
        (proto::ICMPV6, 139) => 140,
        (proto::ICMPV6, 140) => 139,
        (proto::ICMPV6, 144) => 145,
        (proto::ICMPV6, 145) => 144,
        _ => return None,
    })
}
