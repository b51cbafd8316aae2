//! The options of `plan`.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::{RemoteArguments, StorageArguments, ValueArguments};

/// How manifests are named.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(crate) struct ManifestArguments {
    /// The manifests.
    #[arg(value_name = "MANIFEST")]
    positional: Vec<PathBuf>,
    /// A manifest, as an option: the way template mode names it.
    #[arg(long, value_name = "MANIFEST")]
    manifest: Option<PathBuf>,
}

impl ManifestArguments {
    /// Returns their paths, of which there is at least one.
    pub(crate) fn paths(&self) -> Vec<PathBuf> {
        self.positional.iter().chain(&self.manifest).cloned().collect()
    }
}

#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is an option of its own")]
pub(crate) struct PlanArguments {
    #[command(flatten)]
    pub(crate) manifests: ManifestArguments,
    #[command(flatten)]
    pub(crate) values: ValueArguments,
    #[command(flatten)]
    pub(crate) remote: RemoteArguments,
    /// The name of the container [default: the manifest's].
    #[arg(long, short, value_name = "NAME")]
    pub(crate) name: Option<String>,
    /// The directory of LXC's containers [default: LXC's own].
    #[arg(long, short = 'P', value_name = "DIR")]
    pub(crate) lxcpath: Option<PathBuf>,
    /// The file that the container's config starts with, as for `lxc-create -f` [default: LXC's
    /// default.conf, if there is one; with `--diff`, the config of the container].
    #[arg(long, short = 'f', value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) storage: StorageArguments,
    /// Show what this run would change in the container of that name, which exists, instead of all that the
    /// run would do: its drops, line by line, its config, and the layers that would be other ones. Values are
    /// those given here; `diff CONTAINER MANIFEST` compares with those that the container was made with.
    #[arg(long)]
    pub(crate) diff: bool,
    /// Exit with 1 if a stored layer would be built, or is decided only by the run; with `--diff`, also if
    /// anything would change in the container.
    #[arg(long)]
    pub(crate) exit_code: bool,
    /// Plan a run with this option: as root, it takes files that others could have written.
    #[arg(long)]
    pub(crate) allow_untrusted: bool,
    /// Plan output format.
    #[arg(long, value_enum, default_value_t = PlanFormat::Text)]
    pub(crate) format: PlanFormat,
    /// Show the whole text of steps, environments, and the entries of trees.
    #[arg(long, short, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,
    /// Show the layers of one manifest alone, on one screen.
    #[arg(long, conflicts_with_all = ["verbose", "format", "diff"])]
    pub(crate) short: bool,
    /// Arguments for the upstream template.
    #[arg(last = true, value_name = "ARGUMENTS")]
    pub(crate) args: Vec<OsString>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum PlanFormat {
    /// For people.
    Text,
    /// For programs; of several manifests a list.
    Json,
    /// As a diagram, in the language of Mermaid.
    Mermaid,
    /// As a table for a pull request on GitHub: which layers would be built, and why.
    Github,
}
