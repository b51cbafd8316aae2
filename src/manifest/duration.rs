//! Durations: a number and one of `s m h d`.

use std::fmt;
use std::time;

use serde::{Serialize, Serializer};

/// A duration in whole seconds, not zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Duration(u64);

impl Duration {
    /// Parses `90s`, `2m`, `1h` or `7d`.
    pub fn parse(text: &str) -> Option<Self> {
        let unit = match text.as_bytes().last()? {
            b's' => 1,
            b'm' => 60,
            b'h' => 60 * 60,
            b'd' => 24 * 60 * 60,
            _ => return None,
        };
        let digits = &text[..text.len() - 1];
        if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        // Centuries fit; a longer one would overflow the clock that it is added to.
        let seconds = digits.parse::<u64>().ok()?.checked_mul(unit)?;
        (1..=u64::from(u32::MAX)).contains(&seconds).then_some(Self(seconds))
    }
}

impl From<Duration> for time::Duration {
    fn from(duration: Duration) -> Self {
        Self::from_secs(duration.0)
    }
}

impl fmt::Display for Duration {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (number, unit) = match self.0 {
            seconds if seconds % 86400 == 0 => (seconds / 86400, 'd'),
            seconds if seconds % 3600 == 0 => (seconds / 3600, 'h'),
            seconds if seconds % 60 == 0 => (seconds / 60, 'm'),
            seconds => (seconds, 's'),
        };
        write!(formatter, "{number}{unit}")
    }
}

impl Serialize for Duration {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_a_unit() {
        let table = [
            ("90s", Some("90s")),
            ("120s", Some("2m")),
            ("2h", Some("2h")),
            ("7d", Some("7d")),
            ("0s", None),
            ("5", None),
            ("s", None),
            ("-1s", None),
            ("1.5h", None),
            ("2 m", None),
            ("99999999999999999999d", None),
            ("5é", None),
        ];
        for (text, shown) in table {
            assert_eq!(Duration::parse(text).map(|d| d.to_string()).as_deref(), shown, "{text}");
        }
    }
}
