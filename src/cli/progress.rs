//! Tells people, or programs, how a run goes on.

use std::path::Path;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::arguments::{LogFormat, TalkArguments};
use super::output::{self, Look, event, line};
use super::wrap;
use crate::execute::{Doing, Event, Observer, Subject};
use crate::host::output::Output;
use crate::registry::Notice;
use crate::shell;
use crate::source::At;

/// What a step may take without its time being worth a word.
const SOON: Duration = Duration::from_secs(1);

/// The longest text of a step in its line, in characters.
const LONGEST: usize = 60;

/// Returns the observer that tells as it was asked to.
pub(super) fn observer(talk: TalkArguments, look: Look, output: Output) -> Box<dyn Observer> {
    match talk.log_format {
        LogFormat::Json => Box::new(Json { output, open: Vec::new() }),
        LogFormat::Text if talk.quiet => Box::new(Quiet { output }),
        LogFormat::Text => Box::new(Text {
            output,
            look,
            verbose: talk.verbose > 0,
            begun: None,
            is_interrupted: false,
            last: Line::Whole,
        }),
    }
}

/// Returns what tells of something that an observer does not see, as it was asked to.
pub(super) fn notice(talk: TalkArguments, look: Look, output: Output) -> Notice {
    Notice::by(move |text| {
        output.say(&match talk.log_format {
            LogFormat::Json => event(serde_json::json!({ "event": "note", "text": text })),
            // The line of what goes on may stand there; it is drawn again.
            LogFormat::Text if look.live => format!("\r\x1b[K{}", warning(text)),
            LogFormat::Text => warning(text),
        });
    })
}

/// Tells nothing but what a person should know.
#[derive(Debug)]
struct Quiet {
    output: Output,
}

impl Observer for Quiet {
    fn event(&mut self, event: &Event<'_>) {
        if let Event::Note(text) = event {
            self.output.say(&wrap::wrapped(&warning(text)));
        }
    }
}

/// Tells by lines of text.
#[derive(Debug)]
struct Text {
    output: Output,
    look: Look,
    verbose: bool,
    /// What goes on, and since when it does.
    begun: Option<(Begun, Instant)>,
    /// Whether a signal ends it.
    is_interrupted: bool,
    /// How the last line stands there.
    last: Line,
}

/// What is said of something that goes on.
#[derive(Debug)]
struct Begun {
    head: String,
    /// The text of a step or of an act of the store's, and where the manifest has it.
    tail: String,
}

impl Begun {
    fn line(&self) -> String {
        format!("{}{}", self.head, self.tail)
    }

    /// Returns the line of its end. What has failed is the whole, and not its last command.
    fn ended(&self, outcome: &str, succeeded: bool) -> String {
        let Self { head, tail } = self;
        if succeeded {
            format!("{head}{tail} {outcome}")
        } else {
            format!("{head} {outcome}{tail}")
        }
    }
}

/// How the last line of a terminal or a log stands there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Line {
    /// Ended.
    Whole,
    /// It is the line of what goes on, not ended, and can be written over.
    Open,
    /// It is a command's, whose line feed has not come yet.
    Partial,
}

impl Observer for Text {
    fn event(&mut self, event: &Event<'_>) {
        match event {
            Event::Begun { subject, at, text } => self.begin(subject, at, text),
            Event::Tick => self.draw(),
            Event::Act(_) => {}
            Event::Output { subject, bytes } => self.output(subject, bytes),
            Event::Interrupted(signal) => self.interrupt(*signal),
            Event::Ended { succeeded, elapsed, .. } => self.end(*succeeded, *elapsed),
            Event::Note(text) => {
                self.close();
                self.say(&wrap::wrapped(&warning(text)));
            }
        }
    }

    fn tick(&self) -> Option<Duration> {
        self.look.live.then_some(SOON)
    }
}

impl Text {
    fn begin(&mut self, subject: &Subject, at: &At, text: &str) {
        self.close();
        let head = head(subject);
        let head = if self.look.styled { format!("\x1b[1m{head}\x1b[0m") } else { head };
        let text = match &subject.doing {
            Doing::Step(_) | Doing::Store => format!(": {}", first_line(text)),
            _ => String::new(),
        };
        let at = if self.verbose { format!(" ({at})") } else { String::new() };
        let begun = Begun { head, tail: format!("{text}{at}") };
        if self.look.live {
            self.say(&begun.line());
            self.last = Line::Open;
        } else {
            self.say(&line(&begun.line()));
        }
        self.begun = Some((begun, Instant::now()));
    }

    /// Shows the time that has passed, where the line is still the last one.
    fn draw(&mut self) {
        let Some((begun, since)) = &self.begun else { return };
        // Who does not look needs no clock.
        let looked_at = !self.output.is_waiting();
        if looked_at && self.last == Line::Open && since.elapsed() >= SOON {
            self.say(&format!("\r\x1b[K{} {} s", begun.line(), since.elapsed().as_secs()));
        }
    }

