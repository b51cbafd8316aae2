//! Which containers are meant: by their names, by their directories, or all.

use std::collections::BTreeSet;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

use super::history;
use super::new_container::removal;
use super::refusal::Refusal;
use crate::diagnostic::nearest;
use crate::execute::Generations;
use crate::host::caller::Caller;
use crate::host::lxcpath;
use crate::observe::container::{self, Container};
use crate::plan::EntryId;
use crate::record::Record;
use crate::store::{self, GENERATIONS, GcRoot, Store};
use crate::{lxc, shell};

/// How many directories of containers of one name are named at the most.
const MOST_NAMED: usize = 4;

/// Returns the directories of containers that are known: LXC's own, those that are given, and those of containers
/// that stand on the store, or that a run was for.
///
/// # Errors
///
/// Where nobody can tell what stands on the store.
fn known_lxcpaths(given: &[PathBuf], caller: &Caller) -> Result<Vec<PathBuf>, String> {
    let mut known = vec![lxcpath::default(caller)];
    if let Some(top) = store::directory(caller) {
        let roots = GcRoot::all(&top)
            .map_err(|error| format!("the store `{}` cannot be read: {error}", top.display()))?;
        known.extend(roots.iter().map(GcRoot::lxcpath));
    }
    let made = history::container_directories(caller);
    known.extend(made.iter().filter_map(|path| Some(path.parent()?.to_path_buf())));
    known.extend(given.iter().filter_map(|path| std::path::absolute(path).ok()));
    // One may be spelled in several ways: LXC's own is the first.
    let mut seen = BTreeSet::new();
    known.retain(|path| identity(path).is_none_or(|identity| seen.insert(identity)));
    Ok(known)
}

/// Returns what tells a directory from others, however it is spelled.
fn identity(path: &Path) -> Option<(u64, u64)> {
    let metadata = std::fs::metadata(path).ok()?;
    Some((metadata.dev(), metadata.ino()))
}

/// Finds containers by name or directory, or all, and the directories of those that were never finished.
pub(super) fn asked(
    given: &[PathBuf],
    lxcpaths: &[PathBuf],
    caller: &Caller,
) -> Result<(Vec<Container>, Vec<PathBuf>), String> {
    let mut unfinished = container::unfinished(&known_lxcpaths(lxcpaths, caller)?);
    if given.is_empty() {
        return Ok((find(&[], lxcpaths, caller)?, unfinished));
    }
    let (mut found, mut begun, mut names) = (Vec::new(), Vec::new(), Vec::new());
    for what in given {
        let path = directory(what);
        if let Some(path) = path.clone().filter(|path| container::is_unfinished(path)) {
            begun.push(path);
        } else if let Some(container) = path.and_then(|path| Container::at(&path)) {
            found.push(container);
        } else {
            names.push(what.to_string_lossy().into_owned());
        }
    }
    unfinished.retain(|path| {
        let known = names.len();
        names.retain(|name| path.file_name().is_none_or(|own| own != name.as_str()));
        names.len() < known
    });
    begun.append(&mut unfinished);
    if !names.is_empty() {
        found.extend(find(&names, lxcpaths, caller)?);
    }
    Ok((found, begun))
}

/// Returns the directory that is meant, where one is.
fn directory(what: &Path) -> Option<PathBuf> {
    let path = std::path::absolute(what).ok().filter(|path| path.is_dir())?;
    // A name, and the sockets of those that run, are by the path that LXC has.
    match path.components().any(|part| part == Component::ParentDir) {
        true => path.canonicalize().ok(),
        false => Some(path.components().collect()),
    }
}

/// Says that a container was never finished, and how it is removed.
pub(super) fn was_never_finished(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default();
    format!("`{}` was begun and never finished; `{}` removes it", shell::word(name), removal(path))
}

