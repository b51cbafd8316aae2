//! What `store list` shows.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use super::bytes;
use crate::cli::arguments::ReportFormat;
use crate::cli::output;
use crate::host::files;
use crate::plan::{self, EntryId};
use crate::shell;
use crate::store::{Entry, Referrers, Store};
use crate::tree;

/// The least room for the name of an entry, in characters.
const SHORTEST: usize = 12;

/// What entries and id maps are shown as.
pub(super) struct ShownNames {
    pub(super) shown: BTreeMap<EntryId, String>,
    /// The longest name of an entry, and that of an id map, in characters.
    widths: (usize, usize),
}

impl ShownNames {
    pub(super) fn of(top: &Path, maps: &[String]) -> Self {
        let all = maps.iter().map(|map| Store::new(top, map).entries().unwrap_or_default());
        let shown = plan::entry_names(&all.collect::<Vec<_>>().concat());
        let longest = |texts: &mut dyn Iterator<Item = &String>, title: &str| {
            texts.map(String::len).max().unwrap_or_default().max(title.len())
        };
        let entry = longest(&mut shown.values(), "ENTRY").max(SHORTEST);
        let widths = (entry, longest(&mut maps.iter(), "MAP"));
        Self { shown, widths }
    }

    /// Returns that of an entry, which may have come by now.
    pub(super) fn name(&self, id: EntryId) -> String {
        self.shown.get(&id).cloned().unwrap_or_else(|| id.to_string())
    }

    pub(super) fn header(&self, to: &mut dyn io::Write) -> io::Result<()> {
        let (entry, map) = self.widths;
        writeln!(
            to,
            "{:entry$}  {:26} {:>8}  {:>8}  {:>4}  {:>5}  {:map$}  ROLE",
            "ENTRY", "LAYER", "SIZE", "SHARED", "AGE", "USERS", "MAP"
        )
    }
}

/// What is shown of an entry.
#[derive(serde::Serialize)]
struct Shown {
    entry: String,
    layer: String,
    role: String,
    manifest: String,
    /// The id map of its tree.
    map: String,
    /// Whether runs find another in its place: something newer of its key, or of what it is built on.
    superseded: bool,
    /// In bytes of disk; `None` if the tree cannot be reached.
    alone: Option<u64>,
    shared: Option<u64>,
    /// In seconds.
    age: u64,
    users: Vec<String>,
}

/// Shows what is stored for an id map.
pub(super) fn list(
    store: &Store,
    lxcpaths: &[PathBuf],
    format: ReportFormat,
    names: &ShownNames,
) -> io::Result<u8> {
    let users = Referrers::find(store.top(), lxcpaths)?;
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let now = u64::try_from(now.unwrap_or_default().as_millis()).unwrap_or(u64::MAX);
    let ids = store.entries()?;
    // The oldest come first.
    let newest: BTreeMap<_, _> = ids.iter().map(|id| (id.key, id.generation)).collect();
    let mut superseded = BTreeSet::new();
    for id in ids {
        let entry = Entry::read(store, id);
        let parent = entry.as_ref().ok().and_then(|entry| entry.parent);
        if newest.get(&id.key) != Some(&id.generation)
            || parent.is_some_and(|parent| superseded.contains(&parent))
        {
            superseded.insert(id);
        }
        let tree = files::open_directory(&store.rootfs(id));
        let usage = tree.and_then(|tree| tree::usage(tree.as_fd())).ok();
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
            map: store.map().to_owned(),
            superseded: superseded.contains(&id),
            alone: usage.as_ref().map(|usage| usage.alone),
            shared: usage.as_ref().map(|usage| usage.shared),
            age: now.saturating_sub(made_at) / 1000,
            users: users.iter().map(|path| path.display().to_string()).collect(),
        };
        match format {
            ReportFormat::Json => output::print_json(|to| {
                serde_json::to_writer(&mut *to, &shown)?;
                to.write_all(b"\n")
            }),
            ReportFormat::Text => {
                output::print(|to| line(&names.name(id), names.widths, &shown, to))
            }
        }?;
    }
    Ok(0)
}

/// Writes the line of an entry.
fn line(
    name: &str,
    (entry, map): (usize, usize),
    shown: &Shown,
    to: &mut dyn io::Write,
) -> io::Result<()> {
    let layer = shell::one_line(&shown.layer);
    let size = |size: Option<u64>| size.map_or_else(|| "?".to_owned(), bytes);
    let (alone, shared) = (size(shown.alone), size(shown.shared));
    let (age, count) = (self::age(shown.age), shown.users.len());
    let role = if shown.role.is_empty() { &shown.manifest } else { &shown.role };
    let role = shell::one_line(role);
    let superseded = if shown.superseded { "  (superseded)" } else { "" };
    write!(to, "{name:entry$}  {layer:26} {alone:>8}  {shared:>8}  {age:>4}  {count:>5}  ")?;
    writeln!(to, "{:map$}  {role}{superseded}", shown.map)
}

/// Shows a number of seconds in its largest unit.
fn age(seconds: u64) -> String {
    let (count, unit) = crate::cache::in_largest_unit(seconds);
    format!("{count}{}", &unit[..1])
}
