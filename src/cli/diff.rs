//! `diff`: what has changed in a container since it was made, or what a new run would make otherwise.

use std::fs;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};
use similar::{ChangeTag, TextDiff};

use super::arguments::{DiffArguments, ReportFormat};
use super::build::interrupted;
use super::containers::{self, Judge};
use super::create::enter;
use super::mapping::{IN_PIECES, Mapping};
use super::output;
use super::request::target;
use super::start::InitialConfig;
use crate::cache::{DELTA, Names};
use crate::digest::Digest;
use crate::execute::status;
use crate::host::caller::Caller;
use crate::host::files;
use crate::host::signals::Signals;
use crate::lxc::config;
use crate::observe::container::Container;
use crate::plan::{EntryId, StorageMode};
use crate::record::{self, Record, is_volatile};
use crate::shell;
use crate::store::{self, Entry, Store};
use crate::tree::{
    Drift, Form, Interrupt, ListedFile, ListedKind, Listing, Made, Marks, OccurrenceKind, Reader,
    drift,
};

/// The exit status where anything differs.
const DIFFERS: u8 = 1;

/// The longest text whose lines are compared, in bytes.
const LONGEST: u64 = 1 << 20;

pub(super) fn main(arguments: &DiffArguments) -> u8 {
    match diff(arguments) {
        Ok(status) => status,
        Err(message) => {
            output::error(&message, None);
            status::USAGE
        }
    }
}

fn diff(arguments: &DiffArguments) -> Result<u8, String> {
    let caller = Caller::observe();
    let container = containers::named(&arguments.container, &arguments.lxcpath, &caller)?;
    let path = containers::shown_path(&container.path);
    let record = container.record.as_ref();
    let record =
        record.map_err(|error| format!("the record of `{path}` cannot be used: {error}"))?;
    if let Some(manifest) = &arguments.manifest {
        let mut judge = Judge::new(caller);
        let changes = judge.changes(&container, record, manifest)?;
        return Ok(tell_of_role(&changes, arguments.format));
    }
    let place = Place::find(&container, record, &caller)?;
    enter(place.mapping)?;
    let mut signals =
        Signals::keep().map_err(|error| format!("signals cannot be kept: {error}"))?;
    let found = place.drift(Interrupt::of(signals.as_fd()));
    let found = match found {
        Ok(found) => found,
        Err(error) => {
            let why = format!("`{path}` is not compared");
            return match interrupted(&mut signals, &why) {
                Some(status) => Ok(status),
                None => Err(format!("`{path}` cannot be compared: {error}")),
            };
        }
    };
    let is_left_out = |drift: &Drift| {
        !arguments.all && (is_of_every_system(drift) || record.is_state(&drift.path))
    };
    let left_out = found.iter().filter(|drift| is_left_out(drift)).count();
    let found: Vec<Drift> = found.into_iter().filter(|drift| !is_left_out(drift)).collect();
    let lines = config_changes(record, &container.config());
    let ends_with = if found.is_empty() && lines.is_empty() { 0 } else { DIFFERS };
    Ok(match arguments.format {
        ReportFormat::Json => output::printed_data(ends_with, |to| {
            let document = json!({
                "files": found.iter().map(json_of).collect::<Vec<_>>(),
                "config": lines.iter().map(|(sign, line)| json!({
                    "change": if *sign == '+' { "added" } else { "removed" },
                    "line": line,
                })).collect::<Vec<_>>(),
                "left_out": left_out,
            });
            serde_json::to_writer_pretty(&mut *to, &document)?;
            to.write_all(b"\n")
        }),
        ReportFormat::Text => output::printed(ends_with, |to| {
            for drift in &found {
                line(drift, to)?;
                if arguments.patch {
                    place.patch(drift, to)?;
                }
            }
            for (sign, line) in &lines {
                let change = if *sign == '+' { "A" } else { "D" };
                writeln!(to, "{change}  config: {}", shell::one_line(line))?;
            }
            if place.base.is_none() {
                let why = match record.stored {
                    None => "all of it was made in the container",
                    Some(_) => "what it was made of is not stored any more",
                };
                writeln!(
                    to,
                    "{why}: only what was written since is known, and not what was there"
                )?;
            }
            let why = match record.layers.iter().all(|layer| layer.state.is_empty()) {
                true => "that every system writes",
                false => "that every system writes, or that are state,",
            };
            if left_out > 0 {
                let (are, it) = if left_out == 1 { ("file", "it") } else { ("files", "them") };
                writeln!(to, "{left_out} {are} {why} left out; `--all` shows {it}")?;
            }
            Ok(())
        }),
    })
}

