//! The one loop of a run: signals, children, timers and output, none of which can hold up another.
//!
//! Nothing else waits for a child as long as a run goes on: the first process of a pid namespace is
//! everybody's parent in the end, and takes whatever has ended, so that what somebody waits for by its
//! number is seen to be gone.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitStatus};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Pid, Signal, WaitOptions, kill_process, wait, waitpid};

use super::child::{End, GRACE, SpawnOptions, Watcher, signal_group, start_alone};
use super::inheritance;
use super::interrupts::{Answer, Interrupts, Work};
use super::kernel::{self, Received, StartOptions};
use super::output::{Output, timespec};
use super::signals::{self, Signals};

/// How much is read at once.
const CHUNK: usize = 64 * 1024;

/// What a run waits for.
#[derive(Debug)]
pub(crate) struct EventLoop {
    signals: Signals,
    interrupts: Interrupts,
    /// When this began: signals are told by the time since then.
    begun: Instant,
    /// Can be read when a child has ended.
    children: OwnedFd,
    output: Output,
    /// What was said of signals that change nothing.
    told: Option<Told>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Told {
    First,
    Again,
}

impl EventLoop {
    /// Creates that of a process.
    pub(crate) fn new(signals: Signals, output: Output) -> io::Result<Self> {
        let children = kernel::signal_descriptor(&[Signal::CHILD])?;
        let (interrupts, begun) = (Interrupts::default(), Instant::now());
        Ok(Self { signals, interrupts, begun, children, output, told: None })
    }

    /// Returns the signal that has asked for the end, where one has by now.
    pub(crate) fn asked(&mut self) -> Option<Signal> {
        while let Ok(Some(received)) = self.signals.receive() {
            self.output.end_line();
            self.interrupts.hear(received.signal, self.begun.elapsed(), Work::None);
        }
        self.interrupts.asked()
    }

    /// Runs a command to its end, its output by a pipe.
    ///
    /// What it leaves running in the background is not waited for.
    pub(crate) fn run(
        &mut self,
        mut command: Command,
        options: SpawnOptions,
        watcher: &mut dyn Watcher,
    ) -> io::Result<End> {
        let own_session = !options.shares_terminal;
        let files = inheritance::files();
        let start = StartOptions { own_session, dies_with_caller: false, files };
        kernel::start_as(&mut command, start);
        self.supervise(options, watcher, move |writer| {
            command.stdout(writer.try_clone()?).stderr(writer);
            command.spawn().map(|child| Pid::from_child(&child))
        })
    }

    /// Runs a command to its end, and returns what it has printed on standard output.
    pub(crate) fn output_of(&mut self, mut command: Command) -> io::Result<(Vec<u8>, End)> {
        start_alone(&mut command, false);
        let mut printed = Printed(Vec::new());
        let end = self.supervise(SpawnOptions::default(), &mut printed, move |writer| {
            command.stdout(writer).spawn().map(|child| Pid::from_child(&child))
        })?;
        Ok((printed.0, end))
    }

    /// Runs a child to its end that `start` starts with the given end of a pipe for its output.
    ///
    /// The child leads a process group of its own, unless it shares that of this process.
    pub(crate) fn supervise(
        &mut self,
        options: SpawnOptions,
        watcher: &mut dyn Watcher,
        start: impl FnOnce(OwnedFd) -> io::Result<Pid>,
    ) -> io::Result<End> {
        let (output, writer) = pipe_with(PipeFlags::CLOEXEC)?;
        rustix::fs::fcntl_setfl(&output, rustix::fs::OFlags::NONBLOCK)?;
        let running = Running {
            pid: start(writer)?,
            output: Some(output),
            buffer: vec![0; CHUNK],
            options,
            asked: None,
            ended: false,
        };
        self.attend(running, watcher)
    }

    fn attend(&mut self, mut running: Running, watcher: &mut dyn Watcher) -> io::Result<End> {
        let limit = running.options.timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        loop {
            let deadline = running.asked.map_or(limit, |(_, kill)| Some(kill));
            let held_up = self.output.holds_up();
            let patience = deadline
                .map(|deadline| deadline.saturating_duration_since(Instant::now()))
                .into_iter()
                .chain(running.options.tick)
                .chain(held_up)
                .min();
            if self.wait(running.output.as_ref().filter(|_| held_up.is_none()), patience)? {
                running.read_once(watcher);
            }
            self.output.flush();
            if let Some(status) = self.reap(&mut running)? {
                running.drain(watcher);
                return Ok(running.asked.map_or(End::Own(status), |(why, _)| why));
            }
            while let Some(received) = self.signals.receive()? {
                self.answer(received, &mut running, watcher);
            }
            if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                match running.asked {
                    None => running.ask(End::TimedOut, Some(Signal::TERM)),
                    Some(_) => running.kill(),
                }
            }
            watcher.tick();
        }
    }

