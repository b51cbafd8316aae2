//! Answers a shell that asks what may follow on its command line.

use clap_complete::env::{CompleteEnv, Shells};

use super::{command, output};
use crate::execute::status;
use crate::shell;

/// The variable by which a shell asks: its value is the shell's name.
pub(super) const VARIABLE: &str = "LAYERED_TEMPLATE_COMPLETE";

/// Answers a shell, if one asks, and returns the exit status.
pub(super) fn answer() -> Option<u8> {
    let shell = std::env::var_os(VARIABLE).filter(|shell| !shell.is_empty())?;
    // The shells' scripts ask so. The variable alone may be left over from anywhere.
    let mut words = std::env::args_os().skip(1);
    if words.next()? != "--" || words.next().is_none() {
        return None;
    }
    let shell = shell.to_string_lossy();
    let known = Shells::builtins();
    if known.completer(&shell).is_none() {
        let names: Vec<&str> = known.names().collect();
        let message = format!("{VARIABLE} names no known shell: {}", shell::word(&*shell));
        output::error(&message, Some(&format!("it is one of {}", names.join(", "))));
        return Some(status::USAGE);
    }
    let here = std::env::current_dir().ok();
    let asked = CompleteEnv::with_factory(command::command).var(VARIABLE);
    // A shell shows what goes wrong in the middle of the line that is typed.
    let _ = asked.try_complete(std::env::args_os(), here.as_deref());
    Some(0)
}
