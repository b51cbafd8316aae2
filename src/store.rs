//! The layer store: what is kept of a chain's layers, so that none is built twice.
//!
//! Nothing here knows of manifests, of plans or of LXC.

pub mod tree;
