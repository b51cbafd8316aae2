//! The cache: which layers of a plan come from the layer store, and what a run does about it.
//!
//! Pure. A [`CachePlan`] says which layers may be stored, each in a [`Slot`]; a slot's
//! [`KeyInputs`] give its key; an [`Index`] is what the store holds. From these [`Ladder::of`]
//! makes the acts of a run, in order. `plan` shows them, and a run does them.

mod act;
mod config;
mod index;
mod inputs;
mod key;
mod key_inputs;
mod keys;
mod ladder;
mod names;
mod offer;
mod plan;
mod policy;
mod show;
mod status;
mod twin;

pub use act::{BuildBase, CacheAct, CheckSees, Key, Lack, Planned};
pub use config::{CONFIG_NAME, DELTA, WORK, with_addresses};
pub(crate) use index::AskRegistry;
pub use index::{BadEntry, Fault, Index, Refusal, StoredEntry, in_largest_unit};
pub use inputs::{BaseInputs, Input};
pub use key::{Field, KeyInputs, SEMANTICS};
#[cfg(test)]
pub(crate) use key_inputs::BUSYBOX_RECIPE;
pub use keys::{IdentityKeys, KeyMaker};
pub use ladder::{Ladder, LadderContext, Limit, Progress};
pub use names::{Names, PLACEHOLDER};
pub use offer::{Answer, Evidence, Offer, PinnedEntry, Provenance, Required, Unfit, Vouched};
pub use plan::{
    Cache, CachePlan, Handed, OverlayHost, Pulling, Purpose, Slot, SlotKind, Wanted, label,
};
pub use show::PlanDocument;
pub(crate) use show::bytes;
pub use twin::{Observed, TwinFault, cache};
