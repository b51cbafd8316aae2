//! What a member has besides bytes.

use super::{Case, Laid, Refused, tar};

/// An access list that says no more than a mode: of the owner, the group, and others.
const LIST: &[u8] = b"\x02\0\0\0\x01\0\x07\0\xff\xff\xff\xff\x04\0\x07\0\xff\xff\xff\xff\x20\0\x07\0\xff\xff\xff\xff";

pub(super) fn cases() -> Vec<Case> {
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
            "an access list of a link",
            tar().pax(&[("SCHILY.xattr.system.posix_acl_access", LIST)]).symlink("new", "y").end(),
            Refused("the attribute `system.posix_acl_access` is refused by the kernel"),
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
