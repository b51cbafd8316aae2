//! What is wrong with an archive, and where.

use std::fmt;
use std::io;

/// Where in an archive something stands.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Place {
    /// The number of the member; the first is 1.
    pub member: u64,
    /// The byte of the decompressed archive with which its headers begin.
    pub offset: u64,
    /// Its name, as far as it has been read.
    pub path: Vec<u8>,
}

/// How much of a name is shown, in letters.
const MOST: usize = 120;

impl fmt::Display for Place {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "member {}", self.member)?;
        if !self.path.is_empty() {
            write!(formatter, " ({})", shown(&self.path))?;
        }
        write!(formatter, " at byte {}", self.offset)
    }
}

/// Returns a name as it can be shown on one line.
pub(crate) fn shown(path: &[u8]) -> String {
    // More than that is not looked at: a letter has four bytes at most.
    let text = String::from_utf8_lossy(&path[..path.len().min(4 * MOST)]);
    let mut letters = text.chars().flat_map(char::escape_debug);
    let mut short: String = letters.by_ref().take(MOST).collect();
    if letters.next().is_some() || path.len() > 4 * MOST {
        short.push_str("...");
    }
    format!("`{short}`")
}

/// What is wrong with an archive, and where.
#[derive(Debug, thiserror::Error)]
#[error("{place}: {fault}")]
pub(crate) struct ArchiveError {
    /// The member that was being read.
    pub place: Place,
    /// What is wrong with it.
    #[source]
    pub fault: ArchiveFault,
}

/// What is wrong with an archive.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ArchiveFault {
    /// The system did not give it, or it is not compressed as it says.
    #[error("it cannot be read: {0}")]
    Read(#[source] io::Error),
    /// It is cut off within something.
    #[error("the archive ends within {0}")]
    Truncated(&'static str),
    /// It is cut off between two members.
    #[error("the archive has no end: an empty block is missing")]
    NoEnd,
    /// Something other than empty blocks follows its end.
    #[error("something stands behind the end of the archive")]
    BehindEnd,
    /// A header is not one.
    #[error(
        "the checksum of the header is not {found:o}, but {computed:o}: it is damaged, or the member before \
         it is not as long as it says"
    )]
    Checksum {
        /// What stands in the header.
        found: i128,
        /// What should stand there.
        computed: u32,
    },
    /// A field does not hold a number.
    #[error("the {0} is not a number")]
    NoNumber(&'static str),
    /// A number is too small or too large.
    #[error("the {0} is {1}, which it cannot be")]
    Range(&'static str, i128),
    /// The names are too long.
    #[error("its names and attributes take more than {0} bytes")]
    Names(usize),
    /// There are too many extended headers.
    #[error("more than {0} headers stand before it")]
    Headers(usize),
    /// There are too many members.
    #[error("the archive has more than {0} members")]
    Entries(u64),
    /// It is too long.
    #[error("the archive has more than {0} bytes")]
    Bytes(u64),
    /// A kind of member that is not known.
    #[error("members of the kind {} are not known", shown(&[*.0]))]
    Kind(u8),
    /// A file whose holes are left out.
    #[error(
        "it is stored without its holes, which a layer must not be: write the archive without `--sparse`"
    )]
    Sparse,
    /// A record that does not keep to its form.
    #[error("a record of its extended header {0}")]
    Record(&'static str),
    /// Two headers contradict each other.
    #[error("its {0} is given twice")]
    Twice(&'static str),
    /// A header for all members that follow.
    #[error("a global header sets {} for all members that follow", shown(.0))]
    Global(Vec<u8>),
    /// Something other than a file that is to have bytes.
    #[error("it is not a file, and has {0} bytes")]
    Sized(u64),
    /// A member without a name.
    #[error("it has no name")]
    Unnamed,
    /// A link that leads nowhere.
    #[error("it is a link without a target")]
    NoTarget,
    /// A name with a NUL in it.
    #[error("its {0} contains a NUL")]
    Nul(&'static str),
    /// An extended header that nothing follows.
    #[error("an extended header stands before the end, and belongs to nothing")]
    Dangling,
    /// An attribute that no file can have.
    #[error("its attribute {} {fault}", shown(.name))]
    Attribute {
        /// Its name.
        name: Vec<u8>,
        /// What is wrong with it.
        fault: &'static str,
    },
}
