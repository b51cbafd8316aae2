//! A run in namespaces of its own, so that nothing of it outlives it.
//!
//! The caller's process stays outside and waits; a child of it does the work as the first process
//! of a pid namespace. When either of the two dies, however it dies, the kernel ends the rest.

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::ExitStatus;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::mount::{
    MountFlags, MountPropagationFlags, UnmountFlags, mount, mount_bind_recursive, mount_change,
    unmount,
};
use rustix::process::{Pid, PidfdFlags, Signal, WaitOptions, pidfd_open, waitpid};
use rustix::thread::UnshareFlags;

use super::ancestry;
use super::kernel::{self, ForkResult};
use super::signals::{Signals, pass_on};

/// How a contained run ended.
#[derive(Debug)]
pub(crate) struct Ended {
    /// With what status.
    pub status: ExitStatus,
    /// Whether it was asked to.
    pub asked: bool,
}

/// Runs `work` in a child, and returns how the child ended: with the status that `work` returned,
/// unless a signal killed it. What `work` owns is the child's to drop. `beside` is run here once there is
/// the child, which does not begin before.
///
/// The child has its own pid namespace and mount namespace with a `/proc` that fits, where the
/// kernel grants them; where it does not, the death of this process still ends the child. The signals
/// that are kept are passed on; the death of `lxc-create` is passed on as TERM.
pub(crate) fn run(
    signals: &mut Signals,
    work: impl FnOnce(Signals) -> u8,
    beside: impl FnOnce() -> io::Result<()>,
) -> io::Result<Ended> {
    // Whoever answers prompts shares the terminal's process group, and hears the terminal's signals
    // by itself. Otherwise the child has a group of its own, so that each signal comes just once.
    let shares_terminal = rustix::termios::isatty(rustix::stdio::stdin());
    let ancestors = ancestry::up_to_lxc_create();
    let (listener, speaker) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
    let (side, own_pids) = match kernel::fork_into(UnshareFlags::NEWPID) {
        Ok(side) => (side, true),
        Err(error) => {
            tracing::debug!(%error, "no pid namespace: what a step leaves running stays");
            (kernel::fork()?, false)
        }
    };
    match side {
        ForkResult::Child => {
            drop((ancestors, speaker, beside));
            if !shares_terminal {
                let _ = rustix::process::setpgid(None, None);
            }
            kernel::leave_after(|| within(listener, own_pids, work))
        }
        ForkResult::Parent(id) => {
            drop(listener);
            std::mem::forget(work);
            let pidfd = pidfd_open(id, PidfdFlags::empty())?;
            let begun = beside().and_then(|()| {
                let mut speaker = std::fs::File::from(speaker);
                speaker.write_all(b".").map(|()| speaker)
            });
            let speaker = match begun {
                Ok(speaker) => speaker,
                // Nobody speaks to it any more, so that it ends.
                Err(error) => {
                    let _ = waitpid(Some(id), WaitOptions::empty());
                    return Err(error);
                }
            };
            let speaker = speaker.into();
            Outside { id, pidfd, signals, ancestors, speaker, shares_terminal }.wait()
        }
    }
}

fn within(listener: OwnedFd, own_pids: bool, work: impl FnOnce(Signals) -> u8) -> u8 {
    let bound = rustix::process::set_parent_process_death_signal(Some(Signal::KILL));
    // The parent writes after this process exists: if it has died before the line above, nothing
    // comes.
    let mut listener = std::fs::File::from(listener);
    let passed = listener.read_exact(&mut [0]);
    if let Err(error) = passed.and(bound.map_err(io::Error::from)) {
        tracing::debug!(%error, "the process that waits for this one is gone");
        return 128 + 9;
    }
    if let Err(error) = own_mounts(own_pids) {
        tracing::debug!(%error, "no mount namespace of the run's own");
    }
    let signals = Signals::keep().and_then(|mut signals| {
        signals.listen_to(listener.into())?;
        Ok(signals)
    });
    match signals {
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
pub(crate) fn has_own_mounts() -> bool {
    OWN_MOUNTS.load(Ordering::Relaxed)
}

/// Shows a directory, with what is mounted below it, in the place of another as long as this process lives.
///
/// # Errors
///
/// Also where others would see that.
pub(crate) fn show(directory: &Path, at: &Path) -> io::Result<()> {
    if !has_own_mounts() {
        return Err(io::Error::other("it cannot have mounts of its own here"));
    }
    Ok(mount_bind_recursive(directory, at)?)
}

/// Ends what [`show`] has begun.
pub(crate) fn hide(at: &Path) -> io::Result<()> {
    Ok(unmount(at, UnmountFlags::NOFOLLOW | UnmountFlags::DETACH)?)
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

/// The process that stays outside.
struct Outside<'a> {
    id: Pid,
    pidfd: OwnedFd,
    signals: &'a mut Signals,
    ancestors: Vec<OwnedFd>,
    /// The end of the pipe that the child listens to.
    speaker: OwnedFd,
    shares_terminal: bool,
}

impl Outside<'_> {
    /// Waits for the child, and passes on what asks for its end. What has asked before is the child's to
    /// know.
    fn wait(mut self) -> io::Result<Ended> {
        let mut asked = false;
        loop {
            let mut polled = vec![
                PollFd::new(&self.pidfd, PollFlags::IN),
                PollFd::from_borrowed_fd(self.signals.as_fd(), PollFlags::IN),
            ];
            polled.extend(self.ancestors.iter().map(|fd| PollFd::new(fd, PollFlags::IN)));
            match poll(&mut polled, None) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
            let ended = !polled[0].revents().is_empty();
            let orphaned = polled[2..].iter().any(|fd| !fd.revents().is_empty());
            while let Some(received) = self.signals.receive()? {
                asked = true;
                // A key reaches the whole group; that the terminal is gone is told to its session's
                // leader alone.
                let has_it = received.by_kernel && self.shares_terminal;
                if !has_it || received.signal == Signal::HUP {
                    pass_on(&self.speaker, received.signal);
                }
            }
            if orphaned {
                tracing::debug!("lxc-create is gone");
                self.ancestors.clear();
                // What has ended it may have been heard here too.
                if !std::mem::replace(&mut asked, true) {
                    pass_on(&self.speaker, Signal::TERM);
                }
            }
            if ended {
                let ended = waitpid(Some(self.id), WaitOptions::empty())?;
                let (_, status) = ended.ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
                let status = ExitStatus::from_raw(status.as_raw());
                return Ok(Ended { status, asked });
            }
        }
    }
}
