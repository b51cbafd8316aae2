//! What becomes of a base's files and of an upper directory.

use std::collections::BTreeSet;
use std::fs;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::fs::{CWD, FileType, Mode, XattrFlags, mknodat, setxattr};

use super::super::{Changes, Form, Interrupt, merge};
use super::scratch::{Scratch, listing, open, skipped};
use super::torture;
use crate::tree::Marks;

fn merged(base: Option<&Path>, upper: &Path, to: &Path) -> std::io::Result<Changes> {
    let base = base.map(open);
    let base = base.as_ref().map(AsFd::as_fd);
    merge(base, open(upper).as_fd(), open(to).as_fd(), Form::User, Interrupt::NEVER)
}

fn paths(changes: &Changes) -> BTreeSet<&str> {
    changes.iter().map(|path| str::from_utf8(path).unwrap()).collect()
}

fn plant(top: &Path, files: &[&str]) {
    for file in files {
        let path = top.join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, file).unwrap();
    }
}

#[test]
fn links_do_not_show_where_programs_look() {
    let scratch = Scratch::new();
    let [base, upper, to] = ["base", "upper", "to"].map(|name| scratch.directory(name));
    let copied =
        ["etc/a", "etc/cron.d/b", "var/log/c", "var/spool/d/e", "home/f", "root/g", "srv/h"];
    let linked = ["usr/a", "usr/etc/b", "var/lib/log/c", "opt/root", "etcetera"];
    plant(&base, &[copied.as_slice(), &linked].concat());
    // One file with names on both sides, and one on one.
    plant(&base, &["etc/both", "usr/two"]);
    fs::hard_link(base.join("etc/both"), base.join("usr/both")).unwrap();
    fs::hard_link(base.join("usr/two"), base.join("opt/two")).unwrap();
    // Another tree has all of it, as in the store.
    let other = scratch.directory("other");
    for (number, path) in listing(&base).paths().enumerate() {
        let path = base.join(str::from_utf8(&path).unwrap());
        if path.is_file() {
            fs::hard_link(path, other.join(number.to_string())).unwrap();
        }
    }
    let before = listing(&base);
    let changes = merged(Some(&base), &upper, &to).unwrap();
    assert_eq!(paths(&changes), BTreeSet::new());
    let file = |path: &str| fs::metadata(to.join(path)).unwrap();
    for path in copied {
        assert_eq!(file(path).nlink(), 1, "{path}");
    }
    for path in linked {
        let is_linked = file(path).ino() == fs::metadata(base.join(path)).unwrap().ino();
        assert!(is_linked || file(path).nlink() == 1, "{path}");
    }
    assert_eq!(file("etc/both").ino(), file("usr/both").ino());
    assert_eq!(file("etc/both").nlink(), 2);
    assert_eq!(file("usr/two").ino(), file("opt/two").ino());
    assert_eq!(before, listing(&base), "the base is as it was");
    let mut findings = before.verify(open(&to).as_fd(), Marks::Plain).unwrap();
    findings.retain(|finding| !finding.path.is_empty());
    assert!(findings.is_empty(), "{findings:?}");
}

#[test]
fn an_upper_directory_hides_what_it_says() {
    let scratch = Scratch::new();
    let [base, upper, to] = ["base", "upper", "to"].map(|name| scratch.directory(name));
    plant(&base, &["gone", "gone-too/x", "file", "d/kept", "d/changed", "opaque/x", "was-file"]);
    plant(&upper, &["d/changed", "d/new", "opaque/y", "was-file/z", "file"]);
    for name in ["gone", "gone-too"] {
        let made = mknodat(CWD, upper.join(name), FileType::CharacterDevice, Mode::empty(), 0);
        if made.is_err() {
            skipped("no mark of what is gone may be made here");
            return;
        }
    }
    if setxattr(upper.join("opaque"), "user.overlay.opaque", b"y", XattrFlags::empty()).is_err() {
        skipped("no extended attributes here");
        return;
    }
    let changed = upper.join("d/changed");
    setxattr(&changed, "user.overlay.origin", b"any", XattrFlags::empty()).unwrap();
    setxattr(&changed, "user.mine", b"1", XattrFlags::empty()).unwrap();
    let changes = merged(Some(&base), &upper, &to).unwrap();
    let expected =
        ["d/changed", "d/new", "file", "gone", "gone-too", "opaque/y", "was-file", "was-file/z"];
    assert_eq!(paths(&changes), BTreeSet::from(expected));
    assert!(changes.contains(b"d/new") && !changes.contains(b"d/kept"));
    let found: Vec<_> = listing(&to).paths().map(|path| String::from_utf8(path).unwrap()).collect();
    let there = [
        "d",
        "d/changed",
        "d/kept",
        "d/new",
        "file",
        "opaque",
        "opaque/y",
        "was-file",
        "was-file/z",
    ];
    assert_eq!(found, there);
    let mut names = [0; 256];
    let length = rustix::fs::listxattr(to.join("d/changed"), &mut names).unwrap();
    let names = String::from_utf8_lossy(&names[..length]).into_owned();
    assert!(names.contains("user.mine") && !names.contains("overlay"), "{names}");
}

#[test]
fn marks_that_are_not_understood_are_refused() {
    let marks = [
        ("f", "redirect", "/x"),
        ("f", "metacopy", ""),
        ("f", "whiteout", "y"),
        ("d", "whiteouts", "y"),
        ("d", "opaque", "x"),
        ("d", "redirect", "x"),
    ];
    for (path, mark, value) in marks {
        let scratch = Scratch::new();
        let [base, upper, to] = ["base", "upper", "to"].map(|name| scratch.directory(name));
        plant(&upper, &["f", "d/x"]);
        let name = format!("user.overlay.{mark}");
        let set = setxattr(upper.join(path), &name, value.as_bytes(), XattrFlags::empty());
        if set.is_err() {
            skipped("no extended attributes here");
            return;
        }
        let fault = merged(Some(&base), &upper, &to).unwrap_err().to_string();
        let expected = format!("`/{path}`: the overlay has set `{name}` to `{value}`, which a");
        assert!(fault.starts_with(&expected), "{fault}");
    }
}

#[test]
fn a_tree_with_everything_is_merged_from_either_side() {
    let scratch = Scratch::new();
    let [base, upper, first, second] =
        ["base", "upper", "first", "second"].map(|name| scratch.directory(name));
    torture::plant(&base);
    let before = listing(&base);
    merged(Some(&base), &upper, &first).unwrap();
    let mut findings = before.verify(open(&first).as_fd(), Marks::Plain).unwrap();
    findings.retain(|finding| !finding.path.is_empty());
    assert!(findings.is_empty(), "{findings:?}");
    super::same_for_rsync(&base.join("a"), &first.join("a"));

    let before = listing(&first);
    let changes = merged(None, &first, &second).unwrap();
    assert_eq!(before, listing(&second));
    assert!(changes.contains(b"many/7"));
}
