//! Puts what a container has changed itself on what its role makes now.
//!
//! The role's part was made beside the container, as if the container were new. What the container has otherwise
//! than what it was made of is put on that through the new overlay, or into the new copy, so that nothing of the
//! old overlay's marks is carried over.

mod choices;
mod configs;
mod decisions;
mod listings;
mod sidecar;
#[cfg(test)]
mod tests;
mod view;

use std::cell::RefCell;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::thread::sleep;

use rustix::fs::{Mode, chmod};
use rustix::process::Signal;

use super::failure::{Failure, status};
use super::generation::{Generations, LARGEST, tree_name};
use super::{Run, RunContext, config as container_config, full_disk, step};
use crate::cache::{Cache, DELTA, Names, WORK};
use crate::host::files::{self, Ownership};
use crate::host::{clock, contain};
use crate::lxc::config;
use crate::lxc::revision::ConfigConflict;
use crate::manifest::Phase;
use crate::merge::{self, Item, Merged, Rules, Side, Tree, TreePath, Trees, What};
use crate::plan::{Act, Plan, StorageMode};
use crate::record::{self, Record};
use crate::store::{self, Entry, Store};
use crate::tree::{self, Graft, Interrupt, Listing, Marks, Occurrence, Reader, ShutFiles};
pub(crate) use choices::Choices;
use choices::Named;
use configs::{NextConfig, config_lines, key_of};
use decisions::Decisions;
pub(crate) use listings::Listings;
use sidecar::Sidecars;
use view::View;

/// Where what the container has is looked at, beside what was made.
const OWN: &str = ".layered-template.own";

/// How much is named of what is in a directory.
const MOST_NAMED: usize = 5;

/// How often a container that runs is looked at once more where something was gone meanwhile.
const TRIES: u32 = 20;

/// What is to be put on what.
#[derive(Debug)]
pub(crate) struct Rebase<'a> {
    /// Where the role's part was made.
    pub staged: PathBuf,
    /// The store that the container stands on, or was copied from.
    pub store: &'a Store,
    /// What the container was made of.
    pub old: &'a Entry,
    /// Its record.
    pub record: &'a Record,
    /// Where the role holds, and where the container.
    pub choices: Choices<'a>,
    /// Whether each of those has to be something that there is.
    pub is_exact: bool,
    /// Whether it is done, or only looked at.
    pub applies: bool,
    /// What was read of the store before, for this to take less time.
    pub listings: Option<&'a Listings>,
}

/// What came of it.
#[derive(Debug)]
pub(crate) enum Rebased {
    /// The next generation is whole, or would be; what it has otherwise than the container.
    Done(Difference),
    /// The container and its role have changed the same, and somebody has to decide.
    Conflicts(Vec<FileConflict>, Vec<ConfigConflict>),
    /// Words that say who holds, and are nothing that there is.
    Nothing(Vec<String>),
    /// Words that let the role hold in what is state, where the container does.
    State(Vec<String>),
}

/// What the next generation has otherwise than the container.
#[derive(Debug, Clone, Default)]
pub(crate) struct Difference {
    /// The paths.
    pub paths: Vec<PathChange>,
    /// What of these the container itself has had in a directory that is none any more.
    pub dropped: Vec<Vec<u8>>,
    /// The files beside its rootfs, by their names.
    pub beside: Vec<PathChange>,
    /// Whether its config is another.
    pub config: bool,
    /// The lines of its config that go, in their order, and those that come.
    pub lines: (Vec<String>, Vec<String>),
    /// Whether its record tells of another role, or of other layers.
    pub record: bool,
}

impl Difference {
    /// Tells whether there is none.
    pub(crate) fn is_empty(&self) -> bool {
        self.is_of_record_at_most() && !self.record
    }

    /// Tells whether nothing but the record is another.
    fn is_of_record_at_most(&self) -> bool {
        self.paths.is_empty() && self.beside.is_empty() && !self.config
    }
}

/// A path of a container that its role changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PathChange {
    /// The path, without a slash in front.
    pub path: Vec<u8>,
    /// Whether it was there.
    pub was: bool,
    /// Whether it is there.
    pub is: bool,
}

