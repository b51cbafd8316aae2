//! The subcommands and their options.

mod container;
mod plan;
mod runs;

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

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
    /// Show what a run would do, without doing it: every step, file and line. Of several manifests, show which
    /// stored layers are not current.
    #[command(override_usage = "layered-template plan [OPTIONS] MANIFEST... [-- ARGUMENTS...]")]
    Plan(PlanArguments),
    /// Check manifests.
    Validate(ValidateArguments),
    /// Make a container without LXC: the same run into a plain directory, with a config that LXC
    /// loads.
    #[command(
        override_usage = "layered-template create [OPTIONS] -n NAME MANIFEST [-- ARGUMENTS...]"
    )]
    Create(CreateArguments),
    /// Fill the layer store without a container: build each layer of the manifests once.
    Build(BuildArguments),
    /// Push a role to a registry: as an image, and each stored layer by its key. Build what is missing
    /// first. Whoever may pull it reads the texts of its steps and the values of its variables.
    #[command(
        override_usage = "layered-template push [OPTIONS] MANIFEST REGISTRY/REPO[:TAG] [-- ARGUMENTS...]"
    )]
    Push(PushArguments),
    /// Fill the layer store from a registry, and build nothing.
    Pull(PullArguments),
    /// Write what a role is made from, and what was built of it, beside its manifest.
    Lock(LockArguments),
    /// Enter the rootfs of a failed run or of a container, in the sandbox of its steps.
    Shell(ShellArguments),
    /// List the containers that this program made, and whether each is what its role makes now.
    Status(StatusArguments),
    /// Show what a container was made from, or what a role is made of.
    Show(ShowArguments),
    /// Show what has changed in a container since it was made, or what a new run of a manifest would change
    /// in it, with the values that it was made with.
    Diff(DiffArguments),
    /// List the runs of this host, or show one: when, what for, and how it ended.
    Runs(RunsArguments),
    /// Bring a container up to date with its role, and keep what it has changed itself.
    Upgrade(UpgradeArguments),
    /// Restore a container to its state before the last upgrade. A second rollback undoes the first.
    Rollback(RollbackArguments),
    /// Report what this host and this user can and cannot do.
    Doctor(DoctorArguments),
    /// List the reusable layers, or show one.
    #[command(subcommand)]
    Layer(LayerVerb),
    /// Look after the layer store.
    #[command(subcommand)]
    Store(StoreVerb),
    /// Write a manifest to start from.
    Init(InitArguments),
    /// Print the JSON schema of a format.
    Schema(SchemaArguments),
    /// Install this program where `lxc-create -t layered-template` looks for it, or a manifest where
    /// `lxc-create -t NAME` does.
    InstallTemplate(InstallArguments),
    /// Print the completions for a shell.
    Completions(CompletionArguments),
    /// Print the manual page, or write one page per subcommand into a directory.
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

