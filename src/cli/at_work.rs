//! What a run is at, for the process outside to know when the run is killed.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::time::Duration;

use rustix::fs::{MemfdFlags, memfd_create};

use crate::execute::{Event, Observer};

/// The longest text, in bytes.
const LONGEST: usize = 4096;

/// A file that both processes have open, and nobody else.
#[derive(Debug)]
pub(super) struct AtWork {
    file: File,
}

impl AtWork {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self { file: memfd_create("at-work", MemfdFlags::CLOEXEC)?.into() })
    }

    /// Returns what was begun and has not ended; `None` if nothing was.
    pub(super) fn read(&self) -> Option<String> {
        let mut bytes = [0; LONGEST];
        let count = self.file.read_at(&mut bytes, 0).ok()?;
        (count > 0).then(|| String::from_utf8_lossy(&bytes[..count]).into_owned())
    }

    /// Returns an observer that notes what begins and ends.
    pub(super) fn noted<'a>(&'a self, observer: &'a mut dyn Observer) -> Noted<'a> {
        Noted { at_work: self, observer }
    }

    fn note(&self, text: &str) {
        // What cannot be noted is not told.
        let _ = self.file.set_len(0).and_then(|()| self.file.write_all_at(text.as_bytes(), 0));
    }
}

/// An observer that notes what it is told.
#[derive(Debug)]
pub(super) struct Noted<'a> {
    at_work: &'a AtWork,
    observer: &'a mut dyn Observer,
}

impl Observer for Noted<'_> {
    fn event(&mut self, event: &Event<'_>) {
        match event {
            Event::Begun { subject, at, .. } => self.at_work.note(&format!("{subject} ({at})")),
            Event::Ended { .. } => self.at_work.note(""),
            Event::Tick
            | Event::Output { .. }
            | Event::Interrupted(_)
            | Event::Act(_)
            | Event::Note(_) => {}
        }
        self.observer.event(event);
    }

    fn tick(&self) -> Option<Duration> {
        self.observer.tick()
    }
}