/// Finds containers by name, or all.
pub(super) fn find(
    names: &[String],
    lxcpaths: &[PathBuf],
    caller: &Caller,
) -> Result<Vec<Container>, String> {
    for given in lxcpaths {
        if let Err(error) = std::fs::read_dir(given) {
            return Err(format!("{}: {error}", shell::word(given)));
        }
    }
    let all = Container::all(&known_lxcpaths(lxcpaths, caller)?)
        .map_err(|(path, error)| format!("`{}` cannot be read: {error}", path.display()))?;
    if names.is_empty() {
        return Ok(all);
    }
    let mut missing =
        names.iter().filter(|name| all.iter().all(|container| container.name != **name));
    if let Some(name) = missing.next() {
        if let Some(lost) = lost(Path::new(name), lxcpaths, caller) {
            let (name, path) = (shell::word(name), shell::word(&lost.path));
            return Err(format!(
                "the record of `{name}` is gone; `layered-template rollback {path}` goes back to what it was before \
                 its last upgrade"
            ));
        }
        let near = nearest(name, all.iter().map(|container| container.name.as_str()));
        let near = near.map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
        let name = shell::word(name);
        return Err(format!("this program has made no container `{name}` here{near}"));
    }
    // One that is in a directory that was given is the one that is meant.
    let given: Vec<_> = lxcpaths.iter().filter_map(|path| identity(path)).collect();
    let is_given = |container: &Container| {
        let above = container.path.parent().and_then(identity);
        above.is_some_and(|above| given.contains(&above))
    };
    let (there, elsewhere): (Vec<_>, Vec<_>) =
        all.into_iter().filter(|container| names.contains(&container.name)).partition(is_given);
    let is_there = |name: &str| there.iter().any(|container| container.name == name);
    let elsewhere = elsewhere.into_iter().filter(|container| !is_there(&container.name));
    let elsewhere: Vec<_> = elsewhere.collect();
    Ok(there.into_iter().chain(elsewhere).collect())
}

/// Finds a container by its name or its directory.
pub(super) fn named(
    what: &Path,
    lxcpaths: &[PathBuf],
    caller: &Caller,
) -> Result<Container, String> {
    if let Some(path) = directory(what) {
        if container::is_unfinished(&path) {
            return Err(was_never_finished(&path));
        }
        if let Some(container) = Container::at(&path) {
            return Ok(container);
        }
    }
    let name = what.to_string_lossy().into_owned();
    let mut found = find(&[name], lxcpaths, caller).map_err(|message| {
        let known = known_lxcpaths(lxcpaths, caller).unwrap_or_default();
        let unfinished = container::unfinished(&known);
        let own = unfinished.iter().find(|path| path.file_name() == Some(what.as_os_str()));
        own.map_or(message, |path| was_never_finished(path))
    })?;
    match found.len() {
        1 => Ok(found.remove(0)),
        count => {
            let paths = found.iter().take(MOST_NAMED).map(|container| shell::word(&container.path));
            let paths: Vec<_> = paths.map(|path| format!("`{path}`")).collect();
            let more = if count > MOST_NAMED { ", ..." } else { "" };
            Err(format!(
                "{count} containers are named `{}`: name one by its directory: {}{more}",
                shell::word(&found[0].name),
                paths.join(", ")
            ))
        }
    }
}

/// Finds a container by its name or its directory that has been upgraded, and whose record is gone.
pub(super) fn lost(what: &Path, lxcpaths: &[PathBuf], caller: &Caller) -> Option<Container> {
    let of = |path: &Path| match path.join(GENERATIONS).is_dir() {
        true => Container::without_record(path),
        false => None,
    };
    let of_name = || {
        let mut parts = what.components();
        let is_name = matches!((parts.next(), parts.next()), (Some(Component::Normal(_)), None));
        let lxcpaths = known_lxcpaths(lxcpaths, caller).ok().filter(|_| is_name)?;
        lxcpaths.iter().find_map(|lxcpath| of(&lxcpath.join(what)))
    };
    directory(what).and_then(|path| of(&path)).or_else(of_name)
}

