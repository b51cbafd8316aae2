//! Numbers as LXC reads them: by the C library, in the base that their first digits name.

use super::{InstalledLxc, LxcVersion};

/// The first LXC that is built with a C library that reads `0b11`.
const BINARY: LxcVersion = LxcVersion::new(5, 0, 3);

/// Why a text is no number of a kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Slip {
    /// It has a minus.
    Minus,
    /// It is longer than the C library reads.
    Overflow,
    /// It is longer than the kind, or has more than digits.
    Other,
}

/// What stands at the beginning of a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Scanned<'a> {
    /// Whether it has a minus.
    pub(super) negative: bool,
    /// The digits; what is too large stops at the largest.
    pub(super) digits: u128,
    /// What stands behind the digits.
    pub(super) rest: &'a str,
}

impl Scanned<'_> {
    /// Returns the number, with its sign.
    pub(super) fn signed(&self) -> i128 {
        let digits = i128::try_from(self.digits).unwrap_or(i128::MAX);
        if self.negative { -digits } else { digits }
    }

    /// Returns it as `strtoul` does, which takes a minus and wraps around.
    pub(super) fn wrapped(&self) -> Option<u64> {
        let digits = u64::try_from(self.digits).ok()?;
        Some(if self.negative { digits.wrapping_neg() } else { digits })
    }
}

/// Reads the number at the beginning of a text as `strtol` does, in base 10 or, with `None`, in the
/// one that its first digits name.
pub(super) fn scan<'a>(
    text: &'a str,
    base: Option<u32>,
    lxc: &dyn InstalledLxc,
) -> Option<Scanned<'a>> {
    let text = text.trim_start_matches(' ');
    let (negative, unsigned) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let prefixed = |prefix: &str, base: u32| {
        let rest = unsigned.get(..2).filter(|first| first.eq_ignore_ascii_case(prefix));
        let rest = rest.map(|_| &unsigned[2..]);
        rest.filter(|rest| rest.starts_with(|c: char| c.is_digit(base))).map(|rest| (rest, base))
    };
    let (digits, base) = match base {
        Some(base) => (unsigned, base),
        None => prefixed("0x", 16)
            .or_else(|| prefixed("0b", 2).filter(|_| lxc.is_since(BINARY)))
            .unwrap_or((unsigned, if unsigned.starts_with('0') { 8 } else { 10 })),
    };
    let end = digits.find(|c: char| !c.is_digit(base)).unwrap_or(digits.len());
    let (digits, rest) = digits.split_at(end);
    let value = digits
        .chars()
        .filter_map(|digit| digit.to_digit(base))
        .fold(0, |sum, digit| u128::saturating_mul(sum, base.into()).saturating_add(digit.into()));
    (!digits.is_empty()).then_some(Scanned { negative, digits: value, rest })
}

/// Reads an `unsigned int`.
pub(super) fn unsigned(text: &str, lxc: &dyn InstalledLxc) -> Result<u32, Slip> {
    if text.trim_start_matches(' ').starts_with('-') {
        return Err(Slip::Minus);
    }
    let scanned = scan(text, None, lxc).ok_or(Slip::Other)?;
    let value = u64::try_from(scanned.digits).map_err(|_| Slip::Overflow)?;
    if !scanned.rest.is_empty() {
        return Err(Slip::Other);
    }
    u32::try_from(value).map_err(|_| Slip::Other)
}

/// Reads an `int`.
pub(super) fn signed(text: &str, lxc: &dyn InstalledLxc) -> Option<i32> {
    let scanned = scan(text, None, lxc).filter(|scanned| scanned.rest.is_empty())?;
    i32::try_from(scanned.signed()).ok()
}

/// Reads an `unsigned short`.
pub(super) fn short(text: &str, lxc: &dyn InstalledLxc) -> Option<u16> {
    let scanned = scan(text, None, lxc).filter(|scanned| scanned.rest.is_empty())?;
    u16::try_from(scanned.wrapped()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_those_of_c() {
        let table = [
            ("0", Ok(0)),
            (" +010", Ok(8)),
            ("0x1F", Ok(31)),
            ("4294967295", Ok(u32::MAX)),
            ("4294967296", Err(Slip::Other)),
            ("18446744073709551616", Err(Slip::Overflow)),
            (" -1", Err(Slip::Minus)),
            ("", Err(Slip::Other)),
            ("0x", Err(Slip::Other)),
            ("08", Err(Slip::Other)),
            ("1 ", Err(Slip::Other)),
            ("é", Err(Slip::Other)),
        ];
        for (text, expected) in table {
            assert_eq!(unsigned(text, &None), expected, "{text}");
        }
        assert_eq!(unsigned("0b11", &Some(LxcVersion::new(6, 0, 0))), Ok(3));
        assert_eq!(unsigned("0b11", &Some(LxcVersion::new(5, 0, 2))), Err(Slip::Other));
        assert_eq!(signed("-0x10", &None), Some(-16));
        assert_eq!(signed("2147483648", &None), None);
        assert_eq!(short("-18446744073709551615", &None), Some(1));
        assert_eq!(short("65536", &None), None);
    }
}
