//! Archives that zstd has compressed, or somebody who wants them to be taken for that.

use std::io::{Read, Write};
use std::process::{Command, Stdio};

use crate::tree::{Interrupt, decoded_file};

/// A frame without a length or a checksum: its window, and one block of bytes as they are. Source: RFC 8878.
fn frame(window: u8, bytes: &[u8]) -> Vec<u8> {
    let size = u32::try_from(bytes.len()).unwrap();
    let block = (size << 3 | 1).to_le_bytes();
    [&[0x28, 0xb5, 0x2f, 0xfd, 0, window], &block[..3], bytes].concat()
}

/// A frame that every decoder skips.
fn skipped(bytes: &[u8]) -> Vec<u8> {
    let size = u32::try_from(bytes.len()).unwrap().to_le_bytes();
    [&[0x50, 0x2a, 0x4d, 0x18], &size[..], bytes].concat()
}

/// Windows of 8 MiB, of an eighth more, and of 2 TiB and more.
const LARGEST: u8 = 13 << 3;
const TOO_LARGE: u8 = LARGEST | 1;
const HUGE: u8 = 31 << 3 | 7;

fn read(bytes: &[u8]) -> Result<Vec<u8>, String> {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    std::io::Seek::rewind(&mut file).unwrap();
    let mut read = Vec::new();
    let mut decoded = decoded_file(&file, Interrupt::NEVER).map_err(|error| error.to_string())?;
    decoded.read_to_end(&mut read).map_err(|error| error.to_string())?;
    // It stays at its end.
    assert_eq!(decoded.read(&mut [0; 8]).unwrap(), 0);
    Ok(read)
}

#[test]
fn frames_are_read_to_their_end_or_refused() {
    let text = b"some bytes".as_slice();
    let one = frame(LARGEST, text);
    for (bytes, read_back) in [
        (one.clone(), text.to_vec()),
        ([one.clone(), skipped(b"note"), one.clone()].concat(), text.repeat(2)),
        (frame(0, b""), Vec::new()),
    ] {
        assert_eq!(read(&bytes).as_ref(), Ok(&read_back));
    }
    let named = [&one[..4], &[1, LARGEST, 7], &one[6..]].concat();
    for (what, bytes, why) in [
        ("a window that is too large", frame(TOO_LARGE, text), "memory"),
        ("a huge window", frame(HUGE, text), "memory"),
        ("a dictionary", named, "Dictionary mismatch"),
        ("something behind it", [&one, text].concat(), "unsupported format"),
        ("its end cut off", one[..one.len() - 1].to_vec(), "premature"),
    ] {
        let said = read(&bytes).unwrap_err();
        assert!(said.contains("`zstd` failed: ") && said.contains(why), "{what}: {said}");
    }
}

#[test]
fn nothing_of_a_reader_that_is_dropped_stays() {
    let mut zstd = Command::new("zstd")
        .args(["-q", "-3", "-T2"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut to = zstd.stdin.take().unwrap();
    let writer = std::thread::spawn(move || to.write_all(&vec![b'x'; 64 << 20]));
    let mut bytes = Vec::new();
    zstd.stdout.take().unwrap().read_to_end(&mut bytes).unwrap();
    writer.join().unwrap().unwrap();
    assert!(zstd.wait().unwrap().success());
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(&bytes).unwrap();
    std::io::Seek::rewind(&mut file).unwrap();
    let mut decoded = decoded_file(&file, Interrupt::NEVER).unwrap();
    let mut begin = [0; 1000];
    decoded.read_exact(&mut begin).unwrap();
    assert_eq!(begin, [b'x'; 1000]);
    // It has much to write that nobody takes, and this would wait for ever.
    drop(decoded);
}
