//! Where files of two trees may be one file on the disk.

/// How many names a file may have before it is copied instead: ext4 permits 65000. Far below that,
/// so that all names of a file in one tree come to the same answer.
pub(super) const MOST_LINKS: usize = 30_000;

/// What is done with the files of a directory that another tree has as well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sharing {
    /// Nothing special; names at the top are looked at.
    Top,
    /// As the top, in `var`.
    Var,
    /// Copied: programs ignore files here that have several names, and a container sees how many
    /// there are. cron does so in `etc`, logrotate in `var/log`.
    Copied,
    /// Linked.
    Linked,
}

impl Sharing {
    /// Returns what is done in a directory of this name.
    pub(super) fn below(self, name: &[u8]) -> Self {
        match (self, name) {
            (Self::Copied, _)
            | (Self::Top, b"etc" | b"home" | b"root" | b"srv")
            | (Self::Var, b"spool" | b"log") => Self::Copied,
            (Self::Top, b"var") => Self::Var,
            _ => Self::Linked,
        }
    }
}
