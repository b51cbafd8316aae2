//! The time of day.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Returns the present time in UTC as RFC 3339 has it, to the second; `SOURCE_DATE_EPOCH` stands in
/// for it where it is set, so that a run can be repeated byte for byte.
pub(crate) fn now() -> String {
    let given = given().and_then(|given| u64::try_from(given).ok());
    let seconds = given.unwrap_or_else(|| since_1970().as_secs());
    format(seconds)
}

/// Returns the present time likewise, to the millisecond, whatever the environment says.
pub(crate) fn present() -> String {
    let since = since_1970();
    let time = format(since.as_secs());
    let time = time.trim_end_matches('Z');
    format!("{time}.{:03}Z", since.subsec_millis())
}

/// Returns the present time, since 1970; of a clock that is before that, nothing.
pub(crate) fn since_1970() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// Returns the time that `SOURCE_DATE_EPOCH` gives, in seconds since 1970.
pub(crate) fn given() -> Option<i64> {
    std::env::var("SOURCE_DATE_EPOCH").ok().and_then(|text| text.parse().ok())
}

/// Writes seconds since 1970 as a date and a time.
pub(crate) fn format(seconds: u64) -> String {
    let (days, rest) = (seconds / 86400, seconds % 86400);
    let (year, month, day) = date(days);
    let (hour, minute, second) = (rest / 3600, rest % 3600 / 60, rest % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

/// Returns year, month and day of a number of days since 1970, in the Gregorian calendar.
///
/// Years are counted from March, so that a leap day is the last of its year.
fn date(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468;
    let era = shifted / 146_097;
    let day_of_era = shifted % 146_097;
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    (year_of_era + era * 400 + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_the_calendar() {
        let table = [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_399, "2000-02-28T23:59:59Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_709_251_199, "2024-02-29T23:59:59Z"),
            (4_102_444_800, "2100-01-01T00:00:00Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
        ];
        for (seconds, text) in table {
            assert_eq!(format(seconds), text);
        }
    }
}
