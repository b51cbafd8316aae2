//! Tells people, or programs, how a run goes on.

mod json;

use std::path::Path;
use std::time::{Duration, Instant};

use json::Json;
pub(super) use json::what;

use super::amount::amount;
use super::arguments::{LogFormat, TalkArguments};
use super::output::{Look, event, line};
use super::scene::Scene;
use super::wrap;
use crate::execute::{Doing, Event, Observer, Subject};
use crate::host::output::Output;
use crate::manifest::LayerName;
use crate::registry::Notice;
use crate::shell::{self, TerminalText};
use crate::source::At;

/// What a step may take without its time being worth a word.
const SOON: Duration = Duration::from_secs(1);

/// How often the line of what goes on is looked at: time passes, and the terminal may get another size.
const TICK: Duration = Duration::from_millis(500);

/// How often it is shown how much there is, at the most.
const PAUSE: Duration = Duration::from_millis(100);

/// How wide a terminal is taken for that does not say.
const NARROW: usize = 80;

/// The longest text of a step in its line, in characters.
const LONGEST: usize = 60;

/// Returns the observer that tells of a run of this plan as it was asked to.
pub(super) fn observer(
    talk: TalkArguments,
    look: Look,
    output: Output,
    scene: Scene,
) -> Box<dyn Observer> {
    let terminal = output.is_terminal().then(TerminalText::default);
    match talk.log_format {
        LogFormat::Json => Box::new(Json::new(output)),
        LogFormat::Text if talk.quiet => Box::new(Quiet { output }),
        LogFormat::Text => Box::new(Text {
            output,
            look,
            verbose: talk.verbose > 0,
            scene,
            terminal,
            begun: None,
            is_interrupted: false,
            last: Line::Whole,
            shown: String::new(),
        }),
    }
}

