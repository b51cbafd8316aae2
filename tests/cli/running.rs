//! A call of the program that is still running.

use std::fs;
use std::io::{Read, Write};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::{JoinHandle, sleep};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::redactor::Redactor;
use crate::sandbox::Sandbox;

/// How long a run may take to come to the point where it waits.
const PATIENCE: Duration = Duration::from_secs(20);

/// A call of the program; dropped, it is killed.
pub(crate) struct Running {
    child: Child,
    redactor: Redactor,
    readers: Vec<JoinHandle<String>>,
}

/// How it ended.
pub(crate) struct Ended {
    pub(crate) status: ExitStatus,
    /// What it said on standard error.
    pub(crate) said: String,
    /// What it printed on standard output.
    pub(crate) printed: String,
}

impl Running {
    /// Starts a command whose output is read as it comes.
    pub(crate) fn start(sandbox: &Sandbox, mut command: Command) -> Self {
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut running = Self::start_unread(sandbox, command);
        let said = running.child.stderr.take().unwrap();
        let printed = running.child.stdout.take().unwrap();
        running.readers = vec![read(said), read(printed)];
        running
    }

    /// Starts a command, whatever becomes of its output.
    pub(crate) fn start_unread(sandbox: &Sandbox, mut command: Command) -> Self {
        let child = command.spawn().unwrap();
        Self {
            child,
            redactor: Redactor::new(sandbox.role().parent().unwrap()),
            readers: Vec::new(),
        }
    }

    /// Writes to its standard input.
    pub(crate) fn types(&mut self, text: &str) {
        self.child.stdin.as_mut().unwrap().write_all(text.as_bytes()).unwrap();
    }

    /// Takes standard error to read it elsewhere.
    pub(crate) fn take_stderr(&mut self) -> std::process::ChildStderr {
        self.child.stderr.take().unwrap()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// The ids of the processes that it has started.
    pub(crate) fn children(&self) -> Vec<i32> {
        let id = self.child.id();
        let text = fs::read_to_string(format!("/proc/{id}/task/{id}/children")).unwrap();
        text.split_whitespace().map(|id| id.parse().unwrap()).collect()
    }

    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    #[track_caller]
    pub(crate) fn waits_for(&mut self, there: impl Fn() -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !there() {
            assert!(Instant::now() < deadline, "it never came so far");
            assert!(self.child.try_wait().unwrap().is_none() || there(), "it has ended before");
            sleep(Duration::from_millis(10));
        }
    }

    /// Waits for the end, which must come in time.
    #[track_caller]
    pub(crate) fn ended(mut self, within: Duration) -> Ended {
        let deadline = Instant::now() + within;
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(Instant::now() < deadline, "it still runs after {within:?}");
            sleep(Duration::from_millis(10));
        };
        let mut texts = self.readers.drain(..).map(|reader| reader.join().unwrap());
        let mut next = || self.redactor.redact(&texts.next().unwrap_or_default());
        Ended { status, said: next(), printed: next() }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.child.try_wait().is_ok_and(|status| status.is_none()) {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

fn read(mut from: impl Read + Send + 'static) -> JoinHandle<String> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        from.read_to_end(&mut bytes).unwrap();
        String::from_utf8_lossy(&bytes).into_owned()
    })
}
