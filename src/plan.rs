//! The plan: what a run will do, as a value shaped as the nest that it will run.
//!
//! [`build`] is pure: chain, target and observed [`Facts`] go in. What shows a plan and what runs
//! it take the same value, so that neither can differ from the other.

mod build;
mod drop;
mod facts;
pub mod inside;
mod mermaid;
mod nest;
mod show;

pub use build::{build, check};
pub use drop::{Bytes, Content, Entry, EntryKind, FileDrop};
pub use facts::{Facts, FileFact, Observed, Program, Script};
pub use mermaid::mermaid;
pub use nest::{
    Act, Configuration, Inner, Inside, Layer, Manifest, Place, Plan, Step, Target, Template,
    Upstream, Variable,
};
pub use show::{Detail, text};
