//! `lock`: writes what a role was made from beside its manifest, or compares the two.

use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::arguments::LockArguments;
use super::build::interrupted;
use super::load;
use super::lock_file::LockFile;
use super::mapping::{IN_PIECES, Mapping, in_the_way};
use super::output;
use super::refusal::Refusal;
use super::request::{LockUse, Request, check, target, wanted};
use super::start::InitialConfig;
use super::within::enter;
use crate::cache::{Cache, CachePlan, Index, Slot};
use crate::digest::Digest;
use crate::execute::status;
use crate::export::{Image, Output, form_of_content, told};
use crate::host::caller::Caller;
use crate::host::clock;
use crate::host::files::{self, Ownership};
use crate::host::lxcpath;
use crate::host::signals::Signals;
use crate::host::trust::{Policy, Trust};
use crate::lock::{Held, Lock, LockedSlot};
use crate::plan::{EntryId, StorageMode, Target};
use crate::shell;
use crate::store::{Entry, Store};
use crate::tree::Interrupt;

/// The exit status of findings.
const FINDINGS: u8 = 1;

pub(super) fn main(arguments: &LockArguments) -> u8 {
    match lock(arguments) {
        Ok(status) => status,
        Err(refusal) => {
            refusal.say();
            status::USAGE
        }
    }
}

fn lock(arguments: &LockArguments) -> Result<u8, Refusal> {
    check(None, &arguments.roles.args)?;
    let caller = Caller::observe();
    if let Some(status) = InitialConfig::refused(arguments.roles.config.as_deref()) {
        return Ok(status);
    }
    let start = InitialConfig::read(arguments.roles.config.as_deref(), &caller)?;
    if start.mapping == Mapping::Pieces {
        return Err(IN_PIECES.to_owned().into());
    }
    let mut worst = 0;
    let mut roles = Vec::new();
    for manifest in &arguments.roles.manifests {
        match Role::read(manifest, arguments, &start, &caller) {
            Ok(role) => roles.push(role),
            Err(status) => worst = worst.max(status),
        }
    }
    if worst > 0 {
        return Ok(worst);
    }
    if arguments.check {
        return Ok(roles.iter().map(Role::check).max().unwrap_or_default());
    }
    let mut output_as = Output::observe();
    // Trees of an id map are read within it.
    if roles.iter().any(Role::is_to_be_read) {
        enter(start.mapping)?;
        output_as = output_as.of(start.mapping.mapped().map(|mapped| (mapped.uid, mapped.gid)));
    }
    let mut signals =
        Signals::keep().map_err(|error| format!("signals cannot be kept: {error}"))?;
    for role in roles {
        let path = Lock::path_of(&role.manifest);
        let written = role
            .digest_contents(Interrupt::of(signals.as_fd()))
            .and_then(|role| role.write(&path, output_as));
        if let Err(error) = written {
            let shown = path.display();
            if let Some(status) = interrupted(&mut signals, &format!("`{shown}` is not written")) {
                return Ok(status);
            }
            let message = format!("`{shown}` cannot be written: {error}");
            let is_denied = error.kind() == io::ErrorKind::PermissionDenied;
            return match in_the_way(&path, "layers are read").filter(|_| is_denied) {
                Some(hint) => Err(Refusal::with_hint(message, hint)),
                None => Err(message.into()),
            };
        }
    }
    Ok(0)
}

/// A role, and what its lock would be.
struct Role {
    manifest: PathBuf,
    /// The lock that is there.
    file: Option<LockFile>,
    /// How the role differs from that.
    held: Held,
    lock: Lock,
    store: Store,
    target: Target,
    /// What is stored of it, and the slots that those are of, the innermost first.
    stored: Vec<(Slot, EntryId)>,
    /// What of it is not locked to anything that was built, and why.
    open: Option<String>,
    /// The first part of it that is not built yet.
    unbuilt: Option<String>,
}

impl Role {
    /// Reads it, or says why it cannot be used, and returns the exit status.
    fn read(
        manifest: &Path,
        arguments: &LockArguments,
        start: &InitialConfig,
        caller: &Caller,
    ) -> Result<Self, u8> {
        let name = load::name_of(manifest);
        let path = lxcpath::default(caller).join(&name);
        let target = target(&name, &path, start.mapping.mapped(), arguments.roles.args.clone());
        let request = Request {
            manifest: manifest.to_path_buf(),
            values: arguments.roles.values.clone(),
            trust: Trust::observe(Policy::Warn),
            config: start.config(&target.rootfs),
            ids: start.ids(caller),
            wanted: wanted(StorageMode::Fill, false),
            lock: if arguments.check { LockUse::Compare } else { LockUse::Renew },
            remote: None,
            target,
        };
        let prepared = request.prepare()?;
        if prepared.lock.is_none() && arguments.check {
            return Err(LockFile::missing(manifest));
        }
        let (Some(cache), Some(store)) = (prepared.cache.plan(), prepared.store) else {
            let why = match &prepared.cache {
                Cache::Unusable { why, .. } => why,
                _ => "it is not used",
            };
            output::error(&format!("the layer store cannot be looked into: {why}"), None);
            return Err(status::STORE);
        };
        let index = store.index().unwrap_or_default();
        let manifest = manifest.to_path_buf();
        let mut role = Self {
            manifest,
            file: prepared.lock,
            held: prepared.held,
            lock: prepared.inputs,
            store,
            target: prepared.plan.container.clone(),
            stored: Vec::new(),
            open: None,
            unbuilt: None,
        };
        role.add_slots(cache, &index);
        Ok(role)
    }

