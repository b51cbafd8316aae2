//! What `store list` shows.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use crate::cli::amount::{age, fitted, short_bytes};
use crate::cli::arguments::ReportFormat;
use crate::cli::output;
use crate::host::files;
use crate::plan::{self, EntryId};
use crate::shell;
use crate::store::{Entry, Referrers, Store};
use crate::tree;

/// The least room for the name of an entry, for a layer and for a role, in characters.
const LEAST_NAME: usize = 8;
const LEAST_LAYER: usize = 8;
const LEAST_ROLE: usize = 8;

/// The room for a role where a layer has enough, and the most room for a layer.
const USUAL_ROLE: usize = 18;
const MOST_LAYER: usize = 24;

/// What stands above the number of containers that use an entry; the number has as much room.
const USED: &str = "USED";

/// What is said of an entry that runs do not find.
const SUPERSEDED: &str = "(superseded)";

/// What stands between a layer and the id map: sizes, age and users.
const NUMBERS: usize = 6 + 2 + 6 + 2 + 4 + 2 + USED.len();

/// What entries and id maps are shown as.
pub(super) struct ShownNames {
    pub(super) shown: BTreeMap<EntryId, String>,
    /// The id maps as they are shown: by the first of their ids, where that tells them apart.
    maps: BTreeMap<String, String>,
    /// How wide the columns of names, layers and id maps are, and how much room is left for a role.
    widths: [usize; 4],
}

impl ShownNames {
    pub(super) fn of(top: &Path, maps: &[String]) -> io::Result<Self> {
        let all = maps.iter().map(|map| Store::new(top, map).entries());
        let shown = plan::entry_names(&all.collect::<io::Result<Vec<_>>>()?.concat());
        let first = |map: &str| map.split('-').next().unwrap_or(map).to_owned();
        let firsts: BTreeSet<_> = maps.iter().map(|map| first(map)).collect();
        let are_apart = firsts.len() == maps.len();
        let short = |map: &String| if are_apart { first(map) } else { map.clone() };
        let maps: BTreeMap<_, _> = maps.iter().map(|map| (map.clone(), short(map))).collect();
        let longest = |texts: &mut dyn Iterator<Item = &String>, title: &str| {
            texts.map(String::len).max().unwrap_or_default().max(title.len())
        };
        let name = longest(&mut shown.values(), "ENTRY").max(LEAST_NAME);
        let map = longest(&mut maps.values(), "MAP");
        let room = output::columns().saturating_sub(name + 2 + 2 + NUMBERS + 2 + map + 2);
        let layer = room.saturating_sub(USUAL_ROLE).clamp(LEAST_LAYER, MOST_LAYER);
        let role = room.saturating_sub(layer).max(LEAST_ROLE);
        Ok(Self { shown, maps, widths: [name, layer, map, role] })
    }

    /// Returns that of an entry, which may have come by now.
    pub(super) fn name(&self, id: EntryId) -> String {
        self.shown.get(&id).cloned().unwrap_or_else(|| id.to_string())
    }

    pub(super) fn header(&self, to: &mut dyn io::Write) -> io::Result<()> {
        let [name, layer, map, _] = self.widths;
        writeln!(
            to,
            "{:name$}  {:layer$}  {:>6}  {:>6}  {:>4}  {USED}  {:map$}  ROLE",
            "ENTRY", "LAYER", "SIZE", "SHARED", "AGE", "MAP"
        )
    }

    /// Writes the line of an entry.
    fn line(&self, id: EntryId, shown: &Shown, to: &mut dyn io::Write) -> io::Result<()> {
        let [name, layer_width, map, room] = self.widths;
        let size = |size: Option<u64>| size.map_or_else(|| "?".to_owned(), short_bytes);
        let (alone, shared) = (size(shown.alone), size(shown.shared));
        let (age, count) = (age(shown.age), shown.users.len());
        // Elsewhere than on a terminal nothing is cut.
        let [most_of_layer, room] = [layer_width, room].map(output::most_of_table);
        let layer = fitted(&short_label(&shown.layer), most_of_layer);
        let role = |most: usize| match shown.role.is_empty() {
            true => fitted_path(&shown.manifest, most),
            false => fitted(&shown.role, most),
        };
        let role = match room.saturating_sub(SUPERSEDED.len() + 1) {
            _ if !shown.superseded => role(room),
            left if left < LEAST_ROLE => SUPERSEDED.to_owned(),
            left => format!("{SUPERSEDED} {}", role(left)),
        };
        write!(to, "{:name$}  {layer:layer_width$}  {alone:>6}  {shared:>6}  ", self.name(id))?;
        let shown_map = self.maps.get(&shown.map).unwrap_or(&shown.map);
        writeln!(to, "{age:>4}  {count:>4}  {shown_map:map$}  {role}")
    }
}

/// Returns a path on one line, in so many characters at the most: of a longer one the end.
fn fitted_path(path: &str, most: usize) -> String {
    let path = shell::one_line(path);
    match path.chars().count().checked_sub(most) {
        None | Some(0) => path,
        Some(surplus) => "...".chars().chain(path.chars().skip(surplus + 3)).collect(),
    }
}

/// Shortens what says of which layer an entry is.
fn short_label(label: &str) -> String {
    match label.strip_prefix("template of layer ") {
        Some(layer) => format!("{layer} (template)"),
        None => label.strip_prefix("layer ").unwrap_or(label).to_owned(),
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
            Err(error) => {
                (shell::reason(&format!("({error})")).into_owned(), String::new(), String::new())
            }
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
            ReportFormat::Text => output::print(|to| names.line(id, &shown, to)),
        }?;
    }
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_long_path_the_end_is_shown() {
        for (path, most, expected) in [
            ("/srv/roles/web.toml", 19, "/srv/roles/web.toml"),
            ("/srv/roles/web.toml", 17, "...roles/web.toml"),
            ("/srv/roles/web.toml", 11, "...web.toml"),
        ] {
            assert_eq!(fitted_path(path, most), expected, "{most}");
        }
    }
}