    /// Waits for something to happen; true when `output` can be read.
    fn wait(&self, output: Option<&OwnedFd>, patience: Option<Duration>) -> io::Result<bool> {
        let mut polled = vec![
            PollFd::new(&self.children, PollFlags::IN),
            PollFd::from_borrowed_fd(self.signals.as_fd(), PollFlags::IN),
        ];
        polled.extend(output.map(|output| PollFd::new(output, PollFlags::IN)));
        if self.output.is_waiting() {
            polled.push(PollFd::from_borrowed_fd(self.output.as_fd(), PollFlags::OUT));
        }
        match poll(&mut polled, patience.map(timespec).as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        Ok(output.is_some() && !polled[2].revents().is_empty())
    }

    /// Takes all children that have ended, whoever started them, and returns the status of the one that
    /// is waited for.
    fn reap(&self, running: &mut Running) -> io::Result<Option<ExitStatus>> {
        while kernel::receive(&self.children)?.is_some() {}
        loop {
            match wait(WaitOptions::NOHANG) {
                Ok(Some((id, status))) if id == running.pid => {
                    running.ended = true;
                    return Ok(Some(ExitStatus::from_raw(status.as_raw())));
                }
                Ok(Some(_)) | Err(Errno::INTR) => {}
                Ok(None) => return Ok(None),
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Does what a signal asks for.
    fn answer(&mut self, received: Received, running: &mut Running, watcher: &mut dyn Watcher) {
        let Received { signal, by_kernel } = received;
        self.output.end_line();
        let is_first = self.interrupts.asked().is_none();
        match self.interrupts.hear(signal, self.begun.elapsed(), running.options.work) {
            Answer::Ask(signal) => {
                let has_it = running.options.shares_terminal && by_kernel;
                running.ask(End::Interrupted(signal), (!has_it).then_some(signal));
            }
            Answer::Kill => running.kill(),
            Answer::GoOn => {
                let told = if is_first { Told::First } else { Told::Again };
                if self.told != Some(told) {
                    self.told = Some(told);
                    watcher.note(&goes_on(signal, told));
                }
            }
            Answer::Nothing => {}
        }
    }

    /// Tells whether something of what commands have printed was not shown.
    pub(crate) fn has_left_out(&self) -> bool {
        self.output.lacks_some()
    }

    /// Hands on what is still to be said. A slow reader is waited for until a signal comes.
    pub(crate) fn finish(mut self) {
        let asked = self.asked().is_some();
        self.output.finish(&mut self.signals, asked);
    }
}

/// Ready to be read when a signal has come in.
impl AsFd for EventLoop {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.signals.as_fd()
    }
}

fn goes_on(signal: Signal, told: Told) -> String {
    let name = signals::name(signal);
    match (told, signal) {
        (Told::First, Signal::INT) => {
            format!("{name}: the run ends when `finally` is done; a second {name} ends it now")
        }
        (Told::First, _) => {
            format!("{name}: the run ends when `finally` is done; two SIGINTs end it now")
        }
        (Told::Again, _) => {
            format!(
                "{name}: the run is ending already; `finally` runs on, and two SIGINTs end it now"
            )
        }
    }
}

/// What a command has printed.
struct Printed(Vec<u8>);

impl Watcher for Printed {
    fn output(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }
}

/// A child that is waited for.
struct Running {
    pid: Pid,
    /// Nothing, once everybody has closed the other end.
    output: Option<OwnedFd>,
    buffer: Vec<u8>,
    options: SpawnOptions,
    /// Why it was asked to end, and when it is killed.
    asked: Option<(End, Instant)>,
    /// Whether it has ended and was waited for, so that its id is no longer its own.
    ended: bool,
}

impl Running {
    /// Reads one piece of output; false when there is none for now.
    fn read_once(&mut self, watcher: &mut dyn Watcher) -> bool {
        let Some(output) = &self.output else { return false };
        let buffer = &mut self.buffer;
        match rustix::io::read(output, &mut buffer[..]) {
            Ok(0) => {
                self.output = None;
                false
            }
            Ok(read) => {
                watcher.output(&buffer[..read]);
                true
            }
            Err(Errno::INTR) => true,
            Err(Errno::AGAIN) => false,
            Err(_) => {
                self.output = None;
                false
            }
        }
    }

    /// Reads what the child has left in the pipe. A process that it left behind may go on writing:
    /// what a pipe holds at the most is enough.
    fn drain(&mut self, watcher: &mut dyn Watcher) {
        for _ in 0..16 {
            if !self.read_once(watcher) {
                break;
            }
        }
    }

    /// Asks it to end, by a signal where it has not got that already.
    fn ask(&mut self, why: End, signal: Option<Signal>) {
        if let Some(signal) = signal {
            self.send(signal);
        }
        self.asked.get_or_insert((why, Instant::now() + GRACE));
    }

    fn kill(&mut self) {
        self.send(Signal::KILL);
        if let Some((_, kill)) = &mut self.asked {
            *kill = Instant::now() + GRACE;
        }
    }

    fn send(&self, signal: Signal) {
        // One that has stopped hears nothing until it goes on.
        for signal in [signal, Signal::CONT] {
            // The child is not waited for yet, so that its id is still its own.
            let sent = if self.options.shares_terminal {
                kill_process(self.pid, signal)
            } else {
                signal_group(self.pid, signal)
            };
            if let Err(error) = sent {
                tracing::debug!(%error, ?signal, "a signal could not be sent");
            }
        }
    }
}

impl Drop for Running {
    /// Whatever went wrong, the child does not go on unwatched.
    fn drop(&mut self) {
        if !self.ended {
            self.send(Signal::KILL);
            let _ = waitpid(Some(self.pid), WaitOptions::empty());
        }
    }
}
