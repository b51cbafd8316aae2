//! What is told of a run while it goes on.

use std::fmt;
use std::time::Duration;

use crate::cache::Planned;
use crate::manifest::{LayerName, Phase};
use crate::source::At;

/// Who is told what happens.
pub(crate) trait Observer: fmt::Debug {
    /// Takes an event.
    fn event(&mut self, event: &Event<'_>);

    /// Returns how often it wants a [`Event::Tick`] while something goes on; never, if nothing.
    fn tick(&self) -> Option<Duration> {
        None
    }
}

/// Something that happens.
#[derive(Debug, Clone)]
pub(crate) enum Event<'a> {
    /// Something begins.
    Begun {
        /// What.
        subject: &'a Subject,
        /// Where the manifest has it.
        at: &'a At,
        /// What it is, in a line.
        text: &'a str,
    },
    /// It goes on.
    Tick,
    /// So much of it is there by now.
    Bytes {
        /// How many bytes.
        done: u64,
        /// How many there will be, where that is known.
        total: Option<u64>,
    },
    /// It has printed something.
    Output {
        /// What.
        subject: &'a Subject,
        /// A piece of its output, not always a whole line.
        bytes: &'a [u8],
    },
    /// A signal asks for its end, which follows.
    Interrupted,
    /// It has come to its end.
    Ended {
        /// What.
        subject: &'a Subject,
        /// Whether it did what it should.
        succeeded: bool,
        /// How long it took.
        elapsed: Duration,
    },
    /// The container is made, all that is to be done with it and the record included.
    Made {
        /// How long the run took.
        elapsed: Duration,
    },
    /// An act of the layer store's begins.
    Act(&'a Planned),
    /// Something that a person should know.
    Note(&'a str),
}

/// What a run is at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Subject {
    /// The layer.
    pub layer: LayerName,
    /// What of the layer.
    pub doing: Doing,
}

/// What a run does for a layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Doing {
    /// A step.
    Step {
        /// Of which kind.
        phase: Phase,
        /// What people call it.
        title: Option<String>,
    },
    /// The upstream template.
    Upstream(String),
    /// The drop to this path.
    Drop(String),
    /// The lines of the config.
    Config,
    /// What the layer store has of the layer.
    Store,
}

impl fmt::Display for Subject {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let layer = &self.layer;
        match &self.doing {
            Doing::Step { phase, title: None } => {
                write!(formatter, "`{phase}` of layer `{layer}`")
            }
            Doing::Step { phase, title: Some(title) } => {
                write!(formatter, "`{phase}` of layer `{layer}` ({title})")
            }
            Doing::Upstream(template) => {
                write!(formatter, "template `{template}` of layer `{layer}`")
            }
            Doing::Drop(path) => write!(formatter, "file `{path}` of layer `{layer}`"),
            Doing::Config => write!(formatter, "config of layer `{layer}`"),
            Doing::Store => write!(formatter, "layer `{layer}`"),
        }
    }
}
