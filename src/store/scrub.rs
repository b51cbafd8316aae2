//! Takes out of a tree what makes a container itself.

use std::ffi::{CString, OsStr};
use std::fs;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, fstat, futimens, openat};

use crate::cache::IdentityKeys;
use crate::host::rootfs::{Attributes, Rootfs, RootfsEntry};
use crate::tree::{self, loosened, times};

/// What systemd, or the next start, makes anew where it is empty. It may be a link to where it is.
const EMPTIED: [&str; 1] = ["/etc/machine-id"];

/// What a machine-id is that tells systemd of a first start: nobody's yet.
const NONE_YET: &[u8] = b"uninitialized\n";

/// How many links lead to a file at the most, as for the kernel.
const MOST_LINKS: usize = 40;

/// What is made anew by whoever needs it. A link is none of them: it leads to one.
const REMOVED: [&str; 5] = [
    "/var/lib/dbus/machine-id",
    "/var/lib/systemd/random-seed",
    "/var/lib/systemd/credential.secret",
    "/var/lib/urandom/random-seed",
    "/var/lib/misc/random-seed",
];

/// Where the keys are that are made anew for each container.
const SSH: &str = "/etc/ssh";
/// What is no host's key, but that of whoever vouches for hosts.
const SSH_AUTHORITY: &str = "ca";
const DROPBEAR: &str = "/etc/dropbear";
const SNAKEOIL: [&str; 2] =
    ["/etc/ssl/private/ssl-cert-snakeoil.key", "/etc/ssl/certs/ssl-cert-snakeoil.pem"];
const ISCSI: &str = "/etc/iscsi/initiatorname.iscsi";

/// What was taken out of a tree.
#[derive(Debug, Default)]
pub(crate) struct Scrubbed {
    /// The keys that are to be made anew.
    pub keys: IdentityKeys,
    /// The paths of what was emptied, without the slash in front.
    pub emptied: Vec<Vec<u8>>,
    /// What leads to something that the layer drops, and so is not taken out.
    pub kept: Vec<PathBuf>,
}

/// Takes out of a tree what makes a container itself: what always does, but for `kept` and what leads
/// to one of `dropped`, and `listed`.
pub(super) fn scrub(
    tree: &Path,
    listed: &[&Path],
    kept: &[PathBuf],
    dropped: &[&Path],
) -> io::Result<Scrubbed> {
    let rootfs = Rootfs::open(tree)?;
    let mut scrubbed = Scrubbed::default();
    let is_kept = |path: &Path| kept.iter().any(|kept| kept == path);
    for path in EMPTIED.map(Path::new).into_iter().filter(|path| !is_kept(path)) {
        if let Some(place) = behind(&rootfs, path)?
            && is_regular(&place)?
            && rootfs.read(path, NONE_YET.len() as u64).ok().as_deref() != Some(NONE_YET)
        {
            let at = path_in(tree, &place)?;
            if dropped.contains(&Path::new("/").join(OsStr::from_bytes(&at)).as_path()) {
                scrubbed.kept.push(path.to_path_buf());
                continue;
            }
            quietly(&place, || empty(&place))?;
            scrubbed.emptied.push(at);
        }
    }
    for path in REMOVED.map(Path::new).into_iter().filter(|path| !is_kept(path)) {
        remove(&rootfs, path)?;
    }
    for name in names_in(&rootfs, Path::new(SSH))? {
        let Some(kind) = key_type(&name, b"ssh_host_", b"_key") else { continue };
        let path = Path::new(SSH).join(OsStr::from_bytes(&name));
        if kind != SSH_AUTHORITY && !is_kept(&path) && remove_key(&rootfs, &path)? {
            remove_key(&rootfs, &path.with_extension("pub"))?;
            scrubbed.keys.ssh.push(kind);
        }
    }
    for name in names_in(&rootfs, Path::new(DROPBEAR))? {
        let Some(kind) = key_type(&name, b"dropbear_", b"_host_key") else { continue };
        let path = Path::new(DROPBEAR).join(OsStr::from_bytes(&name));
        if !is_kept(&path) && remove_key(&rootfs, &path)? {
            scrubbed.keys.dropbear.push(kind);
        }
    }
    let snakeoil = SNAKEOIL.map(Path::new);
    if !snakeoil.iter().any(|path| is_kept(path)) && remove(&rootfs, snakeoil[0])? {
        remove(&rootfs, snakeoil[1])?;
        remove_links_to(&rootfs, snakeoil[1])?;
        scrubbed.keys.snakeoil = true;
    }
    if !is_kept(Path::new(ISCSI)) {
        scrubbed.keys.iscsi = remove(&rootfs, Path::new(ISCSI))?;
    }
    for path in listed {
        if let Some(place) = existing(&rootfs, path)?
            && place.look()?.is_some()
        {
            quietly(&place, || take(&place))?;
        }
    }
    Ok(scrubbed)
}

/// Tells whether a path is one that makes a container itself.
pub(crate) fn is_identity(path: &Path) -> bool {
    let known = EMPTIED.iter().chain(&REMOVED).chain(&SNAKEOIL).chain([&ISCSI]);
    let above = path.parent();
    known.into_iter().any(|known| path == Path::new(known))
        || above == Some(Path::new(SSH))
        || above == Some(Path::new(DROPBEAR))
}

/// Returns the type of a host key by the name of its file, where it is a word or several.
fn key_type(name: &[u8], before: &[u8], behind: &[u8]) -> Option<String> {
    let kind = name.strip_prefix(before)?.strip_suffix(behind)?;
    let is_of_word = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_".contains(byte);
    let sound = kind.first().is_some_and(u8::is_ascii_alphanumeric) && kind.iter().all(is_of_word);
    sound.then(|| String::from_utf8_lossy(kind).into_owned())
}

