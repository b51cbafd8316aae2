//! What somebody may have put where a run is going to work.

use std::fs::{self, File, Permissions};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::fs::{CWD, FileType, Mode, makedev, mknodat};

/// How it looks to a run that follows links within the rootfs alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Seen {
    File,
    /// A fifo, a socket or a device.
    Special,
    Directory,
    /// A link to the directory `inside`, which is beside it.
    LinkToDirectory,
    LinkToFile,
    /// A link that leads nowhere within the rootfs.
    LinkNowhere,
    /// A link that leads around in a circle.
    Circle,
    /// A file that is immutable, or open to appending alone.
    ShutFile,
    ShutDirectory,
    MountedDirectory,
    MountedFile,
}

/// Something that is planted.
pub(super) struct Plant {
    pub(super) name: &'static str,
    pub(super) seen: Seen,
    pub(super) make: Box<dyn Fn(&Site)>,
}

/// Where it is planted.
pub(super) struct Site<'a> {
    pub(super) at: PathBuf,
    pub(super) rootfs: &'a Path,
    /// A directory outside that must not change.
    pub(super) canary: &'a Path,
}

impl Site<'_> {
    /// Returns the path of something that belongs to it.
    fn near(&self, name: &str) -> PathBuf {
        self.at.with_extension(name)
    }

    /// Returns the path of what is beside it, as the container has it.
    fn beside(&self, name: &str) -> PathBuf {
        Path::new("/").join(self.at.with_file_name(name).strip_prefix(self.rootfs).unwrap())
    }
}

fn up(path: &Path) -> PathBuf {
    PathBuf::from(format!("{}{}", "../".repeat(40), path.display()))
}

fn node(site: &Site, kind: FileType, (major, minor): (u32, u32)) {
    mknodat(CWD, &site.at, kind, Mode::from_raw_mode(0o666), makedev(major, minor)).unwrap();
}

fn directory(site: &Site, mode: u32) {
    fs::create_dir(&site.at).unwrap();
    fs::set_permissions(&site.at, Permissions::from_mode(mode)).unwrap();
}

fn python(script: &str, at: &Path) {
    let ran = Command::new("python3").args(["-c", script]).arg(at).status().unwrap();
    assert!(ran.success());
}

fn chattr(change: &str, at: &Path) {
    assert!(Command::new("chattr").arg(change).arg(at).status().unwrap().success());
}

/// Returns all that a tree can hold and an ordinary user can make there.
pub(super) fn plain() -> Vec<Plant> {
    use Seen::{
        Circle, Directory, File as Plain, LinkNowhere, LinkToDirectory, LinkToFile, Special,
    };
    fn plant(name: &'static str, seen: Seen, make: impl Fn(&Site) + 'static) -> Plant {
        Plant { name, seen, make: Box::new(make) }
    }
    let link = |name, seen, to: fn(&Site) -> PathBuf| {
        plant(name, seen, move |site| symlink(to(site), &site.at).unwrap())
    };
    vec![
        link("an absolute link to a file outside", LinkNowhere, |site| site.canary.join("file")),
        link("an absolute link to a directory outside", LinkNowhere, |site| site.canary.into()),
        link("a link that climbs out to a file", LinkNowhere, |site| up(&site.canary.join("file"))),
        link("a link that climbs out to a directory", LinkNowhere, |site| up(site.canary)),
        link("a relative link to the container's directory", LinkNowhere, |_| {
            "../../../../canary".into()
        }),
        link("a link through the root of a process", LinkNowhere, |site| {
            PathBuf::from(format!("/proc/self/root{}", site.canary.display()))
        }),
        link("a link through a directory of a process", LinkNowhere, |_| "/proc/self/cwd/f".into()),
        link("a link through a descriptor", LinkNowhere, |_| "/proc/self/fd/0".into()),
        link("a dangling link", LinkNowhere, |_| "nowhere/at/all".into()),
        link("a link as long as can be", LinkNowhere, |_| "x/".repeat(2047).into()),
        link("a link to itself", Circle, |site| site.at.file_name().unwrap().into()),
        link("a link through a file", LinkNowhere, |_| "file/x".into()),
        link("a relative link inside", LinkToDirectory, |_| "inside".into()),
        link("an absolute link inside", LinkToDirectory, |site| site.beside("inside")),
        link("a link inside that climbs too far", LinkToDirectory, |site| {
            up(&site.beside("inside"))
        }),
        link("a link to a file inside", LinkToFile, |site| site.beside("file")),
        plant("links that lead to each other", Circle, |site| {
            let other = site.near("other");
            symlink(other.file_name().unwrap(), &site.at).unwrap();
            symlink(site.at.file_name().unwrap(), other).unwrap();
        }),
        plant("a link behind more links than are followed", Circle, |site| {
            let mut at = site.at.clone();
            for number in 0..50 {
                let next = site.near(&number.to_string());
                symlink(next.file_name().unwrap(), &at).unwrap();
                at = next;
            }
            symlink("inside", at).unwrap();
        }),
        plant("a fifo", Special, |site| node(site, FileType::Fifo, (0, 0))),
        plant("a socket", Special, |site| node(site, FileType::Socket, (0, 0))),
        plant("a file", Plain, |site| fs::write(&site.at, "planted").unwrap()),
        plant("a file that nobody may read", Plain, |site| {
            fs::write(&site.at, "planted").unwrap();
            fs::set_permissions(&site.at, Permissions::from_mode(0o000)).unwrap();
        }),
        plant("a set-user-id program", Plain, |site| {
            fs::write(&site.at, "planted").unwrap();
            fs::set_permissions(&site.at, Permissions::from_mode(0o6755)).unwrap();
        }),
        plant("a hard link to a file outside", Plain, |site| {
            fs::hard_link(site.canary.join("file"), &site.at).unwrap();
        }),
        plant("terabytes of nothing", Plain, |site| {
            File::create(&site.at).unwrap().set_len(1 << 40).unwrap();
        }),
        plant("an empty directory", Directory, |site| directory(site, 0o755)),
        plant("a directory that nobody may enter", Directory, |site| directory(site, 0)),
        plant("a sticky directory", Directory, |site| directory(site, 0o1777)),
        plant("a directory with the set-group-id bit", Directory, |site| directory(site, 0o2777)),
        plant("a directory of links that lead out", Directory, |site| {
            directory(site, 0o755);
            symlink(site.canary, site.at.join("d")).unwrap();
            symlink(site.canary.join("file"), site.at.join("f")).unwrap();
            symlink(site.canary.join("file"), site.at.join("n")).unwrap();
            fs::remove_file(site.at.join("n")).unwrap();
        }),
        plant("a directory of names that are hard to write", Directory, |site| {
            directory(site, 0o755);
            let long = "n".repeat(255);
            for name in [
                b"a\nb",
                &b"\x1b[2J"[..],
                b"\xff\xfe",
                b"-rf",
                b"*",
                "\u{202e}".as_bytes(),
                long.as_bytes(),
            ] {
                fs::write(site.at.join(std::ffi::OsStr::from_bytes(name)), "planted").unwrap();
            }
        }),
        plant("a directory of names of what is not finished", Directory, |site| {
            directory(site, 0o755);
            for name in super::planted_names() {
                symlink(site.canary.join("file"), site.at.join(name)).unwrap();
            }
        }),
        plant("a directory of paths that are too long for any call", Directory, |site| {
            directory(site, 0o755);
            let script = "import os, sys\nos.chdir(sys.argv[1])\nfor _ in range(25):\n os.mkdir('d' * 200)\n os.chdir('d' * 200)\n";
            python(script, &site.at);
        }),
    ]
}

