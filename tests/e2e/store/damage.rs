//! What `store verify` finds, and what `store remove` refuses.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, utimensat};

use super::listing::Listing;
use super::shelf::{self, store, stored};
use super::{as_both, as_each, make, role};
use crate::caller::Caller;
use crate::lab::Lab;

const BUSYBOX: &str = "template = \"builtin:busybox\"";

/// Fills the store, and returns the outermost entry.
fn filled(lab: &Lab) -> String {
    let manifest = role::three_layers(lab, BUSYBOX);
    let name = lab.name("first");
    make(lab, &name, &manifest, &["--storage=copy"]);
    lab.destroy(&name);
    shelf::assert_sound(lab);
    stored(lab).pop().expect("something is stored").id
}

/// Turns one bit of a file, and nothing else.
fn flip(path: &Path, at: usize) {
    let metadata = fs::metadata(path).expect("it is there");
    let mut bytes = fs::read(path).expect("root reads all");
    bytes[at] ^= 1;
    fs::write(path, bytes).expect("root writes");
    fs::set_permissions(path, metadata.permissions()).expect("chmod");
    let time = |seconds, nanoseconds| Timespec { tv_sec: seconds, tv_nsec: nanoseconds };
    let times = Timestamps {
        last_access: time(metadata.atime(), metadata.atime_nsec()),
        last_modification: time(metadata.mtime(), metadata.mtime_nsec()),
    };
    utimensat(CWD, path, &times, AtFlags::empty()).expect("root sets times");
}

/// Sees that an entry is not sound, and returns what is found.
#[track_caller]
fn findings(lab: &Lab, id: &str) -> Vec<String> {
    let outcome = store(lab, &["verify", id]).outcome().code(1);
    let short = &id[..8];
    let lines = outcome.stdout.lines().map(|line| {
        line.strip_prefix(short).unwrap_or_else(|| panic!("{outcome}")).trim().to_owned()
    });
    lines.collect()
}

#[test]
fn a_changed_byte_is_found_in_every_file_of_a_tree() {
    as_both(|lab| {
        let id = filled(lab);
        let tree = shelf::tree(lab, &id);
        let listing = Listing::of(&tree);
        let files: Vec<_> = listing.files().map(Path::to_path_buf).collect();
        let filled: Vec<_> = files
            .iter()
            .filter(|path| fs::metadata(tree.join(path)).is_ok_and(|metadata| metadata.len() > 0))
            .collect();
        assert!(filled.len() > 5, "{files:?}");
        let mut done = Vec::new();
        for path in filled {
            let file = tree.join(path);
            let metadata = fs::metadata(&file).expect("it is there");
            // Of two names of one file, a second turn would be the way back.
            if done.contains(&metadata.ino()) {
                continue;
            }
            done.push(metadata.ino());
            let last = usize::try_from(metadata.len()).expect("it is small") - 1;
            for at in if done.len() == 1 { vec![0, last / 2, last] } else { vec![last] } {
                flip(&file, at);
                let found = findings(lab, &id);
                let shown = format!("/{}: changed: ", path.display());
                assert!(found.iter().any(|line| line.starts_with(&shown)), "{shown} {found:?}");
                flip(&file, at);
            }
        }
        assert_eq!(listing, Listing::of(&tree));
        shelf::assert_sound(lab);
    });
}

#[test]
fn what_is_changed_removed_or_added_is_found() {
    as_each(&[], |lab| {
        let id = filled(lab);
        let tree = shelf::tree(lab, &id);
        let base = tree.join("etc/role/base.conf");
        let permissions = fs::metadata(&base).expect("it is there").permissions();

        fs::set_permissions(&base, fs::Permissions::from_mode(0o4644)).expect("chmod");
        assert_eq!(findings(lab, &id), ["/etc/role/base.conf: changed: mode"]);
        fs::set_permissions(&base, permissions).expect("chmod");
        shelf::assert_sound(lab);

        std::os::unix::fs::chown(&base, Some(lab.id(1)), None).expect("root gives files away");
        assert_eq!(findings(lab, &id), ["/etc/role/base.conf: changed: owner"]);
        std::os::unix::fs::chown(&base, Some(lab.id(0)), None).expect("root gives files away");
        shelf::assert_sound(lab);

        let aside = lab.path("work/aside");
        fs::rename(tree.join("etc/role/libs.conf"), &aside).expect("it is moved");
        let found = findings(lab, &id);
        assert!(found.contains(&"/etc/role/libs.conf: it is missing".to_owned()), "{found:?}");
        fs::rename(&aside, tree.join("etc/role/libs.conf")).expect("it is moved");

        fs::write(tree.join("etc/role/added"), "").expect("root writes");
        let found = findings(lab, &id);
        let added = "/etc/role/added: it was not there when it was stored".to_owned();
        assert!(found.contains(&added), "{found:?}");
        fs::remove_file(tree.join("etc/role/added")).expect("root removes");

        let link = tree.join("etc/role/link");
        let target = fs::read_link(&link).expect("it is a link");
        fs::remove_file(&link).expect("root removes");
        std::os::unix::fs::symlink("/elsewhere", &link).expect("root links");
        let found = findings(lab, &id);
        assert!(
            found.iter().any(|line| line.starts_with("/etc/role/link: changed: ")),
            "{found:?}"
        );
        assert_ne!(target, PathBuf::from("/elsewhere"));
    });
}

