//! The layer store: what it saves, what it must never change, and who stands on it.

mod acts;
mod age;
mod backing;
mod damage;
mod examples;
mod failure;
mod filling;
mod fleet;
mod foreign;
mod identity;
mod inputs;
mod kept;
mod keys;
mod listing;
mod name;
mod named;
mod nested;
mod older;
mod overlay;
mod place;
mod planned;
mod reuse;
mod role;
mod same;
mod seen;
mod shelf;
mod sources;
mod starting;
mod steps;
mod tending;
mod told;
mod unusable;

use std::path::Path;

use crate::call::{Call, Outcome};
use crate::caller::Caller;
use crate::lab::Lab;

/// Runs a test as root, as an ordinary user, and as root whose containers have an id map.
fn as_each(commands: &[&str], mut test: impl FnMut(&Lab)) {
    for caller in [Caller::Root, Caller::User, Caller::Mapped] {
        if let Some(lab) = Lab::open(caller, commands) {
            test(&lab);
        }
    }
}

/// Runs a test as root and as an ordinary user, whose containers start.
fn as_both(test: impl Fn(&Lab)) {
    for caller in [Caller::Root, Caller::User] {
        if let Some(lab) = Lab::open(caller, &[]) {
            test(&lab);
        }
    }
}

/// `lxc-create` of a manifest's container, with more for the program behind it.
fn create<'lab>(lab: &'lab Lab, name: &str, manifest: &Path, words: &[&str]) -> Call<'lab> {
    lab.create(name, manifest).args(words).env("TRACE", lab.path("work/trace"))
}

/// The same, by the program itself: its exit status is that of the run.
fn create_directly<'lab>(
    lab: &'lab Lab,
    name: &str,
    manifest: &Path,
    words: &[&str],
) -> Call<'lab> {
    lab.call([lab.program()])
        .arg("create")
        .arg(manifest)
        .args(["--name", name, "--lxcpath"])
        .arg(lab.lxcpath())
        .arg("--config")
        .arg(lab.path("default.conf"))
        .args(words)
        .env("TRACE", lab.path("work/trace"))
}

/// Makes a container.
#[track_caller]
fn make(lab: &Lab, name: &str, manifest: &Path, words: &[&str]) -> Outcome {
    create(lab, name, manifest, words).outcome().success()
}

/// What steps have told since this was asked last.
fn trace(lab: &Lab) -> Vec<String> {
    let lines = lab.read("work/trace").lines().map(str::to_owned).collect();
    lab.write("work/trace", "");
    lines
}
