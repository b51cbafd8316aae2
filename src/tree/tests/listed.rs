//! What a listing finds, and how it is written.

use std::fs;
use std::io::Write;
use std::os::fd::AsFd;
use std::os::unix::fs::{PermissionsExt, lchown, symlink};
use std::path::Path;
use std::time::{Duration, SystemTime};

use rustix::fs::{XattrFlags, setxattr};

use super::super::listing::Change;
use super::super::{
    Baseline, Changes, Difference, Form, Interrupt, Listing, OccurrenceKind, merge,
};
use super::scratch::{Scratch, is_root, listing, open, skipped};
use super::torture;
use crate::tree::{Listed, Marks, Search};

fn written(listing: &Listing) -> Vec<u8> {
    let mut bytes = Vec::new();
    listing.write(&mut bytes).unwrap();
    bytes
}

/// Returns what is wrong with one path, and that nothing else is.
fn wrong(listing: &Listing, tree: &Path, path: &str) -> Vec<&'static str> {
    let mut findings = listing.verify(open(tree).as_fd(), Marks::Plain).unwrap();
    findings.retain(|finding| !finding.path.is_empty());
    match findings.as_slice() {
        [] => Vec::new(),
        [Change { path: found, difference: Difference::Changed(what) }]
            if found == path.as_bytes() =>
        {
            what.clone()
        }
        other => panic!("{other:?}"),
    }
}

fn touch(path: &Path, nanoseconds: u64) {
    let time = SystemTime::UNIX_EPOCH + Duration::from_nanos(nanoseconds);
    fs::File::open(path).unwrap().set_modified(time).unwrap();
}

#[test]
fn every_flipped_byte_is_found() {
    let scratch = Scratch::new();
    let tree = scratch.directory("tree");
    let file = tree.join("file");
    let bytes = *b"all of these bytes";
    fs::write(&file, bytes).unwrap();
    touch(&file, 5);
    let listed = listing(&tree);
    for index in 0..bytes.len() {
        let mut flipped = bytes;
        flipped[index] ^= 1 << (index % 8);
        fs::write(&file, flipped).unwrap();
        touch(&file, 5);
        assert_eq!(wrong(&listed, &tree, "file"), ["bytes"]);
    }
    fs::write(&file, bytes).unwrap();
    touch(&file, 5);
    assert_eq!(wrong(&listed, &tree, "file"), [""; 0]);
}

#[test]
fn every_changed_attribute_is_found() {
    let scratch = Scratch::new();
    let tree = scratch.directory("tree");
    let file = tree.join("file");
    fs::create_dir(tree.join("d")).unwrap();
    for path in ["file", "other", "d/in"] {
        fs::write(tree.join(path), "x").unwrap();
    }
    symlink("one", tree.join("link")).unwrap();
    let listed = listing(&tree);
    let set_mode = |path: &Path, mode| {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    };
    set_mode(&file, 0o4711);
    assert_eq!(wrong(&listed, &tree, "file"), ["mode"]);
    let listed = listing(&tree);
    touch(&file, 1);
    assert_eq!(wrong(&listed, &tree, "file"), ["mtime"]);
    let listed = listing(&tree);
    touch(&tree.join("d"), 1);
    assert_eq!(wrong(&listed, &tree, "d"), ["mtime"]);
    if is_root() {
        let listed = listing(&tree);
        lchown(tree.join("link"), Some(3), Some(4)).unwrap();
        assert_eq!(wrong(&listed, &tree, "link"), ["owner"]);
    }
    set_mode(&file, 0o644);
    let listed = listing(&tree);
    if setxattr(&file, "user.x", b"1", XattrFlags::empty()).is_ok() {
        assert_eq!(wrong(&listed, &tree, "file"), ["xattrs"]);
        let listed = listing(&tree);
        setxattr(&file, "user.x", b"2", XattrFlags::empty()).unwrap();
        assert_eq!(wrong(&listed, &tree, "file"), ["xattrs"]);
    } else {
        skipped("no extended attributes here");
    }
    let listed = listing(&tree);
    fs::remove_file(tree.join("link")).unwrap();
    symlink("two", tree.join("link")).unwrap();
    assert!(wrong(&listed, &tree, "link").contains(&"target"));
    let listed = listing(&tree);
    fs::remove_file(tree.join("other")).unwrap();
    fs::hard_link(&file, tree.join("other")).unwrap();
    assert!(wrong(&listed, &tree, "other").contains(&"links"));

    let listed = listing(&tree);
    fs::remove_file(tree.join("d/in")).unwrap();
    fs::remove_dir(tree.join("d")).unwrap();
    fs::create_dir(tree.join("e")).unwrap();
    fs::write(tree.join("e/in"), "x").unwrap();
    let mut findings = listed.verify(open(&tree).as_fd(), Marks::Plain).unwrap();
    findings.retain(|finding| !finding.path.is_empty());
    let found: Vec<_> = findings
        .into_iter()
        .map(|Change { path, difference }| (String::from_utf8(path).unwrap(), difference))
        .collect();
    let expected = [
        ("d", Difference::Missing),
        ("d/in", Difference::Missing),
        ("e", Difference::Unexpected),
        ("e/in", Difference::Unexpected),
    ];
    assert_eq!(found, expected.map(|(path, difference)| (path.to_owned(), difference)));
}

