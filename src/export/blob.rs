//! The blobs of an image: one for each stored layer, and one more for the neutral name. The store keeps them.

use std::fs::File;
use std::io::{self, BufWriter, Seek};
use std::os::fd::AsFd;

use rustix::fs::Mode;

use super::compressed::compressed;
use super::content::WRITER;
use super::digested::Digested;
use super::image::Image;
use super::oci_config::LayerBlob;
use super::target::LayerCompression;
use super::warnings::Warnings;
use crate::digest::Digest;
use crate::host::new_file::NewFile;
use crate::host::{clock, files};
use crate::plan::EntryId;
use crate::store::Blob;
use crate::tree::Interrupt;

/// Which blob of an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    /// That of a stored layer.
    Layer(usize),
    /// That which lays the neutral name over the placeholder.
    Names,
}

impl Image {
    /// Returns the blobs, the innermost first, each open at its beginning. What the store does not have is made.
    pub(crate) fn blobs(
        &self,
        warnings: &mut Warnings,
        interrupt: Interrupt<'_>,
    ) -> io::Result<Vec<(LayerBlob, File)>> {
        let layers = (0..self.layers.len()).map(Part::Layer);
        let names = self.has_names().then_some(Part::Names);
        layers.chain(names).map(|part| self.blob(part, warnings, interrupt)).collect()
    }

    /// Rebuilds a blob, as the one in the store was damaged.
    pub(crate) fn remake_blob(
        &self,
        number: usize,
        damaged: &LayerBlob,
        interrupt: Interrupt<'_>,
    ) -> io::Result<File> {
        tracing::warn!(digest = %damaged.digest, "a blob in the store is damaged and will be rebuilt");
        let part = if number < self.layers.len() { Part::Layer(number) } else { Part::Names };
        self.store.remove_blob(damaged.digest)?;
        let (made, file) = self.blob(part, &mut Warnings::default(), interrupt)?;
        if made.digest != damaged.digest {
            let why = "one of its blobs was damaged and has been removed: the next run rebuilds it";
            return Err(io::Error::other(why));
        }
        Ok(file)
    }

    fn blob(
        &self,
        part: Part,
        warnings: &mut Warnings,
        interrupt: Interrupt<'_>,
    ) -> io::Result<(LayerBlob, File)> {
        let number = match part {
            Part::Layer(number) => number,
            Part::Names => self.layers.len() - 1,
        };
        let entry = &self.layers[number].0;
        let form = self.form(part, entry.parent);
        let (blob, file) = match self.store.blob(entry.id, &form)? {
            Some(there) => there,
            None => self.make_blob(part, entry.id, &form, interrupt)?,
        };
        warnings.add_all(&blob.left_out);
        let by = match part {
            Part::Layer(_) => entry.made.slot.replace('`', ""),
            Part::Names => "neutral name".to_owned(),
        };
        let created = clock::format(self.made_at(number));
        let Blob { diff_id, digest, size, .. } = blob;
        let compression = self.compression;
        Ok((LayerBlob { digest, size, diff_id, compression, created, by }, file))
    }

    /// Returns all that decides about the bytes of a blob besides the entry.
    fn form(&self, part: Part, parent: Option<EntryId>) -> String {
        let parent = parent.map(|parent| parent.to_string()).unwrap_or_default();
        let latest = self.latest.map(|latest| latest.to_string()).unwrap_or_default();
        let part = match part {
            Part::Layer(_) => "layer",
            Part::Names => "names",
        };
        let compression = match self.compression {
            LayerCompression::Gzip => "gzip",
            LayerCompression::Zstd => "zstd by 4 MiB",
        };
        format!("{part} over {parent}, to {latest}, {compression}, writer {WRITER}")
    }

    fn make_blob(
        &self,
        part: Part,
        entry: EntryId,
        form: &str,
        interrupt: Interrupt<'_>,
    ) -> io::Result<(Blob, File)> {
        let mut warnings = Warnings::default();
        let into = files::open_directory(&self.store.blobs())?;
        let new = NewFile::create(into.as_fd(), Mode::RUSR | Mode::WUSR)?;
        let diff_id = compressed(new.file(), self.compression.into(), interrupt, |to| {
            let mut to = BufWriter::with_capacity(1 << 20, Digested::new(to));
            match part {
                Part::Layer(number) => {
                    self.write_layer(number, &mut to, &mut warnings, interrupt)?;
                }
                Part::Names => self.write_names(&mut to, &mut warnings, interrupt)?,
            }
            let to = to.into_inner().map_err(io::IntoInnerError::into_error)?;
            Ok(to.digest.finish())
        })?;
        let mut written = new.file();
        written.rewind()?;
        let (digest, size) = Digest::of_reader(written)?;
        let left_out = warnings.by_kind();
        let blob = Blob { diff_id, digest, size, left_out };
        if let Part::Layer(number) = part {
            self.remember(number, self.latest, diff_id);
        }
        let file = self.store.keep_blob(entry, form, &blob, new)?;
        Ok((blob, file))
    }
}