/// A path that both sides have changed.
#[derive(Debug)]
pub(crate) struct FileConflict {
    /// The path, without a slash in front.
    pub path: Vec<u8>,
    /// Whether it is a name beside the rootfs.
    pub is_beside: bool,
    /// What the role had made; `None` for nothing.
    pub old: Option<Item>,
    /// What it makes now.
    pub new: Option<Item>,
    /// What the container has.
    pub own: Option<Item>,
    /// Whether it may hold a secret: what is not stored made some of the container.
    pub is_private: bool,
    /// What would be wrong where the two do not contradict each other in the path itself.
    pub why: Option<String>,
    /// What has no directory for it, and the side that has: another has been chosen there.
    pub elsewhere: Option<(Vec<u8>, Side)>,
}

/// Puts the container's own changes on the next generation.
///
/// # Errors
///
/// What fails; the container is as it was, and the next generation of no use.
pub(crate) fn rebase<'a>(
    plan: &'a Plan,
    cache: &'a Cache,
    context: RunContext<'a>,
    rebase: &'a Rebase<'a>,
) -> Result<Rebased, Failure> {
    let name = crate::shell::one_line(&plan.container.name);
    let fault = |error: io::Error| {
        let message = format!("`{name}`: the upgrade failed: {error}");
        let failure = Failure::of_run(status::FILES, message);
        match files::is_full(&error) {
            true => failure.hint(full_disk::beside(&plan.container.path)),
            false => failure,
        }
    };
    let mut tries = TRIES;
    let done = loop {
        match rebase.put(plan, Interrupt::of(context.events.as_fd())) {
            // A container that runs removes files all the time.
            Err(error)
                if error.kind() == io::ErrorKind::NotFound && !rebase.applies && tries > 0 =>
            {
                tries -= 1;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {
                break Err(match context.events.asked() {
                    Some(signal) => interrupted(signal),
                    None => fault(error),
                })?;
            }
            done => break done.map_err(fault)?,
        }
    };
    let Ok(mut prepared) = done else {
        return Ok(done.err().unwrap_or(Rebased::Done(Difference::default())));
    };
    if !rebase.applies {
        return Ok(Rebased::Done(prepared.difference));
    }
    let context = RunContext { shown: Some(&rebase.staged), ..context };
    Run::open(plan, cache, context)?.check_again()?;
    contain::hide(&plan.container.path).map_err(fault)?;
    prepared.views.clear();
    rebase.finish(&prepared, &plan.container.path).map_err(fault)?;
    Ok(Rebased::Done(prepared.difference))
}

/// Returns the failure of an upgrade that a signal has ended.
fn interrupted(signal: Signal) -> Failure {
    let (status, reason) = step::interrupted(signal);
    Failure::of_run(status, format!("the upgrade {reason}"))
}

/// What was put together.
struct Prepared {
    difference: Difference,
    config: NextConfig,
    record: Record,
    tree: String,
    /// What is mounted.
    views: Vec<View>,
}

impl Rebase<'_> {
    fn put(&self, plan: &Plan, interrupt: Interrupt<'_>) -> io::Result<Result<Prepared, Rebased>> {
        if !contain::has_own_mounts() {
            return Err(io::Error::other("it cannot have mounts of its own here"));
        }
        let container = &plan.container.path;
        Generations::of(container).unmounted()?;
        let live = files::read_regular(&container.join(container_config::NAME), config::LARGEST)?;
        let tree = tree_name(&live, container)
            .ok_or_else(|| io::Error::other("the config names no tree of the container's"))?;
        let text = files::read_regular(&self.staged.join(record::NAME), LARGEST)?;
        let record = Record::parse(&text)?;
        let made = files::read_regular(&self.staged.join(container_config::NAME), config::LARGEST)?;
        let names = Names::of(&self.old.lxcpaths, &plan.container);
        let old_tree = self.store.rootfs(self.old.id);
        let old_top = files::open_real_directory(&old_tree)?;
        let read;
        let listings = match self.listings {
            Some(known) => known,
            None => {
                read = Listings::read(self.store, self.old, &self.staged)?;
                &read
            }
        };
        let marked = (old_top.as_fd(), store::stored_marks());
        let (own_view, new_view) = match &listings.new {
            Some((lower, listing)) => (
                View::of_container(
                    (&old_tree, &listings.old),
                    &container.join(&tree),
                    &self.staged.join(OWN),
                    interrupt,
                )?,
                View::of_next((lower, listing), &self.staged, interrupt)?,
            ),
            None => (
                View::of_copy(&container.join(&tree), interrupt)?,
                View::of_copy(&self.staged.join("rootfs"), interrupt)?,
            ),
        };
        let shut = match self.applies {
            true => own_view.shut(old_top.as_fd()),
            false => ShutFiles::new(),
        };
        let placed = self.old.places.iter().map(|place| place.path.clone());
        let words = self.choices.paths().map(<[u8]>::to_vec);
        let paths = tree::paths_to_merge(
            &listings.old,
            [&new_view.listing, &own_view.listing],
            placed.chain(words).chain(shut.keys().cloned()),
        );
        let items = |listing: &Listing| listing.items(|path| paths.contains(path));
        let old = named(items(&listings.old), &self.old.places, &names, marked)?;
        let (new, own) = (items(&new_view.listing), items(&own_view.listing));
        let rules = Decisions {
            rebase: self,
            new_record: &record,
            own: &own,
            texts: RefCell::new([
                Reader::new(old_top.as_fd(), store::stored_marks()),
                Reader::new(new_view.top(), Marks::Plain),
                Reader::new(own_view.top(), Marks::Plain),
            ]),
            names: &names,
        };
        let trees = Trees { old: &old, new: &new, own: &own };
        let places = (self.staged.as_path(), container.as_path());
        let is_overlay = self.record.storage() == StorageMode::Overlay;
        let sidecars =
            Sidecars::look((self.store, self.old), &names, places, is_overlay, interrupt)?;
        let nothing = match self.is_exact {
            true => self.nothing(trees, &sidecars, [&live, &made]),
            false => Vec::new(),
        };
        if !nothing.is_empty() {
            return Ok(Err(Rebased::Nothing(nothing)));
        }
        let state = self.state(&rules);
        if !state.is_empty() {
            return Ok(Err(Rebased::State(state)));
        }
        let mut merged = merge::merge(trees, &rules);
        let renumbered = rules.renumbered(trees, &merged);
        merged.conflicts.extend(renumbered.iter().map(|(path, _)| path.clone()));
        let beside = sidecars.decided(|name| self.choices.on(Named::Beside(name)));
        let configs = self.configs(&live, &made, &record, plan)?;
        let config = match configs {
            Ok(configs) if merged.conflicts.is_empty() && beside.conflicts.is_empty() => configs,
            configs => {
                let layers = [self.record, &record].map(|record| record.layers.iter()).into_iter();
                // One without acts of its own has nothing to store.
                let is_private = layers.flatten().any(|layer| {
                    layer.supply.is_none() && !(layer.files.is_empty() && layer.steps.is_empty())
                });
                let conflict =
                    |path: &Vec<u8>, is_beside: bool, [old, new, own]: [Option<Item>; 3]| {
                        let renumbered = renumbered.iter().find(|(other, _)| other == path);
                        let why = renumbered.map(|(_, why)| why.clone());
                        let why = why
                            .or_else(|| Some(why_contested(merged.within.get(path)?, trees.own)));
                        let elsewhere = merged.in_the_way.get(path).filter(|_| !is_beside);
                        let why = why.or_else(|| Some(why_without_place(elsewhere?)));
                        let why = why.filter(|_| !is_beside);
                        let elsewhere = elsewhere.map(|(way, side)| (way.clone(), side.other()));
                        let path = path.clone();
                        FileConflict { path, is_beside, old, new, own, is_private, why, elsewhere }
                    };
                let files = merged.conflicts.iter().map(|path| {
                    let items = [&old, &new, &own];
                    conflict(path, false, items.map(|tree| tree.get(path).cloned()))
                });
                let beside =
                    beside.conflicts.iter().map(|name| conflict(name, true, sidecars.items(name)));
                let conflicts = configs.err().unwrap_or_default();
                return Ok(Err(Rebased::Conflicts(files.chain(beside).collect(), conflicts)));
            }
        };
        let goes = |path: &&TreePath| own.get(*path).is_some_and(|item| !item.is_directory());
        let goes = merged.within.values().flatten().filter(goes);
        let difference = Difference {
            paths: changes(trees, &merged),
            dropped: goes.filter(|path| !merged.sides.contains_key(*path)).cloned().collect(),
            beside: beside.changes,
            config: config.text != live,
            lines: config_lines(&live, &config.text),
            record: is_other(self.record, &record),
        };
        let names = difference.beside.iter().map(|change| OsString::from_vec(change.path.clone()));
        Generations::of(container).movable(&tree, &names.collect::<Vec<_>>())?;
        if self.applies {
            // What is put here is later than the record: it is the container's own.
            if record.times().1.is_some_and(|ended| clock::since_1970() < ended + record::TICK) {
                sleep(record::TICK);
            }
            let mut graft = graft_of(trees, &merged);
            graft.shut = shut;
            graft.shut.retain(|path, _| {
                let side = merged.sides.get(path).map(|side| match side {
                    Side::New => trees.new,
                    Side::Own => trees.own,
                });
                let item = side.and_then(|tree| tree.get(path));
                item.is_some_and(|item| matches!(item.what, What::File(..) | What::Directory))
            });
            tree::graft(own_view.top(), new_view.top(), &graft, interrupt)?;
        }
        drop(rules);
        drop(own_view);
        let views = vec![new_view];
        Ok(Ok(Prepared { difference, config, record, tree, views }))
    }

    /// Returns the words for who holds that are no path of the trees, and no key of the configs.
    fn nothing(&self, trees: Trees<'_>, sidecars: &Sidecars, configs: [&[u8]; 2]) -> Vec<String> {
        let lines = configs.map(|text| config::effective(&String::from_utf8_lossy(text)));
        let mut keys: Vec<&str> = lines.iter().flatten().map(|line| key_of(line)).collect();
        keys.extend(self.record.config.iter().flatten().map(|line| key_of(line)));
        let is_there = |named: Named<'_>| match named {
            Named::Key(key) => keys.iter().any(|other| other.as_bytes() == key),
            Named::Beside(name) => sidecars.has(name),
            Named::Path(path) => {
                [trees.old, trees.new, trees.own].iter().any(|tree| tree.contains_key(path))
            }
        };
        self.choices.spelled(|_, named| !is_there(named))
    }

    /// Returns the words that let the role hold in what is state.
    fn state(&self, rules: &Decisions<'_>) -> Vec<String> {
        self.choices.spelled(|side, named| match named {
            Named::Path(path) => side == Side::New && rules.is_state(path),
            _ => false,
        })
    }

    /// Makes the next generation whole.
    fn finish(&self, prepared: &Prepared, container: &Path) -> io::Result<()> {
        let directory = files::open_directory(&self.staged)?;
        let is_overlay = self.record.storage() == StorageMode::Overlay;
        let tree = if is_overlay { DELTA } else { "rootfs" };
        let of_overlay = [WORK, "rootfs"].into_iter().filter(|_| is_overlay);
        for name in of_overlay.chain([OWN]) {
            tree::remove(directory.as_fd(), name.as_ref())?;
        }
        sidecar::lay_out(&self.staged, &prepared.difference.beside, is_overlay)?;
        if tree != prepared.tree {
            rustix::fs::renameat(&directory, tree, &directory, &prepared.tree)?;
        }
        let mut record = prepared.record.clone();
        record.config.clone_from(&prepared.config.lines);
        record.given = Some(prepared.config.given.clone());
        if prepared.difference.is_of_record_at_most() {
            // The tree stays, and with it what is later than its making.
            let file = fs::symlink_metadata(container.join(record::NAME))?;
            record.keep_times(self.record, (file.ctime(), file.ctime_nsec()));
        }
        let mut text = serde_json::to_vec_pretty(&record)?;
        text.push(b'\n');
        for (name, text) in [(container_config::NAME, &prepared.config.text), (record::NAME, &text)]
        {
            let ownership = Ownership::of(files::open_in(&directory, name)?)?;
            files::replace_in(&directory, name, text, ownership)?;
        }
        chmod(&self.staged, Mode::from_raw_mode(0o755))?;
        tree::make_durable(directory.as_fd())
    }
}

