//! A snapshot as OpenMetrics text. In: a [`Snapshot`]. Out: one family a counter, every label value from the beginning.

use std::fmt;

use hdrhistogram::Histogram;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, NoLabelSet, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::{Registry, Unit};

use super::{Metric, Samples, Snapshot};
use crate::clock::SECOND_NS;
use crate::decode::{Ignored, Layer, Why};
use crate::flow::End;
use crate::intel::Intel;
use crate::pipeline::Untracked;

/// Before every name.
const PREFIX: &str = "farend";
/// Version and commit.
const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), env!("FAREND_BUILD"));
/// Upper bounds of the buckets of batch latency, ns: a batch takes some 30 to 300 µs; a ring bridges tens of ms.
const LATENCY_NS: [u64; 8] =
    [25_000, 100_000, 250_000, 1_000_000, 2_500_000, 10_000_000, 100_000_000, 1_000_000_000];

/// `/metrics`: everything of a snapshot.
#[must_use]
pub fn open_metrics(snapshot: Snapshot) -> String {
    let mut registry = Registry::with_prefix(PREFIX);
    registry.register_collector(Box::new(snapshot));
    let mut page = String::new();
    // Only a writer can fail, and a string does not.
    let _ = text::encode(&mut page, &registry);
    page
}

impl Collector for Snapshot {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut page = Page(encoder);
        page.info()?;
        self.time(&mut page)?;
        self.frames(&mut page)?;
        self.flows(&mut page)?;
        self.evidence(&mut page)?;
        page.latency(&self.summary.latency)?;
        self.more.iter().try_for_each(|metric| page.metric(metric))
    }
}

impl Snapshot {
    fn time(&self, page: &mut Page<'_>) -> fmt::Result {
        let clock = ["backward", "disbelieved", "jump"].into_iter().zip(self.summary.time);
        page.gauge(
            "snapshot_timestamp",
            "When these counters were taken.",
            Some(&Unit::Seconds),
            seconds(self.now_ns),
        )?;
        page.by(
            "clock_steps",
            "Timestamps that went back, that were too far ahead to be believed, and jumps that were.",
            "kind",
            clock,
        )
    }

    /// offered = delivered + kernel dropped; delivered = decoded + fragments held + malformed + ignored.
    fn frames(&self, page: &mut Page<'_>) -> fmt::Result {
        let (decode, dropped) = (&self.summary.decode, self.source.kernel_drops);
        page.count("packets_offered", "Frames that reached the interfaces.", decode.delivered + dropped)?;
        page.count(
            "packets_kernel_dropped",
            "Frames that the kernel dropped since nobody took them in time.",
            dropped,
        )?;
        page.count("packets_delivered", "Frames that were read.", decode.delivered)?;
        page.bytes("delivered", "Bytes on the wire of frames that were read.", decode.bytes)?;
        page.count(
            "packets_filtered",
            "Frames that the filter rejected outside the kernel.",
            self.source.filtered,
        )?;
        page.count("packets_decoded", "Frames with at least one packet of a flow.", decode.decoded)?;
        page.count(
            "packets_fragments_held",
            "Frames with a fragment that waits for the rest.",
            decode.fragments_held,
        )?;
        let malformed = Layer::ALL.iter().zip(&decode.malformed).flat_map(|(layer, row)| {
            let labels = move |why: &Why| [("layer", layer.as_str()), ("why", why.as_str())];
            Why::ALL.iter().zip(row).map(move |(why, n)| (labels(why), *n))
        });
        page.labelled("packets_malformed", "Frames that break a protocol's rules.", malformed)?;
        let ignored = Ignored::ALL.iter().map(|why| why.as_str()).zip(decode.ignored);
        page.by("packets_ignored", "Frames with nothing in them to track.", "why", ignored)?;
        page.count(
            "packets_oversize",
            "Frames longer than any link carries: the card or the kernel joined them.",
            decode.oversize,
        )?;
        page.by("packets_ip", "Packets by IP version.", "version", ["4", "6"].into_iter().zip(decode.ip))
    }

    /// decoded + inner = received = tracked + untracked; opened = closed + live.
    fn flows(&self, page: &mut Page<'_>) -> fmt::Result {
        let flows = &self.summary.flows;
        page.count(
            "packets_inner",
            "Packets beyond the first of their frame: an inner flow beside its tunnel.",
            self.summary.decode.inner,
        )?;
        page.count("packets_received", "Packets that reached a worker.", flows.received)?;
        page.count("packets_tracked", "Packets counted to a flow.", flows.tracked)?;
        let untracked = Untracked::ALL.map(Untracked::as_str).into_iter().zip(flows.untracked);
        page.by("packets_untracked", "Packets counted to no flow.", "why", untracked)?;
        let opened = ["tcp", "udp", "icmp", "icmpv6", "other"].into_iter().zip(flows.by_proto);
        page.by("flows_opened", "Flows that began.", "proto", opened)?;
        let closed = End::ALL.map(End::as_str).into_iter().zip(flows.closed);
        page.by("flows_closed", "Flows that ended.", "reason", closed)?;
        page.gauge("flows_live", "Flows in the table.", None, count(flows.live))?;
        page.count("flows_inspected", "Flows whose payload was looked into.", flows.inspected)?;
        page.count(
            "flows_uninspected",
            "Flows not looked into, or not to their end, for want of room.",
            flows.uninspected,
        )?;
        page.count("flows_watched", "Times that a flow was taken under watch for its shape.", flows.watched)?;
        page.count(
            "flows_unwatched",
            "Times that there was no room to watch a flow for its shape.",
            flows.unwatched,
        )?;
        page.count("flows_one_sided", "Flows of which only one direction was captured.", flows.one_sided)
    }

