//! Makes a container that comes from the store itself: its name, its keys.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

use rustix::fs::{AtFlags, FileType, OFlags, fstat, futimens, openat};

use super::super::Run;
use super::super::failure::{Failure, status};
use super::super::observe::{Doing, Subject};
use super::super::step::Job;
use crate::host::child::SpawnOptions;
use crate::host::rootfs::Rootfs;
use crate::host::sandbox::{Caches, Lending, Network, Program, Settings};
use crate::lxc;
use crate::plan::{Layer, PLACEHOLDER, Target};
use crate::store::{Entry, Keys};
use crate::tree::{LONGEST_TEXT, Occurrence, OccurrenceKind, times};

/// What stands in an entry for what is a container's own.
#[derive(Debug, Clone)]
pub(super) struct Names {
    /// What is written for what, the longest first.
    pairs: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Names {
    /// Returns what is to be written for a container.
    pub(super) fn of(entry: &Entry, target: &Target) -> Self {
        let bytes = |path: &Path| path.as_os_str().as_bytes().to_vec();
        let mut pairs = vec![(PLACEHOLDER.as_bytes().to_vec(), target.name.clone().into_bytes())];
        for path in entry.lxcpaths.iter().map(|lxcpath| lxcpath.join(PLACEHOLDER)) {
            pairs.push((bytes(&path.join("rootfs")), bytes(&target.rootfs)));
            pairs.push((bytes(&path), bytes(&target.path)));
        }
        pairs.sort_by_key(|(old, _)| std::cmp::Reverse(old.len()));
        Self { pairs }
    }

    /// Writes them into a text.
    pub(super) fn put_into(&self, text: &[u8]) -> Vec<u8> {
        let mut result = Vec::with_capacity(text.len());
        let mut rest = text;
        while let Some(at) = find(rest, PLACEHOLDER.as_bytes()) {
            // The pair whose text is here: a path begins before the name in it.
            let fits = self.pairs.iter().find_map(|(old, new)| {
                let before = find(old, PLACEHOLDER.as_bytes())?;
                let start = at.checked_sub(before)?;
                rest[start..].starts_with(old).then_some((start, old.len(), new))
            });
            let Some((start, length, new)) = fits else { break };
            result.extend_from_slice(&rest[..start]);
            result.extend_from_slice(new);
            rest = &rest[start + length..];
        }
        result.extend_from_slice(rest);
        result
    }

    /// Writes them into a rootfs, at the places that are known. Times stay as they are.
    pub(super) fn write(&self, rootfs: &Path, places: &[Occurrence]) -> io::Result<()> {
        let rootfs = Rootfs::open(rootfs)?;
        for place in places.iter().filter(|place| place.kind != OccurrenceKind::Binary) {
            let path = Path::new("/").join(OsStr::from_bytes(&place.path));
            self.write_at(&rootfs, &path).map_err(|error| {
                io::Error::other(format!("the name in `{}`: {error}", path.display()))
            })?;
        }
        Ok(())
    }

    fn write_at(&self, rootfs: &Rootfs, path: &Path) -> io::Result<()> {
        let Some(place) = rootfs.existing_place(path)? else { return Ok(()) };
        let Some(stat) = place.look()? else { return Ok(()) };
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => {
                let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
                let file =
                    openat(place.directory(), place.name(), flags, rustix::fs::Mode::empty())?;
                self.write_file(File::from(file))
            }
            FileType::Symlink => {
                let target = rustix::fs::readlinkat(place.directory(), place.name(), Vec::new())?;
                let target = OsString::from_vec(self.put_into(target.to_bytes()));
                let directory = fstat(place.directory())?;
                place.put_symlink(&target, stat.st_uid, stat.st_gid)?;
                let flags = AtFlags::SYMLINK_NOFOLLOW;
                rustix::fs::utimensat(place.directory(), place.name(), &times(&stat), flags)?;
                let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
                let opened = openat(place.directory(), ".", flags, rustix::fs::Mode::empty())?;
                Ok(futimens(opened, &times(&directory))?)
            }
            _ => Ok(()),
        }
    }

    /// Writes into the file itself, which is the container's own: its attributes stay as they are.
    fn write_file(&self, mut file: File) -> io::Result<()> {
        let stat = fstat(&file)?;
        let mut text = Vec::new();
        Read::by_ref(&mut file).take(LONGEST_TEXT + 1).read_to_end(&mut text)?;
        if text.len() as u64 > LONGEST_TEXT {
            return Ok(());
        }
        let new = self.put_into(&text);
        if new == text {
            return Ok(());
        }
        file.rewind()?;
        file.write_all(&new)?;
        file.set_len(new.len() as u64)?;
        Ok(futimens(&file, &times(&stat))?)
    }
}

fn find(text: &[u8], needle: &[u8]) -> Option<usize> {
    memchr::memmem::find(text, needle)
}

/// Returns the config of a container that comes from an entry. `own` is the one that LXC has given
/// it.
pub(super) fn config(entry: &Entry, own: &[u8], names: &Names) -> io::Result<Vec<u8>> {
    entry.config.around(own, |text| Ok(names.put_into(&addressed(text)?)))
}

/// Gives every network that has none yet an address of its own.
fn addressed(config: &[u8]) -> io::Result<Vec<u8>> {
    let mut fault = None;
    let text = lxc::config::rewrite(config, |key, value| {
        if !lxc::config::is_address(key) || value != lxc::config::ANY_ADDRESS {
            return None;
        }
        let mut bytes = [0; 3];
        if let Err(error) =
            File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut bytes))
        {
            fault = Some(error);
        }
        let [a, b, c] = bytes;
        Some(format!("00:16:3e:{a:02x}:{b:02x}:{c:02x}"))
    });
    fault.map_or(Ok(text), Err)
}

