//! The built-in upstream: a small rootfs that boots, made of the host's static busybox.
//!
//! It needs no network and no root, so that the program can show its work on a fresh machine.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::process::Stdio;

use super::Run;
use super::failure::{Cause, Failure, status};
use super::observe::{Event, Subject};
use super::step::host_command;
use crate::host::child::End;
use crate::host::ended::describe;
use crate::host::event_loop::EventLoop;
use crate::host::kernel::LONGEST_HOST_NAME;
use crate::host::rootfs::{Attributes, Rootfs, copy};
use crate::plan::{Layer, Upstream};
use crate::shell;

/// Directories, with their permission bits.
const DIRECTORIES: &[(&str, u32)] = &[
    ("/bin", 0o755),
    ("/dev", 0o755),
    ("/etc", 0o755),
    ("/etc/init.d", 0o755),
    ("/home", 0o755),
    ("/mnt", 0o755),
    ("/proc", 0o555),
    ("/root", 0o700),
    ("/run", 0o755),
    ("/sbin", 0o755),
    ("/sys", 0o555),
    ("/tmp", 0o1777),
    ("/usr", 0o755),
    ("/usr/bin", 0o755),
    ("/usr/sbin", 0o755),
    ("/var", 0o755),
    ("/var/lib", 0o755),
    ("/var/log", 0o755),
    ("/var/tmp", 0o1777),
];

/// Files, with their permission bits and texts; `NAME` stands for the container's name.
const FILES: &[(&str, u32, &str)] = &[
    ("/etc/group", 0o644, "root:x:0:\ntty:x:5:\nnogroup:x:65534:\n"),
    ("/etc/hostname", 0o644, "NAME\n"),
    ("/etc/hosts", 0o644, "127.0.0.1 localhost\n127.0.1.1 NAME\n::1 localhost\n"),
    ("/etc/init.d/rcS", 0o755, "#!/bin/sh\nmount -a\nip link set lo up 2>/dev/null || :\n"),
    (
        "/etc/inittab",
        0o644,
        "::sysinit:/etc/init.d/rcS\n\
         console::respawn:/bin/busybox getty -L console 115200 vt100\n\
         tty1::respawn:/bin/busybox getty -L tty1 115200 vt100\n",
    ),
    ("/etc/fstab", 0o644, "tmpfs /run tmpfs rw,nosuid,nodev,mode=755 0 0\n"),
    (
        "/etc/passwd",
        0o644,
        "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n",
    ),
    ("/etc/shadow", 0o640, "root:*:0:0:99999:7:::\nnobody:*:0:0:99999:7:::\n"),
];

/// Lines of the container's config besides its name: busybox's init ends at SIGUSR1, and starts
/// anew at SIGTERM.
const CONFIG: &[(&str, &str)] = &[
    ("lxc.signal.halt", "SIGUSR1"),
    ("lxc.signal.reboot", "SIGTERM"),
    ("lxc.tty.max", "1"),
    ("lxc.pty.max", "16"),
    ("lxc.cap.drop", "sys_module mac_admin mac_override sys_time"),
    ("lxc.mount.auto", "cgroup:mixed proc:mixed sys:mixed"),
    ("lxc.mount.entry", "shm dev/shm tmpfs rw,nosuid,nodev,create=dir 0 0"),
];

/// Names that a busybox may offer, and that the rootfs has for itself.
const NOT_LINKED: [&str; 1] = ["bin/busybox"];

