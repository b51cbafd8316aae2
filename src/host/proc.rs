//! Reads what `/proc` tells.

use std::fs::File;
use std::io::{self, Read};

/// Reads a file of `/proc`, which says nothing of its length, by as few calls as that takes.
pub(crate) fn read(path: &str) -> io::Result<Vec<u8>> {
    let (mut file, mut bytes) = (File::open(path)?, Vec::new());
    let mut piece = [0; 4096];
    loop {
        match file.read(&mut piece)? {
            0 => return Ok(bytes),
            read => bytes.extend_from_slice(&piece[..read]),
        }
    }
}