impl Run<'_> {
    /// Makes the keys anew that were taken out of what is stored, by the rootfs's own programs.
    pub(super) fn make_keys(&mut self, layer: &Layer, keys: &Keys) -> Result<(), Box<Failure>> {
        if keys.is_empty() {
            return Ok(());
        }
        let rootfs = Rootfs::open(&self.workspace.rootfs);
        let text = match rootfs.map(|rootfs| script(keys, |path| has(&rootfs, path))) {
            Ok(text) if text.is_empty() => {
                self.log(
                    b"its keys are left to the container: the rootfs has no program for them\n",
                );
                return Ok(());
            }
            Ok(text) => text,
            Err(error) => return Err(super::fault(layer, "cannot have its own keys", &error)),
        };
        let workspace = std::rc::Rc::clone(&self.workspace);
        let settings = Settings {
            rootfs: &workspace.rootfs,
            name: &workspace.target.name,
            network: Network::Own,
            unguarded: false,
            resolver: false,
            // It would copy directories up that a container's overlay has no need of.
            policy: false,
            lending: Lending::Files,
            capabilities: rustix::thread::CapabilitySet::empty(),
            mapped: workspace.target.mapped,
            caches: Caches::default(),
            script: None,
        };
        let argv = ["/bin/sh", "-eu", "-c", &text].map(OsString::from).to_vec();
        let name = OsString::from(&workspace.target.name);
        let program = Program { argv, environment: vec![("LXC_NAME".into(), name)] };
        let subject = Subject { layer: layer.name.clone(), doing: Doing::Store };
        let text = "making its own keys";
        let job = Job { subject, at: &layer.at, text, status: status::STORE };
        let tick = self.context.observer.tick();
        let options = SpawnOptions { tick, ..SpawnOptions::default() };
        let run = |events: &mut _, watcher: &mut dyn crate::host::child::Watcher| {
            super::super::inside::run(settings, &program, options, events, watcher)
        };
        match self.job(job, options, run) {
            Err(failure) if failure.signal().is_none() => {
                // The container may make them itself, and is whole but for them.
                self.note(&format!(
                    "not all keys of the container could be made: {}",
                    failure.reason
                ));
                Ok(())
            }
            other => Ok(other?),
        }
    }
}

/// The types of SSH host keys that every `ssh-keygen` makes.
const SSH_TYPES: [&str; 3] = ["rsa", "ecdsa", "ed25519"];

/// Returns the commands that make keys anew, where they are not there. What the rootfs has no program
/// for is left to the container.
fn script(keys: &Keys, has: impl Fn(&str) -> bool) -> String {
    let mut lines = Vec::new();
    let in_path = |program: &str| {
        ["/usr/bin", "/bin", "/usr/sbin", "/sbin"]
            .iter()
            .any(|directory| has(&format!("{directory}/{program}")))
    };
    if !has("/bin/sh") {
        return String::new();
    }
    if has("/etc/ssh") && in_path("ssh-keygen") {
        for kind in keys.ssh.iter().filter(|kind| SSH_TYPES.contains(&kind.as_str())) {
            let file = format!("/etc/ssh/ssh_host_{kind}_key");
            lines.push(format!(
                "[ -e {file} ] || ssh-keygen -q -t {kind} -N '' -C \"root@$LXC_NAME\" \
                 -f {file} </dev/null"
            ));
        }
    }
    if has("/etc/dropbear") && in_path("dropbearkey") {
        for kind in &keys.dropbear {
            let file = format!("/etc/dropbear/dropbear_{kind}_host_key");
            lines.push(format!("[ -e {file} ] || dropbearkey -t {kind} -f {file} >/dev/null"));
        }
    }
    if keys.snakeoil && in_path("make-ssl-cert") {
        lines.push("make-ssl-cert generate-default-snakeoil --force-overwrite".to_owned());
    }
    if keys.iscsi && has("/etc/iscsi") && in_path("iscsi-iname") {
        let file = "/etc/iscsi/initiatorname.iscsi";
        lines.push(format!(
            "[ -e {file} ] || (umask 077; echo \"InitiatorName=$(iscsi-iname)\" >{file})"
        ));
    }
    lines.join("\n")
}

/// Tells whether there is something at a path of a rootfs.
fn has(rootfs: &Rootfs, path: &str) -> bool {
    let place = rootfs.existing_place(Path::new(path));
    place.ok().flatten().is_some_and(|place| place.look().is_ok_and(|there| there.is_some()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_written_before_the_name_in_them() {
        let pair = |old: &str, new: &str| (old.as_bytes().to_vec(), new.as_bytes().to_vec());
        let names = Names {
            pairs: vec![
                pair(&format!("/l/{PLACEHOLDER}/rootfs"), "/mnt/rootfs"),
                pair(&format!("/l/{PLACEHOLDER}"), "/lxc/web1"),
                pair(PLACEHOLDER, "web1"),
            ],
        };
        let table = [
            ("a @ b", "a web1 b"),
            ("@@", "web1web1"),
            ("/l/@/rootfs/etc /l/@/config", "/mnt/rootfs/etc /lxc/web1/config"),
            ("/k/@/rootfs", "/k/web1/rootfs"),
            ("x", "x"),
            ("", ""),
        ];
        for (text, expected) in table {
            let text = text.replace('@', PLACEHOLDER);
            let found = names.put_into(text.as_bytes());
            assert_eq!(String::from_utf8(found).unwrap(), expected);
        }
    }
}
