//! Decompresses a file by the host's `zstd`: what others wrote is parsed by a process of its own.

use std::fs::File;
use std::io::{self, Read};
use std::process::{Child, ChildStdout, Command, Stdio};

use crate::host::child::start_alone;
use crate::host::ended::describe;

/// What a frame begins with. Source: RFC 8878.
pub(crate) const MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// How it is called: a frame whose window is larger than what every decoder takes is refused. Source: RFC 8878,
/// section 3.1.1.1.2.
const ZSTD: [&str; 4] = ["zstd", "-q", "-dc", "--memory=8MiB"];

/// The bytes of a file, decompressed as they are read.
#[derive(Debug)]
pub(crate) struct Zstd {
    child: Child,
    from: ChildStdout,
    has_ended: bool,
}

impl Zstd {
    /// Begins at where the file stands.
    ///
    /// # Errors
    ///
    /// Where `zstd` is not installed.
    pub(super) fn start(file: &File) -> io::Result<Self> {
        let program = ZSTD[0];
        let mut command = Command::new(program);
        start_alone(&mut command, true);
        let mut child = command
            .args(&ZSTD[1..])
            .stdin(file.try_clone()?)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| match error.kind() {
                io::ErrorKind::NotFound => io::Error::other(format!(
                    "it is compressed by `{program}`, which is not installed here"
                )),
                kind => io::Error::new(kind, format!("`{program}`: {error}")),
            })?;
        let from = child.stdout.take().ok_or(io::ErrorKind::BrokenPipe)?;
        Ok(Self { child, from, has_ended: false })
    }

    /// Sees that all of it could be decompressed.
    fn end(&mut self) -> io::Result<()> {
        let status = self.child.wait()?;
        if std::mem::replace(&mut self.has_ended, true) || status.success() {
            return Ok(());
        }
        let mut said = String::new();
        if let Some(from) = self.child.stderr.take() {
            from.take(4096).read_to_string(&mut said)?;
        }
        let said = said.lines().map(str::trim).find(|line| !line.is_empty());
        let why =
            said.map_or_else(|| format!("it {}", describe(status)).into(), crate::shell::printable);
        Err(io::Error::new(io::ErrorKind::InvalidData, format!("`{}` failed: {why}", ZSTD[0])))
    }
}

impl Read for Zstd {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.from.read(buffer)?;
        if read == 0 && !buffer.is_empty() {
            self.end()?;
        }
        Ok(read)
    }
}

impl Drop for Zstd {
    fn drop(&mut self) {
        // Nobody reads what is left.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
