//! Several sources, each with a worker of its own: nothing is shared a packet, and results meet at the reducer.
//!
//! A second is handed to the reducer when every thread has come past it, so that what the reducer sees is in the order of time, whoever
//! was late. It is a second of the machine's own clock, which goes on in every thread whatever its packets claim: packet time may
//! jump ahead where there is traffic and not where there is none.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crossbeam::channel::{Sender, bounded};

use super::counters::{Counters, Front};
use super::reduce::{Reducer, Sink};
use super::report::Report;
use super::run::{OnProgress, QUEUE, Settings, Summary};
use super::solo::Solo;
use super::unit::Tick;
use super::worker::Config;
use crate::clock::SECOND_NS;
use crate::source::{Source, Status};

/// What a thread tells: which one, in which second of the machine's clock, what.
type Told = (usize, i64, Tick, Report);

/// What a thread came to.
type Came = (Front, Counters);

pub(super) fn apart<S: Sink + Send>(
    sources: &mut [Box<dyn Source + Send>],
    settings: &Settings,
    reducer: &mut Reducer<S>,
    progress: &mut OnProgress<'_>,
) -> io::Result<Summary> {
    let count = sources.len();
    let config = share(&settings.worker, count);
    let failed = &AtomicBool::new(false);
    let lost = || io::Error::other("a worker has ended");
    std::thread::scope(|scope| {
        let (tell, told) = bounded::<Told>(QUEUE * count);
        // All of them before any begins: one that cannot would leave the others waiting.
        let mut solos = sources
            .iter_mut()
            .map(|source| Solo::new(&mut **source, config.clone(), settings))
            .collect::<io::Result<Vec<_>>>()?
            .into_iter();
        let Some(first) = solos.next() else { return Err(io::Error::other("no source")) };
        let mut handles = Vec::new();
        for (n, solo) in (1..).zip(solos) {
            let tell = tell.clone();
            let thread = std::thread::Builder::new().name(format!("worker-{n}"));
            let work = move || work(n, solo, settings, &tell, failed, &mut |_, _| {});
            // Those that have begun end at once where another one cannot.
            handles.push(thread.spawn_scoped(scope, work).inspect_err(|_| give_up(failed))?);
        }
        let reducer_thread = std::thread::Builder::new().name("reducer".into());
        let reduce = move || {
            let mut merge = Merge::new(count);
            for (n, second, tick, report) in told {
                merge.add(n, second, tick, report);
                while let Some((tick, reports)) = merge.next() {
                    reducer.tick(&tick, reports);
                }
                if reducer.failed() {
                    failed.store(true, Ordering::Relaxed);
                }
            }
            reducer.ledger().tally()
        };
        let reducing = reducer_thread.spawn_scoped(scope, reduce).inspect_err(|_| give_up(failed))?;
        let mut came = vec![work(0, first, settings, &tell, failed, progress)];
        drop(tell);
        for handle in handles {
            came.push(handle.join().map_err(|_| lost())?);
        }
        let evidence = reducing.join().map_err(|_| lost())?;
        let (mut front, mut flows) = (Front::default(), Counters::default());
        for (theirs, counters) in came {
            front.add(&theirs);
            flows.add(&counters);
        }
        Ok(Summary::of(front, flows, evidence))
    })
}

fn give_up(failed: &AtomicBool) {
    failed.store(true, Ordering::Relaxed);
}

/// One thread.
fn work(
    n: usize,
    mut solo: Solo<'_>,
    settings: &Settings,
    tell: &Sender<Told>,
    failed: &AtomicBool,
    progress: &mut OnProgress<'_>,
) -> Came {
    if let Some(cpu) = settings.cpus.get(n % settings.cpus.len().max(1)) {
        bind_to(*cpu);
    }
    let mut say = |now_ns: i64, tick, report| {
        // The reducer ends when all threads have.
        let _ = tell.send((n, now_ns.div_euclid(SECOND_NS), tick, report));
    };
    while solo.turn(&mut say, progress) == Status::More {
        if failed.load(Ordering::Relaxed) {
            break;
        }
    }
    let (tick, report) = solo.end();
    let mut front = tick.front.as_deref().cloned().unwrap_or_default();
    front.latency = Some(solo.meter.latency.clone());
    say(i64::MAX, tick, report);
    (front, solo.counters().clone())
}

/// One worker's part of the bounds.
fn share(config: &Config, count: usize) -> Config {
    let mut config = config.clone();
    let n = u32::try_from(count).unwrap_or(u32::MAX).max(1);
    config.capacity /= n;
    config.limits = config.limits.share(n);
    config
}

/// Binds the calling thread to a processor. Where that is not possible it stays where it is: it is a matter of speed.
#[cfg(target_os = "linux")]
fn bind_to(cpu: usize) {
    // SAFETY: all zero is an empty set; the number is checked against the size of the set; 0 is the calling thread.
    unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        if cpu < 8 * size_of::<libc::cpu_set_t>() {
            libc::CPU_SET(cpu, &mut set);
            libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &raw const set);
        }
    }
}

#[cfg(not(target_os = "linux"))]
const fn bind_to(_: usize) {}

