//! What LXC and its templates expect, as data and text: nothing here touches the system.

pub mod call;
pub mod config;
pub(crate) mod given;
pub(crate) mod keys;
pub mod machine;
pub(crate) mod request;
pub mod upstream;
