//! Brings a filesystem to the disk while other work goes on.

use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};

use rustix::fs::syncfs;

use crate::host::threads;

/// A filesystem that is being written out. The disk is slow and the processor is not, so that what
/// is already there goes to the disk while the rest is made.
#[derive(Debug)]
pub(super) struct Flush {
    directory: Arc<OwnedFd>,
    /// What writes out all that was there at the beginning.
    first: Option<JoinHandle<(PathBuf, io::Result<()>)>>,
}

impl Flush {
    /// Begins with the filesystem that `directory` is on. It was opened before anything was written
    /// there that counts.
    pub(super) fn begin(directory: &Arc<OwnedFd>) -> Self {
        let [directory, held] = [Arc::clone(directory), Arc::clone(directory)];
        // Where no thread can be started, all is left to the end.
        let first = Builder::new()
            .spawn(move || (threads::this(), syncfs(&held).map_err(io::Error::from)))
            .ok();
        Self { directory, first }
    }

    /// Ends when all that was written up to this call is on the disk.
    ///
    /// # Errors
    ///
    /// Also what the disk did not take since the directory was opened: the kernel tells each
    /// descriptor of that once.
    pub(super) fn finish(mut self) -> io::Result<()> {
        self.wait()?;
        Ok(syncfs(&self.directory)?)
    }

    fn wait(&mut self) -> io::Result<()> {
        let Some(first) = self.first.take() else { return Ok(()) };
        let (thread, written) =
            first.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        threads::gone(&thread);
        written
    }
}

impl Drop for Flush {
    fn drop(&mut self) {
        if let Err(error) = self.wait() {
            tracing::debug!(%error, "what is thrown away was not written");
        }
    }
}
