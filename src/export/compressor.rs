//! A program of the host's that compresses what is written to it.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::process::Command;

use crate::host::ended::describe;
use crate::tree::{Filter, FilterEnd, Interrupt, PIPE_SIZE};

/// Has a program compress into a file what `fill` writes, and returns what that returns. None of the program's
/// processes is left, whatever happens.
///
/// # Errors
///
/// Where the program fails, or is not there; of the kind [`io::ErrorKind::Interrupted`] where it is interrupted.
pub(super) fn piped<T>(
    mut command: Command,
    file: &File,
    interrupt: Interrupt<'_>,
    fill: impl FnOnce(&mut dyn Write) -> io::Result<T>,
) -> io::Result<T> {
    let program = command.get_program().to_string_lossy().into_owned();
    command.stdout(file.try_clone()?);
    let filter = Filter::start(command, FilterEnd::Input, interrupt).map_err(|error| {
        let why = match error.kind() {
            io::ErrorKind::NotFound => format!("`{program}` is not installed"),
            _ => format!("`{program}`: {error}"),
        };
        io::Error::other(why)
    })?;
    let mut to = BufWriter::with_capacity(PIPE_SIZE, Compressor(filter));
    let filled = fill(&mut to).and_then(|filled| to.flush().map(|()| filled));
    // What it could not take is no longer of use.
    let (Compressor(mut filter), _) = to.into_parts();
    let ended = match &filled {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => None,
        // It may have ended early, and knows why.
        _ => Some(filter.end()),
    };
    interrupt.check()?;
    match (filled, ended.transpose()?) {
        (Err(error), None) => Err(error),
        (Ok(filled), Some(ended)) if ended.success() => Ok(filled),
        (_, ended) => {
            let why = filter.said().pop();
            let why = why.or_else(|| ended.map(|ended| format!("it {}", describe(ended))));
            Err(io::Error::other(format!("`{program}` failed: {}", why.unwrap_or_default())))
        }
    }
}

struct Compressor<'a>(Filter<'a>);

impl Write for Compressor<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // Whoever writes would try again after an error of the kind that an interrupt is of.
        self.0.write(bytes).map_err(|error| match error.kind() {
            io::ErrorKind::Interrupted => io::Error::other(error),
            _ => error,
        })
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
