//! `store`: looks after the layer store.

mod list;

use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;

use super::amount::disk_bytes;
use super::arguments::{GcArguments, OutputArguments, ReportFormat, StoreVerb};
use super::variables::warn_of_variables;
use super::{output, request};
use crate::execute::status;
use crate::host::caller::Caller;
use crate::host::userns::{self, Ids};
use crate::host::{child, files, lxcpath};
use crate::lxc;
use crate::observe::container::Container;
use crate::plan::{EntryId, StorageMode};
use crate::shell;
use crate::store::{self, Garbage, GcRoot, Pinned, Referrers, Removed, Retention, Store};
use crate::tree;
use list::{ShownNames, list};

/// The exit status of findings.
const FINDINGS: u8 = 1;

/// How many findings of an entry are shown.
const MOST_FINDINGS: usize = 50;

/// How many entries of one name are shown.
const MOST_NAMES: usize = 8;

pub(super) fn main(verb: &StoreVerb) -> u8 {
    let caller = Caller::observe();
    let Some(top) = store::directory(&caller) else {
        output::error(store::NO_DIRECTORY, None);
        return status::STORE;
    };
    warn_of_variables();
    let unused = store::check(&top, store::owner(&caller)).err();
    let stored = Store::maps(&top).and_then(|maps| Ok((ShownNames::of(&top, &maps)?, maps)));
    let (names, maps) = match stored {
        Ok(stored) => stored,
        Err(error) => {
            let why = unused.unwrap_or(error);
            output::error(&format!("the layer store {} cannot be read: {why}", shown(&top)), None);
            return status::STORE;
        }
    };
    if let Some(why) = unused {
        output::say(&format!(
            "warning: no run of yours can use the layer store {}: {why}",
            shown(&top)
        ));
    }
    if let StoreVerb::Verify { entries } | StoreVerb::Remove { entries, .. } = verb
        && let Some(fault) = unknown(&names, entries)
    {
        output::error(&fault, Some("`layered-template store list` shows what is stored"));
        return status::USAGE;
    }
    let mut lxcpaths = vec![lxcpath::default(&caller)];
    if let StoreVerb::Gc(gc) = verb {
        for given in &gc.places.lxcpath {
            match std::path::absolute(given).and_then(|path| path.read_dir().map(|_| path)) {
                Ok(path) => lxcpaths.push(path),
                Err(error) => {
                    output::error(&format!("{}: {error}", shell::word(given)), None);
                    return status::USAGE;
                }
            }
        }
    }
    let mut worst = 0;
    if let StoreVerb::List(OutputArguments { format: ReportFormat::Text }) = verb {
        worst = output::printed(0, |to| names.header(to));
    }
    for map in maps {
        let store = Store::new(&top, &map);
        // Who is behind a map already sees its own.
        let ids = store::ids_of(&map).flatten().filter(|_| caller.map.is_none());
        let done = match ids {
            Some(ids) if !ids.are_given_to(&caller) => moved(verb, &store, &lxcpaths, &names),
            _ => in_map(ids, || of_map(verb, &store, &lxcpaths, &names)),
        };
        worst = worst.max(done.unwrap_or_else(|error| {
            output::error(&format!("what is stored for the id map `{map}`: {error}"), None);
            status::STORE
        }));
    }
    worst
}

/// Returns the names of all that is stored, as they are shown.
pub(super) fn entry_names() -> Vec<String> {
    let Some(top) = store::directory(&Caller::observe()) else { return Vec::new() };
    let maps = Store::maps(&top).unwrap_or_default();
    ShownNames::of(&top, &maps)
        .map_or_else(|_| Vec::new(), |names| names.shown.into_values().collect())
}

