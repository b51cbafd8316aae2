//! Threads that work on one tree together.
//!
//! No work is done by recursion, so that a tree may be as deep as descriptors reach.

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::descriptors::Raised;
use super::interrupt::Interrupt;
use crate::host::threads;

/// The most threads: more do not make a disk faster.
const MOST: usize = 8;

/// How long one works alone: a second thread takes as long to begin and to end.
const ALONE: Duration = Duration::from_micros(300);

/// What a worker reads into, in bytes.
const SCRATCH: usize = 256 * 1024;

/// Locks, also what a thread has left behind that panicked: the panic is passed on anyway.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The jobs that are still to be done. The newest is next, so that few directories are open at once.
#[derive(Debug)]
pub(super) struct Queue<J> {
    state: Mutex<State<J>>,
    news: Condvar,
}

#[derive(Debug)]
struct State<J> {
    jobs: Vec<J>,
    /// How many workers have a job in hand, which may lead to others.
    busy: usize,
    idle: usize,
    fault: Option<io::Error>,
}

impl<J> Queue<J> {
    /// Adds a job.
    pub(super) fn add(&self, job: J) {
        let mut state = lock(&self.state);
        state.jobs.push(job);
        if state.idle > 0 {
            self.news.notify_one();
        }
    }

    /// Takes the next job, waiting for one where others may still add some.
    fn next(&self) -> Option<J> {
        let mut state = lock(&self.state);
        loop {
            if state.fault.is_some() {
                return None;
            }
            if let Some(job) = state.jobs.pop() {
                state.busy += 1;
                return Some(job);
            }
            if state.busy == 0 {
                return None;
            }
            state.idle += 1;
            state = self.news.wait(state).unwrap_or_else(PoisonError::into_inner);
            state.idle -= 1;
        }
    }

    /// Does what there is to do until there is nothing more, or `enough` says so.
    fn work(
        &self,
        interrupt: Interrupt<'_>,
        scratch: &mut [u8],
        work: &impl Fn(J, &Self, &mut [u8]) -> io::Result<()>,
        enough: impl Fn() -> bool,
    ) {
        while !enough()
            && let Some(job) = self.next()
        {
            // Dropped also by a panic: nobody waits for a worker that is no more.
            let turn = Turn(self);
            let done = interrupt.check().and_then(|()| work(job, self, scratch));
            if let Err(fault) = done {
                lock(&self.state).fault.get_or_insert(fault);
            }
            drop(turn);
        }
    }

    /// Tells whether there is work for several.
    fn has_more(&self) -> bool {
        let state = lock(&self.state);
        state.fault.is_none() && !state.jobs.is_empty()
    }
}

struct Turn<'a, J>(&'a Queue<J>);

impl<J> Drop for Turn<'_, J> {
    fn drop(&mut self) {
        let mut state = lock(&self.0.state);
        state.busy -= 1;
        if std::thread::panicking() {
            state.fault.get_or_insert_with(|| io::Error::other("a thread of the program failed"));
        }
        if state.busy == 0 || state.fault.is_some() {
            self.0.news.notify_all();
        }
    }
}

/// Does a job and all that `work` adds to the queue, on the cores that there are. The first fault
/// ends it, and so does the interrupt. All threads have ended on return.
pub(super) fn run<J: Send>(
    interrupt: Interrupt<'_>,
    first: J,
    work: impl Fn(J, &Queue<J>, &mut [u8]) -> io::Result<()> + Sync,
) -> io::Result<()> {
    let _raised = Raised::new();
    let state = State { jobs: vec![first], busy: 0, idle: 0, fault: None };
    let queue = Queue { state: Mutex::new(state), news: Condvar::new() };
    let mut scratch = vec![0; SCRATCH];
    let begun = Instant::now();
    queue.work(interrupt, &mut scratch, &work, || begun.elapsed() >= ALONE);
    if queue.has_more() {
        together(&queue, interrupt, &mut scratch, &work);
    }
    match lock(&queue.state).fault.take() {
        Some(fault) => Err(fault),
        None => Ok(()),
    }
}

/// Does all that is left in the queue, on the cores that there are.
fn together<J: Send>(
    queue: &Queue<J>,
    interrupt: Interrupt<'_>,
    scratch: &mut [u8],
    work: &(impl Fn(J, &Queue<J>, &mut [u8]) -> io::Result<()> + Sync),
) {
    let cores = std::thread::available_parallelism().map_or(1, usize::from).min(MOST);
    let ids = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        // Where no thread can be started, the others do its work.
        let spawned: Vec<_> = (1..cores)
            .map_while(|_| {
                let hand = || {
                    lock(&ids).push(threads::this());
                    queue.work(interrupt, &mut vec![0; SCRATCH], work, || false);
                };
                std::thread::Builder::new().spawn_scoped(scope, hand).ok()
            })
            .collect();
        queue.work(interrupt, scratch, work, || false);
        for thread in spawned {
            if let Err(panic) = thread.join() {
                std::panic::resume_unwind(panic);
            }
        }
    });
    ids.into_inner().unwrap_or_default().iter().for_each(|id| threads::gone(id));
}

/// A directory in hand, which is finished when all below it is.
#[derive(Debug)]
pub(super) struct OpenDir<T> {
    above: Option<Arc<Self>>,
    /// How many jobs must end before it is finished.
    pending: AtomicUsize,
    /// What is known of the directory.
    pub(super) held: T,
}

impl<T> OpenDir<T> {
    /// Takes up a directory. It has one job pending: to look what is in it. One that is `above` has
    /// been told of that job by [`OpenDir::expect`].
    pub(super) fn new(above: Option<Arc<Self>>, held: T) -> Arc<Self> {
        Arc::new(Self { above, pending: AtomicUsize::new(1), held })
    }

    /// Has one more job pending.
    pub(super) fn expect(&self) {
        self.pending.fetch_add(1, Ordering::Relaxed);
    }

    /// Has a job less pending. If it was the last, the directory is finished, and is one job less
    /// of the one above.
    pub(super) fn done(
        self: Arc<Self>,
        finish: impl Fn(&Self) -> io::Result<()>,
    ) -> io::Result<()> {
        let mut open_dir = self;
        while open_dir.pending.fetch_sub(1, Ordering::AcqRel) == 1 {
            finish(&open_dir)?;
            let Some(above) = &open_dir.above else { break };
            open_dir = Arc::clone(above);
        }
        Ok(())
    }

    /// Returns the directory above.
    pub(super) fn above(&self) -> Option<&Arc<Self>> {
        self.above.as_ref()
    }
}

impl<T> Drop for OpenDir<T> {
    fn drop(&mut self) {
        // The compiler would drop a deep tree's directories by recursion.
        let mut above = self.above.take();
        while let Some(mut open_dir) = above.and_then(Arc::into_inner) {
            above = open_dir.above.take();
        }
    }
}
