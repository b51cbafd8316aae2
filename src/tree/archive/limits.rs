//! How much an archive may ask for.

/// How much an archive may ask for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Limits {
    /// How many bytes the names, links and attributes of one member may take.
    pub names: usize,
    /// How many headers may stand before that of a member.
    pub headers: usize,
    /// How many members there may be.
    pub entries: u64,
    /// How many bytes the archive may have, once it is decompressed.
    pub bytes: u64,
    /// How many directories a path may lead through.
    pub levels: usize,
}

impl Default for Limits {
    /// Returns what no honest layer comes near.
    fn default() -> Self {
        Self { names: 1 << 20, headers: 16, entries: 1 << 20, bytes: 256 << 30, levels: 4096 }
    }
}
