//! A tree that is looked at as its container sees it.

use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use crate::cache::{DELTA, WORK};
use crate::host::caller::Caller;
use crate::store::Overlay;
use crate::tree::{
    self, Baseline, Form, Interrupt, ListedFile, ListedKind, Listing, Marks, OfOverlay, Search,
    ShutFiles,
};

/// A tree, what is in it, and what it is mounted by.
#[derive(Debug)]
pub(super) struct View {
    pub(super) listing: Listing,
    top: OwnedFd,
    /// The upper directory of an overlay, the form of its marks, and what is in it where that tells what is shown.
    upper: Option<(OwnedFd, Form, Option<Listing>)>,
    /// It goes behind the descriptor.
    _overlay: Option<Overlay>,
}

impl View {
    /// Looks at a container's own copy.
    pub(super) fn of_copy(rootfs: &Path, interrupt: Interrupt<'_>) -> io::Result<Self> {
        let top = super::open(rootfs)?;
        let listing = list(top.as_fd(), interrupt)?;
        Ok(Self { listing, top, upper: None, _overlay: None })
    }

    /// Looks at what a container has on an overlay, mounted for that in a new directory. The container may run.
    pub(super) fn of_container(
        lower: (&Path, &Listing),
        delta: &Path,
        at: &Path,
        interrupt: Interrupt<'_>,
    ) -> io::Result<Self> {
        // Whoever was killed here has left it.
        match fs::create_dir(at) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        let upper = super::open(delta)?;
        let overlay = Overlay::view(lower.0, delta, at)?;
        Self::on(lower.1, upper.as_fd(), at, overlay, interrupt)
    }

    /// Looks at what was made beside a container, mounted so that it can be written to.
    pub(super) fn of_next(
        lower: (&Path, &Listing),
        staged: &Path,
        interrupt: Interrupt<'_>,
    ) -> io::Result<Self> {
        let (delta, work, at) = (staged.join(DELTA), staged.join(WORK), staged.join("rootfs"));
        let opened = super::open(staged)?;
        tree::remove(opened.as_fd(), WORK.as_ref())?;
        fs::create_dir(&work)?;
        let upper = super::open(&delta)?;
        let overlay = Overlay::mount(lower.0, &delta, &work, &at)?;
        Self::on(lower.1, upper.as_fd(), &at, overlay, interrupt)
    }

    fn on(
        lower: &Listing,
        upper: BorrowedFd<'_>,
        at: &Path,
        overlay: Overlay,
        interrupt: Interrupt<'_>,
    ) -> io::Result<Self> {
        let is_mapped = Caller::observe().is_mapped_root();
        let form = if is_mapped { Form::User } else { Form::Trusted };
        let top = super::open(at)?;
        let (listing, of_upper) = match Listing::of_overlay(lower, upper, form, interrupt)? {
            Some(OfOverlay { shown, upper }) => (shown, Some(upper)),
            None => (list(top.as_fd(), interrupt)?, None),
        };
        let upper = Some((upper.try_clone_to_owned()?, form, of_upper));
        Ok(Self { listing, top, upper, _overlay: Some(overlay) })
    }

    /// Finds out which of its files and directories the container has shut: the `old` tree has them open.
    pub(super) fn shut(&self, old: BorrowedFd<'_>) -> ShutFiles {
        let listing = match &self.upper {
            Some((_, _, Some(upper))) => upper,
            _ => &self.listing,
        };
        let can_be_shut = |file: &ListedFile| {
            matches!(file.kind, ListedKind::File { .. } | ListedKind::Directory)
        };
        let mut paths: Vec<_> = listing.iter().filter(|(_, file)| can_be_shut(file)).collect();
        paths.sort_unstable_by(|one, other| one.0.cmp(&other.0));
        let paths = paths.iter().map(|(path, _)| path.as_slice());
        let mut found = match &self.upper {
            Some((upper, form, _)) => tree::shut_files(upper.as_fd(), paths, Some(*form)),
            None => tree::shut_files(self.top(), paths, None),
        };
        let before = tree::shut_files(old, found.keys().map(Vec::as_slice), None);
        found.retain(|path, flags| before.get(path) != Some(flags));
        found
    }

    /// Returns its top.
    pub(super) fn top(&self) -> BorrowedFd<'_> {
        self.top.as_fd()
    }
}

/// Lists what is in a directory.
pub(super) fn list(top: BorrowedFd<'_>, interrupt: Interrupt<'_>) -> io::Result<Listing> {
    let nothing = &Search::NOTHING;
    Ok(Listing::of(top, Baseline::Nothing, nothing, Marks::Plain, interrupt)?.listing)
}
