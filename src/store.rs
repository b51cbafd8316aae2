//! The layer store: stored layers, each a complete tree that never changes.
//!
//! ```text
//! <store>/               0711, the caller's: mapped root must pass at a container's start
//!   <id map>/            0700, of id 0 of that map: all that containers stand on
//!     trees/<entry>/rootfs   the directory of an entry is locked by whoever uses it
//!     work/              what is being made; of a run that was killed it is rubbish
//!   <id map>.meta/       0700, the caller's: documents, listings, locks
//!     entries/<entry>    what the entry is: it exists if this is there
//!     lists/<entry>      what its tree holds
//!     last/<role, layer> the entry that was last made for a role's layer
//!     roles/<role>       the entries that its runs have come to
//!     refused/<key>      what was built once and cannot be stored, and why
//!     readings/<stamp>   digests of files that need not be read again
//!     blobs/             compressed archives of layers, for images, and the digests of archives
//!     locks/<key>        held by whoever makes the key
//!   roots/               0700, the caller's: a link to the config of each container on a tree
//! ```
//!
//! An entry is complete or absent: its tree is on the disk before its document is.

mod blob;
mod build;
mod commit;
mod content;
mod entry;
mod flush;
mod gc;
mod gc_roots;
mod index;
mod layout;
mod leftover;
mod lock;
mod memory;
mod moved;
mod paths;
mod pin;
mod portable;
mod referrers;
mod refused;
mod retention;
mod role;
mod scrub;
mod sidecar;
mod stage;
#[cfg(test)]
mod tests;
mod verify;
mod work;
mod write;

pub(crate) use blob::Blob;
pub(crate) use build::{Build, BuildOn, Setting};
pub(crate) use commit::{About, Committed, shown};
pub(crate) use content::Content;
pub(crate) use entry::{Entry, Made};
pub(crate) use gc::{Garbage, Removed, clean, forget, remove};
pub(crate) use gc_roots::{GENERATIONS, GcRoot, OLD_GENERATION};
pub(crate) use layout::{
    NO_DIRECTORY, Store, VARIABLE, check, directory, ids_of, map_of, now, owner, stored_marks,
};
pub(crate) use pin::{Pin, Pinned};
pub(crate) use portable::Portable;
pub(crate) use referrers::Referrers;
pub(crate) use retention::Retention;
pub(crate) use scrub::is_identity;
pub(crate) use stage::Overlay;
#[cfg(test)]
pub(crate) use tests::{namespace, operation, planted, random};
pub(crate) use verify::verify;
