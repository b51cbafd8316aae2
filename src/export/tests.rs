//! What is written of a tree, and read again.

use std::collections::HashSet;
use std::fs;
use std::io::Write;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

use super::archive::{Archive, write};
use super::gzip::Gzip;
use super::warnings::Warnings;
use crate::cache::Names;
use crate::plan;
use crate::store::namespace::{self, Who};
use crate::store::operation::Operation;
use crate::store::planted;
use crate::store::random::Random;
use crate::tree::overlaid::{self, differences};
use crate::tree::scratch::{Scratch, is_root, listing, open, skipped};
use crate::tree::{
    self, Devices, Form, Interrupt, Limits, Marks, OmittedKind, Reader, Unpacked, decoded, steps,
    torture, unpack,
};

/// Writes what has to be laid over `base`, or over nothing, to get `tree`.
fn written(base: Option<&Path>, tree: &Path) -> Vec<u8> {
    let (base, tree_listing) = (base.map(listing), listing(tree));
    let path = PathBuf::from("/var/lib/lxc/x");
    let target = plan::Target {
        name: "x".to_owned(),
        arch: "amd64".to_owned(),
        rootfs: path.join("rootfs"),
        path,
        mapped: None,
        args: Vec::new(),
    };
    let opened = open(tree);
    let mut gzip = Gzip::new(Vec::new()).unwrap();
    let mut warnings = Warnings::default();
    let mut archive = Archive {
        reader: Reader::new(opened.as_fd(), Marks::Plain),
        prefix: b"",
        named: HashSet::new(),
        names: &Names::of(&[], &target),
        group: 0,
        latest: None,
        to: &mut gzip,
        warnings: &mut warnings,
        interrupt: Interrupt::NEVER,
        is_over: base.is_some(),
    };
    write(&mut archive, &steps(base.as_ref(), &tree_listing, None)).unwrap();
    gzip.finish().unwrap()
}

fn laid(archive: &[u8], tree: &Path) -> Unpacked {
    let limits = Limits::default();
    let archive = decoded(archive).unwrap();
    unpack(archive, open(tree).as_fd(), &limits, Devices::Make, Interrupt::NEVER).unwrap()
}

fn copied(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    tree::copy((open(from).as_fd(), Marks::Plain), open(to).as_fd(), &[], Interrupt::NEVER)
        .unwrap();
}

/// Shares files with another tree, as a store does.
fn linked(from: &Path, to: &Path) {
    let nothing = to.with_file_name("nothing");
    for path in [to, &nothing] {
        fs::create_dir(path).unwrap();
    }
    let (base, upper) = (open(from), open(&nothing));
    tree::copy_attributes(base.as_fd(), upper.as_fd(), Marks::Plain).unwrap();
    let (base, form) = (Some(base.as_fd()), Form::Trusted);
    tree::merge(base, upper.as_fd(), open(to).as_fd(), form, Interrupt::NEVER).unwrap();
    fs::remove_dir(nothing).unwrap();
}

/// Mounts a tree below an empty upper directory.
struct Mounted(PathBuf);

impl Mounted {
    fn new(lower: &Path, place: &Path) -> Self {
        let [upper, work, merged] = ["upper", "work", "merged"].map(|name| {
            let path = place.join(name);
            fs::create_dir(&path).unwrap();
            path
        });
        let shown = |path: &Path| path.to_str().unwrap().to_owned();
        let user = if is_mapped() { ",userxattr" } else { "" };
        let options = format!(
            "lowerdir={},upperdir={},workdir={},redirect_dir=nofollow,metacopy=off,index=off{user}",
            shown(lower),
            shown(&upper),
            shown(&work)
        );
        let from = open(lower);
        tree::copy_attributes(from.as_fd(), open(&upper).as_fd(), Marks::Plain).unwrap();
        let options = std::ffi::CString::new(options).unwrap();
        mount("overlay", &merged, "overlay", MountFlags::empty(), Some(options.as_c_str()))
            .unwrap();
        Self(merged)
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        unmount(&self.0, UnmountFlags::DETACH).unwrap();
        for name in ["upper", "work", "merged"] {
            let above = open(self.0.parent().unwrap());
            tree::remove(above.as_fd(), name.as_ref()).unwrap();
        }
    }
}