impl Run<'_> {
    pub(super) fn busybox(
        &mut self,
        layer: &Layer,
        upstream: &Upstream,
        busybox: &Path,
        subject: &Subject,
    ) -> Result<(), Failure> {
        let text = upstream.template.as_str();
        let started = std::time::Instant::now();
        self.context.observer.event(&Event::Begun { subject, at: &upstream.at, text });
        let applets = applets(self.context.events, busybox);
        // LXC loads no config with a longer host name than the kernel takes.
        let host = shell::cut(&self.workspace.target.name, LONGEST_HOST_NAME);
        let result = applets
            .and_then(|applets| {
                make(&Rootfs::open_or_make(&self.workspace.rootfs)?, busybox, &applets, host)
            })
            .and_then(|()| {
                let name = [("lxc.uts.name", host)];
                let lines: Vec<_> = name.into_iter().chain(CONFIG.iter().copied()).collect();
                self.append(layer.name.as_str(), &lines)
            });
        let (succeeded, elapsed) = (result.is_ok(), started.elapsed());
        self.context.observer.event(&Event::Ended { subject, succeeded, elapsed });
        self.uninterrupted()?;
        result.map_err(|error| {
            let reason = format!("could not make its rootfs: {error}");
            Failure::of(status::UPSTREAM, subject.clone(), &upstream.at, reason)
                .because(Cause::from(&error))
        })
    }
}

fn make(rootfs: &Rootfs, busybox: &Path, applets: &[String], name: &str) -> io::Result<()> {
    let of_root = |mode| Attributes { uid: 0, gid: 0, mode };
    for (path, mode) in DIRECTORIES {
        let place = rootfs.entry(Path::new(path))?;
        if place.look()?.is_none() {
            place.put_directory(of_root(*mode), |_| Ok(()))?;
        }
    }
    for (path, mode, text) in FILES {
        let text = text.replace("NAME", name);
        let place = rootfs.entry(Path::new(path))?;
        place.put_file(of_root(*mode), |file| file.write_all(text.as_bytes()))?;
    }
    let program = rootfs.entry(Path::new("/bin/busybox"))?;
    program.put_file(of_root(0o755), |to| {
        copy(&mut File::open(busybox)?, to, &mut vec![0; 128 * 1024], |_| {})
    })?;
    for path in applets {
        let place = rootfs.entry(&Path::new("/").join(path))?;
        if place.look()?.is_none() {
            place.put_symlink("/bin/busybox".as_ref(), 0, 0)?;
        }
    }
    Ok(())
}

/// Returns the paths that a busybox wants to be called by.
fn applets(events: &mut EventLoop, busybox: &Path) -> io::Result<Vec<String>> {
    let mut command = host_command(busybox);
    command.arg("--list-full").stderr(Stdio::null());
    let text = match events.output_of(command)? {
        (printed, End::Own(status)) if status.success() => printed,
        (_, end) => {
            let reason = match end {
                End::Own(status) => describe(status),
                End::TimedOut | End::Interrupted(_) => "was interrupted".to_owned(),
            };
            return Err(io::Error::other(format!("`{} --list-full` {reason}", busybox.display())));
        }
    };
    let text = String::from_utf8_lossy(&text);
    let is_sound = |path: &&str| {
        !path.is_empty()
            && !path.starts_with('/')
            && path.split('/').all(|name| !["", ".", ".."].contains(&name))
            && !NOT_LINKED.contains(path)
    };
    Ok(text.lines().map(str::trim).filter(is_sound).map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use super::{CONFIG, DIRECTORIES, FILES};
    use crate::cache::BUSYBOX_RECIPE;
    use crate::digest::Digest;

    /// The tables of each recipe.
    const RECIPES: [&str; 2] = [
        "sha256:7bfd4a738733b99e3e352bf04803f2aef2e34efe8b1b2382925424237aa889e1",
        "sha256:08272e2cb7c47c800293faae4f4cd04e27cb8b0ae236051bce5cb4134b9e880a",
    ];

    #[test]
    fn another_rootfs_has_another_recipe() {
        let tables = format!("{DIRECTORIES:?}{FILES:?}{CONFIG:?}");
        let found = Digest::of(tables.as_bytes()).to_string();
        let hint = "raise BUSYBOX_RECIPE, and add this digest";
        assert_eq!(RECIPES.last(), Some(&found.as_str()), "{hint}");
        assert_eq!(RECIPES.len(), BUSYBOX_RECIPE as usize, "{hint}");
    }
}
