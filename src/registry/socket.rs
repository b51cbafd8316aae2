//! A connection that a signal can interrupt: whoever waits for the other side waits for signals too.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, connect, socket_with, sockopt};
use ureq::Error;
use ureq::unversioned::transport::{
    Buffers, ConnectionDetails, Connector, Either, LazyBuffers, NextTimeout, Transport,
};

use super::meter::Meter;
use super::pace::Pace;
use crate::tree::Interrupt;

/// How long one address may take to answer.
const LONGEST_CONNECT: Duration = Duration::from_secs(15);

/// How long nothing may come or go on a connection: a registry digests large blobs before it answers.
pub(super) const LONGEST_STALL: Duration = Duration::from_secs(120);

/// What is said of whoever takes too little at a time.
const TAKES_LITTLE: &str = "it takes less than 1 KiB a second";

/// How often it is told that it is waited, and after what time for the first time.
const TICK: Duration = Duration::from_secs(1);
const PATIENCE: Duration = Duration::from_secs(5);

/// What ends the waiting of all connections, and who is told of it.
#[derive(Debug, Default)]
pub(super) struct Wake {
    descriptor: Mutex<Option<OwnedFd>>,
    meter: Mutex<Option<Arc<Meter>>>,
    /// When what is read of a body has to be there, whatever else comes until then.
    deadline: Mutex<Option<Instant>>,
}

impl Wake {
    /// Ends what waits from now on once the interrupt comes.
    pub(super) fn listen(&self, interrupt: Interrupt<'_>) -> io::Result<()> {
        let descriptor = interrupt.descriptor().map(|fd| fd.try_clone_to_owned()).transpose()?;
        *self.descriptor.lock().unwrap_or_else(PoisonError::into_inner) = descriptor;
        Ok(())
    }

    /// Has it told from now on how long is waited.
    pub(super) fn measure(&self, meter: Arc<Meter>) {
        *self.meter.lock().unwrap_or_else(PoisonError::into_inner) = Some(meter);
    }

    /// Fails once the interrupt has come.
    fn check(&self) -> io::Result<()> {
        let wake = self.descriptor.lock().unwrap_or_else(PoisonError::into_inner);
        let interrupt = wake.as_ref().map_or(Interrupt::NEVER, |wake| Interrupt::of(wake.as_fd()));
        interrupt.check().map_err(|_| interrupted())
    }

    /// Has what is read of a body be there at this time.
    fn end_at(&self, deadline: Option<Instant>) {
        *self.deadline.lock().unwrap_or_else(PoisonError::into_inner) = deadline;
    }

    /// Waits until something can be done with a socket.
    fn wait(&self, socket: impl AsFd, wanted: PollFlags, longest: Duration) -> io::Result<()> {
        let wake = self.descriptor.lock().unwrap_or_else(PoisonError::into_inner);
        let meter = self.meter.lock().unwrap_or_else(PoisonError::into_inner);
        let begun = Instant::now();
        loop {
            let waited = begun.elapsed();
            if let Some(meter) = meter.as_ref().filter(|_| waited >= PATIENCE) {
                meter.tell_waited(waited);
            }
            let left = longest.saturating_sub(waited);
            let tick = Timespec::try_from(left.min(TICK)).ok();
            let mut polled = vec![PollFd::new(&socket, wanted)];
            polled.extend(wake.as_ref().map(|wake| PollFd::new(wake, PollFlags::IN)));
            match poll(&mut polled, tick.as_ref()) {
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
                Ok(0) if left > TICK => {}
                Ok(0) => return Err(io::Error::new(io::ErrorKind::TimedOut, "nothing comes")),
                Ok(_) if polled.get(1).is_some_and(|wake| !wake.revents().is_empty()) => {
                    return Err(interrupted());
                }
                Ok(_) => {
                    if let Some(meter) = meter.as_ref().filter(|_| waited >= PATIENCE) {
                        meter.tell_waited(Duration::ZERO);
                    }
                    return Ok(());
                }
            }
        }
    }
}

/// Returns why waiting ends: of the kind `Interrupted` it would be tried again.
fn interrupted() -> io::Error {
    io::Error::other("it was interrupted")
}

/// The body of an answer, of which something is handed on in time, or it fails: what comes may be no part of it, such
/// as trailers without end.
#[derive(Debug)]
pub(super) struct Body<R> {
    pub(super) from: R,
    pub(super) wake: Arc<Wake>,
    pub(super) longest: Duration,
}

