//! Lets a container have what is stored: as a copy of its own, or as an overlay on the stored tree.

use std::fs::DirBuilder;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use super::super::failure::{Failure, status};
use super::super::workspace::Workspace;
use super::super::{Run, config};
use super::{Stored, fault, identity};
use crate::host::caller::Caller;
use crate::host::files;
use crate::lxc;
use crate::plan::{Layer, Mode, Pattern};
use crate::store::{Entry, GcRoot, Overlay};
use crate::tree::{self, Interrupt};

/// The upper directory of a container's overlay, in the container's directory.
const DELTA: &str = "delta";

/// The working directory of the overlay, which LXC makes anew at each start.
const WORK: &str = "work";

/// What the filesystem makes at the top of a rootfs that is a device of its own.
const LOST: &str = "lost+found";

/// Says why a container cannot stand on a stored tree.
pub(super) fn no_overlay(config: &[u8], workspace: &Workspace) -> Option<String> {
    let text = String::from_utf8_lossy(config);
    let value = lxc::config::last_value(&text, "lxc.rootfs.path").unwrap_or_default();
    let path = value.strip_prefix("dir:").unwrap_or(value);
    if Path::new(path) != workspace.target.rootfs {
        return Some(format!("LXC has not given a plain directory, but `{value}`"));
    }
    // The overlay's own directories are beside its config: another one would stay empty.
    if workspace.target.rootfs != workspace.target.path.join("rootfs") {
        return Some(format!(
            "its rootfs is wanted at `{path}`, and an overlay is in the directory of its container"
        ));
    }
    let path =
        workspace.target.path.to_str().filter(|path| !path.contains([':', ',', '\\', '"', '\'']));
    match path {
        None => Some("the container's path holds what no path of an overlay can hold".to_owned()),
        Some(_) => None,
    }
}

