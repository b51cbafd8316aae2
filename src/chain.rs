//! The chain: a manifest's layers with their variables bound, the innermost first.
//!
//! [`resolve()`] gathers the files that a manifest names; it asks a [`Library`] for them. [`bind()`]
//! puts the variables' values in. Both are pure, and gather every fault.

mod advice;
mod bind;
mod config;
mod context;
mod file;
mod mask;
mod model;
mod origin;
mod overlap;
mod render;
mod resolve;
mod scope;
mod secret;
mod secret_variable;
mod used;
mod values;

pub(crate) use advice::{of_the_host, on_the_host};
pub use bind::bind;
pub(crate) use bind::judge;
pub(crate) use config::judge_file as judge_config_file;
pub use context::{BindContext, Container, SetBy};
pub use mask::MaskedStream;
pub use model::{
    Chain, ConfigLine, Dropped, EnvSource, FileDrop, Layer, Upstream, UpstreamInput, Variable,
};
pub use origin::Origin;
pub use render::{RenderError, Rendered, render, reveal};
pub use resolve::{Level, Library, Role, resolve};
pub use scope::declared;
pub use secret::{Secret, Secrets};
pub use secret_variable::SecretVariable;
pub use values::Values;
