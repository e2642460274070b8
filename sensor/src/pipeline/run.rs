//! Runs a source to its end through splitter, workers and reducer.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use crossbeam::channel::{Receiver, Sender, bounded};
use hdrhistogram::Histogram;

use super::counters::{Counters, DecodeCounters};
use super::reduce::{Reducer, Sink};
use super::report::Report;
use super::split::Splitter;
use super::unit::{Tick, Units};
use super::worker::{Config, Worker};
use crate::decode::Decoder;
use crate::flow::{Demand, Quotas, SHARDS};
use crate::host::Tally;
use crate::source::{Batch, Source, Status};

/// Frames a batch: their units fit a core's second-level cache.
const BATCH: usize = 256;
/// Batches and ticks on their way to a worker; ticks on their way to the reducer.
const QUEUE: usize = 16;

/// How to run.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Bounds and timeouts of flows, the same for every worker.
    pub worker: Config,
    /// Workers; 1 runs everything in the calling thread.
    pub workers: usize,
    /// Frames a batch; `None` for the default.
    pub batch: Option<usize>,
    /// Where counters are put while it runs.
    pub board: Option<Board>,
}

/// What the source and the splitter have counted, for whoever tells while a run goes on.
#[derive(Clone, Debug, Default)]
pub struct Front {
    /// Frames.
    pub decode: DecodeCounters,
    /// Steps back in time, jumps not believed, jumps believed.
    pub time: [u64; 3],
    /// Earliest and latest timestamp, ns since the epoch.
    pub span: Option<[i64; 2]>,
    /// Some packet had a private address.
    pub private_seen: bool,
    /// The source's own.
    pub source: crate::source::Counters,
}

/// Where the latest [`Front`] is put at every tick of a source that goes on without end.
pub type Board = Arc<Mutex<Front>>;

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
        let Front { decode, time, span, private_seen, .. } = front;
        Self { decode, flows, evidence, time, private_seen, span, latency: latency() }
    }
}

/// Called about every tenth of a second with the source and how many frames it has handed out.
pub(super) type OnProgress<'a> = dyn FnMut(&dyn Source, u64) + 'a;

