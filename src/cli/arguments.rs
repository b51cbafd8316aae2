//! The subcommands and their options.

mod build;
mod container;
mod plan;
mod runs;

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

pub(crate) use build::{
    BuildArguments, CompressionChoice, LockArguments, PullArguments, PushArguments,
};
pub(crate) use container::{
    DiffArguments, PlaceArguments, RollbackArguments, ShowArguments, StatusArguments,
    UpgradeArguments,
};
pub(crate) use plan::{PlanArguments, PlanFormat};
pub(crate) use runs::{RunsArguments, RunsVerb, ShowRunArguments};

use crate::manifest::Duration;

/// Make LXC containers from manifests: ordered layers around an LXC template.
#[derive(Debug, Parser)]
#[command(name = "layered-template", version, max_term_width = 100)]
#[command(after_help = "\
As a template of LXC's, after `layered-template install-template`:
  lxc-create -t layered-template -n NAME -- --manifest ROLE.toml [ARGUMENTS...]

Exit status:
  0 done; 1 findings; 2 unusable command line or manifest;
  3 pre step failed; 4 template failed; 5 files or config failed;
  6 post step failed; 7 check failed; 8 layer store or registry failed;
  10 untrusted files or layers; 128+N ended by signal N")]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

impl Cli {
    /// Returns how much is printed: -1 with `--quiet`, else how often `-v` is given.
    pub(crate) fn verbosity(&self) -> i8 {
        let (verbose, quiet) = match &self.verb {
            Verb::Plan(arguments) => (arguments.verbose, false),
            Verb::Create(arguments) => (arguments.run.talk.verbose, arguments.run.talk.quiet),
            Verb::Build(arguments) => (arguments.run.talk.verbose, arguments.run.talk.quiet),
            Verb::Pull(arguments) => (arguments.talk.verbose, arguments.talk.quiet),
            Verb::Upgrade(arguments) => (arguments.run.talk.verbose, arguments.run.talk.quiet),
            Verb::Push(arguments) => (arguments.talk.verbose, arguments.talk.quiet),
            _ => (0, false),
        };
        if quiet { -1 } else { i8::try_from(verbose).unwrap_or(i8::MAX) }
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Show what a run would do, without doing it.
    ///
    /// That is every step, file and config line. For several manifests, it shows which stored layers are out of date.
    #[command(override_usage = "layered-template plan [OPTIONS] MANIFEST... [-- ARGUMENTS...]")]
    Plan(PlanArguments),
    /// Check manifests.
    Validate(ValidateArguments),
    /// Make a container without LXC.
    ///
    /// It does what `lxc-create` does with this template, into a plain directory, with a config that LXC can load.
    #[command(
        override_usage = "layered-template create [OPTIONS] -n NAME MANIFEST [-- ARGUMENTS...]"
    )]
    Create(CreateArguments),
    /// Build the layers of manifests into the store.
    ///
    /// Each layer is built once, however many manifests share it, and no container is made.
    Build(BuildArguments),
    /// Push a role to a registry.
    ///
    /// It goes there as an image, and each stored layer by its key. What is missing is built first. Whoever may pull
    /// it can read the texts of its steps and the values of its variables.
    #[command(
        override_usage = "layered-template push [OPTIONS] MANIFEST REGISTRY/REPO[:TAG] [-- ARGUMENTS...]"
    )]
    Push(PushArguments),
    /// Pull layers from a registry into the store, and build nothing.
    Pull(PullArguments),
    /// Write a lock beside a manifest: what goes into it, and what was built.
    Lock(LockArguments),
    /// Enter the rootfs of a failed run or a container.
    ///
    /// The shell runs in the sandbox in which the steps ran.
    Shell(ShellArguments),
    /// List the containers that this program made, and which are out of date.
    Status(StatusArguments),
    /// Show what a container or a role is made of.
    Show(ShowArguments),
    /// Show what has changed in a container since it was made.
    ///
    /// Given a manifest too, show what a new run of that would change in the container, with the values that it was made
    /// with.
    Diff(DiffArguments),
    /// List the runs of this host, or show one.
    ///
    /// That is when it ran, for which container, and how it ended.
    Runs(RunsArguments),
    /// Bring a container up to date with its role.
    ///
    /// Whatever has changed in the container itself is kept.
    Upgrade(UpgradeArguments),
    /// Undo the last upgrade of a container.
    ///
    /// The container is as it was before that. A second rollback undoes the first.
    Rollback(RollbackArguments),
    /// Check what this host and this user can do.
    Doctor(DoctorArguments),
    /// List reusable layers, or show one.
    #[command(subcommand)]
    Layer(LayerVerb),
    /// Manage the layer store.
    #[command(subcommand)]
    Store(StoreVerb),
    /// Write a manifest to start from.
    Init(InitArguments),
    /// Print the JSON schema of a format.
    Schema(SchemaArguments),
    /// Install this program, or a manifest, as a template of LXC's.
    ///
    /// `lxc-create -t layered-template` finds the program then, and `lxc-create -t NAME` a manifest.
    InstallTemplate(InstallArguments),
    /// Print the completions for a shell.
    Completions(CompletionArguments),
    /// Print the manual page.
    ///
    /// Given a directory, write the pages of all subcommands into it.
    Man(ManArguments),
}

