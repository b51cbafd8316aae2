//! Standard output for what was asked for; standard error for all else.

use std::io::{self, BufWriter, IsTerminal, Write};

use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use super::arguments::LogFormat;
use super::hang::Hang;
use super::wrap::{wrapped, wrapped_sentences};
use crate::diagnostic::Report;
use crate::execute::status;
use crate::host::clock;
use crate::registry::Notice;
use crate::shell::{Json, Printable};

/// The variable that sets how much is traced: `error` to `trace`.
const VARIABLE: &str = "LAYERED_TEMPLATE_LOG";

/// Starts to trace to standard error.
pub(super) fn trace(verbosity: i8) {
    let given = std::env::var(VARIABLE).ok().and_then(|level| level.parse().ok());
    let level = given.unwrap_or(match verbosity {
        ..=0 => LevelFilter::ERROR,
        1 => LevelFilter::INFO,
        2 => LevelFilter::DEBUG,
        _ => LevelFilter::TRACE,
    });
    if level == LevelFilter::OFF {
        return;
    }
    let layer = tracing_subscriber::fmt::layer()
        .with_writer(io::stderr)
        .with_ansi(styled())
        .without_time()
        .with_target(false);
    let _ = tracing_subscriber::registry().with(level).with(layer).try_init();
}

/// Tells whether standard error shows colours.
pub(super) fn styled() -> bool {
    shows_colours(&io::stderr())
}

pub(super) fn shows_colours(to: &impl IsTerminal) -> bool {
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty());
    if set("NO_COLOR").is_some() {
        return false;
    }
    set("CLICOLOR_FORCE").is_some_and(|value| value != "0") || is_live(to)
}

/// Tells whether this is a terminal that can write over a line.
fn is_live(to: &impl IsTerminal) -> bool {
    let is_able = |name: std::ffi::OsString| !name.is_empty() && name != "dumb";
    to.is_terminal() && std::env::var_os("TERM").is_some_and(is_able)
}

/// What standard error is to whoever looks at it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Look {
    /// Whether a line can be written over.
    pub(super) live: bool,
    pub(super) styled: bool,
}

impl Look {
    pub(super) fn observe() -> Self {
        Self { live: is_live(&io::stderr()), styled: styled() }
    }
}

/// Returns a text with just one line feed at its end.
pub(super) fn line(text: &str) -> String {
    format!("{}\n", text.trim_end())
}

/// Says something on standard error, ended by a line feed.
pub(super) fn say(text: &str) {
    let reason = crate::shell::reason(text);
    let text = line(&crate::shell::printable(&reason));
    let _ = io::stderr().lock().write_all(wrapped_sentences(&text).as_bytes());
}

/// Says something that a person should know, as a run is told of.
pub(super) fn warning(text: &str, format: LogFormat) {
    match format {
        LogFormat::Text => say(&format!("warning: {text}")),
        LogFormat::Json => {
            let event = event(serde_json::json!({ "event": "note", "text": text }));
            let _ = io::stderr().lock().write_all(event.as_bytes());
        }
    }
}

/// Returns an event of a run as a line of JSON, with the time.
pub(super) fn event(mut value: serde_json::Value) -> String {
    value["time"] = clock::present().into();
    json_line(&value)
}

/// Returns what says something while something is waited for.
pub(super) fn notice() -> Notice {
    Notice::by(|text| say(&format!("warning: {text}")))
}

/// Says something in which nothing but the program's own colours can drive a terminal.
pub(super) fn say_styled(text: &str) {
    let _ = io::stderr().lock().write_all(wrapped(&line(text)).as_bytes());
}

/// Returns the line that says what is wrong.
pub(super) fn fault(message: &str, styled: bool) -> String {
    let title = if styled { "\x1b[1;31merror\x1b[0m" } else { "error" };
    line(&format!("{title}: {}", crate::shell::printable(&crate::shell::reason(message))))
}