/// Says which entry is none.
fn unknown(names: &ShownNames, given: &[String]) -> Option<String> {
    given.iter().find_map(|text| {
        let hits: Vec<_> = names.shown.iter().filter(|(id, _)| id.is_named(text)).collect();
        let shown = shell::one_line(text);
        match hits.as_slice() {
            [] => Some(format!("no stored entry matches `{shown}`")),
            [_] => None,
            several => {
                let count = several.len();
                let names = several.iter().take(MOST_NAMES).map(|(_, name)| format!("`{name}`"));
                let names = names.collect::<Vec<_>>().join(", ");
                let more = if count > MOST_NAMES { ", ..." } else { "" };
                Some(format!("{count} entries match `{shown}`: {names}{more}"))
            }
        }
    })
}

/// Runs something where the owners of trees are those that they were stored with: in a namespace of
/// the map's.
fn in_map(ids: Option<Ids>, work: impl FnOnce() -> u8) -> io::Result<u8> {
    let Some(ids) = ids else { return Ok(work()) };
    // A map of the caller alone needs nobody to write it.
    let ids = Some(ids).filter(|ids| ids.users.count > 1);
    let ended: ExitStatus = userns::run_in(ids, status::STORE, work)?;
    Ok(child::code(ended))
}

/// Does what can be done for an id map that the caller has no more. No lock is of use: nobody of the
/// caller's comes to the trees, and the locks belong to those ids too.
fn moved(
    verb: &StoreVerb,
    store: &Store,
    lxcpaths: &[PathBuf],
    names: &ShownNames,
) -> io::Result<u8> {
    let (map, place) = (store.map(), store.place());
    let place = shell::word(&place);
    let is_meant = |given: &[String]| -> io::Result<bool> {
        Ok(given.is_empty() || store.entries()?.iter().any(|id| is_given(*id, given)))
    };
    let fault = format!(
        "what is stored for the id map `{map}`, in {place}, cannot be reached: `/etc/subuid` and \
         `/etc/subgid` do not give you its ids any more"
    );
    let hint = "give them back to use it; `layered-template store gc --forget` forgets it";
    match verb {
        StoreVerb::Gc(gc) if gc.forget || store.place().symlink_metadata().is_err() => {
            if store.abandon()? {
                output::say(&format!(
                    "forgotten: what is stored for the id map `{map}`; its trees stay on the disk \
                     until root removes them: rm -r {place}"
                ));
            }
            return Ok(0);
        }
        StoreVerb::List(OutputArguments { format }) => {
            output::say(&format!("warning: {fault}\nhint: {hint}"));
            return list(store, lxcpaths, *format, names);
        }
        StoreVerb::Verify { entries } | StoreVerb::Remove { entries, .. }
            if !is_meant(entries)? =>
        {
            return Ok(0);
        }
        _ => output::error(&fault, Some(hint)),
    }
    Ok(status::STORE)
}

fn of_map(verb: &StoreVerb, store: &Store, lxcpaths: &[PathBuf], names: &ShownNames) -> u8 {
    let done = match verb {
        StoreVerb::List(OutputArguments { format }) => list(store, lxcpaths, *format, names),
        StoreVerb::Verify { entries } => verify(store, entries, names),
        StoreVerb::Gc(arguments) => clean(store, lxcpaths, arguments, names),
        StoreVerb::Remove { entries, forget } => remove(store, lxcpaths, (entries, *forget), names),
    };
    done.unwrap_or_else(|error| {
        if let Some(status) = output::not_printed(&error) {
            return status;
        }
        let (top, map) = (store.top().display(), store.map());
        output::error(&format!("the store `{top}`, id map `{map}`: {error}"), None);
        status::STORE
    })
}