/// How a manifest is named.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(crate) struct ManifestArgument {
    /// The manifest.
    #[arg(value_name = "MANIFEST")]
    positional: Option<PathBuf>,
    /// The manifest, as an option: the way template mode names it.
    #[arg(long, value_name = "MANIFEST")]
    manifest: Option<PathBuf>,
}

impl From<StorageChoice> for crate::plan::StorageMode {
    fn from(mode: StorageChoice) -> Self {
        match mode {
            StorageChoice::Copy => Self::Copy,
            StorageChoice::Overlay => Self::Overlay,
            StorageChoice::None => Self::None,
        }
    }
}

impl ManifestArgument {
    pub(crate) fn path(&self) -> PathBuf {
        self.positional.clone().or_else(|| self.manifest.clone()).unwrap_or_default()
    }
}

/// Values for a manifest's variables.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct ValueArguments {
    /// Set a variable of the manifest; may be repeated.
    #[arg(long, value_name = "NAME=VALUE")]
    pub(crate) set: Vec<String>,
    /// Set variables from a TOML file; may be repeated.
    #[arg(long = "vars-file", value_name = "FILE")]
    pub(crate) vars_files: Vec<PathBuf>,
}

impl ValueArguments {
    /// Tells whether none is given.
    pub(crate) fn is_empty(&self) -> bool {
        self.set.is_empty() && self.vars_files.is_empty()
    }
}

/// How a run uses the layer store.
#[derive(Debug, Clone, Copy, Default, Args)]
pub(crate) struct StorageArguments {
    /// How to use the layer store: copy it into the container, share it through overlayfs, or do not
    /// use it.
    #[arg(long, value_enum, value_name = "HOW", default_value_t = StorageChoice::Copy)]
    pub(crate) storage: StorageChoice,
    /// Rebuild everything that is stored.
    #[arg(long, conflicts_with = "locked")]
    pub(crate) rebuild: bool,
    #[command(flatten)]
    pub(crate) lock: LockedArguments,
}

