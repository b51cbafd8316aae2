//! A container that is upgraded, and what it stands on.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::cache::CONFIG_NAME;
use crate::cli::arguments::LogFormat;
use crate::cli::mapping::{IN_PIECES, Mapping};
use crate::cli::meant::{record_of, stands_elsewhere};
use crate::cli::output;
use crate::cli::refusal::Refusal;
use crate::cli::request::ContainerIds;
use crate::cli::start::InitialConfig;
use crate::execute::{Generations, full_disk_beside, status, tree_name};
use crate::host::caller::Caller;
use crate::host::lxc_commands::LxcContainer;
use crate::host::{child, files, userns};
use crate::lxc::config;
use crate::observe::container::Container;
use crate::plan::{EntryId, StorageMode};
use crate::record::Record;
use crate::shell;
use crate::store::{self, Entry, GENERATIONS, Pin, Pinned, Store};

/// What to do with a container that cannot be upgraded.
const AGAIN: &str = "make a new container from the role, and move what it holds";

/// What is done with a container that goes back, as a message names that.
pub(super) const ROLLBACK: &str = "rollback";

/// A container that is upgraded.
pub(super) struct Subject<'a> {
    pub(super) container: &'a Container,
    pub(super) record: &'a Record,
    pub(super) mapping: Mapping,
    pub(super) ids: ContainerIds,
    pub(super) store: Store,
    pub(super) old: Entry,
    /// What keeps that in the store.
    _pin: Pin,
    pub(super) generations: Generations,
}

/// A container, as far as it is known whatever it stands on.
pub(super) struct AnySubject<'a> {
    pub(super) container: &'a Container,
    /// What is done with it, as a message names that.
    what: &'static str,
    mapping: Mapping,
    pub(super) generations: Generations,
}

impl<'a> Subject<'a> {
    /// Finds what a container stands on.
    ///
    /// # Errors
    ///
    /// Why it cannot be upgraded, and what to do instead.
    pub(super) fn find(container: &'a Container, caller: &Caller) -> Result<Self, Refusal> {
        let name = &container.name;
        let cannot = |why: &str, hint: &str| {
            Refusal::with_hint(format!("`{name}` cannot be upgraded: {why}"), hint.to_owned())
        };
        let record = record_of(container)?;
        let (mapping, ids) = mapping_of(container, caller)?;
        let text = container.config();
        let again = AGAIN;
        let Some(stored) = &record.stored else {
            return Err(cannot("it was made without the layer store", again));
        };
        if let Some(why) = stands_elsewhere(container, record) {
            return Err(cannot(&why, again));
        }
        has_tree(container, "upgraded")?;
        let value = String::from_utf8_lossy(&text).into_owned();
        let value =
            config::unquoted(config::last_value(&value, "lxc.rootfs.path").unwrap_or_default());
        let is_overlay = value.starts_with("overlay:");
        if is_overlay != (record.storage() == StorageMode::Overlay) {
            return Err(cannot(
                "its config has another kind of rootfs than its record tells of",
                again,
            ));
        }
        let (store, id) = match Store::of_rootfs(value) {
            Some(found) => found,
            None => {
                let store = store::directory(caller).zip(ids.map.clone());
                let store = store.map(|(top, map)| Store::new(&top, &map));
                store
                    .zip(EntryId::parse(&stored.entry))
                    .ok_or_else(|| cannot("the layer store is not found", "set HOME"))?
            }
        };
        let old = || -> io::Result<(Entry, Pin)> {
            let pin = pinned(&store, id, mapping)?;
            let old = Entry::read(&store, id)?;
            old.list(&store)?;
            Ok((old, pin))
        };
        let (old, pin) = old().map_err(|error| {
            let tree = shell::word(store.rootfs(id));
            let why = format!("what it was made of, `{tree}`, cannot be read: {error}");
            let lost = format!("has `store gc` removed it, or is the disk of the store missing? If it is lost, {again}");
            cannot(&why, &lost)
        })?;
        let generations = Generations::of(&container.path);
        Ok(Self { container, record, mapping, ids, store, old, _pin: pin, generations })
    }