/// Returns the record of a container.
///
/// # Errors
///
/// Why it cannot be used, and what to do about it.
pub(super) fn record_of(container: &Container) -> Result<&Record, Refusal> {
    container.record.as_ref().map_err(|error| {
        let path = shell::word(&container.path);
        let message = format!("the record of `{path}` cannot be used: {error}");
        let hint = match error.kind() {
            io::ErrorKind::InvalidData => {
                "the container runs without it; bring the file back from a backup, or make a new container \
                 from its role"
            }
            io::ErrorKind::Unsupported => "use the version of this program that made or upgraded it",
            _ => return message.into(),
        };
        Refusal::with_hint(message, hint.to_owned())
    })
}

/// Says that a file which is meant has the name of a container too, and how that is meant; `None` where there
/// is no such container, or the file is named by a path.
pub(super) fn is_named_like(file: &Path, lxcpaths: &[PathBuf], caller: &Caller) -> Option<String> {
    let name = file.to_str().filter(|name| !name.contains('/'))?;
    let found = find(&[name.to_owned()], lxcpaths, caller).ok()?;
    let path = shell::word(&found.first()?.path);
    let name = shell::word(name);
    Some(format!("`{name}` is a file here, and a container too: the container is `{path}`"))
}

/// Returns where else manifests are: here, and where other containers have theirs.
pub(super) fn manifest_places(containers: &[Container]) -> Vec<PathBuf> {
    let records = containers.iter().filter_map(|container| container.record.as_ref().ok());
    let manifests = records.map(|record| Path::new(&record.manifest.path));
    let mut places: Vec<_> =
        manifests.filter_map(|path| Some(path.parent()?.to_path_buf())).collect();
    places.sort();
    places.dedup();
    std::env::current_dir().into_iter().chain(places).collect()
}

/// Says that an upgrade or a rollback of a container was cut off, and how that is ended.
pub(super) fn cut_off(container: &Container, caller: &Caller) -> Option<String> {
    let is_cut_off = Generations::of(&container.path).is_cut_off(container.is_running);
    is_cut_off.then(|| {
        let name = typed(container, caller);
        format!(
            "an upgrade or rollback of it was interrupted: `layered-template upgrade {name}` ends that, \
             `layered-template rollback {name}` goes back"
        )
    })
}

/// Returns the word by which a container is found: its name where LXC looks, else its directory.
pub(super) fn typed(container: &Container, caller: &Caller) -> String {
    match container.path.parent() == Some(lxcpath::default(caller).as_path()) {
        true => shell::word(&container.name),
        false => shell::word(&container.path),
    }
}

/// Returns the stored tree that a container's overlay stands on, where it is gone.
pub(super) fn lost_tree(container: &Container) -> Option<PathBuf> {
    let config = String::from_utf8_lossy(&container.config()).into_owned();
    let value = lxc::config::unquoted(lxc::config::last_value(&config, "lxc.rootfs.path")?);
    let (lower, _) = value.strip_prefix("overlay:")?.rsplit_once(':')?;
    let found = Path::new(lower).symlink_metadata();
    // Who may not look there cannot tell.
    let is_gone = found.is_err_and(|error| error.kind() == io::ErrorKind::NotFound);
    is_gone.then(|| PathBuf::from(lower))
}

/// Says why nobody knows what a container is, where its config names another stored tree than its record.
pub(super) fn stands_elsewhere(container: &Container, record: &Record) -> Option<String> {
    let text = String::from_utf8_lossy(&container.config()).into_owned();
    let value = lxc::config::unquoted(lxc::config::last_value(&text, "lxc.rootfs.path")?);
    let (_, named) = Store::of_rootfs(value)?;
    let recorded = EntryId::parse(&record.stored.as_ref()?.entry);
    (recorded != Some(named)).then(|| {
        "its config names another stored tree than its record, as after `lxc-snapshot -r`"
            .to_owned()
    })
}

/// Returns a path as `show` and `status` have it.
pub(super) fn shown_path(path: &Path) -> String {
    shell::one_line(&path.to_string_lossy())
}
