//! A role's stored layers, and what none of the forms can carry of them.

use std::collections::{BTreeSet, HashSet};
use std::fs;
use std::io::{self, BufWriter, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use super::archive::{Archive, write};
use super::digested::Digested;
use super::oci_config::{self, LayerBlob};
use super::target::LayerCompression;
use super::warnings::Warnings;
use crate::cache::{Names, PLACEHOLDER};
use crate::digest::Digest;
use crate::host::caller::Caller;
use crate::host::rootfs::Rootfs;
use crate::host::{files, lxcpath};
use crate::lxc::config::pair;
use crate::plan::{self, EntryId};
use crate::shell;
use crate::store::{Entry, Pin, Pinned, Portable, Store, stored_marks};
use crate::tree::{Interrupt, Listing, Reader, Step, steps, steps_of};

/// The name that stands where a container's own would.
const NEUTRAL: &str = "localhost";

/// The directory of containers that layers seem to be built in: where they were does not show.
pub(super) const LXCPATH: &str = "/var/lib/lxc";

/// What an archive has besides its steps.
struct Form<'a> {
    /// What stands in it for the placeholder.
    names: &'a Names,
    /// What stands before each path.
    prefix: &'a str,
    /// Whether it is laid over another tree.
    is_over: bool,
    /// The latest time that stands in it.
    latest: Option<i64>,
}

/// A role as it is stored.
#[derive(Debug)]
pub(crate) struct Image {
    pub(super) store: Store,
    /// The layers, the innermost first, and what they hold, once that was read.
    pub(super) layers: Vec<(Entry, OnceLock<Listing>)>,
    /// What stands in it for the container's own name and path.
    names: Names,
    /// What stands in its layers for these: the placeholder, as if they had been built where LXC has its
    /// containers.
    stored_names: Names,
    target: plan::Target,
    /// The group that LXC gives a rootfs here.
    group: u32,
    /// The latest time that stands in it, in seconds since 1970.
    pub(super) latest: Option<i64>,
    /// How its layers are compressed.
    pub(super) compression: LayerCompression,
    /// What keeps gc from the layers.
    _pins: Vec<Pin>,
}

impl Image {
    /// Reads what is stored by these entries, the innermost first. They were built for `container`.
    pub(crate) fn open(
        store: &Store,
        entries: &[EntryId],
        container: &plan::Target,
    ) -> io::Result<Self> {
        let stored = neutral(PLACEHOLDER, &container.arch);
        let target = neutral(NEUTRAL, &container.arch);
        let (mut layers, mut pins) = (Vec::new(), Vec::new());
        for id in entries {
            match store.pin(*id)? {
                Pinned::Held(pin) => pins.push(pin),
                Pinned::Busy | Pinned::Gone => {
                    return Err(io::Error::other(format!("{} was removed", id.name())));
                }
            }
            let entry = Entry::read(store, *id)?;
            layers.push((entry, OnceLock::new()));
        }
        let lxcpaths =
            layers.last().map(|(entry, _)| entry.lxcpaths.as_slice()).unwrap_or_default();
        let names = Names::of(lxcpaths, &target);
        let stored_names = Names::of(lxcpaths, &stored);
        let latest = crate::host::clock::given();
        let group = lxcpath::group(&Caller::observe(), container.mapped);
        Ok(Self {
            store: store.clone(),
            layers,
            names,
            stored_names,
            target,
            group,
            latest,
            compression: LayerCompression::default(),
            _pins: pins,
        })
    }

    /// Returns it with layers that are compressed so.
    pub(crate) fn with_layers(self, compression: LayerCompression) -> Self {
        Self { compression, ..self }
    }

    /// Writes the whole rootfs as a tar archive.
    pub(super) fn write_whole(
        &self,
        to: &mut dyn Write,
        warnings: &mut Warnings,
        interrupt: Interrupt<'_>,
    ) -> io::Result<()> {
        let last = self.layers.len().saturating_sub(1);
        let steps = steps(None, self.listing(last)?, self.latest);
        let form = Form { names: &self.names, prefix: "./", is_over: false, latest: self.latest };
        self.write_steps(last, &steps, form, to, warnings, interrupt)
    }