fn names_in(rootfs: &Rootfs, path: &Path) -> io::Result<Vec<Vec<u8>>> {
    let directory = match rootfs.directory(path) {
        Ok(directory) => directory,
        Err(error)
            if [io::ErrorKind::NotFound, io::ErrorKind::NotADirectory].contains(&error.kind())
                || is_loop(&error) =>
        {
            return Ok(Vec::new());
        }
        Err(error) => return Err(error),
    };
    let mut names = Vec::new();
    for entry in rustix::fs::Dir::read_from(&directory)? {
        let name = entry?.file_name().to_bytes().to_vec();
        if ![&b"."[..], b".."].contains(&&name[..]) {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

/// Tells whether there is a regular file that is not empty.
fn is_regular(place: &RootfsEntry) -> io::Result<bool> {
    Ok(place.look()?.is_some_and(|stat| {
        FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile && stat.st_size > 0
    }))
}

fn is_link(place: &RootfsEntry) -> io::Result<bool> {
    let stat = place.look()?;
    Ok(stat.is_some_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Symlink))
}

/// Returns the place that a path leads to, over links if it must.
fn behind(rootfs: &Rootfs, path: &Path) -> io::Result<Option<RootfsEntry>> {
    let mut path = path.to_path_buf();
    for _ in 0..=MOST_LINKS {
        let Some(place) = existing(rootfs, &path)? else { return Ok(None) };
        match is_link(&place) {
            Ok(true) => {}
            Ok(false) => return Ok(Some(place)),
            // There can be nothing of such a name.
            Err(error) if is_too_long(&error) => return Ok(None),
            Err(error) => return Err(error),
        }
        let target = rustix::fs::readlinkat(place.directory(), place.name(), Vec::new())?;
        path.pop();
        path.push(OsStr::from_bytes(target.to_bytes()));
        if path.file_name().is_none() {
            break;
        }
    }
    Ok(None)
}

/// Returns the path of a place within the tree, without a slash in front.
fn path_in(tree: &Path, place: &RootfsEntry) -> io::Result<Vec<u8>> {
    let shown = format!("/proc/self/fd/{}", place.directory().as_raw_fd());
    let above = fs::read_link(shown)?;
    let within = above.strip_prefix(fs::canonicalize(tree)?).map_err(io::Error::other)?;
    Ok(within.join(place.name()).into_os_string().into_vec())
}

/// Removes a regular file; tells whether there was one.
fn remove(rootfs: &Rootfs, path: &Path) -> io::Result<bool> {
    match existing(rootfs, path)? {
        Some(place) if is_regular(&place)? => quietly(&place, || take(&place)).map(|()| true),
        _ => Ok(false),
    }
}

/// Removes a key, or the link that leads to one: there, too, each container makes its own.
fn remove_key(rootfs: &Rootfs, path: &Path) -> io::Result<bool> {
    let Some(place) = existing(rootfs, path)? else { return Ok(false) };
    if is_link(&place)? {
        return quietly(&place, || take(&place)).map(|()| true);
    }
    remove(rootfs, path)
}

/// Returns the place at a path, where there is a directory for it: a link that leads around in a
/// circle is none.
fn existing(rootfs: &Rootfs, path: &Path) -> io::Result<Option<RootfsEntry>> {
    match rootfs.existing_entry(path) {
        Err(error) if is_loop(&error) || is_too_long(&error) => Ok(None),
        other => other,
    }
}

fn is_too_long(error: &io::Error) -> bool {
    error.raw_os_error() == Some(rustix::io::Errno::NAMETOOLONG.raw_os_error())
}

fn is_loop(error: &io::Error) -> bool {
    error.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error())
}

/// Removes the links beside a file that lead to it by its name: those of a certificate are named by
/// what is in it.
fn remove_links_to(rootfs: &Rootfs, path: &Path) -> io::Result<()> {
    let (Some(above), Some(name)) = (path.parent(), path.file_name()) else { return Ok(()) };
    for link in names_in(rootfs, above)? {
        let path = above.join(OsStr::from_bytes(&link));
        let Some(place) = existing(rootfs, &path)? else { continue };
        let target = rustix::fs::readlinkat(place.directory(), place.name(), Vec::new());
        if target.is_ok_and(|target| target.as_bytes() == name.as_bytes()) {
            quietly(&place, || take(&place))?;
        }
    }
    Ok(())
}

/// Removes what is at a place.
fn take(place: &RootfsEntry) -> io::Result<()> {
    tree::remove(place.directory(), place.name())
}

/// Puts an empty file in the place of one, with the same attributes and times. The one that is there
/// may be another tree's too.
fn empty(place: &RootfsEntry) -> io::Result<()> {
    let Some(stat) = place.look()? else { return Ok(()) };
    let attributes = Attributes { uid: stat.st_uid, gid: stat.st_gid, mode: stat.st_mode & 0o7777 };
    place.put_file(attributes, |file| Ok(futimens(file, &times(&stat))?))
}

/// Does something to a place in a directory whose times stay as they are.
fn quietly(place: &RootfsEntry, act: impl Fn() -> io::Result<()>) -> io::Result<()> {
    let before = fstat(place.directory())?;
    let name = CString::new(place.name().as_bytes())?;
    loosened(place.directory(), &name, act).map_err(|error| {
        let name = crate::shell::word(place.name());
        io::Error::new(error.kind(), format!("{name}, which is a container's own: {error}"))
    })?;
    // What the place has is not always a descriptor that times can be set by.
    let flags = rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::DIRECTORY;
    let directory = openat(place.directory(), ".", flags, rustix::fs::Mode::empty())?;
    Ok(futimens(directory, &times(&before))?)
}
