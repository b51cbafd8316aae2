//! Trees that are as bad as trees can be.

mod bombs;
mod hostile_layers;
mod interrupted;
mod listed;
mod merged;
pub(crate) mod overlaid;
mod relinked;
pub(crate) mod scratch;
mod small;
mod stamped;
mod tarball;
pub(crate) mod torture;
mod unpacked;
mod zstd_frames;

use std::fs;
use std::os::fd::AsFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

use super::*;
use scratch::{Scratch, is_root, listing, open, skipped};

/// Compares two trees by a program that knows nothing of this one. It fails at what is very deep.
fn same_for_rsync(one: &Path, other: &Path) {
    let mut command = Command::new("rsync");
    command.args(["-aHAXnic", "--delete", "--exclude=/long", "--exclude=/deep"]);
    command.arg(one.join("")).arg(other.join(""));
    let Ok(output) = command.output() else {
        skipped("there is no rsync");
        return;
    };
    let [out, errors] =
        [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
    assert!(out.is_empty() && output.status.success(), "{out}{errors}");
}

#[test]
fn a_copy_is_the_tree_again() {
    let scratch = Scratch::new();
    let from = scratch.directory("from");
    torture::plant(&from);
    let before = listing(&from);
    let times = fs::metadata(from.join("plain")).unwrap();

    let to = scratch.directory("to");
    copy((open(&from).as_fd(), Marks::Plain), open(&to).as_fd(), &[], Interrupt::NEVER).unwrap();
    let after = fs::metadata(to.join("plain")).unwrap();
    assert_eq!((times.atime(), times.atime_nsec()), (after.atime(), after.atime_nsec()));
    let holes = fs::metadata(to.join("holes")).unwrap();
    assert!(holes.blocks() * 512 < 4 << 20, "{} blocks", holes.blocks());
    let differences = before.verify(open(&to).as_fd(), Marks::Plain).unwrap();
    assert!(differences.is_empty(), "{differences:?}");
    assert_eq!(before, listing(&to));
    assert_eq!(before, listing(&from), "the source is as it was");
    same_for_rsync(&from, &to);
}

#[test]
fn labels_of_a_module_that_is_not_at_work_are_kept() {
    let scratch = Scratch::new();
    let (from, to) = (scratch.directory("from"), scratch.directory("to"));
    fs::create_dir(from.join("d")).unwrap();
    fs::write(from.join("d/f"), "x").unwrap();
    let flags = rustix::fs::XattrFlags::empty();
    for path in ["d", "d/f"] {
        let set = rustix::fs::setxattr(from.join(path), "security.selinux", torture::LABEL, flags);
        if set.is_err() || Path::new("/sys/fs/selinux").exists() {
            skipped("no label can be set here, or the kernel sets them");
            return;
        }
    }
    let labelled = listing(&from);
    copy((open(&from).as_fd(), Marks::Plain), open(&to).as_fd(), &[], Interrupt::NEVER).unwrap();
    for path in ["d", "d/f"] {
        let mut value = [0; 64];
        let length =
            rustix::fs::getxattr(to.join(path), "security.selinux", &mut value[..]).unwrap();
        assert_eq!(&value[..length], torture::LABEL, "{path}");
    }
    assert_eq!(labelled, listing(&to));
    rustix::fs::setxattr(to.join("d/f"), "security.selinux", b"other\0", flags).unwrap();
    assert_eq!(labelled.verify(open(&to).as_fd(), Marks::Plain).unwrap().len(), 1);
}

#[test]
fn names_at_the_top_are_left_out() {
    let scratch = Scratch::new();
    let from = scratch.directory("from");
    for path in ["dev", "usr/dev", "proc"] {
        fs::create_dir_all(from.join(path)).unwrap();
        fs::write(from.join(path).join("x"), "x").unwrap();
    }
    let to = scratch.directory("to");
    copy(
        (open(&from).as_fd(), Marks::Plain),
        open(&to).as_fd(),
        &["dev".as_ref(), "none".as_ref()],
        Interrupt::NEVER,
    )
    .unwrap();
    let paths: Vec<_> = listing(&to).paths().map(|path| String::from_utf8(path).unwrap()).collect();
    assert_eq!(paths, ["proc", "proc/x", "usr", "usr/dev", "usr/dev/x"]);
}

#[test]
fn what_the_target_inherits_goes_on_to_nothing() {
    let scratch = Scratch::new();
    let from = scratch.directory("from");
    fs::create_dir(from.join("d")).unwrap();
    fs::write(from.join("d/f"), "x").unwrap();
    fs::set_permissions(from.join("d/f"), fs::Permissions::from_mode(0o640)).unwrap();
    let to = scratch.directory("to");
    fs::set_permissions(&to, fs::Permissions::from_mode(0o2777)).unwrap();
    if !torture::set_acl(&to, "system.posix_acl_default") {
        skipped("no access lists here");
    }
    copy((open(&from).as_fd(), Marks::Plain), open(&to).as_fd(), &[], Interrupt::NEVER).unwrap();
    assert_eq!(listing(&from), listing(&to));
}

#[test]
fn a_fault_says_where_it_was() {
    let scratch = Scratch::new();
    let from = scratch.directory("from");
    fs::create_dir(from.join("d")).unwrap();
    fs::write(from.join("d/f"), "x").unwrap();
    let to = scratch.directory("to");
    fs::create_dir(to.join("d")).unwrap();
    let fault = copy((open(&from).as_fd(), Marks::Plain), open(&to).as_fd(), &[], Interrupt::NEVER)
        .unwrap_err();
    assert_eq!(fault.to_string(), "`/d`: File exists (os error 17)");
}

#[test]
fn a_tree_is_removed_whatever_it_is() {
    let scratch = Scratch::new();
    let tree = scratch.directory("tree");
    torture::plant(&tree);
    torture::deep(&tree, b"deeper", 3000);
    fs::create_dir_all(tree.join("shut/in")).unwrap();
    fs::write(tree.join("shut/in/file"), "x").unwrap();
    fs::create_dir(scratch.path().join("kept")).unwrap();
    symlink("../kept", tree.join("outside")).unwrap();
    for (path, mode) in [("shut/in", 0o500), ("shut", 0)] {
        fs::set_permissions(tree.join(path), fs::Permissions::from_mode(mode)).unwrap();
    }
    let above = open(scratch.path());
    remove(above.as_fd(), "tree".as_ref()).unwrap();
    assert!(!tree.exists());
    assert!(scratch.path().join("kept").exists());
    remove(above.as_fd(), "tree".as_ref()).unwrap();
    symlink("kept", &tree).unwrap();
    remove(above.as_fd(), "tree".as_ref()).unwrap();
    assert!(scratch.path().join("kept").exists());
    for name in ["", ".", "..", "kept/x"] {
        assert!(remove(above.as_fd(), name.as_ref()).is_err(), "{name}");
    }
}

#[test]
fn what_has_names_elsewhere_is_shared() {
    let scratch = Scratch::new();
    let tree = scratch.directory("tree");
    let blocks = |path: &Path| fs::symlink_metadata(path).unwrap().blocks() * 512;
    for name in ["one", "two"] {
        fs::write(tree.join(name), vec![1; 100_000]).unwrap();
    }
    fs::hard_link(tree.join("one"), tree.join("one-again")).unwrap();
    fs::hard_link(tree.join("two"), scratch.path().join("elsewhere")).unwrap();
    let _ = fs::File::open(tree.join("two")).unwrap().sync_all();
    let _ = fs::File::open(tree.join("one")).unwrap().sync_all();
    let found = usage(open(&tree).as_fd()).unwrap();
    assert_eq!(found.alone, blocks(&tree) + blocks(&tree.join("one")));
    assert_eq!(found.shared, blocks(&tree.join("two")));
    assert!(is_root() || found.shared > 0);
}