/// Tells whether this process is root of a user namespace.
fn is_mapped() -> bool {
    let map = fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    !map.split_whitespace().eq(["0", "0", "4294967295"])
}

/// Lays what makes `child` of `parent` over copies of every kind, and compares.
fn round_trip(parent: &Path, child: &Path, place: &Path, what: &str) {
    let archive = written(Some(parent), child);
    let (before, after) = (listing(parent), listing(child));
    let plain = place.join("plain");
    copied(parent, &plain);
    laid(&archive, &plain);
    assert_eq!(differences(&after, &plain), [""; 0], "{what}: over a copy");
    let shared = place.join("shared");
    linked(parent, &shared);
    laid(&archive, &shared);
    assert_eq!(differences(&after, &shared), [""; 0], "{what}: over what shares its files");
    assert_eq!(differences(&before, parent), [""; 0], "{what}: what shares its files");
    {
        let mounted = Mounted::new(parent, place);
        laid(&archive, &mounted.0);
        assert_eq!(differences(&after, &mounted.0), [""; 0], "{what}: over an overlay");
    }
    assert_eq!(differences(&before, parent), [""; 0], "{what}: below an overlay");
    // Laid once more, it changes nothing.
    laid(&archive, &plain);
    assert_eq!(differences(&after, &plain), [""; 0], "{what}: a second time");
    for name in ["plain", "shared"] {
        tree::remove(open(place).as_fd(), name.as_ref()).unwrap();
    }
}

/// How many random sequences of operations are tried.
const SEQUENCES: u64 = 60;

fn random_layers(place: &Path) {
    let asked = std::env::var("LT_SEQUENCES").ok();
    // Each lays four layers over trees, and so takes its time.
    let count = asked.map_or(SEQUENCES, |count| count.parse::<u64>().expect("a number") / 4);
    let mut done = 0;
    for seed in 0..count {
        let (parent, child) = (place.join("parent"), place.join("child"));
        fs::create_dir(&parent).unwrap();
        planted::plant(&parent, &mut Random::new(seed / 4));
        copied(&parent, &child);
        let mut random = Random::new(seed);
        for _ in 0..=random.below(40) {
            done += u64::from(Operation::any(&child, &mut random).act(&child).is_ok());
        }
        round_trip(&parent, &child, place, &format!("seed {seed}"));
        for name in ["parent", "child"] {
            tree::remove(open(place).as_fd(), name.as_ref()).unwrap();
        }
    }
    assert!(done > count * 5, "{done} operations of {count} sequences did something");
}

#[test]
fn random_layers_are_laid_over_their_parents() {
    let name = "export::tests::random_layers_are_laid_over_their_parents";
    namespace::run(name, Who::Root, random_layers);
}

#[test]
fn random_layers_are_laid_over_their_parents_by_mapped_root() {
    let name = "export::tests::random_layers_are_laid_over_their_parents_by_mapped_root";
    namespace::run(name, Who::Mapped, random_layers);
}

fn layer_of_every_change(place: &Path) {
    let options = if is_mapped() { ",userxattr" } else { "" };
    assert!(overlaid::overlay(place, options));
    let [lower, expected] = ["lower", "expected"].map(|name| place.join(name));
    for name in ["upper", "merged"] {
        tree::remove(open(place).as_fd(), name.as_ref()).unwrap();
    }
    // No layer has these.
    for path in ["null", "new-null"] {
        for tree in [&lower, &expected] {
            tree::remove(open(tree).as_fd(), path.as_ref()).unwrap();
        }
    }
    round_trip(&lower, &expected, place, "every change");
    round_trip(&expected, &lower, place, "every change undone");
}

