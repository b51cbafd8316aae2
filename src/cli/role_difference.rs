//! What a new run of a role would change in a container that there is, drop by drop.

use std::io::{self, Write};
use std::mem;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::arguments::ReportFormat;
use super::container_tree::{Base, ContainerTree, LONGEST_TEXT, PathState, as_dropped};
use super::file_difference::{FileChange, FileDifference, FileState, patch};
use super::output;
use super::within::within;
use crate::digest::Digest;
use crate::host::files;
use crate::host::rootfs::Rootfs;
use crate::lxc::config;
use crate::manifest::{IfExists, LayerName};
use crate::plan::{Act, Bytes, Content, EntryKind, FileDrop, Plan};
use crate::record::{File, FileKind, LastDrops, Layer, Outcome, Record, RoleChange};
use crate::shell;
use crate::tree::{ListedFile, ListedKind};

/// What a new run of a role would change in a container.
#[derive(Debug, Clone, Default, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct RoleDifference {
    /// What of the role is not as it was when the container was made, layer by layer, but for what `files` has.
    pub(super) role: Vec<String>,
    /// What the role drops, or dropped, and the container has otherwise.
    pub(super) files: Vec<DropDifference>,
}

/// Something that a role drops, or dropped, and that a container has otherwise.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct DropDifference {
    /// What would change: `before` is the container as it is.
    #[serde(flatten)]
    pub(super) file: FileDifference,
    /// The layer that drops it.
    pub(super) layer: String,
    /// What is not as it was when the container was made.
    pub(super) cause: Cause,
    /// How its lines would change; nothing, where it is no text, or holds a secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) patch: Option<String>,
}

/// Why a container has something otherwise than its role.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Cause {
    /// The role makes something else of it now.
    Role,
    /// It was changed in the container.
    Container,
    /// No layer drops it any more. What the template or a step makes of it, a new run would leave.
    NoLongerDropped,
}

/// What a plan drops at a path.
struct Planned {
    layer: String,
    keeps: bool,
    /// Its bytes, where it has any that may be shown.
    bytes: Option<Bytes>,
    is_secret: bool,
}

/// What was found in the container, before it is compared line by line.
#[derive(Debug, Serialize, Deserialize)]
struct Finding {
    difference: DropDifference,
    /// The file's text in the container.
    before: Option<Vec<u8>>,
    /// Its text as the layer store has it, where the run would leave that.
    stored: Option<Vec<u8>>,
}

impl RoleDifference {
    /// Finds it. `made` is what the container was made by, and the config that it has; `superseded` the innermost
    /// stored layer that would be another one, and why.
    ///
    /// # Errors
    ///
    /// What keeps the container from being looked at.
    pub(super) fn find(
        tree: &ContainerTree,
        (record, config): (&Record, &[u8]),
        plan: &Plan,
        superseded: Option<(LayerName, Vec<String>)>,
    ) -> Result<Self, String> {
        let now = Record::of(plan, Outcome::default());
        let drops = drops_of(plan);
        let found = within(tree.mapping, || {
            look(tree, record, &drops).map_err(|error| format!("it cannot be compared: {error}"))
        })?;
        let mut files: Vec<_> = found.into_iter().map(|found| found.compared(&drops)).collect();
        // What the container gathers while it lives is its own.
        files.retain(|file| {
            file.cause != Cause::Container || !now.is_state(&file.file.path.as_bytes()[1..])
        });
        let mut changes = record.changes_to(&now);
        let is_shown = |change: &RoleChange| {
            change
                .path
                .as_ref()
                .is_some_and(|path| files.iter().any(|file| file.file.path == *path))
        };
        if let Some((layer, lines)) = superseded
            && !changes.iter().any(|change| change.layer.as_deref() == Some(layer.as_str()))
        {
            changes.extend(lines.into_iter().map(|text| RoleChange {
                layer: None,
                path: None,
                text,
            }));
        }
        changes.retain(|change| !is_shown(change));
        let mut role: Vec<String> = changes.into_iter().map(|change| change.text).collect();
        role.extend(missing_lines(record, &now, config));
        Ok(Self { role, files })
    }

    /// Tells whether a new run would change nothing.
    pub(super) fn is_empty(&self) -> bool {
        self.role.is_empty() && self.files.is_empty()
    }

