//! Calendar days: how old a source is. No clock is read here; "today" always comes from the caller.

use std::fmt;
use std::str::FromStr;

const SECONDS_PER_DAY: u64 = 86_400;

/// A day in UTC, from 1970-01-01 on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Date {
    days: u32,
}

impl Date {
    /// The day that contains `seconds` after the Unix epoch.
    pub fn from_unix(seconds: u64) -> Self {
        Self { days: u32::try_from(seconds / SECONDS_PER_DAY).unwrap_or(u32::MAX) }
    }

    /// Midnight of this day, in seconds after the Unix epoch.
    pub fn unix(self) -> u64 {
        u64::from(self.days) * SECONDS_PER_DAY
    }

    /// Days from `earlier` to this day; negative if `earlier` is the later one.
    pub fn days_since(self, earlier: Self) -> i64 {
        i64::from(self.days) - i64::from(earlier.days)
    }

    /// The day that a package version ends in, as in `2.3.2026061719` (year, month, day, hour).
    pub(super) fn from_version(version: &str) -> Option<Self> {
        let stamp = version.rsplit('.').next()?;
        let digits = |range: std::ops::Range<usize>| stamp.get(range)?.parse::<u32>().ok();
        if stamp.len() < 8 || !stamp.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        Self::from_civil(digits(0..4)?, digits(4..6)?, digits(6..8)?)
    }

    /// Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms": `days_from_civil`, for years from 1970.
    fn from_civil(year: u32, month: u32, day: u32) -> Option<Self> {
        if !(1970..=9999).contains(&year) || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
            return None;
        }
        let shifted = if month <= 2 { year - 1 } else { year };
        let year_of_era = shifted % 400;
        let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
        let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
        let date = Self { days: shifted / 400 * 146_097 + day_of_era - 719_468 };
        // A day past its month's end comes back as another month.
        (date.civil() == (year, month, day)).then_some(date)
    }

    /// The same source's `civil_from_days`.
    fn civil(self) -> (u32, u32, u32) {
        let shifted = u64::from(self.days) + 719_468;
        let era = shifted / 146_097;
        let day_of_era = shifted % 146_097;
        let year_of_era =
            (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let shifted_month = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
        let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
        let year = year_of_era + era * 400 + u64::from(month <= 2);
        (year as u32, month as u32, day as u32)
    }
}

impl fmt::Display for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day) = self.civil();
        write!(f, "{year:04}-{month:02}-{day:02}")
    }
}

/// The text is not a day written as `2026-10-05`.
#[derive(Debug, PartialEq, Eq)]
pub struct NotADate;

impl FromStr for Date {
    type Err = NotADate;

    fn from_str(text: &str) -> Result<Self, NotADate> {
        let mut parts = text.split('-').map(|part| part.parse::<u32>().map_err(|_| NotADate));
        let mut next = || parts.next().unwrap_or(Err(NotADate));
        let date = Self::from_civil(next()?, next()?, next()?).ok_or(NotADate)?;
        if parts.next().is_some() { Err(NotADate) } else { Ok(date) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_convert_both_ways_across_leap_years_and_centuries() {
        for text in ["1970-01-01", "2000-02-29", "2026-10-05", "2100-02-28", "2100-03-01", "9999-12-31"] {
            let date: Date = text.parse().expect(text);
            assert_eq!(date.to_string(), text);
        }
        assert_eq!(Date::from_unix(1_791_200_061).to_string(), "2026-10-05");
    }

    #[test]
    fn days_that_do_not_exist_are_refused() {
        for text in ["2026-02-29", "2026-13-01", "2026-00-10", "1969-12-31", "2026-10", "2026-10-05-1", "x"] {
            assert_eq!(text.parse::<Date>(), Err(NotADate), "{text}");
        }
    }

    #[test]
    fn a_package_version_tells_its_day() {
        assert_eq!(Date::from_version("2.3.2026061719").map(|d| d.to_string()), Some("2026-06-17".into()));
        assert_eq!(Date::from_version("1.1.2"), None);
    }
}
