//! The options of the subcommands that look at containers.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::Args;

use super::{LockedArguments, OutputArguments, RemoteArguments, RunArguments, ValueArguments};

/// Where else containers are.
#[derive(Debug, Args)]
pub(crate) struct PlaceArguments {
    /// Look for containers in this directory too, and first for those that are named; may be repeated.
    #[arg(long, short = 'P', value_name = "DIR")]
    pub(crate) lxcpath: Vec<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct StatusArguments {
    /// The names or the directories of containers [default: all].
    #[arg(value_name = "CONTAINER")]
    pub(crate) containers: Vec<PathBuf>,
    #[command(flatten)]
    pub(crate) places: PlaceArguments,
    #[command(flatten)]
    pub(crate) output: OutputArguments,
    /// Also look for changes in each container since it was made, as `diff` does. On an overlay only the
    /// container's own files are read; of a copy, all are.
    #[arg(long)]
    pub(crate) drift: bool,
    /// Exit with 1 if any is outdated; with `--drift`, also if any was changed.
    #[arg(long)]
    pub(crate) exit_code: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ShowArguments {
    /// The name or the directory of a container, or a manifest.
    #[arg(value_name = "CONTAINER|MANIFEST")]
    pub(crate) what: PathBuf,
    #[command(flatten)]
    pub(crate) places: PlaceArguments,
    #[command(flatten)]
    pub(crate) output: OutputArguments,
}

#[derive(Debug, Args)]
pub(crate) struct DiffArguments {
    /// The name or the directory of a container.
    #[arg(value_name = "CONTAINER")]
    pub(crate) container: PathBuf,
    /// Show what a new run of this manifest would change, with the values that the container was made with;
    /// `plan --diff` takes others.
    #[arg(value_name = "MANIFEST")]
    pub(crate) manifest: Option<PathBuf>,
    /// Show how the lines of texts have changed.
    #[arg(long, short)]
    pub(crate) patch: bool,
    /// Also show what every running system writes: logs, caches, leases and the like.
    #[arg(long, short)]
    pub(crate) all: bool,
    #[command(flatten)]
    pub(crate) places: PlaceArguments,
    #[command(flatten)]
    pub(crate) output: OutputArguments,
}

#[derive(Debug, Args)]
pub(crate) struct UpgradeArguments {
    /// The names or the directories of containers; with `--all`, the manifest of a role.
    #[arg(required = true, value_name = "CONTAINER|MANIFEST")]
    pub(crate) what: Vec<PathBuf>,
    /// Upgrade all containers of the role, one by one.
    #[arg(long)]
    pub(crate) all: bool,
    /// With several containers, stop after N failures.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) max_failures: u32,
    /// Show what would change, and leave the container as it is. What the role lacks in the store is
    /// built all the same.
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Where both the role and the container have changed this path or what is below it, take the
    /// role's; `config:KEY` for a key of the config, `beside:NAME` for a file beside the rootfs. May be repeated.
    #[arg(long, value_name = "PATH")]
    pub(crate) take: Vec<OsString>,
    /// Likewise, keep the container's.
    #[arg(long, value_name = "PATH")]
    pub(crate) keep: Vec<OsString>,
    /// Use this manifest instead of the one that the container was made from.
    #[arg(long, value_name = "FILE", conflicts_with = "all")]
    pub(crate) manifest: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) values: ValueArguments,
    /// Give up the value that the container was made with for this variable. May be repeated.
    #[arg(long, value_name = "NAME")]
    pub(crate) unset: Vec<String>,
    #[command(flatten)]
    pub(crate) lock: LockedArguments,
    #[command(flatten)]
    pub(crate) remote: RemoteArguments,
    #[command(flatten)]
    pub(crate) places: PlaceArguments,
    #[command(flatten)]
    pub(crate) output: OutputArguments,
    #[command(flatten)]
    pub(crate) run: RunArguments,
}

#[derive(Debug, Args)]
pub(crate) struct RollbackArguments {
    /// The name or the directory of a container.
    #[arg(value_name = "CONTAINER")]
    pub(crate) container: PathBuf,
    #[command(flatten)]
    pub(crate) places: PlaceArguments,
}
