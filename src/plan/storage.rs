//! Which layers come from the layer store, and which are made for it.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration as Span;

use serde::Serialize;

use super::key::{Document, EntryId};
use super::nest::{Inner, Layer, Plan, Target, Upstream};
use crate::digest::{Digest, Reading};
use crate::manifest::{self, Duration, LayerName, RootfsPath};

/// The name of the container that stored layers are made for: no real one has it. It is a sound
/// host name, and long enough that no file holds it by chance.
pub const PLACEHOLDER: &str = "zz-lt-placeholder-7f3a9c";

/// How old the upstream of a role may become before that is told, in days.
const OLD: u64 = 30;

/// How a container comes to what is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// It owns a copy.
    #[default]
    Copy,
    /// It stands on the stored tree, as the upper directory of an overlay.
    Overlay,
    /// Not at all: every layer is made in the container itself.
    None,
    /// There is no container: what the store lacks is made, and nothing else.
    Fill,
}

/// How a run uses the layer store.
#[derive(Debug, Clone, Default, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Storage {
    /// How the container comes to what is stored.
    pub mode: Mode,
    /// Whether everything is made anew, whatever is stored.
    pub rebuild: bool,
    /// What was made before this time is made anew, in milliseconds since 1970.
    #[serde(skip)]
    pub since: Option<u64>,
    /// Why the store is not used, where it was wanted.
    pub unused: Option<String>,
    /// The layers as they are made for the store; nothing, where there is none.
    #[serde(skip)]
    pub pattern: Option<Pattern>,
    /// The files of arguments that were read, and that need not be read again.
    #[serde(skip)]
    pub readings: Vec<Reading>,
}

impl Storage {
    /// Returns that of a run without a store.
    pub fn none() -> Self {
        Self { mode: Mode::None, ..Self::default() }
    }
}

/// The layers of a plan as the store has them: made for a container that is none.
#[derive(Debug, Clone)]
pub struct Pattern {
    /// That container.
    pub target: Target,
    /// The outermost layer.
    pub layer: Layer,
    /// The arguments of the upstream besides those that LXC gives.
    pub arguments: Vec<OsString>,
    /// What is stored, the innermost first. Empty, if the upstream is not stored.
    pub stored: Vec<Storable>,
    /// Why nothing more is.
    pub end: Option<String>,
    /// What defines every stored upstream besides the call itself.
    pub ground: Ground,
}

/// What defines a stored upstream besides its call.
#[derive(Debug, Clone, Default)]
pub struct Ground {
    /// The digests of the files that arguments name, by the word.
    pub files: BTreeMap<String, Digest>,
    /// What the upstream copies from, by what a person calls it.
    pub inputs: BTreeMap<String, Input>,
    /// Which input cannot be read, and why.
    pub unreadable: Option<String>,
    /// The digest of the busybox that the built-in upstream is made of.
    pub busybox: Option<Digest>,
    /// The arguments that name a directory: what it holds may decide what the upstream leaves.
    pub directories: Vec<String>,
    /// Whether the template is this program again.
    pub is_this_program: bool,
}

/// What a file or directory holds that a template copies from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Input {
    /// Where it is.
    pub path: PathBuf,
    /// The digest of its bytes; of a directory, that of the names, modes and bytes below it.
    pub digest: Digest,
    /// Its permission bits.
    pub mode: manifest::Mode,
}

/// Something that is stored.
#[derive(Debug, Clone)]
pub struct Storable {
    /// The layer that it belongs to.
    pub name: LayerName,
    /// What it is.
    pub part: Part,
    /// After how long it is made anew.
    pub refresh: Option<Duration>,
    /// What makes a container itself, besides what always does.
    pub identity: Vec<RootfsPath>,
    /// The layer whose pre step hands a variable inward that defines it: nobody knows its key
    /// beforehand.
    pub decided_by: Option<LayerName>,
}

impl Storable {
    /// Returns what a person calls it; unique in a chain.
    pub fn slot(&self) -> String {
        match self.part {
            Part::Upstream => format!("template of layer `{}`", self.name),
            Part::Layer => format!("layer `{}`", self.name),
        }
    }
}

/// What is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// What the upstream leaves.
    Upstream,
    /// What the layer does after what it wraps, but for checks on the host.
    Layer,
}

/// What is in the store.
#[derive(Debug, Clone, Default)]
pub struct Stock {
    /// The newest generation of each key.
    pub entries: BTreeMap<Digest, u64>,
    /// When the newest of a key was made, where that is not its generation.
    pub made_at: BTreeMap<Digest, u64>,
    /// When that was observed, in milliseconds since 1970.
    pub now: u64,
    /// What defined what was last made for the same role, by [`Storable::slot`].
    pub earlier: BTreeMap<String, Document>,
}

