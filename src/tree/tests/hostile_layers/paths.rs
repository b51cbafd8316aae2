//! Paths and links that lead elsewhere.

use super::{Case, Laid, Refused, tar};

pub(super) fn cases() -> Vec<Case> {
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
        (
            "a link longer than any",
            tar().pax(&[("linkpath", &[b'x'; 4096])]).symlink("new", "x").end(),
            Refused("more than 4095 bytes"),
        ),
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
