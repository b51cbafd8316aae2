//! Complete trees of files: how they are copied, made of an overlay, listed, measured and removed.
//!
//! What is in a tree came from a container, so names and links in it are hostile. A tree is worked
//! on by descriptors of its directories and one name at a time, and no link is followed: no name is
//! too strange, no path too long, and none leads out. That nobody else changes a tree meanwhile is
//! the caller's to see to.

mod archive;
mod attributes;
mod bytes;
mod copy;
mod descriptors;
mod dir_path;
mod directory;
mod durability;
mod escape;
mod filter;
mod graft;
mod immutable;
mod interrupt;
mod label;
mod links;
mod listing;
mod maker;
mod marks;
mod merge;
mod patience;
mod reader;
mod relink;
mod remove;
mod sharing;
mod stamps;
mod target_dir;
#[cfg(test)]
mod tests;
mod unpack;
mod usage;
mod workers;
mod xattr;

#[cfg(any(test, feature = "fuzzing"))]
pub(crate) use archive::decoded;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) use archive::{ArchiveKind, ArchiveMember, ArchiveReader};
pub(crate) use archive::{Limits, ZSTD_MAGIC, decoded_file};
pub(crate) use attributes::{copy_attributes, disinherit, times};
pub(crate) use copy::copy;
pub(crate) use durability::make_durable;
pub(crate) use escape::escape;
pub(crate) use filter::{Filter, FilterEnd, PIPE_SIZE};
pub(crate) use graft::{Graft, graft};
pub(crate) use immutable::{ShutFiles, loosened, reopened, shut_files};
pub(crate) use interrupt::Interrupt;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) use listing::seal;
pub(crate) use listing::{
    Baseline, Difference, Drift, LONGEST_HIDDEN, LONGEST_TEXT, Listed, ListedFile, ListedKind,
    Listing, Made, Occurrence, OccurrenceKind, OfOverlay, Search, Step, WHITEOUT, drift,
    paths_to_merge, steps, steps_of,
};
pub(crate) use marks::{Form, Marks};
pub(crate) use merge::{Changes, merge};
pub(crate) use patience::Patience;
pub(crate) use reader::Reader;
pub(crate) use relink::relink;
pub(crate) use remove::remove;
pub(crate) use stamps::Stamps;
#[cfg(test)]
pub(crate) use tests::{overlaid, scratch, torture};
pub(crate) use unpack::{Devices, Omitted, unpack};
#[cfg(test)]
pub(crate) use unpack::{OmittedKind, UnpackError, Unpacked};
pub(crate) use usage::usage;
