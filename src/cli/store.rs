//! `store`: looks after the layer store.

mod list;

use std::io;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::thread::sleep;
use std::time::Duration;

use super::arguments::{ReportFormat, StoreVerb};
use super::output;
use crate::execute::status;
use crate::host::caller::Caller;
use crate::host::userns::{self, Ids};
use crate::host::{child, lxcpath, template};
use crate::plan::EntryId;
use crate::shell;
use crate::store::{self, Lock, Referrers, Store};
use list::{ShownNames, list};

/// The exit status of findings.
const FINDINGS: u8 = 1;

/// How many findings of an entry are shown.
const MOST_FINDINGS: usize = 50;

/// How many entries of one name are shown.
const MOST_NAMES: usize = 8;

/// How often it is looked whether runs have done with the store.
const PATIENCE: Duration = Duration::from_millis(100);

pub(super) fn main(verb: &StoreVerb) -> u8 {
    let caller = Caller::observe();
    let Some(top) = store::directory(&caller) else {
        output::error(store::NO_DIRECTORY, None);
        return status::STORE;
    };
    let maps = Store::maps(&top);
    if let StoreVerb::Verify { entries } | StoreVerb::Remove { entries } = verb
        && let Some(fault) = unknown(&ShownNames::of(&top, &maps), entries)
    {
        output::error(&fault, Some("`layered-template store list` shows what is stored"));
        return status::USAGE;
    }
    let lxcpaths = [lxcpath::default(&caller)];
    let names = ShownNames::of(&top, &maps);
    let mut worst = 0;
    if let StoreVerb::List { format: ReportFormat::Text } = verb {
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
        StoreVerb::Gc { forget } if *forget || store.place().symlink_metadata().is_err() => {
            if store.abandon()? {
                output::say(&format!(
                    "forgotten: what is stored for the id map `{map}`; its trees stay on the disk \
                     until root removes them: rm -r {place}"
                ));
            }
            return Ok(0);
        }
        StoreVerb::List { format } => {
            output::say(&format!("warning: {fault}\nhint: {hint}"));
            return list(store, lxcpaths, *format, names);
        }
        StoreVerb::Verify { entries } | StoreVerb::Remove { entries } if !is_meant(entries)? => {
            return Ok(0);
        }
        _ => output::error(&fault, Some(hint)),
    }
    Ok(status::STORE)
}

fn of_map(verb: &StoreVerb, store: &Store, lxcpaths: &[PathBuf], names: &ShownNames) -> u8 {
    let done = match verb {
        StoreVerb::List { format } => {
            lock(store, false).and_then(|_held| list(store, lxcpaths, *format, names))
        }
        StoreVerb::Verify { entries } => verify(store, entries, names),
        StoreVerb::Gc { forget } => clean(store, lxcpaths, *forget),
        StoreVerb::Remove { entries } => remove(store, lxcpaths, entries, names),
    };
    done.unwrap_or_else(|error| {
        let (top, map) = (store.top().display(), store.map());
        output::error(&format!("the store `{top}`, id map `{map}`: {error}"), None);
        status::STORE
    })
}

/// Takes the store's lock, and says what it waits for.
fn lock(store: &Store, alone: bool) -> io::Result<Lock> {
    let gate = store.gate()?;
    let lock = store.lock()?;
    let mut told = false;
    // Whoever has the gate may wait for a run that this is part of.
    let is_within = template::held().contains(&lock.token()?);
    let locks = if is_within { vec![&lock] } else { vec![&gate, &lock] };
    for one in locks {
        while !(if alone { one.take()? } else { one.share()? }) {
            if alone && is_within {
                return Err(io::Error::other("a run that this is part of uses the store"));
            }
            if !std::mem::replace(&mut told, true) {
                output::say("the store is in use; waiting");
            }
            sleep(PATIENCE);
        }
    }
    Ok(lock)
}

