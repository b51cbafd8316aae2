//! Layers that are made to do harm, and what becomes of them.

use std::fs;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, symlink};
use std::path::Path;

use rustix::fs::{AtFlags, CWD, FileType, Mode, Timespec, Timestamps, mknodat, utimensat};

use super::scratch::{Scratch, is_root, listing, open, skipped};
use super::tarball::{BLOCK, Block, Tarball, record};
use super::torture;
use crate::store::tests::namespace::{self, Who};
use crate::tree::{
    Devices, Interrupt, LeftOutKind, Limits, UnpackError, Unpacked, decoded, unpack,
};

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

/// Paths and links that lead elsewhere.
fn of_paths() -> Vec<Case> {
    let long = "n".repeat(256);
    let deep = "d/".repeat(4097) + "f";
    let way = "d/".repeat(1200) + "f";
    let path = format!("{0}/{0}/", "w".repeat(200)).repeat(20) + "f";
    let (long, deep, way) = (long.as_bytes(), deep.as_bytes(), way.as_bytes());
    vec![
        ("absolute", tar().file("/etc/new", "n").end(), Laid(&["etc/new=n", "etc@1111"])),
        ("absolute twice", tar().file("//etc//./new", "n").end(), Laid(&["etc/new=n"])),
        ("upwards", tar().file("../outside/canary", "x").end(), Refused("`..`")),
        ("upwards within", tar().file("etc/../passwd", "x").end(), Refused("`..`")),
        ("upwards at the end", tar().directory("etc/..").end(), Refused("`..`")),
        ("only dots", tar().file("./.", "x").end(), Refused("the tree itself")),
        ("slash", tar().file("/", "").end(), Laid(&["etc/"])),
        ("the top as a link", tar().symlink("./", "../outside").end(), Refused("the tree itself")),
        ("the top", tar().directory("./").end(), Laid(&[".@1000000000", ".#755"])),
        ("no name", tar().file("", "x").end(), Refused("no name")),
        (
            "through a link",
            tar().file("lib/y", "x").end(),
            Refused("`lib` on its way is a symbolic"),
        ),
        ("through a link out", tar().file("out/canary", "x").end(), Refused("`out` on its way")),
        (
            "through a link of its own",
            tar().symlink("m", "../outside").file("m/new", "x").end(),
            Refused("`m` on its way is a symbolic link"),
        ),
        (
            "through an absolute link of its own",
            tar().symlink("m", "/").file("m/new", "x").end(),
            Refused("`m` on its way"),
        ),
        ("through a circle", tar().file("loop/x", "x").end(), Refused("`loop` on its way")),
        ("through a file", tar().file("etc/passwd/x", "x").end(), Refused("is not a directory")),
        ("through a fifo", tar().file("fifo/x", "x").end(), Refused("is not a directory")),
        ("over a link", tar().file("canary", "new").end(), Laid(&["canary=new"])),
        (
            "a directory over a link",
            tar().directory("out").file("out/new", "x").end(),
            Laid(&["out/", "out/new=x"]),
        ),
        ("a directory over a circle", tar().directory("loop").end(), Laid(&["loop/"])),
        ("over a fifo", tar().file("fifo", "new").end(), Laid(&["fifo=new"])),
        (
            "over a file that is shared",
            tar().file("etc/other", "new").end(),
            Laid(&["etc/other=new", "etc@1111"]),
        ),
        (
            "a link over a file that is shared",
            tar().symlink("etc/other", "passwd").end(),
            Laid(&["etc/other->passwd"]),
        ),
        ("a file over a directory", tar().file("full", "new").end(), Laid(&["full=new"])),
        ("a file over a shut directory", tar().file("shut", "new").end(), Laid(&["shut=new"])),
        ("a directory over a file", tar().directory("etc/passwd").end(), Laid(&["etc/passwd/"])),
        ("a link out", tar().symlink("new", "../../../etc").end(), Laid(&["new->../../../etc"])),
        (
            "a link to nothing",
            tar().edited(b'2', "new", b"", |_| {}).end(),
            Refused("without a target"),
        ),
        (
            "a long name",
            tar().pax(&[("path", long)]).file("x", "x").end(),
            Refused("more than 255"),
        ),
        (
            "many levels",
            tar().pax(&[("path", deep)]).file("x", "x").end(),
            Refused("more than 4096"),
        ),
        ("1200 levels", tar().pax(&[("path", way)]).file("x", "x").end(), Laid(&["d/d/d/d/"])),
        ("8000 bytes", tar().pax(&[("path", path.as_bytes())]).file("x", "x").end(), Laid(&[])),
        (
            "bytes that are no letters",
            tar().pax(&[("path", b"\xff\xfe\n")]).file("x", "x").end(),
            Laid(&[]),
        ),
        ("a name as an option", tar().file("-rf", "x").end(), Laid(&["-rf=x"])),
        (
            "a NUL in a name",
            tar().pax(&[("path", b"etc/a\0b")]).file("x", "x").end(),
            Refused("a NUL"),
        ),
        (
            "a NUL in a target",
            tar().pax(&[("linkpath", b"a\0b")]).symlink("x", "x").end(),
            Refused("a NUL"),
        ),
        (
            "a new name behind one",
            tar().pax(&[("path", b"../x")]).file("x", "x").end(),
            Refused("`..`"),
        ),
        (
            "GNU's long name upwards",
            tar().edited(b'L', "L", b"../x\0", |_| {}).file("x", "x").end(),
            Refused("`..`"),
        ),
        (
            "a prefix upwards",
            tar()
                .edited(b'0', "x", b"", |block| {
                    block.put(345, b"../outside");
                })
                .end(),
            Refused("`..`"),
        ),
        (
            "a file below its own file",
            tar().file("new", "x").file("new/y", "x").end(),
            Refused("`new` on its way is not a directory"),
        ),
        (
            "a file and a directory",
            tar().file("new", "x").directory("new").end(),
            Refused("stands twice"),
        ),
        (
            "a directory and a file",
            tar().directory("new").file("new", "x").end(),
            Refused("stands twice"),
        ),
        (
            "an implied directory and a link",
            tar().file("new/x", "x").symlink("new", "../outside").end(),
            Refused("stands twice"),
        ),
        ("a file twice", tar().file("new", "1").file("new", "2").end(), Laid(&["new=2"])),
        (
            "a directory twice",
            tar()
                .directory("new")
                .file("new/x", "x")
                .edited(b'5', "new", b"", |block| {
                    block.octal(100, 7, 0o700);
                })
                .end(),
            Laid(&["new#700", "new/x=x", "new@1000000000"]),
        ),
        (
            "a link and a file",
            tar().symlink("new", "../outside/canary").file("new", "2").end(),
            Laid(&["new=2"]),
        ),
        (
            "no directory above",
            tar().file("p/q/r", "x").end(),
            Laid(&["p/q/r=x", "p#755", "p/q#755", "p@1000000000"]),
        ),
    ]
}

