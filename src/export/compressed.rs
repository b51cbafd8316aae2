//! Compresses a file while it is written: by this program, or by one of the host's.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::process::Command;

use super::frame::Given;
use super::gzip::Gzip;
use super::target::Compression;
use super::{compressor, frame};
use crate::tree::Interrupt;

/// How `xz` and `zstd` are called: neither the number of cores nor the environment makes a difference. By jobs of its
/// own choice, twice as large, `zstd` takes twice the memory for a thousandth of the bytes.
const XZ: [&str; 5] = ["xz", "-q", "-6", "-T2", "--block-size=8MiB"];
const ZSTD: [&str; 6] = ["zstd", "-q", "-3", "-T2", "-B4M", "--check"];

/// What they would take from the environment besides.
const VARIABLES: [&str; 4] = ["XZ_DEFAULTS", "XZ_OPT", "ZSTD_CLEVEL", "ZSTD_NBTHREADS"];

/// Writes to a new file what `fill` writes, compressed, and returns what that returns.
///
/// # Errors
///
/// Of the kind [`io::ErrorKind::Interrupted`] where a program that compresses is interrupted.
pub(super) fn compressed<T>(
    file: &File,
    compression: Compression,
    interrupt: Interrupt<'_>,
    fill: impl FnOnce(&mut dyn Write) -> io::Result<T>,
) -> io::Result<T> {
    match compression {
        Compression::None => {
            let mut to = BufWriter::with_capacity(1 << 20, file);
            let filled = fill(&mut to)?;
            to.flush()?;
            Ok(filled)
        }
        Compression::Gzip => {
            let mut to = Gzip::new(file)?;
            let filled = fill(&mut to)?;
            to.finish()?;
            Ok(filled)
        }
        Compression::Xz => piped(&XZ, (file, interrupt), frame::is_xz, fill),
        Compression::Zstd => piped(&ZSTD, (file, interrupt), frame::is_zstd, fill),
    }
}

/// Has a program of the host's compress what `fill` writes, and sees that all of this is what the program has written.
fn piped<T>(
    words: &[&str],
    (file, interrupt): (&File, Interrupt<'_>),
    judge: fn(&File, &Given) -> io::Result<bool>,
    fill: impl FnOnce(&mut dyn Write) -> io::Result<T>,
) -> io::Result<T> {
    let program = words[0];
    let mut command = Command::new(program);
    command.args(&words[1..]);
    for variable in VARIABLES {
        command.env_remove(variable);
    }
    let mut given = Given::default();
    let filled = compressor::piped(command, file, interrupt, |to| {
        fill(&mut Noting { to, given: &mut given })
    })?;
    if judge(file, &given)? {
        return Ok(filled);
    }
    Err(io::Error::other(format!("`{program}` has not written what it was given, compressed")))
}

/// Notes what it hands on.
struct Noting<'a> {
    to: &'a mut dyn Write,
    given: &'a mut Given,
}

impl Write for Noting<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.to.write(bytes)?;
        self.given.update(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}
