//! Tells programs how a run goes on.

use crate::cli::output;
use crate::execute::{Doing, Event, Observer, Subject};
use crate::host::output::Output;
use crate::manifest::Phase;

/// Tells by JSON objects, one a line.
#[derive(Debug)]
pub(super) struct Json {
    output: Output,
    /// The beginning of a character whose end has not come yet.
    open: Vec<u8>,
}

impl Observer for Json {
    fn event(&mut self, event: &Event<'_>) {
        if let Event::Ended { subject, .. } = event {
            self.output(subject, self.open.len());
        }
        let value = match event {
            Event::Begun { subject, at, text } => serde_json::json!({
                "event": "begun",
                "layer": subject.layer,
                "what": what(subject),
                "title": title(subject),
                "at": at,
                "text": text,
            }),
            Event::Tick | Event::Bytes { .. } | Event::Interrupted | Event::Made { .. } => {
                return;
            }
            Event::Output { subject, bytes } => {
                self.open.extend_from_slice(bytes);
                return self.output(subject, self.open.len() - unfinished(&self.open));
            }
            Event::Ended { subject, succeeded, elapsed } => serde_json::json!({
                "event": "ended",
                "layer": subject.layer,
                "what": what(subject),
                "succeeded": succeeded,
                "milliseconds": u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX),
            }),
            Event::Act(planned) => serde_json::json!({ "event": "act", "planned": planned }),
            Event::Note(text) => serde_json::json!({ "event": "note", "text": text }),
        };
        self.output.say(&output::event(value));
    }
}

impl Json {
    pub(super) fn new(output: Output) -> Self {
        Self { output, open: Vec::new() }
    }

    /// Tells of as many bytes of output.
    fn output(&mut self, subject: &Subject, length: usize) {
        let text: Vec<u8> = self.open.drain(..length).collect();
        if !text.is_empty() {
            let value = serde_json::json!({
                "event": "output",
                "layer": subject.layer,
                "what": what(subject),
                "text": String::from_utf8_lossy(&text),
            });
            self.output.write(output::event(value).as_bytes());
        }
    }
}

/// Returns how many bytes at the end of a text are the beginning of a character.
fn unfinished(bytes: &[u8]) -> usize {
    let is_inner = |byte: &u8| byte & 0b1100_0000 == 0b1000_0000;
    let Some(before) = bytes.iter().rev().take(4).position(|byte| !is_inner(byte)) else {
        return 0;
    };
    let found = before + 1;
    let needed = match bytes[bytes.len() - found] {
        0xc2..=0xdf => 2,
        0xe0..=0xef => 3,
        0xf0..=0xf4 => 4,
        _ => 0,
    };
    if found < needed { found } else { 0 }
}

fn title(subject: &Subject) -> Option<&str> {
    match &subject.doing {
        Doing::Step { title, .. } => title.as_deref(),
        _ => None,
    }
}

/// Returns what of a layer is done, as programs read it.
pub(in crate::cli) fn what(subject: &Subject) -> &'static str {
    match subject.doing {
        Doing::Step { phase: Phase::Pre, .. } => "pre",
        Doing::Step { phase: Phase::Post, .. } => "post",
        Doing::Step { phase: Phase::Check, .. } => "check",
        Doing::Step { phase: Phase::Finally, .. } => "finally",
        Doing::Upstream(_) => "template",
        Doing::Drop(_) => "file",
        Doing::Config => "config",
        Doing::Store => "store",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unfinished_character_is_known() {
        let table: [(&[u8], usize); 9] = [
            (b"", 0),
            (b"a", 0),
            (b"a\xc3", 1),
            (b"a\xc3\xa9", 0),
            (b"\xe2\x82", 2),
            (b"\xf0\x9f\x98", 3),
            (b"\xf0\x9f\x98\x80", 0),
            (b"\x80\x80\x80\x80\x80", 0),
            (b"\xff", 0),
        ];
        for (bytes, expected) in table {
            assert_eq!(unfinished(bytes), expected, "{bytes:?}");
        }
    }
}