/// Returns what root of the host alone can make.
pub(super) fn of_root() -> Vec<Plant> {
    fn plant(name: &'static str, seen: Seen, make: impl Fn(&Site) + 'static) -> Plant {
        Plant { name, seen, make: Box::new(make) }
    }
    vec![
        plant("a character device", Seen::Special, |site| {
            node(site, FileType::CharacterDevice, (1, 3));
        }),
        plant("a block device", Seen::Special, |site| node(site, FileType::BlockDevice, (7, 255))),
        plant("a mark of a removed file", Seen::Special, |site| {
            node(site, FileType::CharacterDevice, (0, 0));
        }),
        plant("a directory with attributes of an overlay", Seen::Directory, |site| {
            directory(site, 0o755);
            for name in ["trusted.overlay.opaque", "user.overlay.opaque"] {
                rustix::fs::setxattr(&site.at, name, b"y", rustix::fs::XattrFlags::empty())
                    .unwrap();
            }
        }),
        plant("a file with a capability", Seen::File, |site| {
            fs::write(&site.at, "planted").unwrap();
            let capability = b"\x01\0\0\x02\0\x04\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
            rustix::fs::setxattr(
                &site.at,
                "security.capability",
                capability,
                rustix::fs::XattrFlags::empty(),
            )
            .unwrap();
        }),
    ]
}

/// Returns what cannot be changed. Whoever plants it takes it away with [`crate::immutable::loosen`].
pub(super) fn shut() -> Vec<Plant> {
    let file = |name, change: &'static str| Plant {
        name,
        seen: Seen::ShutFile,
        make: Box::new(move |site| {
            fs::write(&site.at, "planted").unwrap();
            chattr(change, &site.at);
        }),
    };
    let directory = Plant {
        name: "an immutable directory",
        seen: Seen::ShutDirectory,
        make: Box::new(|site| {
            directory(site, 0o755);
            chattr("+i", &site.at);
        }),
    };
    vec![file("an immutable file", "+i"), file("a file for appending alone", "+a"), directory]
}

/// Returns mount points. What is mounted there is mounted by the caller, before the run.
pub(super) fn mounted() -> Vec<Plant> {
    let file = |site: &Site| fs::write(&site.at, "").unwrap();
    vec![
        Plant {
            name: "a directory outside, mounted",
            seen: Seen::MountedDirectory,
            make: Box::new(|site| directory(site, 0o755)),
        },
        Plant { name: "a file outside, mounted", seen: Seen::MountedFile, make: Box::new(file) },
    ]
}

/// Lists all that a directory outside is known by: a change of it cannot be overlooked.
pub(super) fn known_by(top: &Path) -> Vec<String> {
    let mut known = Vec::new();
    let mut open = vec![top.to_path_buf()];
    while let Some(path) = open.pop() {
        let found = fs::symlink_metadata(&path).unwrap();
        let bytes = if found.is_file() { fs::read(&path).unwrap() } else { Vec::new() };
        known.push(format!(
            "{} {} {:o} {}:{} {}.{} {bytes:?}",
            path.display(),
            found.ino(),
            found.mode(),
            found.uid(),
            found.gid(),
            found.mtime(),
            found.mtime_nsec(),
        ));
        if found.is_dir() {
            open.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        }
    }
    known.sort();
    known
}
