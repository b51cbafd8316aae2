//! The user namespace of a sandbox: who its processes are on the host, which is nobody.
//!
//! Root of the host gives its own sandboxes ids that are nobody's, and hands the rootfs in as a mount
//! that maps them back: what is written belongs to the ids that it had inside. A root that is mapped
//! itself keeps its ids but for the one that stands for the caller, who owns more on the host than the
//! container does.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::OnceLock;

use rustix::mount::{MountAttrFlags, MountPropagationFlags, mount_change};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{
    DumpableBehavior, Gid, Pid, PidfdFlags, Signal, Uid, WaitOptions, kill_process, pidfd_open,
    set_dumpable_behavior, waitpid,
};
use rustix::thread::UnshareFlags;

use crate::host::caller::{Caller, Extent, id_map};
use crate::host::detached;
use crate::host::kernel::{self, ForkResult};
use crate::lxc::call::Mapped;

/// The ids of the host that root's sandboxes have: all of the upper half, for all of the lower half
/// inside, so that no owner of a file is left out. Nothing that is kept on a disk belongs to them.
const SHIFTED: Extent = Extent { inside: 0, outside: 1 << 31, count: (1 << 31) - 1 };

/// The exit status of a child that cannot go on.
const FAILED: u8 = 125;

/// A user namespace that sandboxes of this process can have.
#[derive(Debug)]
pub(super) struct UserNamespace {
    uids: Vec<Extent>,
    gids: Vec<Extent>,
    /// A namespace that has this map, where mounts have to map ids by it.
    map: Option<OwnedFd>,
}

impl UserNamespace {
    /// Returns the one for this process, whose caller `mapped` stands for; else why there is none.
    ///
    /// It is tried out once: in a namespace of such ids, a `/proc` of its own is mounted.
    pub(super) fn of_this_process(mapped: Option<Mapped>) -> Result<&'static Self, &'static str> {
        static FOUND: OnceLock<Result<UserNamespace, String>> = OnceLock::new();
        FOUND.get_or_init(|| Self::find(mapped)).as_ref().map_err(String::as_str)
    }

    fn find(mapped: Option<Mapped>) -> Result<Self, String> {
        let caller = Caller::observe();
        let shifted = caller.is_host_root() && caller.map.is_none();
        let [uids, gids] = if shifted {
            [vec![SHIFTED], vec![SHIFTED]]
        } else {
            let mapped = mapped.ok_or("the ids of this user namespace are all that there are")?;
            let without = |file, own| without(&id_map(file), own);
            let ids = without("/proc/self/uid_map", mapped.uid)
                .zip(without("/proc/self/gid_map", mapped.gid));
            let (uids, gids) = ids.ok_or("the container's ids include the caller's own")?;
            [uids, gids]
        };
        let mut found = Self { uids, gids, map: None };
        let map = found.try_out().map_err(|error| format!("the kernel refuses one: {error}"))?;
        found.map = shifted.then_some(map);
        Ok(found)
    }

    /// Maps the ids of a mount as the sandbox's are, where that is needed.
    pub(super) fn map(&self, mount: &OwnedFd) -> io::Result<()> {
        match &self.map {
            None => Ok(()),
            Some(map) => kernel::map_mount(mount, map),
        }
    }

    /// Forks into these namespaces and a user namespace, where the child is root.
    ///
    /// # Errors
    ///
    /// What the kernel refuses. The child that cannot go on just ends.
    pub(super) fn fork_into(&self, namespaces: UnshareFlags) -> io::Result<ForkResult> {
        let (ready, tell_ready) = pipe_with(PipeFlags::CLOEXEC)?;
        let (gate, open_gate) = pipe_with(PipeFlags::CLOEXEC)?;
        match kernel::fork_into(namespaces | UnshareFlags::NEWUSER)? {
            ForkResult::Child => {
                drop((ready, open_gate));
                match wait_for_ids(tell_ready, gate).and_then(|()| become_root()) {
                    Ok(()) => Ok(ForkResult::Child),
                    Err(_) => kernel::leave(FAILED),
                }
            }
            ForkResult::Parent(id) => {
                drop((tell_ready, gate));
                let written = File::from(ready)
                    .read_exact(&mut [0])
                    .and_then(|()| self.write(id))
                    .and_then(|()| File::from(open_gate).write_all(b"."));
                if let Err(error) = written {
                    let _ = kill_process(id, Signal::KILL);
                    let _ = waitpid(Some(id), WaitOptions::empty());
                    return Err(error);
                }
                Ok(ForkResult::Parent(id))
            }
        }
    }

    /// Gives a process that has a new user namespace its ids.
    fn write(&self, id: Pid) -> io::Result<()> {
        let process = process(id)?;
        fs::write(format!("{process}/uid_map"), lines(&self.uids))?;
        fs::write(format!("{process}/gid_map"), lines(&self.gids))
    }