/// Hard links.
fn of_links() -> Vec<Case> {
    let refused = |words| Refused(words);
    vec![
        ("another name", tar().file("new", "x").link("other", "new").end(), Laid(&["new~other"])),
        (
            "another name of what was there",
            tar().link("full/p", "etc/passwd").end(),
            Laid(&["full/p~etc/passwd", "full@1111"]),
        ),
        ("of a link", tar().link("new", "canary").end(), Laid(&["new~canary"])),
        ("of a fifo", tar().link("new", "./fifo").end(), Laid(&["new~fifo"])),
        ("out", tar().link("new", "../outside/canary").end(), refused("no member can have")),
        ("out, absolute", tar().link("new", "/etc/shadow").end(), refused("is not there")),
        (
            "through a link",
            tar().link("new", "lib/x").end(),
            refused("a link or a file on the way"),
        ),
        (
            "through a link out",
            tar().link("new", "out/canary").end(),
            refused("a link or a file on the way"),
        ),
        ("to a directory", tar().link("new", "etc").end(), refused("is a directory")),
        ("to the top", tar().link("new", "./").end(), refused("is a directory")),
        ("to nothing", tar().link("new", "none").end(), refused("is not there")),
        (
            "to itself",
            tar().link("etc/passwd", "etc/./passwd").end(),
            refused("is the link itself"),
        ),
        ("to what is below it", tar().link("full", "full/a").end(), refused("or below it")),
        ("in a circle", tar().link("a", "b").link("b", "a").end(), refused("is not there")),
        (
            "that replaces a directory",
            tar().link("full", "etc/passwd").end(),
            Laid(&["full~etc/passwd"]),
        ),
        (
            "that replaces another name",
            tar().link("etc/passwd", "etc/other").end(),
            Laid(&["etc/passwd~etc/other"]),
        ),
        (
            "and then a new file",
            tar().file("a", "1").link("b", "a").file("b", "2").end(),
            Laid(&["a=1", "b=2"]),
        ),
        (
            "with a mode",
            tar()
                .edited(b'1', "new", b"", |block| {
                    block.put(157, b"etc/other").octal(100, 7, 0o4777).octal(108, 7, 7);
                })
                .end(),
            Laid(&["new~etc/other", "new#644"]),
        ),
        (
            "with bytes",
            tar()
                .edited(b'1', "new", b"0123", |block| {
                    block.put(157, b"etc/other");
                })
                .end(),
            refused("is not a file, and has 4 bytes"),
        ),
    ]
}

