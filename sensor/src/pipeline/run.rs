//! Runs sources to their end through splitter, workers and reducer.

use std::io;
use std::sync::Arc;
use std::time::Instant;

use hdrhistogram::Histogram;

use super::apart::apart;
use super::counters::{Counters, DecodeCounters, Front};
use super::reduce::{Reducer, Sink};
use super::solo::alone;
use super::switch::Switch;
use super::together::together;
use super::worker::Config;
use crate::host::Tally;
use crate::source::Source;

/// Frames a batch with one worker: their units fit a core's second-level cache. With more a batch is parted among them.
const BATCH: usize = 256;

/// Frames that are taken at a time from files where nobody says how many.
#[must_use]
pub const fn own_batch(workers: usize) -> usize {
    if workers > 1 { 4 * BATCH } else { BATCH }
}

/// Batches and ticks on their way to a worker; ticks on their way to the reducer.
pub(super) const QUEUE: usize = 16;

/// How to run.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Bounds and timeouts of flows, the same for every worker.
    pub worker: Config,
    /// Workers; 1 runs everything in the calling thread.
    pub workers: usize,
    /// Frames a batch; `None` for the default.
    pub batch: Option<usize>,
    /// Where settings come from that are exchanged while it runs.
    pub switch: Option<Arc<Switch>>,
    /// Processors that the threads of [`run_each`] are bound to, in turn; empty: none.
    pub cpus: Vec<usize>,
}

/// What a run came to.
#[derive(Clone, Debug)]
pub struct Summary {
    /// Frames.
    pub decode: DecodeCounters,
    /// Packets and flows.
    pub flows: Counters,
    /// What became of evidence in the ledger.
    pub evidence: Tally,
    /// Steps back in time, jumps not believed, jumps believed.
    pub time: [u64; 3],
    /// Some packet had a private address.
    pub private_seen: bool,
    /// Earliest and latest timestamp, ns since the epoch.
    pub span: Option<[i64; 2]>,
    /// Nanoseconds a batch took, one value a batch (one worker: whole pipeline; more: the splitter).
    pub latency: Histogram<u64>,
}

impl Summary {
    /// What has been counted so far.
    #[must_use]
    pub fn of(front: Front, flows: Counters, evidence: Tally) -> Self {
        let Front { decode, time, span, private_seen, latency: times, .. } = front;
        Self { decode, flows, evidence, time, private_seen, span, latency: times.unwrap_or_else(latency) }
    }
}

/// Called about every tenth of a second with the source and how many frames it has handed out.
pub(super) type OnProgress<'a> = dyn FnMut(&dyn Source, u64) + 'a;

/// Runs `source` to its end. `progress` is called now and then.
pub fn run<S: Sink + Send>(
    source: &mut (dyn Source + Send),
    settings: &Settings,
    reducer: &mut Reducer<S>,
    progress: &mut OnProgress<'_>,
) -> io::Result<Summary> {
    if settings.workers <= 1 {
        alone(source, settings, reducer, progress)
    } else {
        together(source, settings, reducer, progress)
    }
}

/// Runs several sources to their end, each with a worker of its own in a thread of its own: for sources that part the traffic so
/// that all packets of one pair of addresses are in one of them, as the rings of [`crate::source::live`] do. `progress` is called with
/// the first of them. Bounds are shared out evenly.
pub fn run_each<S: Sink + Send>(
    sources: &mut [Box<dyn Source + Send>],
    settings: &Settings,
    reducer: &mut Reducer<S>,
    progress: &mut OnProgress<'_>,
) -> io::Result<Summary> {
    match sources {
        [only] => alone(&mut **only, settings, reducer, progress),
        many => apart(many, settings, reducer, progress),
    }
}

/// Times batches and calls for progress ten times a second.
pub(super) struct Meter {
    pub(super) latency: Histogram<u64>,
    last: Instant,
}

impl Meter {
    pub(super) fn new() -> Self {
        Self { latency: latency(), last: Instant::now() }
    }

    /// A batch has been worked through; an empty one is none.
    pub(super) fn batch(
        &mut self,
        started: Instant,
        empty: bool,
        source: &dyn Source,
        frames: u64,
        progress: &mut OnProgress<'_>,
    ) {
        let now = Instant::now();
        if !empty {
            let took = u64::try_from((now - started).as_nanos()).unwrap_or(u64::MAX);
            self.latency.saturating_record(took.max(1));
        }
        if (now - self.last).as_millis() >= 100 {
            self.last = now;
            progress(source, frames);
        }
    }
}

/// 1 ns to 60 s at two significant digits: 30 KB.
pub(crate) fn latency() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 60_000_000_000, 2).unwrap_or_else(|_| unreachable!("valid bounds"))
}
