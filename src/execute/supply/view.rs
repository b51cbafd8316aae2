//! Shows a layer's checks on the host what the layer has left, where the container is something else.

use std::io;
use std::mem;
use std::path::Path;
use std::rc::Rc;

use super::super::failure::Failure;
use super::super::full_disk;
use super::super::workspace::Workspace;
use super::super::{Handed, KeptRootfs, Run, config};
use super::personalise::{addressed, write_names};
use super::session::Session;
use super::{cannot_build, fault};
use crate::cache::Names;
use crate::host::files;
use crate::plan::{Act, Layer, Target};
use crate::store::{Build, BuildOn, Entry};

impl<'a> Run<'a> {
    /// Runs the checks on the host of a layer where the container has no rootfs yet, or more than the
    /// layer has left: in a place that looks like the container, and is thrown away.
    pub(super) fn check_in_view(
        &mut self,
        session: &mut Session<'a>,
        layer: &Layer,
        handed: &Handed,
        within: usize,
    ) -> Result<(), Box<Failure>> {
        match self.view(session, within) {
            Ok((build, workspace)) => {
                let top = session.store.top().to_path_buf();
                self.in_workspace(workspace, &top, |run| {
                    run.acts(layer, handed, Act::is_check_on_host)
                })?;
                drop(build);
            }
            Err(error) if self.fills() && error.kind() != io::ErrorKind::Interrupted => {
                return Err(fault(layer, "cannot be shown to its checks", &error));
            }
            Err(error) => {
                self.heard(&error)?;
                if session.progress.installed {
                    self.note(&format!(
                        "the checks of layer `{}` see all of the container: it cannot be shown as the \
                         layer left it: {error}",
                        layer.name
                    ));
                }
                session.stop(self, cannot_build(session.store.top(), &error), false);
            }
        }
        Ok(())
    }

    /// Makes what the container would be if nothing stood outside of so many slots.
    fn view(&mut self, session: &Session<'a>, within: usize) -> io::Result<(Build, Workspace)> {
        let entry = Entry::read(&session.store, session.entry_within(within)?)?;
        let own = self.workspace.target.clone();
        let target = Target { rootfs: own.path.join("rootfs"), ..own };
        let contents = entry.contents();
        let names = Names::of(&contents.lxcpaths, &target);
        let on = if entry.whiteout.is_some() { BuildOn::Copy } else { BuildOn::Overlay };
        let build = match self.begin(&session.store, &target, Some(entry.clone()), on) {
            // A store on a filesystem without overlays can show a copy.
            Err(error) if error.kind() != io::ErrorKind::Interrupted && on == BuildOn::Overlay => {
                self.begin(&session.store, &target, Some(entry), BuildOn::Copy)?
            }
            begun => begun?,
        };
        let workspace = Workspace::open(&target)?;
        write_names(&names, &workspace.rootfs, &contents.names)?;
        write_names(&names, &target.path, contents.sidecar.as_deref().unwrap_or_default())?;
        let text = contents.config_of(&session.initial, &target);
        let ownership = config::ownership(&workspace.container, target.mapped)?;
        files::replace_in(&workspace.container, config::NAME, &addressed(&text)?, ownership)?;
        Ok((build, workspace))
    }

    /// Does something where another workspace is the run's; what it fails with is kept before that is
    /// gone. `top` is the store's.
    pub(super) fn in_workspace<T>(
        &mut self,
        workspace: Workspace,
        top: &Path,
        act: impl FnOnce(&mut Self) -> Result<T, Box<Failure>>,
    ) -> Result<T, Box<Failure>> {
        let lxcpath = workspace.target.path.parent().map(Path::to_path_buf);
        let own = mem::replace(&mut self.workspace, Rc::new(workspace));
        let result = act(self);
        if result.as_ref().is_err_and(|failure| !failure.informational())
            && self.context.keep_failed
            && matches!(self.kept_rootfs, KeptRootfs::NotTried)
        {
            self.kept_rootfs = KeptRootfs::Tried(self.keep_rootfs());
        }
        self.workspace = own;
        let target = &self.workspace.target;
        let names = Names::of(lxcpath.as_slice(), target);
        // People know the container by its own name.
        let named =
            |text: &str| String::from_utf8_lossy(&names.put_into(text.as_bytes())).into_owned();
        result.map_err(|failure| {
            let (reason, command) = (named(&failure.reason), failure.command.as_deref().map(named));
            Box::new(full_disk::of_store(Failure { reason, command, ..*failure }, top))
        })
    }
}
