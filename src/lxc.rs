//! What LXC and its templates expect, as data and text: nothing here touches the system.

pub mod call;
pub mod config;
pub mod given;
pub mod keys;
pub mod machine;
pub mod request;
pub mod upstream;
