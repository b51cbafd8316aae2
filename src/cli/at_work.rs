//! What a run is at, and how it has failed, for the process outside to know.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::time::Duration;

use rustix::fs::{MemfdFlags, memfd_create};

use crate::execute::{Event, Observer};
use crate::record::RunFailure;

/// The longest text, in bytes.
const LONGEST: usize = 4096;

/// Files that both processes have open, and nobody else.
#[derive(Debug)]
pub(super) struct AtWork {
    file: File,
    failure: File,
}

impl AtWork {
    pub(super) fn new() -> io::Result<Self> {
        let file = |name| memfd_create(name, MemfdFlags::CLOEXEC).map(File::from);
        Ok(Self { file: file("at-work")?, failure: file("failure")? })
    }

    /// Tells how the run has failed.
    pub(super) fn failed(&self, failure: &RunFailure) {
        if let Err(error) = serde_json::to_writer(&self.failure, failure) {
            tracing::debug!(%error, "the failure is not in the history");
        }
    }

    /// Returns how the run has failed; `None` if it has not, or could not tell.
    pub(super) fn failure(&self) -> Option<RunFailure> {
        let size = self.failure.metadata().ok()?.len();
        let mut bytes = vec![0; usize::try_from(size).ok()?];
        self.failure.read_exact_at(&mut bytes, 0).ok()?;
        serde_json::from_slice(&bytes).ok()
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
            | Event::Bytes { .. }
            | Event::Output { .. }
            | Event::Interrupted
            | Event::Act(_)
            | Event::Made { .. }
            | Event::Note(_) => {}
        }
        self.observer.event(event);
    }

    fn tick(&self) -> Option<Duration> {
        self.observer.tick()
    }
}