    /// Writes it for people, with how the lines of texts would change if `patches` are asked for.
    pub(super) fn text(&self, patches: bool, to: &mut dyn Write) -> io::Result<()> {
        for line in &self.role {
            writeln!(to, "{}", shell::one_line(line))?;
        }
        for file in &self.files {
            writeln!(to, "{}", file.line())?;
            if patches && let Some(patch) = &file.patch {
                to.write_all(patch.as_bytes())?;
            }
        }
        Ok(())
    }

    /// Prints it, and returns the exit status: `differs`, if there is anything.
    pub(super) fn print(&self, differs: u8, format: ReportFormat, patches: bool) -> u8 {
        let ends_with = if self.is_empty() { 0 } else { differs };
        match format {
            ReportFormat::Json => output::printed_json(ends_with, |to| {
                serde_json::to_writer_pretty(&mut *to, self)?;
                to.write_all(b"\n")
            }),
            ReportFormat::Text => output::printed(ends_with, |to| self.text(patches, to)),
        }
    }
}

impl DropDifference {
    /// Returns it in a line.
    pub(super) fn line(&self) -> String {
        format!("{}  ({})", self.file.line(), self.why())
    }

    /// Says which layer it is of, and why it would change.
    pub(super) fn why(&self) -> String {
        let layer = shell::one_line(&self.layer);
        match self.cause {
            Cause::Role => format!("layer {layer}"),
            Cause::Container => format!("layer {layer}, changed in the container"),
            Cause::NoLongerDropped => format!("layer {layer} no longer drops it"),
        }
    }
}

/// Returns what is dropped last at each path by a plan.
fn drops_of(plan: &Plan) -> LastDrops<Planned> {
    let mut drops = LastDrops::new();
    let mut layers: Vec<_> = plan.layers().collect();
    layers.reverse();
    for layer in layers {
        let dropped = layer.after.iter().filter_map(|act| match act {
            Act::Drop(drop) => Some(drop),
            Act::Config(_) | Act::Step(_) => None,
        });
        for drop in dropped {
            let keeps = drop.if_exists == IfExists::Keep;
            let is_secret = matches!(drop.content, Content::Rendered { .. });
            for (number, file) in File::of(drop).into_iter().enumerate() {
                let (layer, bytes) = (layer.name.to_string(), bytes_of(drop, number));
                drops.add(file, keeps, Planned { layer, keeps, bytes, is_secret });
            }
        }
    }
    drops
}

/// Returns where the bytes come from of one of the files that a drop makes.
fn bytes_of(drop: &FileDrop, number: usize) -> Option<Bytes> {
    match &drop.content {
        Content::File { source, .. } => Some(source.clone()),
        Content::Tree { source, entries, .. } => match &entries[number].kind {
            EntryKind::File { .. } => Some(Bytes::Source(source.join(&entries[number].path))),
            EntryKind::Directory { .. } | EntryKind::Symlink { .. } => None,
        },
        _ => None,
    }
}

/// What was dropped at a path when the container was made: by which layer, and whether that was stored.
type RecordedDrop<'a> = (File, (&'a str, bool));

/// Finds what a container has otherwise.
fn look(
    tree: &ContainerTree,
    record: &Record,
    drops: &LastDrops<Planned>,
) -> io::Result<Vec<Finding>> {
    let mut then = LastDrops::new();
    for (layer, is_stored) in record.layers() {
        for file in &layer.files {
            then.add(file.clone(), false, (layer.name.as_str(), is_stored));
        }
    }
    let is_gone = |(file, _): &&RecordedDrop<'_>| {
        drops.get(&file.path).is_none() && matches!(file.kind, FileKind::File | FileKind::Symlink)
    };
    let gone: Vec<&RecordedDrop<'_>> = then.iter().filter(is_gone).collect();
    if gone.is_empty() && drops.iter().next().is_none() {
        return Ok(Vec::new());
    }
    let stored = tree.base.as_ref().map(|base| Ok::<_, io::Error>((base, base.rootfs()?)));
    let comparison = Comparison { tree, rootfs: tree.rootfs()?, stored: stored.transpose()? };
    let mut found = Vec::new();
    for (file, planned) in drops.iter() {
        found.extend(comparison.compare(file, planned, then.get(&file.path))?);
    }
    for (file, (layer, _)) in gone {
        found.extend(comparison.no_longer(file, layer)?);
    }
    found.sort_by(|a, b| a.difference.file.path.cmp(&b.difference.file.path));
    Ok(found)
}

