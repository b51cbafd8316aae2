//! The generations of a container: what it is, what it is about to become, and what it was before.
//!
//! All of them are in the container's own directory, so that they go with it:
//!
//! ```text
//! CONTAINER/config, layered-template.json, delta or rootfs      what it is
//! CONTAINER/upgrade/next/       the same of what it is about to become
//! CONTAINER/upgrade/switch/     likewise, once it is whole and takes the other's place
//! CONTAINER/upgrade/previous/   what it was before
//! CONTAINER/upgrade/look/       what it would become, as long as somebody looks at that
//! CONTAINER/upgrade/halted      that it ran until now
//! CONTAINER/upgrade/back        that somebody went back, until that is told
//! ```
//!
//! A switch has one moment: a config is put in place that names the tree below `switch/`. Before it the container
//! is the old one, and after it the new one, whole and with a config that fits; whatever is moved about from
//! then on, the config names the tree where it is. Who is killed in between has it finished by the next one.

mod halt;
mod look;
mod room;
pub(super) mod sidecar;
#[cfg(test)]
mod tests;

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, symlink};
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::Duration;

use rustix::fs::{
    CWD, FlockOperation, Mode, OFlags, RenameFlags, flock, fstat, fsync, futimens, openat,
    renameat, renameat_with,
};
use rustix::io::Errno;

use crate::host::files::{self, Ownership};
use crate::host::mounts::{self, Mount};
use crate::lxc::config;
use crate::record::{self, Record};
use crate::shell;
use crate::store::{GENERATIONS, OLD_GENERATION as OLD};
use crate::tree::{self, Marks};
use halt::BACK;

/// What is before the switch, at it, and after it.
const NEXT: &str = "next";
const SWITCH: &str = "switch";
const PREVIOUS: &str = "previous";

/// What it would become.
const LOOK: &str = "look";

/// What the last upgrade but one has left, until the container has started.
const REPLACED: &str = "replaced";

/// What is left of a switch that is over.
const OVER: &str = "over";

/// What nobody needs where no upgrade is at work.
const LEFTOVERS: [&str; 5] = [NEXT, REPLACED, OVER, LOOK, BACK];

/// How often the lock is tried, and how long after each time: whoever died with a program that was killed has it as
/// long as that takes.
const TRIES: u32 = 5;
const PAUSE: Duration = Duration::from_millis(20);

/// A file that is about to take the place of another.
const PLACED: &str = "placed";

/// In a generation that was there before: somebody goes back to it, and it is not thrown away.
const KEPT: &str = "kept";

/// In one beside that: a switch to it undoes the last one, and what it takes the place of is thrown away.
const UNDOES: &str = "undoes";

/// How many files and directories a switch makes from its moment on, besides those for the sidecars.
const FILES_OF_SWITCH: usize = 12;

/// The largest config or record, in bytes.
pub(super) const LARGEST: usize = 256 << 20;

/// The generations of a container.
#[derive(Debug, Clone)]
pub(crate) struct Generations {
    container: PathBuf,
}

impl Generations {
    /// Returns those of the container in a directory.
    pub(crate) fn of(container: &Path) -> Self {
        Self { container: container.to_path_buf() }
    }

    fn within(&self, name: &str) -> PathBuf {
        self.container.join(GENERATIONS).join(name)
    }

    /// Returns where the next one is made.
    pub(crate) fn next(&self) -> PathBuf {
        self.within(NEXT)
    }

    /// Tells whether there is one to go back to.
    pub(crate) fn has_previous(&self) -> bool {
        is_directory(&self.previous()) || self.is_interrupted()
    }

    /// Tells whether somebody was killed at a switch.
    pub(crate) fn is_interrupted(&self) -> bool {
        is_directory(&self.within(SWITCH))
    }

    /// Tells whether somebody was killed who has left something else that nobody needs.
    pub(crate) fn has_leftovers(&self) -> bool {
        LEFTOVERS.into_iter().any(|name| is_directory(&self.within(name)))
    }

    /// Tells whether somebody was killed who has left the container between two states, or stopped.
    pub(crate) fn is_cut_off(&self, is_running: bool) -> bool {
        (self.is_interrupted() || !is_running && self.owes_start()) && !self.is_at_work()
    }

    /// Tells whether that was an upgrade, and not somebody who went back.
    pub(crate) fn is_interrupted_upgrade(&self) -> bool {
        match self.is_interrupted() {
            true => !self.within(SWITCH).join(KEPT).exists(),
            false => self.is_back() && self.is_before_switch(),
        }
    }

