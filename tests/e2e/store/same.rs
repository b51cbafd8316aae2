//! However a container comes to its layers, it is the same.

use super::seen;
use super::{as_each, make, role, shelf};
use crate::config;
use crate::image::Image;
use crate::lab::Lab;

#[test]
fn a_built_in_busybox_is_the_same_however_it_is_stored() {
    as_each(&[], |lab| same(lab, "template = \"builtin:busybox\""));
}

#[test]
fn a_busybox_of_lxc_s_is_the_same_however_it_is_stored() {
    as_each(&[], |lab| same(lab, "template = \"busybox\""));
}

#[test]
fn an_image_is_the_same_however_it_is_stored() {
    as_each(&["tar", "xz"], |lab| same(lab, &Image::make(lab, "image").upstream()));
}

/// One after the other under one name: whatever holds a name or a path is the same in all.
fn same(lab: &Lab, upstream: &str) {
    lab.default_config(
        "lxc.net.0.type = veth\nlxc.net.0.flags = up\nlxc.net.0.hwaddr = 00:16:3e:xx:xx:xx\n",
    );
    let manifest = role::three_layers(lab, upstream);
    let name = lab.name("same");
    let mut first = None;
    for (how, words) in [
        ("copied, and made on the way", "--storage=copy"),
        ("copied", "--storage=copy"),
        ("an overlay", "--storage=overlay"),
        ("made without a store", "--storage=none"),
    ] {
        let before = lab.path("store").join("roots").exists().then(|| shelf::stored(lab));
        make(lab, &name, &manifest, &[words]);
        if let Some(before) = before {
            let after = shelf::stored(lab);
            let ids =
                |all: &[shelf::Stored]| all.iter().map(|one| one.id.clone()).collect::<Vec<_>>();
            assert_eq!(ids(&before), ids(&after), "{how}");
        }
        let listing = seen::listing(lab, &name);
        let config = lab.read(lab.container(&name, "config"));
        let config = config::body(&config).into_iter().filter(|line| is_common(line));
        let config: Vec<_> = config.map(str::to_owned).collect();
        let what = format!("{:?}: {how}", lab.caller);
        assert!(listing.has("opt/tree/gone/new"), "{what}");
        assert!(!listing.has("opt/tree/gone/old"), "{what}");
        match &first {
            None => first = Some((listing, config)),
            Some((tree, lines)) => {
                if words == "--storage=none" {
                    // What is made is made now.
                    listing.timeless().assert_same(&tree.clone().timeless(), &what);
                } else {
                    listing.assert_same(tree, &what);
                }
                assert_eq!(&config, lines, "{what}");
            }
        }
        lab.destroy(&name);
    }
    assert_eq!(shelf::stored(lab).len(), 4);
    shelf::assert_sound(lab);
    shelf::assert_tidy(lab);
}

/// Whether a line of a config has nothing to do with where the rootfs is, nor is the container's own.
fn is_common(line: &str) -> bool {
    const OWN: &[&str] = &[
        "lxc.rootfs.path",
        "lxc.rootfs.options",
        "lxc.hook.clone",
        "lxc.net.0.hwaddr",
        "# layered-template: stands on the layer store",
    ];
    !OWN.iter().any(|start| line.starts_with(start))
}
