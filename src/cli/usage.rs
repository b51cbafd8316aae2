//! What is wrong with the words of the command line, and the help that they ask for.

use std::borrow::Cow;
use std::io;
use std::path::Path;

use clap::error::{ContextKind, ContextValue, ErrorKind};

use super::load::name_of;
use super::{command, output};
use crate::shell;

/// Says what is wrong with the words of the command line, or shows the help that they ask for, and returns the exit
/// status.
pub(super) fn say(error: &clap::Error) -> u8 {
    let status = u8::try_from(error.exit_code()).unwrap_or(1);
    let text = error.render();
    if !error.use_stderr() {
        let styled = output::shows_colours(&io::stdout());
        let help = if styled { text.ansi().to_string() } else { text.to_string() };
        return output::printed_data(status, |to| to.write_all(command::shown(&help).as_bytes()));
    }
    let plain = text.to_string();
    let more = for_template(error, &plain).or_else(|| for_word(error));
    // It quotes the words as they are.
    match shell::printable(&plain) {
        Cow::Borrowed(_) if output::styled() => {
            output::say_styled(&with_hints(&text.ansi().to_string(), more));
        }
        shown => output::say(&with_hints(&shown, more)),
    }
    status
}

/// Returns the hint where a word is unknown that the template may be meant to have.
fn for_template(error: &clap::Error, text: &str) -> Option<String> {
    if error.kind() != ErrorKind::UnknownArgument || !text.contains("[-- ") {
        return None;
    }
    let Some(ContextValue::String(word)) = error.get(ContextKind::InvalidArg) else { return None };
    let word = shell::word(word);
    Some(format!(
        "hint: arguments for the template come last, behind `--`: `-- {word}`; `--set NAME=VALUE` sets a variable of \
         the manifest\n"
    ))
}

/// Returns the hint where a word stands in the place of a subcommand, and is what one may be called with.
fn for_word(error: &clap::Error) -> Option<String> {
    let Some(ContextValue::String(word)) = error.get(ContextKind::InvalidSubcommand) else {
        return None;
    };
    let (shown, path) = (shell::word(word), Path::new(word));
    let is_manifest =
        path.extension().is_some_and(|extension| extension == "toml") || path.is_file();
    let hint = match std::env::args_os().nth(1).is_some_and(|verb| verb == "runs") {
        true if word.parse::<u64>().is_ok() => {
            format!("`layered-template runs show {shown}` shows that run")
        }
        true => {
            "`layered-template runs show` shows the latest, and with the number of another that"
                .into()
        }
        false if is_manifest => format!(
            "`layered-template plan {shown}` shows what that manifest makes, and \
             `layered-template create {shown} --name {}` makes it",
            shell::word(name_of(path))
        ),
        false => return None,
    };
    Some(format!("hint: {hint}\n"))
}

/// Returns what clap says with its tips as hints. One `more` comes behind them, in the place of clap's own about `--`.
fn with_hints(text: &str, mut more: Option<String>) -> String {
    let mut shown = String::with_capacity(text.len());
    let replaces = more.is_some();
    let mut is_among_tips = false;
    for line in text.split_inclusive('\n') {
        let tip = line.split_once("tip:").filter(|(before, _)| {
            let colour = before.trim_start();
            colour.is_empty() || colour.starts_with('\x1b') && !colour.contains(' ')
        });
        match tip {
            Some((_, tip)) if replaces && tip.contains(" to pass ") => is_among_tips = true,
            Some((before, tip)) => {
                is_among_tips = true;
                shown.extend([before.trim_start(), "hint:", tip]);
            }
            // The next hint follows at once.
            None if is_among_tips && more.is_some() && line == "\n" => {}
            None => {
                if line.contains("Usage:") {
                    shown.extend(more.take().map(|hint| hint + "\n"));
                }
                shown.push_str(line);
            }
        }
    }
    shown
}