/// Whether a role is held to its lock.
#[derive(Debug, Clone, Copy, Default, Args)]
pub(crate) struct LockedArguments {
    /// Hold the role to its lock: refuse what has changed since, and rebuild nothing of that.
    #[arg(long)]
    pub(crate) locked: bool,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum StorageChoice {
    /// Copy stored layers into the container.
    #[default]
    Copy,
    /// Share the stored tree through overlayfs.
    Overlay,
    /// Do not use the store: build every layer in the container itself.
    None,
}

/// Where layers are pulled from that are not stored.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct RemoteArguments {
    /// Pull layers that are not stored from this repository of a registry [default: `from` of
    /// /etc/layered-template/remote.toml, or of ~/.config/layered-template/remote.toml].
    #[arg(long, value_name = "REGISTRY/REPO")]
    pub(crate) from: Option<String>,
    /// Build nothing: a layer that is neither stored nor in the registry is a failure.
    #[arg(long)]
    pub(crate) only_pull: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ValidateArguments {
    /// The manifests.
    #[arg(required = true, value_name = "MANIFEST")]
    pub(crate) manifests: Vec<PathBuf>,
    #[command(flatten)]
    pub(crate) values: ValueArguments,
    /// Findings output format.
    #[arg(long, value_enum, default_value_t = FindingsFormat::Text)]
    pub(crate) format: FindingsFormat,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum FindingsFormat {
    /// For people, on standard error.
    Text,
    /// For programs.
    Json,
    /// As annotations of a pull request on GitHub.
    Github,
}

#[derive(Debug, Args)]
pub(crate) struct CreateArguments {
    #[command(flatten)]
    pub(crate) manifest: ManifestArgument,
    #[command(flatten)]
    pub(crate) values: ValueArguments,
    #[command(flatten)]
    pub(crate) remote: RemoteArguments,
    /// The name of the container.
    #[arg(long, short, value_name = "NAME")]
    pub(crate) name: String,
    /// The directory of LXC's containers [default: LXC's own].
    #[arg(long, short = 'P', value_name = "DIR")]
    pub(crate) lxcpath: Option<PathBuf>,
    /// The file that the container's config starts with [default: LXC's default.conf, if there is
    /// one].
    #[arg(long, short = 'f', value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) storage: StorageArguments,
    #[command(flatten)]
    pub(crate) run: RunArguments,
    /// Arguments for the upstream template.
    #[arg(last = true, value_name = "ARGUMENTS")]
    pub(crate) args: Vec<OsString>,
}

fn duration(text: &str) -> Result<Duration, &'static str> {
    Duration::parse(text).ok_or("write a number and `s`, `m`, `h` or `d`")
}

/// How a run is reported, what is kept of it, and what its steps may do.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct RunArguments {
    /// Keep the rootfs of a failed run for people to look at.
    #[arg(long)]
    pub(crate) keep_failed: bool,
    /// As root, take files that others could have written, and give steps the host's network even where
    /// nothing keeps them from the host's containers. Take layers of a registry that nobody vouches for.
    #[arg(long)]
    pub(crate) allow_untrusted: bool,
    #[command(flatten)]
    pub(crate) talk: TalkArguments,
}

/// How much a run prints, and how.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct TalkArguments {
    /// Print more; may be repeated.
    #[arg(long, short, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,
    /// Print only failures.
    #[arg(long, short, conflicts_with = "verbose")]
    pub(crate) quiet: bool,
    /// Progress output format.
    #[arg(long, value_enum, default_value_t = LogFormat::Text)]
    pub(crate) log_format: LogFormat,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// For people.
    Text,
    /// For programs: one JSON object per line.
    Json,
}

