//! What a run is of, for the lines that tell of it: which layer of how many, and in the end where each came from.

use std::path::Path;
use std::time::Duration;

use super::output::line;
use crate::cache::{CacheAct, Planned};
use crate::manifest::LayerName;
use crate::plan::Plan;
use crate::shell;

/// How many names of layers are told in a row; more of them are counted.
const MOST_NAMES: usize = 3;

/// What a run is of.
#[derive(Debug)]
pub(super) struct Scene {
    /// The layers, the innermost first, and how each is had as far as the run has come.
    layers: Vec<(LayerName, Option<HadBy>)>,
    container: String,
    /// The command that starts the container; nothing, where something else has called the run.
    start: Option<String>,
}

/// How a layer is had. Of two parts of a layer the later one of these counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum HadBy {
    Stored,
    Pulled,
    Built,
    Made,
}

impl HadBy {
    fn word(self) -> &'static str {
        match self {
            Self::Stored => "from the store",
            Self::Pulled => "pulled",
            Self::Built => "built",
            Self::Made => "made in the container",
        }
    }
}

impl Scene {
    /// That of a plan. `is_whole` tells whether its container can be started after it.
    pub(super) fn of(plan: &Plan, is_whole: bool) -> Self {
        let mut layers: Vec<_> = plan.layers().map(|layer| (layer.name.clone(), None)).collect();
        layers.reverse();
        let container = &plan.container;
        let lxcpath = container.path.parent().filter(|path| *path != Path::new("/var/lib/lxc"));
        let name = shell::word(&container.name);
        let start = match lxcpath {
            Some(lxcpath) => format!("lxc-start -n {name} -P {}", shell::word(lxcpath)),
            None => format!("lxc-start -n {name}"),
        };
        Self { layers, container: container.name.clone(), start: is_whole.then_some(start) }
    }

    /// Returns which layer of how many one is, from the inside.
    pub(super) fn place(&self, layer: &LayerName) -> String {
        let count = self.layers.len();
        let number = self.layers.iter().position(|(name, _)| name == layer).map_or(0, |at| at + 1);
        format!("[{number}/{count}]")
    }

    /// Notes how a layer is had.
    pub(super) fn note(&mut self, planned: &Planned) {
        let origin = match &planned.act {
            CacheAct::Take { .. } => HadBy::Stored,
            CacheAct::Pull { .. } => HadBy::Pulled,
            CacheAct::Build { .. } => HadBy::Built,
            CacheAct::Make { .. } => HadBy::Made,
            _ => return,
        };
        let layer = self.layers.iter_mut().find(|(name, _)| *name == planned.layer);
        if let Some((_, had)) = layer {
            *had = (*had).max(Some(origin));
        }
    }

    /// Returns the line that ends a run, where the container can be started.
    pub(super) fn closing(&self, elapsed: Duration) -> Option<String> {
        let start = self.start.as_ref()?;
        let name = shell::one_line(&self.container);
        let known = || self.layers.iter().all(|(_, origin)| origin.is_some());
        let origins: Vec<_> = match known() {
            true => self.layers.chunk_by(|one, other| one.1 == other.1).map(told).collect(),
            false => Vec::new(),
        };
        let origins = match origins.is_empty() {
            true => String::new(),
            false => format!(": {}", origins.join(", ")),
        };
        let took = elapsed.as_secs_f64();
        Some(line(&format!("{name} made in {took:.1} s{origins}; {start}")))
    }
}

/// Tells how layers in a row are had.
fn told(layers: &[(LayerName, Option<HadBy>)]) -> String {
    let names: Vec<&str> = layers.iter().map(|(name, _)| name.as_str()).collect();
    let names = match names.len() {
        count if count > MOST_NAMES => format!("{count} layers"),
        _ => names.join(", "),
    };
    let word = layers.first().and_then(|(_, origin)| *origin).map_or("", HadBy::word);
    format!("{names} {word}")
}
