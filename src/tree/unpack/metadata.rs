//! The owner, mode, attributes and times of a member.

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::BorrowedFd;

use rustix::fs::{
    AtFlags, Gid, Mode, Timespec, Timestamps, Uid, chmodat, chownat, fchmod, fchown, futimens,
    utimensat,
};
use rustix::io::Errno;

use super::UnpackFault;
use super::omitted::{Omitted, OmittedKind};
use super::unmapped::{Unmapped, Whose};
use crate::host::fault;
use crate::tree::archive::ArchiveMember;
use crate::tree::marks::Form;
use crate::tree::xattr::{self, Holder};

/// The attributes that a layer can have.
const CARRIED: [&[u8]; 5] = [
    b"user.",
    b"trusted.",
    b"security.capability",
    b"system.posix_acl_access",
    b"system.posix_acl_default",
];

/// How xfs shows access lists a second time.
const SHOWN_TWICE: &[u8] = b"trusted.SGI_ACL_";

/// Tells whether an attribute is of what a file holds.
fn is_carried(name: &CStr) -> bool {
    let bytes = name.to_bytes();
    let is_known = CARRIED.iter().any(|known| match known.ends_with(b".") {
        true => bytes.starts_with(known),
        false => bytes == *known,
    });
    is_known
        && !bytes.starts_with(SHOWN_TWICE)
        && ![Form::Trusted, Form::User].iter().any(|form| form.is_of(name))
}

/// The owner, mode, attributes and times of a member.
#[derive(Debug)]
pub(super) struct Metadata {
    /// The path that it is of, for what is left out.
    path: Vec<u8>,
    mode: u32,
    uid: u32,
    gid: u32,
    /// When it changed: seconds since 1970, and nanoseconds.
    pub(super) time: (i64, u32),
    attributes: Vec<(CString, Vec<u8>)>,
}

impl Metadata {
    /// Takes from a member what is set; what is not set of any member is noted.
    pub(super) fn of(member: &ArchiveMember, left_out: &mut Omitted) -> Self {
        let mut attributes = Vec::new();
        for (name, value) in &member.attributes {
            match CString::new(name.as_slice()) {
                Ok(name) if is_carried(&name) => attributes.push((name, value.clone())),
                _ => left_out.add(OmittedKind::Attribute, &member.path),
            }
        }
        if member.has_text_lists {
            left_out.add(OmittedKind::TextLists, &member.path);
        }
        let ArchiveMember { path, mode, uid, gid, time, .. } = member;
        Self { path: path.clone(), mode: *mode, uid: *uid, gid: *gid, time: *time, attributes }
    }

    /// Returns what a directory gets that no member is of.
    pub(super) fn implied(time: (i64, u32)) -> Self {
        Self { path: Vec::new(), mode: 0o755, uid: 0, gid: 0, time, attributes: Vec::new() }
    }

    /// Returns how many bytes it takes.
    pub(super) fn len(&self) -> usize {
        let attributes = self.attributes.iter();
        self.path.len()
            + attributes.map(|(name, value)| name.as_bytes().len() + value.len()).sum::<usize>()
    }

    /// Gives all of it to something that is open.
    pub(super) fn give(
        &self,
        to: BorrowedFd<'_>,
        left_out: &mut Omitted,
    ) -> Result<(), UnpackFault> {
        // In this order: a new owner takes capabilities and set-id bits away.
        let (uid, gid) = self.owner();
        fchown(to, uid, gid).map_err(|error| self.about_owner(error))?;
        self.set_attributes(Holder::Open(to), false, left_out)?;
        fchmod(to, Mode::from_raw_mode(self.mode))?;
        Ok(futimens(to, &self.times())?)
    }

    /// Gives it to a directory that had attributes before.
    pub(super) fn give_anew(
        &self,
        to: BorrowedFd<'_>,
        left_out: &mut Omitted,
    ) -> Result<(), UnpackFault> {
        let holder = Holder::Open(to);
        let is_given = |name: &CString| self.attributes.iter().any(|(given, _)| given == name);
        for name in holder.all()?.iter().filter(|name| is_carried(name) && !is_given(name)) {
            holder.remove(name)?;
        }
        self.give(to, left_out)
    }

    /// Gives it to a name in a directory.
    pub(super) fn give_named(
        &self,
        directory: BorrowedFd<'_>,
        name: &CStr,
        is_link: bool,
        left_out: &mut Omitted,
    ) -> Result<(), UnpackFault> {
        let nofollow = AtFlags::SYMLINK_NOFOLLOW;
        let (uid, gid) = self.owner();
        chownat(directory, name, uid, gid, nofollow).map_err(|error| self.about_owner(error))?;
        self.set_attributes(Holder::Named(directory, name), is_link, left_out)?;
        // A link has no permissions of its own. What is not one can be named without fear.
        if !is_link {
            chmodat(directory, name, Mode::from_raw_mode(self.mode), AtFlags::empty())?;
        }
        Ok(utimensat(directory, name, &self.times(), nofollow)?)
    }

    fn owner(&self) -> (Option<Uid>, Option<Gid>) {
        (Some(Uid::from_raw(self.uid)), Some(Gid::from_raw(self.gid)))
    }

    fn about_owner(&self, error: Errno) -> io::Error {
        let (uid, gid) = (self.uid, self.gid);
        let of_group = || Unmapped::find(Whose::Group, gid);
        let unmapped = Some(()).filter(|()| error == Errno::INVAL);
        let unmapped = unmapped.and_then(|()| Unmapped::find(Whose::User, uid).or_else(of_group));
        let error = unmapped.map_or_else(|| error.into(), Unmapped::into_io);
        fault::about(format!("its owner {uid}:{gid}"), error)
    }

    fn set_attributes(
        &self,
        holder: Holder<'_>,
        is_link: bool,
        left_out: &mut Omitted,
    ) -> Result<(), UnpackFault> {
        for (name, value) in &self.attributes {
            let refused = |source: io::Error| {
                let name = name.as_bytes().to_vec();
                Err(UnpackFault::Attribute { name, source })
            };
            match holder.try_set(name, value) {
                // Root of a container is not always let, and links have few.
                Err(Errno::PERM | Errno::ACCESS) => {
                    left_out.add(OmittedKind::Forbidden, &self.path);
                }
                // An id that the map does not have is no fault of the layer.
                Err(Errno::INVAL) => {
                    return match Unmapped::of_attribute(name, value) {
                        Some(unmapped) => {
                            let about = format!("the attribute `{}`", name.to_string_lossy());
                            Err(fault::about(about, unmapped.into_io()).into())
                        }
                        None => refused(Errno::INVAL.into()),
                    };
                }
                // No link has an access list, and no value or name is longer.
                Err(error @ (Errno::TOOBIG | Errno::RANGE)) => return refused(error.into()),
                Err(error @ Errno::OPNOTSUPP) if is_link => return refused(error.into()),
                // A file has so much room for attributes, however large the disk.
                Err(Errno::NOSPC) if holder.is_on_roomy_disk()? => {
                    let why =
                        "a file has no room for so many, or so large ones, on this filesystem";
                    return refused(io::Error::other(why));
                }
                Err(error) => return Err(xattr::about(name, error).into()),
                Ok(()) => {}
            }
        }
        Ok(())
    }

    fn times(&self) -> Timestamps {
        let (seconds, nanoseconds) = self.time;
        let time = Timespec { tv_sec: seconds, tv_nsec: nanoseconds.into() };
        Timestamps { last_access: time, last_modification: time }
    }
}
