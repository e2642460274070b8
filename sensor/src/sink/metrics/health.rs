//! Whether the sensor does its work. In: a beat at every tick, troubles that come and go. Out: [`Health`].

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Well, or why not: one line.
pub type Health = Result<(), String>;

/// Without a tick for longer than this, it is stuck. Live, a tick comes at least once a second, whether frames come or not.
const PATIENCE: Duration = Duration::from_secs(10);

/// Beats of the pipeline, and what is wrong meanwhile. Shared by who works and who is asked.
#[derive(Debug)]
pub struct Pulse {
    began: Instant,
    /// Milliseconds from `began` to the last beat.
    last: AtomicU64,
    troubles: Mutex<BTreeMap<String, String>>,
}

impl Default for Pulse {
    fn default() -> Self {
        Self { began: Instant::now(), last: AtomicU64::new(0), troubles: Mutex::default() }
    }
}

impl Pulse {
    /// A tick has been worked through.
    pub fn beat(&self) {
        let now = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last.fetch_max(now, Ordering::Relaxed);
    }

    /// How long ago the last beat was; before the first: how long it has been waited for.
    #[must_use]
    pub fn silence(&self) -> Duration {
        self.began.elapsed().saturating_sub(Duration::from_millis(self.last.load(Ordering::Relaxed)))
    }

    /// Something is wrong with `what` ("eve", "interface eth0"); says it until [`Self::well`], with the latest reason.
    pub fn trouble(&self, what: impl Into<String>, why: impl Into<String>) {
        self.troubles.lock().unwrap_or_else(PoisonError::into_inner).insert(what.into(), why.into());
    }

    /// `what` is in order again.
    pub fn well(&self, what: &str) {
        self.troubles.lock().unwrap_or_else(PoisonError::into_inner).remove(what);
    }

    /// Whether it still works through ticks: what a watchdog asks. Troubles that a new start would not mend do not count.
    #[must_use]
    pub fn alive(&self) -> bool {
        self.silence() <= PATIENCE
    }

    /// The state as `/healthz` tells it.
    ///
    /// # Errors
    /// Every reason, separated by semicolons.
    pub fn health(&self) -> Health {
        self.health_after(self.silence())
    }

    fn health_after(&self, silence: Duration) -> Health {
        let mut reasons = Vec::new();
        if silence > PATIENCE {
            reasons.push(format!("no tick for {} s", silence.as_secs()));
        }
        let troubles = self.troubles.lock().unwrap_or_else(PoisonError::into_inner);
        reasons.extend(troubles.iter().map(|(what, why)| format!("{what}: {why}")));
        if reasons.is_empty() { Ok(()) } else { Err(reasons.join("; ")) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_beyond_ten_seconds_is_an_illness_and_troubles_are_told_until_they_end() {
        let pulse = Pulse::default();
        assert_eq!(pulse.health_after(Duration::from_secs(10)), Ok(()));
        assert_eq!(pulse.health_after(Duration::from_secs(11)), Err("no tick for 11 s".into()));
        pulse.trouble("eve", "no space left on device");
        pulse.trouble("interface", "eth9 is gone");
        let both = "eve: no space left on device; interface: eth9 is gone";
        assert_eq!(pulse.health(), Err(both.into()));
        assert_eq!(pulse.health_after(Duration::from_secs(12)), Err(format!("no tick for 12 s; {both}")));
        assert!(pulse.alive(), "a new start would not mend a full disk");
        pulse.well("eve");
        pulse.well("interface");
        assert_eq!(pulse.health(), Ok(()));
    }

    #[test]
    fn a_beat_ends_the_silence() {
        let pulse = Pulse::default();
        std::thread::sleep(Duration::from_millis(300));
        let before = pulse.silence();
        assert!(before >= Duration::from_millis(300));
        pulse.beat();
        assert!(pulse.silence() < before);
    }
}