    /// Returns where the one to go back to is.
    pub(crate) fn previous(&self) -> PathBuf {
        self.within(PREVIOUS)
    }

    /// Returns the name of the tree of the previous generation, where nothing but its record is gone or damaged.
    pub(crate) fn without_record(&self) -> Option<String> {
        let previous = self.previous();
        let record = read(&previous.join(record::NAME)).map(|text| Record::parse(&text));
        let is_whole = matches!(record, Ok(Ok(_)));
        let text = read(&previous.join(config_name())).ok().filter(|_| !is_whole)?;
        let tree = tree_name(&text, &self.container)?;
        is_directory(&previous.join(&tree)).then_some(tree)
    }

    /// Tells whether the previous generation has files that stand beside the rootfs.
    pub(crate) fn has_sidecars(&self) -> bool {
        is_directory(&self.previous().join(sidecar::BESIDE))
    }

    /// Keeps others from the generations as long as the descriptor is open; `None` where somebody has that.
    pub(crate) fn lock(&self) -> io::Result<Option<OwnedFd>> {
        self.locked(FlockOperation::NonBlockingLockExclusive)
    }

    /// Tells whether somebody has them.
    fn is_at_work(&self) -> bool {
        matches!(self.locked(FlockOperation::NonBlockingLockShared), Ok(None))
    }