    /// Writes what a layer lays over the one below, as it is stored: with the placeholder.
    pub(super) fn write_layer(
        &self,
        layer: usize,
        to: &mut dyn Write,
        warnings: &mut Warnings,
        interrupt: Interrupt<'_>,
    ) -> io::Result<()> {
        self.write_layer_dated(layer, self.latest, to, warnings, interrupt)
    }

    /// Likewise, with no time later than `latest`.
    fn write_layer_dated(
        &self,
        layer: usize,
        latest: Option<i64>,
        to: &mut dyn Write,
        warnings: &mut Warnings,
        interrupt: Interrupt<'_>,
    ) -> io::Result<()> {
        let base = layer.checked_sub(1).map(|below| self.listing(below)).transpose()?;
        let steps = steps(base, self.listing(layer)?, latest);
        let (names, is_over) = (&self.stored_names, base.is_some());
        let form = Form { names, prefix: "", is_over, latest };
        self.write_steps(layer, &steps, form, to, warnings, interrupt)
    }

    /// Writes what lays the neutral name over the placeholder in the outermost layer.
    pub(super) fn write_names(
        &self,
        to: &mut dyn Write,
        warnings: &mut Warnings,
        interrupt: Interrupt<'_>,
    ) -> io::Result<()> {
        let last = self.layers.len().saturating_sub(1);
        let steps = steps_of(self.listing(last)?, &self.named(last));
        let form = Form { names: &self.names, prefix: "", is_over: true, latest: self.latest };
        self.write_steps(last, &steps, form, to, warnings, interrupt)
    }

    /// Tells whether the placeholder stands anywhere in the outermost layer.
    pub(super) fn has_names(&self) -> bool {
        self.layers.last().is_some_and(|(entry, _)| !entry.places.is_empty())
    }

    /// Returns what a layer holds. It is read where something is made of it alone.
    pub(super) fn listing(&self, layer: usize) -> io::Result<&Listing> {
        let (entry, listing) = &self.layers[layer];
        match listing.get() {
            Some(listing) => Ok(listing),
            None => {
                let read = entry.list(&self.store)?;
                Ok(listing.get_or_init(|| read))
            }
        }
    }

    /// Returns the files and links that hold the placeholder.
    fn named(&self, layer: usize) -> HashSet<&[u8]> {
        self.layers[layer].0.places.iter().map(|place| place.path.as_slice()).collect()
    }

