//! The subcommands and their options.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::manifest::Duration;

/// Makes LXC containers from manifests: ordered layers around an LXC template.
#[derive(Debug, Parser)]
#[command(name = "layered-template", version, max_term_width = 100)]
#[command(after_help = "\
As a template of LXC's, after `layered-template install-template`:
  lxc-create -t layered-template -n NAME -- --manifest ROLE.toml [ARGUMENTS OF THE TEMPLATE...]

Exit status: 0 done; 1 findings; 2 a command line or a manifest that cannot be used; 3 a pre step,
4 the upstream template, 5 files or config, 6 a post step, 7 a check, 8 the layer store failed; 128+N
signal N.")]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

impl Cli {
    /// Returns how much is told: -1 with `--quiet`, else how often `-v` stands there.
    pub(crate) fn verbosity(&self) -> i8 {
        let (verbose, quiet) = match &self.verb {
            Verb::Plan(arguments) => (arguments.verbose, false),
            Verb::Create(arguments) => (arguments.run.talk.verbose, arguments.run.talk.quiet),
            Verb::Build(arguments) => (arguments.run.talk.verbose, arguments.run.talk.quiet),
            _ => (0, false),
        };
        if quiet { -1 } else { i8::try_from(verbose).unwrap_or(i8::MAX) }
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Shows what a run would do: every step, file and line. Changes nothing and runs nothing.
    Plan(PlanArguments),
    /// Judges manifests.
    Validate(ValidateArguments),
    /// Makes a container without LXC: the same run into a plain directory, with a config that LXC
    /// loads.
    Create(CreateArguments),
    /// Fills the layer store without a container: each layer of the manifests is made once.
    Build(BuildArguments),
    /// Enters the rootfs of a failed run or of a container, in the sandbox of its steps.
    Shell(ShellArguments),
    /// Says what this host and this user can and cannot do.
    Doctor(DoctorArguments),
    /// Lists the reusable layers, or shows one.
    #[command(subcommand)]
    Layer(LayerVerb),
    /// Looks after the layer store.
    #[command(subcommand)]
    Store(StoreVerb),
    /// Writes a manifest to start from.
    Init(InitArguments),
    /// Prints the JSON schema of a format.
    Schema(SchemaArguments),
    /// Installs this program where `lxc-create -t layered-template` looks for it.
    InstallTemplate(InstallArguments),
    /// Prints the completions for a shell.
    Completions(CompletionArguments),
    /// Prints the manual page, or writes one page a subcommand into a directory.
    Man(ManArguments),
}

/// How a manifest is named.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(crate) struct ManifestArgument {
    /// The manifest.
    #[arg(value_name = "MANIFEST")]
    positional: Option<PathBuf>,
    /// The manifest, as template mode names it.
    #[arg(long, value_name = "MANIFEST")]
    manifest: Option<PathBuf>,
}

