//! Lets whoever looks on see that time passes while a tree is worked on.

use std::io;
use std::os::fd::AsFd;
use std::panic::resume_unwind;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;

use super::Run;
use super::observe::Event;
use crate::host::threads;
use crate::tree::Interrupt;

impl Run<'_> {
    /// Does work that a signal may interrupt. Where somebody looks on, a thread of its own does it, and they are told
    /// of the time meanwhile.
    ///
    /// # Errors
    ///
    /// Those of the work.
    pub(super) fn meanwhile<T: Send>(
        &mut self,
        work: impl FnOnce(Interrupt<'_>) -> io::Result<T> + Send,
    ) -> io::Result<T> {
        let interrupt = Interrupt::of(self.context.events.as_fd());
        let observer = &mut self.context.observer;
        let Some(tick) = observer.tick() else { return work(interrupt) };
        let (done, ended) = channel();
        let joined = thread::scope(|scope| {
            let worker = scope.spawn(move || {
                let thread = threads::this();
                let result = work(interrupt);
                // A panic ends the channel, and so the waiting too.
                let _ = done.send(());
                (result, thread)
            });
            while ended.recv_timeout(tick) == Err(RecvTimeoutError::Timeout) {
                observer.event(&Event::Tick);
            }
            worker.join()
        });
        let (result, thread) = joined.unwrap_or_else(|panic| resume_unwind(panic));
        threads::gone(&thread);
        result
    }
}
