//! How a run is told of, and what is kept of it.

use super::arguments::{LogFormat, RunArguments, TalkArguments};
use crate::record::RunVerb;

/// How a run is told of, and what is kept of it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Options {
    pub(super) talk: TalkArguments,
    /// Whether the rootfs of a failed run is kept.
    pub(super) keep_failed: bool,
    /// Whether steps have the host's network where nothing keeps them from its containers.
    pub(super) allow_untrusted: bool,
    /// What it is for.
    pub(super) verb: RunVerb,
}

impl Options {
    pub(super) fn of(arguments: RunArguments, verb: RunVerb) -> Self {
        let RunArguments { talk, keep_failed, allow_untrusted } = arguments;
        Self { talk, keep_failed, allow_untrusted, verb }
    }

    /// Those of what no option tells more of.
    pub(super) fn plain(verb: RunVerb) -> Self {
        let talk = TalkArguments { verbose: 0, quiet: false, log_format: LogFormat::Text };
        Self { talk, keep_failed: false, allow_untrusted: false, verb }
    }

    /// Tells whether LXC made the container, so that it is LXC's to remove.
    pub(super) fn is_under_lxc(self) -> bool {
        self.verb == RunVerb::Template
    }
}