#[test]
fn what_was_written_is_read() {
    let scratch = Scratch::new();
    let tree = scratch.directory("tree");
    torture::plant(&tree);
    let listed = listing(&tree);
    let bytes = written(&listed);
    assert_eq!(Listing::read(bytes.as_slice()).unwrap(), listed);
    assert!(listed.paths().any(|path| path.starts_with(b"long/") && path.len() > 4096));
    for length in [0, 1, 27, 28, 40, bytes.len() / 2, bytes.len() - 1] {
        assert!(Listing::read(&bytes[..length]).is_err(), "{length}");
    }
}

/// Writes lines as a listing that has not been damaged on the way.
fn forged(lines: &str) -> Vec<u8> {
    let digest = crate::digest::Digest::of(lines.as_bytes()).to_string();
    let mut bytes = b"layered-template listing 2\n".to_vec();
    let mut deflated = flate2::write::DeflateEncoder::new(&mut bytes, flate2::Compression::fast());
    writeln!(deflated, "{lines}end\t{}", &digest["sha256:".len()..]).unwrap();
    deflated.finish().unwrap();
    bytes
}

#[test]
fn a_listing_of_no_tree_is_refused() {
    let top = "d\t0\t755\t0\t0\t1\t0\t-\t\n";
    let name = |depth: u32, name: &str| format!("p\t{depth}\t644\t0\t0\t1\t0\t-\t{name}\n");
    assert!(Listing::read(forged(top).as_slice()).is_ok());
    assert!(Listing::read(forged(&format!("{top}{}", name(1, "a"))).as_slice()).is_ok());
    let strange = [
        name(1, ""),
        name(1, ".."),
        name(1, "a%2fb"),
        name(1, "a%00b"),
        name(1, "%4"),
        name(1, "%zz"),
        name(0, "a"),
        name(2, "a"),
        name(u32::MAX, "a"),
        name(1, "b") + &name(1, "a"),
        name(1, "b") + &name(1, "b"),
        name(1, "b") + &name(2, "a"),
        name(1, "b").replace('\n', "\t=1\n"),
        name(1, "b").replace('\n', "\t=0\n"),
        name(1, "b").replace('\n', "\t=99999999999\n"),
        name(1, "b").replace("644", "77777"),
        name(1, "b").replace("\t0\t-", "\t1000000000\t-"),
        name(1, "b").replace("\t-", "\tabc"),
        name(1, "b").replace('p', "x"),
        name(1, "b").replace('p', "f"),
        "\n".to_owned(),
        "\t\t\t\t\t\t\t\t\t\t\n".to_owned(),
    ];
    for lines in strange {
        let read = Listing::read(forged(&format!("{top}{lines}")).as_slice());
        assert!(read.is_err(), "{lines:?}");
    }
    assert!(Listing::read(forged("").as_slice()).is_err());
}

