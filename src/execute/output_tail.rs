//! The last lines that a command printed: what a failure shows of its log.

use std::collections::VecDeque;

/// How much is shown, in bytes.
const MOST: usize = 2048;

/// How many lines are shown: with what else a failure says, a terminal of 24 lines has them.
const LINES: usize = 10;

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

    /// Returns the last lines, printable and without colours, without a line that has lost its beginning.
    pub(crate) fn tail(&self) -> String {
        let bytes: Vec<u8> = self.bytes.iter().copied().collect();
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let text = without_sequences(&text);
        let text = text.trim_end();
        let cut = bytes.len() == MOST && text.contains('\n');
        let lines: Vec<_> = text.lines().skip(usize::from(cut)).collect();
        let last = lines[lines.len().saturating_sub(LINES)..].iter();
        // Of a line that was written over again and again, the last counts.
        let last = last.map(|line| line.trim_end_matches('\r').rsplit('\r').next().unwrap_or(line));
        let last: Vec<_> = last.collect();
        crate::shell::printable(&last.join("\n")).into_owned()
    }
}

/// Returns a text without what sets colours, moves the cursor or names the window.
fn without_sequences(text: &str) -> String {
    let mut parts = text.split('\u{1b}');
    let mut kept = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        // A sequence of a kind that is not known is shown as it is, and so is one without its end.
        let is_parameter = |letter: char| (' '..='?').contains(&letter);
        let end = match part.strip_prefix('[') {
            Some(rest) => {
                let ending = rest.trim_start_matches(is_parameter);
                let is_whole = ending.starts_with(|letter| ('@'..='~').contains(&letter));
                is_whole.then(|| part.len() - ending.len() + 1)
            }
            None => part.strip_prefix(']').and_then(|rest| {
                let end = rest.find(['\u{7}', '\n'])?;
                rest[end..].starts_with('\u{7}').then_some(end + 2)
            }),
        };
        match end {
            Some(end) => kept.push_str(&part[end..]),
            None => kept.extend(["\u{1b}", part]),
        }
    }
    kept
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
        assert!(text.starts_with("line 990\n"), "{text}");
        assert!(text.ends_with("line 999"), "{text}");
        tail.add(&[b'x'; 5000]);
        assert_eq!(tail.tail().len(), MOST);
        tail.add(b"\x1b[2J\n");
        assert!(!tail.tail().contains('\x1b'));
    }

    #[test]
    fn of_a_line_that_is_written_over_the_last_is_kept() {
        for (printed, shown) in [
            ("progress 1 0%\rprogress 2 0%\rprogress 3 0%", "progress 3 0%"),
            ("1%\r2%\r\r\nnext\r\n", "2%\nnext"),
        ] {
            let mut tail = OutputTail::default();
            tail.add(printed.as_bytes());
            assert_eq!(tail.tail(), shown);
        }
    }

    #[test]
    fn sequences_of_a_terminal_are_left_out() {
        for (printed, shown) in [
            ("\x1b[31mred\x1b[0m \x1b]0;title\x07end", "red end"),
            ("\x1b[1;38;5;208mx\x1b[K\x1b[2Jy", "xy"),
            ("a\x1b[3", "a\\u{1b}[3"),
            ("a\x1bcb\x1b]0;open", "a\\u{1b}cb\\u{1b}]0;open"),
            ("\x1b[\x1b[31mé", "\\u{1b}[é"),
        ] {
            let mut tail = OutputTail::default();
            tail.add(printed.as_bytes());
            assert_eq!(tail.tail(), shown);
        }
    }
}
