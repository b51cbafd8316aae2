//! The program as its own upstream.

use std::time::Duration;

use crate::caller::Caller;
use crate::config;
use crate::lab::Lab;

#[test]
fn the_program_wraps_itself_as_root() {
    twice(Caller::Root);
}

#[test]
fn the_program_wraps_itself_as_an_ordinary_user() {
    twice(Caller::User);
}

#[test]
fn a_manifest_that_wraps_itself_comes_to_an_end() {
    let Some(lab) = Lab::open(Caller::Root, &[]) else {
        return;
    };
    let manifest = lab.path("work/endless.toml");
    let text = layers(&lab, &manifest.display().to_string(), "endless");
    lab.write(&manifest, &text);
    let name = lab.name("endless");
    let call = lab.create(&name, &manifest).env("TRACE", lab.path("work/trace"));
    call.limit(Duration::from_secs(300)).outcome().code(1);
    lab.assert_absent(&name);
    lab.assert_quiet(Duration::from_secs(5));
}

fn twice(caller: Caller) {
    let Some(lab) = Lab::open(caller, &[]) else {
        return;
    };
    let inner = format!(
        "manifest = 1\n\n[[layer]]\nname = \"os\"\ntemplate = \"busybox\"\n\n{}",
        wrapping("inner")
    );
    let inner = lab.write("work/inner.toml", &inner);
    let outer = layers(&lab, &inner.display().to_string(), "outer");
    let outer = lab.write("work/outer.toml", &outer);
    let name = lab.name("twice");
    lab.create(&name, &outer).env("TRACE", lab.path("work/trace")).outcome().success();

    assert_eq!(lab.read("work/trace"), "pre outer\npost outer\n");
    let config = lab.read(lab.container(&name, "config"));
    config::assert_in_order(&config, &["lxc.environment = OF=inner", "lxc.environment = OF=outer"]);
    for layer in ["inner", "outer"] {
        let dropped = lab.read(lab.container(&name, format!("rootfs/etc/{layer}")));
        assert_eq!(dropped, format!("of {layer}\n"));
    }
    if lab.start(&name) {
        assert_eq!(lab.inside(&name, &["/bin/cat", "/etc/inner"]), "of inner\n");
        lab.stop(&name);
    }
    lab.destroy(&name);
}

/// A manifest whose upstream is the program, with another manifest.
fn layers(lab: &Lab, manifest: &str, layer: &str) -> String {
    format!(
        "manifest = 1\n\n[[layer]]\nname = \"os\"\ntemplate = \"{}\"\n\
         args = [\"--manifest\", {manifest:?}]\n\n{}",
        lab.template().display(),
        wrapping(layer)
    )
}

/// A layer that drops a file, adds a line and leaves a trace; an upstream's environment is not the
/// caller's, so that within it there is no trace to write to.
fn wrapping(layer: &str) -> String {
    format!(
        "[[layer]]\nname = {layer:?}\n\
         pre = 'if [ -n \"${{TRACE:-}}\" ]; then echo pre {layer} >>\"$TRACE\"; fi'\n\
         post = 'if [ -n \"${{TRACE:-}}\" ]; then echo post {layer} >>\"$TRACE\"; fi'\n\
         [layer.config]\nlxc.environment = \"OF={layer}\"\n\
         [[layer.file]]\npath = \"/etc/{layer}\"\ncontent = \"of {layer}\\n\"\n"
    )
}