/// Tells whether a record tells of another role, or of other layers, than one before.
fn is_other(before: &Record, now: &Record) -> bool {
    let entry = |record: &Record| record.stored.as_ref().map(|stored| stored.entry.clone());
    entry(before) != entry(now)
        || before.manifest.path != now.manifest.path
        || !before.changes_to(now).is_empty()
}

impl Run<'_> {
    /// Runs the checks of all layers once more. What reads what pre steps handed inward is not known any more.
    fn check_again(mut self) -> Result<(), Failure> {
        let layers: Vec<_> = self.plan.layers().collect();
        let is_check = |act: &Act| matches!(act, Act::Step(step) if step.phase == Phase::Check);
        for layer in layers.into_iter().rev().filter(|layer| layer.sees.is_empty()) {
            let done = self.acts(layer, &Vec::new(), is_check).map_err(|failure| *failure);
            done.map_err(|failure| {
                let failure = self.kept_of(failure);
                self.of_upgrade(failure).masked(&self.context.secrets)
            })?;
        }
        if let Some(Err(error)) =
            self.context.directory.take().map(crate::host::state::RunDirectory::remove)
        {
            self.note(&error.to_string());
        }
        Ok(())
    }
}

/// Says what is in a directory of one side in whose place the other one has something else.
fn why_contested(within: &[TreePath], own: &Tree) -> String {
    let is_own = within.iter().any(|path| own.contains_key(path));
    let word =
        |path: &TreePath| crate::shell::word(OsStr::from_bytes(&[b"/", path.as_slice()].concat()));
    let mut names: Vec<String> = within.iter().take(MOST_NAMED).map(word).collect();
    if within.len() > MOST_NAMED {
        names.push(format!("{} more", within.len() - MOST_NAMED));
    }
    let names = crate::shell::listed(&names);
    match is_own {
        true => format!("what the container itself has there would go: {names}"),
        false => format!("what the role puts there would be missing: {names}"),
    }
}