/// Marks of what is removed.
fn of_marks() -> Vec<Case> {
    let opaque = "full/.wh..wh..opq";
    vec![
        ("a file", tar().file("etc/.wh.passwd", "").end(), Laid(&["!etc/passwd", "etc@1111"])),
        ("a directory", tar().file(".wh.full", "").end(), Laid(&["!full", ".@1111"])),
        ("a link", tar().file(".wh.out", "").end(), Laid(&["!out"])),
        ("a fifo", tar().file(".wh.fifo", "").end(), Laid(&["!fifo"])),
        ("nothing", tar().file(".wh.none", "").end(), Laid(&["etc/"])),
        ("below nothing", tar().file("none/.wh.x", "").end(), Laid(&["!none"])),
        ("without a name", tar().file("etc/.wh.", "").end(), Refused("names nothing")),
        ("the directory itself", tar().file("etc/.wh..", "").end(), Refused("no name in it")),
        ("the directory above", tar().file("etc/.wh...", "").end(), Refused("no name in it")),
        ("three dots", tar().file("etc/.wh....", "").end(), Laid(&["etc/passwd=etc/passwd"])),
        ("through a link", tar().file("out/.wh.canary", "").end(), Refused("`out` on its way")),
        (
            "emptied through a link",
            tar().file("out/.wh..wh..opq", "").end(),
            Refused("`out` on its way"),
        ),
        ("upwards", tar().file("../.wh.outside", "").end(), Refused("`..`")),
        (
            "what it has put there",
            tar().file("new", "").file(".wh.new", "").end(),
            Refused("the same layer has put there"),
        ),
        (
            "what it has replaced",
            tar().file("etc/passwd", "").file("etc/.wh.passwd", "").end(),
            Refused("the same layer has put there"),
        ),
        (
            "where it has put something",
            tar().file("full/new", "").file(".wh.full", "").end(),
            Refused("the same layer has put there"),
        ),
        (
            "and then something new",
            tar().file(".wh.full", "").file("full/new", "x").end(),
            Laid(&["full/new=x", "!full/a"]),
        ),
        ("twice", tar().file(".wh.full", "").file(".wh.full", "").end(), Laid(&["!full"])),
        ("with bytes", tar().file("etc/.wh.passwd", "x").end(), Refused("not an empty file")),
        ("as a directory", tar().directory("etc/.wh.passwd").end(), Refused("not an empty file")),
        ("as a link", tar().symlink("etc/.wh.passwd", "x").end(), Refused("not an empty file")),
        (
            "as a device",
            tar().edited(b'3', "etc/.wh.passwd", b"", |_| {}).end(),
            Refused("not an empty file"),
        ),
        ("on the way", tar().file(".wh.x/y", "").end(), Refused("only marks of what is removed")),
        ("of a mark", tar().file(".wh..wh.x", "").end(), Refused("only marks of what is removed")),
        ("of another's mark", tar().file(".wh..wh.plnk", "").end(), Refused("only marks")),
        ("as a target", tar().link("new", ".wh.x").end(), Refused("is not there")),
        (
            "emptied",
            tar().directory("full").file(opaque, "").end(),
            Laid(&["full/", "!full/a", "!full/sub"]),
        ),
        ("emptied alone", tar().file(opaque, "").end(), Laid(&["!full/a", "full@1111"])),
        (
            "emptied twice",
            tar().file(opaque, "").file("full/x", "x").file(opaque, "").end(),
            Laid(&["full/x=x", "!full/a"]),
        ),
        (
            "emptied at the end",
            tar().file("full/a", "new").file("full/sub/new", "n").file(opaque, "").end(),
            Laid(&[
                "full/a=new",
                "full/sub/new=n",
                "!full/sub/b",
                "!full/sub/deep",
                "full/sub@1111",
            ]),
        ),
        ("emptied, nothing there", tar().file("none/.wh..wh..opq", "").end(), Laid(&["!none"])),
        (
            "emptied at the top",
            tar().file(".wh..wh..opq", "").end(),
            Laid(&["!etc", "!usr", "!out", ".@1111"]),
        ),
        (
            "an emptied file",
            tar().file("etc/passwd/.wh..wh..opq", "").end(),
            Refused("is not a directory"),
        ),
    ]
}

