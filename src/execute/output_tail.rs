//! The last lines that a command printed: what a failure shows of its log.

use std::collections::VecDeque;

/// How much is shown, in bytes.
const MOST: usize = 2048;

/// How many lines are shown.
const LINES: usize = 20;

/// The end of a stream.
#[derive(Debug, Default)]
pub(crate) struct OutputTail {
    bytes: VecDeque<u8>,
}

impl OutputTail {
    /// Adds a piece of the stream.
    pub(crate) fn add(&mut self, bytes: &[u8]) {
        self.bytes.extend(&bytes[bytes.len().saturating_sub(MOST)..]);
        let surplus = self.bytes.len().saturating_sub(MOST);
        self.bytes.drain(..surplus);
    }

    /// Returns the last lines, printable, without a line that has lost its beginning.
    pub(crate) fn tail(&self) -> String {
        let bytes: Vec<u8> = self.bytes.iter().copied().collect();
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let text = text.trim_end();
        let cut = bytes.len() == MOST && text.contains('\n');
        let lines: Vec<_> = text.lines().skip(usize::from(cut)).collect();
        let last = &lines[lines.len().saturating_sub(LINES)..];
        crate::shell::printable(&last.join("\n")).into_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_is_kept_in_whole_lines() {
        let mut tail = OutputTail::default();
        assert_eq!(tail.tail(), "");
        for number in 0..1000 {
            tail.add(format!("line {number}\n").as_bytes());
        }
        let text = tail.tail();
        assert!(text.starts_with("line 980\n"), "{text}");
        assert!(text.ends_with("line 999"), "{text}");
        tail.add(&[b'x'; 5000]);
        assert_eq!(tail.tail().len(), MOST);
        tail.add(b"\x1b[2J\n");
        assert!(!tail.tail().contains('\x1b'));
    }
}