/// A container that is compared with its role, by the paths of drops.
struct Comparison<'a> {
    tree: &'a ContainerTree,
    rootfs: Rootfs,
    /// What it was made of.
    stored: Option<(&'a Base, Rootfs)>,
}

/// What a container had at a path when it was made.
enum Made {
    /// Nobody knows.
    Unknown,
    /// This, or nothing.
    Known(Option<ListedFile>),
}

impl Comparison<'_> {
    /// Compares what is dropped at a path with what is there.
    fn compare(
        &self,
        file: &File,
        planned: &Planned,
        then: Option<&RecordedDrop<'_>>,
    ) -> io::Result<Option<Finding>> {
        let there = self.tree.look(&self.rootfs, &file.path)?;
        let made = self.made(&there, then, &file.path)?;
        let now = match &there {
            PathState::Present(now, _) => Some(now),
            PathState::Absent(_) => None,
        };
        let then = then.map(|(then, _)| then);
        if planned.keeps && now.is_some_and(|now| !self.is_of(then, now)) {
            return Ok(None);
        }
        let wanted = self.wanted(file, then, &made, now);
        let cause = if then == Some(file) { Cause::Container } else { Cause::Role };
        let Some(difference) = difference(&file.path, now, wanted.as_ref()) else {
            return Ok(None);
        };
        let layer = planned.layer.clone();
        let difference = DropDifference { file: difference, layer, cause, patch: None };
        // What the plan does not drop in these words is as it was stored.
        let is_stored = digest_of(wanted.as_ref()) != file.digest;
        let stored = self.stored.as_ref().filter(|_| is_stored && !planned.is_secret);
        let stored = stored.and_then(|(base, rootfs)| base.text(rootfs, &file.path));
        let before = self.text(&file.path, now.filter(|_| !planned.is_secret));
        Ok(Some(Finding { difference, before, stored }))
    }

    /// Returns what is to be said of what a layer no longer drops, if the container has it.
    fn no_longer(&self, file: &File, layer: &str) -> io::Result<Option<Finding>> {
        let PathState::Present(now, _) = self.tree.look(&self.rootfs, &file.path)? else {
            return Ok(None);
        };
        let is_secret = file.kind == FileKind::File && file.digest.is_none();
        let before = self.text(&file.path, Some(&now).filter(|_| !is_secret));
        let (layer, cause) = (layer.to_owned(), Cause::NoLongerDropped);
        let found = difference(&file.path, Some(&now), None).map(|mut file| {
            let before = file.before.iter_mut().filter(|_| is_secret);
            before.for_each(|before| before.digest = None);
            DropDifference { file, layer, cause, patch: None }
        });
        Ok(found.map(|difference| Finding { difference, before, stored: None }))
    }

    /// Returns what the container had at a path when it was made.
    fn made(
        &self,
        there: &PathState,
        then: Option<&RecordedDrop<'_>>,
        path: &str,
    ) -> io::Result<Made> {
        let now = match there {
            PathState::Present(now, false) => return Ok(Made::Known(Some(now.clone()))),
            PathState::Absent(false) => return Ok(Made::Known(None)),
            PathState::Present(now, true) => Some(now),
            PathState::Absent(true) => None,
        };
        let (Some((_, (_, true))), Some((base, rootfs))) = (then, &self.stored) else {
            return Ok(Made::Unknown);
        };
        let PathState::Present(mut made, _) = self.tree.look(rootfs, path)? else {
            return Ok(Made::Known(None));
        };
        // The container's name may stand in it.
        let is_file = matches!(made.kind, ListedKind::File { .. });
        if is_file
            && digest_of(now) != digest_of(Some(&made))
            && let Some(text) = base.text(rootfs, path)
        {
            let size = u64::try_from(text.len()).unwrap_or(u64::MAX);
            made.kind = ListedKind::File { size, digest: Digest::of(&text) };
        }
        Ok(Made::Known(Some(made)))
    }

    /// Returns what a new run leaves at a path: what of a drop is as it was is left as it was made, since steps may
    /// have had to do with it.
    fn wanted(
        &self,
        file: &File,
        then: Option<&File>,
        made: &Made,
        now: Option<&ListedFile>,
    ) -> Option<ListedFile> {
        let dropped = as_dropped(file, &self.rootfs, now);
        let (Some(then), Made::Known(made)) = (then, made) else { return dropped };
        if then == file {
            return made.clone();
        }
        let (mut dropped, made) = (dropped?, made.as_ref());
        let Some(made) = made.filter(|_| then.kind == file.kind) else { return Some(dropped) };
        let is_of_kind = mem::discriminant(&made.kind) == mem::discriminant(&dropped.kind);
        if is_of_kind && (then.digest, &then.target) == (file.digest, &file.target) {
            dropped.kind = made.kind.clone();
        }
        if then.mode == file.mode {
            dropped.mode = made.mode;
        }
        if then.owner == file.owner {
            (dropped.uid, dropped.gid) = (made.uid, made.gid);
        }
        Some(dropped)
    }

    /// Tells whether something is what a drop has left.
    fn is_of(&self, drop: Option<&File>, now: &ListedFile) -> bool {
        let dropped = drop.and_then(|drop| as_dropped(drop, &self.rootfs, Some(now)));
        dropped.is_some_and(|dropped| dropped.differs(now).is_empty())
    }

    /// Reads a file of the container, where it is a short one.
    fn text(&self, path: &str, now: Option<&ListedFile>) -> Option<Vec<u8>> {
        let is_short = |kind: &ListedKind| matches!(kind, ListedKind::File { size, .. } if *size <= LONGEST_TEXT);
        now.filter(|now| is_short(&now.kind))?;
        self.rootfs.read(Path::new(path), LONGEST_TEXT).ok()
    }
}