    /// Adds what is stored of each layer, or else was locked before by the same key.
    fn add_slots(&mut self, cache: &CachePlan, index: &Index) {
        let mut parent = None;
        self.open.clone_from(&cache.end);
        for (number, slot) in cache.slots.iter().enumerate() {
            if let Some(by) = &slot.decided_by {
                self.open = Some(format!("pre of layer `{by}` decides it in each run"));
                return;
            }
            let (_, key) = cache.lookup(number, parent, &|_| Vec::new());
            let before = self.file.as_ref().and_then(|file| file.lock.slot(slot));
            let before = before.filter(|before| before.key == Some(key)).unwrap_or_default();
            let stored = index.find(key, None, None);
            let entry = stored.or(before.entry);
            let is_same = before.entry == entry;
            let content = before.content.filter(|_| is_same);
            let document = before.document.filter(|_| is_same);
            let (content, document) = match stored {
                None => (content, document),
                Some(stored) => self.known(stored, content).unzip(),
            };
            self.lock.set_slot(slot, LockedSlot { key: Some(key), entry, content, document });
            if let Some(stored) = stored.filter(|_| self.stored.len() == number) {
                self.stored.push((slot.clone(), stored));
            }
            if entry.is_none() {
                self.unbuilt = Some(slot.label());
                self.open = None;
                return;
            }
            parent = entry;
        }
    }

    /// Returns the digests of a stored layer that are known without its tree: what was locked `before` stays, unless
    /// it is dated otherwise now.
    fn known(&self, entry: EntryId, before: Option<Digest>) -> Option<(Digest, Digest)> {
        let entry = Entry::read(&self.store, entry).ok()?;
        let known = self.store.contents(&entry).ok()?;
        let is_dated = clock::given().is_some();
        let stays = |before: &Digest| !is_dated && known.iter().any(|one| one.digest == *before);
        let now = || known.iter().find(|one| one.form.as_ref() == Some(&form_of_content()));
        let content = before.filter(stays).or_else(|| now().map(|one| one.digest))?;
        Some((content, told(&entry, content, &self.target.arch).ok()?))
    }

    /// Compares it with its lock, tells of that, and returns the exit status.
    fn check(&self) -> u8 {
        let Some(file) = &self.file else { return status::USAGE };
        if file.refuse(&self.held.differences).is_err() {
            return FINDINGS;
        }
        output::printed(0, |to| writeln!(to, "{} is up to date", file.path.display()))
    }

    /// Tells whether a tree has to be read for it.
    fn is_to_be_read(&self) -> bool {
        self.stored.iter().any(|(slot, _)| self.lacks_content(slot))
    }

    fn lacks_content(&self, slot: &Slot) -> bool {
        let is_whole = |locked: &LockedSlot| locked.content.is_some() && locked.document.is_some();
        self.lock.slot(slot).is_some_and(|locked| !is_whole(&locked))
    }

    /// Adds the digests of what the stored layers hold.
    fn digest_contents(mut self, interrupt: Interrupt<'_>) -> io::Result<Self> {
        if !self.is_to_be_read() {
            return Ok(self);
        }
        let entries: Vec<EntryId> = self.stored.iter().map(|(_, entry)| *entry).collect();
        let image = Image::open(&self.store, &entries, &self.target)?;
        for (number, (slot, _)) in std::mem::take(&mut self.stored).iter().enumerate() {
            if let Some(locked) = self.lock.slot(slot).filter(|_| self.lacks_content(slot)) {
                let content = match locked.content {
                    Some(content) => content,
                    None => image.content(number, interrupt)?,
                };
                let told =
                    image.stored().nth(number).map(|entry| told(entry, content, image.arch()));
                let (content, document) = (Some(content), told.transpose()?);
                self.lock.set_slot(slot, LockedSlot { content, document, ..locked });
            }
        }
        Ok(self)
    }

    fn write(&self, path: &Path, output_as: Output) -> io::Result<()> {
        let text = self.lock.text().map_err(io::Error::other)?;
        let shown = path.display();
        let is_new = self.file.as_ref().is_none_or(|file| file.text != text);
        if is_new {
            let ownership = match path.symlink_metadata() {
                Ok(old) if !old.is_file() => {
                    return Err(io::Error::other("it exists, and is not a regular file"));
                }
                Ok(old) => Ownership { uid: old.uid(), gid: old.gid(), mode: old.mode() & 0o777 },
                Err(_) => output_as.ownership(),
            };
            let directory = path.parent().filter(|above| !above.as_os_str().is_empty());
            let directory = files::open_directory(directory.unwrap_or(Path::new(".")))?;
            let name = path.file_name().unwrap_or_default();
            files::replace_in(&directory, name, text.as_bytes(), ownership)?;
        }
        let state = if is_new { "written" } else { "unchanged" };
        let _ = output::print(|to| writeln!(to, "{shown}  {state}"));
        if let Some(why) = &self.open {
            output::say(&format!("note: {shown}: no further layer is locked: {why}"));
        }
        if let Some(unbuilt) = &self.unbuilt {
            let manifest = shell::word(&self.manifest);
            output::say(&format!(
                "warning: {shown} does not pin {unbuilt}, which is not built yet\n\
                 hint: `layered-template build {manifest}`, and then lock again"
            ));
        }
        Ok(())
    }
}
