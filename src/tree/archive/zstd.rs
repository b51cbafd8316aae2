//! Decompresses a file by the host's `zstd`: what others wrote is parsed by a process of its own.

use std::fs::File;
use std::io::{self, Read};
use std::process::Command;

use crate::host::ended::describe;
use crate::tree::filter::{Filter, FilterEnd};
use crate::tree::interrupt::Interrupt;

/// What a frame begins with. Source: RFC 8878.
pub(crate) const MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// How it is called: a frame whose window is larger than what every decoder takes is refused. Source: RFC 8878,
/// section 3.1.1.1.2.
const ZSTD: [&str; 4] = ["zstd", "-q", "-dc", "--memory=8MiB"];

/// The bytes of a file, decompressed as they are read.
#[derive(Debug)]
pub(crate) struct Zstd<'a>(Filter<'a>);

impl<'a> Zstd<'a> {
    /// Begins at where the file stands.
    ///
    /// # Errors
    ///
    /// Where `zstd` is not installed.
    pub(super) fn start(file: &File, interrupt: Interrupt<'a>) -> io::Result<Self> {
        let program = ZSTD[0];
        let mut command = Command::new(program);
        command.args(&ZSTD[1..]).stdin(file.try_clone()?);
        let started = Filter::start(command, FilterEnd::Output, interrupt);
        started.map(Self).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => io::Error::other(format!(
                "it is compressed by `{program}`, which is not installed here"
            )),
            kind => io::Error::new(kind, format!("`{program}`: {error}")),
        })
    }
}

impl Read for Zstd<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.0.read(buffer)?;
        if read > 0 || buffer.is_empty() {
            return Ok(read);
        }
        // All of it has to be sound.
        let ended = self.0.end()?;
        if ended.success() {
            return Ok(0);
        }
        let why = self.0.said().into_iter().next();
        let why = why.unwrap_or_else(|| format!("it {}", describe(ended)));
        Err(io::Error::new(io::ErrorKind::InvalidData, format!("`{}` failed: {why}", ZSTD[0])))
    }
}
