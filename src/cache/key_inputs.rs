//! What defines a slot: the inputs of its key.

use std::ffi::OsStr;
use std::path::Path;

use super::key::{Field, KeyInputs, TEMPLATE};
use super::plan::{CachePlan, Handed, SlotKind};
use crate::digest::Digest;
use crate::lxc::config;
use crate::manifest::{IfExists, Owner, Phase};
use crate::plan::inside::passes;
use crate::plan::{
    Act, Bytes, Content, EntryId, EntryKind, FileDrop, Layer, Place, Step, Template, TreeEntry,
};

/// Which rootfs is made of busybox: another number for another one. Versions of the program with one number
/// share what they have stored.
pub(crate) const BUSYBOX_RECIPE: u32 = 2;

impl CachePlan {
    /// Returns what defines a slot whose inside is `parent`, and its key. `handed` is what pre steps have
    /// handed inward.
    pub fn lookup(
        &self,
        slot: usize,
        parent: Option<EntryId>,
        handed: Handed<'_>,
    ) -> (KeyInputs, Digest) {
        let inputs = self.key_inputs(slot, parent, handed);
        let key = inputs.key();
        (inputs, key)
    }

    fn key_inputs(&self, slot: usize, parent: Option<EntryId>, handed: Handed<'_>) -> KeyInputs {
        let slot = &self.slots[slot];
        let mut fields = Vec::new();
        if let Some(parent) = parent {
            fields.push(Field::new("layer inside", [("entry", parent.to_string())]));
        }
        match slot.kind {
            SlotKind::Upstream => self.upstream_fields(&mut fields),
            SlotKind::Layer => {
                let layer = self.twin_of(&slot.layer);
                layer_fields(layer, &slot.unnamed_paths, &mut fields);
                let seen = handed(&layer.name);
                if layer.runs_commands() && !seen.is_empty() {
                    let seen = seen.iter().map(|(name, value)| (exact(name), exact(value)));
                    fields.push(Field::new("handed inward", seen));
                }
            }
        }
        if !slot.identity.is_empty() {
            let paths = slot.identity.iter().map(|path| (path.to_string(), ""));
            fields.push(Field::new("identity", paths));
        }
        KeyInputs { fields }
    }

    fn upstream_fields(&self, fields: &mut Vec<Field>) {
        let (call, inputs) = (self.upstream(), &self.inputs);
        let program = match &call.program {
            Template::File { digest, .. } => digest.to_string(),
            // What it makes of the busybox is this program's own.
            Template::Busybox { .. } => {
                let busybox = inputs.busybox.map(|digest| digest.to_string()).unwrap_or_default();
                format!("{busybox} by recipe {BUSYBOX_RECIPE}")
            }
        };
        let mut template = Field::new(TEMPLATE, [("digest", program)]);
        template.label = Some(format!("template {}", call.template));
        fields.push(template);
        fields.push(numbered("arguments", self.arguments.iter().map(exact)));
        for (word, digest) in &inputs.files {
            let values = [("digest", digest.to_string())];
            fields.push(Field::new(format!("file of the argument {word}"), values));
        }
        for (what, input) in &inputs.inputs {
            let values = [("digest", input.digest.to_string()), ("mode", input.mode.to_string())];
            fields.push(Field::new(what, values));
        }
        let environment = call.decisive.iter().map(|(name, value)| (exact(name), exact(value)));
        fields.push(Field::new("environment", environment));
        fields.push(Field::new("host", [("architecture", self.target.arch.clone())]));
    }
}

fn layer_fields(layer: &Layer, left_out: &[String], fields: &mut Vec<Field>) {
    fields.push(Field::new("layer", [("name", layer.name.to_string())]));
    let mut steps = 0;
    let mut counts = [0; 2];
    for act in layer.acts_to_store() {
        match act {
            Act::Config(lines) => {
                let lines = lines.iter().map(|line| config::line(&line.key, &line.value));
                fields.push(numbered("config", lines));
            }
            Act::Drop(file) => drop(layer, file, fields),
            Act::Step(step) => {
                steps += 1;
                let count = &mut counts[usize::from(step.phase == Phase::Check)];
                *count += 1;
                fields.push(self::step(step, *count));
            }
        }
    }
    if steps > 0 {
        let is_left_out = |name: &OsStr| left_out.iter().any(|left| name == left.as_str());
        let environment = layer.environment.iter().filter(|(name, _)| !is_left_out(name));
        let environment = environment.map(|(name, value)| (exact(name), exact(value)));
        fields.push(Field::new("variables and environment", environment));
    }
}

