//! What is looked at before anything is decided: the host, the files that a manifest takes from, and what
//! defines an upstream besides its call. Nothing here changes anything.

pub mod doctor;
pub mod ground;
mod input;
pub mod library;
mod needs;
pub mod probe;
pub mod reading;
pub mod secret;
pub mod tree;
