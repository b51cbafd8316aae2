//! What of a layer could not be put into a tree.

use std::collections::BTreeMap;
use std::fmt;

use crate::tree::archive::shown;

/// How many paths of a kind are kept.
const MOST: usize = 4;

/// The longest path that is kept, in bytes.
const LONGEST: usize = 4096;

/// Why something is left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum OmittedKind {
    /// Device nodes, and other names of them.
    Device,
    /// An attribute that this process may not set.
    Forbidden,
    /// An attribute that is not one of a file's content: overlayfs's, a label.
    Attribute,
    /// Access lists that are written as text.
    TextLists,
}

impl fmt::Display for OmittedKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Device => "device nodes are left out:",
            Self::Forbidden => "attributes that may not be set here are left out of",
            Self::Attribute => "attributes of overlayfs and of security modules are left out of",
            Self::TextLists => "access lists that are written as text are left out of",
        })
    }
}

/// What of a layer could not be put into a tree: how much of each kind, and the first paths.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Omitted {
    kinds: BTreeMap<OmittedKind, (u64, Vec<Vec<u8>>)>,
}

impl Omitted {
    pub(super) fn add(&mut self, kind: OmittedKind, path: &[u8]) {
        let (count, paths) = self.kinds.entry(kind).or_default();
        *count += 1;
        if paths.len() < MOST {
            paths.push(path[..path.len().min(LONGEST)].to_vec());
        }
    }

    /// Adds what something else could not put there.
    pub(super) fn join(&mut self, other: Self) {
        for (kind, (more, paths)) in other.kinds {
            let (count, known) = self.kinds.entry(kind).or_default();
            *count += more;
            known.extend(paths);
            known.truncate(MOST);
        }
    }

    /// Tells how much of a kind was left out.
    #[cfg(test)]
    pub(crate) fn count(&self, kind: OmittedKind) -> u64 {
        self.kinds.get(&kind).map_or(0, |(count, _)| *count)
    }
}

/// One line a kind.
impl fmt::Display for Omitted {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (kind, (count, paths)) in &self.kinds {
            let names: Vec<_> = paths.iter().map(|path| shown(path)).collect();
            write!(formatter, "{kind} {}", names.join(", "))?;
            match count - names.len() as u64 {
                0 => writeln!(formatter)?,
                more => writeln!(formatter, " and {more} more")?,
            }
        }
        Ok(())
    }
}
