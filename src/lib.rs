//! `layered-template` reads a manifest that lists ordered layers, and runs them as nested wrappers
//! around an LXC template.
//!
//! Data flows one way. Three bands, each may use those before it; `tests/architecture` holds
//! the code to it:
//!
//! - **pure**: [`manifest`], [`chain`], [`lxc`], [`plan`], [`cache`], [`lock`], [`record`], [`merge`] turn text and observed facts
//!   into values and touch nothing;
//! - **effects**: [`host`], [`observe`], [`tree`], [`store`], [`registry`] and [`execute`] read and change the system;
//! - **skin**: [`cli`] reads the command line and talks to people.
//!
//! [`source`], [`digest`], [`diagnostic`], [`shell`] and [`layers`] are what all others are built on.

pub mod cache;
pub mod chain;
pub mod cli;
pub mod diagnostic;
pub mod digest;
pub(crate) mod execute;
mod export;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzz;
pub(crate) mod host;
pub mod layers;
pub(crate) mod lock;
pub mod lxc;
pub mod manifest;
pub(crate) mod merge;
pub mod observe;
pub mod plan;
pub(crate) mod record;
mod registry;
#[cfg(test)]
mod schema;
pub(crate) mod shell;
pub mod source;
pub(crate) mod store;
pub(crate) mod tree;
