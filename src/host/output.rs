//! Standard error while a run goes on: what is written to it waits for nobody.
//!
//! Whoever reads it may stall: a pipe that is full, a pager, a stopped terminal. A write to it would
//! then keep the run from hearing a signal. To make writing fail instead of wait is a property of the
//! open file, which the caller and others share, so that is left alone: a process of its own does
//! nothing but write, and may wait as long as it likes, to whatever kind of file there is. What it has
//! not taken yet is kept, up to a limit.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{
    Pid, PidfdFlags, Signal, WaitOptions, kill_process, pidfd_open,
    set_parent_process_death_signal, waitpid,
};

use super::kernel::{self, ForkResult};
use super::signals::Signals;

/// How much of what commands print is kept for a reader that does not take it, in bytes.
const MOST: usize = 1024 * 1024;

/// How much more is kept of what a command leaves in its pipe at its end, and of the program's own words.
const RESERVE: usize = 2 * MOST;

/// How long a reader may take nothing before commands go on without it.
const STALL: Duration = Duration::from_secs(5);

/// How long the end of a run that was asked to end waits for a reader, in each of its two processes.
const PATIENCE: Duration = Duration::from_secs(1);

/// Returns what takes a line away at whose beginning the cursor stands: `width` columns of it were drawn, and
/// the terminal has `columns` by now, in which it may go on below.
///
/// Nothing clears the whole screen: some terminals keep that in their history.
pub(crate) fn clearing(width: usize, columns: Option<usize>) -> String {
    let columns = columns.unwrap_or(usize::MAX).max(1);
    if width <= columns {
        return "\r\x1b[K".to_owned();
    }
    // A letter of two columns is not broken, so that there may be one row more.
    let below = "\x1b[B\x1b[K".repeat(width / columns + 1);
    format!("\r\x1b7\x1b[K{below}\x1b8")
}

/// How much the writer takes at once, in bytes.
const CHUNK: usize = 4096;

/// How it is told that something was left out.
#[derive(Debug)]
pub(crate) struct LeftOut {
    /// Where all of it is.
    pub log: Option<PathBuf>,
    /// Returns the line for so many bytes.
    pub line: fn(u64, Option<&Path>) -> String,
}

/// Standard error, as several may write to it.
#[derive(Debug, Clone)]
pub(crate) struct Output {
    sink: Rc<OwnedFd>,
    queue: Rc<RefCell<Queue>>,
    /// What is written to, if it is a terminal.
    terminal: Option<Rc<OwnedFd>>,
}

#[derive(Debug)]
struct Queue {
    bytes: VecDeque<u8>,
    /// How wide the line of what goes on is, where that stands at the end.
    line: Option<usize>,
    /// Whether there is no such line any more.
    has_no_line: bool,
    terminal: Option<Rc<OwnedFd>>,
    /// How many bytes were left out since the last one that was kept.
    missing: u64,
    /// Whether any were left out at all.
    lacks: bool,
    /// When something was taken last, or there was nothing to take.
    taken: Instant,
    left_out: LeftOut,
}

/// The process that writes.
#[derive(Debug)]
pub(crate) struct Writer {
    /// Nothing, before it was started.
    id: Option<Pid>,
    /// What standard error was before.
    before: OwnedFd,
}

