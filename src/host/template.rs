//! LXC's template directory.

use std::env;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::fs::{Access, access};

use crate::lxc::upstream::{ASKS, DEPTH, HELD};

/// The variable that names a directory that is looked into first.
pub(crate) const VARIABLE: &str = "UPSTREAM_TEMPLATE_DIR";

/// The name that makes the program a template: `lxc-create -t layered-template` looks for it.
pub(crate) const OWN_NAME: &str = "lxc-layered-template";

/// Where LXC puts its templates, depending on how it was built.
const STANDARD: [&str; 3] =
    ["/usr/share/lxc/templates", "/usr/local/share/lxc/templates", "/usr/lib/lxc/templates"];

/// Returns the directories that templates are looked for in, in order.
pub(crate) fn directories() -> Vec<PathBuf> {
    let first = env::var_os(VARIABLE).filter(|path| !path.is_empty()).map(PathBuf::from);
    first.into_iter().chain(STANDARD.map(PathBuf::from)).collect()
}

/// Returns where the program is installed as a template by who cannot write to LXC's directories; `None`, where
/// there is no home.
pub(crate) fn own_directory() -> Option<PathBuf> {
    let home = env::var_os("HOME").map(PathBuf::from).filter(|home| home.is_absolute());
    Some(home?.join(".local/share/layered-template"))
}

/// Returns how often this program is its own upstream by now.
pub(crate) fn depth() -> u32 {
    let depth = env::var_os(DEPTH);
    depth.and_then(|depth| depth.to_str()?.parse().ok()).unwrap_or_default()
}

/// Tells whether this program, as its own upstream, is only asked for help or a list.
pub(crate) fn is_asked() -> bool {
    env::var_os(ASKS).is_some_and(|asks| !asks.is_empty())
}

/// Returns what the runs hold of the layer store that this process is a part of.
pub(crate) fn held() -> Vec<String> {
    let held = env::var(HELD).unwrap_or_default();
    held.split_whitespace().map(str::to_owned).collect()
}

/// Returns where packages of LXC put the template `lxc-<name>`.
pub(crate) fn usual_path(name: &str) -> PathBuf {
    Path::new(STANDARD[0]).join(format!("lxc-{name}"))
}

/// Finds the template `lxc-<name>`.
///
/// # Errors
///
/// Where there is none that can be run.
pub(crate) fn find(name: &str) -> Result<PathBuf, TemplateFault> {
    let directories = directories();
    for directory in &directories {
        let path = directory.join(format!("lxc-{name}"));
        if path.is_file() {
            return executable(&path).map(|()| path);
        }
    }
    let shown: Vec<_> = directories.iter().map(|path| path.display().to_string()).collect();
    Err(TemplateFault::Missing(format!("there is no `lxc-{name}` in {}", shown.join(", "))))
}

/// Checks that a template can be run by the caller.
pub(crate) fn executable(path: &Path) -> Result<(), TemplateFault> {
    let shown = path.display();
    let metadata = std::fs::metadata(path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => TemplateFault::Missing(format!("there is no `{shown}`")),
        _ => TemplateFault::Unusable(format!("`{shown}`: {error}")),
    })?;
    if !metadata.is_file() {
        return Err(TemplateFault::Unusable(format!("`{shown}` is not a file")));
    }
    access(path, Access::EXEC_OK).map_err(|_| TemplateFault::NotExecutable(path.to_path_buf()))
}

/// Why a template cannot be run.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TemplateFault {
    /// It is not there.
    #[error("{0}")]
    Missing(String),
    /// The caller may not run it.
    #[error("`{}` cannot be executed", .0.display())]
    NotExecutable(PathBuf),
    /// Anything else.
    #[error("{0}")]
    Unusable(String),
}

/// Returns the command that calls a template.
///
/// This program runs a manifest itself: the `PATH` by which its first line would find the program is not
/// always one that has it.
pub(crate) fn command(path: &Path, is_manifest: bool) -> Command {
    if !is_manifest {
        return Command::new(path);
    }
    let mut command = Command::new("/proc/self/exe");
    command.arg0(OWN_NAME).arg(path);
    command
}

/// Returns the names of the templates that are there, sorted.
pub(crate) fn names() -> Vec<String> {
    let entries = directories().into_iter().filter_map(|path| path.read_dir().ok()).flatten();
    let mut names: Vec<String> = entries
        .filter_map(|entry| {
            let name = entry.ok()?.file_name().into_string().ok()?;
            name.strip_prefix("lxc-").map(str::to_owned)
        })
        .collect();
    names.sort();
    names.dedup();
    names
}