    /// Finds one with which something is done whatever it stands on.
    pub(super) fn find_any(
        container: &'a Container,
        caller: &Caller,
        what: &'static str,
    ) -> Result<AnySubject<'a>, Refusal> {
        let (mapping, _) = mapping_of(container, caller)?;
        if let Some(owner) = other_owner(container, mapping, caller) {
            return Err(Refusal::with_hint(
                format!("`{}` is another user's", container.name),
                format!(
                    "run it as {owner}: LXC starts a user's container, and finds its layers, for that user alone"
                ),
            ));
        }
        Ok(AnySubject { container, what, mapping, generations: Generations::of(&container.path) })
    }

    /// Returns it without what it stands on.
    pub(super) fn any(&self) -> AnySubject<'a> {
        let (container, mapping) = (self.container, self.mapping);
        AnySubject { container, what: "upgrade", mapping, generations: self.generations.clone() }
    }

    pub(super) fn name(&self) -> &'a str {
        &self.container.name
    }

    pub(super) fn lxc(&self) -> LxcContainer<'a> {
        self.any().lxc()
    }

    pub(super) fn is_running(&self) -> bool {
        self.any().is_running()
    }

    pub(super) fn within(&self, work: impl FnOnce() -> u8) -> u8 {
        self.any().within(work)
    }

    pub(super) fn done(&self, done: io::Result<()>) -> u8 {
        self.any().done(done)
    }
}

impl<'a> AnySubject<'a> {
    /// Returns its name.
    pub(super) fn name(&self) -> &'a str {
        &self.container.name
    }

    /// Keeps others from the container's generations as long as the descriptor is open.
    ///
    /// # Errors
    ///
    /// Also that somebody else has them.
    pub(super) fn lock(&self) -> Result<OwnedFd, Refusal> {
        let path = self.container.path.display();
        let locked = self.generations.lock();
        let locked = locked.map_err(|error| format!("`{path}` cannot be locked: {error}"))?;
        let busy = || format!("another upgrade or rollback of `{}` is at work", self.name());
        locked.ok_or_else(|| busy().into())
    }

    /// Returns it as LXC's commands name it.
    pub(super) fn lxc(&self) -> LxcContainer<'a> {
        let Container { lxcpath, name, .. } = self.container;
        LxcContainer { lxcpath, name }
    }

    /// Tells whether its ids are mapped.
    pub(super) fn is_mapped(&self) -> bool {
        self.mapping != Mapping::None
    }

    /// Tells whether it runs now.
    pub(super) fn is_running(&self) -> bool {
        let now = Container::at(&self.container.path);
        now.is_some_and(|now| now.is_running) || self.lxc().is_running()
    }

    /// Does something with the ids of the container, and returns the exit status.
    pub(super) fn within(&self, work: impl FnOnce() -> u8) -> u8 {
        let ids = match self.mapping {
            Mapping::None | Mapping::Pieces => return work(),
            Mapping::CallerAlone => None,
            Mapping::Ids(ids) => Some(ids),
        };
        match userns::run_in(ids, status::FILES, work) {
            Ok(ended) => child::code(ended),
            Err(error) => self.done(Err(error)),
        }
    }

    /// Says what failed, and returns the exit status.
    pub(super) fn done(&self, done: io::Result<()>) -> u8 {
        let Err(error) = done else { return 0 };
        let (name, word) = (&self.container.name, shell::word(&self.container.path));
        let message = format!("`{name}`: the {} failed: {error}", self.what);
        let hint = match self.generations.is_interrupted() {
            true => Some(format!(
                "`{name}` is partly what it was, and partly what its role makes: `layered-template upgrade {word}` \
                 finishes it, once what failed is mended; `layered-template rollback {word}` goes back"
            )),
            false if files::is_full(&error) => Some(full_disk_beside(&self.container.path)),
            false if self.what == ROLLBACK && error.kind() == io::ErrorKind::NotFound => {
                let kept = shell::word(self.container.path.join(GENERATIONS));
                Some(format!("what it was is damaged: `rm -r {kept}` gives it up"))
            }
            false => None,
        };
        output::error(&message, hint.as_deref());
        status::FILES
    }
}

impl AnySubject<'_> {
    /// Removes what nobody needs any more. What cannot be removed is told of, and in nobody's way but that of the next
    /// upgrade.
    pub(super) fn discard(&self, format: LogFormat) {
        let discarded = || {
            self.generations.discard().map_or_else(
                |error| {
                    output::warning(&format!("`{}`: {error}", self.container.name), format);
                    0
                },
                |()| 0,
            )
        };
        self.within(discarded);
    }

    /// Sees that nothing stands on the container's rootfs, where that is no overlay of its own.
    ///
    /// # Errors
    ///
    /// What does.
    pub(super) fn stands_alone(&self) -> Result<(), Refusal> {
        let Some(other) = stands_on(self.container) else { return Ok(()) };
        let name = self.name();
        Err(Refusal::with_hint(
            format!("no {} of `{name}`: `{other}` is an overlay on its rootfs", self.what),
            "remove that first: `lxc-snapshot -d`, `lxc-destroy`; containers made with `--storage=overlay` need not \
             share a rootfs for that"
                .to_owned(),
        ))
    }
}