impl Output {
    /// Begins to write by another process, which [`Writer::start`] starts with what is returned last.
    /// Until [`Writer::end`] this process's standard error leads there too.
    pub(crate) fn begin(left_out: LeftOut) -> io::Result<(Self, Writer, OwnedFd)> {
        let (reader, sink) = pipe_with(PipeFlags::CLOEXEC)?;
        rustix::fs::fcntl_setfl(&sink, rustix::fs::OFlags::NONBLOCK)?;
        let before = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stderr(), 3)?;
        rustix::stdio::dup2_stderr(&sink)?;
        let terminal = match rustix::termios::isatty(&before) {
            true => Some(Rc::new(rustix::io::fcntl_dupfd_cloexec(&before, 3)?)),
            false => None,
        };
        let queue = Queue {
            bytes: VecDeque::new(),
            line: None,
            has_no_line: false,
            terminal: terminal.clone(),
            missing: 0,
            lacks: false,
            taken: Instant::now(),
            left_out,
        };
        let output = Self { sink: Rc::new(sink), queue: Rc::new(RefCell::new(queue)), terminal };
        Ok((output, Writer { id: None, before }, reader))
    }

    /// Writes what a command has printed.
    pub(crate) fn write(&self, bytes: &[u8]) {
        let most = if self.stalls_in().is_some_and(|time| time.is_zero()) { 0 } else { RESERVE };
        self.queue.borrow_mut().add(bytes, MOST + most);
        self.flush();
    }

    /// Writes words of the program's own, a line or several.
    pub(crate) fn say(&self, text: &str) {
        let mut queue = self.queue.borrow_mut();
        queue.tell_of_missing();
        queue.add(text.as_bytes(), MOST + 2 * RESERVE);
        drop(queue);
        self.flush();
    }

    /// Shows a line of so many columns that is taken away before anything else is written; it has to fit the
    /// terminal. Who does not
    /// look needs none.
    pub(crate) fn show_line(&self, line: &str, width: usize) {
        let mut queue = self.queue.borrow_mut();
        if !queue.bytes.is_empty() || queue.has_no_line {
            return;
        }
        queue.clear_line();
        queue.bytes.extend(line.as_bytes());
        // A terminal that becomes narrower keeps the cursor at the beginning of the line that it breaks.
        queue.bytes.push_back(b'\r');
        queue.line = Some(width);
        drop(queue);
        self.flush();
    }

    /// Tells whether that line stands there.
    pub(crate) fn has_line(&self) -> bool {
        self.queue.borrow().line.is_some()
    }

    /// Takes that line away for good, at once: whoever has called the program may end by the same signal, and the
    /// terminal is somebody else's then.
    pub(super) fn end_line(&self) {
        let mut queue = self.queue.borrow_mut();
        queue.has_no_line = true;
        queue.clear_line();
        drop(queue);
        self.flush();
    }

    /// Tells whether there may be such a line.
    pub(crate) fn may_have_line(&self) -> bool {
        !self.queue.borrow().has_no_line
    }

    /// Takes away the line that another process may have left there, and the colour.
    pub(crate) fn clear_line(&self) {
        if let Some(columns) = self.columns() {
            let bytes = &mut self.queue.borrow_mut().bytes;
            bytes.extend(b"\x1b[0m");
            bytes.extend(clearing(columns, Some(columns)).bytes());
        }
    }

    /// Tells whether a terminal shows it.
    pub(crate) fn is_terminal(&self) -> bool {
        self.terminal.is_some()
    }

    /// Returns how many columns the terminal has by now; `None` if it is none, or does not say.
    pub(crate) fn columns(&self) -> Option<usize> {
        columns_of(self.terminal.as_deref()?)
    }

    /// Tells whether something was left out.
    pub(super) fn lacks_some(&self) -> bool {
        self.queue.borrow().lacks
    }

    /// Hands on as much as is taken at once.
    pub(super) fn flush(&self) {
        let queue = &mut *self.queue.borrow_mut();
        while let (front, _) = queue.bytes.as_slices()
            && !front.is_empty()
        {
            match rustix::io::write(&self.sink, front) {
                Ok(count) => {
                    queue.bytes.drain(..count);
                    queue.taken = Instant::now();
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return,
                // The writer is gone.
                Err(_) => queue.bytes.clear(),
            }
        }
        queue.taken = Instant::now();
    }

    /// Tells whether something waits to be taken.
    pub(crate) fn is_waiting(&self) -> bool {
        !self.queue.borrow().bytes.is_empty()
    }

    /// Returns how long a command has to wait before it may print more, because the reader is slow:
    /// `None` if it has not to wait.
    pub(super) fn holds_up(&self) -> Option<Duration> {
        self.stalls_in().filter(|time| !time.is_zero())
    }

    /// Where as much is kept as may be: the time after which a reader that takes nothing is no longer
    /// waited for.
    fn stalls_in(&self) -> Option<Duration> {
        let queue = self.queue.borrow();
        (queue.bytes.len() >= MOST).then(|| STALL.saturating_sub(queue.taken.elapsed()))
    }

    /// Hands on all there is. A reader that is slow is waited for, until a signal asks for the end.
    pub(super) fn finish(&self, signals: &mut Signals, asked: bool) {
        let mut queue = self.queue.borrow_mut();
        queue.tell_of_missing();
        queue.clear_line();
        drop(queue);
        let mut deadline = Deadline::new(asked);
        while self.is_waiting() && deadline.wait(self.as_fd(), PollFlags::OUT, signals) {
            self.flush();
        }
    }
}

/// Returns how many columns a terminal has; `None` if it does not say.
fn columns_of(terminal: &OwnedFd) -> Option<usize> {
    let size = rustix::termios::tcgetwinsize(terminal).ok()?;
    Some(usize::from(size.ws_col)).filter(|columns| *columns > 0)
}

impl AsFd for Output {
    /// Can be written to when more is taken.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.sink.as_fd()
    }
}

impl Queue {
    /// Adds a piece, if less than `most` is waiting.
    fn add(&mut self, bytes: &[u8], most: usize) {
        self.clear_line();
        if self.bytes.len() >= most {
            self.missing += bytes.len() as u64;
            self.lacks = true;
            return;
        }
        self.tell_of_missing();
        if self.bytes.is_empty() {
            self.taken = Instant::now();
        }
        self.bytes.extend(bytes);
    }

    fn clear_line(&mut self) {
        if let Some(width) = self.line.take() {
            let columns = self.terminal.as_deref().and_then(columns_of);
            self.bytes.extend(clearing(width, columns).bytes());
        }
    }

