//! Marks of what is removed.

use super::{Case, Laid, Refused, tar};

pub(super) fn cases() -> Vec<Case> {
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
