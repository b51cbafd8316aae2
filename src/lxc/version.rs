//! A version of LXC.

use std::fmt;

/// A version of LXC: its keys, and what it takes for them, come and go with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct LxcVersion {
    /// The first number.
    pub major: u32,
    minor: u32,
    patch: u32,
}

impl LxcVersion {
    /// The first one that knows the one hierarchy of cgroup2 alone.
    pub(crate) const NO_CGROUP1: Self = Self::new(7, 0, 0);

    /// Returns this version.
    pub const fn new(major: u32, minor: u32, patch: u32) -> Self {
        Self { major, minor, patch }
    }

    /// Parses what LXC says of its version: `5.0.2`, or `6.0-devel`.
    pub fn parse(text: &str) -> Option<Self> {
        let mut numbers = text.trim().split(['.', '-', '~']).map(str::parse);
        let (major, minor) = (numbers.next()?.ok()?, numbers.next()?.ok()?);
        Some(Self { major, minor, patch: numbers.next().and_then(Result::ok).unwrap_or(0) })
    }
}

impl fmt::Display for LxcVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)?;
        if self.patch > 0 { write!(f, ".{}", self.patch) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_have_two_numbers_or_three() {
        assert_eq!(LxcVersion::parse("5.0.2\n"), Some(LxcVersion::new(5, 0, 2)));
        assert_eq!(LxcVersion::parse("6.0-devel"), Some(LxcVersion::new(6, 0, 0)));
        assert_eq!(LxcVersion::parse("devel"), None);
        assert!(LxcVersion::parse("4.0.12") > LxcVersion::parse("4.0.9"));
    }
}