    fn tell_of_missing(&mut self) {
        if self.missing == 0 {
            return;
        }
        self.clear_line();
        if self.bytes.back().is_some_and(|byte| *byte != b'\n') {
            self.bytes.push_back(b'\n');
        }
        let count = std::mem::take(&mut self.missing);
        let line = (self.left_out.line)(count, self.left_out.log.as_deref());
        self.bytes.extend(line.as_bytes());
        self.bytes.push_back(b'\n');
    }
}

impl Writer {
    /// Starts the process.
    ///
    /// # Errors
    ///
    /// What keeps it from being forked.
    pub(crate) fn start(&mut self, reader: OwnedFd) -> io::Result<()> {
        match kernel::fork()? {
            ForkResult::Child => kernel::leave_after(|| carry(reader, &self.before)),
            ForkResult::Parent(id) => self.id = Some(id),
        }
        Ok(())
    }

    /// Hands on what is left, waits until all is written, and gives standard error back. `asked` says
    /// whether a signal has asked for the end: otherwise a slow reader is waited for until one does.
    pub(crate) fn end(self, output: Output, signals: &mut Signals, asked: bool) {
        if self.id.is_some() {
            output.finish(signals, asked);
        }
        drop(output);
        if let Err(error) = rustix::stdio::dup2_stderr(&self.before) {
            tracing::debug!(%error, "standard error is lost");
        }
        let Some(id) = self.id else { return };
        let Ok(pidfd) = pidfd_open(id, PidfdFlags::empty()) else { return };
        let mut deadline = Deadline::new(asked);
        while matches!(waitpid(Some(id), WaitOptions::NOHANG), Ok(None)) {
            if deadline.wait(pidfd.as_fd(), PollFlags::IN, signals) {
                continue;
            }
            let _ = kill_process(id, Signal::KILL);
            // One that hangs in the kernel is left to it.
            let _ = poll(&mut [PollFd::new(&pidfd, PollFlags::IN)], Some(&timespec(PATIENCE)));
            let _ = waitpid(Some(id), WaitOptions::NOHANG);
            return;
        }
    }
}

/// Until when something is waited for: there is no end to it before a signal comes.
struct Deadline(Option<Instant>);

impl Deadline {
    fn new(asked: bool) -> Self {
        Self(asked.then(|| Instant::now() + PATIENCE))
    }

    /// Waits until a descriptor is ready, or a signal comes; false once it has been too long.
    fn wait(
        &mut self,
        descriptor: BorrowedFd<'_>,
        flags: PollFlags,
        signals: &mut Signals,
    ) -> bool {
        let mut polled = vec![PollFd::from_borrowed_fd(descriptor, flags)];
        let left = self.0.map(|end| end.saturating_duration_since(Instant::now()));
        if left.is_none() {
            polled.push(PollFd::from_borrowed_fd(signals.as_fd(), PollFlags::IN));
        }
        let timeout = left.map(timespec);
        if !matches!(poll(&mut polled, timeout.as_ref()), Ok(_) | Err(Errno::INTR)) {
            return false;
        }
        while let Ok(Some(_)) = signals.receive() {
            self.0.get_or_insert_with(|| Instant::now() + PATIENCE);
        }
        self.0.is_none_or(|end| Instant::now() < end)
    }
}

/// Returns a time as the kernel takes it.
pub(super) fn timespec(time: Duration) -> Timespec {
    Timespec::try_from(time).unwrap_or(Timespec { tv_sec: i64::MAX, tv_nsec: 0 })
}

/// Writes what comes to standard error until nothing more can come. The signals of the run are blocked
/// in this process: it ends after the others.
fn carry(from: OwnedFd, to: &OwnedFd) -> u8 {
    let bound = set_parent_process_death_signal(Some(Signal::KILL))
        .and_then(|()| rustix::stdio::dup2_stderr(to));
    let from = kernel::move_to(from, 3);
    let (Ok(()), Ok(from), Ok(())) = (bound, from, kernel::close_from(4)) else { return 1 };
    let mut buffer = [0; CHUNK];
    // Whoever does not want to read on has to be told nothing more; it is no fault.
    let mut wanted = true;
    loop {
        match rustix::io::read(&from, &mut buffer) {
            Ok(0) => return 0,
            Ok(count) => wanted = wanted && write(&buffer[..count]),
            Err(Errno::INTR) => {}
            Err(_) => return 1,
        }
    }
}

/// Writes all of it, however long that takes; false where it cannot be written.
fn write(mut bytes: &[u8]) -> bool {
    let to = rustix::stdio::stderr();
    while !bytes.is_empty() {
        match rustix::io::write(to, bytes) {
            Ok(count) => bytes = &bytes[count..],
            Err(Errno::INTR) => {}
            // The caller has it so that nothing waits.
            Err(Errno::AGAIN) => {
                let _ = poll(&mut [PollFd::from_borrowed_fd(to, PollFlags::OUT)], None);
            }
            Err(_) => return false,
        }
    }
    true
}