#[test]
fn a_changed_byte_is_found_in_document_and_listing() {
    let Some(lab) = Lab::open(Caller::Root, &[]) else {
        return;
    };
    let id = filled(&lab);
    for (kind, positions) in [("entries", 24), ("lists", 24)] {
        let file = shelf::meta(&lab).join(kind).join(&id);
        let length =
            usize::try_from(fs::metadata(&file).expect("it is there").len()).expect("fits");
        let steps = (0..positions).map(|step| step * (length - 1) / (positions - 1));
        // The digest in front of a document is a byte after the other, and so is its end.
        for at in steps.chain([1, 63, 64, 70, 71, 72]).filter(|at| *at < length) {
            flip(&file, at);
            let found = findings(&lab, &id);
            assert_eq!(found.len(), 1, "{kind} {at}: {found:?}");
            flip(&file, at);
        }
    }
    shelf::assert_sound(&lab);
}

#[test]
fn a_damaged_entry_is_made_anew() {
    as_both(|lab| {
        let damaged = filled(lab);
        let manifest = lab.path("work/role.toml");
        flip(&shelf::meta(lab).join("entries").join(&damaged), 200);
        let name = lab.name("second");
        let outcome = make(lab, &name, &manifest, &["--storage=overlay"]);
        assert!(outcome.stderr.contains(&damaged[..8]), "{outcome}");
        assert_whole(lab, &name);
        let newest = stored(lab).pop().expect("something is stored").id;
        assert_ne!(newest, damaged);
        store(lab, &["verify", &newest]).outcome().success();
        store(lab, &["remove", &damaged]).outcome().success();
        shelf::assert_sound(lab);
    });
}

/// It is what saves the reading of files that have not changed.
#[test]
fn a_layer_is_made_on_one_whose_listing_is_damaged() {
    as_both(|lab| {
        let outermost = filled(lab);
        let manifest = lab.path("work/role.toml");
        store(lab, &["remove", &outermost]).outcome().success();
        let damaged = stored(lab).pop().expect("something is stored").id;
        flip(&shelf::meta(lab).join("lists").join(&damaged), 200);
        let name = lab.name("second");
        make(lab, &name, &manifest, &["--storage=copy"]);
        assert_whole(lab, &name);
        let newest = stored(lab).pop().expect("something is stored").id;
        store(lab, &["verify", &newest]).outcome().success();
        store(lab, &["verify", &damaged]).outcome().code(1);
    });
}

#[track_caller]
fn assert_whole(lab: &Lab, name: &str) {
    let tree = super::seen::listing(lab, name);
    assert_eq!(tree.text("opt/tree/gone/new"), "new\n");
    assert_eq!(tree.text("etc/hostname"), format!("{name}\n"));
    assert_eq!(tree.text("etc/mailname"), format!("{name}\n"));
    assert!(!tree.has("opt/tree/removed"));
    lab.destroy(name);
}

#[test]
fn what_a_container_stands_on_is_not_removed() {
    as_each(&[], |lab| {
        let manifest = role::three_layers(lab, BUSYBOX);
        let name = lab.name("standing");
        make(lab, &name, &manifest, &["--storage=overlay"]);
        let entries = stored(lab);
        let outermost = entries.last().expect("something is stored");
        let config = lab.container(&name, "config").display().to_string();
        assert_eq!(outermost.users, std::slice::from_ref(&config), "{:?}", lab.caller);
        let outcome = store(lab, &["remove", &outermost.id[..8]]).outcome().code(8);
        assert!(
            outcome.stderr.contains(&format!("is in use by container `{name}` (")),
            "{outcome}"
        );
        assert!(outcome.stderr.contains(&config), "{outcome}");
        assert_eq!(stored(lab), entries);
        lab.destroy(&name);
        // It may have been moved.
        store(lab, &["remove", &outermost.id[..8]]).outcome().code(8);
        store(lab, &["remove", "--forget", &outermost.id[..8]]).outcome().success();
        assert_eq!(stored(lab), entries[..entries.len() - 1]);
        shelf::assert_tidy(lab);
        shelf::assert_sound(lab);

        store(lab, &["remove", &outermost.id[..8]]).outcome().code(2);
        store(lab, &["remove", "no-entry"]).outcome().code(2);
        let rest: Vec<_> = entries[..3].iter().map(|entry| entry.id.as_str()).collect();
        store(lab, &["remove"]).args(rest).outcome().success();
        assert_eq!(stored(lab), []);
        shelf::assert_tidy(lab);
    });
}
