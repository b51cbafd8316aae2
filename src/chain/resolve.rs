//! From a manifest to its role: the manifest with every file that it names.
//!
//! [`resolve`] is pure: it asks a [`Library`] for the files.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::diagnostic::{Diagnostic, Report};
use crate::manifest::{
    self, LayerEntry, LayerFile, LayerName, MOST_LAYERS, Manifest, Use, Variable, VariableSource,
};
use crate::source::{At, Source};

/// How many bytes the files of all reusable layers may have, counted at each use: each use binds
/// all of its file.
const MOST_USED: usize = 16 * 1024 * 1024;

/// How many manifests may extend each other.
const DEEPEST: usize = 16;

/// Where the files are that a manifest names.
pub trait Library {
    /// Reads the manifest that is named as `path` at `at`; [`Source::sibling`] says where it is.
    fn base(&mut self, path: &Path, at: &At) -> Result<Arc<Source>, Report>;

    /// Finds the reusable layer that is named at `at`; `None` if there is none of this name.
    fn layer(&mut self, name: &LayerName, at: &At) -> Result<Option<Arc<Source>>, Report>;

    /// Returns the names of all layers that can be found from `at`.
    fn names(&mut self, at: &At) -> Vec<String>;
}

/// A manifest with every file that it names.
#[derive(Debug, Clone)]
pub struct Role {
    /// The manifests, the innermost base first; the last is the one that was asked for.
    pub levels: Vec<Level>,
    /// Whether there is no error in any of them.
    pub sound: bool,
    /// Whether every file, variable and layer could be read: else names that seem to be missing may be in what could
    /// not.
    pub whole: bool,
}

impl Role {
    /// Returns the manifest that was asked for.
    pub fn manifest(&self) -> &Manifest {
        &self.levels[self.levels.len() - 1].manifest
    }

    /// Returns what the role is, for people: what the outermost manifest says that says it.
    pub fn description(&self) -> Option<&str> {
        self.levels.iter().rev().find_map(|level| level.manifest.description.as_deref())
    }
}

/// One manifest of a role.
#[derive(Debug, Clone)]
pub struct Level {
    /// The manifest.
    pub manifest: Manifest,
    /// The reusable layers that it uses, by the names of their files.
    pub used: BTreeMap<LayerName, Arc<LayerFile>>,
}

/// Reads every file that a manifest names, and checks what names refer to.
///
/// With errors in the report it is no role to run, but what its values make of it can be judged too, so that all
/// faults are shown at once.
pub fn resolve(source: &Arc<Source>, library: &mut dyn Library) -> (Option<Role>, Report) {
    let mut resolver = Resolver { library, report: Report::default(), lost: false };
    let manifests = resolver.manifests(source);
    let levels = manifests.into_iter().map(|manifest| resolver.level(manifest)).collect();
    let mut role = Role { levels, sound: false, whole: !resolver.lost };
    // Where something could not be read, names that seem to be missing may be in there.
    if !resolver.lost {
        resolver.check_names(&role);
    }
    let report = resolver.report;
    role.sound = !report.has_errors();
    (Some(role).filter(|role| !role.levels.is_empty()), report)
}

struct Resolver<'a> {
    library: &'a mut dyn Library,
    report: Report,
    /// Whether something could not be read.
    lost: bool,
}

