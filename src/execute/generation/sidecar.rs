//! The files beside the rootfs of a generation: put in place with it, and given back with the other one.
//!
//! ```text
//! upgrade/switch/beside/NAME      takes the place of what the container has of that name, or comes to it
//! upgrade/switch/gone/NAME        says that the container's goes
//! upgrade/switch/old/beside/NAME, upgrade/switch/old/gone/NAME     likewise for the way back
//! ```
//!
//! What comes is there before the moment of the switch, for the config may name it; what is changed or goes is after
//! it. Each name has one rename by which it changes hands, so that whoever is killed has it finished by the next one.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use super::{Generations, OLD, SWITCH, is_directory, sync};

/// What is put in place.
pub(super) const BESIDE: &str = "beside";

/// What goes, as empty files.
const GONE: &str = "gone";

impl Generations {
    /// Puts in place what the container has nothing of that name of.
    pub(super) fn put_new_sidecars(
        &self,
        between: &mut dyn FnMut() -> io::Result<()>,
    ) -> io::Result<()> {
        let switch = self.within(SWITCH);
        for name in names_in(&switch.join(BESIDE))? {
            if !exists(&self.container.join(&name)) {
                self.bring(&name)?;
                between()?;
            }
        }
        Ok(())
    }

    /// Returns the names of all that come, change or go.
    pub(super) fn sidecars(&self) -> io::Result<Vec<OsString>> {
        let switch = self.within(SWITCH);
        Ok([names_in(&switch.join(BESIDE))?, names_in(&switch.join(GONE))?].concat())
    }

    /// Takes away again what [`Self::put_new_sidecars`] has put in place.
    pub(super) fn take_back_sidecars(&self) -> io::Result<()> {
        let switch = self.within(SWITCH);
        for name in names_in(&switch.join(OLD).join(GONE))? {
            let (there, here) = (switch.join(BESIDE).join(&name), self.container.join(&name));
            if !exists(&there) && exists(&here) {
                fs::rename(&here, &there)?;
            }
        }
        sync(&self.container)
    }

    /// Puts in place what is left of the sidecars, and keeps what the container has instead.
    pub(super) fn put_sidecars(
        &self,
        between: &mut dyn FnMut() -> io::Result<()>,
    ) -> io::Result<()> {
        let switch = self.within(SWITCH);
        for name in names_in(&switch.join(BESIDE))? {
            let here = self.container.join(&name);
            let kept = switch.join(OLD).join(BESIDE).join(&name);
            if exists(&here) && !exists(&kept) {
                make(kept.parent())?;
                let is_tree = is_directory(&here) || is_directory(&switch.join(BESIDE).join(&name));
                // A file is there at every moment; not every filesystem has links.
                if is_tree || fs::hard_link(&here, &kept).is_err() {
                    fs::rename(&here, &kept)?;
                }
                sync(&switch.join(OLD).join(BESIDE))?;
                between()?;
            }
            match exists(&kept) {
                true => fs::rename(switch.join(BESIDE).join(&name), &here)?,
                false => self.bring(&name)?,
            }
            sync(&self.container)?;
            between()?;
        }
        for name in names_in(&switch.join(GONE))? {
            let here = self.container.join(&name);
            if exists(&here) {
                let kept = switch.join(OLD).join(BESIDE);
                make(Some(&kept))?;
                fs::rename(&here, kept.join(&name))?;
                sync(&kept)?;
                between()?;
            }
            fs::remove_file(switch.join(GONE).join(&name))?;
        }
        sync(&self.container)
    }

    /// Puts in place what comes, and says for the way back that it goes.
    fn bring(&self, name: &OsStr) -> io::Result<()> {
        let switch = self.within(SWITCH);
        goes(&switch.join(OLD), name)?;
        sync(&switch.join(OLD).join(GONE))?;
        fs::rename(switch.join(BESIDE).join(name), self.container.join(name))?;
        sync(&self.container)
    }
}

/// Says in a generation that what the container has of a name goes when it takes the container's place.
pub(in crate::execute) fn goes(generation: &Path, name: &OsStr) -> io::Result<()> {
    let gone = generation.join(GONE);
    make(Some(&gone))?;
    fs::File::create(gone.join(name)).map(drop)
}

/// Moves files of a generation's directory to where those are that take the place of the container's.
pub(in crate::execute) fn come(generation: &Path, names: &[OsString]) -> io::Result<()> {
    if names.is_empty() {
        return Ok(());
    }
    // One of them may have the name of the directory for all.
    let aside = generation.join(format!(".layered-template.{BESIDE}"));
    make(Some(&aside))?;
    for name in names {
        fs::rename(generation.join(name), aside.join(name))?;
    }
    fs::rename(aside, generation.join(BESIDE))
}

/// Makes a directory, unless it is there.
fn make(directory: Option<&Path>) -> io::Result<()> {
    let Some(directory) = directory else { return Ok(()) };
    match fs::DirBuilder::new().mode(0o755).create(directory) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}

/// Returns the names in a directory, in order; none, where there is no such directory.
fn names_in(directory: &PathBuf) -> io::Result<Vec<OsString>> {
    let listed = match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        listed => listed?,
    };
    let mut names: Vec<_> =
        listed.map(|entry| entry.map(|entry| entry.file_name())).collect::<Result<_, _>>()?;
    names.sort();
    Ok(names)
}

fn exists(path: &Path) -> bool {
    path.symlink_metadata().is_ok()
}