/// Tells whether every running system changes something so: not what it is, nor who may do what by it.
fn is_of_every_system(drift: &Drift) -> bool {
    let sets_id = drift.now.as_ref().is_some_and(|now| now.mode & 0o6000 != 0);
    is_volatile(&drift.path) && !sets_id && !drift.changed.contains(&"kind")
}

/// Tells what a new run would make otherwise, and returns the exit status.
fn tell_of_role(changes: &[String], format: ReportFormat) -> u8 {
    let ends_with = if changes.is_empty() { 0 } else { DIFFERS };
    match format {
        ReportFormat::Json => output::printed_data(ends_with, |to| {
            serde_json::to_writer_pretty(&mut *to, &json!({ "role": changes }))?;
            to.write_all(b"\n")
        }),
        ReportFormat::Text => output::printed(ends_with, |to| {
            changes.iter().try_for_each(|change| writeln!(to, "{}", shell::one_line(change)))
        }),
    }
}

/// Where a container is, and what it was made of.
struct Place {
    /// The tree that changes: of a container on an overlay, its upper directory.
    tree: PathBuf,
    upper: Option<Form>,
    /// When its making began, where that is known, and ended.
    begun: Option<(i64, i64)>,
    since: (i64, i64),
    mapping: Mapping,
    /// What it was made of, where that is still stored.
    base: Option<Base>,
}

/// What a container was made of.
struct Base {
    entry: Entry,
    listing: Listing,
    rootfs: PathBuf,
    names: Names,
}

impl Place {
    fn find(container: &Container, record: &Record, caller: &Caller) -> Result<Self, String> {
        let start = InitialConfig::read(Some(&container.path.join("config")), caller)?;
        if start.mapping == Mapping::Pieces {
            return Err(IN_PIECES.to_owned());
        }
        let written = fs::symlink_metadata(container.path.join(record::NAME));
        let written = written.map_err(|error| format!("its record: {error}"))?;
        let (begun, ended) = record.times();
        let stamp = |time: Duration| {
            let seconds = i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
            (seconds, i64::from(time.subsec_nanos()))
        };
        let since = ended.map_or((written.ctime(), written.ctime_nsec()), stamp);
        let is_overlay = record.storage() == StorageMode::Overlay;
        let is_mapped = start.mapping != Mapping::None || caller.is_mapped_root();
        let form = if is_mapped { Form::User } else { Form::Trusted };
        let tree = match is_overlay {
            true => container.path.join(DELTA),
            false => rootfs_of(container),
        };
        let ids = start.ids(caller);
        let store = store::directory(caller).zip(ids.map).map(|(top, map)| Store::new(&top, &map));
        let entry = record.stored.as_ref().and_then(|stored| EntryId::parse(&stored.entry));
        let base = store.zip(entry).and_then(|(store, id)| {
            let entry = Entry::read(&store, id).ok()?;
            let listing = entry.list(&store).ok()?;
            let mapped = start.mapping.mapped();
            let target = target(&container.name, &container.path, mapped, Vec::new());
            let names = Names::of(&entry.lxcpaths, &target);
            Some(Base { entry, listing, rootfs: store.rootfs(id), names })
        });
        if is_overlay && base.is_none() {
            return Err("what it stands on cannot be read in the store".to_owned());
        }
        Ok(Self {
            tree,
            upper: is_overlay.then_some(form),
            begun: begun.map(stamp),
            since,
            mapping: start.mapping,
            base,
        })
    }

