//! Timestamps of pcapng interfaces.
//!
//! In: ticks in a unit and with an offset that the interface description gives. Out: nanoseconds since 1970,
//! and whether they can be true.

use super::super::{
    info::Resolution,
    parser::{ABSURD_FROM_SECONDS, NANOS},
};

/// How an interface tells the time.
#[derive(Clone, Copy)]
pub(super) struct Clock {
    unit: Unit,
    offset_ns: i64,
}

/// How a timestamp becomes nanoseconds.
#[derive(Clone, Copy)]
enum Unit {
    Times(u64),
    DividedBy(u64),
    ShiftedBy(u32),
}

impl Clock {
    /// The clock of an interface with this unit of time, and this many seconds to be added.
    pub(super) fn new(resolution: Resolution, offset_seconds: i64) -> Self {
        Self { unit: resolution.into(), offset_ns: offset_seconds.saturating_mul(NANOS) }
    }

    /// Nanoseconds since 1970 of a timestamp in units of this interface, and whether it cannot be true.
    #[inline]
    pub(super) fn nanos(&self, ticks: u64) -> (i64, bool) {
        let since_offset = match self.unit {
            Unit::Times(factor) => ticks.checked_mul(factor),
            Unit::DividedBy(divisor) => Some(ticks / divisor),
            Unit::ShiftedBy(bits) => {
                u64::try_from((u128::from(ticks) * NANOS.unsigned_abs() as u128) >> bits).ok()
            }
        };
        let ns = since_offset
            .and_then(|ns| i64::try_from(ns).ok())
            .unwrap_or(i64::MAX)
            .saturating_add(self.offset_ns);
        (ns, !(0..ABSURD_FROM_SECONDS * NANOS).contains(&ns))
    }
}

impl From<Resolution> for Unit {
    fn from(resolution: Resolution) -> Self {
        match resolution {
            Resolution::Decimal(n @ 0..=9) => Self::Times(10u64.pow(9 - u32::from(n))),
            // With more than 2^64 ticks to a nanosecond, no timestamp reaches the first one.
            Resolution::Decimal(n) => {
                10u64.checked_pow(u32::from(n) - 9).map_or(Self::Times(0), Self::DividedBy)
            }
            Resolution::Binary(n) => Self::ShiftedBy(u32::from(n & 0x7f)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const THEN: u64 = 1_700_000_000;
    const THEN_NANOS: i64 = THEN as i64 * NANOS;

    #[test]
    fn every_resolution_and_offset_gives_nanoseconds() {
        use Resolution::{Binary, Decimal};
        for (resolution, ticks, nanos) in [
            (Decimal(0), THEN, THEN_NANOS),
            (Decimal(3), THEN * 1000 + 7, THEN_NANOS + 7_000_000),
            (Decimal(6), THEN * 1_000_000 + 1, THEN_NANOS + 1000),
            (Decimal(9), THEN * 1_000_000_000 + 7, THEN_NANOS + 7),
            (Decimal(10), THEN * 10_000_000_000 + 79, THEN_NANOS + 7),
            (Decimal(19), u64::MAX, 1_844_674_407),
            (Decimal(28), u64::MAX, 1),
            (Decimal(29), u64::MAX, 0),
            (Decimal(127), u64::MAX, 0),
            (Binary(0), THEN, THEN_NANOS),
            (Binary(1), THEN * 2 + 1, THEN_NANOS + 500_000_000),
            (Binary(32), (THEN << 32) + (1 << 30), THEN_NANOS + 250_000_000),
            (Binary(64), u64::MAX, 999_999_999),
            (Binary(127), u64::MAX, 0),
        ] {
            assert_eq!(Clock::new(resolution, 0).nanos(ticks), (nanos, false), "{resolution:?}");
            let later = (nanos + 100 * NANOS, false);
            assert_eq!(Clock::new(resolution, 100).nanos(ticks), later, "{resolution:?}");
        }
    }

    #[test]
    fn what_cannot_be_true_is_told_and_what_cannot_be_held_saturates() {
        let clock = Clock::new(Resolution::Decimal(6), -10);
        assert_eq!(clock.nanos(9_000_000), (-NANOS, true));
        assert_eq!(clock.nanos(10_000_000), (0, false));
        let latest = ABSURD_FROM_SECONDS.unsigned_abs() * 1_000_000;
        let clock = Clock::new(Resolution::Decimal(6), 0);
        assert_eq!(clock.nanos(latest), (ABSURD_FROM_SECONDS * NANOS, true));
        assert_eq!(clock.nanos(latest - 1), (ABSURD_FROM_SECONDS * NANOS - 1000, false));
        assert_eq!(clock.nanos(u64::MAX), (i64::MAX, true));
        assert_eq!(Clock::new(Resolution::Decimal(6), i64::MIN).nanos(0), (i64::MIN, true));
        assert_eq!(Clock::new(Resolution::Decimal(6), i64::MAX).nanos(u64::MAX), (i64::MAX, true));
        assert_eq!(Clock::new(Resolution::Binary(0), 0).nanos(u64::MAX), (i64::MAX, true));
    }
}
