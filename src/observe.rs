//! What is looked at before anything is decided: the host, the files that a manifest takes from, and what
//! defines an upstream besides its call. Nothing here changes anything.

pub(crate) mod base_inputs;
pub(crate) mod container;
pub(crate) mod doctor;
pub(crate) mod finding;
mod hook;
mod input;
mod interpreters;
pub mod library;
pub(crate) mod lxc;
mod needs;
pub mod probe;
pub(crate) mod reading;
pub(crate) mod remedy;
pub(crate) mod secret;
mod starting;
pub(crate) mod tree;