/// Reports of all threads in the order of time.
struct Merge {
    /// How far each thread has come, in seconds of the machine's clock.
    come: Vec<i64>,
    /// What each thread had counted when it came there.
    counted: Vec<(Option<Arc<Front>>, Counters)>,
    held: BTreeMap<i64, Vec<Told>>,
    /// The last ticks: they are one.
    last: Vec<Told>,
    number: u64,
}

impl Merge {
    fn new(count: usize) -> Self {
        Self {
            come: vec![i64::MIN; count],
            counted: (0..count).map(|_| (None, Counters::default())).collect(),
            held: BTreeMap::new(),
            last: Vec::new(),
            number: 0,
        }
    }

    fn add(&mut self, n: usize, second: i64, tick: Tick, report: Report) {
        if tick.last {
            self.come[n] = i64::MAX;
            self.last.push((n, second, tick, report));
            return;
        }
        self.come[n] = self.come[n].max(second);
        self.held.entry(second).or_default().push((n, second, tick, report));
    }

    /// The next second that every thread has come past, as one tick.
    fn next(&mut self) -> Option<(Tick, Vec<Report>)> {
        let all_past = self.come.iter().min().copied().unwrap_or(i64::MIN);
        let told = match self.held.first_entry() {
            Some(second) if *second.key() < all_past || all_past == i64::MAX => second.remove(),
            None if self.last.len() == self.come.len() => std::mem::take(&mut self.last),
            _ => return None,
        };
        self.number += 1;
        let mut tick = Tick {
            number: self.number,
            now_ns: i64::MIN,
            private_seen: false,
            last: false,
            front: None,
            neighbours: None,
        };
        let mut neighbours = Vec::new();
        let mut reports = Vec::with_capacity(told.len());
        for (n, _, theirs, report) in told {
            tick.now_ns = tick.now_ns.max(theirs.now_ns);
            tick.private_seen |= theirs.private_seen;
            tick.last |= theirs.last;
            neighbours.extend(theirs.neighbours.iter().flat_map(|seen| seen.iter().copied()));
            self.counted[n] = (theirs.front, report.counters.clone());
            reports.push(report);
        }
        let mut front: Option<Front> = None;
        let mut all = Counters::default();
        for (theirs, counters) in &self.counted {
            all.add(counters);
            if let Some(theirs) = theirs {
                front.get_or_insert_default().add(theirs);
            }
        }
        // Private addresses that any thread has seen by now; a tick must not take back what an earlier one said.
        tick.private_seen |= front.as_ref().is_some_and(|f| f.private_seen);
        tick.front = front.map(Arc::new);
        tick.neighbours = Some(neighbours).filter(|seen| !seen.is_empty()).map(Arc::new);
        for (i, report) in reports.iter_mut().enumerate() {
            report.counters = if i == 0 { std::mem::take(&mut all) } else { Counters::default() };
        }
        Some((tick, reports))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tick(second: i64, delivered: u64, last: bool) -> Tick {
        let mut front = Front::default();
        front.decode.delivered = delivered;
        Tick {
            number: 0,
            now_ns: second * SECOND_NS + 7,
            private_seen: false,
            last,
            front: Some(Arc::new(front)),
            neighbours: None,
        }
    }

    fn report(received: u64) -> Report {
        Report { counters: Counters { received, ..Counters::default() }, ..Report::default() }
    }

    fn counts(told: (Tick, Vec<Report>)) -> (i64, u64, u64, bool) {
        let received = told.1.iter().map(|r| r.counters.received).sum();
        let front = told.0.front.expect("counted");
        (told.0.now_ns / SECOND_NS, front.decode.delivered, received, told.0.last)
    }

    #[test]
    fn a_second_is_told_when_every_thread_is_past_it_and_counters_are_those_of_all() {
        let mut merge = Merge::new(2);
        merge.add(0, 10, tick(10, 5, false), report(5));
        merge.add(0, 10, tick(10, 6, false), report(6));
        merge.add(0, 11, tick(11, 9, false), report(9));
        assert!(merge.next().is_none(), "the other has told nothing");
        merge.add(1, 11, tick(11, 100, false), report(100));
        assert_eq!(merge.next().map(counts), Some((10, 6, 6, false)));
        assert!(merge.next().is_none(), "the second 11 may not be over");
        merge.add(0, 12, tick(12, 12, false), report(12));
        merge.add(1, 12, tick(12, 101, false), report(101));
        assert_eq!(merge.next().map(counts), Some((11, 109, 109, false)));
    }

    #[test]
    fn packets_that_claim_another_time_hold_nothing_up() {
        let mut merge = Merge::new(2);
        merge.add(0, 10, tick(90_000, 5, false), report(5));
        merge.add(0, 11, tick(90_001, 6, false), report(6));
        merge.add(1, 11, tick(11, 1, false), report(1));
        assert_eq!(merge.next().map(counts), Some((90_000, 5, 5, false)));
    }

    #[test]
    fn the_last_ticks_are_one_and_come_after_everything_that_is_held() {
        let mut merge = Merge::new(2);
        merge.add(0, 10, tick(10, 5, false), report(5));
        merge.add(1, 9, tick(9, 1, true), report(1));
        assert!(merge.next().is_none());
        merge.add(0, 11, tick(11, 7, true), report(7));
        assert_eq!(merge.next().map(counts), Some((10, 5, 5, false)));
        assert_eq!(merge.next().map(counts), Some((11, 8, 8, true)));
        assert!(merge.next().is_none());
    }
}
