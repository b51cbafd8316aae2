//! A tree as a tar archive: what of it is written.

use std::collections::{HashMap, HashSet};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::MetadataExt;

use super::tar::{Kind, Member, write_end, write_header, write_padding};
use super::warnings::Warnings;
use crate::cache::Names;
use crate::tree::{
    Interrupt, LONGEST_HIDDEN, LONGEST_TEXT, ListedFile, ListedKind, Reader, Step, WHITEOUT,
};

/// How many bytes of holes a file may have: in an archive they are zeros.
const MOST_HOLES: u64 = 64 << 30;

/// How many bytes of a file are written before it is looked whether a signal has come.
const PIECE: u64 = 16 << 20;

/// The name that empties a directory.
///
/// Source: the image specification of OCI 1.1.
const OPAQUE: &[u8] = b".wh..wh..opq";

/// What the names of overlayfs's own attributes begin with.
const OVERLAY: [&[u8]; 2] = [b"trusted.overlay.", b"user.overlay."];

/// An archive that is being written.
pub(super) struct Archive<'a, 'tree> {
    pub reader: Reader<'tree>,
    /// What stands before each name.
    pub prefix: &'a [u8],
    /// The files and links that hold the placeholder.
    pub named: HashSet<&'a [u8]>,
    pub names: &'a Names,
    /// The group that LXC gives a rootfs: root's is written in its place.
    pub group: u32,
    /// The latest time that is written, in seconds since 1970.
    pub latest: Option<i64>,
    pub to: &'a mut dyn Write,
    pub warnings: &'a mut Warnings,
    pub interrupt: Interrupt<'a>,
    /// Whether it is laid over another tree.
    pub is_over: bool,
}

/// Writes all steps, and the archive's end.
pub(super) fn write(archive: &mut Archive<'_, '_>, steps: &[Step<'_>]) -> io::Result<()> {
    // What could not be written: by its names, of which a file may have several.
    let mut left_out: HashSet<&[u8]> = HashSet::new();
    // The name by which a file was written whose first no archive can hold.
    let mut renamed: HashMap<&[u8], &[u8]> = HashMap::new();
    for step in steps {
        archive.interrupt.check()?;
        match step {
            Step::Put { path, file, link } => {
                let first = link.as_deref();
                let link = first.map(|first| renamed.get(first).copied().unwrap_or(first));
                let lacks = |link: &[u8]| left_out.contains(link);
                if is_below(path, &left_out)
                    || link.is_some_and(|link| lacks(link) && !is_nameless(link))
                {
                    left_out.insert(path);
                    continue;
                }
                let written_as = link.filter(|link| !lacks(link));
                if !archive.put(path, file, written_as, first.unwrap_or(path))? {
                    left_out.insert(path);
                    archive.hide(path)?;
                } else if let (Some(first), None) = (first, written_as) {
                    renamed.insert(first, path);
                }
            }
            // What could not be written below cannot be there.
            Step::Remove(path) if name_of(path).starts_with(WHITEOUT) => {}
            Step::Remove(path) => {
                archive.mark(directory_of(path), &[WHITEOUT, name_of(path)].concat())?;
            }
            Step::Empty(path) => archive.mark(path, OPAQUE)?,
        }
    }
    write_end(archive.to)
}

/// Tells whether no archive can hold a path, whatever is there.
fn is_nameless(path: &[u8]) -> bool {
    path.split(|byte| *byte == b'/').any(|name| name.starts_with(WHITEOUT))
}

/// Tells whether a path is one of these, or below one.
fn is_below(path: &[u8], those: &HashSet<&[u8]>) -> bool {
    if those.is_empty() {
        return false;
    }
    let ends = path.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(at, _)| at);
    ends.chain([path.len()]).any(|end| those.contains(&path[..end]))
}

fn name_of(path: &[u8]) -> &[u8] {
    path.rsplit(|byte| *byte == b'/').next().unwrap_or(path)
}

fn directory_of(path: &[u8]) -> &[u8] {
    &path[..path.iter().rposition(|byte| *byte == b'/').unwrap_or_default()]
}

