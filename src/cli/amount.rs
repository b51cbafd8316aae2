//! How much of something is there by now, as a number and a bar.

use crate::cache::bytes;

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
