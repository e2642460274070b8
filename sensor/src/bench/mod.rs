//! Measures this machine: how many packets a second the pipeline takes with which settings.
//!
//! In: traffic (a capture file, or interfaces) and the settings to try. Out: a [`Cell`] for each setting, with a [`Sample`] a round,
//! and what is to be recommended by them ([`advise`]). Settings are tried in turn, a round each, so that whatever else the machine
//! does meets all of them alike. What is found goes nowhere: analysis is measured, not the writing of records.

mod advice;
#[cfg(target_os = "linux")]
pub mod listen;
mod traffic;

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use crate::catalog::Catalogue;
use crate::config::Config;
use crate::home::Home;
use crate::host::{Finding, HostRecord, Weights};
use crate::intel::Intel;
use crate::pipeline::{
    Ended, Far, Reducer, Settings, Sink, Summary, WorkerConfig, latency, own_batch, run, run_each,
};
use crate::source::Source;

pub use advice::{Advice, advise};
pub(crate) use advice::{duration, si};
pub use traffic::{Kind, SEED, Traffic};

/// Settings to try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Setting {
    /// Workers, from 1.
    pub workers: usize,
    /// Frames a batch; of files only, interfaces hand over what has come in.
    pub batch: Option<usize>,
    /// MiB of an interface's ring; of interfaces only.
    pub ring_mib: Option<u64>,
}

impl Setting {
    /// What farend does with a file when nobody says anything, on `cores` cores.
    #[must_use]
    pub fn own(cores: usize) -> Self {
        Self { workers: cores, batch: Some(own_batch(cores)), ring_mib: None }
    }
}

impl std::fmt::Display for Setting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "workers = {}", self.workers)?;
        if let Some(batch) = self.batch {
            write!(f, ", batch = {batch}")?;
        }
        if let Some(ring) = self.ring_mib {
            write!(f, ", ring = {ring} MiB")?;
        }
        Ok(())
    }
}

/// One run.
#[derive(Clone, Debug)]
pub struct Sample {
    /// Packets taken.
    pub packets: u64,
    /// Their bytes on the wire.
    pub bytes: u64,
    /// Time it took.
    pub wall: Duration,
    /// User and system time of the whole process.
    pub cpu: Duration,
    /// Packets that the kernel dropped; of interfaces only.
    pub drops: Option<u64>,
    /// Times that a ring was full; of interfaces only.
    pub ring_full: Option<u64>,
    /// Nanoseconds a batch took ([`Summary::latency`]).
    pub latency: Histogram<u64>,
}

/// A quantity over the rounds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    /// The middle one; of an even number the mean of the two in the middle.
    pub median: f64,
    /// The least.
    pub min: f64,
    /// The largest.
    pub max: f64,
}

impl Spread {
    /// Of values of which there is at least one.
    fn of(values: impl Iterator<Item = f64>) -> Self {
        let mut values: Vec<f64> = values.collect();
        values.sort_by(f64::total_cmp);
        let at = |i: usize| values.get(i).copied().unwrap_or(f64::NAN);
        let last = values.len().saturating_sub(1);
        Self { median: (at(last / 2) + at(last.div_ceil(2))) / 2.0, min: at(0), max: at(last) }
    }

    /// How far the rounds lie from the median, as a share of it.
    #[must_use]
    pub fn share(&self) -> f64 {
        (self.max - self.median).max(self.median - self.min) / self.median
    }
}

/// All runs with one setting.
#[derive(Clone, Debug)]
pub struct Cell {
    /// The setting.
    pub setting: Setting,
    /// A run for every round so far.
    pub samples: Vec<Sample>,
}

impl Cell {
    /// Without a run yet.
    #[must_use]
    pub const fn new(setting: Setting) -> Self {
        Self { setting, samples: Vec::new() }
    }

    fn over(&self, value: impl Fn(&Sample) -> f64) -> Spread {
        Spread::of(self.samples.iter().map(value))
    }

    /// Packets a second.
    #[must_use]
    pub fn packets_per_second(&self) -> Spread {
        self.over(|s| s.packets as f64 / s.wall.as_secs_f64())
    }

    /// 10⁹ bits a second on the wire, without preamble and gap.
    #[must_use]
    pub fn gbit_per_second(&self) -> Spread {
        self.over(|s| s.bytes as f64 * 8e-9 / s.wall.as_secs_f64())
    }

    /// Nanoseconds of processor time a packet.
    #[must_use]
    pub fn cpu_ns_per_packet(&self) -> Spread {
        self.over(|s| s.cpu.as_secs_f64() * 1e9 / s.packets.max(1) as f64)
    }

    /// Cores that were busy, of all time that passed.
    #[must_use]
    pub fn cores_busy(&self) -> Spread {
        self.over(|s| s.cpu.as_secs_f64() / s.wall.as_secs_f64())
    }

    /// Packets dropped by the kernel in all rounds; `None` of files.
    #[must_use]
    pub fn drops(&self) -> Option<u64> {
        self.samples.iter().map(|s| s.drops).sum()
    }

