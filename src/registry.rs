//! Brings stored layers to a registry, and has them from there.
//!
//! A role is pushed as an ordinary OCI image. Beside it each layer is found by its key: the tag `key-` and the
//! digits of the key. What is pulled enters the store only if somebody vouches for it.

mod authorization;
mod base64;
mod client;
mod credentials;
mod download;
mod entry;
mod fault;
mod manifest;
mod meter;
mod notice;
mod pace;
mod proxy;
mod push;
mod reference;
mod remote;
mod settings;
mod signature;
#[cfg(feature = "registry")]
mod socket;
mod target;
mod transport;
mod upload;

pub(crate) use client::Client;
pub(crate) use fault::RegistryError;
pub(crate) use meter::{Meter, Upload};
pub(crate) use notice::Notice;
pub(crate) use push::{Push, Pushed};
pub(crate) use reference::{Reference, ReferenceError, Repository};
pub(crate) use remote::{Pulled, Remote};
pub(crate) use settings::Settings;
pub(crate) use signature::Signer;
