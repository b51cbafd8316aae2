//! Layers that are made to do harm, and what becomes of them.

mod archives;
mod attributes;
mod hard_links;
mod marks;
mod paths;

use std::fs;
use std::os::fd::AsFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;

use rustix::fs::{AtFlags, CWD, FileType, Mode, Timespec, Timestamps, mknodat, utimensat};

use super::scratch::{Scratch, is_root, listing, open, skipped};
use super::tarball::Tarball;
use crate::store::namespace::{self, Who};
use crate::tree::{Devices, Interrupt, Limits, UnpackError, Unpacked, decoded, unpack};

/// What becomes of a layer.
enum Outcome {
    /// It is refused, in these words.
    Refused(&'static str),
    /// It is laid over the tree, of which this holds then: `p=text`, `p/`, `p->target`, `p#mode`, `p@seconds`,
    /// `!p` (gone), `p~q` (one file).
    Laid(&'static [&'static str]),
}
use Outcome::{Laid, Refused};

type Case = (&'static str, Tarball, Outcome);

/// Plants the tree that layers are laid over, and what is around it.
fn plant(scratch: &Scratch) {
    let outside = scratch.directory("outside");
    fs::write(outside.join("canary"), "alive").unwrap();
    fs::create_dir(outside.join("d")).unwrap();
    fs::write(outside.join("d/f"), "f").unwrap();
    let root = scratch.directory("root");
    for directory in ["etc", "usr/lib", "full/sub/deep", "shut"] {
        fs::create_dir_all(root.join(directory)).unwrap();
    }
    for file in ["etc/passwd", "etc/other", "usr/lib/x", "full/a", "full/sub/b", "full/sub/deep/c"]
    {
        fs::write(root.join(file), file).unwrap();
    }
    // As in a store: another tree has the same file.
    fs::hard_link(root.join("etc/other"), outside.join("shared")).unwrap();
    symlink("usr/lib", root.join("lib")).unwrap();
    symlink("../outside", root.join("out")).unwrap();
    symlink(outside.join("canary"), root.join("canary")).unwrap();
    symlink("loop", root.join("loop")).unwrap();
    mknodat(CWD, root.join("fifo"), FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
    fs::set_permissions(root.join("shut"), fs::Permissions::from_mode(0o500)).unwrap();
    for path in ["etc", "usr/lib", "full/sub", "full", "usr", "."] {
        let time = Timespec { tv_sec: 1_111, tv_nsec: 222 };
        let times = Timestamps { last_access: time, last_modification: time };
        utimensat(CWD, root.join(path), &times, AtFlags::SYMLINK_NOFOLLOW).unwrap();
    }
}

fn lay(root: &Path, archive: &[u8], limits: &Limits) -> Result<Unpacked, UnpackError> {
    let archive = decoded(archive).unwrap();
    unpack(archive, open(root).as_fd(), limits, Devices::Make, Interrupt::NEVER)
}

/// Tells whether what is expected of a tree holds.
fn holds(root: &Path, expected: &str) -> bool {
    let found = |path: &str| fs::symlink_metadata(root.join(path));
    if let Some(path) = expected.strip_prefix('!') {
        return found(path).is_err();
    }
    if let Some((path, target)) = expected.split_once("->") {
        return fs::read_link(root.join(path)).is_ok_and(|found| found == Path::new(target));
    }
    if let Some((path, mode)) = expected.split_once('#') {
        let mode = u32::from_str_radix(mode, 8).unwrap();
        return found(path).is_ok_and(|found| found.mode() & 0o7777 == mode);
    }
    if let Some((path, seconds)) = expected.split_once('@') {
        return found(path).is_ok_and(|found| found.mtime() == seconds.parse::<i64>().unwrap());
    }
    if let Some((one, other)) = expected.split_once('~') {
        return found(one).unwrap().ino() == found(other).unwrap().ino();
    }
    if let Some(path) = expected.strip_suffix('/') {
        return found(path).is_ok_and(|found| found.is_dir());
    }
    let (path, text) = expected.split_once('=').unwrap();
    found(path).is_ok_and(|found| found.is_file())
        && fs::read(root.join(path)).is_ok_and(|found| found == text.as_bytes())
}

/// Lays each over a tree of its own, and looks at all that is around it.
fn try_all(cases: Vec<Case>, limits: &Limits) {
    let mut faults = Vec::new();
    for (name, archive, outcome) in cases {
        let scratch = Scratch::new();
        plant(&scratch);
        let (outside, root) = (scratch.path().join("outside"), scratch.path().join("root"));
        let before = listing(&outside);
        let laid = lay(&root, &archive.0, limits);
        match (&laid, outcome) {
            (Err(error), Refused(words)) if error.to_string().contains(words) => {}
            (Ok(_), Laid(all)) => {
                for expected in all.iter().filter(|expected| !holds(&root, expected)) {
                    faults.push(format!("{name}: not {expected}"));
                }
            }
            (Ok(_), Refused(words)) => faults.push(format!("{name}: laid, and not `{words}`")),
            (Err(error), _) => faults.push(format!("{name}: {error}")),
        }
        if before != listing(&outside) {
            faults.push(format!("{name}: something outside has changed"));
        }
        let names = fs::read_dir(scratch.path()).unwrap().count();
        assert_eq!(names, 2, "{name}: something new is beside the tree");
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

fn tar() -> Tarball {
    Tarball::default()
}

fn all(_: &Path) {
    let limits = Limits::default();
    for cases in [
        paths::cases(),
        hard_links::cases(),
        marks::cases(),
        archives::cases(),
        attributes::cases(),
    ] {
        try_all(cases, &limits);
    }
}

#[test]
fn nothing_outside_is_touched() {
    if is_root() {
        all(Path::new(""));
    } else {
        skipped("only root gives files to others");
    }
}

#[test]
fn nothing_outside_is_touched_by_mapped_root() {
    let name = "tree::tests::hostile_layers::nothing_outside_is_touched_by_mapped_root";
    namespace::run(name, Who::Mapped, all);
}