impl From<StorageMode> for crate::plan::StorageMode {
    fn from(mode: StorageMode) -> Self {
        match mode {
            StorageMode::Copy => Self::Copy,
            StorageMode::Overlay => Self::Overlay,
            StorageMode::None => Self::None,
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
    /// Sets a variable of the manifest; may be given again.
    #[arg(long, value_name = "NAME=VALUE")]
    pub(crate) set: Vec<String>,
    /// Sets the variables that a TOML file gives; may be given again.
    #[arg(long = "vars-file", value_name = "FILE")]
    pub(crate) vars_files: Vec<PathBuf>,
}

/// How a run uses the layer store.
#[derive(Debug, Clone, Copy, Default, Args)]
pub(crate) struct StorageArguments {
    /// How the container comes to what is stored.
    #[arg(long, value_enum, value_name = "HOW", default_value_t = StorageMode::Copy)]
    pub(crate) storage: StorageMode,
    /// Makes everything anew that is stored.
    #[arg(long)]
    pub(crate) rebuild: bool,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum StorageMode {
    /// It owns a copy.
    #[default]
    Copy,
    /// It stands on the stored tree, as an overlay.
    Overlay,
    /// Every layer is made in the container itself.
    None,
}

#[derive(Debug, Args)]
pub(crate) struct PlanArguments {
    #[command(flatten)]
    pub(crate) manifest: ManifestArgument,
    #[command(flatten)]
    pub(crate) values: ValueArguments,
    /// The name of the container; the manifest's, where none is given.
    #[arg(long, short, value_name = "NAME")]
    pub(crate) name: Option<String>,
    /// The directory of LXC's containers.
    #[arg(long, short = 'P', value_name = "DIR")]
    pub(crate) lxcpath: Option<PathBuf>,
    /// What the container's config starts with, as `lxc-create -f` has it; LXC's default.conf, where
    /// there is one.
    #[arg(long, short = 'f', value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) storage: StorageArguments,
    /// How the plan is written.
    #[arg(long, value_enum, default_value_t = PlanFormat::Text)]
    pub(crate) format: PlanFormat,
    /// Shows whole texts of steps, environments, and the entries of trees.
    #[arg(long, short, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,
    /// Arguments for the upstream template.
    #[arg(last = true, value_name = "ARGUMENTS")]
    pub(crate) args: Vec<OsString>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum PlanFormat {
    /// For people.
    Text,
    /// For programs.
    Json,
    /// As a diagram, in the language of Mermaid.
    Mermaid,
}

#[derive(Debug, Args)]
pub(crate) struct ValidateArguments {
    /// The manifests.
    #[arg(required = true, value_name = "MANIFEST")]
    pub(crate) manifests: Vec<PathBuf>,
    #[command(flatten)]
    pub(crate) values: ValueArguments,
    /// How the findings are written.
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
    /// The name of the container.
    #[arg(long, short, value_name = "NAME")]
    pub(crate) name: String,
    /// The directory of LXC's containers; LXC's own default, where none is given.
    #[arg(long, short = 'P', value_name = "DIR")]
    pub(crate) lxcpath: Option<PathBuf>,
    /// What the container's config starts with; LXC's default.conf, where there is one.
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
    /// What the config of the containers starts with: its id map decides which part of the store is
    /// filled; LXC's default.conf, where there is one.
    #[arg(long, short = 'f', value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Makes everything anew that is stored, each layer once.
    #[arg(long)]
    pub(crate) rebuild: bool,
    /// Makes anew what is older, as `7d`: a number and `s`, `m`, `h` or `d`.
    #[arg(long, value_name = "DURATION", conflicts_with = "rebuild", value_parser = duration)]
    pub(crate) older_than: Option<Duration>,
    #[command(flatten)]
    pub(crate) run: RunArguments,
    /// Arguments for the upstream template.
    #[arg(last = true, value_name = "ARGUMENTS")]
    pub(crate) args: Vec<OsString>,
}

fn duration(text: &str) -> Result<Duration, &'static str> {
    Duration::parse(text).ok_or("write a number and `s`, `m`, `h` or `d`")
}

/// How a run is told of, what is kept of it, and what its steps may do.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct RunArguments {
    /// Keep the rootfs of a failed run for people to look at.
    #[arg(long)]
    pub(crate) keep_failed: bool,
    /// Give steps the host's network even where nothing keeps them from the host's containers.
    #[arg(long)]
    pub(crate) allow_untrusted: bool,
    #[command(flatten)]
    pub(crate) talk: TalkArguments,
}

/// How much a run tells, and how.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct TalkArguments {
    /// Tells more.
    #[arg(long, short, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,
    /// Tells nothing but failures.
    #[arg(long, short, conflicts_with = "verbose")]
    pub(crate) quiet: bool,
    /// How it is told what happens.
    #[arg(long, value_enum, default_value_t = LogFormat::Text)]
    pub(crate) log_format: LogFormat,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

#[derive(Debug, Subcommand)]
pub(crate) enum LayerVerb {
    /// Lists the reusable layers that a manifest in this directory can use.
    List,
    /// Shows a reusable layer: what it is for, and its variables.
    Show {
        /// Its name.
        name: String,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum StoreVerb {
    /// Lists what is stored: layer, role, size, age, and how many containers stand on it.
    List {
        /// How it is written.
        #[arg(long, value_enum, default_value_t = ReportFormat::Text)]
        format: ReportFormat,
    },
    /// Reads all that is stored again, and tells of every byte that is not as it was.
    Verify {
        /// The entries, by the beginning of their names; all, where none is given.
        #[arg(value_name = "ENTRY")]
        entries: Vec<String>,
    },
    /// Removes what no container stands on.
    Gc {
        /// Forgets containers that cannot be reached, so that what they stand on can go.
        #[arg(long)]
        forget: bool,
    },
    /// Removes entries.
    Remove {
        /// The entries, by the beginning of their names.
        #[arg(required = true, value_name = "ENTRY")]
        entries: Vec<String>,
    },
}

#[derive(Debug, Args)]
pub(crate) struct InitArguments {
    /// The file that is written; there must be none.
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// The template that the manifest wraps: a name in LXC's template directory, a path, or
    /// `builtin:busybox`.
    #[arg(long, value_name = "TEMPLATE", default_value = "builtin:busybox")]
    pub(crate) template: String,
}

#[derive(Debug, Args)]
pub(crate) struct SchemaArguments {
    /// Of which format.
    #[arg(value_enum, default_value_t = Schema::Manifest)]
    pub(crate) of: Schema,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Schema {
    /// A manifest.
    Manifest,
    /// A reusable layer.
    Layer,
    /// A plan, as `plan --format json` writes it.
    Plan,
    /// The record of a run.
    Record,
}

#[derive(Debug, Args)]
pub(crate) struct ShellArguments {
    /// The directory of a failed run, or the name of a container, or the name of one that a failed
    /// run was to make.
    #[arg(value_name = "FAILED-RUN|CONTAINER")]
    pub(crate) place: PathBuf,
    /// The directory of LXC's containers; LXC's own default, where none is given.
    #[arg(long, short = 'P', value_name = "DIR")]
    pub(crate) lxcpath: Option<PathBuf>,
    /// With the host's network, as a step with `network = true`.
    #[arg(long)]
    pub(crate) network: bool,
    /// Give it the host's network even where nothing keeps it from the host's containers.
    #[arg(long, requires = "network")]
    pub(crate) allow_untrusted: bool,
    /// What runs there; `/bin/sh`, where nothing is given.
    #[arg(last = true, value_name = "COMMAND")]
    pub(crate) command: Vec<OsString>,
}

#[derive(Debug, Args)]
pub(crate) struct DoctorArguments {
    /// How the findings are written.
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
    /// Where to; LXC's template directory, where none is given.
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
    /// The directory that all pages are written into.
    #[arg(long, value_name = "DIR")]
    pub(crate) output: Option<PathBuf>,
}
