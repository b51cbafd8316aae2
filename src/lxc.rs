//! What LXC and its templates expect, as data and text: nothing here touches the system.

pub mod call;
pub mod config;
pub(crate) mod given;
mod installed;
pub(crate) mod keys;
pub(crate) mod lines;
pub mod machine;
mod number;
pub(crate) mod request;
pub(crate) mod revision;
pub(crate) mod slip;
pub mod upstream;
mod values;
mod version;

pub use installed::InstalledLxc;
pub use version::LxcVersion;
