//! Hard links.

use super::{Case, Laid, Refused, tar};

pub(super) fn cases() -> Vec<Case> {
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