    /// found = applied + coalesced + dropped.
    fn evidence(&self, page: &mut Page<'_>) -> fmt::Result {
        let (tally, beyond_flow) = (self.summary.evidence, self.summary.flows.evidence[1]);
        page.count("evidence_found", "Pieces of evidence found.", tally.offered + beyond_flow)?;
        page.count("evidence_applied", "Pieces of evidence that became a line of a finding.", tally.applied)?;
        page.count("evidence_coalesced", "Pieces of evidence that a line says already.", tally.coalesced)?;
        let dropped = [
            ("flow", beyond_flow),
            ("finding", tally.over_lines),
            ("host", tally.over_findings),
            ("hosts", tally.over_hosts),
        ];
        page.by("evidence_dropped", "Pieces of evidence for which that had no room.", "why", dropped)?;
        page.gauge("hosts", "Hosts with evidence.", None, count(self.hosts))?;
        let raised = self
            .raised
            .each()
            .map(|(kind, severity, n)| ([("finding", kind.as_str()), ("severity", severity.as_str())], n));
        page.labelled("findings", "Findings raised.", raised)
    }
}

/// The page that is being written.
struct Page<'a>(DescriptorEncoder<'a>);

impl Page<'_> {
    fn info(&mut self) -> fmt::Result {
        let help = "What this farend is made of.";
        let mut metric = self.0.encode_descriptor("build", help, None, MetricType::Info)?;
        metric.encode_info(&[("version", VERSION), ("intel", &Intel::embedded_date().to_string())])
    }

    fn count(&mut self, name: &str, help: &str, n: u64) -> fmt::Result {
        let mut metric = self.0.encode_descriptor(name, help, None, MetricType::Counter)?;
        metric.encode_counter::<NoLabelSet, u64, u64>(&n, None)
    }

    fn bytes(&mut self, name: &str, help: &str, n: u64) -> fmt::Result {
        let mut metric = self.0.encode_descriptor(name, help, Some(&Unit::Bytes), MetricType::Counter)?;
        metric.encode_counter::<NoLabelSet, u64, u64>(&n, None)
    }

    fn gauge(&mut self, name: &str, help: &str, unit: Option<&Unit>, value: f64) -> fmt::Result {
        self.0.encode_descriptor(name, help, unit, MetricType::Gauge)?.encode_gauge(&value)
    }

    /// A counter with one label.
    fn by<'v>(
        &mut self,
        name: &str,
        help: &str,
        label: &str,
        samples: impl IntoIterator<Item = (&'v str, u64)>,
    ) -> fmt::Result {
        self.labelled(name, help, samples.into_iter().map(|(value, n)| ([(label, value)], n)))
    }

    fn labelled<'v, const N: usize>(
        &mut self,
        name: &str,
        help: &str,
        samples: impl IntoIterator<Item = ([(&'v str, &'v str); N], u64)>,
    ) -> fmt::Result {
        let mut metric = self.0.encode_descriptor(name, help, None, MetricType::Counter)?;
        samples.into_iter().try_for_each(|(labels, n)| {
            metric.encode_family(&labels)?.encode_counter::<NoLabelSet, u64, u64>(&n, None)
        })
    }

    fn latency(&mut self, histogram: &Histogram<u64>) -> fmt::Result {
        let mut buckets = LATENCY_NS.map(|bound| (bound, 0)).to_vec();
        buckets.push((u64::MAX, 0));
        let (mut sum, mut batches) = (0.0, 0);
        for step in histogram.iter_recorded() {
            let (ns, n) =
                (histogram.median_equivalent(step.value_iterated_to()), step.count_since_last_iteration());
            sum += count(ns) * count(n);
            batches += n;
            if let Some((_, bucket)) = buckets.iter_mut().find(|(bound, _)| ns <= *bound) {
                *bucket += n;
            }
        }
        let buckets: Vec<(f64, u64)> = buckets
            .into_iter()
            .map(|(bound, n)| (if bound == u64::MAX { f64::INFINITY } else { count(bound) / 1e9 }, n))
            .collect();
        let help = "What a batch of frames took.";
        let mut metric =
            self.0.encode_descriptor("batch", help, Some(&Unit::Seconds), MetricType::Histogram)?;
        metric.encode_histogram::<NoLabelSet>(sum / 1e9, batches, &buckets, None)
    }

    fn metric(&mut self, metric: &Metric) -> fmt::Result {
        let Metric { name, help, unit, samples } = metric;
        match samples {
            Samples::Counter(samples) => {
                let mut metric = self.0.encode_descriptor(name, help, unit.as_ref(), MetricType::Counter)?;
                samples.iter().try_for_each(|s| {
                    let labels = s.labels.as_slice();
                    metric.encode_family(&labels)?.encode_counter::<NoLabelSet, u64, u64>(&s.value, None)
                })
            }
            Samples::Gauge(samples) => {
                let mut metric = self.0.encode_descriptor(name, help, unit.as_ref(), MetricType::Gauge)?;
                samples.iter().try_for_each(|s| {
                    let labels = s.labels.as_slice();
                    metric.encode_family(&labels)?.encode_gauge(&s.value)
                })
            }
        }
    }
}

fn seconds(ns: i64) -> f64 {
    ns as f64 / SECOND_NS as f64
}

/// Exact up to 2^53, which is beyond what a scraper keeps, too.
fn count(n: u64) -> f64 {
    n as f64
}