impl<R: Read> Read for Body<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.wake.end_at(Some(Instant::now() + self.longest));
        let read = self.from.read(buffer);
        self.wake.end_at(None);
        read
    }
}

/// What makes connections.
#[derive(Debug)]
pub(super) struct SocketConnector {
    pub(super) wake: Arc<Wake>,
}

impl<In: Transport> Connector<In> for SocketConnector {
    type Out = Either<In, Socket>;

    fn connect(
        &self,
        details: &ConnectionDetails<'_>,
        chained: Option<In>,
    ) -> Result<Option<Self::Out>, Error> {
        // A proxy has made one already.
        if let Some(chained) = chained {
            return Ok(Some(Either::A(chained)));
        }
        let mut failed = io::Error::from(io::ErrorKind::AddrNotAvailable);
        for address in &details.addrs {
            match self.dial(address) {
                Ok(stream) => {
                    let (input, output) =
                        (details.config.input_buffer_size(), details.config.output_buffer_size());
                    let buffers = LazyBuffers::new(input, output);
                    let wake = Arc::clone(&self.wake);
                    return Ok(Some(Either::B(Socket { stream, buffers, wake })));
                }
                Err(error) => failed = error,
            }
        }
        Err(Error::Io(failed))
    }
}

impl SocketConnector {
    fn dial(&self, address: &SocketAddr) -> io::Result<TcpStream> {
        let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = socket_with(family, SocketType::STREAM, flags, None)?;
        match connect(&socket, address) {
            Ok(()) => {}
            Err(Errno::INPROGRESS) => {
                self.wake.wait(&socket, PollFlags::OUT, LONGEST_CONNECT)?;
                sockopt::socket_error(&socket)??;
            }
            Err(error) => return Err(error.into()),
        }
        let stream = TcpStream::from(socket);
        stream.set_nodelay(true)?;
        Ok(stream)
    }
}

/// When something has to be done; `None` where only a stall counts.
struct Deadline(Option<Instant>);

impl Deadline {
    fn of(timeout: NextTimeout, wake: &Wake) -> Self {
        let is_none = timeout.after.is_not_happening();
        let own = (!is_none).then(|| Instant::now() + *timeout.after);
        let of_body = *wake.deadline.lock().unwrap_or_else(PoisonError::into_inner);
        Self(own.into_iter().chain(of_body).min())
    }

    /// Returns how long may be waited.
    ///
    /// # Errors
    ///
    /// Where no time is left.
    fn left(&self) -> io::Result<Duration> {
        let left = self.0.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        match left {
            Some(Duration::ZERO) => {
                Err(io::Error::new(io::ErrorKind::TimedOut, "its answer takes too long"))
            }
            left => Ok(left.map_or(LONGEST_STALL, |left| left.min(LONGEST_STALL))),
        }
    }
}

/// A connection.
#[derive(Debug)]
pub(super) struct Socket {
    /// It never blocks.
    stream: TcpStream,
    buffers: LazyBuffers,
    wake: Arc<Wake>,
}

impl Transport for Socket {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        let deadline = Deadline::of(timeout, &self.wake);
        let mut pace = Pace::begin(Instant::now());
        let mut left = &self.buffers.output()[..amount];
        while !left.is_empty() {
            match (&self.stream).write(left) {
                Ok(0) => return Err(Error::Io(io::ErrorKind::WriteZero.into())),
                Ok(written) => {
                    left = &left[written..];
                    // Who takes a byte now and then holds a run as well.
                    pace.count(Instant::now(), written as u64)
                        .map_err(|error| io::Error::new(error.kind(), TAKES_LITTLE))?;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.wake.wait(&self.stream, PollFlags::OUT, deadline.left()?)?;
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        let deadline = Deadline::of(timeout, &self.wake);
        // What comes all the time must hide neither that it takes too long, nor that a signal came.
        deadline.left()?;
        self.wake.check()?;
        let input = self.buffers.input_append_buf();
        let amount = loop {
            match (&self.stream).read(input) {
                Ok(amount) => break amount,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.wake.wait(&self.stream, PollFlags::IN, deadline.left()?)?;
                }
                Err(error) => return Err(error.into()),
            }
        };
        self.buffers.input_appended(amount);
        Ok(amount > 0)
    }

    fn is_open(&mut self) -> bool {
        let mut byte = [0];
        matches!(self.stream.peek(&mut byte),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock)
    }
}
