//! An image as a file, or as the files that `lxc-local` takes.

use std::io::{self, Write};
use std::os::fd::AsFd;
use std::path::Path;

use super::compressed::compressed;
use super::image::Image;
use super::output::Output;
use super::room::{LXC_LOCAL, directory_above, kept};
use super::tar::{Kind, Member, write_end, write_header, write_padding};
use super::target::Compression;
use super::warnings::Warnings;
use crate::host::files;
use crate::host::new_file::NewFile;
use crate::tree::Interrupt;

/// Writes a file whole, or not at all, by what `fill` writes, compressed.
pub(super) fn write_file(
    path: &Path,
    compression: Compression,
    output: Output,
    interrupt: Interrupt<'_>,
    fill: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> io::Result<()> {
    let about = |error: io::Error| {
        let message = format!("`{}`: {error}", path.display());
        io::Error::new(error.kind(), message)
    };
    if let Some(why) = kept(path).map_err(about)? {
        return Err(about(io::Error::other(format!("it {why}"))));
    }
    let name = path.file_name().ok_or_else(|| about(io::ErrorKind::InvalidInput.into()))?;
    let written = || -> io::Result<()> {
        let directory = files::open_directory(directory_above(path))?;
        let new = NewFile::create(directory.as_fd(), output.mode())?;
        output.give(new.file())?;
        compressed(new.file(), compression, interrupt, fill)?;
        new.file().sync_all()?;
        new.put(name)?;
        Ok(rustix::fs::fsync(&directory)?)
    };
    written().map_err(about)
}

/// Writes what `lxc-create -t local` takes: the rootfs, and metadata.
///
/// Source: the template `lxc-local` of LXC 5 and 6.
pub(super) fn write_lxc_local(
    image: &Image,
    directory: &Path,
    output: Output,
    warnings: &mut Warnings,
    interrupt: Interrupt<'_>,
) -> io::Result<()> {
    let [rootfs, metadata] = LXC_LOCAL;
    output.make_directory(directory)?;
    write_file(&directory.join(rootfs), Compression::Xz, output, interrupt, |to| {
        image.write_whole(to, warnings, interrupt)
    })?;
    let config = image.config(warnings);
    let time = i64::try_from(image.made_at(image.layers.len() - 1)).unwrap_or_default();
    write_file(&directory.join(metadata), Compression::Xz, output, interrupt, |to| {
        for (name, text) in [
            ("config", config.as_str()),
            ("config-user", &config),
            ("create-message", ""),
            ("excludes-user", ""),
            ("expiry", "253402300799\n"),
            ("templates", ""),
        ] {
            let member = Member {
                name: name.as_bytes(),
                kind: Kind::File(text.len() as u64),
                mode: 0o644,
                uid: 0,
                gid: 0,
                time: (time, 0),
                attributes: &[],
            };
            write_header(&member, to)?;
            to.write_all(text.as_bytes())?;
            write_padding(text.len() as u64, to)?;
        }
        write_end(to)
    })
}
