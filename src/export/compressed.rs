//! Compresses a file while it is written: by this program, or by one of the host's.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::process::{Command, Stdio};

use super::gzip::Gzip;
use super::target::Compression;
use crate::host::ended::describe;

/// How `xz` and `zstd` are called: neither the number of cores nor the environment makes a difference.
const XZ: [&str; 5] = ["xz", "-q", "-6", "-T2", "--block-size=8MiB"];
const ZSTD: [&str; 4] = ["zstd", "-q", "-3", "-T2"];

/// What they would take from the environment besides.
const VARIABLES: [&str; 4] = ["XZ_DEFAULTS", "XZ_OPT", "ZSTD_CLEVEL", "ZSTD_NBTHREADS"];

/// Writes to a file what `fill` writes, compressed, and returns what that returns.
pub(super) fn compressed<T>(
    file: &File,
    compression: Compression,
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
        Compression::Xz => piped(&XZ, file, fill),
        Compression::Zstd => piped(&ZSTD, file, fill),
    }
}

/// Has a program of the host's compress what `fill` writes.
fn piped<T>(
    words: &[&str],
    file: &File,
    fill: impl FnOnce(&mut dyn Write) -> io::Result<T>,
) -> io::Result<T> {
    let program = words[0];
    let mut command = Command::new(program);
    for variable in VARIABLES {
        command.env_remove(variable);
    }
    let mut child = command
        .args(&words[1..])
        .stdin(Stdio::piped())
        .stdout(file.try_clone()?)
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| io::Error::new(error.kind(), format!("`{program}`: {error}")))?;
    let mut to =
        BufWriter::with_capacity(1 << 20, child.stdin.take().ok_or(io::ErrorKind::BrokenPipe)?);
    let filled = fill(&mut to).and_then(|filled| to.flush().map(|()| filled));
    // What it could not take is no longer of use.
    drop(to.into_parts());
    let ended = child.wait_with_output()?;
    match filled {
        // It has ended early, and knows why.
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => return Err(error),
        Ok(filled) if ended.status.success() => return Ok(filled),
        _ => {}
    }
    let said = String::from_utf8_lossy(&ended.stderr);
    let said = said.lines().map(str::trim).rfind(|line| !line.is_empty());
    let why = said
        .map_or_else(|| format!("it {}", describe(ended.status)).into(), crate::shell::printable);
    Err(io::Error::other(format!("`{program}` failed: {why}")))
}
