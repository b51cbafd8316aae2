//! What is looked at before anything is decided: the host, the files that a manifest takes from, and what
//! defines an upstream besides its call. Nothing here changes anything.

pub mod base_inputs;
pub mod doctor;
pub mod finding;
mod input;
pub mod library;
mod needs;
pub mod probe;
pub mod reading;
pub mod secret;
pub mod tree;
