//! Base64, as credentials and tokens have it.

const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Writes bytes, with padding.
pub(super) fn encode(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for part in bytes.chunks(3) {
        let byte = |index: usize| u32::from(part.get(index).copied().unwrap_or_default());
        let all = byte(0) << 16 | byte(1) << 8 | byte(2);
        for index in 0..4 {
            let letter = LETTERS[(all >> (18 - 6 * index)) as usize & 63];
            text.push(if index > part.len() { '=' } else { char::from(letter) });
        }
    }
    text
}

/// Reads bytes, with or without padding; `None` where that is no base64.
pub(super) fn decode(text: &str) -> Option<Vec<u8>> {
    let text = text.trim().trim_end_matches('=').as_bytes();
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3 + 3);
    for part in text.chunks(4) {
        let mut all = 0;
        for letter in part {
            let digit = LETTERS.iter().position(|known| known == letter)?;
            all = all << 6 | u32::try_from(digit).ok()?;
        }
        let missing = 4 - part.len();
        all <<= 6 * missing;
        let kept = match missing {
            0 => 3,
            1 => 2,
            2 => 1,
            _ => return None,
        };
        bytes.extend_from_slice(&all.to_be_bytes()[1..=kept]);
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        let table =
            [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg==")];
        for (text, expected) in table {
            assert_eq!(encode(text.as_bytes()), expected);
            assert_eq!(decode(expected).as_deref(), Some(text.as_bytes()));
            assert_eq!(decode(expected.trim_end_matches('=')).as_deref(), Some(text.as_bytes()));
        }
        let all: Vec<u8> = (0..=255).collect();
        assert_eq!(decode(&encode(&all)), Some(all));
        for bad in ["a", "a b=", "?", "abcde"] {
            assert_eq!(decode(bad), None, "{bad}");
        }
    }
}
