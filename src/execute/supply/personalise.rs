//! Makes a container that comes from the store itself: its name, its addresses, its keys.

use std::ffi::{CStr, CString, OsStr, OsString};
use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::os::fd::AsFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;
use std::rc::Rc;

use rustix::buffer::spare_capacity;
use rustix::fs::{
    AtFlags, FileType, Mode, OFlags, XattrFlags, fchmod, fgetxattr, fsetxattr, fstat, futimens,
    openat,
};

use super::super::failure::{Failure, status};
use super::super::observe::{Doing, Subject};
use super::super::step::Job;
use super::super::{Run, config, full_disk, inside};
use super::session::Session;
use crate::cache::{Key, Names, with_addresses};
use crate::host::child::{SpawnOptions, Watcher};
use crate::host::rootfs::Rootfs;
use crate::host::sandbox::{CacheMounts, Lending, Network, SandboxCommand, Settings};
use crate::host::{fault, files};
use crate::tree::{self, Interrupt, LONGEST_TEXT, times};

impl<'a> Run<'a> {
    /// Writes the container's name in the place of the placeholder.
    pub(super) fn write_name(
        &mut self,
        session: &Session<'a>,
        names: &Names,
        files: &[Vec<u8>],
    ) -> Result<(), Box<Failure>> {
        let written = write_names(names, &self.workspace.rootfs, files);
        self.personalised(session, written)
    }

    /// Puts what the template has left beside the rootfs and the config into the container's directory.
    pub(super) fn put_sidecar(
        &mut self,
        session: &Session<'a>,
        names: &Names,
        files: &[Vec<u8>],
    ) -> Result<(), Box<Failure>> {
        let interrupt = Interrupt::of(self.context.events.as_fd());
        let container = &self.workspace.container;
        let entry = session.progress.base.ok_or_else(|| io::Error::other("nothing is stored"));
        let put = entry.and_then(|entry| {
            session.store.put_sidecar(entry, container, interrupt, |directory| {
                write_names(names, directory, files)
            })
        });
        self.personalised(session, put)
    }

    /// Writes the container's config.
    pub(super) fn write_config(
        &mut self,
        session: &mut Session<'a>,
        text: &[u8],
    ) -> Result<(), Box<Failure>> {
        let written = addressed(text).and_then(|text| {
            let container = &self.workspace.container;
            let ownership = config::ownership(container, self.workspace.target.mapped)?;
            files::replace_in(container, config::NAME, &text, ownership)
        });
        self.personalised(session, written)
    }

    fn personalised(
        &mut self,
        session: &Session<'a>,
        done: io::Result<()>,
    ) -> Result<(), Box<Failure>> {
        let Err(error) = done else { return Ok(()) };
        self.heard(&error)?;
        let layer = session.last_layer();
        let subject = Subject { layer: layer.name.clone(), doing: Doing::Store };
        let reason = format!("could not be made the container's own: {error}");
        let failure = Failure::of(session.install_status(), subject, &layer.at, reason);
        Err(Box::new(full_disk::by(failure, &error)))
    }

