//! The command line as clap has it: the subcommands with their examples, and what completes each value.

use std::ffi::OsString;
use std::fmt::Write;

use clap::{ArgMatches, Args, Command, CommandFactory};

use super::arguments::{Cli, Verb};
use super::{completers, examples};

/// Returns the whole command line.
pub(super) fn command() -> Command {
    with_all(Cli::command(), "layered-template")
}

/// Reads the program's own words. Examples and completions cost more than to read these: they are added for help
/// and errors alone.
pub(super) fn parse(words: &[OsString]) -> Result<Cli, clap::Error> {
    if let Some(verb) = verb_of(words) {
        return Ok(Cli { verb });
    }
    let matches: ArgMatches =
        Cli::command().try_get_matches().or_else(|_| command().try_get_matches())?;
    <Cli as clap::FromArgMatches>::from_arg_matches(&matches)
        .map_err(|error| error.format(&mut command()))
}

/// Reads the words of a subcommand that is called often or has to be quick: to describe all the others takes as long as
/// many a run. Where anything is wrong, or help is asked for, that is needed, and there is nothing.
fn verb_of(words: &[OsString]) -> Option<Verb> {
    fn read<T: Args>(words: &[OsString], verb: fn(T) -> Verb) -> Option<Verb> {
        let command = T::augment_args(Command::new(env!("CARGO_PKG_NAME")));
        let matches = command.try_get_matches_from(words).ok()?;
        T::from_arg_matches(&matches).ok().map(verb)
    }
    match words.first()?.to_str()? {
        "build" => read(words, Verb::Build),
        "create" => read(words, Verb::Create),
        "diff" => read(words, Verb::Diff),
        "plan" => read(words, Verb::Plan),
        "pull" => read(words, Verb::Pull),
        "push" => read(words, Verb::Push),
        "show" => read(words, Verb::Show),
        "status" => read(words, Verb::Status),
        "validate" => read(words, Verb::Validate),
        _ => None,
    }
}

/// What stands for each space of an example until it is shown: lines are broken at spaces, and an example is there
/// to be copied.
const UNBROKEN: &str = "\u{a0}";

/// Returns help as it is shown.
pub(super) fn shown(help: &str) -> String {
    help.replace(UNBROKEN, " ")
}

/// Adds to a subcommand and to those below it.
fn with_all(command: Command, name: &str) -> Command {
    let mut text = String::from("Examples:");
    for (purpose, line) in examples::of(name) {
        let line = line.replace(' ', UNBROKEN);
        let _ = write!(text, "\n  {purpose}:\n    {line}");
    }
    let command = match command.get_after_help() {
        Some(more) => {
            let more = more.to_string();
            command.after_help(format!("{text}\n\n{more}"))
        }
        None => command.after_help(text),
    };
    let command = command.mut_args(|argument| {
        let value = argument.get_value_names().and_then(|names| names.first());
        match value.and_then(|value| completers::of(value)) {
            Some(completer) => argument.add(completer),
            None => argument,
        }
    });
    command.mut_subcommands(|inner| {
        let name = format!("{name}-{}", inner.get_name());
        with_all(inner, &name)
    })
}
