//! Takes out of a text what differs from run to run.

use std::path::Path;

/// What is taken out.
#[derive(Debug)]
pub(crate) struct Redactor {
    directory: String,
}

impl Redactor {
    pub(crate) fn new(directory: &Path) -> Self {
        Self { directory: directory.to_str().unwrap().to_owned() }
    }

    /// Returns the text with the sandbox's directory as `[DIR]`, digests, whole or short, as `sha256:[DIGEST]`, the
    /// names of runs as `[RUN]`, entries of the layer store as `[ENTRY]`, the host's architecture as `[ARCH]` and durations as `[TIME]`.
    pub(crate) fn redact(&self, text: &str) -> String {
        let text = text.replace(&self.directory, "[DIR]");
        let text = replace(&text, "sha256:", |rest| {
            let digits = rest.bytes().take_while(u8::is_ascii_hexdigit).count();
            [12, 64].contains(&digits).then_some((digits, "[DIGEST]"))
        });
        let text = replace(&text, "state/web1-", |rest| {
            let run = rest.bytes().take_while(|b| b.is_ascii_digit() || b"TZ-".contains(b)).count();
            (run > 0).then_some((run, "[RUN]"))
        });
        let entry = |rest: &str| Some((rest.find('"')?, "[ENTRY]"));
        let text = replace(&replace(&text, "\"entry\": \"", entry), "\"entry\":\"", entry);
        let text = replace(&text, "\"arch\": \"", |rest| Some((rest.find('"')?, "[ARCH]")));
        replace(&text, " after ", |rest| {
            let number = rest.bytes().take_while(|b| b.is_ascii_digit() || *b == b'.').count();
            let measured = rest[..number].contains('.') && rest[number..].starts_with(" s");
            measured.then_some((number + 2, "[TIME]"))
        })
    }
}

/// Puts something in the place of what stands behind each `mark`: `judge` says how many bytes of it
/// go.
fn replace(
    text: &str,
    mark: &str,
    judge: impl Fn(&str) -> Option<(usize, &'static str)>,
) -> String {
    let mut result = String::new();
    let mut rest = text;
    while let Some(index) = rest.find(mark) {
        let (before, after) = rest.split_at(index + mark.len());
        result.push_str(before);
        rest = after;
        if let Some((length, instead)) = judge(rest) {
            result.push_str(instead);
            rest = &rest[length..];
        }
    }
    result + rest
}
