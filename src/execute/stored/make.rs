//! Makes what the store lacks.

use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use super::super::failure::{Failure, status};
use super::super::observe::{Doing, Subject};
use super::super::workspace::Workspace;
use super::super::{Handed, Run, config};
use super::identity::Names;
use super::{Denied, Stored, fault, is_upstream};
use crate::host::caller::Caller;
use crate::host::files::{self, Ownership};
use crate::host::lxcpath;
use crate::observe::ground;
use crate::plan::{Act, Content, Layer, Mode, PLACEHOLDER, Pattern, Rung, Stock, Target};
use crate::store::{About, Build, BuildOn, Entry, Lock, Made, Setting};
use crate::tree::Interrupt;

/// How the making of something ended.
pub(super) enum Ended {
    /// It is there.
    Done,
    /// This host has no place where it could be made.
    NoPlace(io::Error),
}

impl Run<'_> {
    /// Makes one storable, or takes it from another run that makes it meanwhile.
    pub(super) fn make(&mut self, pattern: &Pattern, index: usize) -> Result<Ended, Box<Failure>> {
        self.uninterrupted()?;
        let storable = &pattern.stored[index];
        let Some(layer) = pattern.nest_layer(&storable.name) else { return Ok(Ended::Done) };
        let Some(stored) = &self.stored else { return Ok(Ended::Done) };
        let (store, base) = (stored.store.clone(), stored.base);
        let rung = self.rung(pattern, index, base);
        let fail = |error: io::Error| fault(layer, "cannot be looked for", &error);
        let lock = store.lock_of(rung.key).map_err(fail)?;
        let word = lock.token().map_err(fail)?;
        if self.held().contains(&word) {
            let subject = Subject { layer: layer.name.clone(), doing: Doing::Store };
            let reason = "is made by a run that this is part of";
            let failure = Failure::of(status::STORE, subject, &layer.at, reason);
            return Err(Box::new(failure.hint("a manifest must not come to itself")));
        }
        self.wait(&format!("another run makes {}", storable.slot()), || lock.take())?;
        let stock = store.stock(&self.plan.manifest.absolute, &[]).map_err(fail)?;
        if let Some(stored) = &mut self.stored {
            let earlier = std::mem::take(&mut stored.stock.earlier);
            stored.stock = Stock { earlier, ..stock };
            for id in &stored.damaged {
                if stored.stock.entries.get(&id.key) == Some(&id.generation) {
                    stored.stock.entries.remove(&id.key);
                }
            }
        }
        let again = self.rung(pattern, index, base);
        let sound = |entry: &crate::plan::EntryId| store.fault(*entry).is_none();
        // With `--rebuild`, what was made while this run waited is new too.
        if let Some(entry) = again.found.filter(sound) {
            let slot = storable.slot();
            self.log(format!("{slot}: in the store as {entry}, made meanwhile\n").as_bytes());
            self.found(pattern, index, entry, None);
            return Ok(Ended::Done);
        }
        if index > 0 {
            // Why the first misses was said when it was looked for.
            self.misses(pattern, index, &again);
        }
        let begun = std::time::Instant::now();
        let (build, workspace) = match self.place(pattern, layer) {
            Ok(place) => place,
            Err(error) => {
                self.heard(&error)?;
                return Ok(Ended::NoPlace(error));
            }
        };
        if let Some(stored) = &mut self.stored {
            stored.making = Some(word);
        }
        let made = self.build(pattern, index, layer, again, build, workspace);
        if let Some(stored) = &mut self.stored {
            stored.making = None;
        }
        let Some(entry) = made? else {
            let why = "the template changes the lines of the config that LXC has given it";
            return Ok(Ended::NoPlace(io::Error::other(why)));
        };
        self.found(pattern, index, entry.id, Some(begun.elapsed()));
        Ok(Ended::Done)
    }

    fn build(
        &mut self,
        pattern: &Pattern,
        index: usize,
        layer: &Layer,
        rung: Rung,
        build: Build,
        workspace: Workspace,
    ) -> Result<Option<Entry>, Box<Failure>> {
        let storable = &pattern.stored[index];
        let handed = self.handed_of(pattern, &layer.name);
        let upstream = is_upstream(pattern, index);
        self.in_workspace(workspace, |run| {
            if upstream {
                return Ok(run.upstream(layer, pattern.upstream())?);
            }
            run.acts(layer, &handed, |act| !act.is_check_on_host())
        })?;
        if upstream {
            self.unchanged_arguments(pattern, layer)?;
            if build.config().is_ok_and(|config| config.is_none()) {
                return Ok(None);
            }
        }
        let made = Made {
            layer: layer.name.to_string(),
            slot: storable.slot(),
            manifest: self.plan.manifest.absolute.clone(),
            role: self.plan.manifest.description.clone(),
        };
        let identity: Vec<&Path> = storable.identity.iter().map(AsRef::as_ref).collect();
        let own: &[Act] = if upstream { &[] } else { &layer.after };
        let (kept, removed) = (dropped(own), removed(own));
        let kept: Vec<&Path> = kept.iter().map(PathBuf::as_path).collect();
        let about = About {
            made,
            document: rung.document,
            identity: &identity,
            kept: &kept,
            removed: &removed,
            placeholder: PLACEHOLDER,
        };
        let started = std::time::Instant::now();
        let interrupt = Interrupt::of(self.context.events.as_fd());
        let entry = match build.commit(about, interrupt) {
            Ok(entry) => entry,
            Err(error) => {
                self.heard(&error)?;
                let top = self.stored.as_ref().map(|stored| stored.store.top().display());
                let place = top.map(|top| format!(" in `{top}`")).unwrap_or_default();
                return Err(fault(layer, &format!("could not be stored{place}"), &error));
            }
        };
        let elapsed = started.elapsed().as_secs_f64();
        let (slot, id) = (storable.slot(), entry.id);
        self.log(format!("{slot}: stored in {elapsed:.1} s as {id}\n").as_bytes());
        for path in &entry.fixed {
            let path = crate::shell::word(format!("/{}", String::from_utf8_lossy(path)));
            self.note(&format!(
                "{slot} has the container's name in {path}, where it cannot be written: every \
                 container will have `{PLACEHOLDER}` there"
            ));
        }
        Ok(Some(entry))
    }

    /// Fails, if what the upstream was given, or copies from, is not what the key says any more.
    fn unchanged_arguments(&self, pattern: &Pattern, layer: &Layer) -> Result<(), Box<Failure>> {
        let Some(Stored { store, ground, .. }) = &self.stored else { return Ok(()) };
        if ground::is_unchanged(ground, &pattern.arguments, &|stamp| store.recall(stamp)) {
            return Ok(());
        }
        let upstream = pattern.upstream();
        let doing = Doing::Upstream(upstream.template.clone());
        let subject = Subject { layer: layer.name.clone(), doing };
        let reason = "was given a file that changed after it was planned";
        Err(Box::new(Failure::of(status::UPSTREAM, subject, &upstream.at, reason)))
    }

    /// Makes a place for a layer on what is done so far.
    fn place(&mut self, pattern: &Pattern, layer: &Layer) -> io::Result<(Build, Workspace)> {
        let Some(stored) = &self.stored else { return Err(io::Error::other("it is not open")) };
        let parent = match stored.base {
            Some(id) => Some(Entry::read(&stored.store, id)?),
            None => None,
        };
        let target = &pattern.target;
        let workspace = if layer.runs_commands() { BuildOn::Copy } else { BuildOn::Overlay };
        let build = self.begin(target, parent, workspace)?;
        Ok((build, Workspace::open(target)?))
    }

    /// Makes a place that looks like the container of `target`.
    fn begin(
        &self,
        target: &Target,
        parent: Option<Entry>,
        workspace: BuildOn,
    ) -> io::Result<Build> {
        let Some(stored) = &self.stored else { return Err(io::Error::other("it is not open")) };
        let start = Setting {
            lxcpath: target.path.parent().unwrap_or(Path::new("/")),
            name: &target.name,
            ownership: config::ownership(&self.workspace.container, target.mapped)?,
            group: lxcpath::group(&Caller::observe(), target.mapped),
            directory: Ownership::of(&self.workspace.container)?,
            workspace,
        };
        let interrupt = Interrupt::of(self.context.events.as_fd());
        Build::begin(&stored.store, parent, &start, interrupt)
    }

    /// Runs the checks on the host of a layer where the container has no rootfs yet, or more than the
    /// layer has left: in one that looks like it, and is thrown away.
    pub(super) fn in_view(
        &mut self,
        layer: &Layer,
        pattern: &Pattern,
        within: usize,
        handed: &Handed,
    ) -> Result<(), Box<Failure>> {
        // Until it is mounted, gc would see nobody on it.
        let shared = self.share_again()?;
        let view = self.view(within);
        drop(shared);
        let (build, workspace) = match view {
            Ok(view) => view,
            Err(error) => {
                let settled = self.stored.as_ref().is_some_and(|stored| stored.settled);
                if self.plan.storage.mode == Mode::Fill {
                    return Err(fault(layer, "cannot be shown to its checks", &error));
                }
                if settled {
                    let why =
                        format!("the checks of layer `{}` see all of the container", layer.name);
                    self.note(&format!("{why}: it cannot be shown as the layer left it: {error}"));
                } else {
                    self.without_store(layer, &super::no_place(&error))?;
                    self.settle(layer, pattern)?;
                }
                return self.acts(layer, handed, Act::is_check_on_host);
            }
        };
        self.in_workspace(workspace, |run| run.acts(layer, handed, Act::is_check_on_host))?;
        drop(build);
        Ok(())
    }

    /// Takes the lock that every run shares, where the container needs it no more.
    fn share_again(&mut self) -> Result<Option<Lock>, Box<Failure>> {
        let Some(Stored { store, shared: None, .. }) = &self.stored else { return Ok(None) };
        let store = store.clone();
        match self.share(&store) {
            Ok(lock) => Ok(Some(lock)),
            // What is to be shown may be there all the same.
            Err(Denied::Why(why)) => {
                tracing::debug!(why, "the store has no lock");
                Ok(None)
            }
            Err(Denied::Failure(failure)) => Err(failure),
        }
    }

    /// Makes what the container would be if nothing stood outside of so many storables.
    fn view(&mut self, within: usize) -> io::Result<(Build, Workspace)> {
        let entry = self.entry_of(within)?;
        let Some(stored) = &self.stored else { return Err(io::Error::other("it is not open")) };
        let own = &self.workspace.target;
        let target = Target { rootfs: own.path.join("rootfs"), ..own.clone() };
        let names = Names::of(&entry, &target);
        let (parent, workspace) = (Some(entry.clone()), BuildOn::Overlay);
        let build = self.begin(&target, parent, workspace)?;
        let workspace = Workspace::open(&target)?;
        names.write(&workspace.rootfs, &entry.places)?;
        names.write(&target.path, &entry.sidecar_places)?;
        let text = super::identity::config(&entry, &stored.initial, &names)?;
        let ownership = config::ownership(&workspace.container, target.mapped)?;
        files::replace_in(&workspace.container, config::NAME, &text, ownership)?;
        Ok((build, workspace))
    }

    /// Reads the entry of what is done so far.
    pub(super) fn base_entry(&self) -> io::Result<Entry> {
        self.entry_of(usize::MAX)
    }

    /// Reads the entry of so many storables, or of all that are done, if those are fewer.
    fn entry_of(&self, within: usize) -> io::Result<Entry> {
        let Some(Stored { store, base: Some(base), done, .. }) = &self.stored else {
            return Err(io::Error::other("nothing is stored"));
        };
        let mut entry = Entry::read(store, *base)?;
        for _ in within..*done {
            let parent = entry.parent.ok_or_else(|| io::Error::other("it stands on nothing"))?;
            entry = Entry::read(store, parent)?;
        }
        Ok(entry)
    }
}

/// Returns the paths that a layer removes.
fn removed(acts: &[Act]) -> Vec<&Path> {
    let removals = acts.iter().filter_map(|act| match act {
        Act::Drop(file) if matches!(file.content, Content::Remove) => Some(file.path.as_ref()),
        _ => None,
    });
    removals.collect()
}

/// Returns the paths that a layer drops, each entry of a tree among them.
fn dropped(acts: &[Act]) -> Vec<PathBuf> {
    let mut paths = Vec::new();
    for act in acts {
        let Act::Drop(file) = act else { continue };
        if matches!(file.content, Content::Remove) {
            continue;
        }
        let path: &Path = file.path.as_ref();
        paths.push(path.to_path_buf());
        if let Content::Tree { entries, .. } = &file.content {
            paths.extend(entries.iter().map(|entry| path.join(&entry.path)));
        }
    }
    paths
}
