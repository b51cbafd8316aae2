//! Says which disk is full, where something has failed on one.

use std::io;
use std::path::Path;

use super::Run;
use super::failure::{Cause, Failure, status};
use crate::host::files;

/// What to do about a full disk of the layer store.
pub(crate) const HINT: &str = "`layered-template store gc --keep=0` removes all that no container uses; what copies were made of goes too, and \
     they can be upgraded no more";

/// What to do about a full disk of a container that is upgraded.
pub(crate) fn beside(container: &Path) -> String {
    format!(
        "the disk of `{}` is full: what it becomes is made beside what it is, and needs room there",
        container.display()
    )
}

/// Makes a failure of a layer that was made in the store at `top` one of the store, where that has a full
/// disk. It is not the container's.
pub(super) fn of_store(failure: Failure, top: &Path) -> Failure {
    if !is_of_full_disk(&failure, top) {
        return failure;
    }
    let hint = format!("the disk of the layer store, `{}`, is full; {HINT}", top.display());
    Failure { status: status::STORE, hint: Some(hint), ..failure.because(Cause::FullDisk) }
}

/// Says of a failure that a full disk is behind it, where its error is one.
pub(super) fn by(failure: Failure, error: &io::Error) -> Failure {
    match (files::is_full(error), failure.status) {
        (false, _) => failure,
        (true, status::STORE) => failure.because(Cause::FullDisk).hint(HINT),
        (true, _) => failure.because(Cause::FullDisk),
    }
}

impl Run<'_> {
    /// Names the disk of the container where that is full.
    pub(super) fn on_full_disk(&self, failure: Failure) -> Failure {
        let rootfs = &self.workspace.rootfs;
        if !is_of_full_disk(&failure, rootfs) {
            return failure;
        }
        let hint = format!("the disk of the container, `{}`, is full", rootfs.display());
        failure.because(Cause::FullDisk).hint(hint)
    }

    /// Makes a failure by a full disk one of the container's files, where what is made is an upgrade of one:
    /// whichever disk it is, the container is as it was.
    pub(super) fn of_upgrade(&self, failure: Failure) -> Failure {
        if self.context.shown.is_none() {
            return failure;
        }
        let is_full = |path: &Path| files::is_on_full_disk(path).unwrap_or(false);
        let session = self.supply.session();
        let is_of_store = session.is_some_and(|session| is_full(session.store_top()));
        match failure.cause == Cause::FullDisk || is_of_store && failure.status == status::STORE {
            false => failure,
            true if failure.status == status::STORE && !is_of_store => {
                let hint = format!("the disk of `{}` is full", self.plan.container.path.display());
                Failure { status: status::FILES, ..failure.hint(hint) }
            }
            true => Failure { status: status::FILES, ..failure },
        }
    }
}

/// Tells whether a failure is that of the full disk of a path: it is said to be, or something was at work
/// there and nothing better is known.
fn is_of_full_disk(failure: &Failure, path: &Path) -> bool {
    matches!(failure.status, status::UPSTREAM | status::FILES | status::POST)
        && failure.hint.is_none()
        && (failure.cause == Cause::FullDisk || files::is_on_full_disk(path).unwrap_or(false))
}
