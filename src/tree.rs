//! Complete trees of files: how they are copied, made of an overlay, listed, measured and removed.
//!
//! What is in a tree came from a container, so names and links in it are hostile. A tree is worked
//! on by descriptors of its directories and one name at a time, and no link is followed: no name is
//! too strange, no path too long, and none leads out. That nobody else changes a tree meanwhile is
//! the caller's to see to.

mod attributes;
mod bell;
mod bytes;
mod copy;
mod crew;
mod descriptors;
mod directory;
mod immutable;
mod label;
mod links;
mod listing;
mod maker;
mod merge;
mod relink;
mod remove;
#[cfg(test)]
mod tests;
mod trail;
mod usage;
mod xattr;
mod zone;

pub use attributes::{copy_attributes, times};
pub use bell::Bell;
pub use copy::copy;
pub use immutable::loosened;
pub use listing::{
    Difference, Entry, Finding, Kind, Known, LONGEST_TEXT, Listing, Place, PlaceKind,
};
pub use merge::{Changes, Form, merge};
pub use relink::relink;
pub use remove::remove;
pub use usage::{Usage, usage};
