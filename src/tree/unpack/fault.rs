//! Why a layer cannot be laid over a tree.

use std::io;

use rustix::io::Errno;

use crate::tree::archive::{ArchiveFault, Place, shown};

/// Why a layer cannot be laid over a tree, and which of its members that is about.
#[derive(Debug, thiserror::Error)]
#[error("{place}: {fault}")]
pub(crate) struct UnpackError {
    /// The member that was being put there.
    pub place: Place,
    /// What is wrong with it.
    #[source]
    pub fault: UnpackFault,
}

impl UnpackError {
    pub(super) fn interrupted(place: &Place) -> Self {
        let source = io::Error::new(io::ErrorKind::Interrupted, "it was interrupted");
        Self { place: place.clone(), fault: UnpackFault::System(source) }
    }
}

impl From<UnpackError> for io::Error {
    fn from(error: UnpackError) -> Self {
        Self::new(error.fault.kind(), error)
    }
}

/// Why a layer cannot be laid over a tree.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UnpackFault {
    /// The archive itself is not right.
    #[error(transparent)]
    Archive(#[from] ArchiveFault),
    /// A name that leads upwards.
    #[error("`..` is in its name")]
    Upwards,
    /// A name that no filesystem can hold.
    #[error("a name in its path has more than 255 bytes")]
    LongName,
    /// A symbolic link that no host can make.
    #[error("it is a symbolic link whose target has more than {0} bytes")]
    LongTarget(usize),
    /// Too deep a path.
    #[error("its path leads through more than {0} directories")]
    Deep(usize),
    /// A mark in the place of a directory, or one that is not known.
    #[error("{} is a name that only marks of what is removed have", shown(.0))]
    Reserved(Vec<u8>),
    /// The tree itself as a file.
    #[error("it would replace the tree itself")]
    Top,
    /// A link on the way.
    #[error("{} on its way is a symbolic link: a layer must name where it leads", shown(.0))]
    ParentLink(Vec<u8>),
    /// A file on the way.
    #[error("{} on its way is not a directory", shown(.0))]
    ParentFile(Vec<u8>),
    /// Something is mounted on the way.
    #[error("something is mounted at {} on its way", shown(.0))]
    Mounted(Vec<u8>),
    /// A hard link to nothing.
    #[error("it is to be another name of {}, which {fault}", shown(.target))]
    Target {
        /// What it is to be another name of.
        target: Vec<u8>,
        /// Why it cannot be that.
        fault: &'static str,
    },
    /// A mark that marks nothing.
    #[error("it marks something as removed, but {0}")]
    Mark(&'static str),
    /// A mark of what the layer itself has put there.
    #[error("it removes what the same layer has put there")]
    RemovesOwn,
    /// Two members of one name.
    #[error("its name stands twice in the layer, once as a directory and once as something else")]
    Contradiction,
    /// Directories within each other with many attributes.
    #[error("the attributes of the directories on its way take more than {0} bytes")]
    Attributes(usize),
    /// An attribute that no kernel takes.
    #[error("the attribute {} is refused by the kernel: {source}", shown(.name))]
    Attribute {
        /// Its name.
        name: Vec<u8>,
        /// What the kernel says.
        source: io::Error,
    },
    /// A directory that was made before the member.
    #[error("{}: {fault}", shown(.path))]
    Directory {
        /// Its path.
        path: Vec<u8>,
        /// What is wrong with it.
        #[source]
        fault: Box<UnpackFault>,
    },
    /// The directory has too many directories in which the layer has put something.
    #[error(
        "it empties more than {0} directories: such a mark must stand before what is put there"
    )]
    Empties(usize),
    /// The system did not do what it should.
    #[error(transparent)]
    System(#[from] io::Error),
}

impl UnpackFault {
    /// Returns what kind of error it is: [`io::ErrorKind::InvalidData`] where the layer is at fault.
    fn kind(&self) -> io::ErrorKind {
        match self {
            Self::System(source) | Self::Archive(ArchiveFault::Read(source)) => source.kind(),
            Self::Directory { fault, .. } => fault.kind(),
            _ => io::ErrorKind::InvalidData,
        }
    }
}

impl From<Errno> for UnpackFault {
    fn from(error: Errno) -> Self {
        Self::System(error.into())
    }
}
