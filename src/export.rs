//! Writes what is stored of a role in the forms that other programs read.
//!
//! An image of a role is its stored layers, from the template's on: [`Image`]. What each carries is found by
//! the listings that the store has of it and of the one below, so that nothing unchanged is read. Nothing
//! that makes a container itself is in a stored tree. Its placeholder name stays in the layers; a small
//! last one lays a neutral name over it.

mod archive;
mod archive_file;
mod blob;
mod compressed;
mod compressor;
mod content;
mod digested;
mod directory;
mod frame;
mod gzip;
mod image;
mod incus;
mod oci;
mod oci_config;
mod os_release;
mod output;
mod proxmox;
mod room;
mod tar;
mod target;
#[cfg(test)]
mod tests;
mod warnings;
mod write;

pub(crate) use content::{form_of_content, has_content, told};
pub(crate) use image::Image;
pub(crate) use oci_config::{LayerBlob, is_layer};
pub(crate) use output::Output;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) use tar::{Kind, Member, write_end, write_header, write_padding};
pub(crate) use target::{LayerCompression, Target, TargetKind};
pub(crate) use warnings::Warnings;