fn mapping_of(container: &Container, caller: &Caller) -> Result<(Mapping, ContainerIds), Refusal> {
    let start = InitialConfig::of_container(&container.path.join(CONFIG_NAME), caller)?;
    if start.mapping == Mapping::Pieces {
        return Err(IN_PIECES.to_owned().into());
    }
    Ok((start.mapping, start.ids(caller)))
}

/// Sees that a container's tree is where a generation has it.
///
/// # Errors
///
/// Where it is not, and how it comes there.
pub(super) fn has_tree(container: &Container, what: &str) -> Result<(), Refusal> {
    let text = container.config();
    if tree_name(&text, &container.path).is_some() {
        return Ok(());
    }
    let text = String::from_utf8_lossy(&text);
    let named = config::own_tree(&text).map(Path::new);
    let hint = match named.and_then(|tree| Some((tree, container.path.join(tree.file_name()?)))) {
        Some((_, own)) if own.exists() => {
            let own = shell::word(own);
            format!("if it was moved, let `lxc.rootfs.path` name {own}; else {AGAIN}")
        }
        // A restored snapshot has it deeper.
        Some((tree, own)) if tree.starts_with(&container.path) && tree.exists() => format!(
            "`mv {} {}`, and let `lxc.rootfs.path` name that",
            shell::word(tree),
            shell::word(own)
        ),
        _ => AGAIN.to_owned(),
    };
    let name = &container.name;
    let message =
        format!("`{name}` cannot be {what}: its config names no rootfs in its own directory");
    Err(Refusal::with_hint(message, hint))
}

/// Keeps an entry in the store.
fn pinned(store: &Store, id: EntryId, mapping: Mapping) -> io::Result<Pin> {
    let pinned = match (store.pin(id), mapping) {
        // Trees are the map's own.
        (Err(error), Mapping::CallerAlone) if is_denied(&error) => store.pin_within(None, id),
        (Err(error), Mapping::Ids(ids)) if is_denied(&error) => store.pin_within(Some(ids), id),
        (pinned, _) => pinned,
    };
    match pinned? {
        Pinned::Held(pin) => Ok(pin),
        Pinned::Busy | Pinned::Gone => Err(io::ErrorKind::NotFound.into()),
    }
}

fn is_denied(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::PermissionDenied
}

/// Returns whose container it is by its config, if neither the caller's nor the container's own root's.
fn other_owner(container: &Container, mapping: Mapping, caller: &Caller) -> Option<String> {
    let owner = fs::metadata(container.path.join(CONFIG_NAME)).ok()?.uid();
    let own = mapping.ids(caller).map(|ids| ids.users.first);
    (owner != caller.uid && Some(owner) != own).then(|| format!("user {owner}"))
}

/// Where LXC notes the overlays that were made over a container's rootfs: their lxcpaths and their names, in turns.
///
/// Source: lxc-copy(1) and `mod_rdep` of liblxc 5.
const LXC_SNAPSHOTS: &str = "lxc_snapshots";

/// Returns the container or snapshot that has a tree of a container as its lower directory, if one has.
fn stands_on(container: &Container) -> Option<String> {
    let within = |directory: &Path| -> Vec<_> {
        let entries = fs::read_dir(directory).into_iter().flatten().flatten();
        entries.map(|entry| entry.path()).collect()
    };
    let noted = files::read_regular(&container.path.join(LXC_SNAPSHOTS), config::LARGEST);
    let noted = noted.unwrap_or_default();
    let lines: Vec<&Path> =
        noted.split(|byte| *byte == b'\n').map(|line| Path::new(OsStr::from_bytes(line))).collect();
    let elsewhere = lines.chunks_exact(2).map(|pair| pair[0].join(pair[1]));
    let others = within(container.path.parent()?).into_iter();
    let others = others.chain(within(&container.path.join("snaps"))).chain(elsewhere);
    others.into_iter().find_map(|other| {
        let text = files::read_regular(&other.join(CONFIG_NAME), config::LARGEST).ok()?;
        let text = String::from_utf8_lossy(&text);
        let value = config::unquoted(config::last_value(&text, "lxc.rootfs.path")?);
        let (lower, _) = value.strip_prefix("overlay:")?.rsplit_once(':')?;
        // One of several may be it, however it is spelled.
        lower.split(':').find(|lower| Path::new(lower).starts_with(&container.path))?;
        Some(shell::one_line(&other.file_name()?.to_string_lossy()))
    })
}
