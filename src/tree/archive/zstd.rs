//! Decompresses a file by the host's `zstd`: what others wrote is parsed by a process of its own.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::process::{Child, Command, ExitStatus, Stdio};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{OFlags, fcntl_setfl};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open};

use crate::host::child::{signal_group, start_alone};
use crate::host::ended::describe;
use crate::tree::interrupt::Interrupt;

/// What a frame begins with. Source: RFC 8878.
pub(crate) const MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// How it is called: a frame whose window is larger than what every decoder takes is refused. Source: RFC 8878,
/// section 3.1.1.1.2.
const ZSTD: [&str; 4] = ["zstd", "-q", "-dc", "--memory=8MiB"];

/// How much is kept of what it says, in bytes: its beginning.
const LONGEST_SAID: usize = 4096;

/// The bytes of a file, decompressed as they are read. Whoever waits for them waits for a signal too.
#[derive(Debug)]
pub(crate) struct Zstd<'a> {
    /// It leads a process group.
    child: Child,
    /// Can be read when it has ended.
    pidfd: OwnedFd,
    from: OwnedFd,
    /// Where it says what is wrong, as long as it may say more.
    errors: Option<OwnedFd>,
    said: Vec<u8>,
    interrupt: Interrupt<'a>,
    ended: Option<ExitStatus>,
}

impl<'a> Zstd<'a> {
    /// Begins at where the file stands.
    ///
    /// # Errors
    ///
    /// Where `zstd` is not installed.
    pub(super) fn start(file: &File, interrupt: Interrupt<'a>) -> io::Result<Self> {
        let program = ZSTD[0];
        let mut command = Command::new(program);
        start_alone(&mut command, true);
        let mut child = command
            .args(&ZSTD[1..])
            .stdin(file.try_clone()?)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| match error.kind() {
                io::ErrorKind::NotFound => io::Error::other(format!(
                    "it is compressed by `{program}`, which is not installed here"
                )),
                kind => io::Error::new(kind, format!("`{program}`: {error}")),
            })?;
        let from = child.stdout.take().map(OwnedFd::from).ok_or(io::ErrorKind::BrokenPipe)?;
        let errors = child.stderr.take().map(OwnedFd::from);
        let pidfd = pidfd_open(Pid::from_child(&child), PidfdFlags::empty())?;
        for pipe in errors.iter().chain([&from]) {
            fcntl_setfl(pipe, OFlags::NONBLOCK)?;
        }
        Ok(Self { child, pidfd, from, errors, said: Vec::new(), interrupt, ended: None })
    }

    /// Waits until it has written more, or has said something, or has ended; tells whether it has ended.
    fn wait(&mut self, wants_bytes: bool) -> io::Result<bool> {
        let from = wants_bytes.then(|| self.from.as_fd());
        let descriptors = [
            Some(self.pidfd.as_fd()),
            self.interrupt.descriptor(),
            self.errors.as_ref().map(AsFd::as_fd),
            from,
        ];
        let polled = descriptors.iter().flatten();
        let mut polled: Vec<_> = polled.map(|from| PollFd::new(from, PollFlags::IN)).collect();
        match poll(&mut polled, None) {
            Ok(_) => {}
            Err(Errno::INTR) => return Ok(false),
            Err(error) => return Err(error.into()),
        }
        let has_ended = !polled[0].revents().is_empty();
        self.interrupt.check()?;
        self.hear();
        Ok(has_ended)
    }

    /// Reads what it has said by now, so that it can go on, and keeps the beginning.
    fn hear(&mut self) {
        let mut buffer = [0; LONGEST_SAID];
        while let Some(errors) = &self.errors {
            match rustix::io::read(errors, &mut buffer[..]) {
                Ok(0) => self.errors = None,
                Ok(count) => {
                    let room = LONGEST_SAID - self.said.len();
                    self.said.extend_from_slice(&buffer[..count.min(room)]);
                }
                Err(Errno::INTR) => {}
                Err(_) => return,
            }
        }
    }

    /// Sees that all of it could be decompressed.
    fn end(&mut self) -> io::Result<()> {
        if self.ended.is_some() {
            return Ok(());
        }
        while !self.wait(false)? {}
        self.hear();
        self.kill();
        let status = *self.ended.insert(self.child.wait()?);
        if status.success() {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&self.said);
        let said = said.lines().map(str::trim).find(|line| !line.is_empty());
        let why =
            said.map_or_else(|| format!("it {}", describe(status)).into(), crate::shell::printable);
        Err(io::Error::new(io::ErrorKind::InvalidData, format!("`{}` failed: {why}", ZSTD[0])))
    }

    /// Ends it, and what it has started and left. It must not have been waited for.
    fn kill(&self) {
        let _ = signal_group(Pid::from_child(&self.child), Signal::KILL);
    }
}

impl Read for Zstd<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut has_ended = self.ended.is_some();
        loop {
            match rustix::io::read(&self.from, &mut *buffer) {
                // Something that it has left may hold the pipe.
                Err(Errno::AGAIN) if has_ended => break,
                Err(Errno::AGAIN) => has_ended = self.wait(true)?,
                Err(Errno::INTR) => self.interrupt.check()?,
                Ok(0) if !buffer.is_empty() => break,
                read => return Ok(read?),
            }
        }
        self.end().map(|()| 0)
    }
}

impl Drop for Zstd<'_> {
    fn drop(&mut self) {
        // Nobody reads what is left.
        if self.ended.is_none() {
            self.kill();
            let _ = self.child.wait();
        }
    }
}