    fn locked(&self, operation: FlockOperation) -> io::Result<Option<OwnedFd>> {
        let directory = files::open_directory(&self.container)?;
        for _ in 0..TRIES {
            match flock(&directory, operation) {
                Ok(()) => return Ok(Some(directory)),
                Err(Errno::WOULDBLOCK) => sleep(PAUSE),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(None)
    }

    /// Makes the directory of the generations, finishes what was interrupted, and removes what nobody needs.
    pub(crate) fn tidy(&self, is_running: bool) -> io::Result<()> {
        if is_running && is_directory(&self.within(SWITCH)) {
            return Err(io::Error::other(
                "an upgrade of it was interrupted, and is finished when it does not run",
            ));
        }
        let made = fs::DirBuilder::new().mode(0o755).create(self.container.join(GENERATIONS));
        if let Err(error) = made
            && error.kind() != io::ErrorKind::AlreadyExists
        {
            return Err(error);
        }
        self.recover()?;
        self.discard()
    }

    /// Finishes what was interrupted; `false`, where that or nothing was taken back.
    fn recover(&self) -> io::Result<bool> {
        self.advance(false, &mut || Ok(()))
    }

    /// Removes what was to become of the container, and what nobody goes back to.
    pub(crate) fn discard(&self) -> io::Result<()> {
        LEFTOVERS.into_iter().try_for_each(|name| self.remove(name))
    }

    /// Makes the next generation the container's, which does not run. It is whole: a config that names the
    /// tree where the container's is, a record, and the tree.
    pub(crate) fn switch(&self) -> io::Result<()> {
        self.turn(NEXT)
    }

    /// Gives the container, which may run, the record of the next generation: that is all in which they differ.
    pub(crate) fn put_record(&self) -> io::Result<()> {
        let next = self.next();
        let (coming, live) =
            (files::open_directory(&next)?, files::open_directory(&self.container)?);
        put_file(&coming, &live, record::NAME, &read(&next.join(record::NAME))?)
    }

    /// Makes a generation the container's. What fails before its moment is taken back, and what fails after it is
    /// tried once more.
    fn turn(&self, name: &str) -> io::Result<()> {
        let done = self.begin(name).and_then(|()| self.advance(true, &mut || Ok(())).map(drop));
        done.or_else(|error| match self.recover() {
            Ok(true) => Ok(()),
            _ => Err(error),
        })
    }

    /// Gives back what the container, which does not run, was before the last switch; also before one that
    /// was interrupted.
    pub(crate) fn roll_back(&self) -> io::Result<()> {
        let was_going_back = self.within(SWITCH).join(KEPT).exists();
        let is_there = self.is_interrupted() && self.recover()? == was_going_back;
        // What cannot be removed keeps nobody from going back.
        let _ = self.discard();
        if is_there { Ok(()) } else { self.back(false) }
    }

    /// Makes the previous generation the container's, and this one the previous; or, where that undoes the last
    /// switch, the one that was the previous before that.
    fn back(&self, undoes: bool) -> io::Result<()> {
        let previous = self.previous();
        room::movable([self.container.join(GENERATIONS), previous.clone()])?;
        // What the container's root has put in its place is not followed.
        let directory = files::open_real_directory(&previous)?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        remove_in(&previous, UNDOES)?;
        for name in [Some(KEPT), undoes.then_some(UNDOES)].into_iter().flatten() {
            openat(&directory, name, flags, Mode::RUSR | Mode::WUSR)?;
        }
        self.turn(PREVIOUS)
    }

    /// Undoes a switch: what it was is the container's again, and what it was before is kept.
    pub(crate) fn undo(&self) -> io::Result<()> {
        self.back(true)
    }

    /// Sees that `chattr` holds nothing of the container's that a switch to another generation moves: its tree, by the
    /// name that that has, what is beside it, and what tells of it.
    pub(super) fn movable(&self, tree: &str, sidecars: &[OsString]) -> io::Result<()> {
        self.unmounted()?;
        let within = |name: &OsStr| self.container.join(name);
        let own = [tree, config_name(), record::NAME, GENERATIONS].map(OsStr::new);
        let own = own.into_iter().chain(sidecars.iter().map(OsString::as_os_str)).map(within);
        room::movable([self.container.clone(), self.previous()].into_iter().chain(own))
    }

    /// Sees that nothing is mounted in the container's directory: it would be moved about with what it is mounted in,
    /// and what it shows be taken for the container's.
    pub(super) fn unmounted(&self) -> io::Result<()> {
        let container = fs::canonicalize(&self.container)?;
        let generations = container.join(GENERATIONS);
        let is_foreign =
            |mount: &Mount| mount.is_below(&container) && !mount.point.starts_with(&generations);
        match mounts::all().into_iter().find(is_foreign) {
            None => Ok(()),
            Some(Mount { point, .. }) => {
                let point = shell::word(&point);
                Err(io::Error::new(
                    io::ErrorKind::ResourceBusy,
                    format!(
                        "`{point}` is a mount point: `umount {point}`; `lxc.mount.entry` in the config mounts it for the \
                         container alone"
                    ),
                ))
            }
        }
    }

    /// Keeps the config and the record of what the container is with what takes its place.
    fn begin(&self, name: &str) -> io::Result<()> {
        let from = self.within(name);
        let text = read(&from.join(config_name()))?;
        let tree = self.tree_of(&from, &text)?;
        for (name, is_there) in
            [(tree.as_str(), is_directory as fn(&Path) -> bool), (record::NAME, Path::is_file)]
        {
            let path = from.join(name);
            if !is_there(&path) {
                let why = format!("`{}` is gone", path.display());
                return Err(io::Error::new(io::ErrorKind::NotFound, why));
            }
        }
        remove_in(&from, OLD)?;
        let old = from.join(OLD);
        fs::DirBuilder::new().mode(0o755).create(&old)?;
        let (live, old) = (files::open_directory(&self.container)?, files::open_directory(&old)?);
        copy_file(&live, &old, config_name())?;
        match copy_file(&live, &old, record::NAME) {
            // Somebody has removed it: what takes its place brings its own.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            copied => copied?,
        }
        tree::make_durable(files::open_directory(&from)?.as_fd())?;
        fs::rename(&from, self.within(SWITCH))?;
        self.settled()
    }

    /// Takes a switch to its end, from wherever it is, and tells whether it had its moment. One that has
    /// not had it has it, or is taken back. What fails `between` two steps leaves it there.
    fn advance(
        &self,
        commits: bool,
        between: &mut dyn FnMut() -> io::Result<()>,
    ) -> io::Result<bool> {
        let switch = self.within(SWITCH);
        if !is_directory(&switch) {
            return Ok(false);
        }
        let live = files::open_directory(&self.container)?;
        let coming = files::open_directory(&switch)?;
        if !is_directory(&switch.join(OLD)) {
            return self.end().map(|()| true);
        }
        let last = read(&switch.join(config_name()))?;
        let name = self.tree_of(&switch, &last)?;
        let (here, there, kept) =
            (self.container.join(&name), switch.join(&name), switch.join(OLD).join(&name));
        let names_there = || self.names_switch();
        if self.is_before_moment(&name)? {
            if !commits {
                return self.take_back().map(|()| false);
            }
            let text = named_elsewhere(&last, &there)?;
            let sidecars = self.sidecars()?;
            self.movable(&name, &sidecars)?;
            room::movable([&there])?;
            room::movable(sidecars.iter().map(|name| switch.join(sidecar::BESIDE).join(name)))?;
            // From the moment on nothing may be missing.
            let texts = 3 * last.len() + read(&switch.join(record::NAME))?.len();
            room::take(&switch, FILES_OF_SWITCH + 2 * sidecars.len(), texts)?;
            self.put_new_sidecars(between)?;
            between()?;
            put_file(&coming, &live, config_name(), &text)?;
            between()?;
        }
        room::give(&switch)?;
        if names_there()? {
            if is_directory(&here) {
                fs::rename(&here, &kept)?;
                sync(&switch.join(OLD))?;
                fsync(&live)?;
                between()?;
            }
            if here.symlink_metadata().is_err() {
                let target = Path::new(GENERATIONS).join(SWITCH).join(&name);
                symlink(target, &here)?;
                fsync(&live)?;
                between()?;
            }
            // LXC follows no link to a rootfs, but one on the way there: this is the tree before what follows,
            // and after it.
            let behind = |key: &str, value: &str| {
                let value = config::unquoted(value);
                let is_rootfs = key == "lxc.rootfs.path" && !value.starts_with("overlay:");
                is_rootfs.then(|| format!("{value}/../{name}"))
            };
            put_file(&coming, &live, config_name(), &config::rewrite(&last, behind))?;
            between()?;
        }
        if here.is_symlink() {
            match renameat_with(CWD, &here, CWD, &there, RenameFlags::EXCHANGE) {
                // Some filesystems do not know that.
                Err(Errno::INVAL | Errno::NOSYS) => fs::remove_file(&here)?,
                exchanged => exchanged?,
            }
        }
        if here.symlink_metadata().is_err() {
            fs::rename(&there, &here)?;
        }
        fsync(&live)?;
        fsync(&coming)?;
        between()?;
        put_file(&coming, &live, config_name(), &last)?;
        between()?;
        self.put_sidecars(between)?;
        let record = read(&switch.join(record::NAME))?;
        put_file(&coming, &live, record::NAME, &record)?;
        between()?;
        if switch.join(UNDOES).exists() {
            if is_directory(&self.within(REPLACED)) {
                fs::rename(self.within(REPLACED), self.within(PREVIOUS))?;
                self.settled()?;
                between()?;
            }
            fs::rename(switch.join(OLD), switch.join(OVER))?;
        } else {
            if is_directory(&self.within(PREVIOUS)) {
                self.remove(REPLACED)?;
                fs::rename(self.within(PREVIOUS), self.within(REPLACED))?;
                between()?;
            }
            fs::rename(switch.join(OLD), self.within(PREVIOUS))?;
        }
        self.settled()?;
        between()?;
        self.end().map(|()| true)
    }

    /// Tells whether the config names the tree of a switch.
    fn names_switch(&self) -> io::Result<bool> {
        let text = read(&self.container.join(config_name()))?;
        Ok(tree_name(&text, &self.within(SWITCH)).is_some())
    }

    /// Tells whether a switch to a tree of this name has not had its moment.
    fn is_before_moment(&self, name: &str) -> io::Result<bool> {
        let switch = self.within(SWITCH);
        let trees = [self.container.join(name), switch.join(name)];
        Ok(!self.names_switch()?
            && trees.iter().all(|tree| is_directory(tree))
            && !switch.join(OLD).join(name).exists())
    }

    /// Tells whether somebody was killed at a switch that has had its moment.
    pub(crate) fn is_past_moment(&self) -> io::Result<bool> {
        let switch = self.within(SWITCH);
        if !is_directory(&switch) {
            return Ok(false);
        }
        let last = read(&switch.join(config_name()))?;
        let name = tree_name(&last, &self.container);
        name.map_or(Ok(false), |name| self.is_before_moment(&name).map(|is| !is))
    }

    /// Removes what is left of a switch, which is over at once; what cannot be removed is left to [`Self::discard`].
    fn end(&self) -> io::Result<()> {
        self.remove(OVER)?;
        self.note_back()?;
        fs::rename(self.within(SWITCH), self.within(OVER))?;
        let _ = self.remove(OVER);
        Ok(())
    }

    /// Returns the name of the tree that the config of a generation names.
    ///
    /// # Errors
    ///
    /// Also that it names none of the container's.
    fn tree_of(&self, generation: &Path, text: &[u8]) -> io::Result<String> {
        tree_name(text, &self.container).ok_or_else(|| {
            let (config, container) = (generation.join(config_name()), &self.container);
            io::Error::other(format!(
                "`{}` names no tree of `{}`: where that was moved, it has to be changed as its own config was",
                config.display(),
                container.display()
            ))
        })
    }

    /// Takes a switch back before its moment.
    fn take_back(&self) -> io::Result<()> {
        let switch = self.within(SWITCH);
        room::give(&switch)?;
        self.take_back_sidecars()?;
        if !switch.join(KEPT).exists() {
            return self.end();
        }
        remove_in(&switch, OLD)?;
        fs::rename(switch, self.within(PREVIOUS))?;
        self.settled()
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        remove_in(&self.container.join(GENERATIONS), name).map_err(|error| {
            let path = shell::word(self.within(name));
            io::Error::new(error.kind(), format!("`{path}` cannot be removed: {error}"))
        })
    }

    /// Brings the names of the generations to the disk.
    fn settled(&self) -> io::Result<()> {
        sync(&self.container.join(GENERATIONS))
    }
}

/// Returns the name of a container's config.
fn config_name() -> &'static str {
    super::config::NAME
}

/// Returns the name of the tree that a config names in a directory: of the upper one of an overlay, or of the
/// rootfs itself.
pub(crate) fn tree_name(config: &[u8], directory: &Path) -> Option<String> {
    let text = String::from_utf8_lossy(config);
    let path = Path::new(config::own_tree(&text)?);
    let name = (path.parent() == Some(directory)).then(|| path.file_name()).flatten()?;
    name.to_str().map(str::to_owned)
}

/// Returns a config that has the container's own tree at another place, however the config spells where it is.
fn named_elsewhere(text: &[u8], tree: &Path) -> io::Result<Vec<u8>> {
    let before = String::from_utf8_lossy(text).into_owned();
    let (own, tree) = (config::own_tree(&before).unwrap_or_default(), tree.display().to_string());
    let text = config::rewrite(text, |key, value| {
        let value = config::unquoted(value);
        let start = value.strip_suffix(own).filter(|_| key == "lxc.rootfs.path")?;
        Some(format!("{start}{tree}"))
    });
    match config::own_tree(&String::from_utf8_lossy(&text)) == Some(tree.as_str()) {
        true => Ok(text),
        false => Err(io::Error::other(format!("`lxc.rootfs.path` cannot be let name `{tree}`"))),
    }
}

fn remove_in(directory: &Path, name: &str) -> io::Result<()> {
    match files::open_real_directory(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        opened => tree::remove(opened?.as_fd(), OsStr::new(name)),
    }
}

fn is_directory(path: &Path) -> bool {
    path.symlink_metadata().is_ok_and(|found| found.is_dir())
}

fn sync(directory: &Path) -> io::Result<()> {
    Ok(fsync(files::open_directory(directory)?)?)
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    files::read_regular(path, LARGEST)
        .map_err(|error| io::Error::new(error.kind(), format!("`{}`: {error}", path.display())))
}

/// Replaces a file of the container by a text. It is on the disk, made in the directory of the generation, before it
/// has the name.
///
/// It has what the file has besides: the one that it takes the place of, or the one that was kept where the
/// generation was there before.
fn put_file(coming: &OwnedFd, live: &OwnedFd, name: &str, text: &[u8]) -> io::Result<()> {
    let made = files::open_in(coming, name)?;
    let there = match files::open_in(live, name) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        there => Some(there?),
    };
    let is_kept = files::open_in(coming, KEPT).is_ok();
    let like = there.as_ref().filter(|_| !is_kept).unwrap_or(&made);
    files::replace_in(coming, PLACED, text, Ownership::of(like)?)?;
    let placed = files::open_in(coming, PLACED)?;
    tree::copy_attributes(like.as_fd(), placed.as_fd(), Marks::Plain)?;
    futimens(&placed, &tree::times(&fstat(&made)?))?;
    fsync(&placed)?;
    renameat(coming, PLACED, live, name)?;
    Ok(fsync(live)?)
}

/// Copies a file with all that it has.
fn copy_file(from: &OwnedFd, to: &OwnedFd, name: &str) -> io::Result<()> {
    let file = files::open_in(from, name)?;
    let text = files::read_opened(file.try_clone()?.into(), LARGEST)?;
    files::replace_in(to, name, &text, Ownership::of(&file)?)?;
    tree::copy_attributes(file.as_fd(), files::open_in(to, name)?.as_fd(), Marks::Plain)
}