fn verify(store: &Store, given: &[String], names: &ShownNames) -> io::Result<u8> {
    let _held = lock(store, false)?;
    let mut status = 0;
    for id in store.entries()?.into_iter().filter(|id| is_given(*id, given)) {
        let findings = store::verify(store, id).map_err(|error| {
            let id = names.name(id);
            io::Error::new(error.kind(), format!("{id} cannot be looked through: {error}"))
        })?;
        if findings.is_empty() {
            output::print(|to| writeln!(to, "{}  sound", names.name(id)))?;
            continue;
        }
        status = FINDINGS;
        output::print(|to| {
            let shown = findings.iter().take(MOST_FINDINGS);
            shown.into_iter().try_for_each(|line| writeln!(to, "{}  {line}", names.name(id)))?;
            match findings.len().saturating_sub(MOST_FINDINGS) {
                0 => Ok(()),
                more => writeln!(to, "{}  and {more} more", names.name(id)),
            }
        })?;
    }
    if status == FINDINGS {
        output::say(
            "hint: `layered-template store remove` removes an entry; the next run makes it",
        );
    }
    Ok(status)
}

fn clean(store: &Store, lxcpaths: &[PathBuf], forget: bool) -> io::Result<u8> {
    let top = store.top();
    let _held = lock(store, true)?;
    let roots = top.join("roots");
    if !forget && !roots.exists() && !store.entries()?.is_empty() {
        return Err(io::Error::other(format!(
            "`{}` is gone, which says what containers stand on; without it, all that none is found \
             on goes with `--forget`",
            roots.display()
        )));
    }
    // Nobody comes to stand on anything while the lock is held.
    let mut users = Referrers::find(top, lxcpaths)?;
    for root in users.unreachable.iter().filter(|root| root.map == store.map()) {
        let config = root.config.display();
        output::say(&match forget {
            true => format!("forgotten: {config}"),
            false => {
                let fault = match root.config.is_file() {
                    true => "does not say what it stands on: that",
                    false => "cannot be reached: what it stands on",
                };
                format!("`{config}` {fault} stays, unless `--forget` is given")
            }
        });
    }
    if forget {
        store::forget(store, &mut users)?;
    }
    let cleaned = store::clean(store, &users)?;
    let count = cleaned.entries.len();
    let plural = if count == 1 { "entry" } else { "entries" };
    let bytes = bytes(cleaned.bytes);
    let rubbish = match cleaned.rubbish {
        0 => String::new(),
        1 => ", and what a run that was killed has left".to_owned(),
        count => format!(", and what {count} runs that were killed have left"),
    };
    output::print(|to| writeln!(to, "removed {count} {plural}, {bytes}{rubbish}"))?;
    for error in &cleaned.stuck {
        output::error(&format!("what nobody needs cannot be removed: {error}"), None);
    }
    Ok(if cleaned.stuck.is_empty() { 0 } else { status::STORE })
}

fn remove(
    store: &Store,
    lxcpaths: &[PathBuf],
    given: &[String],
    names: &ShownNames,
) -> io::Result<u8> {
    let _held = lock(store, true)?;
    let users = Referrers::find(store.top(), lxcpaths)?;
    for id in store.entries()?.into_iter().filter(|id| !given.is_empty() && is_given(*id, given)) {
        if users.needs(id) {
            let by: Vec<_> = users.of.get(&id).into_iter().flatten().collect();
            let by = by.first().map(|path| format!(": `{}`", path.display())).unwrap_or_default();
            let message = format!("{} stays: a container stands on it{by}", names.name(id));
            return Err(io::Error::other(message));
        }
        let bytes = bytes(store::remove(store, id)?);
        output::print(|to| writeln!(to, "removed {}, {bytes}", names.name(id)))?;
    }
    Ok(0)
}

fn is_given(id: EntryId, given: &[String]) -> bool {
    given.is_empty() || given.iter().any(|text| id.is_named(text))
}

/// Shows a number of bytes to two digits or so.
fn bytes(bytes: u64) -> String {
    let mut value = bytes;
    for unit in ["B", "KiB", "MiB", "GiB"] {
        if value < 10_000 {
            return format!("{value} {unit}");
        }
        value = value.div_ceil(1024);
    }
    format!("{value} TiB")
}
