//! A role as an image of Incus: its metadata, its rootfs, and a profile.
//!
//! An image of Incus can carry no config of an instance, so that what of the role's config it takes is in a
//! profile. Source: the documentation of Incus 6.0 on images and profiles.

mod profile;
mod yaml;

use std::io::{self, Write};
use std::path::Path;

use super::archive_file::write_file;
use super::image::Image;
use super::os_release::OsRelease;
use super::output::Output;
use super::tar::{Kind, Member, write_end, write_header, write_padding};
use super::target::Compression;
use super::warnings::Warnings;
use crate::host::rootfs::Rootfs;
use crate::tree::Interrupt;
use profile::Profile;
use yaml::Yaml;

/// The file that holds the name of a container, and the template that Incus makes it of.
const HOSTNAME: &str = "etc/hostname";
const TEMPLATE: &str = "hostname.tpl";

/// Writes `incus.tar.xz`, `rootfs.tar.xz` and `profile.yaml` into a directory.
pub(super) fn write(
    image: &Image,
    directory: &Path,
    output: Output,
    warnings: &mut Warnings,
    interrupt: Interrupt<'_>,
) -> io::Result<()> {
    output.make_directory(directory)?;
    write_file(&directory.join("rootfs.tar.xz"), Compression::Xz, output, interrupt, |to| {
        image.write_whole(to, warnings, interrupt)
    })?;
    let rootfs = image.rootfs()?;
    let is_named = image.has_name_alone(&rootfs, HOSTNAME);
    let created = i64::try_from(image.made_at(image.layers.len() - 1)).unwrap_or_default();
    let metadata = metadata(image.arch(), created, &rootfs, is_named);
    let mut members = vec![("metadata.yaml", metadata.as_str())];
    let path = format!("templates/{TEMPLATE}");
    if is_named {
        members.extend([("templates/", ""), (&path, "{{ container.name }}\n")]);
    }
    write_file(&directory.join("incus.tar.xz"), Compression::Xz, output, interrupt, |to| {
        members.iter().try_for_each(|(name, text)| put(to, name, text, created))?;
        write_end(to)
    })?;
    let profile = Profile::of(&image.config(warnings), warnings);
    write_file(&directory.join("profile.yaml"), Compression::None, output, interrupt, |to| {
        to.write_all(profile.to_yaml().as_bytes())
    })
}

fn put(to: &mut dyn Write, name: &str, text: &str, created: i64) -> io::Result<()> {
    let is_directory = name.ends_with('/');
    let (kind, mode) = match is_directory {
        true => (Kind::Directory, 0o755),
        false => (Kind::File(text.len() as u64), 0o644),
    };
    let name = name.as_bytes();
    let member = Member { name, kind, mode, uid: 0, gid: 0, time: (created, 0), attributes: &[] };
    write_header(&member, to)?;
    to.write_all(text.as_bytes())?;
    write_padding(text.len() as u64, to)
}

/// Returns what Incus must know of an image.
fn metadata(arch: &str, created: i64, rootfs: &Rootfs, is_named: bool) -> String {
    let architecture = architecture(arch);
    let release = OsRelease::read(rootfs).unwrap_or_default();
    let mut yaml = Yaml::default();
    yaml.pair("architecture", architecture);
    yaml.number("creation_date", created);
    yaml.map("properties", |yaml| {
        yaml.pair("architecture", architecture);
        let description = if release.name.is_empty() { "Linux" } else { &release.name };
        yaml.pair("description", description);
        for (key, value) in [("os", &release.id), ("release", &release.version)] {
            if !value.is_empty() {
                yaml.pair(key, value);
            }
        }
    });
    if is_named {
        yaml.map("templates", |yaml| {
            yaml.map(&format!("/{HOSTNAME}"), |yaml| {
                yaml.list("when", &["create", "copy"]);
                yaml.pair("template", TEMPLATE);
            });
        });
    }
    yaml.into_text()
}

/// Returns the kernel's name of an architecture, which Debian's stands for.
fn architecture(arch: &str) -> &str {
    match arch {
        "amd64" => "x86_64",
        "arm64" => "aarch64",
        "armel" => "armv6l",
        "armhf" => "armv7l",
        "i386" => "i686",
        "loong64" => "loongarch64",
        "ppc64el" => "ppc64le",
        other => other,
    }
}
