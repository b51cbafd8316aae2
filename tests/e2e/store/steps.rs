//! Steps find the directory that they would find without a store.

use std::path::PathBuf;

use super::{as_each, make, seen, shelf};
use crate::lab::Lab;

/// An upstream whose rootfs has the host's busybox, and programs of the host that rename by rename(2),
/// where mv(1) would copy.
const UPSTREAM: &str = r#"#!/bin/sh
set -e
for word; do case $word in --rootfs=*) R=${word#*=};; esac; done
umask 022
cd "$R"
mkdir -p bin etc root opt/app/mods/x srv/d/e tmp usr/git proc dev sys var/lib var/log
chmod 1777 tmp
cp "$(command -v busybox)" bin/busybox
for name in sh ls cat echo mkdir rm mv ln touch stat chmod tr diff ldconfig start-stop-daemon; do ln -s busybox "bin/$name"; done
echo root:x:0:0::/root:/bin/sh >etc/passwd
echo root:x:0: >etc/group
for program in PROGRAMS; do
    program=$(command -v "$program")
    for file in "$program" $(ldd "$program" | grep -o '/[^ )]*'); do
        mkdir -p ".${file%/*}"
        [ -e ".$file" ] || cp -L "$file" ".$file"
    done
done
mkdir -p var/lib/dpkg/info var/lib/dpkg/updates
touch var/lib/dpkg/status var/lib/dpkg/available
echo 1 >opt/app/mods/x/f
echo g >usr/git/f1; ln usr/git/f1 usr/git/f2; ln usr/git/f1 usr/git/f3
echo old >srv/d/e/foo; ln -s /srv/d srv/l
find . -exec touch -h -d '2020-01-02 03:04:05' {} +
"#;

const LAYERS: &str = r#"
[[layer]]
name = "renames"
post = { in = "rootfs", run = '''
export LC_ALL=C
perl -e 'rename("/opt/app/mods/x", "/opt/app/mods/.x.DELETE") or die "rename: $!\n"'
perl -e 'rename("/opt/app", "/opt/app2") or die "rename: $!\n"'
''' }

[[layer]]
name = "links"
post = { in = "rootfs", run = '''
ln /usr/git/f1 /usr/git/f4
ln /usr/git/f2 /usr/git/f5
test "$(stat -c %h /usr/git/f1 /usr/git/f2 /usr/git/f3 /usr/git/f4 /usr/git/f5 | tr '\n' ' ')" = "5 5 5 5 5 "
''' }

[[layer]]
name = "anew"
post = { in = "rootfs", run = '''
rm -rf /srv/d; mkdir -p /srv/d/e; echo new >/srv/d/e/bar
''' }

[[layer]]
name = "drops"
[[layer.file]]
path = "/etc/dropped"
content = "dropped\n"

[[layer]]
name = "host"
store = true
post = '''
cd "$LXC_ROOTFS"
rm srv/l; mkdir srv/l; echo x >srv/l/x
rm -rf srv/d; echo file >srv/d
echo more >>usr/git/f3
LC_ALL=C perl -e 'rename("opt/app2", "opt/app3") or die "rename: $!\n"'
'''
"#;

/// A package whose directory is a file in its next version.
const PACKAGES: &str = r#"
[[layer]]
name = "old"
[[layer.file]]
path = "/root/1.deb"
source = "1.deb"
[[layer.file]]
path = "/root/2.deb"
source = "2.deb"
[[layer]]
name = "install"
post = { in = "rootfs", run = "/usr/bin/dpkg --force-bad-path -i /root/1.deb" }
check = { in = "rootfs", run = "test -d /usr/share/lt" }
[[layer]]
name = "upgrade"
post = { in = "rootfs", run = "/usr/bin/dpkg --force-bad-path -i /root/2.deb" }
check = { in = "rootfs", run = "test -f /usr/share/lt" }
"#;

/// Writes the manifest of some layers around the upstream with some of the host's programs.
fn manifest(lab: &Lab, programs: &str, layers: &str) -> PathBuf {
    let upstream = UPSTREAM.replace("PROGRAMS", programs);
    let upstream = lab.script("work/upstream.sh", &upstream);
    let head = "manifest = 1\n[[layer]]\nname = \"os\"\ntemplate =";
    lab.write("work/steps.toml", &format!("{head} \"{}\"\n{layers}", upstream.display()))
}

#[test]
fn a_package_manager_moves_what_an_inner_layer_has_installed() {
    as_each(&["dpkg", "dpkg-deb", "ldd"], |lab| {
        for (version, content) in
            [("1", "mkdir usr/share/lt; echo 1 >usr/share/lt/f"), ("2", "echo x >usr/share/lt")]
        {
            let control = "Package: lt\\nArchitecture: all\\nMaintainer: x <x@example.org>\\nDescription: x\\n";
            let script = format!(
                "rm -rf p; mkdir -p p/DEBIAN p/usr/share; cd p; {content}; cd ..; \
                 printf '{control}Version: {version}\\n' >p/DEBIAN/control; \
                 dpkg-deb --root-owner-group -b p {version}.deb"
            );
            lab.call(["sh", "-euc", &script]).outcome().success();
        }
        let manifest = manifest(lab, "dpkg dpkg-deb dpkg-split tar", PACKAGES);
        let name = lab.name("package");
        for storage in ["--storage=none", "--storage=copy", "--storage=overlay"] {
            make(lab, &name, &manifest, &[storage]);
            assert_eq!(seen::listing(lab, &name).text("usr/share/lt"), "x\n", "{storage}");
            lab.destroy(&name);
        }
    });
}

#[test]
fn what_steps_do_to_inner_layers_is_the_same_however_it_is_stored() {
    as_each(&["perl", "ldd"], |lab| {
        let manifest = manifest(lab, "perl", LAYERS);
        let name = lab.name("steps");
        let mut first = None;
        for storage in ["--storage=none", "--storage=copy", "--storage=copy", "--storage=overlay"] {
            make(lab, &name, &manifest, &[storage]);
            let tree = seen::listing(lab, &name).timeless();
            let what = format!("{:?}: {storage}", lab.caller);
            assert_eq!(tree.text("opt/app3/mods/.x.DELETE/f"), "1\n", "{what}");
            assert_eq!(tree.text("srv/d"), "file\n", "{what}");
            for file in ["f1", "f2", "f3", "f4", "f5"] {
                assert_eq!(tree.text(&format!("usr/git/{file}")), "g\nmore\n", "{what}");
            }
            match &first {
                None => first = Some(tree),
                Some(first) => tree.assert_same(first, &what),
            }
            lab.destroy(&name);
        }
        assert_eq!(shelf::stored(lab).len(), 6);
        shelf::assert_sound(lab);
        shelf::assert_tidy(lab);
    });
}
