//! A gzip stream that several threads make, the same bytes whatever their number.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::num::NonZero;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use flate2::{Compress, Compression, Crc, FlushCompress, Status};

/// How many bytes are compressed at once.
const PIECE: usize = 512 * 1024;

/// How far back a piece can refer to the one before, in bytes.
const WINDOW: usize = 32 * 1024;

/// The compression level: gzip's own default.
const LEVEL: u32 = 6;

/// The header: deflated, no time, no name, an unknown system. Source: RFC 1952.
const HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];

/// Writes all that is written to it, compressed, to another writer.
#[derive(Debug)]
pub(super) struct Gzip<W> {
    to: W,
    piece: Vec<u8>,
    before: Arc<Vec<u8>>,
    /// The pieces that are compressed just now, in their order.
    running: VecDeque<JoinHandle<io::Result<Vec<u8>>>>,
    threads: usize,
    crc: Crc,
}

impl<W: Write> Gzip<W> {
    pub(super) fn new(mut to: W) -> io::Result<Self> {
        to.write_all(&HEADER)?;
        let threads = thread::available_parallelism().map_or(1, NonZero::get);
        Ok(Self {
            to,
            piece: Vec::with_capacity(PIECE),
            before: Arc::default(),
            running: VecDeque::new(),
            threads,
            crc: Crc::new(),
        })
    }

    /// Writes what is left, and returns the writer.
    pub(super) fn finish(mut self) -> io::Result<W> {
        self.compress(FlushCompress::Finish)?;
        while !self.running.is_empty() {
            self.collect()?;
        }
        self.to.write_all(&self.crc.sum().to_le_bytes())?;
        self.to.write_all(&self.crc.amount().to_le_bytes())?;
        Ok(self.to)
    }

    /// Has the piece compressed by a thread.
    fn compress(&mut self, flush: FlushCompress) -> io::Result<()> {
        if self.running.len() > self.threads {
            self.collect()?;
        }
        let piece = Arc::new(std::mem::replace(&mut self.piece, Vec::with_capacity(PIECE)));
        self.crc.update(&piece);
        let before = std::mem::replace(&mut self.before, Arc::clone(&piece));
        let work = move || deflated(&before, &piece, flush);
        self.running.push_back(thread::Builder::new().spawn(work)?);
        Ok(())
    }

    /// Waits for the first piece, and writes it.
    fn collect(&mut self) -> io::Result<()> {
        let Some(thread) = self.running.pop_front() else { return Ok(()) };
        let piece = thread.join().map_err(|_| io::Error::other("a thread has ended early"))??;
        self.to.write_all(&piece)
    }
}

impl<W: Write> Write for Gzip<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = bytes.len().min(PIECE - self.piece.len());
        self.piece.extend_from_slice(&bytes[..taken]);
        if self.piece.len() == PIECE {
            self.compress(FlushCompress::Sync)?;
        }
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn deflated(before: &[u8], piece: &[u8], flush: FlushCompress) -> io::Result<Vec<u8>> {
    let mut compress = Compress::new(Compression::new(LEVEL), false);
    if !before.is_empty() {
        let window = &before[before.len().saturating_sub(WINDOW)..];
        compress.set_dictionary(window).map_err(io::Error::other)?;
    }
    let mut out = Vec::with_capacity(piece.len() / 2 + 1024);
    loop {
        let taken = usize::try_from(compress.total_in()).unwrap_or(usize::MAX);
        let status = compress.compress_vec(&piece[taken..], &mut out, flush)?;
        let is_done = match flush {
            FlushCompress::Finish => status == Status::StreamEnd,
            _ => compress.total_in() == piece.len() as u64 && out.len() < out.capacity(),
        };
        if is_done {
            return Ok(out);
        }
        out.reserve(PIECE / 4);
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    #[test]
    fn what_is_read_back_is_what_was_written_by_any_number_of_threads() {
        let mut state = 7_u32;
        let noise = std::iter::repeat_with(|| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            // Half of it can be compressed.
            if state & 1 == 0 { b'a' } else { (state >> 24) as u8 }
        });
        let bytes: Vec<u8> = noise.take(3 * PIECE + 17).collect();
        for length in [0, 1, PIECE - 1, PIECE, PIECE + 1, 2 * PIECE, bytes.len()] {
            let mut streams = Vec::new();
            for threads in [1, 2, 7] {
                let mut gzip = Gzip::new(Vec::new()).unwrap();
                gzip.threads = threads;
                gzip.write_all(&bytes[..length]).unwrap();
                streams.push(gzip.finish().unwrap());
            }
            assert!(streams.windows(2).all(|pair| pair[0] == pair[1]));
            let mut read = Vec::new();
            flate2::read::GzDecoder::new(&streams[0][..]).read_to_end(&mut read).unwrap();
            assert!(read == bytes[..length], "{length}");
        }
    }
}
