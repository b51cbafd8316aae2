//! Reads a tree in the background while somebody makes it.

use std::io::{self, PipeReader, PipeWriter};
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use rustix::fs::{Mode, OFlags, fstatfs, openat};
use rustix::process::{Pid, setpriority_process};

use super::tree::{Ahead, Bell};
use crate::host::{filesystem, threads};

/// How long it waits before it looks at the tree, and again each time that it has found something.
const PAUSE: Duration = Duration::from_millis(250);

/// How long it waits where nothing happens for long.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// How many times as long as it took to find what is to be read it waits at the least. As long as it
/// has read it waits as well.
const REST: u32 = 9;

/// How much others come first. At the end of the range somebody who is waited for would come to
/// nothing on a busy host.
const NICE: i32 = 10;

/// A thread by what shows it, and by its number.
type Who = OnceLock<(PathBuf, Pid)>;

/// A thread that reads. Dropped, it ends.
#[derive(Debug)]
pub(super) struct Reader {
    // Closed, it rings the thread's bell.
    rope: Option<PipeWriter>,
    thread: Option<JoinHandle<Ahead>>,
    /// What shows the thread, and its number, once it runs.
    who: Arc<Who>,
}

impl Reader {
    /// Begins to read what is at `name` in a directory, whatever that is by then. As long as it does,
    /// this process cannot fork, only start programs.
    ///
    /// Nothing, where the filesystem does not tell reliably what has changed, or no thread can be
    /// started: what is made is read when it is whole.
    pub(super) fn begin(directory: OwnedFd, name: &'static str, needle: &[u8]) -> Option<Self> {
        if !fstatfs(&directory).is_ok_and(|kind| filesystem::is_reliable(&kind)) {
            return None;
        }
        let (heard, rope) = io::pipe().ok()?;
        let ahead = Ahead::new(needle);
        let who: Arc<Who> = Arc::default();
        let told = Arc::clone(&who);
        let thread = Builder::new().spawn(move || {
            let _ = told.set((threads::this(), rustix::thread::gettid()));
            // Of this thread alone: on Linux each has a priority of its own.
            let _ = setpriority_process(None, NICE);
            read(&directory, name, ahead, &heard)
        });
        Some(Self { rope: Some(rope), thread: Some(thread.ok()?), who })
    }

    /// Ends, and returns what was read.
    pub(super) fn finish(mut self) -> Option<Ahead> {
        let ahead = self.end()?;
        tracing::debug!(files = ahead.count(), "files were read ahead");
        Some(ahead)
    }

    fn end(&mut self) -> Option<Ahead> {
        let thread = self.thread.take()?;
        if let Some((_, id)) = self.who.get() {
            // Nobody comes before who is waited for. In a user namespace that is not permitted.
            let _ = setpriority_process(Some(*id), 0);
        }
        self.rope = None;
        let ended = thread.join();
        if let Some((thread, _)) = self.who.get() {
            threads::gone(thread);
        }
        // Of a thread that has failed nothing is lost but time.
        ended.ok()
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.end();
    }
}

/// Looks at a tree again and again until the bell rings.
fn read(directory: &OwnedFd, name: &str, mut ahead: Ahead, heard: &PipeReader) -> Ahead {
    let bell = Bell::of(heard.as_fd());
    let mut pause = PAUSE;
    while bell.sleep(pause).is_ok() {
        let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let Ok(tree) = openat(directory, name, flags, Mode::empty()) else { continue };
        let Ok(look) = ahead.look(tree.as_fd(), bell) else { break };
        let patience = if look.read > 0 { PAUSE } else { LONGEST_PAUSE.min(pause * 2) };
        pause = patience.max(look.finding * REST).max(look.reading);
    }
    ahead
}