#[derive(Debug, Subcommand)]
pub(crate) enum LayerVerb {
    /// List the reusable layers that a manifest in this directory can use.
    List,
    /// Show a reusable layer: what it is for, and its variables.
    Show {
        /// Its name.
        #[arg(value_name = "LAYER")]
        name: String,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum StoreVerb {
    /// List what is stored: layer, role, size, age, and how many containers use it.
    List(OutputArguments),
    /// Reread everything stored, and report every byte that has changed.
    Verify {
        /// The entries, by the beginning of their names [default: all].
        #[arg(value_name = "ENTRY")]
        entries: Vec<String>,
    },
    /// Remove what no container uses, except the newest entries of each role whose manifest exists.
    Gc(GcArguments),
    /// Remove entries.
    Remove {
        /// The entries, by the beginning of their names.
        #[arg(required = true, value_name = "ENTRY")]
        entries: Vec<String>,
        /// Remove them even if a container that used them is gone from its place.
        #[arg(long)]
        forget: bool,
    },
}

#[derive(Debug, Args)]
pub(crate) struct GcArguments {
    /// Keep what the last N different runs of each role used; 0 keeps only what containers use.
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) keep: usize,
    /// Remove only what was built longer ago: a number and `s`, `m`, `h` or `d`, as in `30d`.
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub(crate) older_than: Option<Duration>,
    #[command(flatten)]
    pub(crate) places: PlaceArguments,
    /// Forget containers that are gone or cannot be reached, so that what they used can be removed.
    #[arg(long)]
    pub(crate) forget: bool,
    /// Show what would be removed, and remove nothing.
    #[arg(long, short = 'n')]
    pub(crate) dry_run: bool,
}

#[derive(Debug, Args)]
pub(crate) struct InitArguments {
    /// The file to write, which must not exist; `-` is standard output.
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// The template for the manifest to wrap: a name in LXC's template directory, a path, or
    /// `builtin:busybox`.
    #[arg(long, value_name = "TEMPLATE", default_value = "builtin:busybox")]
    pub(crate) template: String,
    /// Make the manifest a template itself: `lxc-create -t /PATH/FILE` runs it.
    #[arg(long)]
    pub(crate) executable: bool,
}

#[derive(Debug, Args)]
pub(crate) struct SchemaArguments {
    /// Which format.
    #[arg(value_enum, default_value_t = Schema::Manifest)]
    pub(crate) of: Schema,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Schema {
    /// A manifest.
    Manifest,
    /// A reusable layer.
    Layer,
    /// A plan, as `plan --format json` writes it of one manifest.
    Plan,
    /// Plans in short, as it writes them of several.
    Plans,
    /// What an upgrade changes in a container, as `upgrade --format json` writes it.
    Upgrade,
    /// What has changed in a container, as `diff --format json` writes it.
    Drift,
    /// What a new run would change in a container, as `plan --diff` and `diff CONTAINER MANIFEST` write it.
    RoleDifference,
    /// The record of a run.
    Record,
    /// The history of runs, as `runs --format json` writes it.
    Runs,
}

#[derive(Debug, Args)]
pub(crate) struct ShellArguments {
    /// The directory of a failed run, the name or the directory of a container, or the name of one that a
    /// failed run was to make.
    #[arg(value_name = "FAILED-RUN|CONTAINER")]
    pub(crate) place: PathBuf,
    /// The directory of LXC's containers [default: LXC's own].
    #[arg(long, short = 'P', value_name = "DIR")]
    pub(crate) lxcpath: Option<PathBuf>,
    /// Use the host's network, as a step with `network = true` does.
    #[arg(long)]
    pub(crate) network: bool,
    /// Give it the host's network even where nothing keeps it from the host's containers.
    #[arg(long, requires = "network")]
    pub(crate) allow_untrusted: bool,
    /// The command to run [default: `/bin/sh`].
    #[arg(last = true, value_name = "COMMAND")]
    pub(crate) command: Vec<OsString>,
}

#[derive(Debug, Args)]
pub(crate) struct DoctorArguments {
    #[command(flatten)]
    pub(crate) output: OutputArguments,
}

/// How something is printed.
#[derive(Debug, Args)]
pub(crate) struct OutputArguments {
    /// Output format.
    #[arg(long, value_enum, default_value_t = ReportFormat::Text)]
    pub(crate) format: ReportFormat,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ReportFormat {
    /// For people.
    Text,
    /// For programs.
    Json,
}

#[derive(Debug, Args)]
pub(crate) struct InstallArguments {
    /// A manifest that is a template, to be linked from there instead of this program.
    #[arg(value_name = "MANIFEST")]
    pub(crate) manifest: Option<PathBuf>,
    /// The name for `lxc-create -t` to find the manifest by [default: that of the file].
    #[arg(long = "as", value_name = "NAME", requires = "manifest")]
    pub(crate) name: Option<String>,
    /// The directory to install into [default: LXC's template directory].
    #[arg(long, value_name = "DIR")]
    pub(crate) directory: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct CompletionArguments {
    /// Which shell.
    pub(crate) shell: clap_complete::Shell,
}

#[derive(Debug, Args)]
pub(crate) struct ManArguments {
    /// The directory to write all pages into; it is made if it is not there.
    #[arg(long, value_name = "DIR")]
    pub(crate) output: Option<PathBuf>,
}
