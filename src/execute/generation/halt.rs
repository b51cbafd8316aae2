//! A note that a container was stopped for an upgrade or a rollback: whoever ends what was cut off starts it again.

use std::io::{self, Write};
use std::os::fd::AsFd;
use std::path::PathBuf;

use rustix::fs::{AtFlags, Mode, OFlags, openat, unlinkat};
use rustix::io::Errno;

use super::{Generations, KEPT, NEXT, SWITCH, UNDOES, is_directory};
use crate::host::files;
use crate::host::new_file::NewFile;
use crate::host::proc;
use crate::store::GENERATIONS;

/// The note, beside the generations.
const HALTED: &str = "halted";

/// The note that somebody went back.
pub(super) const BACK: &str = "back";

/// What the first one says of a container that has nothing left to be done but its start.
const OVER: &str = "over";

/// The longest note, in bytes.
const LONGEST: usize = 4096;

/// Where the kernel says which start of the machine this is.
const BOOT: &str = "/proc/sys/kernel/random/boot_id";

/// A container that was stopped and was to be started again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Halt {
    /// Whether it was to be started, and nothing else.
    is_over: bool,
    /// Whether the machine has run since. After another start of it, the container runs if it is one of those that
    /// start with the machine.
    is_of_this_boot: bool,
}

impl Generations {
    /// Notes that the container runs and is about to be stopped; once it `is_over`, that it is only to be started.
    pub(crate) fn note_halt(&self, is_over: bool) -> io::Result<()> {
        let directory = files::open_real_directory(&self.container.join(GENERATIONS))?;
        let new = NewFile::create(directory.as_fd(), Mode::from_raw_mode(0o644))?;
        let word = if is_over { OVER } else { "" };
        writeln!(new.file(), "{} {word}", boot()?)?;
        new.put(HALTED.as_ref())
    }

    /// Returns what was noted of that; `None` where it does not wait for anybody.
    pub(crate) fn halt(&self) -> Option<Halt> {
        let text = files::read_regular(&self.note(), LONGEST).ok()?;
        let text = String::from_utf8(text).ok()?;
        let mut words = text.split_whitespace();
        let is_of_this_boot = words.next()? == boot().ok()?;
        Some(Halt { is_over: words.next() == Some(OVER), is_of_this_boot })
    }

    /// Tells whether the container was stopped, and has to be started again.
    pub(crate) fn owes_start(&self) -> bool {
        self.halt().is_some_and(|halt| halt.is_of_this_boot)
    }

    /// Removes the note.
    pub(crate) fn forget_halt(&self) -> io::Result<()> {
        let directory = match files::open_real_directory(&self.container.join(GENERATIONS)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            opened => opened?,
        };
        match unlinkat(directory, HALTED, AtFlags::empty()) {
            Err(Errno::NOENT) => Ok(()),
            removed => Ok(removed?),
        }
    }

    /// Tells whether a rollback has nothing to do any more but to end what was cut off: an upgrade that had not
    /// changed the container yet, or a rollback that was done.
    pub(crate) fn is_back(&self) -> bool {
        let is_noted = || self.within(BACK).symlink_metadata().is_ok();
        !self.is_interrupted()
            && (is_noted()
                || self.halt().is_some_and(|halt| halt.is_over || self.is_before_switch()))
    }

    /// Notes at the end of a switch that somebody went back by it: whoever is killed before that is told has not gone
    /// forth again by the next rollback.
    pub(super) fn note_back(&self) -> io::Result<()> {
        let switch = self.within(SWITCH);
        if !switch.join(KEPT).exists() || switch.join(UNDOES).exists() {
            return Ok(());
        }
        let directory = files::open_real_directory(&self.container.join(GENERATIONS))?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        openat(&directory, BACK, flags, Mode::RUSR | Mode::WUSR)?;
        Ok(())
    }

    /// Removes the note that somebody went back.
    pub(crate) fn forget_back(&self) -> io::Result<()> {
        self.remove(BACK)
    }

    /// Tells whether an upgrade was cut off whose next generation waits for the switch.
    pub(super) fn is_before_switch(&self) -> bool {
        is_directory(&self.within(NEXT))
    }

    /// Returns where the note is.
    fn note(&self) -> PathBuf {
        self.container.join(GENERATIONS).join(HALTED)
    }
}

/// Returns what tells this start of the machine from all others.
fn boot() -> io::Result<String> {
    let text = proc::read(BOOT)?;
    Ok(String::from_utf8_lossy(&text).trim().to_owned())
}
