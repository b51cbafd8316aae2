//! Labels of security modules.
//!
//! A module that is at work gives each file its label, by where the file is: that is the host's to do.
//! Of one that is not, a label is an attribute like any other, which an image has brought along.

use std::path::Path;
use std::sync::OnceLock;

use crate::host::caller::Caller;

/// What all labels begin with.
const PREFIX: &[u8] = b"security.";

/// What is no label: capabilities, and what is bound to the one file.
const OTHERS: [&[u8]; 2] = [b"security.capability", b"security.evm"];

/// Labels, and the directory that is there if their module is at work.
const MODULES: [(&[u8], &str); 2] =
    [(b"security.selinux", "/sys/fs/selinux"), (b"security.SMACK64", "/sys/fs/smackfs")];

/// Tells whether an attribute is a label that a copy has as well.
pub(super) fn is_kept(name: &[u8]) -> bool {
    static FOREIGN: OnceLock<Option<Vec<&[u8]>>> = OnceLock::new();
    if !name.starts_with(PREFIX) || OTHERS.contains(&name) {
        return false;
    }
    let foreign = FOREIGN.get_or_init(|| {
        // Nobody but root of the host sets any, and without /sys nobody knows which are at work.
        let can = !Caller::observe().is_mapped_root() && Path::new("/sys/fs").exists();
        let at_work = MODULES.iter().filter(|(_, directory)| Path::new(directory).exists());
        can.then(|| at_work.map(|(label, _)| *label).collect())
    });
    foreign.as_ref().is_some_and(|at_work| !at_work.iter().any(|label| name.starts_with(label)))
}