    fn drift(&self, interrupt: Interrupt<'_>) -> io::Result<Vec<Drift>> {
        let tree = files::open_real_directory(&self.tree)?;
        let base = self.base.as_ref().map(|base| &base.listing);
        let Self { upper, begun, since, .. } = *self;
        let made = Made { base, upper, begun, since };
        let mut found = drift(tree.as_fd(), made, interrupt)?;
        // Of a container that was put back from elsewhere, everything is later than its record.
        found.retain(|drift| !self.is_only_named(drift));
        Ok(found)
    }

    /// Tells whether a file differs only in that the container's name stands in it.
    fn is_only_named(&self, drift: &Drift) -> bool {
        let Some(base) = &self.base else { return false };
        let mut places = base.entry.places.iter();
        let is_place =
            places.any(|place| place.kind == OccurrenceKind::Text && place.path == drift.path);
        if !is_place || drift.changed != ["bytes"] {
            return false;
        }
        let digest = drift.now.as_ref().and_then(|now| match now.kind {
            ListedKind::File { digest, .. } => Some(digest),
            _ => None,
        });
        let before = self.before(drift).ok().flatten();
        before.is_some_and(|text| digest == Some(Digest::of(&base.names.put_into(&text))))
    }

    /// Reads a file as it was, with the placeholder in it.
    fn before(&self, drift: &Drift) -> io::Result<Option<Vec<u8>>> {
        let (Some(base), Some(before)) = (&self.base, &drift.before) else { return Ok(None) };
        read(&base.rootfs, store::stored_marks(), &drift.path, before)
    }

    /// Writes how the lines of a text have changed.
    fn patch(&self, drift: &Drift, to: &mut dyn Write) -> io::Result<()> {
        // What was there before is not known.
        if drift.before.is_none() && !drift.is_new {
            return Ok(());
        }
        let is_text_changed = drift.before.is_none()
            || drift.now.is_none()
            || drift.changed.iter().any(|what| ["bytes", "kind"].contains(what));
        if !is_text_changed {
            return Ok(());
        }
        let before = self.before(drift)?;
        let before = before.map(|text| match &self.base {
            Some(base) => base.names.put_into(&text),
            None => text,
        });
        let now = match &drift.now {
            Some(now) => {
                let marks = self.upper.map_or(Marks::Plain, Marks::Escaped);
                read(&self.tree, marks, &drift.path, now)?
            }
            None => None,
        };
        let text = |bytes: Option<Vec<u8>>| String::from_utf8(bytes.unwrap_or_default()).ok();
        let (Some(before), Some(now)) = (text(before), text(now)) else { return Ok(()) };
        if before.contains('\0') || now.contains('\0') {
            return Ok(());
        }
        let path = shell::one_line(&String::from_utf8_lossy(&drift.path));
        let side = |letter: char, is_there: bool| match is_there {
            true => format!("{letter}/{path}"),
            false => "/dev/null".to_owned(),
        };
        let (old, new) = (side('a', drift.before.is_some()), side('b', drift.now.is_some()));
        let lines = TextDiff::from_lines(&before, &now);
        write!(to, "{}", lines.unified_diff().header(&old, &new))
    }
}

/// Reads a file of a tree that may change; nothing, where it is no short file.
fn read(
    tree: &Path,
    marks: Marks,
    path: &[u8],
    listed: &ListedFile,
) -> io::Result<Option<Vec<u8>>> {
    if !matches!(listed.kind, ListedKind::File { size, .. } if size <= LONGEST) {
        return Ok(None);
    }
    let tree = files::open_real_directory(tree)?;
    let file = Reader::new(tree.as_fd(), marks).file(path)?;
    if !file.metadata()?.is_file() {
        return Ok(None);
    }
    let mut bytes = Vec::new();
    file.take(LONGEST + 1).read_to_end(&mut bytes)?;
    Ok(Some(bytes))
}

