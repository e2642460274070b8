//! Times as text, always UTC.

use crate::clock::SECOND_NS;

/// Year, month, day, hour, minute, second of a time in ns since the epoch (proleptic Gregorian; days by Howard Hinnant's
/// "chrono-Compatible Low-Level Date Algorithms").
fn civil(ns: i64) -> (i64, i64, i64, i64, i64, i64) {
    let seconds = ns.div_euclid(SECOND_NS);
    let (days, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    let z = days + 719_468;
    let era = z.div_euclid(146_097);
    let day_of_era = z.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day, second / 3_600, second / 60 % 60, second % 60)
}

/// `2026-11-24T05:53:56.123456+0000`, as Suricata writes it; microseconds are cut, not rounded.
#[must_use]
pub fn iso8601(ns: i64) -> String {
    let (y, mo, d, h, mi, s) = civil(ns);
    let micros = ns.rem_euclid(SECOND_NS) / 1_000;
    format!("{y:04}-{mo:02}-{d:02}T{h:02}:{mi:02}:{s:02}.{micros:06}+0000")
}

/// `2026-11-24 05:53:56` for people.
#[must_use]
pub fn stamp(ns: i64) -> String {
    let (y, mo, d, h, mi, s) = civil(ns);
    format!("{y:04}-{mo:02}-{d:02} {h:02}:{mi:02}:{s:02}")
}

/// `20261124T055356Z`, for names of files.
#[must_use]
pub fn compact(ns: i64) -> String {
    let (y, mo, d, h, mi, s) = civil(ns);
    format!("{y:04}{mo:02}{d:02}T{h:02}{mi:02}{s:02}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_utc_with_microseconds() {
        assert_eq!(iso8601(0), "1970-01-01T00:00:00.000000+0000");
        assert_eq!(iso8601(1_700_000_000_123_456_789), "2023-11-14T22:13:20.123456+0000");
        assert_eq!(stamp(951_782_400 * SECOND_NS), "2000-02-29 00:00:00");
        assert_eq!(compact(1_700_000_000_123_456_789), "20231114T221320Z");
    }

    #[test]
    fn times_before_the_epoch_and_at_the_ends_of_the_range_do_not_panic() {
        assert_eq!(iso8601(-1), "1969-12-31T23:59:59.999999+0000");
        assert!(iso8601(i64::MIN).starts_with("1677-"));
        assert!(iso8601(i64::MAX).starts_with("2262-"));
    }
}
