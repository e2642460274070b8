//! Runs on what comes in on interfaces, some seconds a setting.

use std::io;
use std::time::Duration;

use super::{Bench, Sample, Setting};
use crate::source::Source;
use crate::source::live::{ListenError, Live, Options};

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
    /// Listens to `interfaces` for `time`, with a ring of the setting's size each.
    ///
    /// # Errors
    /// When that is not possible.
    pub fn listen(&self, interfaces: &[String], time: Duration, setting: Setting) -> Result<Sample, Error> {
        let ring_mib = setting.ring_mib.unwrap_or_else(own_ring_mib);
        let options = Options {
            ring_bytes: usize::try_from(ring_mib).unwrap_or(64) << 20,
            filter: None,
            duration: Some(time),
        };
        let mut source = Live::open(interfaces, &options, Default::default())?;
        let sample = self.run(&mut source, setting)?;
        // What comes in after `time` is not taken, however long the rest is read.
        Ok(Sample { wall: time, drops: Some(source.counters().kernel_drops), ..sample })
    }
}
