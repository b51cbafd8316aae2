//! How much of something there is, and how long ago something was, in few characters.

use crate::cache::{bytes, in_largest_unit};
use crate::shell;

/// How many places the bar has.
const PLACES: u64 = 10;

/// Returns so many bytes of so many in words; without a bar where nobody knows how many there will be.
pub(super) fn amount(done: u64, total: Option<u64>) -> String {
    let Some(total) = total.filter(|total| *total > 0) else { return bytes(done) };
    let done = done.min(total);
    let filled = u128::from(done) * u128::from(PLACES) / u128::from(total);
    let filled = "#".repeat(usize::try_from(filled).unwrap_or_default());
    format!("[{filled:<10}] {} of {}", bytes(done), bytes(total))
}

/// Says how long ago something was, behind a space.
pub(super) fn ago(seconds: u64) -> String {
    let (count, unit) = in_largest_unit(seconds);
    let plural = if count == 1 { "" } else { "s" };
    format!(" {count} {unit}{plural} ago")
}

/// Shows a number of seconds in its largest unit.
pub(super) fn age(seconds: u64) -> String {
    let (count, unit) = in_largest_unit(seconds);
    format!("{count}{}", &unit[..1])
}

/// Shows a number of bytes to two digits or so.
pub(super) fn disk_bytes(bytes: u64) -> String {
    let mut value = bytes;
    for unit in ["B", "KiB", "MiB", "GiB"] {
        if value < 10_000 {
            return format!("{value} {unit}");
        }
        value = value.div_ceil(1024);
    }
    format!("{value} TiB")
}

/// Shows a number of bytes in five characters at the most.
pub(super) fn short_bytes(bytes: u64) -> String {
    disk_bytes(bytes).replace("iB", "").replace(' ', "")
}

/// Returns a text on one line, in so many characters at the most.
pub(super) fn fitted(text: &str, most: usize) -> String {
    let text = shell::one_line(text);
    if text.chars().count() <= most {
        return text;
    }
    text.chars().take(most.saturating_sub(3)).chain("...".chars()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_is_as_full_as_the_part_that_is_there() {
        for (done, total, expected) in [
            (0, Some(1000), "[          ] 0 bytes of 1.0 kB"),
            (599, Some(1000), "[#####     ] 599 bytes of 1.0 kB"),
            (1000, Some(1000), "[##########] 1.0 kB of 1.0 kB"),
            (2000, Some(1000), "[##########] 1.0 kB of 1.0 kB"),
            (u64::MAX, Some(u64::MAX), "[##########] 18446744.0 TB of 18446744.0 TB"),
            (12_345_678, None, "12.3 MB"),
            (5, Some(0), "5 bytes"),
        ] {
            assert_eq!(amount(done, total), expected);
        }
    }
}