impl Resolver<'_> {
    /// Reads a manifest and those it extends, the innermost first.
    fn manifests(&mut self, source: &Arc<Source>) -> Vec<Manifest> {
        let mut manifests = Vec::new();
        let mut read: Vec<Arc<Source>> = Vec::new();
        let mut next = Some((Arc::clone(source), None));
        while let Some((source, named_at)) = next.take() {
            if let Some(at) = &named_at
                && self.goes_too_deep(&read, &source, at)
            {
                self.lost = true;
                break;
            }
            let (manifest, report) = manifest::read(&source);
            self.report.extend(match &named_at {
                Some(at) => report.note(&format!("it is extended at {at}")),
                None => report,
            });
            read.push(source);
            let Some(manifest) = manifest else {
                self.lost = true;
                break;
            };
            self.lost |= !manifest.whole;
            if let Some(extends) = &manifest.extends {
                match self.library.base(&extends.path, &extends.at) {
                    Ok(base) => next = Some((base, Some(extends.at.clone()))),
                    Err(report) => {
                        self.lost = true;
                        self.report.extend(report);
                    }
                }
            }
            manifests.push(manifest);
        }
        manifests.reverse();
        manifests
    }

    /// Reports a base that leads back to a manifest that was read, or one base too many.
    fn goes_too_deep(&mut self, read: &[Arc<Source>], base: &Arc<Source>, at: &At) -> bool {
        let same = |source: &Arc<Source>| place(source) == place(base);
        let message = match read.iter().position(same) {
            Some(first) => {
                let chain = read[first..].iter().chain([base]);
                let names: Vec<_> = chain.map(|file| file.path.to_string_lossy()).collect();
                format!("a cycle: {}", names.join(" extends "))
            }
            None if read.len() == DEEPEST => {
                format!("more than {DEEPEST} manifests extend each other")
            }
            None => return false,
        };
        self.report.push(Diagnostic::error(at, message));
        true
    }

    /// Reads the reusable layers of a manifest.
    fn level(&mut self, manifest: Manifest) -> Level {
        let mut asked = BTreeMap::new();
        for entry in &manifest.layers {
            let LayerEntry::Use(used) = entry else { continue };
            if !asked.contains_key(&used.used) {
                let file = self.layer(used);
                self.lost |= file.is_none();
                asked.insert(used.used.clone(), file);
            } else if asked[&used.used].is_none() {
                self.report.push_error(|| {
                    let message = format!("layer `{}` cannot be used", used.used);
                    Diagnostic::error(&used.used_at, message)
                });
            }
        }
        let found = asked.into_iter().filter_map(|(name, file)| Some((name, file?)));
        let used = found.collect();
        Level { manifest, used }
    }

    fn layer(&mut self, used: &Use) -> Option<Arc<LayerFile>> {
        match self.library.layer(&used.used, &used.used_at) {
            Err(report) => {
                self.report.extend(report);
                None
            }
            Ok(None) => {
                let names = self.library.names(&used.used_at);
                let message = format!("no reusable layer is named `{}`", used.used);
                let diagnostic = Diagnostic::error(&used.used_at, message)
                    .help("`layered-template layer list` lists them");
                let known = names.iter().map(String::as_str);
                self.report.push(diagnostic.did_you_mean(used.used.as_str(), known));
                None
            }
            Ok(Some(source)) => {
                let (layer, report) = manifest::read_layer(&source);
                self.lost |= report.has_errors();
                self.report.extend(report.note(&brought(&used.name, &used.used_at)));
                layer.map(Arc::new)
            }
        }
    }

    /// Checks what names refer to.
    fn check_names(&mut self, role: &Role) {
        let mut layers: BTreeMap<&LayerName, (&Level, &LayerEntry)> = BTreeMap::new();
        let mut count = 0;
        for level in &role.levels {
            for entry in &level.manifest.layers {
                count += 1;
                if let Some((_, first)) = layers.insert(entry.name(), (level, entry)) {
                    self.report.push_error(|| {
                        let message = format!("two layers are named `{}`", entry.name());
                        let help = format!("the other stands at {}", first.at());
                        Diagnostic::error(entry.at(), message).help(help)
                    });
                }
            }
        }
        let mut used_bytes = 0;
        for level in &role.levels {
            for entry in &level.manifest.layers {
                let LayerEntry::Use(used) = entry else { continue };
                used_bytes += level.used.get(&used.used).map_or(0, |file| file.source.text.len());
                if used_bytes > MOST_USED {
                    let message = "the files of the reusable layers come to more than 16 MiB";
                    let help = "they count at each use; use fewer or smaller ones";
                    self.report.push(Diagnostic::error(&used.used_at, message).help(help));
                    return;
                }
            }
        }
        if count > MOST_LAYERS
            && let Some(extends) = &role.manifest().extends
        {
            let message = format!("{count} layers, and a chain has at most {MOST_LAYERS}");
            self.report.push(Diagnostic::error(&extends.at, message));
        }
        for variable in role.levels.iter().flat_map(|level| &level.manifest.variables) {
            if let VariableSource::From(name) = &variable.source {
                self.check_handing(&layers, variable, name);
            }
        }
    }

    /// Checks that the layer of a variable that is handed inward can do that.
    fn check_handing(
        &mut self,
        layers: &BTreeMap<&LayerName, (&Level, &LayerEntry)>,
        variable: &Variable,
        name: &LayerName,
    ) {
        let at = &variable.at;
        match layers.get(name) {
            None => self.report.push_error(|| {
                let known = layers.keys().map(|name| name.as_str());
                let message = format!("no layer is named `{name}`");
                Diagnostic::error(at, message).did_you_mean(name.as_str(), known)
            }),
            Some((_, LayerEntry::Own(layer))) => {
                if layer.pre.is_empty() {
                    let layer = format!("layer `{name}`");
                    self.report.push(manifest::no_pre(at, &layer, &variable.name));
                }
            }
            Some((level, LayerEntry::Use(used))) => {
                let Some(file) = level.used.get(&used.used) else { return };
                let hands = |own: &&Variable| matches!(own.source, VariableSource::From(_));
                let handed: Vec<_> =
                    file.variables.iter().filter(hands).map(|own| own.name.as_str()).collect();
                if !handed.contains(&variable.name.as_str()) {
                    let message = format!("layer `{name}` hands no `{}` inward", variable.name);
                    let help = if handed.is_empty() {
                        format!(
                            "{} declares no variable `from = \"self\"`",
                            file.source.path.display()
                        )
                    } else {
                        format!("it hands inward: {}", handed.join(", "))
                    };
                    self.report.push(Diagnostic::error(at, message).help(help));
                }
            }
        }
    }
}

/// Returns the note to the diagnostics of a layer's file.
pub(super) fn brought(name: &LayerName, used_at: &At) -> String {
    format!("it is used as `{name}` at {used_at}")
}

/// Returns what tells one file from another.
fn place(source: &Source) -> (&Path, Option<PathBuf>) {
    (&source.dir, source.path.file_name().map(PathBuf::from))
}
