//! A directory for one test, which takes all that is in it away.

use std::fs;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use super::super::{Baseline, Interrupt, Listing, remove};
use crate::tree::{Marks, Search};

/// A directory that is removed with all that is in it, however deep.
pub(crate) struct Scratch(tempfile::TempDir);

impl Scratch {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    pub(crate) fn directory(&self, name: &str) -> PathBuf {
        let path = self.path().join(name);
        fs::create_dir(&path).unwrap();
        path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let above = open(self.path());
        for entry in fs::read_dir(self.path()).unwrap() {
            let _ = remove(above.as_fd(), &entry.unwrap().file_name());
        }
    }
}

pub(crate) fn open(path: &Path) -> OwnedFd {
    fs::File::open(path).unwrap().into()
}

/// Says that a test, or a part of it, was not run.
#[expect(clippy::print_stdout, reason = "a test has nobody else to tell")]
pub(crate) fn skipped(why: &str) {
    println!("skipped: {why}");
}

pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

pub(crate) fn listing(path: &Path) -> Listing {
    Listing::of(
        open(path).as_fd(),
        Baseline::Nothing,
        &Search::NOTHING,
        Marks::Plain,
        Interrupt::NEVER,
    )
    .unwrap()
    .listing
}
