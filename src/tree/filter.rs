//! A program of the host's that bytes go through: it reads what this process writes, or writes what this process
//! reads. Whoever waits for it waits for a signal too.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::process::{Child, Command, ExitStatus, Stdio};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{OFlags, fcntl_setfl};
use rustix::io::Errno;
use rustix::pipe::fcntl_setpipe_size;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open};

use super::interrupt::Interrupt;
use crate::host::child::{signal_group, start_alone};

/// How many bytes wait in the pipe at the most, where the kernel lets them.
pub(crate) const PIPE_SIZE: usize = 1 << 20;

/// How much is kept of what it says, in bytes: its end.
const LONGEST_SAID: usize = 4096;

/// Which end of the program this process has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FilterEnd {
    /// This process writes what it reads.
    Input,
    /// This process reads what it writes.
    Output,
}

/// The program. None of its processes is left, whatever happens.
#[derive(Debug)]
pub(crate) struct Filter<'a> {
    /// It leads a process group.
    child: Child,
    /// Can be read when it has ended.
    pidfd: OwnedFd,
    /// What is read or written; nothing, once that is over.
    pipe: Option<OwnedFd>,
    /// What the pipe is waited for.
    ready: PollFlags,
    /// Where it says what is wrong, as long as it may say more.
    errors: Option<OwnedFd>,
    said: Vec<u8>,
    interrupt: Interrupt<'a>,
    ended: Option<ExitStatus>,
}

impl<'a> Filter<'a> {
    /// Starts a command that has its other end already. An error of the kind [`io::ErrorKind::Interrupted`] says from
    /// then on that it was interrupted.
    ///
    /// # Errors
    ///
    /// Those of starting it: of the kind [`io::ErrorKind::NotFound`] where it is not there.
    pub(crate) fn start(
        mut command: Command,
        end: FilterEnd,
        interrupt: Interrupt<'a>,
    ) -> io::Result<Self> {
        start_alone(&mut command, true);
        let (stdio, ready) = match end {
            FilterEnd::Input => (command.stdin(Stdio::piped()), PollFlags::OUT),
            FilterEnd::Output => (command.stdout(Stdio::piped()), PollFlags::IN),
        };
        let mut child = stdio.stderr(Stdio::piped()).spawn()?;
        let input = child.stdin.take().map(OwnedFd::from);
        let pipe = input.or_else(|| child.stdout.take().map(OwnedFd::from));
        let errors = child.stderr.take().map(OwnedFd::from);
        let pidfd = pidfd_open(Pid::from_child(&child), PidfdFlags::empty())?;
        for pipe in pipe.iter().chain(&errors) {
            fcntl_setfl(pipe, OFlags::NONBLOCK)?;
        }
        if let Some(pipe) = &pipe {
            let _ = fcntl_setpipe_size(pipe, PIPE_SIZE);
        }
        Ok(Self { child, pidfd, pipe, ready, errors, said: Vec::new(), interrupt, ended: None })
    }

    /// Reads what it has written; nothing comes behind its end.
    pub(crate) fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.transfer(|pipe| rustix::io::read(pipe, &mut *buffer))?;
        Ok(read.unwrap_or(0))
    }

    /// Writes what it shall read.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::BrokenPipe`] once it reads no more.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.transfer(|pipe| rustix::io::write(pipe, bytes))?;
        written.ok_or_else(|| io::ErrorKind::BrokenPipe.into())
    }

    /// Returns nothing once it has ended, where the pipe does not say so: something that it has left may hold that.
    fn transfer(
        &mut self,
        mut some: impl FnMut(&OwnedFd) -> rustix::io::Result<usize>,
    ) -> io::Result<Option<usize>> {
        let mut has_ended = self.ended.is_some();
        loop {
            let Some(pipe) = &self.pipe else { return Ok(None) };
            match some(pipe) {
                Err(Errno::AGAIN) if has_ended => return Ok(None),
                Err(Errno::AGAIN) => has_ended = self.wait()?,
                Err(Errno::INTR) => self.interrupt.check()?,
                done => return Ok(Some(done?)),
            }
        }
    }

    /// Closes the pipe, and waits for the end of the program.
    pub(crate) fn end(&mut self) -> io::Result<ExitStatus> {
        if let Some(ended) = self.ended {
            return Ok(ended);
        }
        self.pipe = None;
        while !self.wait()? {}
        self.hear();
        self.kill();
        Ok(*self.ended.insert(self.child.wait()?))
    }

    /// Returns the lines that it has said last.
    pub(crate) fn said(&self) -> Vec<String> {
        let said = String::from_utf8_lossy(&self.said);
        let lines = said.lines().map(str::trim).filter(|line| !line.is_empty());
        lines.map(|line| crate::shell::printable(line).into_owned()).collect()
    }

    /// Ends it, and what it has started and left. It must not have been waited for.
    fn kill(&self) {
        let _ = signal_group(Pid::from_child(&self.child), Signal::KILL);
    }

    /// Waits until the pipe is ready, or it says something, or has ended; tells whether it has ended.
    fn wait(&mut self) -> io::Result<bool> {
        let descriptors = [
            (Some(self.pidfd.as_fd()), PollFlags::IN),
            (self.interrupt.descriptor(), PollFlags::IN),
            (self.errors.as_ref().map(AsFd::as_fd), PollFlags::IN),
            (self.pipe.as_ref().map(AsFd::as_fd), self.ready),
        ];
        let polled = descriptors.iter().filter_map(|(descriptor, flags)| {
            descriptor.as_ref().map(|descriptor| PollFd::new(descriptor, *flags))
        });
        let mut polled: Vec<_> = polled.collect();
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

    /// Reads what it has said by now, so that it can go on.
    fn hear(&mut self) {
        let mut buffer = [0; LONGEST_SAID];
        while let Some(errors) = &self.errors {
            match rustix::io::read(errors, &mut buffer[..]) {
                Ok(0) => self.errors = None,
                Ok(count) => {
                    self.said.extend_from_slice(&buffer[..count]);
                    let more = self.said.len().saturating_sub(LONGEST_SAID);
                    self.said.drain(..more);
                }
                Err(Errno::INTR) => {}
                Err(_) => return,
            }
        }
    }
}

impl Drop for Filter<'_> {
    fn drop(&mut self) {
        if self.ended.is_none() {
            self.kill();
            let _ = self.child.wait();
        }
    }
}
