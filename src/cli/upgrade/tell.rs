//! What is told of an upgrade.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::document::{ChangedName, Conflict, UpgradeDocument, UpgradeOutcome};
use super::{CONFLICTS, UpgradeArguments};
use crate::cli::arguments::ReportFormat;
use crate::cli::file_difference::FileChange;
use crate::cli::{output, request};
use crate::execute::{Generations, status};
use crate::observe::container::Container;
use crate::shell;

/// For how many conflicts a line to type is shown.
const MOST_SHOWN: usize = 5;

/// Says something, unless nothing but failures is wanted.
pub(super) fn note(arguments: &UpgradeArguments, text: &str) {
    if !arguments.run.talk.quiet {
        output::say(text);
    }
}

/// Tells what has come of the upgrade of a container that ends with a status, and returns that.
pub(super) fn outcome(arguments: &UpgradeArguments, status: u8, document: &UpgradeDocument) -> u8 {
    match document.outcome {
        UpgradeOutcome::Unchanged => unchanged(arguments, document),
        UpgradeOutcome::WouldChange => changes(arguments, document),
        UpgradeOutcome::Upgraded => {
            let told = changes(arguments, document);
            let (name, path) = (shell::one_line(&document.container), shell::word(&document.path));
            note(
                arguments,
                &match document.is_of_record_alone() {
                    true => format!("{name}: its record is up to date; nothing else has changed"),
                    false => format!(
                        "{name}: upgraded; `layered-template rollback {path}` restores what it was"
                    ),
                },
            );
            told
        }
        UpgradeOutcome::Conflict => conflicts(arguments, document),
        UpgradeOutcome::Failed | UpgradeOutcome::Left => {
            printed(arguments, status, document, |_| Ok(()))
        }
    }
}

/// Shows what changes in a container, says how much that is where it is only looked at, and returns the exit status.
fn changes(arguments: &UpgradeArguments, document: &UpgradeDocument) -> u8 {
    let told = printed(arguments, 0, document, |to| {
        let names = |names: &[ChangedName], before: &str, to: &mut dyn Write| {
            names.iter().try_for_each(|ChangedName { name, change }| {
                writeln!(to, "{}  {before}{}", sign(*change), shell::word(name))
            })
        };
        names(&document.files, "", to)?;
        names(&document.beside, "beside: ", to)?;
        document.config.iter().try_for_each(|line| {
            writeln!(to, "{}  config: {}", sign(line.change), shell::one_line(&line.line))
        })
    });
    if told == 0 {
        dropped(arguments, document);
    }
    if told != 0 || !arguments.dry_run {
        return told;
    }
    let parts = [
        counted(document.files.len(), "path", "paths"),
        counted(document.beside.len(), "file beside its rootfs", "files beside its rootfs"),
        document.is_other_config.then(|| "its config".to_owned()),
        document.is_other_record.then(|| "its record".to_owned()),
    ];
    let parts: Vec<_> = parts.into_iter().flatten().collect();
    let name = shell::one_line(&document.container);
    let parts = shell::listed(&parts);
    note(arguments, &format!("{name}: an upgrade would change {parts}; nothing was changed"));
    0
}

/// Names what the container itself had put into a directory that is none any more.
fn dropped(arguments: &UpgradeArguments, document: &UpgradeDocument) {
    if document.dropped.is_empty() {
        return;
    }
    let (name, path) = (shell::one_line(&document.container), shell::word(&document.path));
    let names: Vec<_> = document.dropped.iter().map(shell::word).collect();
    let names = shell::listed(&names);
    note(
        arguments,
        &match arguments.dry_run {
            true => {
                format!("{name}: this would go, which the container itself has put there: {names}")
            }
            false => format!(
                "{name}: this has gone, which the container itself had put there: {names}; \
                 `layered-template rollback {path}` has it again"
            ),
        },
    );
}

/// Returns how many there are of something, if any.
fn counted(count: usize, one: &str, several: &str) -> Option<String> {
    match count {
        0 => None,
        1 => Some(format!("1 {one}")),
        count => Some(format!("{count} {several}")),
    }
}

fn sign(change: FileChange) -> char {
    match change {
        FileChange::Added => 'A',
        FileChange::Changed => 'M',
        FileChange::Removed => 'D',
    }
}

/// Says that a container is up to date, and returns the exit status.
fn unchanged(arguments: &UpgradeArguments, document: &UpgradeDocument) -> u8 {
    let told = printed(arguments, 0, document, |_| Ok(()));
    note(arguments, &format!("{}: no change", shell::one_line(&document.container)));
    told
}

/// Says that a failed upgrade has left a container as it was, and that it runs again if it was stopped for that.
pub(super) fn untouched(container: &str, is_started: bool) {
    let runs = if is_started { ", and runs again" } else { "" };
    output::say(&format!("`{}` is left as it was{runs}", shell::one_line(container)));
}

/// Says which way a container went, by what it is and what is kept now.
pub(super) fn way(generations: &Generations, container: &Container, was_upgraded: bool) -> String {
    let (now, kept) = (Container::at(&container.path), Container::at(&generations.previous()));
    let record =
        |of: &Option<Container>| of.as_ref().and_then(|of| of.record.as_ref().ok().cloned());
    match (record(&now), record(&kept)) {
        _ if was_upgraded => {
            "back to what it was before its upgrade, which was interrupted".to_owned()
        }
        (Some(now), Some(kept)) if now.times().1 < kept.times().1 => {
            format!(
                "back to what it was before its upgrade of {}; another rollback undoes this one",
                kept.created
            )
        }
        (Some(now), Some(_)) => {
            format!("the last rollback is undone: it is again what was made on {}", now.created)
        }
        _ => "back to the other state; what it was until now is kept instead".to_owned(),
    }
}

