//! What the first process of a sandbox tells the one that waits outside.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

/// The message's first byte: the sandbox could not be built.
const NOT_BUILT: u8 = b'#';

/// The message's first byte: the program could not be run.
const NOT_RUN: u8 = b'!';

/// The message's first byte: the program has ended, with this status.
const STATUS: u8 = b'=';

/// The longest message, in bytes: it comes whole or not at all.
const LONGEST: usize = 4096;

/// How a program in a sandbox ended.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// By itself.
    Ended(ExitStatus),
    /// The sandbox could not be built.
    NotBuilt(String),
    /// The program could not be run in it.
    NotRun(String),
    /// The sandbox was killed.
    Unknown,
}

/// The report of a sandbox, to be read when its first process has ended.
#[derive(Debug)]
pub(crate) struct SandboxReport {
    reader: File,
}

impl SandboxReport {
    pub(super) fn new(reader: OwnedFd) -> Self {
        Self { reader: reader.into() }
    }

    /// Reads it.
    ///
    /// # Errors
    ///
    /// What read(2) says.
    pub(crate) fn read(mut self) -> io::Result<Outcome> {
        let mut message = Vec::new();
        self.reader.read_to_end(&mut message)?;
        Ok(match message.split_first() {
            Some((&STATUS, number)) => match number.try_into().map(i32::from_ne_bytes) {
                Ok(raw) => Outcome::Ended(ExitStatus::from_raw(raw)),
                Err(_) => Outcome::Unknown,
            },
            Some((&NOT_BUILT, text)) => Outcome::NotBuilt(reason(text)),
            Some((&NOT_RUN, text)) => Outcome::NotRun(reason(text)),
            _ => Outcome::Unknown,
        })
    }
}

/// Reads a reason. The first process adds the status of the one that has reported it.
fn reason(text: &[u8]) -> String {
    let text = text.split(|byte| *byte == 0).next().unwrap_or_default();
    String::from_utf8_lossy(text).into_owned()
}

/// Writes that the sandbox could not be built.
pub(super) fn not_built(to: &OwnedFd, reason: &str) {
    fault(to, NOT_BUILT, reason);
}

/// Writes that the program could not be run.
pub(super) fn not_run(to: &OwnedFd, reason: &str) {
    fault(to, NOT_RUN, reason);
}

fn fault(to: &OwnedFd, kind: u8, reason: &str) {
    let mut message = vec![kind];
    message.extend(reason.bytes().filter(|byte| *byte != 0).take(LONGEST - 2));
    message.push(0);
    write(to, &message);
}

/// Writes how the program ended.
pub(super) fn status(to: &OwnedFd, raw: i32) {
    let mut message = vec![STATUS];
    message.extend(raw.to_ne_bytes());
    write(to, &message);
}

/// A reader that is gone needs no report.
fn write(to: &OwnedFd, message: &[u8]) {
    if let Ok(mut to) = to.try_clone().map(File::from) {
        let _ = to.write_all(message);
    }
}
