//! Archives that are not what they say.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;

use super::super::tarball::{BLOCK, Block, Tarball, record};
use super::{Case, Laid, Refused, tar};

pub(super) fn cases() -> Vec<Case> {
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
        ("compressed", gzipped(&whole), Laid(&["new=text"])),
        (
            "compressed in two parts",
            Tarball([gzipped(&tar().file("new", "text")).0, gzipped(&tar().end()).0].concat()),
            Laid(&["new=text"]),
        ),
        ("compressed twice", gzipped(&gzipped(&whole)), Refused("ends within a block")),
        ("compressed, cut", cut(gzipped(&whole), 40), Refused("cannot be read")),
        (
            "compressed, cut in its checksum",
            {
                let archive = gzipped(&whole);
                let length = archive.0.len();
                cut(archive, length - 3)
            },
            Refused("cannot be read"),
        ),
        (
            "compressed, with another checksum",
            {
                let mut archive = gzipped(&whole);
                let length = archive.0.len();
                archive.0[length - 6] ^= 1;
                archive
            },
            Refused("cannot be read"),
        ),
        (
            "compressed, and something behind it",
            gzipped(&whole).raw(b"x"),
            Refused("cannot be read"),
        ),
        (
            "compressed, another archive behind it",
            Tarball([gzipped(&whole).0, gzipped(&tar().file("../x", "x").end()).0].concat()),
            Refused("behind the end"),
        ),
    ]
}

fn gzipped(archive: &Tarball) -> Tarball {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(&archive.0).unwrap();
    Tarball(encoder.finish().unwrap())
}
