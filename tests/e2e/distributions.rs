//! Whole distributions, from the mirror of this host. They take minutes and a network, so that they run only
//! where `LT_NETWORK=1` asks for them.

mod apt;
mod debian;
mod packages;
mod registry;
mod roles;
mod store;
mod upgrade;

use std::path::PathBuf;

use crate::caller::Caller;
use crate::lab::Lab;
use crate::{mirror, requirement};

/// The release of Debian that they are of.
const SUITE: &str = "bookworm";

/// Opens a lab for a distribution from the mirror, with the mirror, where a test may use the network.
fn with_mirror(commands: &[&str]) -> Option<(Lab, String)> {
    let lab = opened(Caller::Root, "debootstrap", commands)?;
    Some((lab, or_skip(mirror::of(SUITE))?))
}

/// Returns the mirror of the release's security updates, or else the mirror itself.
fn security(mirror: &str) -> String {
    mirror::of(&format!("{SUITE}-security")).unwrap_or_else(|| mirror.to_owned())
}

/// Opens a lab with a Debian to start from, where a test may use the network.
fn with_base(caller: Caller, commands: &[&str]) -> Option<(Lab, PathBuf)> {
    let lab = opened(caller, "mmdebstrap", commands)?;
    let base = or_skip(apt::base(&lab))?;
    Some((lab, base))
}

fn opened(caller: Caller, program: &str, commands: &[&str]) -> Option<Lab> {
    let lab = || Lab::open(caller, &[&[program], commands].concat());
    requirement::network().then(lab).flatten()
}

fn or_skip<T>(found: Option<T>) -> Option<T> {
    if found.is_none() {
        requirement::skip("apt has no source of this release here");
    }
    found
}
