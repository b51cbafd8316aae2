//! A user namespace for an ordinary user, as `lxc-create` makes one: the subordinate ids from 0 on,
//! and the user's own ids behind them.

use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitStatus, Stdio};

use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Pid, Signal, WaitOptions, getgid, getuid, waitpid};
use rustix::thread::UnshareFlags;

use serde::{Deserialize, Serialize};

use super::account::{self, Range};
use super::caller::{Caller, id_map};
use super::ended::describe;
use super::kernel::{self, ForkResult};
use crate::lxc::call::Mapped;

/// The ids of a namespace: which of the caller's world they stand for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Ids {
    /// The user ids from 0 on.
    pub users: Range,
    /// The group ids from 0 on.
    pub groups: Range,
}

impl Ids {
    /// Returns the caller's subordinate ids, where both files give some.
    pub(crate) fn subordinate(caller: &Caller) -> Option<Self> {
        let users = account::subordinate("/etc/subuid", caller.uid)?;
        let groups = account::subordinate("/etc/subgid", caller.uid)?;
        Some(Self { users, groups })
    }

    /// Tells whether the caller may have them in a namespace: all of them are given to the caller.
    pub(crate) fn are_given_to(self, caller: &Caller) -> bool {
        let own = |range: Range, id| range == Range { first: id, count: 1 };
        caller.is_host_root()
            || own(self.users, caller.uid) && own(self.groups, caller.gid)
            || account::is_given("/etc/subuid", caller.uid, self.users)
                && account::is_given("/etc/subgid", caller.uid, self.groups)
    }

    /// Returns the ids of the user namespace that this process is in; `None` if they are the
    /// host's own.
    pub(crate) fn of_this_process() -> Option<Self> {
        if !Caller::observe().is_mapped_root() {
            return None;
        }
        let range = |file| {
            let from_0 = id_map(file).into_iter().find(|extent| extent.inside == 0)?;
            Some(Range { first: from_0.outside, count: from_0.count })
        };
        Some(Self { users: range("/proc/self/uid_map")?, groups: range("/proc/self/gid_map")? })
    }

    /// Tells whether the ids of this process's namespace are not all told by
    /// [`Self::of_this_process`], but for the caller's own behind them: a map may have holes, and
    /// what is put there.
    pub(crate) fn are_in_pieces() -> bool {
        let is_mapped = Caller::observe().is_mapped_root();
        is_mapped && ["/proc/self/uid_map", "/proc/self/gid_map"].into_iter().any(in_pieces)
    }

    /// Returns the ids that stand for the caller within the namespace: those behind all others.
    pub(crate) fn mapped(&self) -> Mapped {
        Mapped { uid: self.users.count, gid: self.groups.count }
    }
}

fn in_pieces(file: &str) -> bool {
    let extents = id_map(file);
    let from_0 = extents.iter().find(|extent| extent.inside == 0);
    let count = from_0.map_or(0, |extent| extent.count);
    extents.iter().any(|extent| extent.inside != 0 && (extent.inside, extent.count) != (count, 1))
}

/// Moves this process into a new user namespace, as its user 0.
///
/// With `ids`, `newuidmap` and `newgidmap` map them; a root that needs neither writes the maps
/// itself. Without, the caller alone is mapped, to user 0.
///
/// # Errors
///
/// Where the kernel grants no namespace, or one of the two programs is missing or refuses.
pub(crate) fn enter(ids: Option<Ids>) -> io::Result<()> {
    let (uid, gid) = (getuid().as_raw(), getgid().as_raw());
    // No program is needed for a map of the caller alone, nor would one make it.
    let one = |first| Range { first, count: 1 };
    let alone = Ids { users: one(uid), groups: one(gid) };
    let Some(ids) = ids.filter(|ids| *ids != alone) else {
        kernel::unshare(UnshareFlags::NEWUSER)?;
        std::fs::write("/proc/self/setgroups", "deny")?;
        std::fs::write("/proc/self/uid_map", format!("0 {uid} 1\n"))?;
        std::fs::write("/proc/self/gid_map", format!("0 {gid} 1\n"))?;
        return Ok(());
    };
    // Somebody outside has to write the maps: a child that waits until the namespace is there.
    let (ready, tell_ready) = pipe_with(PipeFlags::CLOEXEC)?;
    let parent = rustix::process::getpid();
    match kernel::fork()? {
        ForkResult::Child => kernel::leave_after(|| {
            drop(tell_ready);
            let written = write_maps(parent, &ready, ids, (uid, gid));
            if let Err(error) = &written {
                let _ =
                    writeln!(io::stderr(), "error: {}", crate::shell::reason(&error.to_string()));
            }
            u8::from(written.is_err())
        }),
        ForkResult::Parent(child) => {
            drop(ready);
            let entered = kernel::unshare(UnshareFlags::NEWUSER);
            if entered.is_ok() {
                std::fs::File::from(tell_ready).write_all(b".")?;
            } else {
                drop(tell_ready);
            }
            let status = waitpid(Some(child), WaitOptions::empty())?;
            entered?;
            if status.is_none_or(|(_, status)| status.exit_status() != Some(0)) {
                return Err(io::Error::other("the ids cannot be mapped (see above)"));
            }
            become_root()
        }
    }
}