impl Run<'_> {
    /// Gives the container its rootfs and its config.
    pub(super) fn settle(&mut self, layer: &Layer, pattern: &Pattern) -> Result<(), Box<Failure>> {
        let mode = self.plan.storage.mode;
        let text = match mode {
            Mode::Overlay => "standing on what is stored",
            _ => "copying what is stored",
        };
        // The last of those that are done: this host may have no place for the rest.
        let last = self.stored().and_then(|stored| stored.done.checked_sub(1));
        let last = last.and_then(|last| pattern.nest_layer(&pattern.stored.get(last)?.name));
        let stored = last.unwrap_or(layer);
        let status = match mode {
            Mode::Overlay => status::STORE,
            // It is the container's own place that did not take it.
            _ => status::FILES,
        };
        let entry = self.base_entry().map_err(|error| fault(stored, "cannot be read", &error))?;
        self.store_act(stored, text, status, |run| {
            if mode == Mode::Overlay {
                run.stand_on(&entry)?;
            } else {
                run.copy(&entry)?;
            }
            let names = identity::Names::of(&entry, &run.workspace.target);
            names.write(&run.workspace.rootfs, &entry.places)?;
            run.put_sidecar(&entry, &names)?;
            run.put_config(&entry, &names, mode)
        })?;
        self.make_keys(stored, &entry.keys)?;
        self.upstream_record.clone_from(&entry.record);
        if let Some(stored) = &mut self.stored {
            stored.settled = true;
            stored.shared = None;
        }
        Ok(())
    }

    fn copy(&mut self, entry: &Entry) -> io::Result<()> {
        let Some(Stored { store, .. }) = &self.stored else { return Ok(()) };
        let from = files::open_directory(&store.rootfs(entry.id))?;
        let to = files::open_directory(&self.workspace.rootfs)?;
        let interrupt = Interrupt::of(self.context.events.as_fd());
        tree::copy(from.as_fd(), to.as_fd(), &[LOST.as_ref()], interrupt).map_err(|error| {
            // The path that it names is one within the rootfs.
            let rootfs = self.workspace.rootfs.display();
            io::Error::new(error.kind(), format!("in `{rootfs}`: {error}"))
        })?;
        Ok(())
    }

    /// Mounts the overlay that the container's rootfs is from now on.
    fn stand_on(&mut self, entry: &Entry) -> io::Result<()> {
        let Some(stored) = &mut self.stored else { return Ok(()) };
        let path = &self.workspace.target.path;
        let lower = stored.store.rootfs(entry.id);
        let (delta, work) = (path.join(DELTA), path.join(WORK));
        for path in [&delta, &work] {
            DirBuilder::new().mode(0o755).create(path)?;
        }
        let top = files::open_directory(&lower)?;
        tree::copy_attributes(top.as_fd(), files::open_directory(&delta)?.as_fd())?;
        // It is noted before anything names the tree: gc finds it, whatever happens next.
        GcRoot::note(&stored.store, entry.id, &path.join("config"))?;
        stored.overlay = Some(Overlay::mount(&lower, &delta, &work, &self.workspace.rootfs)?);
        Ok(())
    }

    /// Takes the overlay away: the container's start mounts it anew.
    pub(in crate::execute) fn leave_overlay(&mut self) -> io::Result<()> {
        let Some(overlay) = self.stored.as_mut().and_then(|stored| stored.overlay.take()) else {
            return Ok(());
        };
        if let Err(error) = overlay.unmount() {
            // It ends with the last process that a step has left there, which ends with the run.
            tracing::debug!(%error, "the overlay is still in use");
        }
        let container = files::open_directory(&self.workspace.target.path)?;
        tree::remove(container.as_fd(), WORK.as_ref())
    }

    fn put_config(&self, entry: &Entry, names: &identity::Names, mode: Mode) -> io::Result<()> {
        let own = config::read(&self.workspace.container)?;
        let mut text = identity::config(entry, &own, names)?;
        if mode == Mode::Overlay
            && let Some(Stored { store, .. }) = &self.stored
        {
            let (lower, delta) = (store.rootfs(entry.id), self.workspace.target.path.join(DELTA));
            text = on_overlay(&text, &lower, &delta);
        }
        let ownership = config::ownership(&self.workspace.container, self.workspace.target.mapped)?;
        files::replace_in(&self.workspace.container, config::NAME, &text, ownership)
    }

    /// Puts what the upstream left beside rootfs and config where it was.
    fn put_sidecar(&self, entry: &Entry, names: &identity::Names) -> io::Result<()> {
        let Some(Stored { store, .. }) = &self.stored else { return Ok(()) };
        let interrupt = Interrupt::of(self.context.events.as_fd());
        store.put_sidecar(entry, &self.workspace.container, interrupt, |directory| {
            names.write(directory, &entry.sidecar_places)
        })
    }
}

/// Returns a config whose rootfs is an overlay, and that lets clones be known to the store.
fn on_overlay(config: &[u8], lower: &Path, delta: &Path) -> Vec<u8> {
    let path = format!("overlay:{}:{}", lower.display(), delta.display());
    let mut text =
        lxc::config::rewrite(config, |key, _| (key == "lxc.rootfs.path").then(|| path.clone()));
    let mut lines = Vec::new();
    let there = String::from_utf8_lossy(&text).into_owned();
    if lxc::config::last_value(&there, "lxc.rootfs.path").is_none() {
        lines.push(("lxc.rootfs.path", path));
    }
    if Caller::observe().is_mapped_root() {
        let options = lxc::config::last_value(&there, "lxc.rootfs.options").unwrap_or_default();
        let comma = if options.is_empty() { "" } else { "," };
        lines.push(("lxc.rootfs.options", format!("{options}{comma}userxattr")));
    }
    if let Some(hook) = clone_hook() {
        lines.push(("lxc.hook.clone", hook));
    }
    let lines = lines.iter().map(|(key, value)| (*key, value.as_str()));
    text = lxc::config::append_note(&text, "stands on the layer store", lines);
    text
}

/// Returns the hook that notes clones and snapshots. It never fails a copy: the program may be gone
/// by then.
fn clone_hook() -> Option<String> {
    let program: PathBuf = std::env::current_exe().ok()?;
    let program = program.to_str().filter(|path| {
        path.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/._+-".contains(&byte))
    })?;
    Some(format!("/bin/sh -c '{program} --clone-hook \"$@\" || :' sh"))
}
