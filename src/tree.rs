//! Complete trees of files: how they are copied, made of an overlay, listed, measured and removed.
//!
//! What is in a tree came from a container, so names and links in it are hostile. A tree is worked
//! on by descriptors of its directories and one name at a time, and no link is followed: no name is
//! too strange, no path too long, and none leads out. That nobody else changes a tree meanwhile is
//! the caller's to see to.

mod attributes;
mod bytes;
mod copy;
mod descriptors;
mod dir_path;
mod directory;
mod escape;
mod immutable;
mod interrupt;
mod label;
mod links;
mod listing;
mod maker;
mod marks;
mod merge;
mod relink;
mod remove;
mod sharing;
mod stamps;
mod target_dir;
#[cfg(test)]
mod tests;
mod usage;
mod workers;
mod xattr;

pub use attributes::{copy_attributes, times};
pub use copy::copy;
pub use escape::escape;
pub use immutable::loosened;
pub use interrupt::Interrupt;
pub use listing::{
    Baseline, Change, Difference, LONGEST_TEXT, Listed, ListedFile, ListedKind, Listing,
    Occurrence, OccurrenceKind, Search,
};
pub use marks::{Form, Marks};
pub use merge::{Changes, merge};
pub use relink::relink;
pub use remove::remove;
pub use stamps::Stamps;
pub use usage::{Usage, usage};
