//! `store`: looks after the layer store.

use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::thread::sleep;
use std::time::Duration;

use super::arguments::{ReportFormat, StoreVerb};
use super::output;
use crate::execute::status;
use crate::host::caller::Caller;
use crate::host::{child, files, lxcpath, template, userns};
use crate::plan::EntryId;
use crate::shell;
use crate::store::tree::{self, Usage};
use crate::store::{self, Entry, Lock, Store, Users};

/// The exit status of findings.
const FINDINGS: u8 = 1;

/// How many findings of an entry are shown.
const MOST_FINDINGS: usize = 50;

/// How often it is looked whether runs have done with the store.
const PATIENCE: Duration = Duration::from_millis(100);

pub(super) fn main(verb: &StoreVerb) -> u8 {
    let caller = Caller::observe();
    let Some(top) = store::directory(&caller) else {
        output::error("no directory of a store is known: there is no home", None);
        return status::STORE;
    };
    let maps = Store::maps(&top);
    if let StoreVerb::Verify { entries } | StoreVerb::Remove { entries } = verb
        && let Some(fault) = unknown(&top, &maps, entries)
    {
        output::error(&fault, Some("`layered-template store list` shows what is stored"));
        return status::USAGE;
    }
    let lxcpaths = [lxcpath::default(&caller)];
    let mut worst = 0;
    if let StoreVerb::List { format: ReportFormat::Text } = verb {
        worst = output::printed(0, |to| to.write_all(HEADER.as_bytes()));
    }
    for map in maps {
        let within = || of_map(verb, &top, &map, &lxcpaths);
        worst = worst.max(match in_map(&caller, &map, within) {
            Ok(status) => status,
            Err(error) => {
                let message = format!("what is stored for the id map `{map}`: {error}");
                output::error(&message, None);
                status::STORE
            }
        });
    }
    worst
}

const HEADER: &str =
    "ENTRY         LAYER                         SIZE    SHARED  AGE   USERS  ROLE\n";

/// Says which entry is none.
fn unknown(top: &Path, maps: &[String], given: &[String]) -> Option<String> {
    let all: Vec<String> = maps
        .iter()
        .flat_map(|map| Store::new(top, map).entries().unwrap_or_default())
        .map(|id| id.to_string())
        .collect();
    given.iter().find_map(|prefix| {
        let hits = all.iter().filter(|name| name.starts_with(prefix.as_str())).count();
        let shown = shell::word(prefix);
        match hits {
            0 => Some(format!("nothing that is stored is named {shown}")),
            1 => None,
            _ => Some(format!("{hits} entries are named {shown}…; give more of the name")),
        }
    })
}

/// Runs something where the owners of trees are those that they were stored with: in a namespace of
/// the map's.
fn in_map(caller: &Caller, map: &str, work: impl FnOnce() -> u8) -> io::Result<u8> {
    let ids = store::ids_of(map).ok_or_else(|| io::Error::other("it is no id map's name"))?;
    // Who is behind a map already sees its own.
    if ids.is_none() || caller.map.is_some() {
        return Ok(work());
    }
    // A map of the caller alone needs nobody to write it.
    let ids = ids.filter(|ids| ids.users.count > 1);
    let ended: ExitStatus = userns::run_in(ids, status::STORE, work)?;
    Ok(child::code(ended))
}

fn of_map(verb: &StoreVerb, top: &Path, map: &str, lxcpaths: &[PathBuf]) -> u8 {
    let store = Store::new(top, map);
    let done = match verb {
        StoreVerb::List { format } => list(&store, top, lxcpaths, *format),
        StoreVerb::Verify { entries } => verify(&store, entries),
        StoreVerb::Gc { forget } => clean(&store, top, lxcpaths, *forget),
        StoreVerb::Remove { entries } => remove(&store, top, lxcpaths, entries),
    };
    done.unwrap_or_else(|error| {
        let message = format!("the store `{}`, id map `{map}`: {error}", top.display());
        output::error(&message, None);
        status::STORE
    })
}

