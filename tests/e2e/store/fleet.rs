//! Hosts of one role, that are told apart by their names alone.

use std::path::PathBuf;

use super::named::{self, upstream};
use super::planned::standings;
use super::{as_each, create_directly};
use crate::caller::Caller;
use crate::lab::Lab;

/// A layer with one step inside the rootfs.
fn step(lab: &Lab, keys: &str, run: &str) -> PathBuf {
    let upstream = upstream(lab, "upstream", "echo \"$N\" >etc/own");
    let text = format!(
        "manifest = 1\n[[layer]]\nname = \"os\"\n{upstream}\n[[layer]]\nname = \"app\"\n{keys}\n\
         post = {{ in = \"rootfs\", run = '''{run}''' }}\n\
         [[layer]]\nname = \"outside\"\n[[layer.file]]\npath = \"/etc/outside\"\ncontent = \"x\"\n"
    );
    lab.write("work/role.toml", &text)
}

const NAME: &str = "web-12";
const LAYER: &str = "layer app";

#[test]
fn a_layer_that_reads_the_name_is_stored_if_it_says_so() {
    as_each(&[], |lab| {
        let run = "echo \"I am $LXC_NAME\" >/etc/n; ln -s \"/srv/$LXC_NAME\" /etc/link";
        let manifest = step(lab, "store = true", run);
        assert_eq!(standings(&named::plan(lab, NAME, &manifest))[LAYER], "to build");
        let faults = named::tried(lab, &manifest, LAYER, false);
        assert!(faults.is_empty(), "{:?}: {faults:#?}", lab.caller);
        assert_eq!(named::count(lab, LAYER), 1);
        assert_eq!(standings(&named::plan(lab, "db-7", &manifest))[LAYER], "stored");
    });
}

#[test]
fn words_that_the_placeholder_is_made_of_keep_nothing_out_of_the_store() {
    let Some(lab) = Lab::open(Caller::Root, &[]) else { return };
    for run in [
        "echo 'a < b: &lt; ZZ zz lt LT' >/etc/n",
        "echo 'input::placeholder { color: gray }' >/etc/n.css",
        "mkdir -p /srv/zz /srv/lt; echo x >/srv/placeholder",
        "printf 'lt\\0zz\\0placeholder\\0' >/etc/n.bin",
        "ln -s lt /srv/zz-lt",
    ] {
        let manifest = step(&lab, "", run);
        create_directly(&lab, NAME, &manifest, &[]).outcome().success();
        lab.destroy(NAME);
        let shown = named::plan(&lab, NAME, &manifest);
        assert_eq!(standings(&shown)[LAYER], "stored", "{run}: {shown}");
    }
}
