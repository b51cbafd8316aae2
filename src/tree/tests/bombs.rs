//! Archives that ask for more than there is, and what they get.

use std::ffi::OsString;
use std::fs;
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::AsFd;
use std::path::Path;
use std::process::Command;

use flate2::write::GzEncoder;

use super::scratch::{Scratch, is_root, open, skipped};
use super::tarball::{BLOCK, Block, Tarball, record};
use crate::tree::{Devices, Interrupt, Limits, UnpackError, Unpacked, decoded, unpack};

/// How much memory a layer may take, in KiB.
const MOST: u64 = 16 * 1024;

/// What tells a test that it is in a process of its own, and which bomb it is to try.
const BOMB: &str = "LT_BOMB";

type Bomb = (&'static str, fn() -> Box<dyn Read>, &'static str);

/// The bombs, and why they are refused; nothing, where they are not.
const BOMBS: [Bomb; 14] = [
    (
        "a name of 3 GiB",
        || pieces(header(b'L', 3 << 30), zeros(3 << 30)),
        "more than 1048576 bytes",
    ),
    (
        "a name of 3 GiB, compressed",
        || gzipped(header(b'L', 3 << 30), 3 << 30),
        "more than 1048576",
    ),
    (
        "a pax header of 8 EiB",
        || pieces(header_of_size(b'x', (1 << 63) - 1), zeros(1 << 30)),
        "more than",
    ),
    ("records of 1 MiB", || Box::new(io::Cursor::new(records(1 << 20))), ""),
    ("attributes of 1 MiB", || Box::new(io::Cursor::new(attributes(60_000))), ""),
    (
        "attributes of 8 MiB, of directories",
        || {
            of_each(300, |number| {
                let value = vec![b'v'; 60_000];
                let key = "SCHILY.xattr.user.x";
                let path = "d/".repeat(number + 1);
                Tarball::default().pax(&[(key, &value), ("path", path.as_bytes())]).directory("d")
            })
        },
        "take more than 4194304 bytes",
    ),
    (
        "headers without end",
        || {
            of_each(1 << 20, |_| {
                Tarball::default().edited(b'x', "p", &record("comment", b"x"), |_| {})
            })
        },
        "more than 16 headers",
    ),
    (
        "global headers without end",
        || {
            of_each(1 << 20, |_| {
                Tarball::default().edited(b'g', "p", &record("comment", b"x"), |_| {})
            })
        },
        "more than 16 headers",
    ),
    (
        "a million and more of files",
        || of_each(1 << 20, |number| Tarball::default().file(&format!("f{number}"), "")),
        "more than 32768 members",
    ),
    (
        "a million and more of directories",
        || of_each(1 << 20, |number| Tarball::default().file(&format!(".wh.{number:b}"), "")),
        "more than 32768 members",
    ),
    ("nothing but an end", || pieces(Vec::new(), zeros(257 << 30)), "more than"),
    (
        "a file of 1 TiB that is a hole",
        || {
            let header = header_of_size(b'0', 1 << 40);
            pieces(header, zeros(1 << 40))
        },
        "more than",
    ),
    (
        "a thousand compressed archives",
        || {
            let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::fast());
            encoder.write_all(&[]).unwrap();
            let empty = encoder.finish().unwrap().repeat(100_000);
            pieces(empty, io::empty())
        },
        "no end",
    ),
    (
        "a comment of gzip",
        || {
            // The flag of a comment, which has no end.
            pieces(vec![0x1f, 0x8b, 8, 0x10, 0, 0, 0, 0, 0, 0], io::repeat(b'x').take(1 << 30))
        },
        "cannot be read",
    ),
];

fn zeros(count: u64) -> impl Read {
    io::repeat(0).take(count)
}

fn pieces(first: Vec<u8>, then: impl Read + 'static) -> Box<dyn Read> {
    Box::new(io::Cursor::new(first).chain(then))
}

fn header(letter: u8, size: u64) -> Vec<u8> {
    Block::new(letter, "x").size(size).sealed().to_vec()
}

/// Returns a header with a size in binary.
fn header_of_size(letter: u8, size: u64) -> Vec<u8> {
    let mut block = Block::new(letter, "x");
    block.put(124, &[0x80, 0, 0, 0]).put(128, &size.to_be_bytes());
    block.sealed().to_vec()
}

fn gzipped(first: Vec<u8>, zeros: u64) -> Box<dyn Read> {
    let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(&first).unwrap();
    let piece = vec![0; 1 << 20];
    for _ in 0..(zeros >> 20).min(64) {
        encoder.write_all(&piece).unwrap();
    }
    Box::new(io::Cursor::new(encoder.finish().unwrap()))
}

/// One member with a pax header of so many bytes that say nothing.
fn records(size: usize) -> Vec<u8> {
    let mut text = Vec::new();
    while text.len() + 16 < size {
        text.extend(record("k", b""));
    }
    let header = Tarball::default().edited(b'x', "p", &text, |_| {});
    header.file("new", "").end().0
}

fn attributes(count: u32) -> Vec<u8> {
    let mut text = Vec::new();
    for number in 0..count {
        let record = record(&format!("SCHILY.xattr.{number:x}"), b"");
        if text.len() + record.len() > 1 << 20 {
            break;
        }
        text.extend(record);
    }
    Tarball::default().edited(b'x', "p", &text, |_| {}).file("new", "").end().0
}