impl Archive<'_, '_> {
    /// Writes something of the tree, of which `first` is the first name; false, where an archive cannot have it.
    fn put(
        &mut self,
        path: &[u8],
        file: &ListedFile,
        link: Option<&[u8]>,
        first: &[u8],
    ) -> io::Result<bool> {
        if name_of(path).starts_with(WHITEOUT) {
            self.warnings.add("no archive can hold a name that begins with `.wh.`:", path);
            return Ok(false);
        }
        let kind = match (&file.kind, link) {
            (ListedKind::Socket, _) => {
                self.warnings.add("no archive can hold a socket:", path);
                return Ok(false);
            }
            (ListedKind::BlockDevice(_) | ListedKind::CharacterDevice(_), _) => {
                // Whoever runs it makes those of `/dev`.
                if !path.starts_with(b"dev/") {
                    self.warnings.add("device nodes are left out:", path);
                }
                return Ok(false);
            }
            (_, Some(link)) => Kind::Link([self.prefix, link].concat()),
            (ListedKind::Directory, None) => Kind::Directory,
            (ListedKind::Fifo, None) => Kind::Fifo,
            (ListedKind::Symlink { target }, None) if self.named.contains(first) => {
                Kind::Symlink(self.names.put_into(target))
            }
            (ListedKind::Symlink { target }, None) => Kind::Symlink(target.clone()),
            (ListedKind::File { size, .. }, None) => {
                return self.put_file((path, first), file, *size);
            }
        };
        self.head(path, file, kind)?;
        Ok(true)
    }

    fn put_file(
        &mut self,
        (path, first): (&[u8], &[u8]),
        file: &ListedFile,
        size: u64,
    ) -> io::Result<bool> {
        let mut opened = self.reader.file(path)?;
        let metadata = opened.metadata()?;
        if size.saturating_sub(metadata.blocks() * 512) > MOST_HOLES {
            self.warnings.add("files with more than 64 GiB of holes are left out:", path);
            return Ok(false);
        }
        if self.named.contains(first) && size <= LONGEST_TEXT {
            let mut text = Vec::new();
            opened.read_to_end(&mut text)?;
            let text = self.names.put_into(&text);
            self.head(path, file, Kind::File(text.len() as u64))?;
            self.to.write_all(&text)?;
            write_padding(text.len() as u64, self.to)?;
            return Ok(true);
        }
        self.head(path, file, Kind::File(size))?;
        opened.rewind()?;
        let mut left = size;
        while left > 0 {
            self.interrupt.check()?;
            let copied = io::copy(&mut Read::by_ref(&mut opened).take(left.min(PIECE)), self.to)?;
            if copied == 0 {
                break;
            }
            left -= copied;
        }
        if left > 0 || metadata.len() != size {
            return Err(io::Error::other(format!(
                "{} is not as it was stored: `layered-template store verify` shows more",
                crate::shell::word(format!("/{}", String::from_utf8_lossy(path)))
            )));
        }
        write_padding(size, self.to)?;
        Ok(true)
    }

    fn head(&mut self, path: &[u8], file: &ListedFile, kind: Kind) -> io::Result<()> {
        let mut attributes = match kind {
            Kind::Link(_) => Vec::new(),
            _ => self.reader.attributes(path)?,
        };
        attributes.retain(|(name, _)| {
            // A label is of the host's policy.
            let is_label = name.starts_with(b"security.") && name != b"security.capability";
            let is_marked = name.contains(&b'=');
            if is_marked {
                self.warnings.add("an attribute with `=` in its name is left out of", path);
            }
            // Whoever lays it over something else would read them.
            let is_overlay = OVERLAY.iter().any(|prefix| name.starts_with(prefix));
            if is_overlay {
                self.warnings.add("attributes of overlayfs are left out of", path);
            }
            !is_label && !is_marked && !is_overlay
        });
        let end: &[u8] = match (&kind, path) {
            (Kind::Directory, b"") => b"",
            (Kind::Directory, _) => b"/",
            _ => b"",
        };
        let mut name = [self.prefix, path, end].concat();
        if name.is_empty() {
            name = b"./".to_vec();
        }
        let (seconds, nanoseconds) = file.time();
        let time = match self.latest {
            Some(latest) if seconds >= latest => (latest, 0),
            _ => (seconds, nanoseconds),
        };
        let mode = if matches!(kind, Kind::Symlink(_)) { 0o777 } else { file.mode };
        let is_given = path.is_empty() && file.gid == self.group;
        let gid = if is_given { 0 } else { file.gid };
        let (uid, attributes) = (file.uid, &attributes[..]);
        write_header(&Member { name: &name, kind, mode, uid, gid, time, attributes }, self.to)
    }

    /// Hides what the tree below may have at the path of what cannot be written.
    fn hide(&mut self, path: &[u8]) -> io::Result<()> {
        let name = name_of(path);
        if !self.is_over || name.starts_with(WHITEOUT) || name.len() > LONGEST_HIDDEN {
            return Ok(());
        }
        self.mark(directory_of(path), &[WHITEOUT, name].concat())
    }

    /// Writes an empty file that says something of a directory.
    fn mark(&mut self, directory: &[u8], name: &[u8]) -> io::Result<()> {
        let name = match directory {
            b"" => [self.prefix, name].concat(),
            directory => [self.prefix, directory, b"/", name].concat(),
        };
        let (kind, time, attributes) = (Kind::File(0), (0, 0), &[][..]);
        write_header(
            &Member { name: &name, kind, mode: 0, uid: 0, gid: 0, time, attributes },
            self.to,
        )
    }
}
