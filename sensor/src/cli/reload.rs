//! SIGHUP: configuration, catalogue, weights and intel are read again while packets go on being taken.
//!
//! In: the signal. Out: new settings on the [`Switch`], from a thread of its own; or, where a file is bad, why, and the old ones stay.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use signal_hook::consts::SIGHUP;
use signal_hook::iterator::Signals;

use super::analyse::in_force;
use super::sinks::Orders;
use super::{Failure, Shared, config, say};
use crate::config::Config;
use crate::notify;
use crate::pipeline::Switch;

/// What is needed to read everything again.
pub(super) struct Reload {
    /// The flags, which win over the file.
    pub(super) shared: Shared,
    /// What the program was started with.
    pub(super) started: Config,
    /// That it went well need not be said.
    pub(super) quiet: bool,
    /// What the sinks are told.
    pub(super) orders: Arc<Orders>,
    /// Where settings for workers and reducer are put.
    pub(super) switch: Arc<Switch>,
}

/// Reads again at every SIGHUP from now on.
pub(super) fn on_hangup(reload: Reload) -> io::Result<()> {
    let mut signals = Signals::new([SIGHUP])?;
    std::thread::Builder::new().name("reload".into()).spawn(move || {
        for _ in signals.forever() {
            // A log that was moved away is left first: whoever moved it waits for that.
            reload.orders.reopen.store(true, Ordering::Relaxed);
            let _ = notify::reloading();
            let done = reload.read();
            let _ = notify::ready(if done.is_ok() { "read again" } else { "not read again: a file is bad" });
            match done {
                Ok(()) if reload.quiet => {}
                Ok(()) => say::warn("read again: configuration, catalogue, weights and intel; in force now"),
                Err(Failure { message, .. }) => {
                    say::warn(format_args!("{message}\nnot read again: everything stays as it was"));
                }
            }
        }
    })?;
    Ok(())
}

impl Reload {
    /// Reads everything, and takes it over only if all of it is good.
    fn read(&self) -> Result<(), Failure> {
        let config = self.shared.laid_over(config::load(self.shared.config.as_deref())?);
        let settings = in_force(&config)?;
        let later = only_at_start(&self.started, &config);
        if !later.is_empty() {
            say::warn(format_args!("takes a new start: {}", later.join(", ")));
        }
        self.switch.put(settings);
        self.orders.take(&config);
        Ok(())
    }
}

/// Keys that have changed and are read only when the program starts.
fn only_at_start(old: &Config, new: &Config) -> Vec<&'static str> {
    let (a, b) = (&old.live, &new.live);
    let changed = [
        ("workers", old.workers != new.workers),
        ("batch", old.batch != new.batch),
        ("input.filter", old.input != new.input),
        ("flow.capacity", old.flow.capacity != new.flow.capacity),
        ("inspect", old.inspect != new.inspect),
        ("live.source", a.source != b.source),
        ("live.ring_mib", a.ring_mib != b.ring_mib),
        ("live.cpus", a.cpus != b.cpus),
        ("live.timestamps", a.timestamps != b.timestamps),
        ("live.metrics", a.metrics != b.metrics),
        ("live.rotate", a.rotate != b.rotate),
        ("output", old.output != new.output),
    ];
    changed.into_iter().filter_map(|(key, changed)| changed.then_some(key)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Whole;

    #[test]
    fn what_takes_a_new_start_is_named_and_what_does_not_is_not() {
        let old = Config::default();
        let mut new = old.clone();
        new.flow.timeouts.closed = Whole::new(5);
        new.intel.files.push("more.txt".into());
        new.live.stats_interval = Whole::new(5);
        assert!(only_at_start(&old, &new).is_empty());
        new.workers = Whole::new(3);
        new.live.ring_mib = Whole::new(256);
        assert_eq!(only_at_start(&old, &new), ["workers", "live.ring_mib"]);
    }
}
