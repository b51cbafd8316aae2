//! The tree that a real overlay shows, and the one that is made of it.

use std::fs;
use std::os::fd::AsFd;
use std::path::Path;
use std::process::Command;

use super::super::{Baseline, Form, Interrupt, Listing, merge};
use super::scratch::{Scratch, is_root, listing, open, skipped};
use crate::tree::{Marks, Search};

/// Makes a base, changes it through an overlay, and keeps what the overlay shows. The mount is gone
/// with the shell.
const SCRIPT: &str = r#"
cd "$1"
mkdir lower upper work merged expected
cd lower
mkdir -p etc usr/bin usr/lib var/log d/sub opaque/in renamed/in gone-dir/in to-file old/dir
for f in etc/crontab etc/conf usr/bin/a usr/bin/b usr/bin/suid usr/lib/l var/log/x d/one d/two \
    d/sub/three opaque/x opaque/in/y renamed/in/z gone gone-dir/in/x to-dir to-file/x to-link \
    touched owned moded bytes old/dir/f capable acl; do
    echo "$f" > "$f"
done
ln usr/bin/a usr/bin/a-again
ln etc/conf usr/lib/conf
ln d/one d/sub/one
ln -s usr/lib from-link
ln -s nowhere kept-link
mkfifo fifo
mknod null c 1 3 2>/dev/null || true
chmod 4755 usr/bin/suid
truncate -s 50M sparse
touch -h -d '2001-02-03 04:05:06.123456789' kept-link d/two usr/lib/l
touch -d '1999-01-01 00:00:00.5' old/dir old
chmod 1777 var/log
setcap cap_net_raw+ep capable 2>/dev/null || true
setfacl -m u:1234:rw acl 2>/dev/null || true
setfacl -d -m u:1234:rwx d 2>/dev/null || true
setfattr -n user.mine -v value usr/lib/l 2>/dev/null || true
cd ..
cp -a --attributes-only -T lower upper 2>/dev/null
find upper -mindepth 1 -delete
touch -d '2003-03-03' upper
chmod 751 upper
overlay() {
    options=redirect_dir=nofollow,metacopy=off,index=off$1
    mount -t overlay overlay -o "lowerdir=lower,upperdir=upper,workdir=work,$options" merged
}
overlay "$2" || exit 77
cd merged
rm gone
rm -r gone-dir
rm -r opaque; mkdir opaque; echo new > opaque/z
rm to-dir; mkdir to-dir; echo x > to-dir/in
rm -r to-file; echo file > to-file
rm to-link; ln -s elsewhere to-link
rm from-link; echo file > from-link
mv renamed moved
mkdir was; echo 1 > was/a; mv was is
touch -d '2010-10-10 10:10:10.10' touched
chown 1234:4321 owned
chmod 6711 moded
echo more >> bytes
ln d/two d/two-again
echo new > new; ln new new-again; ln new d/new
ln usr/bin/b usr/b
chmod 700 d/sub
chown 5:6 usr/lib
mkfifo new-fifo
mknod new-null c 1 3 2>/dev/null || true
mkdir -p var/spool/cron; echo job > var/spool/cron/job
truncate -s 10M new-sparse
chmod 4755 usr/bin/a
setcap cap_net_raw+ep new 2>/dev/null || true
setfattr -n user.new -v value d/sub 2>/dev/null || true
mkdir "$(printf 'tab\tnew\nline\377')"; echo x > "$(printf 'tab\tnew\nline\377')/$(printf '\376')"
rm -r old/dir; touch -d '2002-02-02 02:02:02.02' old
cd ..
# In a user namespace names of one file have one inode number only from the next mount on.
umount merged
overlay "$2"
cp -a -T --sparse=always merged expected
umount merged
rm -r work
"#;

/// Makes the trees in a directory; false where no overlay can be mounted.
pub(crate) fn overlay(scratch: &Path, options: &str) -> bool {
    let mut command = Command::new("unshare");
    command.args(["-m", "--propagation", "private", "sh", "-euc", SCRIPT, "sh"]);
    let output = command.arg(scratch).arg(options).output();
    let output = match output {
        Ok(output) if output.status.code() == Some(77) => {
            skipped(&format!("{}", String::from_utf8_lossy(&output.stderr)));
            return false;
        }
        Ok(output) => output,
        Err(error) => {
            skipped(&format!("unshare: {error}"));
            return false;
        }
    };
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    true
}

/// Tells how a tree differs from a listing.
pub(crate) fn differences(expected: &Listing, tree: &Path) -> Vec<String> {
    let findings = expected.verify(open(tree).as_fd(), Marks::Plain).unwrap();
    findings
        .iter()
        .map(|found| format!("{} {:?}", String::from_utf8_lossy(&found.path), found.difference))
        .collect()
}

/// Tells whether this process is in a user namespace, where `trusted.` attributes are not its own.
fn is_mapped() -> bool {
    let map = fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    !map.split_whitespace().eq(["0", "0", "4294967295"])
}

#[test]
fn the_tree_is_what_the_overlay_showed() {
    if !is_root() {
        skipped("only root mounts an overlay without a user namespace");
        return;
    }
    for (form, options) in [(Form::Trusted, ""), (Form::User, ",userxattr")] {
        if form == Form::Trusted && is_mapped() {
            skipped("an overlay with `trusted.` attributes in a user namespace");
            continue;
        }
        let scratch = Scratch::new();
        if !overlay(scratch.path(), options) {
            continue;
        }
        let [lower, upper, expected] =
            ["lower", "upper", "expected"].map(|name| scratch.path().join(name));
        let to = scratch.directory("to");
        let before = listing(&lower);
        let (base, over) = (open(&lower), open(&upper));
        let changes =
            merge(Some(base.as_fd()), over.as_fd(), open(&to).as_fd(), form, Interrupt::NEVER)
                .unwrap();
        let shown = listing(&expected);
        assert_eq!(differences(&shown, &to), [""; 0], "{form:?}");
        super::same_for_rsync(&expected, &to);
        assert_eq!(before, listing(&lower), "the base is as it was");
        for path in ["gone", "gone-dir", "bytes", "d/two-again", "opaque/z", "to-link", "usr/b"] {
            assert!(changes.contains(path.as_bytes()), "{path}");
        }
        for path in ["d/sub/three", "usr/bin/suid", "kept-link", "etc/crontab"] {
            assert!(!changes.contains(path.as_bytes()), "{path}");
        }
        let now = Listing::of(
            open(&to).as_fd(),
            Baseline::Parent(&before, &changes),
            &Search::NOTHING,
            Marks::Plain,
            Interrupt::NEVER,
        )
        .unwrap()
        .listing;
        assert_eq!(now, shown);

        // Another layer on it: its base has links to the first one.
        let again = scratch.directory("again");
        let none = scratch.directory("none");
        merge(
            Some(open(&to).as_fd()),
            open(&none).as_fd(),
            open(&again).as_fd(),
            form,
            Interrupt::NEVER,
        )
        .unwrap();
        let mut findings = shown.verify(open(&again).as_fd(), Marks::Plain).unwrap();
        findings.retain(|finding| !finding.path.is_empty());
        assert!(findings.is_empty(), "{findings:?}");
        fs::remove_dir(none).unwrap();
    }
}
