//! A program of the host's that compresses what is written to it.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::process::{Child, Command, ExitStatus, Stdio};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{OFlags, fcntl_setfl};
use rustix::io::Errno;
use rustix::pipe::fcntl_setpipe_size;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open};

use crate::host::child::{signal_group, start_alone};
use crate::host::ended::describe;
use crate::tree::Interrupt;

/// How many bytes wait for the program at the most, where the kernel lets them.
const PIPE: usize = 1 << 20;

/// How much is kept of what it says, in bytes: its end.
const LONGEST_SAID: usize = 4096;

/// Has a program compress into a file what `fill` writes, and returns what that returns. None of the program's
/// processes is left, whatever happens.
///
/// # Errors
///
/// Where the program fails, or is not there; of the kind [`io::ErrorKind::Interrupted`] where it is interrupted.
pub(super) fn piped<T>(
    command: Command,
    file: &File,
    interrupt: Interrupt<'_>,
    fill: impl FnOnce(&mut dyn Write) -> io::Result<T>,
) -> io::Result<T> {
    let program = command.get_program().to_string_lossy().into_owned();
    let compressor = Compressor::start(command, file, interrupt).map_err(|error| {
        let why = match error.kind() {
            io::ErrorKind::NotFound => format!("`{program}` is not installed"),
            _ => format!("`{program}`: {error}"),
        };
        io::Error::other(why)
    })?;
    let mut to = BufWriter::with_capacity(PIPE, compressor);
    let filled = fill(&mut to).and_then(|filled| to.flush().map(|()| filled));
    // What it could not take is no longer of use.
    let (mut compressor, _) = to.into_parts();
    let ended = match &filled {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => None,
        // It may have ended early, and knows why.
        _ => Some(compressor.end()),
    };
    interrupt.check()?;
    match (filled, ended.transpose()?) {
        (Err(error), None) => Err(error),
        (Ok(filled), Some(ended)) if ended.success() => Ok(filled),
        (_, ended) => {
            let why = compressor.last_line();
            let why = why.or_else(|| ended.map(|ended| format!("it {}", describe(ended))));
            Err(io::Error::other(format!("`{program}` failed: {}", why.unwrap_or_default())))
        }
    }
}

/// The program, which leads a process group.
struct Compressor<'a> {
    child: Child,
    /// Can be read when it has ended.
    pidfd: OwnedFd,
    /// What it reads; nothing, once all is written.
    input: Option<OwnedFd>,
    /// Where it says what is wrong, as long as it may say more.
    errors: Option<OwnedFd>,
    said: Vec<u8>,
    interrupt: Interrupt<'a>,
    ended: Option<ExitStatus>,
}

impl<'a> Compressor<'a> {
    fn start(mut command: Command, file: &File, interrupt: Interrupt<'a>) -> io::Result<Self> {
        start_alone(&mut command, true);
        let command = command.stdin(Stdio::piped()).stdout(file.try_clone()?);
        let mut child = command.stderr(Stdio::piped()).spawn()?;
        let input = child.stdin.take().map(OwnedFd::from);
        let errors = child.stderr.take().map(OwnedFd::from);
        let pidfd = pidfd_open(Pid::from_child(&child), PidfdFlags::empty())?;
        for pipe in input.iter().chain(&errors) {
            fcntl_setfl(pipe, OFlags::NONBLOCK)?;
        }
        if let Some(input) = &input {
            let _ = fcntl_setpipe_size(input, PIPE);
        }
        Ok(Self { child, pidfd, input, errors, said: Vec::new(), interrupt, ended: None })
    }

    /// Closes what it reads, and waits for its end.
    fn end(&mut self) -> io::Result<ExitStatus> {
        self.input = None;
        while !self.wait()? {}
        self.hear();
        self.kill();
        let ended = self.child.wait()?;
        self.ended = Some(ended);
        Ok(ended)
    }

    /// Ends it, and what it has started and left. It must not have been waited for.
    fn kill(&self) {
        let _ = signal_group(Pid::from_child(&self.child), Signal::KILL);
    }

    /// Waits until it takes more, or says something, or has ended; tells whether it has ended.
    fn wait(&mut self) -> io::Result<bool> {
        let descriptors = [
            (Some(self.pidfd.as_fd()), PollFlags::IN),
            (self.interrupt.descriptor(), PollFlags::IN),
            (self.errors.as_ref().map(AsFd::as_fd), PollFlags::IN),
            (self.input.as_ref().map(AsFd::as_fd), PollFlags::OUT),
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
        // Whoever writes would try again after an error of the kind that an interrupt is of.
        self.interrupt.check().map_err(io::Error::other)?;
        self.hear();
        Ok(has_ended)
    }

    /// Reads what it has said by now.
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

    /// Returns the last line that it has said.
    fn last_line(&self) -> Option<String> {
        let said = String::from_utf8_lossy(&self.said);
        let line = said.lines().map(str::trim).rfind(|line| !line.is_empty());
        line.map(|line| crate::shell::printable(line).into_owned())
    }
}

impl Write for Compressor<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        loop {
            let Some(input) = &self.input else { return Err(io::ErrorKind::BrokenPipe.into()) };
            match rustix::io::write(input, bytes) {
                // Something else holds what it does not read any more.
                Err(Errno::AGAIN) if self.wait()? => return Err(io::ErrorKind::BrokenPipe.into()),
                Err(Errno::AGAIN | Errno::INTR) => {}
                written => return Ok(written?),
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Compressor<'_> {
    fn drop(&mut self) {
        if self.ended.is_none() {
            self.kill();
            let _ = self.child.wait();
        }
    }
}
