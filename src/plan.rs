//! The plan: what a run will do, as a value shaped as the nest that it will run.
//!
//! [`build()`] is pure: chain, target and observed [`Facts`] go in. What shows a plan and what runs
//! it take the same value, so that neither can differ from the other. It knows no store: what comes
//! from there is in [`crate::cache`].

mod build;
mod drop;
mod entry_names;
mod facts;
pub mod inside;
mod lossy;
mod machine;
mod mermaid;
mod nest;
mod show;
mod status;

pub use build::{build, check};
pub use drop::{Bytes, Content, EntryKind, FileDrop, TreeEntry};
pub use entry_names::entry_names;
pub use facts::{Facts, FileFact, Program, ProgramKind, Script, SourceFact};
pub use machine::asked_for;
pub use mermaid::mermaid;
pub use nest::{
    Act, Configuration, Inner, Inside, Layer, Manifest, Place, Plan, Step, Target, Template,
    Upstream, Variable,
};
pub(crate) use show::standing;
pub use show::{Detail, text};
pub use status::{CacheStatus, EntryId, Storage, StorageMode};
