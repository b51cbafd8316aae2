//! What is told of an upgrade.

use std::io::{self, Write};

use super::{CONFLICTS, UpgradeArguments};
use crate::cli::output;
use crate::execute::{FileConflict, PathChange};
use crate::lxc::revision::ConfigConflict;
use crate::merge::{Item, What};
use crate::shell;

/// Says something, unless nothing but failures is wanted.
pub(super) fn note(arguments: &UpgradeArguments, text: &str) {
    if !arguments.run.talk.quiet {
        output::say(text);
    }
}

/// Shows what changes in a container, and returns the exit status.
pub(super) fn changes(changes: &[PathChange]) -> u8 {
    output::printed(0, |to| {
        changes.iter().try_for_each(|change| {
            let sign = match (change.was, change.is) {
                (false, _) => 'A',
                (true, true) => 'M',
                (true, false) => 'D',
            };
            writeln!(to, "{sign}  {}", path(&change.path))
        })
    })
}

/// Shows what both a container and its role have changed, and returns the exit status.
pub(super) fn conflicts(container: &str, files: &[FileConflict], configs: &[ConfigConflict]) -> u8 {
    let status = output::printed(CONFLICTS, |to| {
        for FileConflict { path: at, old, new, own } in files {
            writeln!(to, "C  {}", path(at))?;
            for (side, item) in [("was", old), ("role", new), ("own", own)] {
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
    output::error(
        &format!("`{name}` is left as it is: it and its role have changed the same"),
        Some("`--take PATH` takes the role's, `--keep PATH` keeps the container's"),
    );
    status
}

fn side_of(to: &mut dyn Write, side: &str, what: &str) -> io::Result<()> {
    writeln!(to, "   {side:5} {}", shell::one_line(what))
}

/// Says what something is.
fn described(item: &Item) -> String {
    let what = match &item.what {
        What::Directory => "directory".to_owned(),
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