    /// Writes steps to a layer's tree.
    fn write_steps(
        &self,
        layer: usize,
        steps: &[Step<'_>],
        Form { names, prefix, is_over, latest }: Form<'_>,
        to: &mut dyn Write,
        warnings: &mut Warnings,
        interrupt: Interrupt<'_>,
    ) -> io::Result<()> {
        let tree = files::open_directory(&self.store.rootfs(self.layers[layer].0.id))?;
        let mut archive = Archive {
            reader: Reader::new(tree.as_fd(), stored_marks()),
            prefix: prefix.as_bytes(),
            named: self.named(layer),
            names,
            group: self.group,
            latest,
            to,
            warnings,
            interrupt,
            is_over,
        };
        write(&mut archive, steps)
    }

    /// Returns the entries that it is of, the innermost first.
    pub(crate) fn stored(&self) -> impl Iterator<Item = &Entry> {
        self.layers.iter().map(|(entry, _)| entry)
    }

    /// Returns what is told of a layer to other hosts, but for what stands beside its rootfs.
    pub(crate) fn portable(&self, entry: &Entry, diff_id: Digest) -> Portable {
        entry.portable(diff_id, &[PathBuf::from(LXCPATH)], |text| self.stored_names.put_into(text))
    }

    /// Returns the texts of its config and of its manifest, by its blobs.
    pub(crate) fn documents(
        &self,
        layers: &[LayerBlob],
        warnings: &mut Warnings,
    ) -> io::Result<(Vec<u8>, Vec<u8>)> {
        let lines = self.config(warnings);
        let config = serde_json::to_vec(&oci_config::config(self.arch(), layers, &lines))?;
        let described = (Digest::of(&config), config.len() as u64);
        let manifest = serde_json::to_vec(&oci_config::manifest(described, layers))?;
        Ok((config, manifest))
    }

    /// Returns the digest of what a layer lays over the one below, with no time later than `latest`.
    pub(super) fn digest_layer(
        &self,
        layer: usize,
        latest: Option<i64>,
        interrupt: Interrupt<'_>,
    ) -> io::Result<Digest> {
        let mut to = BufWriter::with_capacity(1 << 20, Digested::new(io::sink()));
        let mut warnings = Warnings::default();
        self.write_layer_dated(layer, latest, &mut to, &mut warnings, interrupt)?;
        let digested = to.into_inner().map_err(io::IntoInnerError::into_error)?;
        Ok(digested.digest.finish())
    }

    /// Returns the lines of config that its layers have written, but for those with a path of the container's own
    /// directory: nobody knows where that will be, and a container of the neutral name may have something there.
    pub(super) fn config(&self, warnings: &mut Warnings) -> String {
        let last = self.layers.last().map(|(entry, _)| entry.contents());
        let text = last.map(|stored| stored.config_of(b"", &self.target)).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let own = self.target.path.display().to_string();
        let (mut kept, mut left_out) = (String::new(), BTreeSet::new());
        for line in text.split_inclusive('\n') {
            match pair(line) {
                Some((key, value)) if holds_path(value, &own) => {
                    // Whatever reads the config says where the rootfs is.
                    if key != "lxc.rootfs.path" {
                        left_out.insert(key.to_owned());
                    }
                }
                _ => kept.push_str(line),
            }
        }
        for key in left_out {
            warnings
                .add_words("lines with a path of the container's directory are left out:", &key);
        }
        kept
    }

    /// Warns of what stands beside the rootfs: no format has a place for it.
    pub(super) fn warn_of_sidecar(&self, warnings: &mut Warnings) -> io::Result<()> {
        let Some((entry, _)) = self.layers.last() else { return Ok(()) };
        for name in self.beside(entry)? {
            warnings.add_words("files beside the rootfs are left out:", &name);
        }
        Ok(())
    }

    /// Returns the names of what stands beside the rootfs of a stored layer.
    pub(crate) fn beside(&self, entry: &Entry) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        if entry.sidecar.is_some() {
            for file in fs::read_dir(self.store.sidecar(entry.id))? {
                names.push(shell::printable(&file?.file_name().to_string_lossy()).into_owned());
            }
        }
        names.sort();
        Ok(names)
    }

    /// Opens the stored tree of the last layer.
    pub(super) fn rootfs(&self) -> io::Result<Rootfs> {
        let entry = self.layers.last().map(|(entry, _)| entry).ok_or(io::ErrorKind::NotFound)?;
        Rootfs::open(&self.store.rootfs(entry.id))
    }

    /// Tells whether a file of that tree holds the name of a container, and nothing else.
    pub(super) fn has_name_alone(&self, rootfs: &Rootfs, path: &str) -> bool {
        let text = rootfs.read(&Path::new("/").join(path), 4096).unwrap_or_default();
        let places = self.layers.last().map(|(entry, _)| &entry.places);
        places.into_iter().flatten().any(|place| place.path == path.as_bytes())
            && self.names.put_into(&text).trim_ascii() == NEUTRAL.as_bytes()
    }

    /// Returns when a layer was made, in seconds since 1970.
    pub(super) fn made_at(&self, layer: usize) -> u64 {
        let made = self.layers[layer].0.made_at / 1000;
        let latest = self.latest.and_then(|latest| u64::try_from(latest).ok());
        latest.map_or(made, |latest| latest.min(made).max(latest))
    }

    pub(crate) fn arch(&self) -> &str {
        &self.target.arch
    }
}

/// Tells whether a text holds a path, or one below it.
fn holds_path(text: &str, path: &str) -> bool {
    let ends =
        |rest: &str| !rest.starts_with(|next: char| next.is_alphanumeric() || "-_.".contains(next));
    text.match_indices(path).any(|(at, _)| ends(&text[at + path.len()..]))
}

/// Returns a container of this name where LXC has them.
pub(super) fn neutral(name: &str, arch: &str) -> plan::Target {
    let path = Path::new(LXCPATH).join(name);
    plan::Target {
        name: name.to_owned(),
        arch: arch.to_owned(),
        rootfs: path.join("rootfs"),
        path,
        mapped: None,
        args: Vec::new(),
    }
}
