//! One source and one worker in one thread: every packet is decoded, counted and looked at where it was taken.

use std::io;
use std::sync::Arc;
use std::time::Instant;

use super::counters::Counters;
use super::reduce::{Reducer, Sink};
use super::report::Report;
use super::run::{Meter, OnProgress, Settings, Summary, own_batch};
use super::shed::Shedder;
use super::split::Splitter;
use super::switch::Switch;
use super::unit::{Tick, Units};
use super::worker::{Config, Worker};
use crate::decode::Decoder;
use crate::flow::Quotas;
use crate::source::{Batch, Source, Status};

/// Everything in this thread.
pub(super) fn alone<S: Sink>(
    source: &mut (dyn Source + Send),
    settings: &Settings,
    reducer: &mut Reducer<S>,
    progress: &mut OnProgress<'_>,
) -> io::Result<Summary> {
    let mut solo = Solo::new(source, settings.worker.clone(), settings)?;
    while solo.turn(&mut |_, tick, report| reducer.tick(&tick, vec![report]), progress) == Status::More {
        if reducer.failed() {
            break;
        }
    }
    let (tick, report) = solo.end();
    reducer.tick(&tick, vec![report]);
    let (front, flows) = (solo.splitter.front(), solo.counters().clone());
    Ok(Summary { latency: solo.meter.latency, ..Summary::of(front, flows, reducer.ledger().tally()) })
}

/// A source, its splitter and its worker.
pub(super) struct Solo<'a> {
    source: &'a mut (dyn Source + Send),
    worker: Worker,
    quotas: Quotas,
    pub(super) splitter: Splitter,
    lanes: [Units; 1],
    size: usize,
    batch: Batch,
    shedder: Shedder,
    switch: Option<Arc<Switch>>,
    generation: u64,
    /// How full the source's room was at most since the last tick, per cent.
    fullness: u8,
    pub(super) meter: Meter,
}

impl<'a> Solo<'a> {
    /// Nothing has been read; `config` is the worker's.
    pub(super) fn new(
        source: &'a mut (dyn Source + Send),
        config: Config,
        settings: &Settings,
    ) -> io::Result<Self> {
        let size = settings.batch.unwrap_or(own_batch(1)).max(1);
        Ok(Self {
            source,
            quotas: Quotas::new(config.capacity),
            worker: Worker::new(config)?,
            splitter: Splitter::new(Decoder::default()),
            lanes: [Units::default()],
            size,
            batch: Batch::with_capacity(size),
            shedder: Shedder::new(),
            switch: settings.switch.clone(),
            generation: 0,
            fullness: 0,
            meter: Meter::new(),
        })
    }

    /// Takes a batch. What a tick brings goes to `tell`, with the time by the machine's clock where the source has one, else the
    /// packets'.
    pub(super) fn turn(
        &mut self,
        tell: &mut dyn FnMut(i64, Tick, Report),
        progress: &mut OnProgress<'_>,
    ) -> Status {
        let Self { source, worker, quotas, splitter, lanes, batch, .. } = self;
        if source.next_batch(batch, self.size) == Status::End {
            return Status::End;
        }
        let started = Instant::now();
        let now_ns = source.now_ns();
        if now_ns.is_some() {
            splitter.source_counted(source.counters());
        }
        if let Some(longest) = source.longest_frame() {
            splitter.set_longest(longest);
        }
        if let Some(full) = source.fullness() {
            worker.shed(self.shedder.observe(full, started));
            self.fullness = self.fullness.max(full);
        }
        let (switch, generation) = (&self.switch, &mut self.generation);
        let (fullness, latency) = (&mut self.fullness, &self.meter.latency);
        let region = batch.region.clone();
        let bytes = region.bytes();
        lanes[0].region = region.clone();
        let mut due = |lanes: &mut [Units], mut tick: Tick, block| {
            if let Some(front) = tick.front.as_mut().and_then(Arc::get_mut).filter(|_| now_ns.is_some()) {
                front.fullness = std::mem::take(fullness);
                front.latency = Some(latency.clone());
            }
            worker.packets(&lanes[0]);
            lanes[0].list.clear();
            lanes[0].extra.clear();
            if let Some(newer) = switch.as_ref().and_then(|switch| switch.newer(generation)) {
                worker.take_over(&newer);
            }
            let report = worker.tick(&tick);
            if block {
                quotas.share(&worker.demand());
                worker.set_quotas(quotas);
            }
            tell(now_ns.unwrap_or(tick.now_ns), tick, report);
        };
        for frame in &batch.frames {
            splitter.frame(frame, frame.of(bytes), lanes, &mut due);
        }
        if let Some(now_ns) = now_ns {
            splitter.at(now_ns, lanes, &mut due);
        }
        worker.packets(&lanes[0]);
        lanes[0].clear();
        let empty = self.batch.frames.is_empty();
        self.meter.batch(started, empty, &*self.source, self.splitter.counters().delivered, progress);
        Status::More
    }

    /// The last tick: every flow ends.
    pub(super) fn end(&mut self) -> (Tick, Report) {
        self.splitter.source_counted(self.source.counters());
        let tick = self.splitter.end();
        let report = self.worker.tick(&tick);
        (tick, report)
    }

    /// The worker's counters.
    pub(super) const fn counters(&self) -> &Counters {
        self.worker.counters()
    }
}
