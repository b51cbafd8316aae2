//! What an overlay shows, by the listing of its lower directory and by what is in the upper one.

use std::collections::HashSet;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex};

use rustix::fs::FileType;

use super::difference::{Pair, Pairs};
use super::{Baseline, ListedFile, ListedKind, Listing, OfOverlay, Search, Way};
use crate::tree::dir_path::DirPath;
use crate::tree::directory::{self, Name};
use crate::tree::interrupt::Interrupt;
use crate::tree::marks::{Form, Marks};
use crate::tree::workers::{self, lock};
use crate::tree::xattr::Holder;

/// Marks by which nothing else is shown than without them.
const WITHOUT_EFFECT: [&[u8]; 5] = [b"origin", b"impure", b"nlink", b"uuid", b"protattr"];

/// Lists an overlay, as [`Listing::of_overlay`] says.
pub(super) fn list(
    lower: &Listing,
    upper: BorrowedFd<'_>,
    form: Form,
    interrupt: Interrupt<'_>,
) -> io::Result<Option<OfOverlay>> {
    let Some(opaque) = opaque_directories(upper, form, interrupt)? else { return Ok(None) };
    let marks = Marks::Escaped(form);
    let upper = Listing::of(upper, Baseline::Nothing, &Search::NOTHING, marks, interrupt)?.listing;
    Ok(Some(OfOverlay { shown: laid_over(lower, &upper, &opaque), upper }))
}

/// Returns the paths of the directories that show nothing of the lower ones; `None` where there are other marks
/// with an effect.
fn opaque_directories(
    upper: BorrowedFd<'_>,
    form: Form,
    interrupt: Interrupt<'_>,
) -> io::Result<Option<HashSet<Vec<u8>>>> {
    let found = Mutex::new(Some(HashSet::new()));
    let judge = |holder: Holder<'_>, path: &dyn Fn() -> Vec<u8>| -> io::Result<()> {
        for mark in holder.all()? {
            let Some(rest) = form.rest(&mark).filter(|_| form.is_own(&mark)) else { continue };
            if WITHOUT_EFFECT.contains(&rest) {
                continue;
            }
            let mut found = lock(&found);
            match (&mut *found, rest == b"opaque" && holder.value(&mark)? == b"y") {
                (Some(opaque), true) => drop(opaque.insert(path())),
                _ => *found = None,
            }
        }
        Ok(())
    };
    let top: (Arc<OwnedFd>, Arc<DirPath>) = (Arc::new(directory::reopen(upper)?), Arc::default());
    judge(Holder::Open(top.0.as_fd()), &Vec::new)?;
    workers::run(interrupt, top, |(directory, path), queue, _| {
        let names = directory::names(directory.as_fd()).map_err(|error| path.about(c".", error))?;
        for Name { name, kind } in names {
            judge(Holder::Named(directory.as_fd(), &name), &|| path.path(&name))
                .map_err(|error| path.about(&name, error))?;
            if kind == FileType::Directory {
                let below = directory::open(directory.as_fd(), &name)
                    .map_err(|error| path.about(&name, error))?;
                queue.add((Arc::new(below), path.below(&name)));
            }
        }
        Ok(())
    })?;
    Ok(found.into_inner().unwrap_or_default())
}

/// Lays what was found in an upper directory over a lower one.
fn laid_over(lower: &Listing, upper: &Listing, opaque: &HashSet<Vec<u8>>) -> Listing {
    let mut shown = Vec::with_capacity(lower.entries.len());
    let mut firsts = [lower, upper].map(|listing| vec![None; listing.entries.len()]);
    // Nothing of the lower directory is shown that is deeper than this.
    let mut hidden_below: Option<u32> = None;
    let mut way = Way::default();
    for pair in Pairs::of(lower, upper) {
        let entry = match pair {
            Pair::Old(number) => &lower.entries[number as usize],
            Pair::New(number) | Pair::Both(_, number) => &upper.entries[number as usize],
        };
        if hidden_below.is_some_and(|depth| entry.depth <= depth) {
            hidden_below = None;
        }
        match pair {
            Pair::Old(_) if hidden_below.is_some() => continue,
            Pair::Old(number) => {
                add(&mut shown, entry, number, &mut firsts[0]);
                continue;
            }
            Pair::Both(..) | Pair::New(_) => {}
        }
        let path = way.step(entry);
        let shows_lower = entry.kind == ListedKind::Directory && !opaque.contains(path);
        if hidden_below.is_none() && !shows_lower {
            hidden_below = Some(entry.depth);
        }
        if let (Pair::Both(_, number) | Pair::New(number), false) = (pair, is_whiteout(entry)) {
            add(&mut shown, entry, number, &mut firsts[1]);
        }
    }
    Listing { entries: shown }
}

/// Adds an entry of a listing, whose files have their first names at `firsts` in what is shown.
fn add(shown: &mut Vec<ListedFile>, entry: &ListedFile, number: u32, firsts: &mut [Option<u32>]) {
    let own = u32::try_from(shown.len()).unwrap_or(u32::MAX);
    let first = &mut firsts[entry.first.unwrap_or(number) as usize];
    shown.push(ListedFile { first: *first, ..entry.clone() });
    first.get_or_insert(own);
}

/// Tells whether something of an upper directory stands for what is not there any more.
fn is_whiteout(entry: &ListedFile) -> bool {
    entry.kind == ListedKind::CharacterDevice(0)
}
