//! One source for several workers: the splitter in the calling thread, workers and reducer in theirs, bounded channels between them.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use crossbeam::channel::{Receiver, Sender, bounded};

use super::counters::Counters;
use super::reduce::{Reducer, Sink};
use super::report::Report;
use super::run::{Meter, OnProgress, QUEUE, Settings, Summary, own_batch};
use super::split::Splitter;
use super::unit::{Tick, Units};
use super::worker::Worker;
use crate::decode::Decoder;
use crate::flow::{Demand, Quotas, SHARDS};
use crate::source::{Batch, Source, Status};

enum Message {
    Units(Units),
    Tick { tick: Tick, block: bool },
    Quotas(Box<Quotas>),
}

/// Splitter in this thread, workers and reducer in theirs.
pub(super) fn together<S: Sink + Send>(
    source: &mut (dyn Source + Send),
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
                let row =
                    held.entry(tick.number).or_insert_with(|| (tick.clone(), Vec::with_capacity(count)));
                row.1.push(report);
                while held.first_key_value().is_some_and(|(_, (_, reports))| reports.len() == count) {
                    if let Some((_, (tick, reports))) = held.pop_first() {
                        reducer.tick(&tick, reports);
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
        let size = settings.batch.unwrap_or(own_batch(count)).max(1);
        let mut batch = Batch::with_capacity(size);
        let mut lanes: Vec<Units> = (0..count).map(|_| Units::default()).collect();
        let mut meter = Meter::new();
        let lost = || io::Error::other("a worker has ended");
        let mut broken = false;
        while source.next_batch(&mut batch, size) == Status::More {
            let started = Instant::now();
            if source.now_ns().is_some() {
                splitter.source_counted(source.counters());
            }
            if let Some(longest) = source.longest_frame() {
                splitter.set_longest(longest);
            }
            let region = batch.region.clone();
            let bytes = region.bytes();
            lanes.iter_mut().for_each(|l| l.region = region.clone());
            let mut due = |lanes: &mut [Units], tick: Tick, block| {
                broken |= deal(lanes, &to, &recycle, &region).is_err();
                for lane in &to {
                    broken |= lane.send(Message::Tick { tick: tick.clone(), block }).is_err();
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
                splitter.at(now_ns, &mut lanes, &mut due);
            }
            if broken || deal(&mut lanes, &to, &recycle, &region).is_err() {
                return Err(lost());
            }
            lanes.iter_mut().for_each(|l| l.region = Default::default());
            meter.batch(started, batch.frames.is_empty(), source, splitter.counters().delivered, progress);
            if failed.load(Ordering::Relaxed) {
                break;
            }
        }
        splitter.source_counted(source.counters());
        let tick = splitter.end();
        for lane in &to {
            lane.send(Message::Tick { tick: tick.clone(), block: false }).map_err(|_| lost())?;
        }
        drop(to);
        let mut counters = Counters::default();
        for handle in handles {
            counters.add(&handle.join().map_err(|_| lost())?);
        }
        let evidence = reducing.join().map_err(|_| lost())?;
        Ok(Summary { latency: meter.latency, ..Summary::of(splitter.front(), counters, evidence) })
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
                let report = worker.tick(&tick);
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