impl From<CompressionChoice> for crate::export::LayerCompression {
    fn from(choice: CompressionChoice) -> Self {
        match choice {
            CompressionChoice::Gzip => Self::Gzip,
            CompressionChoice::Zstd => Self::Zstd,
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

/// How the layers of an image are compressed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum CompressionChoice {
    /// Every program that runs images reads it.
    #[default]
    Gzip,
    /// Made in less time, by the host's `zstd`, which hosts that pull it need too.
    Zstd,
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

#[derive(Debug, Args)]
pub(crate) struct BuildArguments {
    /// The manifests.
    #[arg(required = true, value_name = "MANIFEST")]
    pub(crate) manifests: Vec<PathBuf>,
    #[command(flatten)]
    pub(crate) values: ValueArguments,
    #[command(flatten)]
    pub(crate) remote: RemoteArguments,
    /// The file that the containers' config starts with; its id map decides which part of the store is
    /// filled [default: LXC's default.conf, if there is one].
    #[arg(long, short = 'f', value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Rebuild everything that is stored, each layer once.
    #[arg(long)]
    pub(crate) rebuild: bool,
    /// Rebuild what is older than this: a number and `s`, `m`, `h` or `d`, as in `7d`.
    #[arg(long, value_name = "DURATION", conflicts_with = "rebuild", value_parser = duration)]
    pub(crate) older_than: Option<Duration>,
    /// Hold the roles to their locks: refuse what has changed since, and rebuild nothing of that.
    #[arg(long, conflicts_with_all = ["rebuild", "older_than"])]
    pub(crate) locked: bool,
    /// Write the role for other programs as well: `dir:DIR`, `tar:FILE` (`.gz`, `.xz`, `.zst`),
    /// `oci:DIR:TAG`, `lxc-local:DIR`, or `incus:DIR`; may be repeated. It needs a single manifest, all of
    /// whose layers can be stored.
    #[arg(long, short, value_name = "TARGET")]
    pub(crate) output: Vec<OsString>,
    /// How the layers of an `oci:DIR:TAG` are compressed.
    #[arg(long, value_enum, value_name = "HOW", default_value_t = CompressionChoice::Gzip)]
    pub(crate) compression: CompressionChoice,
    #[command(flatten)]
    pub(crate) run: RunArguments,
    /// Arguments for the upstream template.
    #[arg(last = true, value_name = "ARGUMENTS")]
    pub(crate) args: Vec<OsString>,
}

#[derive(Debug, Args)]
pub(crate) struct PullArguments {
    /// The manifests.
    #[arg(required = true, value_name = "MANIFEST")]
    pub(crate) manifests: Vec<PathBuf>,
    #[command(flatten)]
    pub(crate) values: ValueArguments,
    /// The repository of a registry to pull from [default: `from` of
    /// /etc/layered-template/remote.toml, or of ~/.config/layered-template/remote.toml].
    #[arg(long, value_name = "REGISTRY/REPO")]
    pub(crate) from: Option<String>,
    /// The file that the containers' config starts with; its id map decides which part of the store is
    /// filled [default: LXC's default.conf, if there is one].
    #[arg(long, short = 'f', value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Hold the roles to their locks, and pull what these pin.
    #[arg(long)]
    pub(crate) locked: bool,
    /// As root, take files that others could have written. Take layers that nobody vouches for.
    #[arg(long)]
    pub(crate) allow_untrusted: bool,
    #[command(flatten)]
    pub(crate) talk: TalkArguments,
    /// Arguments for the upstream template.
    #[arg(last = true, value_name = "ARGUMENTS")]
    pub(crate) args: Vec<OsString>,
}

#[derive(Debug, Args)]
pub(crate) struct PushArguments {
    /// The manifest.
    #[arg(value_name = "MANIFEST")]
    pub(crate) manifest: PathBuf,
    /// Where to push it: a registry, a repository of it, and the tag of the image [default tag: latest].
    #[arg(value_name = "REGISTRY/REPO[:TAG]")]
    pub(crate) to: String,
    /// Sign each layer with this SSH key: a private key, or the public key of one that an agent has.
    #[arg(long, value_name = "KEYFILE")]
    pub(crate) sign: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) lock: LockedArguments,
    /// Take blobs from this repository of the same registry instead of sending them.
    #[arg(long, value_name = "REPO")]
    pub(crate) mount_from: Option<String>,
    /// How the layers of the image are compressed.
    #[arg(long, value_enum, value_name = "HOW", default_value_t = CompressionChoice::Gzip)]
    pub(crate) compression: CompressionChoice,
    #[command(flatten)]
    pub(crate) values: ValueArguments,
    /// The file that the container's config starts with; its id map decides which part of the store is
    /// used [default: LXC's default.conf, if there is one].
    #[arg(long, short = 'f', value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Keep the rootfs of a failed run for people to look at.
    #[arg(long)]
    pub(crate) keep_failed: bool,
    /// As root, take files that others could have written, and let steps have the host's network anyway.
    #[arg(long)]
    pub(crate) allow_untrusted: bool,
    #[command(flatten)]
    pub(crate) talk: TalkArguments,
    /// Arguments for the upstream template.
    #[arg(last = true, value_name = "ARGUMENTS")]
    pub(crate) args: Vec<OsString>,
}

#[derive(Debug, Args)]
pub(crate) struct LockArguments {
    /// The manifests.
    #[arg(required = true, value_name = "MANIFEST")]
    pub(crate) manifests: Vec<PathBuf>,
    #[command(flatten)]
    pub(crate) values: ValueArguments,
    /// The file that the containers' config starts with; its id map decides which part of the store is
    /// looked into [default: LXC's default.conf, if there is one].
    #[arg(long, short = 'f', value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Compare with the lock instead of writing it: exit with 1 if anything has changed.
    #[arg(long)]
    pub(crate) check: bool,
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
