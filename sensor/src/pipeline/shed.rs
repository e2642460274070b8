//! What is left undone when frames come in faster than they can be looked at.
//!
//! In: how full the ring is that frames wait in. Out: a [`Level`]. Counting packets and flows is never left out; what costs the most
//! and says the least goes first: the shape of sessions, then the content of new flows, then all content. A level is taken at once and
//! given up one at a time, after the ring has stayed nearly empty for a while, so that work under way is not torn up and begun again.

use std::time::{Duration, Instant};

/// From this part of the ring on, per cent, one level more is shed at every look.
const FULL: u8 = 50;
/// From this part on everything that can be is.
const NEARLY_OVER: u8 = 85;
/// Below this part the ring counts as nearly empty.
const EMPTY: u8 = 10;
/// Between two steps up: as long as a batch needs to show what the last one has brought.
const STEP_UP: Duration = Duration::from_millis(5);
/// The ring is nearly empty for so long before one level is given up.
const CALM: Duration = Duration::from_secs(5);

/// What is left out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Nothing.
    #[default]
    Nothing,
    /// The shape of sessions.
    Shape,
    /// And the content of new flows.
    NewFlows,
    /// And the content of all flows.
    Payload,
}

impl Level {
    /// All of them, the least first.
    pub const ALL: [Self; 4] = [Self::Nothing, Self::Shape, Self::NewFlows, Self::Payload];

    /// Name in statistics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Nothing => "nothing",
            Self::Shape => "shape",
            Self::NewFlows => "new_flows",
            Self::Payload => "payload",
        }
    }

    const fn up(self) -> Self {
        match self {
            Self::Nothing => Self::Shape,
            Self::Shape => Self::NewFlows,
            Self::NewFlows | Self::Payload => Self::Payload,
        }
    }

    const fn down(self) -> Self {
        match self {
            Self::Nothing | Self::Shape => Self::Nothing,
            Self::NewFlows => Self::Shape,
            Self::Payload => Self::NewFlows,
        }
    }
}

/// Chooses the level.
#[derive(Debug)]
pub(super) struct Shedder {
    level: Level,
    stepped: Option<Instant>,
    calm_since: Option<Instant>,
}

impl Shedder {
    /// Nothing is shed.
    pub(super) const fn new() -> Self {
        Self { level: Level::Nothing, stepped: None, calm_since: None }
    }

    /// The ring is `full` per cent full at `now`.
    pub(super) fn observe(&mut self, full: u8, now: Instant) -> Level {
        if full >= FULL {
            self.calm_since = None;
            if full >= NEARLY_OVER {
                self.level = Level::Payload;
                self.stepped = Some(now);
            } else if self.stepped.is_none_or(|then| now.saturating_duration_since(then) >= STEP_UP) {
                self.level = self.level.up();
                self.stepped = Some(now);
            }
        } else if full >= EMPTY {
            self.calm_since = None;
        } else if self.level != Level::Nothing {
            let since = *self.calm_since.get_or_insert(now);
            if now.saturating_duration_since(since) >= CALM {
                self.level = self.level.down();
                self.calm_since = Some(now);
            }
        }
        self.level
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_taken_one_by_one_and_at_once_when_the_ring_is_nearly_over() {
        let (mut s, start) = (Shedder::new(), Instant::now());
        let ms = |n| start + Duration::from_millis(n);
        assert_eq!(s.observe(49, ms(0)), Level::Nothing);
        assert_eq!(s.observe(50, ms(1)), Level::Shape);
        assert_eq!(s.observe(60, ms(2)), Level::Shape, "the step has had no time to act");
        assert_eq!(s.observe(60, ms(7)), Level::NewFlows);
        assert_eq!(s.observe(60, ms(14)), Level::Payload);
        let mut s = Shedder::new();
        assert_eq!(s.observe(90, ms(0)), Level::Payload);
    }

    #[test]
    fn a_level_is_given_up_only_after_calm_and_one_at_a_time() {
        let (mut s, start) = (Shedder::new(), Instant::now());
        let at = |n| start + Duration::from_secs(n);
        s.observe(90, at(0));
        assert_eq!(s.observe(5, at(1)), Level::Payload);
        assert_eq!(s.observe(20, at(5)), Level::Payload, "not calm: the time begins anew");
        assert_eq!(s.observe(5, at(6)), Level::Payload);
        assert_eq!(s.observe(5, at(10)), Level::Payload);
        assert_eq!(s.observe(5, at(11)), Level::NewFlows);
        assert_eq!(s.observe(5, at(12)), Level::NewFlows);
        assert_eq!(s.observe(5, at(16)), Level::Shape);
        assert_eq!(s.observe(5, at(21)), Level::Nothing);
    }
}