/// Takes the store's lock, and says what it waits for.
fn lock(store: &Store, alone: bool) -> io::Result<Lock> {
    let gate = store.gate()?;
    let lock = store.lock()?;
    let mut told = false;
    // Whoever has the gate may wait for a run that this is part of.
    let is_within = template::held().contains(&lock.word()?);
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

/// What is shown of an entry.
#[derive(serde::Serialize)]
struct Shown {
    entry: String,
    layer: String,
    role: String,
    manifest: String,
    /// In bytes of disk.
    alone: u64,
    shared: u64,
    /// In seconds.
    age: u64,
    users: Vec<String>,
}

fn list(store: &Store, top: &Path, lxcpaths: &[PathBuf], format: ReportFormat) -> io::Result<u8> {
    let _held = lock(store, false)?;
    let users = Users::find(top, lxcpaths)?;
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let now = u64::try_from(now.unwrap_or_default().as_millis()).unwrap_or(u64::MAX);
    for id in store.entries()? {
        let entry = Entry::read(store, id);
        let tree = files::open_directory(&store.rootfs(id));
        let Usage { alone, shared } =
            tree.and_then(|tree| tree::usage(tree.as_fd())).unwrap_or_default();
        let users = users.of.get(&id).into_iter().flatten();
        // A running container is one of those whose configs are known, unless none is.
        let (mounts, configs): (Vec<_>, Vec<_>) = users.partition(|path| path.starts_with("/proc"));
        let users = if configs.is_empty() { mounts } else { configs };
        let made_at = entry.as_ref().map_or(id.generation, |entry| entry.made_at);
        let (layer, role, manifest) = match &entry {
            Ok(entry) => (
                entry.made.slot.replace('`', ""),
                entry.made.role.clone().unwrap_or_default(),
                entry.made.manifest.display().to_string(),
            ),
            Err(error) => (format!("({error})"), String::new(), String::new()),
        };
        let shown = Shown {
            entry: id.to_string(),
            layer,
            role,
            manifest,
            alone,
            shared,
            age: now.saturating_sub(made_at) / 1000,
            users: users.iter().map(|path| path.display().to_string()).collect(),
        };
        output::print(|to| match format {
            ReportFormat::Json => {
                serde_json::to_writer(&mut *to, &shown)?;
                to.write_all(b"\n")
            }
            ReportFormat::Text => {
                let name = id.short();
                let layer = shell::one_line(&shown.layer);
                let (alone, shared) = (bytes(alone), bytes(shared));
                let (age, count) = (self::age(shown.age), shown.users.len());
                let role = if shown.role.is_empty() { &shown.manifest } else { &shown.role };
                let role = shell::one_line(role);
                writeln!(
                    to,
                    "{name}  {layer:26} {alone:>8}  {shared:>8}  {age:>4}  {count:>5}  {role}"
                )
            }
        })?;
    }
    Ok(0)
}

fn verify(store: &Store, given: &[String]) -> io::Result<u8> {
    let _held = lock(store, false)?;
    let mut status = 0;
    for id in store.entries()?.into_iter().filter(|id| is_given(*id, given)) {
        let findings = store::verify(store, id).map_err(|error| {
            let id = id.short();
            io::Error::new(error.kind(), format!("{id} cannot be looked through: {error}"))
        })?;
        if findings.is_empty() {
            output::print(|to| writeln!(to, "{}  sound", id.short()))?;
            continue;
        }
        status = FINDINGS;
        output::print(|to| {
            let shown = findings.iter().take(MOST_FINDINGS);
            shown.into_iter().try_for_each(|line| writeln!(to, "{}  {line}", id.short()))?;
            match findings.len().saturating_sub(MOST_FINDINGS) {
                0 => Ok(()),
                more => writeln!(to, "{}  and {more} more", id.short()),
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

fn clean(store: &Store, top: &Path, lxcpaths: &[PathBuf], forget: bool) -> io::Result<u8> {
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
    let mut users = Users::find(top, lxcpaths)?;
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

fn remove(store: &Store, top: &Path, lxcpaths: &[PathBuf], given: &[String]) -> io::Result<u8> {
    let _held = lock(store, true)?;
    let users = Users::find(top, lxcpaths)?;
    for id in store.entries()?.into_iter().filter(|id| !given.is_empty() && is_given(*id, given)) {
        if users.needs(id) {
            let by: Vec<_> = users.of.get(&id).into_iter().flatten().collect();
            let by = by.first().map(|path| format!(": `{}`", path.display())).unwrap_or_default();
            let message = format!("{} stays: a container stands on it{by}", id.short());
            return Err(io::Error::other(message));
        }
        let bytes = bytes(store::remove(store, id)?);
        output::print(|to| writeln!(to, "removed {}, {bytes}", id.short()))?;
    }
    Ok(0)
}

fn is_given(id: EntryId, given: &[String]) -> bool {
    let name = id.to_string();
    given.is_empty() || given.iter().any(|prefix| name.starts_with(prefix.as_str()))
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

/// Shows a number of seconds in its largest unit.
fn age(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds}s"),
        120..7200 => format!("{}m", seconds / 60),
        7200..172_800 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86_400),
    }
}