    /// Times that a ring was full in all rounds; `None` of files.
    #[must_use]
    pub fn ring_full(&self) -> Option<u64> {
        self.samples.iter().map(|s| s.ring_full).sum()
    }

    /// Packets of all rounds.
    #[must_use]
    pub fn packets(&self) -> u64 {
        self.samples.iter().map(|s| s.packets).sum()
    }

    /// Nanoseconds a batch took, over all rounds: half, 99 %, 99.9 % of them at most, and the longest.
    #[must_use]
    pub fn latency_ns(&self) -> [u64; 4] {
        let mut all = latency();
        for sample in &self.samples {
            // The same bounds as those of the pipeline's, so nothing lies outside.
            let _ = all.add(&sample.latency);
        }
        let quantile = |q| all.value_at_quantile(q).min(all.max());
        [quantile(0.5), quantile(0.99), quantile(0.999), all.max()]
    }
}

/// What every run shares.
pub struct Bench {
    intel: Arc<Intel>,
    weights: Weights,
    worker: WorkerConfig,
}

impl Default for Bench {
    /// With the configuration's defaults and the embedded intel and catalogue.
    fn default() -> Self {
        let config = Config::default();
        let worker = WorkerConfig {
            capacity: config.flow.capacity(),
            timeouts: config.flow.timeouts.timeouts(),
            limits: config.inspect.limits(),
            catalogue: Catalogue::embedded(),
            all_flows: false,
            flow_interval_ns: None,
            home: Home::default(),
            hash_seed: None,
        };
        Self { intel: Arc::new(Intel::embedded()), weights: Weights::default(), worker }
    }
}

impl Bench {
    /// Runs a source to its end.
    ///
    /// # Errors
    /// When a thread cannot be started or memory is not to be had.
    pub fn run(&self, source: &mut (dyn Source + Send), setting: Setting) -> io::Result<Sample> {
        self.measure(setting, |settings, reducer| run(source, settings, reducer, &mut |_, _| {}))
    }

    /// Runs parts of one traffic to their end, each in a thread of its own.
    ///
    /// # Errors
    /// As [`Bench::run`].
    pub fn run_each(&self, sources: &mut [Box<dyn Source + Send>], setting: Setting) -> io::Result<Sample> {
        self.measure(setting, |settings, reducer| run_each(sources, settings, reducer, &mut |_, _| {}))
    }

    fn measure(
        &self,
        setting: Setting,
        work: impl FnOnce(&Settings, &mut Reducer<Nowhere>) -> io::Result<Summary>,
    ) -> io::Result<Sample> {
        let mut reducer =
            Reducer::new(Arc::clone(&self.intel), Home::default(), self.weights.clone(), Nowhere);
        let settings = Settings {
            worker: self.worker.clone(),
            workers: setting.workers,
            batch: setting.batch,
            switch: None,
            cpus: Vec::new(),
        };
        let (cpu, started) = (cpu_time(), Instant::now());
        let summary = work(&settings, &mut reducer)?;
        Ok(Sample {
            wall: started.elapsed(),
            cpu: cpu_time().saturating_sub(cpu),
            packets: summary.decode.delivered,
            bytes: summary.decode.bytes,
            drops: None,
            ring_full: None,
            latency: summary.latency,
        })
    }
}

/// User and system time of this process so far.
fn cpu_time() -> Duration {
    // SAFETY: all zeros is a value of this struct of integers, and it outlives the call that fills it in.
    let usage = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        libc::getrusage(libc::RUSAGE_SELF, &raw mut usage);
        usage
    };
    // Never negative; the fields' types differ from system to system.
    let time = |t: libc::timeval| {
        let (s, micros) = (u64::try_from(t.tv_sec), u64::try_from(t.tv_usec));
        Duration::from_secs(s.unwrap_or_default()) + Duration::from_micros(micros.unwrap_or_default())
    };
    time(usage.ru_utime) + time(usage.ru_stime)
}

/// Takes no records.
struct Nowhere;

impl Sink for Nowhere {
    fn flow(&mut self, _: &Ended, _: &Far<'_>, _: bool) {}

    fn alert(&mut self, _: &Finding, _: &Weights, _: i64) {}

    fn host(&mut self, _: &HostRecord, _: &Weights, _: i64) {}

    fn failed(&self) -> bool {
        false
    }

    fn wants_all_flows(&self) -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_an_even_number_lies_between_the_two_in_the_middle() {
        let spread = Spread::of([4.0, 1.0, 3.0, 2.0].into_iter());
        assert_eq!(spread, Spread { median: 2.5, min: 1.0, max: 4.0 });
        assert!((spread.share() - 0.6).abs() < 1e-9);
        assert_eq!(Spread::of([7.0].into_iter()), Spread { median: 7.0, min: 7.0, max: 7.0 });
    }

    #[test]
    fn processor_time_grows_with_work_and_not_with_sleep() {
        let before = cpu_time();
        let until = Instant::now() + Duration::from_millis(30);
        while Instant::now() < until {
            std::hint::spin_loop();
        }
        assert!(cpu_time() > before);
    }
}
