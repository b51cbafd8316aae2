//! The options of the commands that fill the layer store, or look into it for whole roles: `build`, `pull`, `push`
//! and `lock`.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::{
    LockedArguments, RemoteArguments, RunArguments, TalkArguments, ValueArguments, duration,
};
use crate::manifest::Duration;

/// How the layers of an image are compressed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum CompressionChoice {
    /// Every program that runs images reads it.
    #[default]
    Gzip,
    /// Made in less time, by the host's `zstd`, which hosts that pull it need too.
    Zstd,
}

impl From<CompressionChoice> for crate::export::LayerCompression {
    fn from(choice: CompressionChoice) -> Self {
        match choice {
            CompressionChoice::Gzip => Self::Gzip,
            CompressionChoice::Zstd => Self::Zstd,
        }
    }
}

/// Which roles, and of which containers.
#[derive(Debug, Clone, Args)]
pub(crate) struct RolesArguments {
    /// The manifests.
    #[arg(required = true, value_name = "MANIFEST")]
    pub(crate) manifests: Vec<PathBuf>,
    #[command(flatten)]
    pub(crate) values: ValueArguments,
    /// The file that the containers' config starts with; its id map decides which part of the store is
    /// used [default: LXC's default.conf, if there is one].
    #[arg(long, short = 'f', value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Arguments for the upstream template.
    #[arg(last = true, value_name = "ARGUMENTS")]
    pub(crate) args: Vec<OsString>,
}

#[derive(Debug, Args)]
pub(crate) struct BuildArguments {
    #[command(flatten)]
    pub(crate) roles: RolesArguments,
    #[command(flatten)]
    pub(crate) remote: RemoteArguments,
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
}

#[derive(Debug, Args)]
pub(crate) struct PullArguments {
    #[command(flatten)]
    pub(crate) roles: RolesArguments,
    /// The repository of a registry to pull from [default: `from` of
    /// /etc/layered-template/remote.toml, or of ~/.config/layered-template/remote.toml].
    #[arg(long, value_name = "REGISTRY/REPO")]
    pub(crate) from: Option<String>,
    /// Hold the roles to their locks, and pull what these pin.
    #[arg(long)]
    pub(crate) locked: bool,
    /// As root, take files that others could have written. Take layers that nobody vouches for.
    #[arg(long)]
    pub(crate) allow_untrusted: bool,
    #[command(flatten)]
    pub(crate) talk: TalkArguments,
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
    #[command(flatten)]
    pub(crate) roles: RolesArguments,
    /// Compare with the lock instead of writing it: exit with 1 if anything has changed.
    #[arg(long)]
    pub(crate) check: bool,
}
