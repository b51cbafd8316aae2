//! The digest of a stored layer's archive: what a lock pins, and what a stored layer is held to.

use std::io;
use std::path::PathBuf;

use super::image::{Image, LXCPATH, neutral};
use crate::cache::{Names, PLACEHOLDER};
use crate::digest::Digest;
use crate::host::clock;
use crate::plan;
use crate::store::{Content, Entry, Store};
use crate::tree::Interrupt;

/// What this writer makes of a layer, as a number: it is raised whenever the same layer would come out
/// otherwise.
pub(super) const WRITER: u32 = 2;

impl Image {
    /// Returns the digest of what a layer lays over the one below: of the archive that an image has of it.
    pub(crate) fn content(&self, layer: usize, interrupt: Interrupt<'_>) -> io::Result<Digest> {
        self.content_dated(layer, self.latest, interrupt)
    }

    fn content_dated(
        &self,
        layer: usize,
        latest: Option<i64>,
        interrupt: Interrupt<'_>,
    ) -> io::Result<Digest> {
        let form = Some(form(latest));
        let known = self.store.contents(&self.layers[layer].0)?;
        if let Some(known) = known.into_iter().find(|content| content.form == form) {
            return Ok(known.digest);
        }
        let digest = self.digest_layer(layer, latest, interrupt)?;
        self.remember(layer, latest, digest);
        Ok(digest)
    }

    /// Has the store know the digest of a layer's archive.
    pub(super) fn remember(&self, layer: usize, latest: Option<i64>, digest: Digest) {
        let content = Content { digest, form: Some(form(latest)) };
        if let Err(error) = self.store.remember_content(&self.layers[layer].0, content) {
            tracing::debug!(%error, "the digest of an archive has to be taken again");
        }
    }
}

/// Tells whether the archive of a stored entry has this digest, as it is dated now or without a date.
///
/// # Errors
///
/// Also where what it stands on is not stored.
pub(crate) fn has_content(
    store: &Store,
    entry: &Entry,
    content: Digest,
    container: &plan::Target,
) -> io::Result<bool> {
    let mut chain = vec![entry.id];
    let mut below = entry.parent;
    while let Some(id) = below {
        chain.push(id);
        below = Entry::read(store, id)?.parent;
    }
    chain.reverse();
    let image = Image::open(store, &chain, container)?;
    let last = chain.len() - 1;
    if image.content_dated(last, None, Interrupt::NEVER)? == content {
        return Ok(true);
    }
    Ok(image.latest.is_some() && image.content(last, Interrupt::NEVER)? == content)
}

/// Returns all that decides about the bytes of an entry's archive now, besides the entry.
pub(crate) fn form_of_content() -> String {
    form(clock::given())
}

fn form(latest: Option<i64>) -> String {
    let latest = latest.map(|latest| latest.to_string()).unwrap_or_default();
    format!("to {latest}, writer {WRITER}")
}

/// Returns the digest of what is told of an entry to other hosts, where its archive has the digest `content`.
pub(crate) fn told(entry: &Entry, content: Digest, arch: &str) -> io::Result<Digest> {
    let names = Names::of(&entry.lxcpaths, &neutral(PLACEHOLDER, arch));
    let lxcpaths = [PathBuf::from(LXCPATH)];
    let portable = entry.portable(content, &lxcpaths, |text| names.put_into(text));
    Ok(Digest::of(&portable.text()?))
}
