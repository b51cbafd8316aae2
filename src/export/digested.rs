//! A writer that digests what goes through it.

use std::io::{self, Write};

use crate::digest::Hasher;

/// Digests what it hands on.
#[derive(Debug)]
pub(super) struct Digested<W> {
    pub to: W,
    pub digest: Hasher,
}

impl<W> Digested<W> {
    pub(super) fn new(to: W) -> Self {
        Self { to, digest: Hasher::default() }
    }
}

impl<W: Write> Write for Digested<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.to.write(bytes)?;
        self.digest.update(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}
