//! What defines a role now, by name and digest.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use super::Lock;
use crate::cache::CachePlan;
use crate::chain::{Chain, Dropped, Level};
use crate::digest::{Digest, Hasher};
use crate::manifest::{Action, LayerEntry, Step, TemplateRef};
use crate::plan::{EntryKind, Facts, Program, SourceFact, TreeEntry};

/// A role, bound and observed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RoleInputs<'a> {
    /// The manifests with the reusable layers that they use, the innermost base first.
    pub levels: &'a [Level],
    /// It as bound for a container.
    pub chain: &'a Chain,
    /// It as bound for another: what has the container's name in its path is no part of a lock.
    pub twin: &'a Chain,
    /// What was observed of the files that it names.
    pub facts: &'a Facts,
    /// What of it can be stored, where that was found out.
    pub cache: Option<&'a CachePlan>,
}

impl Lock {
    /// Returns what defines a role now, without what comes of it.
    pub(crate) fn inputs(role: RoleInputs<'_>) -> Self {
        let mut lock = Self::new();
        let directory = role.levels.last().map(|level| level.manifest.source.dir.clone());
        let directory = directory.unwrap_or_default();
        lock.add_manifests(role.levels, &directory);
        lock.add_files(role, &directory);
        lock.add_template(role);
        for variable in &role.chain.variables {
            let Some(value) = &variable.value else { continue };
            let text = match variable.is_path {
                true => name_of(Path::new(&value.to_string()), &directory),
                false => value.to_string(),
            };
            lock.variables.insert(variable.name.clone(), Digest::of(text.as_bytes()));
        }
        lock
    }

    fn add_manifests(&mut self, levels: &[Level], directory: &Path) {
        for level in levels {
            let source = &level.manifest.source;
            let path = source.dir.join(source.path.file_name().unwrap_or_default());
            self.manifests.insert(name_of(&path, directory), Digest::of(source.text.as_bytes()));
            for entry in &level.manifest.layers {
                let LayerEntry::Use(used) = entry else { continue };
                let Some(file) = level.used.get(&used.used) else { continue };
                let digest = Digest::of(file.source.text.as_bytes());
                let name = used.used.as_str().to_owned();
                // Two manifests may each have a layer of this name beside them.
                let name = match self.used.get(&name) {
                    Some(other) if *other != digest => {
                        format!("{name} of {}", name_of(&path, directory))
                    }
                    _ => name,
                };
                self.used.insert(name, digest);
            }
        }
    }

    fn add_files(&mut self, role: RoleInputs<'_>, directory: &Path) {
        for (layer, twin) in role.chain.layers.iter().zip(&role.twin.layers) {
            for (file, twin) in layer.files.iter().zip(&twin.files) {
                match (&file.content, &twin.content) {
                    (Dropped::Source { path, .. }, Dropped::Source { path: other, .. })
                        if path == other =>
                    {
                        if let Some(fact) = role.facts.sources.get(path) {
                            self.sources.insert(name_of(path, directory), digest_of(fact));
                        }
                    }
                    (Dropped::Url { url, sha256 }, Dropped::Url { url: other, .. })
                        if url == other =>
                    {
                        self.urls.insert(url.clone(), *sha256);
                    }
                    _ => {}
                }
            }
            let steps = |layer: &'_ crate::chain::Layer| -> Vec<Step> {
                let phases = [&layer.pre, &layer.post, &layer.check, &layer.finally];
                phases.into_iter().flatten().cloned().collect()
            };
            for (step, twin) in steps(layer).iter().zip(&steps(twin)) {
                if let (Action::Script(path), Action::Script(other)) = (&step.action, &twin.action)
                    && path == other
                    && let Some(script) = role.facts.scripts.get(path)
                {
                    self.scripts.insert(name_of(path, directory), script.digest);
                }
            }
        }
    }

    fn add_template(&mut self, role: RoleInputs<'_>) {
        let name = template_name(role.chain);
        let digest = match &role.facts.program {
            Some(Program::File { digest, .. }) => Some(*digest),
            Some(Program::Busybox(_)) => role.cache.and_then(|cache| cache.inputs.busybox),
            None => None,
        };
        self.template.extend(digest.map(|digest| (name, digest)));
        let Some(cache) = role.cache else { return };
        for (word, digest) in &cache.inputs.files {
            self.inputs.insert(format!("file of the argument {word}"), *digest);
        }
        for (what, input) in &cache.inputs.inputs {
            // A program of the host comes and goes with the template that copies it.
            let of =
                if what.starts_with("program ") { &mut self.template } else { &mut self.inputs };
            of.insert(what.clone(), input.digest);
        }
        let words = |words: &mut dyn Iterator<Item = &OsStr>| {
            let mut hasher = Hasher::default();
            words.for_each(|word| add_text(word.as_bytes(), &mut hasher));
            hasher.finish()
        };
        let arguments = words(&mut cache.arguments.iter().map(OsString::as_os_str));
        self.inputs.insert("arguments".to_owned(), arguments);
        let decisive = cache.upstream().decisive.iter();
        let environment = words(&mut decisive.flat_map(|(name, value)| [&**name, &**value]));
        self.inputs.insert("environment".to_owned(), environment);
        let architecture = Digest::of(cache.target.arch.as_bytes());
        self.inputs.insert("architecture".to_owned(), architecture);
    }
}

