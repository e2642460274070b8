//! Counters as records: Suricata's names where it has one, the conservation equations in ours.

use serde_json::{Map, Value, json};

use crate::clock::SECOND_NS;
use crate::decode::{Ignored, Layer, Why};
use crate::flow::End;
use crate::pipeline::{Summary, Untracked};
use crate::source::Counters;

/// Suricata's `stats` object.
#[must_use]
pub fn suricata(s: &Summary, span: Option<[i64; 2]>, counters: Counters) -> Value {
    let uptime = span.map_or(0, |[a, b]| b.saturating_sub(a) / SECOND_NS);
    json!({
        "uptime": uptime,
        "capture": {
            "kernel_packets": s.decode.delivered + counters.kernel_drops,
            "kernel_drops": counters.kernel_drops,
        },
        "decoder": {
            "pkts": s.decode.delivered,
            "bytes": s.decode.bytes,
            "invalid": s.decode.malformed_total(),
            "ipv4": s.decode.ip[0],
            "ipv6": s.decode.ip[1],
        },
        "flow": {
            "total": s.flows.opened,
            "tcp": s.flows.by_proto[0],
            "udp": s.flows.by_proto[1],
            "icmpv4": s.flows.by_proto[2],
            "icmpv6": s.flows.by_proto[3],
            "active": s.flows.live,
        },
    })
}

/// Our part: inputs, and every term of the conservation equations.
#[must_use]
pub fn ours(s: &Summary, inputs: &[String], counters: Counters, problems: &[String]) -> Value {
    let mut malformed = Map::new();
    for (layer, row) in Layer::ALL.iter().zip(&s.decode.malformed) {
        for (why, n) in Why::ALL.iter().zip(row).filter(|(_, n)| **n > 0) {
            malformed.insert(format!("{}.{}", layer.as_str(), why.as_str()), json!(n));
        }
    }
    let ignored: Map<String, Value> = Ignored::ALL
        .iter()
        .zip(&s.decode.ignored)
        .filter(|(_, n)| **n > 0)
        .map(|(why, n)| (why.as_str().to_owned(), json!(n)))
        .collect();
    let (e, beyond_flow) = (s.evidence, s.flows.evidence[1]);
    json!({
        "inputs": inputs,
        "problems": problems,
        "stats": {
            "packets": {
                "offered": s.decode.delivered + counters.kernel_drops,
                "delivered": s.decode.delivered,
                "kernel_drops": counters.kernel_drops,
                "filtered": counters.filtered,
                "decoded": s.decode.decoded,
                "fragments_held": s.decode.fragments_held,
                "malformed": malformed,
                "ignored": ignored,
                "inner": s.decode.inner,
            },
            "tracking": {
                "received": s.flows.received,
                "tracked": s.flows.tracked,
                "untracked": named(&Untracked::ALL.map(Untracked::as_str), &s.flows.untracked),
            },
            "flows": {
                "opened": s.flows.opened,
                "closed": named(&End::ALL.map(End::as_str), &s.flows.closed),
                "live": s.flows.live,
                "inspected": s.flows.inspected,
                "uninspected": s.flows.uninspected,
                "watched": s.flows.watched,
                "unwatched": s.flows.unwatched,
                "one_sided": s.flows.one_sided,
                "evidence": s.flows.evidence[0],
            },
            "evidence": {
                "found": e.offered + beyond_flow,
                "applied": e.applied,
                "coalesced": e.coalesced,
                "dropped": {
                    "flow": beyond_flow, "finding": e.over_lines, "host": e.over_findings, "hosts": e.over_hosts,
                },
            },
            "capture": {"ring_full": counters.ring_full, "hardware_timestamps": counters.hardware_time},
            "shed": named(&["shape", "new_flows", "payloads"], &s.flows.shed),
            "time": {"backward": s.time[0], "disbelieved": s.time[1], "jumps": s.time[2]},
            "oversize": s.decode.oversize,
            "skipped_files": counters.skipped_files,
        },
    })
}

fn named(names: &[&str], counts: &[u64]) -> Map<String, Value> {
    names.iter().zip(counts).map(|(name, n)| ((*name).to_owned(), json!(n))).collect()
}