#[test]
fn no_line_is_so_strange_that_it_is_not_refused_or_read() {
    let digest = "ab".repeat(32);
    let lines = format!(
        "d\t0\t755\t0\t0\t-1\t0\t-\t\n\
         f\t1\t644\t0\t0\t1\t0\t{digest}\ta%20\t3\t{digest}\n\
         f\t1\t644\t0\t0\t1\t0\t-\tb\t=1\n\
         d\t1\t755\t0\t0\t1\t999\t-\tc\n\
         l\t2\t777\t0\t0\t1\t0\t-\td\t%3d\n\
         c\t1\t666\t0\t0\t1\t0\t-\te\t259\n"
    );
    let listed = Listing::read(forged(&lines).as_slice()).unwrap();
    assert_eq!(listed.paths().collect::<Vec<_>>(), [&b"a "[..], b"b", b"c", b"c/d", b"e"]);
    assert_eq!(Listing::read(written(&listed).as_slice()).unwrap(), listed);
    for index in 0..lines.len() {
        for letter in ['\0', '\t', '\n', '=', '%', '9', '-', 'f', '\u{e4}'] {
            let mut strange = lines.clone();
            strange.replace_range(index..=index, &letter.to_string());
            if let Ok(read) = Listing::read(forged(&strange).as_slice()) {
                // What was read is a listing as any other.
                assert_eq!(Listing::read(written(&read).as_slice()).unwrap(), read);
            }
        }
    }
}

#[test]
fn a_name_is_found_wherever_it_is_and_so_is_a_part_of_it() {
    let scratch = Scratch::new();
    let tree = scratch.directory("tree");
    let needle = b"first5-placeholder";
    let search = Search::new("first5-placeholder").unwrap();
    for shift in [0, 1, 7, needle.len() - 1, needle.len()] {
        let mut bytes = vec![b'x'; 256 * 1024 - shift];
        bytes.extend_from_slice(needle);
        fs::write(tree.join(format!("border-{shift:02}")), bytes).unwrap();
    }
    fs::write(tree.join("binary"), [b"\0", &needle[..]].concat()).unwrap();
    fs::write(tree.join("nearly"), &needle[1..needle.len() - 1]).unwrap();
    fs::write(tree.join("part"), "node=PLACEHOLDER\n").unwrap();
    fs::hard_link(tree.join("binary"), tree.join("same")).unwrap();
    symlink("/x/first5-placeholder/y", tree.join("link")).unwrap();
    let Listed { listing: listed, places, .. } = Listing::of(
        open(&tree).as_fd(),
        Baseline::Nothing,
        &search,
        Marks::Plain,
        Interrupt::NEVER,
    )
    .unwrap();
    let found: Vec<_> =
        places.iter().map(|place| (str::from_utf8(&place.path).unwrap(), place.kind)).collect();
    let borders = ["border-00", "border-01", "border-07", "border-17", "border-18"];
    let mut expected = vec![("binary", OccurrenceKind::Binary)];
    expected.extend(borders.map(|name| (name, OccurrenceKind::Text)));
    expected.extend([
        ("link", OccurrenceKind::Symlink),
        ("part", OccurrenceKind::Part),
        ("same", OccurrenceKind::Binary),
    ]);
    assert_eq!(found, expected);

    // What has not changed is not read again.
    fs::write(tree.join("new"), needle).unwrap();
    let changes = Changes::default();
    let parent = Baseline::Parent(&listed, &changes);
    let Listed { listing: again, places, .. } =
        Listing::of(open(&tree).as_fd(), parent, &search, Marks::Plain, Interrupt::NEVER).unwrap();
    assert_eq!(again, listing(&tree));
    assert_eq!(places.iter().map(|place| &place.path[..]).collect::<Vec<_>>(), [b"new"]);
}

#[test]
fn what_changed_is_read_though_its_attributes_are_the_same() {
    let scratch = Scratch::new();
    let [base, upper, to] = ["base", "upper", "to"].map(|name| scratch.directory(name));
    for (path, bytes) in [("same", "1"), ("sly", "1")] {
        fs::write(base.join(path), bytes).unwrap();
        touch(&base.join(path), 9);
    }
    fs::write(upper.join("sly"), "2").unwrap();
    touch(&upper.join("sly"), 9);
    let parent = listing(&base);
    let (one, other) = (open(&base), open(&upper));
    let changes =
        merge(Some(one.as_fd()), other.as_fd(), open(&to).as_fd(), Form::User, Interrupt::NEVER)
            .unwrap();
    let now = Listing::of(
        open(&to).as_fd(),
        Baseline::Parent(&parent, &changes),
        &Search::NOTHING,
        Marks::Plain,
        Interrupt::NEVER,
    )
    .unwrap()
    .listing;
    assert_eq!(now, listing(&to));
}