/// Archives that are not what they say.
fn of_archives() -> Vec<Case> {
    let file = |edit: fn(&mut Block)| tar().edited(b'0', "new", b"text", edit).end();
    let pax = |records: &[(&str, &[u8])]| tar().pax(records).file("x", "text").end();
    let raw_pax = |records: &[u8]| tar().edited(b'x', "p", records, |_| {}).file("x", "text").end();
    let cut = |archive: Tarball, length: usize| Tarball(archive.0[..length].to_vec());
    let whole = tar().file("new", "text").end();
    // The bytes of one member are a whole archive of others.
    let within = tar().file("../../evil", "x").0;
    vec![
        ("nothing", tar(), Refused("no end")),
        ("only an end", tar().end(), Laid(&["etc/"])),
        ("half an end", tar().raw(&[0; BLOCK]), Laid(&["etc/"])),
        ("a long end", tar().raw(&[0; 20 * BLOCK]), Laid(&["etc/"])),
        ("cut in a header", cut(whole.clone(), 100), Refused("ends within a block")),
        ("cut in bytes", cut(whole.clone(), BLOCK + 2), Refused("ends within the bytes of a file")),
        ("cut in padding", cut(whole.clone(), BLOCK + 100), Refused("ends within a block")),
        ("cut before the end", cut(whole.clone(), 2 * BLOCK), Refused("no end")),
        ("cut in the end", cut(whole.clone(), 2 * BLOCK + 100), Refused("ends within a block")),
        (
            "cut in a pax header",
            cut(pax(&[("comment", b"x")]), BLOCK + 9),
            Refused("an extended header"),
        ),
        ("something behind it", tar().end().file("new", "x").end(), Refused("behind the end")),
        (
            "something behind one block",
            tar().raw(&[0; BLOCK]).file("new", "x").end(),
            Refused("behind the end"),
        ),
        ("one letter behind it", tar().end().raw(b"x"), Refused("ends within a block")),
        (
            "a checksum",
            tar()
                .raw(&{
                    let mut block = Block::new(b'0', "new").sealed();
                    block[0] = b'm';
                    block
                })
                .end(),
            Refused("the checksum of the header is not"),
        ),
        (
            "no checksum",
            tar()
                .raw(&{
                    let mut block = Block::new(b'0', "new").sealed();
                    block[148..156].fill(0);
                    block
                })
                .end(),
            Refused("the checksum of the header is not 0"),
        ),
        ("noise", tar().raw(&[b'7'; BLOCK]).end(), Refused("checksum")),
        (
            "too long a file",
            tar()
                .edited(b'0', "new", b"text", |block| {
                    block.size(1 << 30);
                })
                .end(),
            Refused("ends within the bytes of a file"),
        ),
        (
            "too short a file",
            tar()
                .edited(b'0', "new", &within, |block| {
                    block.size(0);
                })
                .end(),
            Refused("`..`"),
        ),
        (
            "a pax size that hides a member",
            tar().pax(&[("size", b"512")]).file("new", "").file("../x", "").end(),
            Laid(&["!x"]),
        ),
        (
            "a pax size that shows one",
            tar().pax(&[("size", b"0")]).edited(b'0', "new", &within, |_| {}).end(),
            Refused("`..`"),
        ),
        (
            "a huge size",
            file(|block| {
                block.octal(124, 11, 0o77_777_777_777);
            }),
            Refused("ends within the bytes"),
        ),
        (
            "a huge binary size",
            file(|block| {
                block.put(124, &[0x80, 0, 0, 0, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]);
            }),
            Refused("ends within the bytes"),
        ),
        (
            "a size of 2^63",
            file(|block| {
                block.put(124, &[0x80, 0, 0, 0, 0x80, 0, 0, 0, 0, 0, 0, 0]);
            }),
            Refused("the size is 9223372036854775808"),
        ),
        ("a huge pax size", pax(&[("size", b"9223372036854775808")]), Refused("the size is 922")),
        (
            "a pax size of many digits",
            pax(&[("size", &[b'9'; 400])]),
            Refused("the size is not a number"),
        ),
        (
            "a negative size",
            file(|block| {
                block.put(124, &[0xff; 12]);
            }),
            Refused("the size is -1"),
        ),
        ("a negative pax size", pax(&[("size", b"-1")]), Refused("the size is -1")),
        (
            "a size of letters",
            file(|block| {
                block.put(124, b"deadbeef\0\0\0\0");
            }),
            Refused("the size is not a number"),
        ),
        (
            "no size",
            file(|block| {
                block.put(124, &[b' '; 12]);
            }),
            Refused("the size is not a number"),
        ),
        (
            "a negative owner",
            file(|block| {
                block.put(108, &[0xff; 8]);
            }),
            Refused("the owner is -1"),
        ),
        ("nobody as owner", pax(&[("uid", b"4294967295")]), Refused("the owner is 4294967295")),
        ("too large an owner", pax(&[("gid", b"4294967296")]), Refused("the group is 4294967296")),
        (
            "a directory with bytes",
            tar().edited(b'5', "new", b"text", |_| {}).end(),
            Refused("has 4 bytes"),
        ),
        (
            "a link with bytes",
            tar()
                .edited(b'2', "new", b"text", |block| {
                    block.put(157, b"x");
                })
                .end(),
            Refused("has 4 bytes"),
        ),
        (
            "a fifo with bytes",
            tar().edited(b'6', "new", b"text", |_| {}).end(),
            Refused("has 4 bytes"),
        ),
        (
            "sparse, as GNU",
            tar().edited(b'S', "new", b"text", |_| {}).end(),
            Refused("without its holes"),
        ),
        ("sparse, as pax", pax(&[("GNU.sparse.major", b"1")]), Refused("without its holes")),
        ("an unknown kind", tar().edited(b'Z', "new", b"", |_| {}).end(), Refused("the kind `Z`")),
        ("a volume", tar().edited(b'V', "new", b"", |_| {}).end(), Refused("the kind `V`")),
        ("a listing", tar().edited(b'D', "new", b"", |_| {}).end(), Refused("the kind `D`")),
        ("a kind of no letter", tar().edited(0xff, "new", b"", |_| {}).end(), Refused("the kind")),
        (
            "a global path",
            tar().edited(b'g', "g", &record("path", b"etc/shadow"), |_| {}).file("new", "x").end(),
            Refused("a global header sets `path`"),
        ),
        (
            "a global size",
            tar().edited(b'g', "g", &record("size", b"0"), |_| {}).end(),
            Refused("a global header sets `size`"),
        ),
        (
            "a global owner",
            tar().edited(b'g', "g", &record("uid", b"0"), |_| {}).end(),
            Refused("a global header sets `uid`"),
        ),
        (
            "a global attribute",
            tar().edited(b'g', "g", &record("SCHILY.xattr.user.x", b"x"), |_| {}).end(),
            Refused("a global header sets"),
        ),
        (
            "a global remark",
            tar().edited(b'g', "g", &record("comment", b"x"), |_| {}).file("new", "x").end(),
            Laid(&["new=x"]),
        ),
        (
            "a pax header of nothing",
            tar().pax(&[("path", b"x")]).end(),
            Refused("belongs to nothing"),
        ),
        (
            "a long name of nothing",
            tar().edited(b'L', "L", b"x\0", |_| {}).end(),
            Refused("belongs to nothing"),
        ),
        (
            "a path twice",
            pax(&[("path", b"a"), ("path", b"b")]),
            Refused("its name is given twice"),
        ),
        (
            "two kinds of long names",
            tar().edited(b'L', "L", b"a\0", |_| {}).pax(&[("path", b"b")]).file("x", "x").end(),
            Refused("its name is given twice"),
        ),
        ("a record that is too long", raw_pax(b"99 path=x\n"), Refused("not as long as it says")),
        ("a record that is too short", raw_pax(b"5 path=x\n"), Refused("not as long as it says")),
        (
            "a record without a length",
            raw_pax(b"path=x\n"),
            Refused("a record of its extended header"),
        ),
        ("a record without a key", raw_pax(b"5 =x\n"), Refused("has no key")),
        ("a record of NULs", raw_pax(&[0; 100]), Refused("has no length")),
        ("a record of digits", raw_pax(&[b'9'; 1000]), Refused("has no length")),
        ("a time of letters", pax(&[("mtime", b"now")]), Refused("the time is not a number")),
        ("a time before 1970", pax(&[("mtime", b"-86400.5")]), Laid(&["x=text", "x@-86401"])),
        (
            "an old time in a header",
            file(|block| {
                block.put(136, &[0xff; 12]);
            }),
            Laid(&["new@-1"]),
        ),
        (
            "a time that no filesystem has",
            pax(&[("mtime", b"9223372036854775807")]),
            Laid(&["x=text"]),
        ),
        (
            "a program before ustar",
            tar()
                .edited(b'0', "new", b"text", |block| {
                    block.put(257, &[0; 8]).put(345, b"../outside");
                })
                .end(),
            Laid(&["new=text"]),
        ),
        (
            "a mode with a kind",
            file(|block| {
                block.octal(100, 7, 0o100_640);
            }),
            Laid(&["new#640"]),
        ),
        (
            "more than one pax header",
            tar().pax(&[("path", b"a")]).pax(&[("mtime", b"7")]).file("x", "x").end(),
            Laid(&["a=x", "a@7"]),
        ),
        ("an empty path", pax(&[("path", b"")]), Laid(&["x=text"])),
    ]
}