    /// Makes such a namespace and tries whether a sandbox can be built there, and returns it.
    fn try_out(&self) -> io::Result<OwnedFd> {
        let (gate, open_gate) = pipe_with(PipeFlags::CLOEXEC)?;
        match self.fork_into(UnshareFlags::NEWPID | UnshareFlags::NEWNS)? {
            ForkResult::Child => {
                drop(open_gate);
                let _ = File::from(gate).read(&mut [0]);
                let private = MountPropagationFlags::REC | MountPropagationFlags::PRIVATE;
                let built = mount_change("/", private)
                    .map_err(io::Error::from)
                    .and_then(|()| detached::new("proc", MountAttrFlags::empty(), &[]));
                let number = built.err().map(|error| error.raw_os_error().unwrap_or_default());
                kernel::leave(number.map_or(0, |number| u8::try_from(number).unwrap_or(FAILED)))
            }
            ForkResult::Parent(id) => {
                drop(gate);
                let namespace =
                    process(id).and_then(|process| File::open(format!("{process}/ns/user")));
                drop(open_gate);
                let ended = waitpid(Some(id), WaitOptions::empty())?;
                match ended.and_then(|(_, status)| status.exit_status()) {
                    Some(0) => Ok(namespace?.into()),
                    Some(number) if number != i32::from(FAILED) => {
                        Err(io::Error::from_raw_os_error(number))
                    }
                    _ => Err(io::Error::other("its first process could not go on")),
                }
            }
        }
    }
}

/// Waits in the child until the parent has given it its ids. What the parent writes to belongs to
/// root of the host as long as this process must not be looked into.
fn wait_for_ids(tell_ready: OwnedFd, gate: OwnedFd) -> io::Result<()> {
    set_dumpable_behavior(DumpableBehavior::Dumpable)?;
    File::from(tell_ready).write_all(b".")?;
    File::from(gate).read_exact(&mut [0])
}

fn become_root() -> io::Result<()> {
    rustix::thread::set_thread_groups(&[])?;
    rustix::thread::set_thread_res_gid(Gid::ROOT, Gid::ROOT, Gid::ROOT)?;
    rustix::thread::set_thread_res_uid(Uid::ROOT, Uid::ROOT, Uid::ROOT)?;
    // What changes its ids cannot write its own memory until it is dumpable again.
    Ok(set_dumpable_behavior(DumpableBehavior::Dumpable)?)
}

/// Returns the directory of a process in `/proc`, which may count as another pid namespace does.
fn process(id: Pid) -> io::Result<String> {
    let handle = pidfd_open(id, PidfdFlags::empty())?;
    let text = fs::read_to_string(format!("/proc/self/fdinfo/{}", handle.as_raw_fd()))?;
    let number = text.lines().find_map(|line| line.strip_prefix("Pid:"));
    let number = number.map(str::trim).filter(|number| number.parse::<u32>().is_ok_and(|n| n > 0));
    Ok(format!("/proc/{}", number.ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?))
}

/// Returns a map of the same ids but one, which stands alone behind them; `None` where it does not.
fn without(map: &[Extent], id: u32) -> Option<Vec<Extent>> {
    let is_it = |extent: &Extent| extent.inside == id && extent.count == 1;
    let rest: Vec<_> = map.iter().filter(|extent| !is_it(extent)).copied().collect();
    let own = |extent: &Extent| Extent { outside: extent.inside, ..*extent };
    let is_last = rest.len() + 1 == map.len() && rest.iter().all(|extent| extent.inside < id);
    (is_last && !rest.is_empty()).then(|| rest.iter().map(own).collect())
}

/// Returns a map as the kernel takes it, in one piece.
fn lines(map: &[Extent]) -> String {
    let line = |extent: &Extent| format!("{} {} {}\n", extent.inside, extent.outside, extent.count);
    map.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_caller_s_id_is_left_out_where_it_stands_alone() {
        let extent = |inside, outside, count| Extent { inside, outside, count };
        let usual = [extent(0, 100_000, 65536), extent(65536, 1001, 1)];
        assert_eq!(without(&usual, 65536), Some(vec![extent(0, 0, 65536)]));
        assert_eq!(without(&usual, 1000), None, "it is one of the container's");
        assert_eq!(without(&usual[..1], 65536), None, "it is not mapped");
        assert_eq!(without(&[extent(0, 1001, 1)], 0), None, "it is all that there is");
        let hole = [extent(0, 100_000, 1000), extent(1000, 1000, 1), extent(1001, 101_001, 64535)];
        assert_eq!(without(&hole, 1000), None, "the container has files of it");
    }
}
