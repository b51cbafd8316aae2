//! The command line: the only part that talks to people.

mod amount;
mod arguments;
mod at_work;
mod build;
mod clone_hook;
mod command;
mod complete;
mod completers;
mod container_tree;
mod containers;
mod create;
mod diff;
mod doctor;
mod examples;
mod file_difference;
mod foreign;
mod hang;
mod history;
mod init;
mod install;
mod install_role;
mod judge;
mod layer;
mod live_line;
mod load;
mod lock;
mod lock_file;
mod locked_content;
mod manual;
mod mapping;
mod meant;
mod new_container;
mod notify;
mod options;
mod output;
mod passed_on;
mod plan;
mod plan_short;
mod prepare;
mod progress;
mod push;
mod refusal;
mod refused_run;
mod remote;
mod report;
mod request;
mod role;
mod role_difference;
mod role_help;
mod role_plan;
mod run;
mod runs;
mod scene;
mod schema;
mod shell;
mod show;
mod start;
mod store;
mod template;
mod template_directory;
mod upgrade;
mod usage;
mod validate;
mod variables;
mod within;
mod wrap;

use std::ffi::{OsStr, OsString};
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use clap::error::{ContextKind, ContextValue};

use arguments::Verb;
#[cfg(test)]
pub(crate) use {
    diff::DriftDocument, role_difference::RoleDifference, role_plan::RolePlan,
    upgrade::UpgradeDocument,
};

use crate::execute::status;
use crate::host::inheritance;
use crate::host::kernel;
use crate::host::set_id::Given;
use crate::host::template::OWN_NAME;

/// Runs the program, which ends with it.
pub fn main() -> ! {
    let status = called();
    let _ = io::stdout().flush();
    kernel::leave(status)
}

/// Does what it was called for, and returns the exit status.
fn called() -> u8 {
    // Its caller chooses the manifest, and with that all that a run does.
    if let Some(given) = Given::observe() {
        let program = std::env::current_exe().unwrap_or_default();
        let message = format!(
            "the program {}, and does not run with more rights than its caller",
            given.is()
        );
        let advice = format!("`{} {}` fixes that", given.taken_by(), crate::shell::word(&program));
        output::error(&message, Some(&advice));
        return status::TRUST;
    }
    if let Err(reason) = inheritance::take_over() {
        output::error(&reason, Some(inheritance::ADVICE));
        return status::USAGE;
    }
    let mut words = std::env::args_os();
    let name = words.next().unwrap_or_default();
    let words: Vec<OsString> = words.collect();
    if words.first().is_some_and(|word| word == clone_hook::WORD) {
        return clone_hook::main();
    }
    if let Some((manifest, words)) = role::called_by(&words) {
        return role::main(manifest, words);
    }
    if is_template_call(&name, &words) {
        return template::main(&words);
    }
    if let Some(status) = complete::answer() {
        return status;
    }
    let cli = match command::parse(&words) {
        Ok(cli) => cli,
        Err(error) => {
            return match foreign_word(&error) {
                Some((word, meant)) => {
                    output::error(&format!("there is no subcommand `{word}`"), Some(meant));
                    status::USAGE
                }
                None => usage::say(&error),
            };
        }
    };
    output::trace(cli.verbosity());
    match cli.verb {
        Verb::Plan(arguments) => plan::main(&arguments),
        Verb::Validate(arguments) => validate::main(&arguments),
        Verb::Create(arguments) => create::main(arguments),
        Verb::Build(arguments) => build::main(&arguments),
        Verb::Pull(arguments) => build::pull(&arguments),
        Verb::Push(arguments) => push::main(&arguments),
        Verb::Lock(arguments) => lock::main(&arguments),
        Verb::Shell(arguments) => shell::main(&arguments),
        Verb::Status(arguments) => containers::main(&arguments),
        Verb::Diff(arguments) => diff::main(&arguments),
        Verb::Show(arguments) => show::main(&arguments),
        Verb::Runs(arguments) => runs::main(&arguments),
        Verb::Upgrade(arguments) => upgrade::main(&arguments),
        Verb::Rollback(arguments) => upgrade::rollback(&arguments),
        Verb::Doctor(arguments) => doctor::main(&arguments),
        Verb::Layer(verb) => layer::main(&verb),
        Verb::Store(verb) => store::main(&verb),
        Verb::Init(arguments) => init::main(&arguments),
        Verb::Schema(arguments) => schema::main(&arguments),
        Verb::InstallTemplate(arguments) => install::main(&arguments),
        Verb::Completions(arguments) => manual::completions(&arguments),
        Verb::Man(arguments) => manual::main(&arguments),
    }
}

/// Returns a word that other programs have for what this one does, and what that is.
fn foreign_word(error: &clap::Error) -> Option<(&str, &'static str)> {
    match error.get(ContextKind::InvalidSubcommand)? {
        ContextValue::String(word) => Some((word.as_str(), foreign::meant(word)?)),
        _ => None,
    }
}

/// Tells whether LXC calls: by the template's name, or by the words that it always begins with.
fn is_template_call(name: &OsStr, words: &[OsString]) -> bool {
    let by_name = Path::new(name).file_name().is_some_and(|name| name == OWN_NAME);
    let by_words = words.first().map(|word| word.as_bytes()).is_some_and(|word| {
        crate::lxc::call::MARKS.iter().any(|mark| {
            let rest = word.strip_prefix(mark.as_bytes());
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(b"="))
        })
    });
    by_name || by_words
}
