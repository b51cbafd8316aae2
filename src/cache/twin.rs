//! The plan of what can be stored, made of two plans: the container's, and its twin for the placeholder.

use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};

use super::inputs::BaseInputs;
use super::names::PLACEHOLDER;
use super::plan::{CachePlan, OverlayHost, Wanted};
use super::policy;
use crate::chain::Chain;
use crate::digest::Reading;
use crate::plan::{self, Facts, Plan, Target};

/// The longest name of a container that is its host name too, in bytes. Source: sethostname(2).
const LONGEST_NAME: usize = 64;

/// Why nothing of a plan can be stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TwinFault {
    /// The container's directory has another name.
    Directory,
    /// The container's name is too long.
    LongName,
    /// The role cannot be planned for another name.
    NoPlan,
}

impl fmt::Display for TwinFault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Directory => {
                formatter.write_str("the container's directory is not named as the container")
            }
            Self::LongName => {
                write!(formatter, "a name of more than {LONGEST_NAME} bytes is no host name")
            }
            Self::NoPlan => {
                formatter.write_str("no plan can be made for a container of another name")
            }
        }
    }
}

/// What was observed for the store, besides what the plan is made from.
#[derive(Debug)]
pub struct Observed {
    /// What defines a stored upstream besides its call.
    pub inputs: BaseInputs,
    /// The files that were read for that.
    pub readings: Vec<Reading>,
    /// What the config of a container on an overlay says of this host.
    pub host: OverlayHost,
    /// What the container's config starts with.
    pub config: Vec<u8>,
}

/// Returns which layers of a plan can be stored. `twin_chain` is `chain` as it is bound for
/// [`PLACEHOLDER`].
pub fn cache(
    plan: &Plan,
    (chain, twin_chain): (&Chain, &Chain),
    facts: &Facts,
    wanted: Wanted,
    observed: Observed,
) -> Result<CachePlan, TwinFault> {
    let container = plan.container.clone();
    let target = placeholder(&container);
    let is_named_so =
        container.path.file_name().is_some_and(|last| last == container.name.as_str());
    if container.name == target.name || !is_named_so {
        return Err(TwinFault::Directory);
    }
    if container.name.len() > LONGEST_NAME {
        return Err(TwinFault::LongName);
    }
    let twin = plan::build(twin_chain, target, facts).map_err(|_| TwinFault::NoPlan)?;
    let Observed { inputs, readings, host, config } = observed;
    let own = twin_chain.upstream.args.iter().map(OsString::from);
    let arguments = own.chain(container.args.iter().cloned()).collect();
    let mut cache = CachePlan {
        wanted,
        container,
        target: twin.container,
        twin: twin.layer,
        arguments,
        slots: Vec::new(),
        end: None,
        pins: Vec::new(),
        inputs,
        readings,
        host,
        config,
    };
    (cache.slots, cache.end) = policy::slots((chain, twin_chain), plan, &cache);
    Ok(cache)
}

/// Returns the container that stored layers are built for, beside the one of `target`.
fn placeholder(target: &Target) -> Target {
    let path: PathBuf = target.path.parent().unwrap_or(Path::new("/")).join(PLACEHOLDER);
    Target {
        name: PLACEHOLDER.to_owned(),
        rootfs: path.join("rootfs"),
        path,
        arch: target.arch.clone(),
        mapped: target.mapped,
        args: target.args.clone(),
    }
}