fn verify(store: &Store, given: &[String], names: &ShownNames) -> io::Result<u8> {
    let (mut status, mut damaged) = (0, Vec::new());
    for id in store.entries()?.into_iter().filter(|id| is_given(*id, given)) {
        let _pin = match store.pin(id)? {
            Pinned::Held(pin) => Some(pin),
            // Its tree alone is gone, and that is a finding.
            Pinned::Gone if store.entries()?.contains(&id) => None,
            Pinned::Busy => {
                output::print(|to| writeln!(to, "{}  is being removed", names.name(id)))?;
                continue;
            }
            Pinned::Gone => continue,
        };
        let findings = store::verify(store, id).map_err(|error| {
            let id = names.name(id);
            io::Error::new(error.kind(), format!("{id} cannot be looked through: {error}"))
        })?;
        let is_damaged = !findings.is_empty();
        let findings = [findings, store.damaged_blobs(id)?].concat();
        if findings.is_empty() {
            output::print(|to| writeln!(to, "{}  sound", names.name(id)))?;
            continue;
        }
        status = FINDINGS;
        damaged.extend(is_damaged.then_some(id));
        output::print(|to| {
            let shown = findings.iter().take(MOST_FINDINGS);
            shown
                .into_iter()
                .try_for_each(|line| writeln!(to, "{}  {}", names.name(id), shell::reason(line)))?;
            match findings.len().saturating_sub(MOST_FINDINGS) {
                0 => Ok(()),
                more => writeln!(to, "{}  and {more} more", names.name(id)),
            }
        })?;
    }
    if !damaged.is_empty() {
        let damaged: Vec<_> = damaged.iter().map(|id| names.name(*id).clone()).collect();
        output::say(&format!(
            "hint: `layered-template store remove {}` removes {} that no container uses; the next run builds \
             {} again",
            damaged.join(" "),
            if damaged.len() == 1 { "an entry" } else { "entries" },
            if damaged.len() == 1 { "it" } else { "them" },
        ));
    }
    Ok(status)
}

fn clean(
    store: &Store,
    lxcpaths: &[PathBuf],
    arguments: &GcArguments,
    names: &ShownNames,
) -> io::Result<u8> {
    let GcArguments { keep, older_than, forget, dry_run, .. } = *arguments;
    let top = store.top();
    if !forget {
        has_roots(store)?;
    }
    let mut users = Referrers::find(top, lxcpaths)?;
    let own = |root: &&GcRoot| root.map == store.map();
    let mut unreachable: Vec<&GcRoot> = users.unreachable.iter().filter(own).collect();
    unreachable.dedup_by_key(|root| &root.config);
    for root in unreachable {
        let config = shown(&root.config);
        output::say(&match forget {
            true => format!("forgotten: {config}"),
            false => {
                let fault = match root.config.is_file() {
                    true => "does not say what it uses: that",
                    false => "cannot be reached: what it uses",
                };
                format!("{config} {fault} stays, unless `--forget` is given")
            }
        });
    }
    tell_of_moved(store, &users);
    if forget {
        store::forget(store, &mut users);
    }
    let since = older_than.map(|age| request::ago(age.into()).unwrap_or(0));
    let garbage = Garbage::find(store, &users, Retention { keep, since })?;
    tell_of_missed(&garbage.quarantined, names);
    if dry_run {
        let forecast = forecast(store, &garbage, names)?;
        tell_of_copies(store, lxcpaths, &garbage.entries, "would be");
        return Ok(forecast);
    }
    let cleaned = store::clean(store, &users, &garbage, &|| {
        output::say("another run is making a place to work in the store; waiting for it");
    })?;
    for id in &cleaned.in_use {
        output::say(&format!("{} stays: a run uses it", names.name(*id)));
    }
    let downloads = match cleaned.downloads {
        0 => String::new(),
        size => format!(", and {} of downloads that broke off", disk_bytes(size)),
    };
    let (count, bytes) = (entries(cleaned.entries.len()), disk_bytes(cleaned.bytes));
    let rubbish = match cleaned.rubbish {
        0 => String::new(),
        1 => ", and what a run that was killed has left".to_owned(),
        count => format!(", and what {count} runs that were killed have left"),
    };
    output::print(|to| writeln!(to, "removed {count}, {bytes}{rubbish}{downloads}"))?;
    tell_of_copies(store, lxcpaths, &cleaned.entries, "was");
    for error in &cleaned.stuck {
        output::error(&format!("what nobody needs cannot be removed: {error}"), None);
    }
    Ok(if cleaned.stuck.is_empty() { 0 } else { status::STORE })
}

