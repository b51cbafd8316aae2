//! What a role is written as, and where to.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

/// How an archive is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Compression {
    /// Not at all.
    None,
    /// By this program.
    Gzip,
    /// By the host's `xz`.
    Xz,
    /// By the host's `zstd`.
    Zstd,
}

/// How the layers of an image are compressed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum LayerCompression {
    /// By this program, and read by all that run images.
    #[default]
    Gzip,
    /// By the host's `zstd`.
    Zstd,
}

impl From<LayerCompression> for Compression {
    fn from(compression: LayerCompression) -> Self {
        match compression {
            LayerCompression::Gzip => Self::Gzip,
            LayerCompression::Zstd => Self::Zstd,
        }
    }
}

/// What a role is written as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum TargetKind {
    /// A tar archive of the whole rootfs.
    Tar(Compression),
    /// An image in an OCI layout, by this tag.
    Oci(String),
    /// The rootfs as a directory.
    Directory,
    /// An image of Incus, and a profile.
    Incus,
    /// A root filesystem and its metadata, as `lxc-create -t local` takes them.
    LxcLocal,
}

/// What a role is written as, and where to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    /// What it is written as.
    pub kind: TargetKind,
    /// The file or directory.
    pub path: PathBuf,
}

/// What a target looks like.
const EXPECTED: &str =
    "expected `dir:DIR`, `tar:FILE`, `oci:DIR:TAG`, `lxc-local:DIR` or `incus:DIR`";

impl Target {
    /// Reads one: `dir:DIR`, `tar:FILE`, `oci:DIR:TAG`, `lxc-local:DIR` or `incus:DIR`.
    ///
    /// # Errors
    ///
    /// What is wrong with it, for people.
    pub(crate) fn parse(text: &OsStr) -> Result<Self, String> {
        let bytes = text.as_bytes();
        let end = bytes.iter().position(|byte| *byte == b':').unwrap_or_default();
        let (kind, rest) = (&bytes[..end], bytes.get(end + 1..).unwrap_or_default());
        let path = |bytes: &[u8]| PathBuf::from(OsString::from_vec(bytes.to_vec()));
        let (kind, path) = match kind {
            b"tar" => (TargetKind::Tar(compression(&path(rest))?), path(rest)),
            b"dir" => (TargetKind::Directory, path(rest)),
            b"incus" => (TargetKind::Incus, path(rest)),
            b"lxc-local" => (TargetKind::LxcLocal, path(rest)),
            b"oci" => {
                let end = rest.iter().rposition(|byte| *byte == b':');
                let end = end.ok_or("an OCI layout needs a tag: `oci:DIR:TAG`")?;
                let tag = str::from_utf8(&rest[end + 1..]).ok().filter(|tag| is_tag(tag));
                let tag = tag.ok_or(
                    "a tag has up to 128 letters, digits, `.`, `_` and `-`, and begins with none of \
                     the last two",
                )?;
                (TargetKind::Oci(tag.to_owned()), path(&rest[..end]))
            }
            _ => return Err(EXPECTED.to_owned()),
        };
        if path.as_os_str().is_empty() {
            return Err("it names no file or directory".to_owned());
        }
        Ok(Self { kind, path })
    }
}

/// Tells how a file of such a name is compressed.
///
/// # Errors
///
/// Where the name promises what is not known here.
fn compression(path: &Path) -> Result<Compression, String> {
    let extension = path.extension().map(OsStr::to_ascii_lowercase);
    match extension.as_deref().and_then(OsStr::to_str) {
        Some("gz" | "tgz") => Ok(Compression::Gzip),
        Some("xz" | "txz") => Ok(Compression::Xz),
        Some("zst" | "tzst") => Ok(Compression::Zstd),
        Some(other @ ("bz2" | "tbz2" | "br" | "lz" | "lz4" | "lzma" | "lzo" | "z" | "zip")) => {
            Err(format!("`.{other}` is not known: use `.tar`, `.tar.gz`, `.tar.xz` or `.tar.zst`"))
        }
        _ => Ok(Compression::None),
    }
}

/// Source: the distribution specification of OCI 1.1.
fn is_tag(text: &str) -> bool {
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let mut bytes = text.bytes();
    bytes.next().is_some_and(is_word)
        && text.len() <= 128
        && bytes.all(|byte| is_word(byte) || b".-".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_read() {
        let target = |kind, path: &str| Ok(Target { kind, path: path.into() });
        let oci = |tag: &str| TargetKind::Oci(tag.to_owned());
        for (text, expected) in [
            ("tar:web.tar", target(TargetKind::Tar(Compression::None), "web.tar")),
            ("tar:/a:b/web.tar.gz", target(TargetKind::Tar(Compression::Gzip), "/a:b/web.tar.gz")),
            ("tar:w.txz", target(TargetKind::Tar(Compression::Xz), "w.txz")),
            ("tar:w.tar.zst", target(TargetKind::Tar(Compression::Zstd), "w.tar.zst")),
            ("tar:W.TAR.GZ", target(TargetKind::Tar(Compression::Gzip), "W.TAR.GZ")),
            ("tar:w.Tar.Xz", target(TargetKind::Tar(Compression::Xz), "w.Tar.Xz")),
            ("oci:images:web", target(oci("web"), "images")),
            ("oci:/a:b:1.0_x-y", target(oci("1.0_x-y"), "/a:b")),
            ("lxc-local:out", target(TargetKind::LxcLocal, "out")),
            ("dir:/a:b/out", target(TargetKind::Directory, "/a:b/out")),
            ("incus:out", target(TargetKind::Incus, "out")),
        ] {
            assert_eq!(Target::parse(text.as_ref()), expected, "{text}");
        }
        for text in [
            "",
            "web.tar",
            "tar:",
            "dir:",
            "incus:",
            "oci:",
            "oci:dir",
            "oci:dir:",
            "oci:dir:-x",
            "oci::x",
            "x:y",
            "tar:x.tar.bz2",
            "tar:X.TAR.BZ2",
        ] {
            assert!(Target::parse(text.as_ref()).is_err(), "{text}");
        }
    }
}