/// Runs `source` to its end. `progress` is called now and then.
pub fn run<S: Sink + Send>(
    source: &mut dyn Source,
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

/// Everything in this thread.
fn alone<S: Sink>(
    source: &mut dyn Source,
    settings: &Settings,
    reducer: &mut Reducer<S>,
    progress: &mut OnProgress<'_>,
) -> io::Result<Summary> {
    let mut worker = Worker::new(settings.worker.clone())?;
    let mut quotas = Quotas::new(settings.worker.capacity);
    let mut splitter = Splitter::new(Decoder::default());
    let mut lanes = [Units::default()];
    let size = settings.batch.unwrap_or(BATCH).max(1);
    let mut batch = Batch::with_capacity(size);
    let mut meter = Meter::new();
    while source.next_batch(&mut batch, size) == Status::More {
        let started = Instant::now();
        let region = batch.region.clone();
        let bytes = region.bytes();
        lanes[0].region = region.clone();
        let mut due = |lanes: &mut [Units], tick, block| {
            worker.packets(&lanes[0]);
            lanes[0].list.clear();
            lanes[0].extra.clear();
            let report = worker.tick(tick);
            if block {
                quotas.share(&worker.demand());
                worker.set_quotas(&quotas);
            }
            reducer.tick(tick, vec![report]);
        };
        for frame in &batch.frames {
            splitter.frame(frame, frame.of(bytes), &mut lanes, &mut due);
        }
        if let Some(now_ns) = source.now_ns() {
            show(settings, source, &splitter, now_ns);
            splitter.at(now_ns, &mut lanes, &mut due);
        }
        worker.packets(&lanes[0]);
        lanes[0].clear();
        meter.batch(started, source, splitter.counters().delivered, progress);
        if reducer.failed() {
            break;
        }
    }
    let tick = splitter.end();
    let report = worker.tick(tick);
    reducer.tick(tick, vec![report]);
    Ok(summary(&splitter, worker.counters().clone(), reducer.ledger().tally(), meter.latency))
}

enum Message {
    Units(Units),
    Tick { tick: Tick, block: bool },
    Quotas(Box<Quotas>),
}

/// Splitter in this thread, workers and reducer in theirs.
fn together<S: Sink + Send>(
    source: &mut dyn Source,
    settings: &Settings,
    reducer: &mut Reducer<S>,
    progress: &mut OnProgress<'_>,
) -> io::Result<Summary> {
    let workers = (0..settings.workers)
        .map(|_| Worker::new(settings.worker.clone()))
        .collect::<io::Result<Vec<_>>>()?;
    let failed = &AtomicBool::new(false);
    std::thread::scope(|scope| {
        let (reports_in, reports) = bounded::<(Tick, Report)>(QUEUE * settings.workers);
        let (recycle_in, recycle) = bounded::<Units>(QUEUE * settings.workers);
        let mut to = Vec::new();
        let mut demands = Vec::new();
        let mut handles = Vec::new();
        for worker in workers {
            let (send, receive) = bounded::<Message>(QUEUE);
            let (demand_in, demand) = bounded::<[Demand; SHARDS]>(1);
            let (reports_in, recycle_in) = (reports_in.clone(), recycle_in.clone());
            handles.push(scope.spawn(move || work(worker, &receive, &demand_in, &reports_in, &recycle_in)));
            to.push(send);
            demands.push(demand);
        }
        drop((reports_in, recycle_in));
        let count = settings.workers;
        let reduce = std::thread::Builder::new();
        // The reducer's thread ends when every worker has dropped its sender.
        let reducing = reduce.spawn_scoped(scope, move || {
            let mut held: std::collections::BTreeMap<u64, (Tick, Vec<Report>)> = Default::default();
            for (tick, report) in reports {
                let row = held.entry(tick.number).or_insert_with(|| (tick, Vec::with_capacity(count)));
                row.1.push(report);
                while held.first_key_value().is_some_and(|(_, (_, reports))| reports.len() == count) {
                    if let Some((_, (tick, reports))) = held.pop_first() {
                        reducer.tick(tick, reports);
                    }
                }
                if reducer.failed() {
                    failed.store(true, Ordering::Relaxed);
                }
            }
            reducer.ledger().tally()
        })?;
        let mut splitter = Splitter::new(Decoder::default());
        let mut quotas = Quotas::new(settings.worker.capacity);
        let size = settings.batch.unwrap_or(BATCH * 4).max(1);
        let mut batch = Batch::with_capacity(size);
        let mut lanes: Vec<Units> = (0..count).map(|_| Units::default()).collect();
        let mut meter = Meter::new();
        let lost = || io::Error::other("a worker has ended");
        let mut broken = false;
        while source.next_batch(&mut batch, size) == Status::More {
            let started = Instant::now();
            let region = batch.region.clone();
            let bytes = region.bytes();
            lanes.iter_mut().for_each(|l| l.region = region.clone());
            let mut due = |lanes: &mut [Units], tick, block| {
                broken |= deal(lanes, &to, &recycle, &region).is_err();
                for lane in &to {
                    broken |= lane.send(Message::Tick { tick, block }).is_err();
                }
                if block && !broken {
                    let mut sum = [Demand::default(); SHARDS];
                    for demand in &demands {
                        let Ok(theirs) = demand.recv() else {
                            broken = true;
                            return;
                        };
                        for (s, t) in sum.iter_mut().zip(theirs) {
                            s.live += t.live;
                            s.opened += t.opened;
                        }
                    }
                    quotas.share(&sum);
                    for lane in &to {
                        broken |= lane.send(Message::Quotas(Box::new(quotas.clone()))).is_err();
                    }
                }
            };
            for frame in &batch.frames {
                splitter.frame(frame, frame.of(bytes), &mut lanes, &mut due);
            }
            if let Some(now_ns) = source.now_ns() {
                show(settings, source, &splitter, now_ns);
                splitter.at(now_ns, &mut lanes, &mut due);
            }
            if broken || deal(&mut lanes, &to, &recycle, &region).is_err() {
                return Err(lost());
            }
            lanes.iter_mut().for_each(|l| l.region = Default::default());
            meter.batch(started, source, splitter.counters().delivered, progress);
            if failed.load(Ordering::Relaxed) {
                break;
            }
        }
        let tick = splitter.end();
        for lane in &to {
            lane.send(Message::Tick { tick, block: false }).map_err(|_| lost())?;
        }
        drop(to);
        let mut counters = Counters::default();
        for handle in handles {
            counters.add(&handle.join().map_err(|_| lost())?);
        }
        let evidence = reducing.join().map_err(|_| lost())?;
        Ok(summary(&splitter, counters, evidence, meter.latency))
    })
}

/// Sends what the lanes hold and gives them emptied ones.
fn deal(
    lanes: &mut [Units],
    to: &[Sender<Message>],
    recycle: &Receiver<Units>,
    region: &crate::source::Region,
) -> Result<(), crossbeam::channel::SendError<Message>> {
    for (lane, to) in lanes.iter_mut().zip(to) {
        if lane.list.is_empty() {
            continue;
        }
        let mut empty = recycle.try_recv().unwrap_or_default();
        empty.region = region.clone();
        to.send(Message::Units(std::mem::replace(lane, empty)))?;
    }
    Ok(())
}

/// A worker's thread.
fn work(
    mut worker: Worker,
    messages: &Receiver<Message>,
    demand: &Sender<[Demand; SHARDS]>,
    reports: &Sender<(Tick, Report)>,
    recycle: &Sender<Units>,
) -> Counters {
    for message in messages {
        match message {
            Message::Units(mut units) => {
                worker.packets(&units);
                units.clear();
                let _ = recycle.try_send(units);
            }
            Message::Tick { tick, block } => {
                let report = worker.tick(tick);
                if block && demand.send(worker.demand()).is_err() {
                    break;
                }
                if reports.send((tick, report)).is_err() {
                    break;
                }
            }
            Message::Quotas(quotas) => worker.set_quotas(&quotas),
        }
    }
    worker.counters().clone()
}

/// Puts the counters on the board, where there is one and a tick is due.
fn show(settings: &Settings, source: &dyn Source, splitter: &Splitter, now_ns: i64) {
    if let Some(board) = &settings.board
        && splitter.due(now_ns)
    {
        let clock = splitter.clock();
        *board.lock().unwrap_or_else(PoisonError::into_inner) = Front {
            decode: splitter.counters().clone(),
            time: [clock.backward, clock.disbelieved, clock.jumps],
            span: splitter.span(),
            private_seen: splitter.private_seen(),
            source: source.counters(),
        };
    }
}

fn summary(splitter: &Splitter, flows: Counters, evidence: Tally, latency: Histogram<u64>) -> Summary {
    let clock = splitter.clock();
    Summary {
        decode: splitter.counters().clone(),
        flows,
        evidence,
        time: [clock.backward, clock.disbelieved, clock.jumps],
        private_seen: splitter.private_seen(),
        span: splitter.span(),
        latency,
    }
}

/// Times batches and calls for progress ten times a second.
struct Meter {
    latency: Histogram<u64>,
    last: Instant,
}

impl Meter {
    fn new() -> Self {
        Self { latency: latency(), last: Instant::now() }
    }

    fn batch(&mut self, started: Instant, source: &dyn Source, frames: u64, progress: &mut OnProgress<'_>) {
        let now = Instant::now();
        self.latency.saturating_record(u64::try_from((now - started).as_nanos()).unwrap_or(u64::MAX).max(1));
        if (now - self.last).as_millis() >= 100 {
            self.last = now;
            progress(source, frames);
        }
    }
}

/// 1 ns to 60 s at two significant digits: 30 KB.
fn latency() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 60_000_000_000, 2).unwrap_or_else(|_| unreachable!("valid bounds"))
}