/// What a member has besides bytes.
fn of_attributes() -> Vec<Case> {
    let with = |name: &str, value: &[u8]| {
        let key = format!("SCHILY.xattr.{name}");
        tar().pax(&[(&key, value)]).file("new", "x").end()
    };
    let long = format!("user.{}", "n".repeat(251));
    vec![
        (
            "set-id",
            tar()
                .edited(b'0', "new", b"x", |block| {
                    block.octal(100, 7, 0o6755).octal(108, 7, 5).octal(116, 7, 6);
                })
                .end(),
            Laid(&["new#6755"]),
        ),
        (
            "sticky",
            tar()
                .edited(b'5', "new", b"", |block| {
                    block.octal(100, 7, 0o3777);
                })
                .file("new/x", "x")
                .end(),
            Laid(&["new#3777", "new/x#644"]),
        ),
        (
            "a directory that nobody may enter",
            tar()
                .edited(b'5', "new", b"", |block| {
                    block.octal(100, 7, 0);
                })
                .file("new/x", "x")
                .file("y", "y")
                .file("new/z", "z")
                .end(),
            Laid(&["new#0", "new/z=z", "new@1000000000"]),
        ),
        ("overlayfs's", with("trusted.overlay.opaque", b"y"), Laid(&["new=x"])),
        ("overlayfs's for users", with("user.overlay.redirect", b"/x"), Laid(&["new=x"])),
        ("a label", with("security.selinux", b"x"), Laid(&["new=x"])),
        ("ima's", with("security.ima", b"x"), Laid(&["new=x"])),
        ("the system's", with("system.nfs4_acl", b"x"), Laid(&["new=x"])),
        ("no kind", with("mine", b"x"), Laid(&["new=x"])),
        ("no name", with("", b"x"), Refused("has no name")),
        ("a long name", with(&long, b"x"), Refused("too long a name")),
        ("a long value", with("user.x", &[b'x'; 65_537]), Refused("too long a value")),
        ("a NUL in its name", with("user.a\0b", b"x"), Refused("a NUL in its name")),
        (
            "twice",
            tar()
                .pax(&[("SCHILY.xattr.user.a", b"1"), ("SCHILY.xattr.user.a", b"2")])
                .file("new", "x")
                .end(),
            Refused("is given twice"),
        ),
        (
            "a capability that is none",
            with("security.capability", b"x"),
            Refused("the attribute `security.capability`"),
        ),
        (
            "an access list that is none",
            with("system.posix_acl_access", b"x"),
            Refused("the attribute `system.posix_acl_access`"),
        ),
        (
            "a default list of a file",
            with("system.posix_acl_default", &[2, 0, 0, 0]),
            Laid(&["new=x"]),
        ),
        (
            "a user's of a link",
            tar().pax(&[("SCHILY.xattr.user.x", b"x")]).symlink("new", "y").end(),
            Laid(&["new->y"]),
        ),
        (
            "a list as text",
            tar().pax(&[("SCHILY.acl.access", b"user::rwx")]).file("new", "x").end(),
            Laid(&["new=x"]),
        ),
        (
            "a device 0:0 over a file",
            tar().edited(b'3', "etc/passwd", b"", |_| {}).end(),
            Laid(&["!etc/passwd"]),
        ),
        (
            "another name of what was left out",
            tar().edited(b'3', "new", b"", |_| {}).link("other", "new").end(),
            Laid(&["!new", "!other"]),
        ),
        (
            "a device with a huge number",
            tar()
                .edited(b'3', "new", b"", |block| {
                    block.put(329, &[0x80, 0, 0, 1, 0, 0, 0, 0]);
                })
                .end(),
            Refused("the device is 4294967296"),
        ),
    ]
}

fn all(_: &Path) {
    let limits = Limits::default();
    for cases in [of_paths(), of_links(), of_marks(), of_archives(), of_attributes()] {
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
