//! What a run is of, for the lines that tell of it: which layer of how many, and in the end where each came from.

use std::path::Path;
use std::time::Duration;

use super::output::line;
use super::wrap;
use crate::cache::{CacheAct, Planned};
use crate::host::program;
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
        let start = match program::find("lxc-start") {
            Some(_) => start,
            None => format!("{start} (with LXC installed)"),
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

    /// Returns the line that ends a run, where the container can be started; two lines, where a terminal of so many
    /// columns has no room for one.
    pub(super) fn closing(&self, elapsed: Duration, columns: Option<usize>) -> Option<String> {
        let start = self.start.as_ref()?;
        let name = shell::one_line(&self.container);
        let made = format!("{name} made in {:.1} s", elapsed.as_secs_f64());
        let columns = columns.unwrap_or(usize::MAX);
        let with = |origins: String| match origins.is_empty() {
            true => made.clone(),
            false => format!("{made}: {origins}"),
        };
        let (named, counted) = (with(self.origins(MOST_NAMES)), with(self.origins(0)));
        let whole = |made: &String| match start.split_once(" (") {
            Some((start, note)) => format!("{made}; start it: `{start}` ({note}"),
            None => format!("{made}; start it: `{start}`"),
        };
        let fits = |line: &&String| wrap::width(line) <= columns;
        let one = [whole(&named), whole(&counted)];
        if let Some(one) = one.iter().find(fits) {
            return Some(line(one));
        }
        let first = [&named, &counted].into_iter().find(fits).unwrap_or(&made);
        // What is there to be copied is never cut.
        Some(line(&format!("{first}\n{start}")))
    }

    /// Tells how the layers are had, where that is known of all. More than so many in a row are counted.
    fn origins(&self, most: usize) -> String {
        if self.layers.iter().any(|(_, origin)| origin.is_none()) {
            return String::new();
        }
        let groups = self.layers.chunk_by(|one, other| one.1 == other.1);
        groups.map(|layers| told(layers, most)).collect::<Vec<_>>().join(", ")
    }
}

/// Tells how layers in a row are had. More than so many of them are counted.
fn told(layers: &[(LayerName, Option<HadBy>)], most: usize) -> String {
    let names: Vec<&str> = layers.iter().map(|(name, _)| name.as_str()).collect();
    let names = match names.len() {
        1 if most == 0 => "1 layer".to_owned(),
        count if count > most => format!("{count} layers"),
        _ => names.join(", "),
    };
    let word = layers.first().and_then(|(_, origin)| *origin).map_or("", HadBy::word);
    format!("{names} {word}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_line_fits_the_terminal() {
        let layer = |name: &str, had| (LayerName::parse(name).unwrap(), Some(had));
        let scene = |start: &str| Scene {
            layers: vec![
                layer("a-layer-of-a-long-name", HadBy::Stored),
                layer("another-of-a-long-name", HadBy::Stored),
                layer("app", HadBy::Built),
            ],
            container: "web1".to_owned(),
            start: Some(start.to_owned()),
        };
        let names = "a-layer-of-a-long-name, another-of-a-long-name from the store, app built";
        let long = format!("lxc-start -n web1 -P /{}", "x".repeat(60));
        for (start, columns, expected) in [
            (
                "lxc-start -n web1",
                None,
                format!("web1 made in 1.0 s: {names}; start it: `lxc-start -n web1`\n"),
            ),
            (
                "lxc-start -n web1",
                Some(90),
                "web1 made in 1.0 s: 2 layers from the store, 1 layer built; start it: `lxc-start -n web1`\n"
                    .into(),
            ),
            (&long, Some(100), format!("web1 made in 1.0 s: {names}\n{long}\n")),
            (
                &long,
                Some(80),
                format!("web1 made in 1.0 s: 2 layers from the store, 1 layer built\n{long}\n"),
            ),
            (&long, Some(20), format!("web1 made in 1.0 s\n{long}\n")),
        ] {
            let closing = scene(start).closing(Duration::from_secs(1), columns);
            assert_eq!(closing, Some(expected), "{columns:?}");
        }
    }
}