/// Tells of containers that are not where they were made, and keep what they stood on for a day.
fn tell_of_missed(missed: &[GcRoot], names: &ShownNames) {
    let advice = "`--lxcpath DIR` finds it; `--forget` removes";
    // A container may have used several.
    let mut missed: Vec<&GcRoot> = missed.iter().collect();
    missed.sort_by_key(|root| &root.config);
    missed.dedup_by_key(|root| &root.config);
    match missed.as_slice() {
        [] => {}
        [root] => {
            let (config, id) = (shown(&root.config), names.name(root.entry));
            let what = if root.config.exists() { "uses something else now" } else { "is gone" };
            output::say(&format!(
                "{config} {what}; {id}, which it used, stays for a day: if the container was moved, {advice} \
                 {id} now"
            ));
        }
        several => {
            let configs = several.iter().take(MOST_NAMES).map(|root| shown(&root.config));
            let configs = configs.collect::<Vec<_>>().join(", ");
            let more = if several.len() > MOST_NAMES { ", ..." } else { "" };
            output::say(&format!(
                "{} containers are gone or use something else now; what they used stays for a day: if one was \
                 moved, {advice} it now ({configs}{more})",
                several.len()
            ));
        }
    }
}

/// Says which containers are copies of entries that are gone: nothing says any more what in them was the role's.
fn tell_of_copies(store: &Store, lxcpaths: &[PathBuf], gone: &[EntryId], tense: &str) {
    let roots = GcRoot::all(store.top()).unwrap_or_default();
    let mut places: Vec<_> = roots.iter().map(GcRoot::lxcpath).chain(lxcpaths.to_vec()).collect();
    places.sort();
    places.dedup();
    let is_copy = |container: &Container| {
        let record = container.record.as_ref().ok();
        let stored = record.and_then(|record| record.stored.as_ref());
        stored.is_some_and(|stored| {
            let entry = EntryId::parse(&stored.entry);
            stored.storage != StorageMode::Overlay
                && entry.is_some_and(|entry| gone.contains(&entry))
        })
    };
    let mut copies = Container::all(&places).unwrap_or_default();
    copies.retain(is_copy);
    let names = copies.iter().take(MOST_NAMES);
    let names = names.map(|copy| format!("`{}`", shell::one_line(&copy.name))).collect::<Vec<_>>();
    let more = if copies.len() > MOST_NAMES { ", ..." } else { "" };
    let (count, names) = (copies.len(), names.join(", "));
    match count {
        0 => {}
        1 => output::say(&format!(
            "1 container is a copy of what {tense} removed, and cannot be upgraded without it: {names}"
        )),
        _ => output::say(&format!(
            "{count} containers are copies of what {tense} removed, and cannot be upgraded without it: {names}{more}"
        )),
    }
}

/// Fails where it is not known any more what containers stand on.
fn has_roots(store: &Store) -> io::Result<()> {
    let roots = store.top().join("roots");
    if roots.exists() || store.entries()?.is_empty() {
        return Ok(());
    }
    Err(io::Error::other(format!(
        "{} is gone, which records what containers use; with `--forget` all goes that no container in a \
         known directory uses: `store gc --forget --dry-run -P DIR` shows what that is",
        shown(&roots)
    )))
}