#[test]
fn a_layer_of_every_change_is_laid_over_its_parent() {
    let name = "export::tests::a_layer_of_every_change_is_laid_over_its_parent";
    namespace::run(name, Who::Root, layer_of_every_change);
}

#[test]
fn a_layer_of_every_change_is_laid_over_its_parent_by_mapped_root() {
    let name = "export::tests::a_layer_of_every_change_is_laid_over_its_parent_by_mapped_root";
    namespace::run(name, Who::Mapped, layer_of_every_change);
}

fn tree_with_everything(place: &Path) {
    let [from, to, over] = ["from", "to", "over"].map(|name| place.join(name));
    fs::create_dir(&from).unwrap();
    fs::create_dir(&to).unwrap();
    torture::plant(&from);
    for path in ["socket", "null", "disk"] {
        let _ = fs::remove_file(from.join(path));
    }
    for path in ["many/8", "z"] {
        let _ = rustix::fs::removexattr(from.join(path), "security.selinux");
    }
    let archive = written(None, &from);
    laid(&archive, &to);
    let before = listing(&from);
    assert_eq!(differences(&before, &to), [""; 0]);
    for path in ["holes", "all-hole"] {
        let [was, is] = [&from, &to].map(|tree| fs::metadata(tree.join(path)).unwrap().blocks());
        assert!(is <= was, "{path}: {is} blocks, and not {was}");
    }
    // Over nothing, over itself, and what removes it again.
    round_trip(&from, &to, place, "no change");
    fs::create_dir(&over).unwrap();
    fs::write(over.join("plain"), "another").unwrap();
    fs::create_dir(over.join("large")).unwrap();
    round_trip(&from, &over, place, "all gone");
    round_trip(&over, &from, place, "all new");
}

#[test]
fn a_tree_with_everything_is_read_again() {
    let name = "export::tests::a_tree_with_everything_is_read_again";
    namespace::run(name, Who::Root, tree_with_everything);
}

#[test]
fn a_tree_with_everything_is_read_again_by_mapped_root() {
    let name = "export::tests::a_tree_with_everything_is_read_again_by_mapped_root";
    namespace::run(name, Who::Mapped, tree_with_everything);
}

/// What the writer leaves out is hidden, and what GNU tar writes has devices too.
#[test]
fn what_gnu_tar_writes_is_read() {
    if !is_root() {
        return skipped("only root gives files to others");
    }
    let scratch = Scratch::new();
    let from = scratch.directory("from");
    torture::plant(&from);
    // GNU tar has no path of that length, and warns of a socket.
    for name in ["long", "deep", "socket"] {
        tree::remove(open(&from).as_fd(), name.as_ref()).unwrap();
    }
    for format in ["gnu", "posix"] {
        let (to, judge) = (scratch.directory(format), scratch.directory(&format!("{format}-gnu")));
        let mut command = Command::new("tar");
        command.args(["--numeric-owner", "--xattrs", "--xattrs-include=*", "--no-selinux"]);
        command.args(["-c", "--format", format, "-C"]).arg(&from).arg(".");
        if format == "gnu" {
            command = Command::new("tar");
            command.args(["--numeric-owner", "-c", "--format", format, "-C"]).arg(&from).arg(".");
        }
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let unpacked = laid(&output.stdout, &to);
        let mut tar = Command::new("tar");
        tar.args(["--numeric-owner", "--xattrs", "--xattrs-include=*", "-xpf", "-", "-C"]);
        let mut tar = tar.arg(&judge).stdin(std::process::Stdio::piped()).spawn().unwrap();
        tar.stdin.take().unwrap().write_all(&output.stdout).unwrap();
        assert!(tar.wait().unwrap().success());
        let mut differing = differences(&listing(&judge), &to);
        // A label of another distribution is left out.
        differing.retain(|found| !["many/8 ", "z "].iter().any(|name| found.starts_with(name)));
        assert_eq!(differing, [""; 0], "{format}");
        assert_eq!(unpacked.left_out.count(OmittedKind::Device), 0);
    }
}
