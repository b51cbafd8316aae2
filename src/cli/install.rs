//! `install-template`: puts the program where `lxc-create -t layered-template` looks.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use super::arguments::InstallArguments;
use super::template_directory::{about, make, warn_of_closed};
use super::{install_role, output};
use crate::host::files::{self, Ownership};
use crate::host::{caller::Caller, program, template};
use crate::observe::remedy;
use crate::shell;

/// Permission bits of a program that every id of a container's map may run.
const MODE: u32 = 0o755;

pub(super) fn main(arguments: &InstallArguments) -> u8 {
    if let Some(manifest) = &arguments.manifest {
        return install_role::main(manifest, arguments);
    }
    match install(arguments.directory.as_deref()) {
        Ok(installed) => {
            tell(&installed);
            0
        }
        Err(error) => {
            output::error(&error.to_string(), None);
            1
        }
    }
}

/// Where the template is now.
struct Installed {
    path: PathBuf,
    /// Whether lxc-create finds it by its bare name.
    by_name: bool,
}

fn install(wanted: Option<&Path>) -> io::Result<Installed> {
    let directories = template::directories();
    if let Some(directory) = wanted {
        let directory = make(directory)?;
        let by_name = directories
            .iter()
            .any(|known| known.canonicalize().is_ok_and(|known| known == directory));
        return copy_into(&directory).map(|path| Installed { path, by_name });
    }
    if let Some(directory) = directories.iter().find(|directory| directory.is_dir()) {
        match copy_into(directory) {
            Ok(path) => return Ok(Installed { path, by_name: true }),
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {}
            Err(error) => return Err(error),
        }
    }
    let own = template::own_directory().ok_or_else(|| {
        io::Error::other("LXC's template directory cannot be written, and there is no HOME")
    })?;
    let directory = make(&own)?;
    copy_into(&directory).map(|path| Installed { path, by_name: false })
}

/// Copies the running program into a directory, in one step.
fn copy_into(directory: &Path) -> io::Result<PathBuf> {
    let about = |error: io::Error| about(directory, &error);
    let mut program = Vec::new();
    io::Read::read_to_end(&mut File::open("/proc/self/exe")?, &mut program)?;
    let caller = Caller::observe();
    let ownership = Ownership { uid: caller.uid, gid: caller.gid, mode: MODE };
    let opened = files::open_directory(directory).map_err(about)?;
    files::replace_in(&opened, template::OWN_NAME, &program, ownership).map_err(about)?;
    Ok(directory.join(template::OWN_NAME))
}

fn tell(installed: &Installed) {
    let path = shell::word(&installed.path);
    if installed.by_name {
        output::say(&format!("installed {path}: `lxc-create -t layered-template` finds it"));
    } else {
        output::say(&format!("installed {path}: call it by its path, `lxc-create -t {path}`"));
    }
    if program::find("lxc-create").is_none() {
        let hint = remedy::install(&["lxc"]);
        output::say(&format!("warning: `lxc-create` is not on this host\nhint: {hint}"));
    }
    warn_of_closed(installed.path.parent().unwrap_or(Path::new("/")));
}
