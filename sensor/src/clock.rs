//! Packet time: the one clock below the capture layer.
//!
//! In: the timestamp of every frame in capture order. Out: the time that expiry believes, and ticks. A clock that jumps ahead
//! would expire every flow at once, so a jump is believed only when many packets of several pairs agree; a step back is clamped.

/// A step ahead larger than this is not believed at once.
const JUMP_NS: i64 = 60 * SECOND_NS;
/// Packets that must agree on a jump …
const WITNESSES: u32 = 64;
/// … and each lie within this of the one before.
const AGREE_NS: i64 = 60 * SECOND_NS;
/// Nanoseconds in a second.
pub const SECOND_NS: i64 = 1_000_000_000;

/// The believed time.
#[derive(Debug, Default)]
pub struct Clock {
    now_ns: Option<i64>,
    claimed_ns: i64,
    witnesses: u32,
    first_pair: u8,
    pairs_differ: bool,
    /// Frames that were stamped before the believed time by more than a second.
    pub backward: u64,
    /// Frames whose jump ahead was not believed (yet).
    pub disbelieved: u64,
    /// Jumps ahead that were believed.
    pub jumps: u64,
}

impl Clock {
    /// Takes a frame's timestamp; `pair` stands for the pair of addresses it belongs to. Returns the believed time.
    #[inline]
    pub fn observe(&mut self, ts_ns: i64, pair: u8) -> i64 {
        let Some(now) = self.now_ns else {
            self.now_ns = Some(ts_ns);
            return ts_ns;
        };
        let step = ts_ns.saturating_sub(now);
        if (0..=JUMP_NS).contains(&step) {
            self.now_ns = Some(ts_ns);
            self.witnesses = 0;
            return ts_ns;
        }
        self.unusual(ts_ns, now, step, pair)
    }

    #[cold]
    fn unusual(&mut self, ts_ns: i64, now: i64, step: i64, pair: u8) -> i64 {
        if step < 0 {
            if step < -SECOND_NS {
                self.backward += 1;
            }
            return now;
        }
        let agrees = self.witnesses > 0 && ts_ns.saturating_sub(self.claimed_ns).saturating_abs() <= AGREE_NS;
        if agrees {
            self.witnesses += 1;
            self.pairs_differ |= pair != self.first_pair;
        } else {
            (self.witnesses, self.first_pair, self.pairs_differ) = (1, pair, false);
        }
        self.claimed_ns = if agrees { self.claimed_ns.max(ts_ns) } else { ts_ns };
        if self.witnesses >= WITNESSES && self.pairs_differ {
            self.witnesses = 0;
            self.jumps += 1;
            self.now_ns = Some(self.claimed_ns);
            return self.claimed_ns;
        }
        self.disbelieved += 1;
        now
    }

    /// Time goes on to `now_ns` at least, whether frames come or not. By a clock of the sensor's own, so it is believed.
    pub fn advance(&mut self, now_ns: i64) -> i64 {
        let now = self.now_ns.map_or(now_ns, |now| now.max(now_ns));
        self.now_ns = Some(now);
        now
    }

    /// The believed time, if any frame was seen.
    #[must_use]
    pub const fn now_ns(&self) -> Option<i64> {
        self.now_ns
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 3600 * SECOND_NS;

    #[test]
    fn one_frame_from_the_future_moves_nothing() {
        let mut clock = Clock::default();
        clock.observe(1000 * SECOND_NS, 1);
        assert_eq!(clock.observe(HOUR * 24, 2), 1000 * SECOND_NS);
        assert_eq!(clock.observe(1001 * SECOND_NS, 1), 1001 * SECOND_NS);
        assert_eq!(clock.disbelieved, 1);
    }

    #[test]
    fn many_frames_of_two_pairs_move_the_clock_and_of_one_pair_do_not() {
        let mut clock = Clock::default();
        clock.observe(0, 1);
        for i in 0..1000 {
            assert_eq!(clock.observe(HOUR + i, 7), 0, "one pair alone is not believed");
        }
        let mut clock = Clock::default();
        clock.observe(0, 1);
        let mut now = 0;
        for i in 0..64 {
            now = clock.observe(HOUR + i, (i % 2) as u8);
        }
        assert_eq!(now, HOUR + 63);
        assert_eq!(clock.jumps, 1);
    }

    #[test]
    fn time_goes_on_without_frames_and_never_back() {
        let mut clock = Clock::default();
        assert_eq!(clock.advance(HOUR), HOUR);
        assert_eq!(clock.advance(3 * HOUR), 3 * HOUR, "a silent link is no jump");
        assert_eq!(clock.observe(3 * HOUR + 5, 1), 3 * HOUR + 5);
        assert_eq!(clock.advance(3 * HOUR), 3 * HOUR + 5);
    }

    #[test]
    fn a_step_back_is_clamped_and_counted() {
        let mut clock = Clock::default();
        clock.observe(HOUR, 1);
        assert_eq!(clock.observe(HOUR - 5 * SECOND_NS, 1), HOUR);
        assert_eq!(clock.observe(HOUR - 5, 1), HOUR, "reordering within a second is ordinary");
        assert_eq!(clock.backward, 1);
    }
}
