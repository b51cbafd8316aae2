//! What a copy shares with its base again, and what it must not.

use std::fs;
use std::io::{ErrorKind, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use super::super::{Interrupt, copy, relink};
use super::scratch::{Scratch, is_root, listing, open, skipped};
use super::torture;
use crate::tree::Marks;

/// A base, and a copy of it.
struct Copied {
    scratch: Scratch,
    base: PathBuf,
    tree: PathBuf,
}

impl Copied {
    fn of(plant: impl FnOnce(&Path)) -> Self {
        let scratch = Scratch::new();
        let [base, tree] = ["base", "tree"].map(|name| scratch.directory(name));
        plant(&base);
        copy((open(&base).as_fd(), Marks::Plain), open(&tree).as_fd(), &[], Interrupt::NEVER)
            .unwrap();
        Self { scratch, base, tree }
    }

    /// Shares what can be shared, and sees that nothing else changes.
    fn relink(&self) {
        let [before, now] = [&self.base, &self.tree].map(|tree| listing(tree));
        let [base, tree] = [&self.base, &self.tree].map(|path| open(path));
        let trees = ((base.as_fd(), &before), (tree.as_fd(), &now));
        relink(trees.0, trees.1, Interrupt::NEVER).unwrap();
        assert_eq!(now, listing(&self.tree));
        assert_eq!(before, listing(&self.base));
    }

    fn is_shared(&self, path: &str) -> bool {
        let [base, tree] = [&self.base, &self.tree]
            .map(|tree| fs::symlink_metadata(tree.join(path)).unwrap().ino());
        base == tree
    }
}

fn plant(top: &Path, files: &[&str]) {
    for file in files {
        let path = top.join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, file).unwrap();
    }
}

#[test]
fn a_tree_with_everything_is_shared_and_stays_as_it_is() {
    let copied = Copied::of(torture::plant);
    copied.relink();
    for path in ["plain", "large", "linked", "a/b/linked", "fifo", "z/fifo", "link", "many/7"] {
        assert!(copied.is_shared(path), "{path}");
    }
    // Once more there is nothing to do.
    copied.relink();
}

#[test]
fn nothing_is_shared_where_programs_look() {
    let copied = Copied::of(|base| {
        plant(base, &["etc/a", "var/log/b", "root/c", "usr/both", "usr/d", "var/lib/e", "var/f"]);
        fs::hard_link(base.join("usr/both"), base.join("etc/both")).unwrap();
    });
    copied.relink();
    for path in ["etc/a", "var/log/b", "root/c", "usr/both", "etc/both"] {
        assert!(!copied.is_shared(path), "{path}");
    }
    for path in ["usr/d", "var/lib/e", "var/f"] {
        assert!(copied.is_shared(path), "{path}");
    }
}

#[test]
fn what_changed_is_not_shared() {
    let copied = Copied::of(|base| {
        plant(base, &["a/same", "a/bytes", "a/mode", "a/time", "b/more", "b/fewer", "b/was-file"]);
        for name in ["more", "fewer"] {
            fs::hard_link(base.join("b").join(name), base.join("a").join(name)).unwrap();
        }
        symlink("one", base.join("a/link")).unwrap();
    });
    let at = |path: &str| copied.tree.join(path);
    // The times tell nothing.
    let time = fs::metadata(at("a/bytes")).unwrap().modified().unwrap();
    fs::write(at("a/bytes"), "A/bytes").unwrap();
    fs::File::options().write(true).open(at("a/bytes")).unwrap().set_modified(time).unwrap();
    let mut permissions = fs::metadata(at("a/mode")).unwrap().permissions();
    permissions.set_readonly(true);
    fs::set_permissions(at("a/mode"), permissions).unwrap();
    let earlier = time - std::time::Duration::from_nanos(1);
    fs::File::options().write(true).open(at("a/time")).unwrap().set_modified(earlier).unwrap();
    fs::hard_link(at("b/more"), at("a/yet-more")).unwrap();
    fs::remove_file(at("b/fewer")).unwrap();
    fs::remove_file(at("a/link")).unwrap();
    symlink("two", at("a/link")).unwrap();
    copied.relink();
    for path in ["a/bytes", "a/mode", "a/time", "a/more", "b/more", "a/fewer", "a/link"] {
        assert!(!copied.is_shared(path), "{path}");
    }
    assert!(copied.is_shared("a/same") && copied.is_shared("b/was-file"));
}

#[test]
fn a_base_that_is_not_as_listed_is_left_alone() {
    let copied = Copied::of(|base| plant(base, &["a", "b"]));
    let before = listing(&copied.base);
    fs::write(copied.base.join("a"), "longer than it was").unwrap();
    let now = listing(&copied.tree);
    let [base, tree] = [&copied.base, &copied.tree].map(|path| open(path));
    let (base, tree) = ((base.as_fd(), &before), (tree.as_fd(), &now));
    relink(base, tree, Interrupt::NEVER).unwrap();
    assert!(!copied.is_shared("a") && copied.is_shared("b"));
    assert_eq!(now, listing(&copied.tree));
}

#[test]
fn names_of_a_file_stay_together_where_one_cannot_be_replaced() {
    if !root_with_attributes() {
        return;
    }
    let copied = Copied::of(|base| {
        plant(base, &["a/one", "b/other", "z/last"]);
        for path in ["b/two", "z/three"] {
            fs::hard_link(base.join("a/one"), base.join(path)).unwrap();
        }
    });
    let shut = copied.tree.join("z");
    attribute("+i", &shut);
    let relinked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| copied.relink()));
    attribute("-i", &shut);
    relinked.unwrap();
    let [one, two, three] = ["a/one", "b/two", "z/three"]
        .map(|path| fs::metadata(copied.tree.join(path)).unwrap().ino());
    assert_eq!([two, three], [one; 2]);
    assert!(!copied.is_shared("a/one") && !copied.is_shared("z/last"));
    assert!(copied.is_shared("b/other"));
}

#[test]
fn sharing_ends_once_interrupted() {
    let copied = Copied::of(|base| plant(base, &["a/one"]));
    let [before, now] = [&copied.base, &copied.tree].map(|tree| listing(tree));
    let [base, tree] = [&copied.base, &copied.tree].map(|path| open(path));
    let (heard, mut writer) = std::io::pipe().unwrap();
    writer.write_all(b"!").unwrap();
    let (base, tree) = ((base.as_fd(), &before), (tree.as_fd(), &now));
    let ended = relink(base, tree, Interrupt::of(heard.as_fd()));
    assert_eq!(ended.unwrap_err().kind(), ErrorKind::Interrupted);
    assert!(copied.scratch.path().exists());
}

/// Whether this is root on a filesystem that keeps attributes of files.
fn root_with_attributes() -> bool {
    let scratch = Scratch::new();
    let path = scratch.directory("tried");
    let can = is_root() && attribute("+i", &path) && attribute("-i", &path);
    if !can {
        skipped("no attributes can be set here");
    }
    can
}

fn attribute(change: &str, path: &Path) -> bool {
    Command::new("chattr").arg(change).arg(path).output().is_ok_and(|run| run.status.success())
}