/// Warns of containers that were moved, and whose own files are looked for where they were.
fn tell_of_moved(store: &Store, users: &Referrers) {
    for config in users.of.values().flatten().filter(|config| !config.starts_with("/proc")) {
        let Ok(text) = files::read_regular(config, lxc::config::LARGEST) else { continue };
        let text = String::from_utf8_lossy(&text);
        let Some(value) = lxc::config::last_value(&text, "lxc.rootfs.path") else { continue };
        let value = lxc::config::unquoted(value);
        let Some((of_store, _)) = Store::of_rootfs(value) else { continue };
        let delta = value.rsplit(':').next().map_or(Path::new(""), Path::new);
        let Some(directory) = config.parent().filter(|_| of_store.map() == store.map()) else {
            continue;
        };
        // What a container was before names where its tree will be again.
        if directory.ancestors().skip(1).take(2).any(|above| above.ends_with(store::GENERATIONS)) {
            continue;
        }
        let is_own = delta.parent().is_some_and(|above| {
            let is_here = |above: &Path| {
                above == directory || above.canonicalize().ok() == directory.canonicalize().ok()
            };
            // A snapshot has it deeper, and so has one of which an upgrade was interrupted.
            is_here(above) || delta.is_dir() && above.ancestors().any(is_here)
        });
        if !is_own {
            output::say(&format!(
                "warning: {} names {}, where the container is not: let `lxc.rootfs.path` end with {} \
                 before it is started",
                shown(config),
                shown(delta),
                shown(&directory.join(delta.file_name().unwrap_or_default()))
            ));
        }
    }
}

/// Shows what would be removed.
fn forecast(store: &Store, garbage: &Garbage, names: &ShownNames) -> io::Result<u8> {
    let mut sum = 0;
    for id in &garbage.entries {
        let alone = files::open_directory(&store.rootfs(*id))
            .and_then(|tree| tree::usage(tree.as_fd()))
            .map_or(0, |usage| usage.alone);
        sum += alone;
        let layer = store::Entry::read(store, *id).map(|entry| entry.made.slot.replace('`', ""));
        let layer = shell::one_line(&layer.unwrap_or_default());
        output::print(|to| {
            writeln!(to, "would remove {}  {layer}  {}", names.name(*id), disk_bytes(alone))
        })?;
    }
    let count = entries(garbage.entries.len());
    output::print(|to| writeln!(to, "would remove {count}, {}", disk_bytes(sum)))?;
    Ok(0)
}

fn shown(path: &Path) -> String {
    format!("`{}`", shell::one_line(&path.display().to_string()))
}

/// Shows a number of entries.
fn entries(count: usize) -> String {
    format!("{count} {}", if count == 1 { "entry" } else { "entries" })
}

fn remove(
    store: &Store,
    lxcpaths: &[PathBuf],
    (given, forget): (&[String], bool),
    names: &ShownNames,
) -> io::Result<u8> {
    if !forget {
        has_roots(store)?;
    }
    let mut users = Referrers::find(store.top(), lxcpaths)?;
    if forget {
        store::forget(store, &mut users);
    }
    for id in store.entries()?.into_iter().filter(|id| !given.is_empty() && is_given(*id, given)) {
        let name = names.name(id);
        if users.needs(id) {
            let by = users.of.get(&id).into_iter().flatten().next();
            let missed = users.missed.iter().find(|root| root.entry == id);
            let message = match (by, missed) {
                (None, Some(root)) => format!(
                    "{name} stays: {} was made on it, and is gone, or was moved; with `--forget` it goes",
                    shown(&root.config)
                ),
                (by, _) => {
                    let by = by.map_or_else(|| "a container".to_owned(), |path| user(path));
                    format!("{name} is in use by {by}, and stays")
                }
            };
            return Err(io::Error::other(message));
        }
        match store::remove(store, id, &users)? {
            Removed::Gone { bytes: free } => {
                output::print(|to| writeln!(to, "removed {name}, {}", disk_bytes(free)))?;
            }
            Removed::InUse => {
                return Err(io::Error::other(format!("{name} stays: a run uses it")));
            }
        }
    }
    Ok(0)
}

/// Returns a user of an entry: the container whose config it is, or what runs on it.
fn user(path: &Path) -> String {
    let name = path.parent().and_then(Path::file_name);
    match name.filter(|_| path.ends_with("config")) {
        Some(name) => {
            format!("container `{}` ({})", shell::one_line(&name.to_string_lossy()), shown(path))
        }
        None => shown(path),
    }
}

fn is_given(id: EntryId, given: &[String]) -> bool {
    given.is_empty() || given.iter().any(|text| id.is_named(text))
}
