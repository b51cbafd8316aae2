//! What a layer says of the layer store.

use super::decode::Decoder;
use super::tree::{KeyValue, Table};
use super::{Duration, RootfsPath, Storing};
use crate::diagnostic::Diagnostic;

impl Decoder {
    /// Takes the keys that are about the store.
    pub(super) fn storing(&mut self, table: &mut Table<'_>) -> Storing {
        let store = table
            .take("store")
            .and_then(|entry| Some((self.boolean(&entry.node)?, entry.node.at.clone())));
        let refresh = table.take("refresh").and_then(|entry| {
            let duration: Duration = self.duration(&entry.node)?;
            Some((duration, entry.key_at.clone()))
        });
        let identity = table.take("identity");
        let identity = identity.map(|entry| self.identity(&entry)).unwrap_or_default();
        if let (Some((false, _)), Some((_, at))) = (&store, &refresh) {
            let message = "`refresh` of a layer that is never stored";
            let help = "`store = false` makes the layer at every run; leave `refresh` out";
            self.report.push(Diagnostic::error(at, message).help(help));
        }
        Storing {
            store: store.map(|(store, _)| store),
            refresh: refresh.map(|(after, _)| after),
            identity,
        }
    }

    fn identity(&mut self, entry: &KeyValue<'_>) -> Vec<RootfsPath> {
        let message = "the rootfs as a whole is not what makes a container itself";
        let help = "name the files that must differ between two containers";
        self.rootfs_paths(entry, message, help)
    }

    /// Reads paths inside the rootfs: one, or a list. For the rootfs itself it says `message` and `help`.
    pub(super) fn rootfs_paths(
        &mut self,
        entry: &KeyValue<'_>,
        message: &str,
        help: &str,
    ) -> Vec<RootfsPath> {
        let mut paths = Vec::new();
        for node in entry.node.one_or_many() {
            let Some(text) = self.string(&node) else { continue };
            match RootfsPath::parse(&text) {
                Ok(path) if path.is_root() => {
                    self.report.push(Diagnostic::error(&node.at, message).help(help));
                }
                Ok(path) => paths.push(path),
                Err(reason) => {
                    let message = format!("`{text}` cannot be a path inside the rootfs");
                    self.report.push(Diagnostic::error(&node.at, message).help(reason));
                }
            }
        }
        paths
    }
}