impl Stock {
    /// Returns the newest entry of a key, unless it is older than `refresh`, was made before `since`, or
    /// is from the future.
    pub fn find(
        &self,
        key: Digest,
        refresh: Option<Duration>,
        since: Option<u64>,
    ) -> Option<EntryId> {
        let generation = *self.entries.get(&key)?;
        let since = since.map(|since| Span::from_millis(self.now.saturating_sub(since)));
        let mut limits = refresh.map(Span::from).into_iter().chain(since);
        let is_fresh = limits.all(|limit| self.age(key).is_some_and(|age| age <= limit));
        is_fresh.then_some(EntryId { key, generation })
    }

    /// Returns how old the newest entry of a key is; nothing, where it is from the future.
    pub fn age(&self, key: Digest) -> Option<Span> {
        let made_at = self.made_at.get(&key).or_else(|| self.entries.get(&key))?;
        self.now.checked_sub(*made_at).map(Span::from_millis)
    }

    /// Says that an upstream is old, where nothing says how old it may be: what it installed gets no
    /// fixes any more.
    pub fn advice(&self, storable: &Storable, key: Digest) -> Option<String> {
        if storable.part != Part::Upstream || storable.refresh.is_some() {
            return None;
        }
        let days = self.age(key)?.as_secs() / (24 * 60 * 60);
        (days > OLD).then(|| {
            format!(
                "what is stored of {} was made {days} days ago, and is used as it is: `refresh = \
                 \"{OLD}d\"` in that layer makes it anew once it is older than that, and `--rebuild` \
                 does now",
                storable.slot()
            )
        })
    }

    /// Says what was stored, and how long ago: `template of layer os, stored 3 days ago`.
    pub fn dated(&self, storable: &Storable, key: Digest) -> Option<String> {
        let (count, unit) = in_largest_unit(self.age(key)?.as_secs());
        let plural = if count == 1 { "" } else { "s" };
        Some(format!("{}, stored {count} {unit}{plural} ago", storable.slot()))
    }

    /// Says why something is not found.
    pub fn why(&self, storable: &Storable, rung: &Rung, storage: &Storage) -> Vec<String> {
        if self.entries.contains_key(&rung.key) {
            let is_older =
                |limit: &Duration| self.age(rung.key).is_some_and(|age| age > Span::from(*limit));
            return vec![match storable.refresh {
                _ if storage.rebuild => "it is made anew, as `--rebuild` says".to_owned(),
                _ if self.age(rung.key).is_none() => {
                    "what is stored was made at a time that is still to come".to_owned()
                }
                Some(after) if is_older(&after) => format!("what is stored is older than {after}"),
                _ => "what is stored is older than `--older-than` allows".to_owned(),
            }];
        }
        match self.earlier.get(&storable.slot()) {
            None => vec!["nothing is stored of it".to_owned()],
            Some(earlier) => match rung.document.changes_since(earlier) {
                same if same.is_empty() => vec!["what was stored of it is gone".to_owned()],
                changes => changes,
            },
        }
    }
}

/// Returns a number of seconds in the largest unit of which there are two: `(3, "day")`.
pub fn in_largest_unit(seconds: u64) -> (u64, &'static str) {
    match seconds {
        0..120 => (seconds, "second"),
        120..7200 => (seconds / 60, "minute"),
        7200..172_800 => (seconds / 3600, "hour"),
        _ => (seconds / 86_400, "day"),
    }
}

/// Where a layer, or the upstream, comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(tag = "from", rename_all = "kebab-case")]
pub enum Standing {
    /// From the store.
    Stored {
        /// The entry.
        #[cfg_attr(test, schemars(with = "String"))]
        entry: EntryId,
    },
    /// It is made, and stored.
    Built {
        /// Its key; nothing, where what it stands on is made anew too.
        key: Option<Digest>,
        /// What is different from what is stored, field by field.
        why: Vec<String>,
    },
    /// A pre step decides it.
    Decided {
        /// The layer whose pre steps do.
        by: LayerName,
    },
    /// It is made at every run.
    Always {
        /// Why it is not stored.
        why: String,
    },
    /// It leaves nothing in the rootfs or config that could be stored.
    Nothing,
}

/// Something that is stored, with its key and what the store has of it.
#[derive(Debug, Clone)]
pub struct Rung {
    /// What defines it.
    pub document: Document,
    /// The key.
    pub key: Digest,
    /// The entry; nothing, where it must be made.
    pub found: Option<EntryId>,
}

/// What must be known for a key, besides the pattern.
#[derive(Clone, Copy)]
pub struct Known<'a> {
    /// What defines a stored upstream besides its call.
    pub ground: &'a Ground,
    /// What pre steps have handed inward.
    pub handed: Handed<'a>,
    /// What is in the store.
    pub stock: &'a Stock,
    /// What was made before this time is made anew.
    pub since: Option<u64>,
}

impl std::fmt::Debug for Known<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Known").field("stock", self.stock).finish_non_exhaustive()
    }
}