/// Returns what a lock calls the template of a chain.
pub(super) fn template_name(chain: &Chain) -> String {
    match &chain.upstream.template {
        TemplateRef::BuiltinBusybox => "builtin:busybox".to_owned(),
        TemplateRef::Name(name) => name.clone(),
        TemplateRef::Path(path) => path.file_name().map(text).unwrap_or_default(),
    }
}

/// Returns what a lock calls a file: its path from a directory, as long as they have any directory in
/// common. What is not UTF-8 of it is escaped.
fn name_of(path: &Path, directory: &Path) -> String {
    let (path, directory) = (clean(path), clean(directory));
    let common = path.components().zip(directory.components()).take_while(|(a, b)| a == b).count();
    // The first component is the root.
    if common < 2 && path != directory && directory != Path::new("/") {
        return text(path.as_os_str());
    }
    let up = directory.components().skip(common).map(|_| Component::ParentDir);
    let relative: PathBuf = up.chain(path.components().skip(common)).collect();
    match relative.as_os_str().is_empty() {
        true => ".".to_owned(),
        false => text(relative.as_os_str()),
    }
}

/// Removes `.` and `..` from a path, as they are written.
fn clean(path: &Path) -> PathBuf {
    let mut clean = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir if clean.file_name().is_some() => {
                clean.pop();
            }
            Component::CurDir => {}
            part => clean.push(part),
        }
    }
    clean
}

fn text(name: &OsStr) -> String {
    name.to_str().map_or_else(|| name.as_bytes().escape_ascii().to_string(), str::to_owned)
}

/// Returns the digest of a file's bytes; of a tree, that of the names, kinds, modes and bytes in it.
fn digest_of(fact: &SourceFact) -> Digest {
    let (top, entries) = match fact {
        SourceFact::File(file) => return file.digest,
        SourceFact::Tree { top, entries } => (top, entries),
    };
    let mut hasher = Hasher::default();
    add(top, &mut hasher);
    for TreeEntry { path, kind } in entries.iter() {
        add_text(path.as_os_str().as_bytes(), &mut hasher);
        add(kind, &mut hasher);
    }
    hasher.finish()
}

/// Adds all that is known of something in a tree.
fn add(kind: &EntryKind, to: &mut Hasher) {
    let (what, mode, attributes) = match kind {
        EntryKind::Directory { mode, attributes } => {
            ("directory".to_owned(), Some(mode), attributes)
        }
        EntryKind::File { mode, digest, attributes, link, .. } => {
            let link = link.map(|entry| format!(" linked to {entry}")).unwrap_or_default();
            (format!("file {digest}{link}"), Some(mode), attributes)
        }
        EntryKind::Symlink { target } => {
            add_text(target.as_os_str().as_bytes(), to);
            ("symlink".to_owned(), None, &None)
        }
    };
    let mode = mode.map(ToString::to_string).unwrap_or_default();
    let attributes = attributes.map(|digest| digest.to_string()).unwrap_or_default();
    add_text(format!("{what} {mode} {attributes}").as_bytes(), to);
}

/// Adds a text with its length in front, so that none can run into the next.
fn add_text(text: &[u8], to: &mut Hasher) {
    to.update(&(text.len() as u64).to_le_bytes());
    to.update(text);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_named_from_the_manifest() {
        for (path, directory, name) in [
            ("/srv/roles/web.toml", "/srv/roles", "web.toml"),
            ("/srv/roles/./files/../a", "/srv/roles", "a"),
            ("/srv/bases/os.toml", "/srv/roles", "../bases/os.toml"),
            ("/etc/ssl/x.pem", "/srv/roles", "/etc/ssl/x.pem"),
            ("/srv/roles", "/srv/roles", "."),
            ("/web.toml", "/", "web.toml"),
            ("/", "/", "."),
            ("/a", "/srv/roles", "/a"),
        ] {
            assert_eq!(name_of(Path::new(path), Path::new(directory)), name, "{path} {directory}");
        }
        let odd = Path::new(OsStr::from_bytes(b"/srv/\xff"));
        assert_eq!(name_of(odd, Path::new("/srv")), "\\xff");
    }
}