    fn output(&mut self, subject: &Subject, bytes: &[u8]) {
        if self.last == Line::Open {
            self.close();
        }
        if !matches!(subject.doing, Doing::Step(_)) {
            // A template talks to people by itself, and may leave a question open.
            self.last = line_of(bytes);
            return self.output.write(bytes);
        }
        let prefix = format!("  {}| ", subject.layer);
        let mut shown = Vec::with_capacity(bytes.len() + prefix.len());
        for line in bytes.split_inclusive(|byte| *byte == b'\n') {
            if self.last == Line::Whole {
                shown.extend_from_slice(prefix.as_bytes());
            }
            shown.extend_from_slice(line);
            self.last = line_of(line);
        }
        self.output.write(&shown);
    }

    /// Notes that what goes on ends by a signal.
    fn interrupt(&mut self, signal: Signal) {
        self.is_interrupted = true;
        // The terminal has echoed the key where the next line begins.
        if self.look.live && signal == Signal::INT && self.last == Line::Whole {
            self.say("\n");
        }
    }

    fn end(&mut self, succeeded: bool, elapsed: Duration) {
        let is_interrupted = std::mem::take(&mut self.is_interrupted);
        let Some((begun, _)) = self.begun.take() else { return };
        let worth = elapsed >= SOON || !succeeded;
        let outcome = match succeeded {
            true => "done",
            false if is_interrupted => "interrupted",
            false => "failed",
        };
        let time = format!("{outcome} after {:.1} s", elapsed.as_secs_f64());
        let ended = begun.ended(&time, succeeded);
        if self.last == Line::Open && worth {
            self.say(&format!("\r\x1b[K{ended}\n"));
            self.last = Line::Whole;
        } else if worth && elapsed >= SOON {
            self.close();
            self.say(&line(&ended));
        } else {
            self.close();
        }
    }

    fn close(&mut self) {
        if self.last != Line::Whole {
            self.say("\n");
            self.last = Line::Whole;
        }
    }

    fn say(&self, text: &str) {
        self.output.say(text);
    }
}

fn warning(text: &str) -> String {
    line(&format!("warning: {}", shell::printable(text)))
}

fn line_of(bytes: &[u8]) -> Line {
    if bytes.last() == Some(&b'\n') { Line::Whole } else { Line::Partial }
}

fn head(subject: &Subject) -> String {
    let layer = &subject.layer;
    match &subject.doing {
        Doing::Step(phase) => format!("{layer}: {phase}"),
        Doing::Upstream(template) => format!("{layer}: template {}", shell::one_line(template)),
        Doing::Drop(path) => format!("{layer}: file {}", shell::one_line(path)),
        Doing::Config => format!("{layer}: config"),
        Doing::Store => format!("{layer}: store"),
    }
}

fn first_line(text: &str) -> String {
    let line = text.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default();
    let line = shell::one_line(line);
    match line.char_indices().nth(LONGEST) {
        None => line,
        Some((index, _)) => format!("{}...", &line[..index]),
    }
}

/// Returns what is said of so many bytes of output that nobody has taken.
pub(super) fn left_out(format: LogFormat) -> fn(u64, Option<&Path>) -> String {
    match format {
        LogFormat::Text => |count, log| format!("warning: {}", missing(count, log)),
        LogFormat::Json => |count, log| {
            let value = serde_json::json!({ "event": "note", "text": missing(count, log) });
            event(value).trim_end().to_owned()
        },
    }
}

fn missing(count: u64, log: Option<&Path>) -> String {
    let place = match log {
        Some(log) => format!("; the log has them: {}", shell::word(log)),
        None => ", and there is no log".to_owned(),
    };
    format!("{} KiB of output are left out here, since nobody read on{place}", count.div_ceil(1024))
}

/// Tells by JSON objects, one a line.
#[derive(Debug)]
struct Json {
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
                "at": at,
                "text": text,
            }),
            Event::Tick | Event::Interrupted(_) => return,
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
            self.output.write(event(value).as_bytes());
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

/// Returns what of a layer is done, as programs read it.
pub(super) fn what(subject: &Subject) -> &'static str {
    use crate::manifest::Phase;
    match subject.doing {
        Doing::Step(Phase::Pre) => "pre",
        Doing::Step(Phase::Post) => "post",
        Doing::Step(Phase::Check) => "check",
        Doing::Step(Phase::Finally) => "finally",
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
    fn what_fails_is_the_step_and_not_its_last_command() {
        let begun = Begun { head: "slow: post".into(), tail: ": echo started; sleep 30".into() };
        assert_eq!(
            begun.ended("failed after 1.5 s", false),
            "slow: post failed after 1.5 s: echo started; sleep 30"
        );
        assert_eq!(
            begun.ended("done after 1.5 s", true),
            "slow: post: echo started; sleep 30 done after 1.5 s"
        );
    }

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