/// Returns the rootfs that a container's config names.
fn rootfs_of(container: &Container) -> PathBuf {
    let text = String::from_utf8_lossy(&container.config()).into_owned();
    let named = config::last_value(&text, "lxc.rootfs.path").map(str::to_owned);
    let named = named.map(|path| path.strip_prefix("dir:").unwrap_or(&path).to_owned());
    named
        .map(PathBuf::from)
        .filter(|path| path.is_absolute())
        .unwrap_or_else(|| container.path.join("rootfs"))
}

/// Returns the lines of config that have come (`+`) or gone (`-`) since the record.
fn config_changes(record: &Record, now: &[u8]) -> Vec<(char, String)> {
    let Some(before) = &record.config else { return Vec::new() };
    let now = config::effective(&String::from_utf8_lossy(now));
    // The order counts: the last of several lines is the one that holds.
    let before: Vec<&str> = before.iter().map(String::as_str).collect();
    let now: Vec<&str> = now.iter().map(String::as_str).collect();
    let lines = TextDiff::from_slices(&before, &now);
    let changes = lines.iter_all_changes().filter_map(|change| match change.tag() {
        ChangeTag::Equal => None,
        ChangeTag::Delete => Some(('-', change.value().to_owned())),
        ChangeTag::Insert => Some(('+', change.value().to_owned())),
    });
    changes.collect()
}

fn line(drift: &Drift, to: &mut dyn Write) -> io::Result<()> {
    let path = shell::word(format!("/{}", String::from_utf8_lossy(&drift.path)));
    let slash = |file: &Option<ListedFile>| match file.as_ref().map(|file| &file.kind) {
        Some(ListedKind::Directory) if path != "/" => "/",
        _ => "",
    };
    match (&drift.before, &drift.now) {
        (_, None) => writeln!(to, "D  {path}{}", slash(&drift.before)),
        (None, now) if drift.is_new => writeln!(to, "A  {path}{}", slash(now)),
        (None, now) => writeln!(to, "M  {path}{}", slash(now)),
        (Some(before), Some(now)) => {
            let what: Vec<String> =
                drift.changed.iter().map(|what| described(what, before, now)).collect();
            writeln!(to, "M  {path}{}: {}", slash(&drift.now), what.join(", "))
        }
    }
}

/// Says what has changed of something.
fn described(what: &str, before: &ListedFile, now: &ListedFile) -> String {
    match what {
        "mode" => format!("mode {:04o} → {:04o}", before.mode, now.mode),
        "owner" => {
            format!("owner {}:{} → {}:{}", before.uid, before.gid, now.uid, now.gid)
        }
        "kind" => format!("{} → {}", kind(before), kind(now)),
        "xattrs" => "attributes".to_owned(),
        other => other.to_owned(),
    }
}

fn kind(file: &ListedFile) -> &'static str {
    match file.kind {
        ListedKind::Directory => "directory",
        ListedKind::File { .. } => "file",
        ListedKind::Symlink { .. } => "symlink",
        ListedKind::BlockDevice(_) => "block device",
        ListedKind::CharacterDevice(_) => "character device",
        ListedKind::Fifo => "fifo",
        ListedKind::Socket => "socket",
    }
}

fn json_of(drift: &Drift) -> Value {
    let side = |file: &Option<ListedFile>| {
        file.as_ref().map(|file| {
            let digest = match &file.kind {
                ListedKind::File { digest, .. } => Some(*digest),
                _ => None,
            };
            json!({
                "kind": kind(file),
                "mode": format!("{:04o}", file.mode),
                "uid": file.uid,
                "gid": file.gid,
                "digest": digest,
            })
        })
    };
    json!({
        "path": format!("/{}", String::from_utf8_lossy(&drift.path)),
        "change": match (&drift.before, &drift.now) {
            (_, None) => "removed",
            (None, _) if drift.is_new => "added",
            _ => "changed",
        },
        "what": drift.changed,
        "before": side(&drift.before),
        "now": side(&drift.now),
    })
}
