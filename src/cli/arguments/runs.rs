//! The options of `runs`.

use clap::{Args, Subcommand};

use super::OutputArguments;

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct RunsArguments {
    #[command(subcommand)]
    pub(crate) verb: Option<RunsVerb>,
    /// List only those that failed, were interrupted, or were lost.
    #[arg(long)]
    pub(crate) failed: bool,
    /// List only the last N.
    #[arg(long, value_name = "N")]
    pub(crate) last: Option<usize>,
    #[command(flatten)]
    pub(crate) output: OutputArguments,
}

#[derive(Debug, Subcommand)]
pub(crate) enum RunsVerb {
    /// Show one run: when, what for, and how it ended.
    Show(ShowRunArguments),
}

#[derive(Debug, Args)]
pub(crate) struct ShowRunArguments {
    /// Its number [default: that of the latest].
    #[arg(value_name = "RUN", value_parser = number)]
    pub(crate) run: Option<u64>,
    /// Print its log.
    #[arg(long, conflicts_with = "format")]
    pub(crate) log: bool,
    #[command(flatten)]
    pub(crate) output: OutputArguments,
}

fn number(text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| "RUN is a number: `layered-template runs` lists them".to_owned())
}
