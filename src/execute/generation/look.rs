//! A look at what a container would become, which leaves no trace in its directory.

use std::fs;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;

use rustix::fs::{Stat, fstat, futimens};

use super::{Generations, LOOK};
use crate::host::files;
use crate::store::GENERATIONS;
use crate::tree;

/// Where a container is made to be looked at.
#[derive(Debug)]
pub(crate) struct Look {
    generations: Generations,
    /// What the container's directory was, and that of the generations, if there was one.
    before: (Stat, Option<Stat>),
}

impl Generations {
    /// Returns where the container can be made to be looked at. Nothing is there.
    pub(crate) fn look(&self) -> io::Result<Look> {
        let above = fstat(files::open_directory(&self.container)?)?;
        let directory = self.container.join(GENERATIONS);
        let within = match fs::DirBuilder::new().mode(0o755).create(&directory) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                Some(fstat(files::open_real_directory(&directory)?)?)
            }
            made => made.map(|()| None)?,
        };
        self.remove(LOOK)?;
        Ok(Look { generations: self.clone(), before: (above, within) })
    }
}

impl Look {
    /// Returns the directory.
    pub(crate) fn at(&self) -> PathBuf {
        self.generations.within(LOOK)
    }

    /// Removes what was made there: all is as before.
    pub(crate) fn end(self) -> io::Result<()> {
        let Generations { container } = &self.generations;
        self.generations.remove(LOOK)?;
        let directory = container.join(GENERATIONS);
        match &self.before.1 {
            Some(stat) => futimens(files::open_real_directory(&directory)?, &tree::times(stat))?,
            None => fs::remove_dir(&directory)?,
        }
        Ok(futimens(files::open_directory(container)?.as_fd(), &tree::times(&self.before.0))?)
    }
}