fn step(step: &Step, number: usize) -> Field {
    let text = step.argv.last().map(String::as_str).unwrap_or_default();
    let shell = crate::shell::command(&step.argv[..step.argv.len().saturating_sub(1)]);
    let mut values = vec![("shell".to_owned(), shell)];
    values.push(match step.script {
        // Where the script is says nothing of what it does.
        Some(digest) => ("script".to_owned(), digest.to_string()),
        None => ("run".to_owned(), text.to_owned()),
    });
    match &step.place {
        Place::Host => values.push(("in".to_owned(), "host".to_owned())),
        Place::Rootfs(inside) => {
            let sandbox = &inside.sandbox;
            values.push(("network".to_owned(), sandbox.network.to_string()));
            values.push(("resolver".to_owned(), sandbox.resolver.to_string()));
            for capability in &sandbox.capabilities {
                values.push((format!("capability {capability}"), String::new()));
            }
            for cache in &sandbox.cache {
                values.push((format!("cache {cache}"), String::new()));
            }
            // Proxies decide how something is reached, and not what it is.
            let environment = inside.environment.iter().filter(|(name, _)| !passes(name));
            values.extend(
                environment.map(|(name, value)| (format!("${}", exact(name)), exact(value))),
            );
        }
    }
    Field::new(format!("{} {number}", step.phase), values)
}

fn drop(layer: &Layer, file: &FileDrop, fields: &mut Vec<Field>) {
    let path = &file.path;
    let owner = file.owner.as_ref().unwrap_or(&Owner::ROOT).to_string();
    let exists = match file.if_exists {
        IfExists::Replace => "replace",
        IfExists::Keep => "keep",
        IfExists::Error => "error",
    };
    let common = [("owner", owner), ("if it exists", exists.to_owned())];
    let mut push = |kind: &str, more: Vec<(&str, String)>, source: Option<&Path>| {
        let values = common.iter().cloned().chain(more);
        let mut field = Field::new(format!("{kind} {path}"), values);
        field.label = source.map(|source| format!("{kind} {}", relative(layer, source)));
        fields.push(field);
    };
    match &file.content {
        Content::File { source, digest, mode, .. } => {
            let source = match source {
                Bytes::Inline(_) => None,
                Bytes::Source(path) => Some(path.as_path()),
            };
            push("file", vec![("digest", digest.to_string()), ("mode", mode.to_string())], source);
        }
        // The text holds secrets, and no digest of one is kept: such a layer is not stored.
        Content::Rendered { mode, .. } => push("file", vec![("mode", mode.to_string())], None),
        Content::Fetched { digest, mode, .. } => {
            push("file", vec![("digest", digest.to_string()), ("mode", mode.to_string())], None);
        }
        Content::Symlink { target } => push("symlink", vec![("target", target.clone())], None),
        Content::Directory { mode } => {
            let mode = mode.map(|mode| ("mode", mode.to_string()));
            // An owner that is not given stays as it is, where the directory is there.
            let given = ("owner is given", file.owner.is_some().to_string());
            push("directory", mode.into_iter().chain([given]).collect(), None);
        }
        Content::Remove => push("remove", Vec::new(), None),
        Content::Tree { source, mode, top, entries } => {
            let mode = mode.map(|mode| ("mode", mode.to_string()));
            // The rootfs itself is always there, and stays as it is.
            let own = if path.is_root() { Vec::new() } else { values_of(top, entries) };
            let own = own.into_iter().map(|(name, value)| match name {
                "mode" => ("mode of its top", value),
                name => (name, value),
            });
            push("tree", mode.into_iter().chain(own).collect(), Some(source));
            for entry in entries.iter() {
                let values = values_of(&entry.kind, entries);
                let name = exact(entry.path.as_os_str());
                let mut field = Field::new(format!("file {name} of the tree {path}"), values);
                field.label = Some(format!("file {}", relative(layer, &source.join(&entry.path))));
                fields.push(field);
            }
        }
    }
}

/// Returns what defines an entry of a tree of `entries`.
fn values_of(kind: &EntryKind, entries: &[TreeEntry]) -> Vec<(&'static str, String)> {
    let (mut values, attributes) = match kind {
        EntryKind::Directory { mode, attributes } => {
            (vec![("kind", "directory".to_owned()), ("mode", mode.to_string())], attributes)
        }
        EntryKind::File { mode, digest, link, attributes, .. } => {
            let link = link.map(|first| exact(entries[first].path.as_os_str()));
            let link = link.map(|first| ("hard link to", first));
            let values = [("digest", digest.to_string()), ("mode", mode.to_string())];
            (values.into_iter().chain(link).collect(), attributes)
        }
        EntryKind::Symlink { target } => (vec![("target", exact(target.as_os_str()))], &None),
    };
    values.extend(attributes.map(|digest| ("attributes", digest.to_string())));
    values
}

/// Returns a path as the manifest would name it.
fn relative(layer: &Layer, path: &Path) -> String {
    let path = path.strip_prefix(&layer.directory).unwrap_or(path);
    crate::shell::one_line(&path.to_string_lossy())
}

fn numbered(what: &str, texts: impl Iterator<Item = String>) -> Field {
    Field::new(what, texts.enumerate().map(|(index, text)| ((index + 1).to_string(), text)))
}

/// Returns a text that no other bytes have.
fn exact(bytes: impl AsRef<OsStr>) -> String {
    use std::os::unix::ffi::OsStrExt;
    let bytes = bytes.as_ref();
    match bytes.to_str() {
        Some(text) => text.to_owned(),
        None => format!("{} ({})", bytes.to_string_lossy(), Digest::of(bytes.as_bytes())),
    }
}