/// Says that something has no directory to be in.
fn why_without_place((way, side): &(TreePath, Side)) -> String {
    let whose = match side {
        Side::New => "the role",
        Side::Own => "the container",
    };
    let way = crate::shell::word(OsStr::from_bytes(&[b"/", way.as_slice()].concat()));
    format!("it would have no place: {way} would be what {whose} has there, which is no directory")
}

/// Puts the container's name where the tree that it was made of has the placeholder.
fn named(
    mut items: Tree,
    places: &[Occurrence],
    names: &Names,
    (top, marks): (BorrowedFd<'_>, Marks),
) -> io::Result<Tree> {
    let mut reader = Reader::new(top, marks);
    for place in places {
        let Some(item) = items.get_mut(&place.path) else { continue };
        match &mut item.what {
            What::File(size, digest) if place.kind == tree::OccurrenceKind::Text => {
                let mut text = Vec::new();
                reader.file(&place.path)?.read_to_end(&mut text)?;
                let text = names.put_into(&text);
                (*size, *digest) = (text.len() as u64, crate::digest::Digest::of(&text));
            }
            What::Symlink(target) => *target = names.put_into(target),
            _ => {}
        }
    }
    Ok(items)
}

/// Returns how the next generation differs from the container.
fn changes(trees: Trees<'_>, merged: &Merged) -> Vec<PathChange> {
    let mut changes = Vec::new();
    for path in
        trees.new.keys().chain(trees.own.keys().filter(|path| !trees.new.contains_key(*path)))
    {
        let own = trees.own.get(path);
        let side = merged.sides.get(path);
        let is_same = match side {
            Some(Side::Own) => !merged.texts.contains_key(path),
            Some(Side::New) => own == trees.new.get(path) && !merged.texts.contains_key(path),
            None => own.is_none(),
        };
        if !is_same {
            changes.push(PathChange { path: path.clone(), was: own.is_some(), is: side.is_some() });
        }
    }
    changes.sort_by(|one, other| one.path.cmp(&other.path));
    changes
}

/// Returns what is done in the new tree, so that it becomes what was merged.
fn graft_of(trees: Trees<'_>, merged: &Merged) -> Graft {
    let mut graft = Graft::default();
    let is_directory = |tree: &Tree, path: &Vec<u8>| tree.get(path).is_some_and(Item::is_directory);
    for path in trees.new.keys().filter(|path| !merged.sides.contains_key(*path)) {
        graft.remove.insert(path.clone());
    }
    for (path, side) in &merged.sides {
        if let Some(text) = merged.texts.get(path) {
            graft.texts.push((path.clone(), text.clone(), *side == Side::Own));
            continue;
        }
        if *side == Side::New {
            continue;
        }
        if trees.new.contains_key(path)
            && is_directory(trees.new, path) != is_directory(trees.own, path)
        {
            graft.remove.insert(path.clone());
        }
        graft.put.insert(path.clone());
    }
    graft
}

/// Opens the top of a tree that somebody else may have changed.
fn open(path: &Path) -> io::Result<OwnedFd> {
    files::open_real_directory(path)
}