/// Says what is wrong, in one line and perhaps a hint.
pub(super) fn error(message: &str, hint: Option<&str>) {
    say_styled(&fault(message, styled()));
    if let Some(hint) = hint {
        say(&format!("\nhint: {hint}"));
    }
}

/// Shows diagnostics.
pub(super) fn diagnostics(report: &Report) {
    if !report.is_empty() {
        say_styled(&report.to_text(styled()));
    }
}

/// Shows the diagnostics of what is refused, and returns the exit status.
pub(super) fn refused(report: &Report) -> u8 {
    diagnostics(report);
    if report.has_untrusted() { status::TRUST } else { status::USAGE }
}

/// Writes what was asked for, as text for people. That nobody reads it to its end is no fault.
pub(super) fn print(write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
    print_data(|to| write(&mut Printable(to)))
        .map_err(|error| io::Error::new(error.kind(), NotPrinted(error)))
}

/// Why something was not printed.
#[derive(Debug, thiserror::Error)]
#[error("standard output: {0}")]
struct NotPrinted(io::Error);

/// Says that something was not printed, where that is what an error tells of, and returns the exit status.
pub(super) fn not_printed(fault: &io::Error) -> Option<u8> {
    let fault = fault.get_ref()?.downcast_ref::<NotPrinted>()?;
    error(&fault.to_string(), None);
    Some(NOT_PRINTED)
}

/// The exit status where what was to be printed could not be.
const NOT_PRINTED: u8 = 1;

/// Writes what was asked for, as a program reads it.
pub(super) fn print_data(write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
    let mut to = BufWriter::with_capacity(64 * 1024, io::stdout().lock());
    match write(&mut to).and_then(|()| to.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other,
    }
}

/// Returns how many columns there are for a line: those of the terminal, or as many as every terminal has.
pub(super) fn columns() -> usize {
    let terminal = rustix::termios::tcgetwinsize(rustix::stdio::stdout());
    let columns = terminal.map_or(0, |size| usize::from(size.ws_col));
    if columns == 0 { LEAST_COLUMNS } else { columns }
}

/// Returns how many columns there are for a table: nothing in it is cut that is not for a terminal.
pub(super) fn table_columns() -> usize {
    most_of_table(columns())
}

/// Returns how much of a cell is shown that has so many columns on a terminal.
pub(super) fn most_of_table(columns: usize) -> usize {
    if io::stdout().is_terminal() { columns } else { MOST_COLUMNS }
}

/// More columns than any table has.
const MOST_COLUMNS: usize = 4096;

/// How many columns every terminal has.
const LEAST_COLUMNS: usize = 80;

/// Writes JSON, in which nothing can drive a terminal that shows it.
pub(super) fn print_json(write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
    print_data(|to| write(&mut Json(to)))
}

/// Does the same, and returns the exit status: `status`, if it could be written.
pub(super) fn printed_json(status: u8, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> u8 {
    printed_data(status, |to| write(&mut Json(to)))
}

/// Returns a value as a line of JSON, in the same way.
pub(super) fn json_line(value: &serde_json::Value) -> String {
    line(&crate::shell::json(&value.to_string()))
}

/// Writes text for people, and returns the exit status: `status`, if it could be written.
pub(super) fn printed(status: u8, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> u8 {
    printed_data(status, |to| write(&mut Printable(to)))
}

/// Does the same for a report. Lines that the terminal has no room for are broken at words; where it is none, they stay
/// whole.
pub(super) fn printed_report(
    status: u8,
    hang: Hang,
    write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> u8 {
    if !io::stdout().is_terminal() {
        return printed(status, write);
    }
    printed(status, |to| {
        let mut text = Vec::new();
        write(&mut text)?;
        let text = String::from_utf8_lossy(&text);
        to.write_all(hang.broken(&crate::shell::printable(&text), columns()).as_bytes())
    })
}

/// Does the same for what a program reads.
pub(super) fn printed_data(status: u8, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> u8 {
    match print_data(write) {
        Ok(()) => status,
        Err(fault) => {
            error(&NotPrinted(fault).to_string(), None);
            NOT_PRINTED
        }
    }
}
