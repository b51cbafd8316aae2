//! `install-template MANIFEST`: lets `lxc-create -t NAME` find a manifest that is a template.

use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use super::arguments::InstallArguments;
use super::{output, template_directory};
use crate::execute::status;
use crate::host::{files, template};
use crate::manifest::shebang;
use crate::shell;

pub(super) fn main(manifest: &Path, arguments: &InstallArguments) -> u8 {
    let linked = role(manifest).and_then(|role| {
        let name = name(&role, arguments.name.as_deref())?;
        link(&role, &name, arguments.directory.as_deref())
    });
    match linked {
        Ok(Linked { role, link, name }) => {
            let (link, role) = (shell::word(link), shell::word(role));
            match name {
                Some(name) => output::say(&format!(
                    "linked {link} to {role}: `lxc-create -t {}` finds it",
                    shell::word(name)
                )),
                None => output::say(&format!(
                    "linked {link} to {role}: call it by its path, `lxc-create -t {link}`"
                )),
            }
            0
        }
        Err(Fault { message, hint }) => {
            output::error(&message, hint.as_deref());
            status::USAGE
        }
    }
}

/// Why a manifest is not installed, and what would help.
struct Fault {
    message: String,
    hint: Option<String>,
}

impl Fault {
    fn new(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { message: message.into(), hint: Some(hint.into()) }
    }

    fn of(path: &Path, error: &io::Error) -> Self {
        Self { message: template_directory::about(path, error).to_string(), hint: None }
    }
}

/// A manifest that LXC finds.
struct Linked {
    role: PathBuf,
    link: PathBuf,
    /// Its name, where `lxc-create` looks into the directory.
    name: Option<String>,
}

/// Returns the absolute path of a manifest that is a template.
fn role(manifest: &Path) -> Result<PathBuf, Fault> {
    let role = manifest.canonicalize().map_err(|error| Fault::of(manifest, &error))?;
    let shown = shell::word(manifest);
    if !is_role(&role).map_err(|error| Fault::of(manifest, &error))? {
        return Err(Fault::new(
            format!("{shown} is not a template"),
            format!("its first line has to be `{}`", shebang::LINE),
        ));
    }
    template::executable(&role).map_err(|fault| {
        Fault::new(fault.to_string(), format!("`chmod +x {shown}` makes it a template"))
    })?;
    if let Some(directory) = role.parent() {
        template_directory::warn_of_closed(directory);
    }
    Ok(role)
}

/// Tells whether the kernel hands a file to this program.
fn is_role(path: &Path) -> io::Result<bool> {
    let first = files::read_head(path, shebang::LONGEST)?;
    Ok(shebang::is_of_this_program(&first))
}

/// Returns the name that `lxc-create -t` is to find a manifest by.
fn name(role: &Path, wanted: Option<&str>) -> Result<String, Fault> {
    let own = role.file_stem().map(|stem| stem.to_string_lossy().into_owned());
    let name = wanted.map(str::to_owned).or(own).unwrap_or_default();
    let letters = |c: char| c.is_ascii_alphanumeric() || "-_.+".contains(c);
    let is_sound =
        name.starts_with(|c: char| c.is_ascii_alphanumeric()) && name.chars().all(letters);
    // LXC takes a beginning of `none` for it.
    let is_taken = "none".starts_with(&name) || format!("lxc-{name}") == template::OWN_NAME;
    if !is_sound || is_taken || name.len() > 64 {
        let message = format!("{} cannot be the name of a template", shell::word(&name));
        return Err(Fault::new(message, "`--as NAME` gives it another"));
    }
    Ok(name)
}

/// Links a manifest from a directory of templates.
fn link(role: &Path, name: &str, wanted: Option<&Path>) -> Result<Linked, Fault> {
    let directories = template::directories();
    let directory =
        match wanted {
            Some(directory) => template_directory::make(directory)
                .map_err(|error| Fault { message: error.to_string(), hint: None })?,
            None => directories.iter().find(|directory| directory.is_dir()).cloned().ok_or_else(
                || Fault::new("LXC's template directory is not there", by_path(role)),
            )?,
        };
    let link = directory.join(format!("lxc-{name}"));
    let shown = shell::word(&link);
    if link.symlink_metadata().is_ok() && !is_ours(&link) {
        let message = format!("{shown} is there already, and no link to a manifest");
        return Err(Fault::new(message, "`--as NAME` gives the manifest another name"));
    }
    put(role, &link).map_err(|error| match error.kind() {
        io::ErrorKind::PermissionDenied => {
            Fault { hint: Some(by_path(role)), ..Fault::of(&link, &error) }
        }
        _ => Fault::of(&link, &error),
    })?;
    let known = |known: &PathBuf| known.canonicalize().ok() == directory.canonicalize().ok();
    let name = directories.iter().any(known).then(|| name.to_owned());
    Ok(Linked { role: role.to_path_buf(), link, name })
}

fn by_path(role: &Path) -> String {
    format!("it needs no link: `lxc-create -t {}`", shell::word(role))
}

/// Tells whether a link is one to a manifest that is a template, or to one that has gone.
fn is_ours(link: &Path) -> bool {
    let Ok(target) = fs::read_link(link) else { return false };
    match is_role(link) {
        Ok(is_role) => is_role,
        Err(error) => {
            let is_manifest = target.extension().is_some_and(|extension| extension == "toml");
            error.kind() == io::ErrorKind::NotFound && is_manifest
        }
    }
}

/// Makes the link, in the place of an older one in one step.
fn put(role: &Path, link: &Path) -> io::Result<()> {
    let new = link.with_file_name(format!(".layered-template-{}", std::process::id()));
    symlink(role, &new)?;
    fs::rename(&new, link).inspect_err(|_| drop(fs::remove_file(&new)))
}
