//! Counters and state of health over HTTP, for a Prometheus that scrapes this machine.
//!
//! In: a [`Snapshot`] of the counters and the [`Health`], asked for at each request. Out: `/metrics` as OpenMetrics text (every term
//! of the conservation equations, so that a scraper can check them) and `/healthz`, on a loopback address.

mod collect;
mod health;
mod request;
mod server;

pub use collect::open_metrics;
pub use health::{Health, Pulse};
pub use prometheus_client::registry::Unit;
pub use server::{Reach, Server, StartError};

use crate::host::{FindingKind, Severity, Tally};
use crate::pipeline::{Counters, Front, Summary};
use crate::source;

/// What has been counted up to one moment.
///
/// The equations hold in a scrape if all parts are of the same tick.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// The moment, ns since the epoch, as the pipeline believes it; 0 before the first tick.
    pub now_ns: i64,
    /// Frames, packets, flows, evidence, time and what batches took.
    pub summary: Summary,
    /// The source's own.
    pub source: source::Counters,
    /// Findings raised.
    pub raised: Raised,
    /// Hosts with evidence.
    pub hosts: u64,
    /// Whatever else is to be told: rings, shedding, workers. Names must differ from each other and from those of [`open_metrics`].
    pub more: Vec<Metric>,
}

impl Default for Snapshot {
    /// Nothing counted yet.
    fn default() -> Self {
        Self {
            now_ns: 0,
            summary: Summary::of(Front::default(), Counters::default(), Tally::default()),
            source: source::Counters::default(),
            raised: Raised::default(),
            hosts: 0,
            more: Vec::new(),
        }
    }
}

/// Every severity, the mildest first.
const SEVERITIES: [Severity; 4] = [Severity::Low, Severity::Medium, Severity::High, Severity::Critical];

/// How many findings were raised, by kind and severity.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Raised([[u64; SEVERITIES.len()]; FindingKind::ALL.len()]);

impl Raised {
    /// One more, with the severity it was raised with.
    pub fn count(&mut self, kind: FindingKind, severity: Severity) {
        let row = FindingKind::ALL.iter().zip(&mut self.0).find(|(k, _)| **k == kind);
        let cell = row.and_then(|(_, row)| SEVERITIES.iter().zip(row).find(|(s, _)| **s == severity));
        if let Some((_, n)) = cell {
            *n += 1;
        }
    }

    /// Every kind and severity with its number, those that are 0 among them.
    pub fn each(&self) -> impl Iterator<Item = (FindingKind, Severity, u64)> {
        let rows = FindingKind::ALL.into_iter().zip(&self.0);
        rows.flat_map(|(kind, row)| SEVERITIES.into_iter().zip(row).map(move |(s, n)| (kind, s, *n)))
    }
}

/// A metric beside those that every snapshot has.
#[derive(Clone, Debug)]
pub struct Metric {
    /// Name in snake case, without `farend_` before it and without unit and `_total` behind it.
    pub name: &'static str,
    /// One sentence with its full stop.
    pub help: &'static str,
    /// Base unit, which becomes the end of the name.
    pub unit: Option<Unit>,
    /// The values. Every set of labels that may occur should be there from the beginning: a series that appears later breaks
    /// alerts on its rate.
    pub samples: Samples,
}

/// Values of a [`Metric`].
#[derive(Clone, Debug)]
pub enum Samples {
    /// They only grow.
    Counter(Vec<Sample<u64>>),
    /// They go up and down.
    Gauge(Vec<Sample<f64>>),
}

/// A value with its labels.
#[derive(Clone, Debug)]
pub struct Sample<V> {
    /// Names and values of labels; none for a metric with a single value.
    pub labels: Vec<(&'static str, String)>,
    /// The value.
    pub value: V,
}

impl<V> Sample<V> {
    /// A value without labels.
    pub const fn plain(value: V) -> Self {
        Self { labels: Vec::new(), value }
    }

    /// A value with one label.
    pub fn of(label: &'static str, is: impl Into<String>, value: V) -> Self {
        Self { labels: vec![(label, is.into())], value }
    }
}