    /// Makes the container's keys, by the rootfs's own programs.
    pub(super) fn make_keys(
        &mut self,
        session: &mut Session<'a>,
        keys: &[Key],
    ) -> Result<(), Box<Failure>> {
        let layer = session.last_layer();
        let commands: Vec<_> = keys.iter().map(|key| key.command.as_str()).collect();
        let workspace = Rc::clone(&self.workspace);
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
            caches: CacheMounts::default(),
            script: None,
        };
        let script = commands.join("\n");
        let argv = ["/bin/sh", "-eu", "-c", &script].map(OsString::from).to_vec();
        let name = OsString::from(&workspace.target.name);
        let program = SandboxCommand { argv, environment: vec![("LXC_NAME".into(), name)] };
        let subject = Subject { layer: layer.name.clone(), doing: Doing::Store };
        let text = "making its own keys";
        let job = Job { subject, at: &layer.at, text, status: status::STORE, download: None };
        let options =
            SpawnOptions { tick: self.context.observer.tick(), ..SpawnOptions::default() };
        let run = |events: &mut _, watcher: &mut dyn Watcher| {
            inside::run(settings, &program, options, events, watcher)
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

/// Gives every network of a config that has none yet an address of its own.
pub(super) fn addressed(text: &[u8]) -> io::Result<Vec<u8>> {
    with_addresses(text, || {
        let mut bytes = [0; 3];
        File::open("/dev/urandom")?.read_exact(&mut bytes)?;
        io::Result::Ok(bytes)
    })
}

/// Writes them into a rootfs, at the places that are known. Times stay as they are.
pub(super) fn write_names(names: &Names, rootfs: &Path, files: &[Vec<u8>]) -> io::Result<()> {
    let rootfs = Rootfs::open(rootfs)?;
    for file in files {
        let path = Path::new("/").join(OsStr::from_bytes(file));
        write_at(names, &rootfs, &path)
            .map_err(|error| fault::about(format!("the name in `{}`", path.display()), error))?;
    }
    Ok(())
}

fn write_at(names: &Names, rootfs: &Rootfs, path: &Path) -> io::Result<()> {
    let Some(place) = rootfs.existing_entry(path)? else { return Ok(()) };
    let Some(stat) = place.look()? else { return Ok(()) };
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => {
            let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
            let name = CString::new(place.name().as_bytes())?;
            tree::reopened(place.directory(), &name, || {
                let file = openat(place.directory(), &name, flags, Mode::empty())?;
                write_file(names, File::from(file))
            })
        }
        FileType::Symlink => {
            let target = rustix::fs::readlinkat(place.directory(), place.name(), Vec::new())?;
            let target = OsString::from_vec(names.put_into(target.to_bytes()));
            let directory = fstat(place.directory())?;
            place.put_symlink(&target, stat.st_uid, stat.st_gid)?;
            let flags = AtFlags::SYMLINK_NOFOLLOW;
            rustix::fs::utimensat(place.directory(), place.name(), &times(&stat), flags)?;
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
            let opened = openat(place.directory(), ".", flags, Mode::empty())?;
            Ok(futimens(opened, &times(&directory))?)
        }
        _ => Ok(()),
    }
}

/// The attribute that writing takes from a file.
const CAPABILITY: &CStr = c"security.capability";

/// The bits that writing takes from one.
const SET_UID: u32 = 0o4000;
const SET_GID: u32 = 0o2000;

/// The longest value of it, in bytes. Source: linux/capability.h.
const LONGEST_CAPABILITY: usize = 64;

/// Writes into the file itself, which is the container's own: its attributes stay as they are.
fn write_file(names: &Names, mut file: File) -> io::Result<()> {
    let stat = fstat(&file)?;
    let mut text = Vec::new();
    Read::by_ref(&mut file).take(LONGEST_TEXT + 1).read_to_end(&mut text)?;
    if text.len() as u64 > LONGEST_TEXT {
        return Ok(());
    }
    let new = names.put_into(&text);
    if new == text {
        return Ok(());
    }
    let mut capability = Vec::with_capacity(LONGEST_CAPABILITY);
    let has_any = fgetxattr(&file, CAPABILITY, spare_capacity(&mut capability)).is_ok();
    file.rewind()?;
    file.write_all(&new)?;
    file.set_len(new.len() as u64)?;
    // The kernel takes set-id bits and capabilities from what is written to.
    if stat.st_mode & (SET_UID | SET_GID) != 0 {
        fchmod(&file, Mode::from_raw_mode(stat.st_mode & 0o7777))?;
    }
    if has_any {
        fsetxattr(&file, CAPABILITY, &capability, XattrFlags::empty())?;
    }
    Ok(futimens(&file, &times(&stat))?)
}
