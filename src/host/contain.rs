//! A run in namespaces of its own, so that nothing of it outlives it.
//!
//! The caller's process stays outside and waits; a child of it does the work as the first process
//! of a pid namespace. When either of the two dies, however it dies, the kernel ends the rest.

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_change};
use rustix::process::{Pid, PidfdFlags, Signal, WaitOptions, kill_process, pidfd_open, waitpid};
use rustix::thread::UnshareFlags;

use super::ancestry;
use super::kernel::{self, Side};
use super::signals::Signals;

/// Runs `work` in a child, and returns how the child ended: with the status that `work` returned,
/// unless a signal killed it. What `work` owns is the child's to drop.
///
/// The child has its own pid namespace and mount namespace with a `/proc` that fits, where the
/// kernel grants them; where it does not, the death of this process still ends the child. INT, TERM
/// and HUP are passed on; the death of `lxc-create` is passed on as TERM.
pub fn run(work: impl FnOnce(Signals) -> u8) -> io::Result<ExitStatus> {
    // Whoever answers prompts shares the terminal's process group, and hears the terminal's signals
    // by itself. Otherwise the child has a group of its own, so that each signal comes just once.
    let shares_terminal = rustix::termios::isatty(rustix::stdio::stdin());
    let ancestors = ancestry::up_to_lxc_create();
    let mut signals = Signals::keep()?;
    let own_pids = match kernel::unshare(UnshareFlags::NEWPID) {
        Ok(()) => true,
        Err(error) => {
            tracing::debug!(%error, "no pid namespace: what a step leaves running stays");
            false
        }
    };
    let (gate, opener) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
    match kernel::fork()? {
        Side::Child => {
            drop((signals, ancestors, opener));
            if !shares_terminal {
                let _ = rustix::process::setpgid(None, None);
            }
            kernel::leave(within(gate, own_pids, work))
        }
        Side::Parent(id) => {
            drop(gate);
            std::mem::forget(work);
            let pidfd = pidfd_open(id, PidfdFlags::empty())?;
            std::fs::File::from(opener).write_all(b".")?;
            wait(id, &pidfd, &mut signals, &ancestors, shares_terminal)
        }
    }
}

fn within(gate: OwnedFd, own_pids: bool, work: impl FnOnce(Signals) -> u8) -> u8 {
    let bound = rustix::process::set_parent_process_death_signal(Some(Signal::KILL));
    // The parent writes after this process exists: if it has died before the line above, the gate
    // is closed.
    let passed = std::fs::File::from(gate).read_exact(&mut [0]);
    if let Err(error) = passed.and(bound.map_err(io::Error::from)) {
        tracing::debug!(%error, "the process that waits for this one is gone");
        return 128 + 9;
    }
    if let Err(error) = own_mounts(own_pids) {
        tracing::debug!(%error, "no mount namespace of the run's own");
    }
    match Signals::keep() {
        Ok(signals) => work(signals),
        Err(error) => {
            tracing::error!(%error, "signals cannot be kept");
            1
        }
    }
}

/// Whether what is mounted from now on is seen by nobody else.
static OWN_MOUNTS: AtomicBool = AtomicBool::new(false);

/// Tells whether what this process mounts is seen by nobody else, and ends with it.
pub fn has_own_mounts() -> bool {
    OWN_MOUNTS.load(Ordering::Relaxed)
}

fn own_mounts(own_pids: bool) -> io::Result<()> {
    kernel::unshare(UnshareFlags::NEWNS)?;
    mount_change("/", MountPropagationFlags::REC | MountPropagationFlags::PRIVATE)?;
    OWN_MOUNTS.store(true, Ordering::Relaxed);
    if own_pids {
        let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
        // Refused in a container that masks parts of its `/proc`; then the old one has to do.
        mount("proc", "/proc", "proc", flags, None)?;
    }
    Ok(())
}

/// Waits for the child, and passes on what asks for its end.
fn wait(
    id: Pid,
    pidfd: &OwnedFd,
    signals: &mut Signals,
    ancestors: &[OwnedFd],
    shares_terminal: bool,
) -> io::Result<ExitStatus> {
    let mut watched = ancestors.len();
    let mut asked = false;
    loop {
        let mut descriptors = vec![
            PollFd::new(pidfd, PollFlags::IN),
            PollFd::from_borrowed_fd(signals.as_fd(), PollFlags::IN),
        ];
        descriptors.extend(ancestors[..watched].iter().map(|fd| PollFd::new(fd, PollFlags::IN)));
        match poll(&mut descriptors, None) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let ready: Vec<bool> = descriptors.iter().map(|fd| !fd.revents().is_empty()).collect();
        while let Some(received) = signals.receive()? {
            asked = true;
            if !(received.by_kernel && shares_terminal) {
                let _ = kill_process(id, received.signal);
            }
        }
        if ready[2..].contains(&true) {
            tracing::debug!("lxc-create is gone");
            watched = 0;
            // What has ended lxc-create may have been heard here too; said twice, it would end the
            // steps on the way out.
            if !asked {
                let _ = kill_process(id, Signal::TERM);
            }
        }
        if ready[0] {
            let ended = waitpid(Some(id), WaitOptions::empty())?;
            let (_, status) = ended.ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
            return Ok(ExitStatus::from_raw(status.as_raw()));
        }
    }
}