/// An archive that is made as it is read.
struct Each<F> {
    count: usize,
    number: usize,
    make: F,
    rest: io::Cursor<Vec<u8>>,
}

fn of_each(count: usize, make: impl Fn(usize) -> Tarball + 'static) -> Box<dyn Read> {
    Box::new(Each { count, number: 0, make, rest: io::Cursor::default() })
}

impl<F: Fn(usize) -> Tarball> Read for Each<F> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let read = self.rest.read(buffer)?;
            if read > 0 || self.number > self.count {
                return Ok(read);
            }
            let piece = if self.number == self.count {
                Tarball::default().end()
            } else {
                (self.make)(self.number)
            };
            self.rest = io::Cursor::new(piece.0);
            self.number += 1;
        }
    }
}

fn lay(root: &Path, archive: Box<dyn Read>, limits: &Limits) -> Result<Unpacked, UnpackError> {
    let archive = decoded(archive).unwrap();
    unpack(archive, open(root).as_fd(), limits, Devices::Make, Interrupt::NEVER)
}

/// Returns a line of what the kernel tells of this process, in KiB.
fn memory(line: &str) -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|found| found.strip_prefix(line)).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

#[test]
fn no_archive_takes_more_memory_than_its_share() {
    if !is_root() {
        return skipped("only root gives files to others");
    }
    if let Some(bomb) = std::env::var_os(BOMB) {
        return explode(&bomb);
    }
    for (name, ..) in BOMBS {
        let mut command = Command::new(std::env::current_exe().unwrap());
        let test = "tree::tests::bombs::no_archive_takes_more_memory_than_its_share";
        command.args(["--exact", test, "--nocapture"]).env(BOMB, name);
        let output = command.output().unwrap();
        let said = [&output.stdout, &output.stderr].map(|said| String::from_utf8_lossy(said));
        assert!(output.status.success(), "{name}: {}{}", said[0], said[1]);
        assert!(said[0].contains("1 passed"), "{name}: {}", said[0]);
    }
}

#[expect(clippy::print_stdout, reason = "a test has nobody else to tell")]
fn explode(name: &OsString) {
    let (_, make, expected) = BOMBS.iter().find(|(bomb, ..)| name == bomb).unwrap();
    let scratch = Scratch::new();
    let archive = make();
    // A terabyte of zeros takes minutes to read, and nothing more is learned of it.
    let limits = Limits { bytes: 256 << 20, entries: 1 << 15, ..Limits::default() };
    fs::write("/proc/self/clear_refs", "5").unwrap();
    let before = memory("VmRSS:");
    let laid = lay(scratch.path(), archive, &limits);
    let taken = memory("VmHWM:") - before;
    match laid {
        Ok(_) => assert_eq!(*expected, ""),
        Err(error) => {
            let said = error.to_string();
            assert!(!expected.is_empty() && said.contains(expected), "{said}");
        }
    }
    println!("{name:?}: {taken} KiB");
    assert!(taken <= MOST, "it took {taken} KiB");
}

#[test]
fn what_is_long_is_interrupted() {
    let scratch = Scratch::new();
    let (heard, mut writer) = std::io::pipe().unwrap();
    writer.write_all(b"!").unwrap();
    let interrupt = Interrupt::of(heard.as_fd());
    let endless: [fn() -> Box<dyn Read>; 4] = [
        || pieces(Vec::new(), io::repeat(0)),
        || pieces(header_of_size(b'0', 1 << 60), io::repeat(0)),
        || of_each(usize::MAX, |_| Tarball::default().file("f", "")),
        || pieces(header(b'0', 1), Unwilling),
    ];
    let limits = Limits { bytes: u64::MAX, entries: u64::MAX, ..Limits::default() };
    for make in endless {
        let root = open(scratch.path());
        let ended = unpack(make(), root.as_fd(), &limits, Devices::Make, interrupt);
        let error = ended.unwrap_err();
        assert_eq!(io::Error::from(error).kind(), ErrorKind::Interrupted);
    }
}

/// Is always interrupted itself.
struct Unwilling;

impl Read for Unwilling {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        Err(ErrorKind::Interrupted.into())
    }
}

#[test]
fn a_fault_says_where_it_was() {
    let scratch = Scratch::new();
    let archive =
        Tarball::default().file("a", "x").file("\u{1b}[2J\n", "x").file("b/../c", "x").end();
    let limits = Limits::default();
    let root = open(scratch.path());
    let ended = unpack(&archive.0[..], root.as_fd(), &limits, Devices::Make, Interrupt::NEVER);
    let at = 4 * BLOCK;
    assert_eq!(
        ended.unwrap_err().to_string(),
        format!("member 3 (`b/../c`) at byte {at}: `..` is in its name")
    );
    let cut = Tarball::default().file("\u{1b}[2J\n", "text").0;
    let ended = unpack(&cut[..600], root.as_fd(), &limits, Devices::Make, Interrupt::NEVER);
    assert_eq!(
        ended.unwrap_err().to_string(),
        "member 1 (`\\u{1b}[2J\\n`) at byte 0: the archive ends within a block"
    );
}

#[test]
fn what_is_compressed_otherwise_is_named() {
    for (begin, name) in
        [(&b"\x28\xb5\x2f\xfd"[..], "zstd"), (b"\xfd7zXZ\0x", "xz"), (b"BZh9", "bzip2")]
    {
        let error = decoded(begin).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("it is compressed by {name}, which is not known here")
        );
    }
}
