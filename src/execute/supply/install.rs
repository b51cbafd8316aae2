//! Lets a container have what is stored: as a copy of its own, or as an overlay on the stored tree.

use std::fs::DirBuilder;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::DirBuilderExt;

use serde_json::Value;

use super::super::Run;
use super::super::failure::Failure;
use super::session::{Mounted, Session};
use crate::cache::{CONFIG_NAME, DELTA, Names, WORK};
use crate::host::files;
use crate::plan::{EntryId, StorageMode};
use crate::store::{GcRoot, Overlay, stored_marks};
use crate::tree;

/// What the filesystem makes at the top of a rootfs that is a device of its own.
const LOST: &str = "lost+found";

impl<'a> Run<'a> {
    /// Gives the container the stored tree as its rootfs.
    pub(super) fn install(
        &mut self,
        session: &mut Session<'a>,
        entry: EntryId,
        by: StorageMode,
    ) -> Result<(), Box<Failure>> {
        let text = match by {
            StorageMode::Overlay => "mounting an overlay on the stored tree",
            _ => "copying the stored tree",
        };
        let (layer, status) = (session.last_layer(), session.install_status());
        self.store_act(layer, text, status, |run| match by {
            StorageMode::Overlay => run.mount_overlay(session, entry),
            _ => run.copy(session, entry),
        })?;
        let stored = session.index.looked_at.get(&entry);
        self.upstream_record = stored.and_then(|stored| {
            // It was made for the placeholder.
            let mut record = stored.record.clone()?;
            put_names(&mut record, &Names::of(&stored.lxcpaths, &self.workspace.target));
            serde_json::from_value(record).ok()
        });
        session.progress.installed = true;
        Ok(())
    }

    fn copy(&mut self, session: &Session<'a>, entry: EntryId) -> io::Result<()> {
        let from = files::open_directory(&session.store.rootfs(entry))?;
        let to = files::open_directory(&self.workspace.rootfs)?;
        let copied = self.meanwhile(|interrupt| {
            tree::copy((from.as_fd(), stored_marks()), to.as_fd(), &[LOST.as_ref()], interrupt)
        });
        copied.map_err(|error| {
            // The path that it names is one within the rootfs.
            let rootfs = self.workspace.rootfs.display();
            io::Error::new(error.kind(), format!("in `{rootfs}`: {error}"))
        })?;
        Ok(())
    }

    /// Mounts the overlay that the container's rootfs is from now on.
    fn mount_overlay(&mut self, session: &mut Session<'a>, entry: EntryId) -> io::Result<()> {
        let path = &self.workspace.target.path;
        let lower = session.store.rootfs(entry);
        // What the template leaves beside the rootfs is put there later, and would be in the way.
        let sidecar = session.store.sidecar(entry);
        if let Some(name) =
            [DELTA, WORK].into_iter().find(|name| sidecar.join(name).symlink_metadata().is_ok())
        {
            return Err(io::Error::other(format!(
                "the template leaves `{name}` beside the rootfs, where an overlay has its own; \
                 `--storage=copy` has none"
            )));
        }
        let (delta, work) = (path.join(DELTA), path.join(WORK));
        for path in [&delta, &work] {
            DirBuilder::new().mode(0o755).create(path).map_err(|error| {
                io::Error::new(error.kind(), format!("{}: {error}", crate::shell::word(path)))
            })?;
        }
        let top = files::open_directory(&lower)?;
        let upper = files::open_directory(&delta)?;
        tree::copy_attributes(top.as_fd(), upper.as_fd(), stored_marks())?;
        // It is noted before anything names the tree: gc finds it, whatever happens next.
        GcRoot::note(&session.store, entry, &path.join(CONFIG_NAME))?;
        let overlay = Overlay::mount(&lower, &delta, &work, &self.workspace.rootfs)?;
        session.mounted = Mounted::Overlay(overlay);
        Ok(())
    }

    /// Takes the overlay away: the container's start mounts it anew.
    pub(in crate::execute) fn leave_overlay(&mut self) -> io::Result<()> {
        let super::Supply::Store(session) = &mut self.supply else { return Ok(()) };
        let mounted = std::mem::replace(&mut session.mounted, Mounted::Nothing);
        let Mounted::Overlay(overlay) = mounted else { return Ok(()) };
        if let Err(error) = overlay.unmount() {
            // It ends with the last process that a step has left there, which ends with the run.
            tracing::debug!(%error, "the overlay is still in use");
        }
        let container = files::open_directory(&self.workspace.target.path)?;
        tree::remove(container.as_fd(), WORK.as_ref())
    }
}

/// Writes them into all texts of a document.
fn put_names(value: &mut Value, names: &Names) {
    match value {
        Value::String(text) => {
            *text = String::from_utf8_lossy(&names.put_into(text.as_bytes())).into_owned();
        }
        Value::Array(values) => values.iter_mut().for_each(|value| put_names(value, names)),
        Value::Object(fields) => fields.values_mut().for_each(|value| put_names(value, names)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use serde_json::json;

    use super::*;
    use crate::cache::PLACEHOLDER;
    use crate::plan::Target;

    #[test]
    fn a_name_that_json_writes_otherwise_is_put_into_a_document() {
        let path = PathBuf::from("/lxc/a\"b\\");
        let target = Target {
            name: "a\"b\\".to_owned(),
            arch: "amd64".to_owned(),
            rootfs: path.join("rootfs"),
            path,
            mapped: None,
            args: Vec::new(),
        };
        let mut record =
            json!({ "n": 1, "all": [{ "name": PLACEHOLDER }, format!("/l/{PLACEHOLDER}/x")] });
        put_names(&mut record, &Names::of(&["/l".into()], &target));
        assert_eq!(record, json!({ "n": 1, "all": [{ "name": "a\"b\\" }, "/lxc/a\"b\\/x"] }));
    }
}