/// Variables that pre steps have handed inward, by the layer that sees them.
pub type Handed<'a> = &'a dyn Fn(&LayerName) -> Vec<(OsString, OsString)>;

impl Pattern {
    /// Returns the key of one storable, and what the store has of it.
    pub fn rung(&self, index: usize, parent: Option<EntryId>, known: &Known<'_>) -> Rung {
        let storable = &self.stored[index];
        let document =
            super::definition::document(self, known.ground, storable, parent, known.handed);
        let key = document.key();
        let found = known.stock.find(key, storable.refresh, known.since);
        Rung { document, key, found }
    }

    /// Returns a layer as it is made for the store.
    pub fn nest_layer(&self, name: &LayerName) -> Option<&Layer> {
        self.layer.all().find(|layer| layer.name == *name)
    }

    /// Returns the call of the upstream as it is made for the store.
    pub fn upstream(&self) -> &Upstream {
        self.layer.upstream()
    }

    /// Returns the storable of a layer itself, with its place.
    pub fn layer(&self, name: &LayerName) -> Option<(usize, &Storable)> {
        let is_it = |storable: &Storable| storable.name == *name && storable.part == Part::Layer;
        let index = self.stored.iter().position(is_it)?;
        Some((index, &self.stored[index]))
    }

    /// Tells whether all that a layer and what it wraps leave is stored.
    pub fn stores_all_of(&self, name: &LayerName) -> bool {
        let mut within = self.layer.all().skip_while(|layer| layer.name != *name);
        within.all(|layer| layer.leaves_nothing() || self.layer(&layer.name).is_some())
    }

    /// Returns how many storables a layer and what it wraps have.
    pub fn stored_within(&self, name: &LayerName) -> usize {
        // The layers are walked from the outside, and what is stored stands from the inside.
        let mut within = self.stored.len();
        for layer in self.layer.all().take_while(|layer| layer.name != *name) {
            let is_next =
                |storable: &Storable| storable.part == Part::Layer && storable.name == layer.name;
            if self.stored[..within].last().is_some_and(is_next) {
                within -= 1;
            }
        }
        within
    }
}

/// Says of the upstream and of each layer where it comes from, by what the store holds, if there is
/// one already.
pub fn settle(mut plan: Plan, stock: Option<&Stock>) -> Plan {
    let Some(pattern) = &plan.storage.pattern else { return plan };
    if pattern.stored.is_empty() && plan.storage.mode == Mode::Overlay {
        let why = pattern.end.clone().unwrap_or_default();
        plan.storage.unused = Some(format!("nothing is stored: {why}; the run would end here"));
    }
    let empty = Stock::default();
    let stock = stock.unwrap_or(&empty);
    let mut standings: BTreeMap<LayerName, Standing> = BTreeMap::new();
    let mut upstream = None;
    let mut parent = None;
    // What stands on something whose entry is not known has no key yet.
    let mut open: Option<Standing> = None;
    let mut first = String::new();
    for (index, storable) in pattern.stored.iter().enumerate() {
        let standing = match (&open, storable.decided_by.clone()) {
            (Some(Standing::Decided { by }), _) => Standing::Decided { by: by.clone() },
            (None, Some(by)) => Standing::Decided { by },
            (Some(_), _) => {
                let why = vec![format!("{first} is made anew, on which it stands")];
                Standing::Built { key: None, why }
            }
            (None, None) => {
                let since = plan.storage.since;
                let handed: Handed<'_> = &|_| Vec::new();
                let known = Known { ground: &pattern.ground, handed, stock, since };
                let rung = pattern.rung(index, parent, &known);
                parent = rung.found;
                match rung.found {
                    Some(entry) => Standing::Stored { entry },
                    None => Standing::Built {
                        key: Some(rung.key),
                        why: stock.why(storable, &rung, &plan.storage),
                    },
                }
            }
        };
        if !matches!(standing, Standing::Stored { .. }) && open.is_none() {
            open = Some(standing.clone());
            first = storable.slot();
        }
        match storable.part {
            Part::Upstream => upstream = Some(standing),
            Part::Layer => {
                standings.insert(storable.name.clone(), standing);
            }
        }
    }
    let why = pattern.end.clone().unwrap_or_default();
    let always = || Standing::Always { why: why.clone() };
    let mut layer = &mut plan.layer;
    loop {
        let standing = match standings.remove(&layer.name) {
            Some(standing) => standing,
            None if layer.leaves_nothing() => Standing::Nothing,
            None => always(),
        };
        layer.standing = Some(standing);
        match &mut layer.inner {
            Inner::Layer(inner) => layer = inner,
            Inner::Upstream(call) => {
                if upstream.is_some() {
                    call.args.clone_from(&pattern.upstream().args);
                }
                call.standing = Some(upstream.unwrap_or_else(always));
                return plan;
            }
        }
    }
}