/// Returns what tells of something that an observer does not see, as it was asked to.
pub(super) fn notice(talk: TalkArguments, output: Output) -> Notice {
    Notice::by(move |text| {
        output.say(&match talk.log_format {
            LogFormat::Json => event(serde_json::json!({ "event": "note", "text": text })),
            LogFormat::Text => wrap::wrapped_to(&warning(text), output.columns()).into_owned(),
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
            self.output.say(&wrap::wrapped_to(&warning(text), self.output.columns()));
        }
    }
}

/// Tells by lines of text.
#[derive(Debug)]
struct Text {
    output: Output,
    look: Look,
    verbose: bool,
    /// What a run is of.
    scene: Scene,
    /// What commands print, where a terminal shows it.
    terminal: Option<TerminalText>,
    /// What goes on.
    begun: Option<Begun>,
    /// Whether a signal ends it.
    is_interrupted: bool,
    /// How the last line stands there.
    last: Line,
    /// The line of what goes on, as it was shown last.
    shown: String,
}

/// What is said of something that goes on.
#[derive(Debug)]
struct Begun {
    layer: LayerName,
    head: String,
    /// The text of a step or of an act of the store's, and where the manifest has it.
    tail: String,
    since: Instant,
    /// How much of it is there, and when that was shown last.
    amount: Option<(String, Instant)>,
    /// Whether its line stands there for good: without that it is the line of what goes on alone.
    is_told: bool,
}

impl Begun {
    fn line(&self) -> String {
        format!("{}{}", self.head, self.tail)
    }

    /// Returns the line of its end. What has ended is the whole, and not its last command.
    fn ended(&self, outcome: &str) -> String {
        let Self { head, tail, .. } = self;
        format!("{head} {outcome}{tail}")
    }
}

/// How the last line of a terminal or a log stands there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Line {
    /// Ended.
    Whole,
    /// It is a command's, whose line feed has not come yet.
    Partial,
    /// Likewise, and what comes next is written over it.
    Returned,
}

impl Observer for Text {
    fn event(&mut self, event: &Event<'_>) {
        match event {
            Event::Begun { subject, at, text } => self.begin(subject, at, text),
            Event::Tick => self.draw(),
            Event::Bytes { done, total } => self.grow(*done, *total),
            Event::Act(planned) => self.scene.note(planned),
            Event::Output { subject, bytes } => self.output(subject, bytes),
            Event::Interrupted => self.is_interrupted = true,
            Event::Ended { subject, succeeded, elapsed } => {
                self.leave(subject);
                self.end(*succeeded, *elapsed);
            }
            Event::Made { elapsed } => {
                self.close();
                if self.look.live
                    && let Some(line) = self.scene.closing(*elapsed, self.output.columns())
                {
                    self.say(&line);
                }
            }
            Event::Note(text) => {
                self.close();
                self.say(&wrap::wrapped_to(&warning(text), self.output.columns()));
            }
        }
    }

    fn tick(&self) -> Option<Duration> {
        self.look.live.then_some(TICK)
    }
}

impl Text {
    fn begin(&mut self, subject: &Subject, at: &At, text: &str) {
        self.close();
        let text = match &subject.doing {
            Doing::Step { title: Some(title), .. } => format!(": {}", shell::one_line(title)),
            Doing::Step { title: None, .. } | Doing::Store => format!(": {}", first_line(text)),
            _ => String::new(),
        };
        let at = if self.verbose { format!(" ({at})") } else { String::new() };
        let begun = Begun {
            layer: subject.layer.clone(),
            head: head(subject),
            tail: format!("{text}{at}"),
            since: Instant::now(),
            amount: None,
            is_told: !(self.look.live && self.output.may_have_line()),
        };
        if begun.is_told {
            self.say(&line(&self.styled(&begun, begun.line())));
        }
        self.begun = Some(begun);
        self.shown.clear();
        self.draw();
    }

    /// Returns a line of what goes on with its beginning made to stand out. It takes one line of a terminal, unless
    /// more was asked for.
    fn styled(&self, begun: &Begun, line: String) -> String {
        let line = match self.output.columns().filter(|_| !self.verbose) {
            Some(columns) => wrap::cut(&line, columns).into_owned(),
            None => line,
        };
        match line.strip_prefix(&begun.head) {
            Some(rest) if self.look.styled => format!("\x1b[1m{}\x1b[0m{rest}", begun.head),
            _ => line,
        }
    }

    /// Shows what goes on, and since when, below all that was printed.
    fn draw(&mut self) {
        let Some(begun) = self.begun.as_ref().filter(|_| self.look.live) else { return };
        // Behind the beginning of a line there may be a question. Who does not look needs no clock.
        if self.last != Line::Whole || self.output.is_waiting() {
            return;
        }
        let columns = self.output.columns().unwrap_or(NARROW);
        let place = self.scene.place(&begun.layer);
        let amount = begun.amount.as_ref().map_or("", |(amount, _)| amount.as_str());
        let shown = status(&place, &begun.line(), (amount, begun.since.elapsed()), columns);
        if shown != self.shown || !self.output.has_line() {
            self.output.show_line(&shown, wrap::width(&shown));
            self.shown = shown;
        }
    }

    /// Shows how much there is by now, so often that it can be read.
    fn grow(&mut self, done: u64, total: Option<u64>) {
        let Some(begun) = self.begun.as_mut().filter(|_| self.look.live) else { return };
        if begun.amount.as_ref().is_none_or(|(_, shown)| shown.elapsed() >= PAUSE) {
            begun.amount = Some((amount(done, total), Instant::now()));
            self.draw();
        }
    }

    /// Shows what a command prints. On a terminal it can be read, and drives nothing.
    fn output(&mut self, subject: &Subject, bytes: &[u8]) {
        let mut terminal = self.terminal.take();
        match &mut terminal {
            Some(terminal) => self.print(subject, &terminal.push(bytes)),
            None => self.print(subject, bytes),
        }
        self.terminal = terminal;
    }

    /// Shows what a command has left unfinished.
    fn leave(&mut self, subject: &Subject) {
        let rest = self.terminal.as_mut().map(TerminalText::end).unwrap_or_default();
        if !rest.is_empty() {
            self.print(subject, &rest);
        }
    }

    fn print(&mut self, subject: &Subject, bytes: &[u8]) {
        if let Some(begun) = self.begun.as_mut().filter(|begun| !begun.is_told) {
            begun.is_told = true;
            let said = self.begun.as_ref().map(|begun| self.styled(begun, begun.line()));
            self.say(&said.map(|text| line(&text)).unwrap_or_default());
        }
        if bytes.is_empty() {
            return;
        }
        if matches!(subject.doing, Doing::Step { .. }) {
            let prefix = format!("  {}| ", subject.layer);
            let mut shown = Vec::with_capacity(bytes.len() + prefix.len());
            let can_return = self.output.is_terminal();
            let ends = |byte: &u8| *byte == b'\n' || can_return && *byte == b'\r';
            for line in bytes.split_inclusive(ends) {
                let is_over = can_return && self.last == Line::Returned;
                if self.last == Line::Whole || is_over && !matches!(line, b"\n" | b"\r") {
                    shown.extend_from_slice(prefix.as_bytes());
                }
                shown.extend_from_slice(line);
                self.last = line_of(line);
            }
            self.output.write(&shown);
        } else {
            // A template talks to people by itself, and may leave a question open.
            self.last = line_of(bytes);
            self.output.write(bytes);
        }
        self.draw();
    }

    fn end(&mut self, succeeded: bool, elapsed: Duration) {
        let is_interrupted = std::mem::take(&mut self.is_interrupted);
        let Some(begun) = self.begun.take() else { return };
        let outcome = match succeeded {
            true => "done",
            false if is_interrupted => "interrupted",
            false => "failed",
        };
        let time = format!("{outcome} after {:.1} s", elapsed.as_secs_f64());
        let is_long = elapsed >= SOON;
        self.close();
        let said = match (begun.is_told, is_long || !succeeded) {
            (false, true) => Some(begun.ended(&time)),
            (false, false) => Some(begun.line()),
            (true, _) => is_long.then(|| begun.ended(&time)),
        };
        if let Some(said) = said {
            self.say(&line(&self.styled(&begun, said)));
        }
    }

    fn close(&mut self) {
        if self.last != Line::Whole {
            self.say("\n");
            self.last = Line::Whole;
        }
        if let Some(reset) = self.terminal.as_mut().and_then(TerminalText::reset) {
            self.say(reset);
        }
    }

    fn say(&self, text: &str) {
        self.output.say(text);
    }
}

/// Returns the line of what goes on, in which the time always has room, and how much there is.
fn status(place: &str, text: &str, (amount, elapsed): (&str, Duration), columns: usize) -> String {
    let seconds = elapsed.as_secs();
    let amount = if amount.is_empty() { String::new() } else { format!("  {amount}") };
    let time = match seconds {
        0 => amount,
        1..=59 => format!("{amount}  {seconds} s"),
        _ => format!("{amount}  {} min {:02} s", seconds / 60, seconds % 60),
    };
    // Some terminals go on with the next line once the last column is taken.
    let room = columns.saturating_sub(1 + wrap::width(&time));
    let text = format!("{place} {text}");
    let shown = format!("{}{time}", wrap::cut(&text, room));
    wrap::cut(&shown, columns.saturating_sub(1)).into_owned()
}

fn warning(text: &str) -> String {
    line(&format!("warning: {}", shell::printable(text)))
}

fn line_of(bytes: &[u8]) -> Line {
    match bytes.last() {
        Some(b'\n') => Line::Whole,
        Some(b'\r') => Line::Returned,
        _ => Line::Partial,
    }
}

fn head(subject: &Subject) -> String {
    let layer = &subject.layer;
    match &subject.doing {
        Doing::Step { phase, .. } => format!("{layer}: {phase}"),
        Doing::Upstream(template) => format!("{layer}: template {}", shell::one_line(template)),
        Doing::Drop(path) => format!("{layer}: file {}", shell::one_line(path)),
        Doing::Config => format!("{layer}: config"),
        Doing::Store => layer.to_string(),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ends_is_the_step_and_not_its_last_command() {
        let begun = Begun {
            layer: LayerName::parse("slow").unwrap(),
            head: "slow: post".into(),
            tail: ": echo started; sleep 30".into(),
            since: Instant::now(),
            amount: None,
            is_told: true,
        };
        assert_eq!(
            begun.ended("failed after 1.5 s"),
            "slow: post failed after 1.5 s: echo started; sleep 30"
        );
        assert_eq!(
            begun.ended("done after 1.5 s"),
            "slow: post done after 1.5 s: echo started; sleep 30"
        );
    }

    #[test]
    fn the_line_of_what_goes_on_fits_and_has_the_time() {
        let text = "app: post: apt-get install -y nginx";
        for (seconds, columns, expected) in [
            (0, 80, "[2/3] app: post: apt-get install -y nginx"),
            (12, 80, "[2/3] app: post: apt-get install -y nginx  12 s"),
            (65, 80, "[2/3] app: post: apt-get install -y nginx  1 min 05 s"),
            (12, 30, "[2/3] app: post: apt-...  12 s"),
            (12, 5, "  ..."),
            (12, 0, ""),
        ] {
            let shown = status("[2/3]", text, ("", Duration::from_secs(seconds)), columns + 1);
            assert_eq!(shown, expected, "{seconds} {columns}");
        }
        let shown = status("[2/3]", "app: store", ("[#####     ] 1", Duration::from_secs(2)), 80);
        assert_eq!(shown, "[2/3] app: store  [#####     ] 1  2 s");
    }
}
