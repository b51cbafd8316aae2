//! The plan: what a run will do, as a value shaped as the nest that it will run.
//!
//! [`build`] is pure: chain, target and observed [`Facts`] go in. What shows a plan and what runs
//! it take the same value, so that neither can differ from the other.

mod build;
mod definition;
mod drop;
mod entry_names;
mod facts;
pub mod inside;
mod key;
mod machine;
mod mermaid;
mod nest;
mod pattern;
mod show;
mod storage;

pub use build::{build, check, store};
pub use drop::{Bytes, Content, Entry, EntryKind, FileDrop};
pub use entry_names::entry_names;
pub use facts::{Facts, FileFact, Observed, Program, Script};
pub use key::{Document, EntryId, Field, SEMANTICS};
pub use machine::asked_for;
pub use mermaid::mermaid;
pub use nest::{
    Act, Configuration, Inner, Inside, Layer, Manifest, Place, Plan, Step, Target, Template,
    Upstream, Variable,
};
pub use show::{Detail, text};
pub use storage::{
    Ground, Handed, Input, Known, Mode, PLACEHOLDER, Part, Pattern, Rung, Standing, Stock,
    Storable, Storage, in_largest_unit, settle,
};
