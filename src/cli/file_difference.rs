//! What is different about a file, as people and programs are told of it.

use serde::{Deserialize, Serialize};
use similar::TextDiff;

use crate::digest::Digest;
use crate::shell;
use crate::tree::{Drift, ListedFile, ListedKind};

/// What is different about a file: something that was changed in a container, or that a new run would change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct FileDifference {
    /// Its absolute path inside the rootfs.
    pub path: String,
    /// What became of it, or would.
    pub change: FileChange,
    /// What of it differs, where it is on both sides: `kind`, `bytes`, `target`, `device`, `mode`, `owner`, or
    /// `xattrs`.
    pub what: Vec<String>,
    /// What it was, or is before the run; nothing where it is not there, or where that is not known.
    pub before: Option<FileState>,
    /// What it is, or would be; nothing where it is gone, or would go.
    pub now: Option<FileState>,
}

/// What became of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub(crate) enum FileChange {
    /// It is new.
    Added,
    /// It is another one.
    Changed,
    /// It is gone.
    Removed,
}

/// What a file is on one side.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct FileState {
    /// `file`, `directory`, `symlink`, `fifo`, `socket`, `block device` or `character device`.
    pub kind: String,
    /// Its permission bits, in octal.
    pub mode: String,
    /// Its owner, as the container counts.
    pub uid: u32,
    /// Its group, likewise.
    pub gid: u32,
    /// The digest of a file's bytes; nothing where they hold a secret.
    pub digest: Option<Digest>,
}

impl FileDifference {
    /// Returns what has changed in a tree.
    pub(super) fn of(drift: &Drift) -> Self {
        let change = match (&drift.before, &drift.now) {
            (_, None) => FileChange::Removed,
            (None, _) if drift.is_new => FileChange::Added,
            _ => FileChange::Changed,
        };
        Self {
            path: format!("/{}", String::from_utf8_lossy(&drift.path)),
            change,
            what: drift.changed.iter().map(|what| (*what).to_owned()).collect(),
            before: drift.before.as_ref().map(FileState::of),
            now: drift.now.as_ref().map(FileState::of),
        }
    }

    /// Returns it in a line, as `git status` has them.
    pub(super) fn line(&self) -> String {
        let path = shell::word(&self.path);
        let slash = |side: &Option<FileState>| match side {
            Some(side) if side.kind == "directory" && path != "/" => "/",
            _ => "",
        };
        let letter = match self.change {
            FileChange::Added => "A",
            FileChange::Changed => "M",
            FileChange::Removed => return format!("D  {path}{}", slash(&self.before)),
        };
        let line = format!("{letter}  {path}{}", slash(&self.now));
        match self.described() {
            what if what.is_empty() => line,
            what => format!("{line}: {}", what.join(", ")),
        }
    }

    /// Says what of it differs.
    pub(super) fn described(&self) -> Vec<String> {
        let (Some(before), Some(now)) = (&self.before, &self.now) else { return Vec::new() };
        let owner = |side: &FileState| format!("{}:{}", side.uid, side.gid);
        let what = self.what.iter().map(|what| match what.as_str() {
            "mode" => format!("mode {} → {}", before.mode, now.mode),
            "owner" => format!("owner {} → {}", owner(before), owner(now)),
            "kind" => format!("{} → {}", before.kind, now.kind),
            "bytes" => "content".to_owned(),
            "xattrs" => "attributes".to_owned(),
            other => other.to_owned(),
        });
        what.collect()
    }
}

/// Returns how the lines of a text have changed; nothing, where one side is no text. A side that is not there is
/// `None`. The path has no slash in front.
pub(super) fn patch(path: &str, before: Option<&[u8]>, now: Option<&[u8]>) -> Option<String> {
    let text = |side: Option<&[u8]>| {
        let text = String::from_utf8(side.unwrap_or_default().to_vec()).ok()?;
        (!text.contains('\0')).then_some(text)
    };
    let (old, new) = (text(before)?, text(now)?);
    let path = shell::one_line(path);
    let side = |letter: char, is_there: bool| match is_there {
        true => format!("{letter}/{path}"),
        false => "/dev/null".to_owned(),
    };
    let header = (side('a', before.is_some()), side('b', now.is_some()));
    let lines = TextDiff::from_lines(&old, &new);
    Some(lines.unified_diff().header(&header.0, &header.1).to_string())
}

impl FileState {
    pub(super) fn of(file: &ListedFile) -> Self {
        let kind = match file.kind {
            ListedKind::Directory => "directory",
            ListedKind::File { .. } => "file",
            ListedKind::Symlink { .. } => "symlink",
            ListedKind::BlockDevice(_) => "block device",
            ListedKind::CharacterDevice(_) => "character device",
            ListedKind::Fifo => "fifo",
            ListedKind::Socket => "socket",
        };
        let digest = match &file.kind {
            ListedKind::File { digest, .. } => Some(*digest),
            _ => None,
        };
        let mode = format!("{:04o}", file.mode);
        Self { kind: kind.to_owned(), mode, uid: file.uid, gid: file.gid, digest }
    }
}