/// Runs `work` in a child that is in a user namespace of its own, and returns how that ended: with the
/// status that `work` returned, or with `refused` where there is no such namespace.
///
/// # Errors
///
/// What keeps the child from being forked. That it cannot enter the namespace it says itself.
pub(crate) fn run_in(
    ids: Option<Ids>,
    refused: u8,
    work: impl FnOnce() -> u8,
) -> io::Result<ExitStatus> {
    match kernel::fork()? {
        ForkResult::Child => kernel::leave_after(|| match enter(ids) {
            Ok(()) => {
                // To enter forgets it. Whoever ends the parent means this.
                let _ = rustix::process::set_parent_process_death_signal(Some(Signal::KILL));
                work()
            }
            Err(error) => {
                let why = format!("error: no user namespace can be entered: {error}");
                let _ = writeln!(io::stderr(), "{}", crate::shell::reason(&why));
                refused
            }
        }),
        ForkResult::Parent(child) => {
            std::mem::forget(work);
            let ended = waitpid(Some(child), WaitOptions::empty())?;
            let (_, status) = ended.ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
            Ok(ExitStatus::from_raw(status.as_raw()))
        }
    }
}

fn write_maps(parent: Pid, ready: &OwnedFd, ids: Ids, (uid, gid): (u32, u32)) -> io::Result<()> {
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
    let mut byte = [0];
    std::fs::File::from(ready.try_clone()?).read_exact(&mut byte)?;
    if Caller::observe().is_host_root() {
        // Root may map any ids, and need not have been given them.
        let process = format!("/proc/{}", parent.as_raw_nonzero());
        std::fs::write(format!("{process}/uid_map"), lines(ids.users, uid))?;
        return std::fs::write(format!("{process}/gid_map"), lines(ids.groups, gid));
    }
    map("newuidmap", parent, ids.users, uid)?;
    map("newgidmap", parent, ids.groups, gid)
}

/// Returns the map of a range, and of one id behind it; the kernel wants it in one piece.
fn lines(range: Range, own: u32) -> String {
    format!("0 {} {}\n{} {own} 1\n", range.first, range.count, range.count)
}

fn map(program: &str, parent: Pid, range: Range, own: u32) -> io::Result<()> {
    let numbers = [0, range.first, range.count, range.count, own, 1].map(|id| id.to_string());
    let mut command = Command::new(program);
    command.arg(parent.as_raw_nonzero().to_string()).args(&numbers).stdin(Stdio::null());
    let status = command.status().map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => {
            io::Error::other(format!("`{program}` is not installed; it comes with `uidmap`"))
        }
        _ => io::Error::other(format!("`{program}`: {error}")),
    })?;
    if status.success() {
        return Ok(());
    }
    Err(io::Error::other(format!("`{program}` {}", describe(status))))
}

fn become_root() -> io::Result<()> {
    use rustix::process::{Gid, Uid};
    rustix::thread::set_thread_groups(&[])?;
    rustix::thread::set_thread_res_gid(Gid::ROOT, Gid::ROOT, Gid::ROOT)?;
    Ok(rustix::thread::set_thread_res_uid(Uid::ROOT, Uid::ROOT, Uid::ROOT)?)
}
