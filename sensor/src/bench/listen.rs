//! Runs on what comes in on interfaces, some seconds a setting.

use std::io;
use std::time::Duration;

use super::{Bench, Sample, Setting};
use crate::source::listen::{ListenError, Options};
use crate::source::live::Live;
use crate::source::{Counters, Source};

/// MiB of a ring that farend takes by itself.
#[must_use]
pub fn own_ring_mib() -> u64 {
    crate::config::Config::default().live.ring_mib.get()
}

/// Why a run on interfaces did not come about.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Cannot listen.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// See [`Bench::run`].
    #[error(transparent)]
    Run(#[from] io::Error),
}

impl Bench {
    /// Listens to `interfaces` for `time`, with a ring of the setting's size for each of them and worker.
    ///
    /// # Errors
    /// When that is not possible.
    pub fn listen(&self, interfaces: &[String], time: Duration, setting: Setting) -> Result<Sample, Error> {
        let ring_mib = setting.ring_mib.unwrap_or_else(own_ring_mib);
        let options = Options {
            ring_bytes: usize::try_from(ring_mib).unwrap_or(64) << 20,
            filter: None,
            hardware_time: false,
            duration: Some(time),
        };
        let parts = Live::open(interfaces, setting.workers, &options, &Default::default())?;
        let mut sources: Vec<Box<dyn Source + Send>> =
            parts.into_iter().map(|part| Box::new(part) as Box<dyn Source + Send>).collect();
        let sample = self.run_each(&mut sources, setting)?;
        let mut counters = Counters::default();
        sources.iter().for_each(|s| counters.add(&s.counters()));
        // What comes in after `time` is not taken, however long the rest is read.
        let (drops, ring_full) = (Some(counters.kernel_drops), Some(counters.ring_full));
        Ok(Sample { wall: time, drops, ring_full, ..sample })
    }
}
