//! What is told of an upgrade.

use std::io::{self, Write};
use std::path::Path;

use super::{CONFLICTS, UNCHANGED, UpgradeArguments};
use crate::cli::output;
use crate::execute::{Difference, FileConflict, status};
use crate::lxc::revision::ConfigConflict;
use crate::merge::{Item, What};
use crate::shell;

/// For how many conflicts a line to type is shown.
const MOST_SHOWN: usize = 5;

/// Says something, unless nothing but failures is wanted.
pub(super) fn note(arguments: &UpgradeArguments, text: &str) {
    if !arguments.run.talk.quiet {
        output::say(text);
    }
}

/// Shows what changes in a container, and returns the exit status.
pub(super) fn changes(difference: &Difference) -> u8 {
    output::printed(0, |to| {
        difference.paths.iter().try_for_each(|change| {
            let sign = match (change.was, change.is) {
                (false, _) => 'A',
                (true, true) => 'M',
                (true, false) => 'D',
            };
            writeln!(to, "{sign}  {}", path(&change.path))
        })
    })
}

/// Says how much would change in a container, and returns the exit status.
pub(super) fn would_change(
    arguments: &UpgradeArguments,
    container: &str,
    difference: &Difference,
) -> u8 {
    let files = match difference.paths.len() {
        0 => None,
        1 => Some("1 path".to_owned()),
        count => Some(format!("{count} paths")),
    };
    let parts = [
        files,
        difference.config.then(|| "its config".to_owned()),
        difference.record.then(|| "its record".to_owned()),
    ];
    let parts: Vec<_> = parts.into_iter().flatten().collect();
    let name = shell::one_line(container);
    note(arguments, &format!("{name}: {} would change; nothing was changed", parts.join(", ")));
    0
}

/// Says that a container is up to date, and returns what stands for that.
pub(super) fn unchanged(arguments: &UpgradeArguments, container: &str) -> u8 {
    note(arguments, &format!("{}: no change", shell::one_line(container)));
    UNCHANGED
}

/// Says that options decide of what there is not, and returns the exit status.
pub(super) fn nothing(container: &str, words: &[String]) -> u8 {
    let name = shell::one_line(container);
    for word in words {
        output::error(
            &format!("`{word}`: neither `{name}` nor its role has that"),
            Some("it takes a path of the rootfs, or `config:` and a key of the config"),
        );
    }
    status::USAGE
}

/// Shows what both a container and its role have changed, and returns the exit status.
pub(super) fn conflicts(
    (container, at): (&str, &Path),
    files: &[FileConflict],
    configs: &[ConfigConflict],
) -> u8 {
    let status = output::printed(CONFLICTS, |to| {
        for FileConflict { path: at, old, new, own, is_private } in files {
            writeln!(to, "C  {}", path(at))?;
            for (side, item) in [("was", old), ("role", new), ("own", own)] {
                let described = |item| described(item, *is_private);
                side_of(to, side, &item.as_ref().map_or_else(|| "nothing".to_owned(), described))?;
            }
        }
        for ConfigConflict { key, old, new, own } in configs {
            writeln!(to, "C  config:{}", shell::one_line(key))?;
            for (side, value) in [("was", old), ("role", new), ("own", own)] {
                side_of(to, side, value.as_deref().unwrap_or("nothing"))?;
            }
        }
        Ok(())
    });
    let name = shell::one_line(container);
    let what = match (files.len(), configs.len()) {
        (1, 0) => "1 path".to_owned(),
        (count, 0) => format!("{count} paths"),
        (0, 1) => "1 key of the config".to_owned(),
        (0, count) => format!("{count} keys of the config"),
        (files, configs) => format!("{} paths and keys of the config", files + configs),
    };
    let paths = files.iter().map(|file| path(&file.path));
    let keys = configs.iter().map(|config| shell::word(format!("config:{}", config.key)));
    let words: Vec<_> = paths.chain(keys).collect();
    let upgrade = format!("layered-template upgrade {}", shell::word(at));
    let mut hint = String::from("`--take` takes the role's, `--keep` keeps the container's:");
    for word in words.iter().take(MOST_SHOWN) {
        hint.extend(["\n  ", &upgrade, " --take ", word]);
    }
    if words.len() > MOST_SHOWN {
        hint.push_str("\nboth may be repeated, and hold for all that is below a path");
    }
    output::error(
        &format!("`{name}` is left as it is: both it and its role have changed {what}"),
        Some(&hint),
    );
    status
}

fn side_of(to: &mut dyn Write, side: &str, what: &str) -> io::Result<()> {
    writeln!(to, "   {side:5} {}", shell::one_line(what))
}

/// Says what something is.
fn described(item: &Item, is_private: bool) -> String {
    let what = match &item.what {
        What::Directory => "directory".to_owned(),
        // A short secret can be guessed by its digest.
        What::File(..) if is_private => "file".to_owned(),
        What::File(_, digest) => format!("sha256:{}…", digest.short()),
        What::Symlink(target) => format!("symlink to {}", String::from_utf8_lossy(target)),
        What::Special(kind, _) => (*kind).to_owned(),
    };
    let (uid, gid) = item.owner;
    let xattrs = if item.xattrs.is_some() { " with attributes" } else { "" };
    let links = match &item.names {
        Some(names) => format!(" one of {} names", names.len()),
        None => String::new(),
    };
    format!("{what} {:04o} {uid}:{gid}{xattrs}{links}", item.mode)
}

fn path(path: &[u8]) -> String {
    shell::word(format!("/{}", String::from_utf8_lossy(path)))
}