fn digest_of(file: Option<&ListedFile>) -> Option<Digest> {
    match file?.kind {
        ListedKind::File { digest, .. } => Some(digest),
        _ => None,
    }
}

/// Returns what differs at a path, if anything does.
fn difference(
    path: &str,
    now: Option<&ListedFile>,
    wanted: Option<&ListedFile>,
) -> Option<FileDifference> {
    let (change, what) = match (now, wanted) {
        (None, None) => return None,
        (None, Some(_)) => (FileChange::Added, Vec::new()),
        (Some(_), None) => (FileChange::Removed, Vec::new()),
        (Some(now), Some(wanted)) => (FileChange::Changed, now.differs(wanted)),
    };
    if change == FileChange::Changed && what.is_empty() {
        return None;
    }
    Some(FileDifference {
        path: path.to_owned(),
        change,
        what: what.into_iter().map(str::to_owned).collect(),
        before: now.map(FileState::of),
        now: wanted.map(FileState::of),
    })
}

impl Finding {
    /// Compares the texts. The sources of the role are read here: mapped ids may not.
    fn compared(self, drops: &LastDrops<Planned>) -> DropDifference {
        let Self { mut difference, before, stored } = self;
        let file = &mut difference.file;
        let planned = drops.get(&file.path).map(|(_, planned)| planned);
        if planned.is_some_and(|planned| planned.is_secret) {
            let sides = file.before.iter_mut().chain(&mut file.now);
            sides.for_each(|side| side.digest = None);
            return difference;
        }
        let is_of_text = |what: &String| ["bytes", "kind"].contains(&what.as_str());
        if file.change == FileChange::Changed && !file.what.iter().any(is_of_text) {
            return difference;
        }
        let now = stored.or_else(|| match planned?.bytes.as_ref()? {
            Bytes::Inline(bytes) => Some(bytes.to_vec()),
            Bytes::Source(path) => {
                files::read_regular(path, usize::try_from(LONGEST_TEXT).unwrap_or(usize::MAX)).ok()
            }
        });
        let is_file =
            |side: &Option<FileState>| side.as_ref().is_some_and(|side| side.digest.is_some());
        let is_known =
            |side: &Option<FileState>, text: &Option<Vec<u8>>| is_file(side) == text.is_some();
        let is_text = is_file(&file.before) || is_file(&file.now);
        if is_text && is_known(&file.before, &before) && is_known(&file.now, &now) {
            difference.patch = patch(&file.path[1..], before.as_deref(), now.as_deref());
        }
        difference
    }
}

/// Says which lines that layers add, as they did before, are no longer in the container's config.
fn missing_lines(record: &Record, now: &Record, config: &[u8]) -> Vec<String> {
    let there = config::effective(&String::from_utf8_lossy(config));
    let Some(before) = &record.config else { return Vec::new() };
    let lines = now.layers.iter().flat_map(|layer| {
        let missing = layer.config.iter().filter(|line| {
            let is_of_role = |of: &Layer| of.name == layer.name && of.config.contains(line);
            before.contains(line) && !there.contains(line) && record.layers.iter().any(is_of_role)
        });
        missing
            .map(|line| format!("layer {}: config {line} is missing in the container", layer.name))
    });
    lines.collect()
}