/// Says that options decide of what there is not, and returns the exit status.
pub(super) fn nothing(container: &str, words: &[String]) -> u8 {
    let name = shell::one_line(container);
    for word in words {
        output::error(
            &format!("`{word}`: neither `{name}` nor its role has that"),
            Some(
                "it takes a path of the rootfs, `config:KEY`, or `beside:NAME` for a file beside the rootfs",
            ),
        );
    }
    status::USAGE
}

/// Says that options take the role's where that is none of the role's, and returns the exit status.
pub(super) fn state(container: &str, words: &[String]) -> u8 {
    let name = shell::one_line(container);
    for word in words {
        output::error(
            &format!("`{word}`: that is `state` of `{name}`, which stays as it is"),
            Some(
                "leave it out; what the role makes there is copied out of a new container of the role",
            ),
        );
    }
    status::USAGE
}

/// Shows what both a container and its role have changed, and returns the exit status.
fn conflicts(arguments: &UpgradeArguments, document: &UpgradeDocument) -> u8 {
    let all = &document.conflicts;
    let status = printed(arguments, CONFLICTS, document, |to| {
        all.iter().try_for_each(|conflict| {
            let Conflict { was, role, own, why, .. } = conflict;
            writeln!(to, "C  {}", conflict.word())?;
            [("was", was), ("role", role), ("own", own)].into_iter().try_for_each(
                |(side, what)| {
                    let what = what.as_deref().unwrap_or("nothing");
                    writeln!(to, "   {side:5} {}", shell::one_line(what))
                },
            )?;
            why.iter().try_for_each(|why| writeln!(to, "   why   {}", shell::one_line(why)))
        })
    });
    let name = shell::one_line(&document.container);
    let (configs, files): (Vec<_>, Vec<_>) =
        all.iter().partition(|conflict| conflict.name.starts_with("config:"));
    let parts = [
        counted(files.len(), "path", "paths"),
        counted(configs.len(), "key of the config", "keys of the config"),
    ];
    let what = shell::listed(&parts.into_iter().flatten().collect::<Vec<_>>());
    let mut hint = decisions(arguments, document);
    if !files.is_empty() {
        let diff = format!("layered-template diff --patch {}", shell::word(&document.path));
        hint.extend([
            "\nto see what the container and its role have changed:\n  ",
            &diff,
            "\n  ",
            &diff,
            " ",
            &shell::word(manifest_of(arguments, document)),
        ]);
    }
    output::error(
        &format!("`{name}` is left as it is: both it and its role have changed {what}"),
        Some(&hint),
    );
    status
}

/// Says what to type that decides the conflicts of an upgrade.
fn decisions(arguments: &UpgradeArguments, document: &UpgradeDocument) -> String {
    let all = document.conflicts.iter();
    let (open, elsewhere): (Vec<_>, Vec<_>) = all.partition(|conflict| conflict.decide.is_none());
    let mut hint = String::new();
    if !open.is_empty() {
        // What was called with holds on.
        let call = match arguments.all {
            true => format!("layered-template upgrade {}", shell::word(&document.path)),
            false => request::words(),
        };
        hint.extend(["`--take` takes the role's, `--keep` keeps the container's:\n  ", &call]);
    }
    // Several lines of one key of the config are decided by that.
    let mut words: Vec<_> = open.iter().map(|conflict| conflict.word()).collect();
    words.dedup();
    for word in words.iter().take(MOST_SHOWN) {
        hint.extend([" --take ", word]);
    }
    if words.len() > MOST_SHOWN {
        hint.extend([
            "\nand likewise for ",
            &(words.len() - MOST_SHOWN).to_string(),
            " more; both hold for all that is below a path",
        ]);
    }
    let mut words: Vec<_> = elsewhere.iter().filter_map(|of| of.decide.as_deref()).collect();
    words.dedup();
    for word in words {
        let of = elsewhere.iter().filter(|conflict| conflict.decide.as_deref() == Some(word));
        let mut names: Vec<_> = of.map(|conflict| conflict.word()).collect();
        if names.len() > MOST_SHOWN {
            let more = names.split_off(MOST_SHOWN).len();
            names.push(format!("{more} more"));
        }
        let end = if hint.is_empty() { "" } else { "\n" };
        hint.extend([end, "only `", word, "` has a place for ", &shell::listed(&names)]);
    }
    hint
}

/// Returns the manifest that a container is upgraded by.
fn manifest_of(arguments: &UpgradeArguments, document: &UpgradeDocument) -> PathBuf {
    let container = Container::at(Path::new(&document.path));
    let record = container.and_then(|container| container.record.ok());
    let manifest = arguments.manifest.clone().or_else(|| Some(record?.manifest.path.into()));
    manifest.unwrap_or_else(|| "MANIFEST".into())
}

/// Prints a document, as text or as it is, and returns the exit status.
fn printed(
    arguments: &UpgradeArguments,
    status: u8,
    document: &UpgradeDocument,
    text: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> u8 {
    match arguments.output.format {
        ReportFormat::Text => output::printed(status, text),
        ReportFormat::Json => output::printed_json(status, |to| {
            serde_json::to_writer(&mut *to, document)?;
            to.write_all(b"\n")
        }),
    }
}
