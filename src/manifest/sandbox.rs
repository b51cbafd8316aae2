//! From the TOML tree to the manifest: where a step runs, and what it has there.

use super::decode::Decoder;
use super::tree::{KeyValue, Table};
use super::{Capability, Phase, Place, RootfsPath, SandboxOptions};
use crate::diagnostic::Diagnostic;

/// The keys that only a step inside the rootfs has.
const KEYS: [&str; 4] = ["network", "resolver", "capabilities", "cache"];

/// Filesystems of the sandbox's own, gone with it anyhow.
const PRIVATE: [&str; 5] = ["/proc", "/sys", "/dev", "/run", "/tmp"];

impl Decoder {
    /// Reads `in`, and the keys that depend on it.
    pub(super) fn place(&mut self, table: &mut Table<'_>, phase: Phase) -> Place {
        let place = table.take("in");
        let [network, resolver, capabilities, cache] = KEYS.map(|key| table.take(key));
        let inside = place.as_ref().is_some_and(|entry| {
            self.choice(&entry.node, &[("host", false), ("rootfs", true)]) == Some(true)
        });
        if !inside {
            for entry in [network, resolver, capabilities, cache].into_iter().flatten() {
                let message = format!("`{}` belongs to a step inside the rootfs", entry.key);
                let help = "add `in = \"rootfs\"`; a step on the host has all that the host has";
                self.report.push(Diagnostic::error(&entry.key_at, message).help(help));
            }
            return Place::Host;
        }
        if let (Phase::Pre | Phase::Finally, Some(entry)) = (phase, &place) {
            let message = format!("a `{phase}` step cannot run inside the rootfs");
            let help = "it runs on the host; make it a `post` step, or leave `in` out";
            self.report.push(Diagnostic::error(&entry.node.at, message).help(help));
        }
        let network = network.and_then(|entry| self.boolean(&entry.node)).unwrap_or_default();
        if let (false, Some(entry)) = (network, &resolver) {
            let message = "`resolver` without `network = true`";
            let help = "a step without a network resolves no names; leave it out";
            self.report.push(Diagnostic::error(&entry.key_at, message).help(help));
        }
        let resolver = match resolver {
            Some(entry) => self.boolean(&entry.node).unwrap_or_default(),
            None => network,
        };
        let capabilities = capabilities.map(|entry| self.capabilities(&entry)).unwrap_or_default();
        let cache = cache.map(|entry| self.cache(&entry)).unwrap_or_default();
        Place::Rootfs(SandboxOptions { network, resolver, capabilities, cache })
    }

    fn capabilities(&mut self, entry: &KeyValue<'_>) -> Vec<Capability> {
        let mut capabilities = Vec::new();
        for node in entry.node.one_or_many() {
            let Some(text) = self.string(&node) else { continue };
            let Some(capability) = Capability::parse(&text) else {
                let message = format!("`{text}` is not a capability");
                let name = text.to_ascii_uppercase();
                let name = name.strip_prefix("CAP_").unwrap_or(&name);
                self.report.push(
                    Diagnostic::error(&node.at, message).did_you_mean(name, Capability::names()),
                );
                continue;
            };
            capabilities.push(capability);
        }
        // A set, whatever the order that it is written in.
        capabilities.sort_unstable();
        capabilities.dedup();
        capabilities
    }

    fn cache(&mut self, entry: &KeyValue<'_>) -> Vec<RootfsPath> {
        let mut paths: Vec<RootfsPath> = Vec::new();
        for node in entry.node.one_or_many() {
            let Some(text) = self.string(&node) else { continue };
            let path = match RootfsPath::parse(&text) {
                Ok(path) => path,
                Err(reason) => {
                    let message = format!("`{text}` cannot be a directory inside the rootfs");
                    self.report.push(Diagnostic::error(&node.at, message).help(reason));
                    continue;
                }
            };
            let fault = match path.as_str() {
                "/" => Some("the rootfs itself is what a run makes; name a directory in it"),
                text if PRIVATE.iter().any(|private| is_below(text, private)) => {
                    Some("what is there is gone with the step anyhow")
                }
                text if paths.iter().any(|other| {
                    is_below(text, other.as_str()) || is_below(other.as_str(), text)
                }) =>
                {
                    Some("one cache cannot be inside another; name the outer one")
                }
                _ => None,
            };
            if let Some(help) = fault {
                let message = format!("`{path}` cannot be a cache");
                self.report.push(Diagnostic::error(&node.at, message).help(help));
                continue;
            }
            paths.push(path);
        }
        paths
    }
}

fn is_below(path: &str, above: &str) -> bool {
    path.strip_prefix(above).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}
