//! The chain: a manifest's layers with their variables bound, the innermost first.
//!
//! [`bind`] is pure. It gathers every fault that shows only with the values known.

mod bind;
mod file;
mod model;
mod overlap;
mod render;
mod values;

pub use bind::bind;
pub use model::{
    Chain, ConfigLine, Container, Dropped, EnvSource, FileDrop, Layer, Upstream, Variable,
};
pub use render::render;
pub use values::Values;
