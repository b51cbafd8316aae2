//! Permission bits.

use std::fmt;

use serde::{Serialize, Serializer};

/// Permission bits, with the set-id and sticky ones: at most `07777`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mode(u32);

impl Mode {
    /// Creates a mode of the low twelve bits of `bits`.
    pub const fn new(bits: u32) -> Self {
        Self(bits & 0o7777)
    }

    /// Parses three or four octal digits.
    pub fn parse(text: &str) -> Option<Self> {
        let octal =
            (3..=4).contains(&text.len()) && text.bytes().all(|b| (b'0'..=b'7').contains(&b));
        octal.then(|| u32::from_str_radix(text, 8).ok().map(Self)).flatten()
    }

    /// Returns the bits.
    pub const fn bits(self) -> u32 {
        self.0
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:04o}", self.0)
    }
}

impl Serialize for Mode {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_are_octal_text() {
        let table = [
            ("0644", Some(0o644)),
            ("755", Some(0o755)),
            ("4755", Some(0o4755)),
            ("0999", None),
            ("64", None),
            ("00644", None),
            ("+644", None),
            ("u=rw", None),
            ("", None),
        ];
        for (text, bits) in table {
            assert_eq!(Mode::parse(text).map(Mode::bits), bits, "{text}");
        }
        assert_eq!(Mode::new(0o100_644).to_string(), "0644");
    }
}
