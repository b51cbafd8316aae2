//! Lists a tree.

use std::collections::HashMap;
use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use rustix::fs::{AtFlags, FileType, OFlags, Stat, fstat, readlinkat, statat};

use super::reading::FileReading;
use super::search::{Holds, Search};
use super::{Baseline, Listed, ListedFile, ListedKind, Listing, Occurrence, OccurrenceKind};
use crate::digest::{Digest, Hasher};
use crate::tree::dir_path::DirPath;
use crate::tree::directory::{self, Name};
use crate::tree::interrupt::Interrupt;
use crate::tree::links::{Identity, identity};
use crate::tree::marks::{Form, Marks, Naming};
use crate::tree::merge::Changes;
use crate::tree::stamps::Stamps;
use crate::tree::workers::{self, Queue, lock};
use crate::tree::xattr::Holder;

/// How many files one worker reads before it looks what else there is, and of how many bytes.
const BATCH: (usize, u64) = (64, 4 << 20);

/// What one file is read into, in bytes.
const ONE_BUFFER: usize = 64 * 1024;

/// The mode bits of a listing.
const BITS: u32 = 0o7777;

/// A directory that is open as long as something in it is to be read.
struct Open {
    descriptor: OwnedFd,
    dir_path: Arc<DirPath>,
}

impl Open {
    /// Opens a directory, and looks at itself.
    fn below(
        above: &Self,
        name: &CStr,
        number: usize,
        look: Look<'_>,
    ) -> io::Result<(Arc<Self>, ListedFile, InXattrs)> {
        let descriptor = directory::open(above.descriptor.as_fd(), name)?;
        let (own, dir_path) = match number {
            0 => (c"", Arc::clone(&above.dir_path)),
            _ => (name, above.dir_path.below(name)),
        };
        let holder = Holder::Open(descriptor.as_fd());
        let kind = ListedKind::Directory;
        let (entry, found) = entry_with(own, &fstat(&descriptor)?, kind, holder, look)?;
        Ok((Arc::new(Self { descriptor, dir_path }), entry, found))
    }
}

/// A directory as it was found.
struct Found {
    entry: ListedFile,
    children: Vec<Child>,
}

enum Child {
    /// A directory, by its number.
    Directory(usize),
    /// Anything else. Which file it is, if that has other names.
    Other(ListedFile, Option<Identity>),
}

/// A file to read: its place among the children, its name, and which file it is as above.
type File = (usize, CString, Option<Identity>);

/// A file's reading, made by whoever comes to one of its names first.
type Once = Arc<Mutex<Option<FileReading>>>;

enum Job {
    /// The directory of this name, its number, and the parent's entry of it.
    Directory(Arc<Open>, CString, usize, Option<u32>),
    /// Files of the directory that has this number.
    Files(Arc<Open>, usize, Vec<File>),
}

struct Walk<'a> {
    interrupt: Interrupt<'a>,
    look: Look<'a>,
    parent: Option<Parent<'a>>,
    /// The number of the next directory.
    next: AtomicUsize,
    found: Mutex<HashMap<usize, Found>>,
    read: Mutex<Vec<(usize, usize, FileReading)>>,
    several: Mutex<HashMap<Identity, Once>>,
    places: Mutex<Vec<Occurrence>>,
    marked: Mutex<Vec<Vec<u8>>>,
}

struct Parent<'a> {
    listing: &'a Listing,
    index: HashMap<(u32, &'a [u8]), u32>,
    since: Since<'a>,
}

/// What tells of changes since.
enum Since<'a> {
    Changes(&'a Changes),
    Stamps(&'a Stamps),
}

impl Since<'_> {
    fn is_unchanged(&self, path: &[u8], stat: &Stat) -> bool {
        match self {
            Self::Changes(changes) => !changes.contains(path),
            Self::Stamps(stamps) => stamps.holds(path, stat),
        }
    }
}

/// Lists a tree, as [`Listing::of`] says.
pub(super) fn list(
    tree: BorrowedFd<'_>,
    known: Baseline<'_>,
    search: &Search,
    marks: Marks,
    interrupt: Interrupt<'_>,
) -> io::Result<Listed> {
    let parent = match known {
        Baseline::Nothing => None,
        Baseline::Parent(listing, changes) => Some((listing, Since::Changes(changes))),
        Baseline::Copied(listing, stamps) => Some((listing, Since::Stamps(stamps))),
    };
    let parent = parent.map(|(listing, since)| Parent { listing, index: listing.index(), since });
    let walk = Walk {
        interrupt,
        look: Look { search, marks },
        parent,
        next: AtomicUsize::new(1),
        found: Mutex::default(),
        read: Mutex::default(),
        several: Mutex::default(),
        places: Mutex::default(),
        marked: Mutex::default(),
    };
    let top = Open { descriptor: directory::reopen(tree)?, dir_path: Arc::default() };
    let known = walk.parent.as_ref().map(|_| 0);
    let first = Job::Directory(Arc::new(top), c".".to_owned(), 0, known);
    workers::run(interrupt, first, |job, queue, buffer| match job {
        Job::Directory(above, name, number, known) => {
            let (open, entry, found) = Open::below(&above, &name, number, walk.look)
                .map_err(|error| above.dir_path.about(&name, error))?;
            walk.note(&above, &name, found);
            let children = walk.children(queue, &open, number, known)?;
            lock(&walk.found).insert(number, Found { entry, children });
            Ok(())
        }
        Job::Files(open, number, files) => walk.files(&open, number, files, buffer),
    })?;
    Ok(walk.assemble())
}

impl Walk<'_> {
    /// Looks at what is in a directory, and leaves to others what is to be read.
    fn children(
        &self,
        queue: &Queue<Job>,
        open: &Arc<Open>,
        number: usize,
        known: Option<u32>,
    ) -> io::Result<Vec<Child>> {
        let mut names = directory::names(open.descriptor.as_fd())
            .map_err(|error| open.dir_path.about(c".", error))?;
        names.sort_unstable_by(|one, other| one.name.cmp(&other.name));
        let mut children = Vec::with_capacity(names.len());
        let mut files = Vec::new();
        let mut bytes = 0;
        for Name { name, kind } in names {
            let known = known.and_then(|known| {
                self.parent.as_ref()?.index.get(&(known, name.to_bytes())).copied()
            });
            if kind == FileType::Directory {
                let number = self.next.fetch_add(1, Ordering::Relaxed);
                children.push(Child::Directory(number));
                queue.add(Job::Directory(Arc::clone(open), name, number, known));
                continue;
            }
            let (child, to_read) = self
                .other(open, &name, known)
                .map_err(|error| open.dir_path.about(&name, error))?;
            if let Child::Other(ListedFile { kind: ListedKind::File { size, .. }, .. }, several) =
                &child
                && to_read
            {
                files.push((children.len(), name, *several));
                bytes += size;
                if files.len() == BATCH.0 || bytes >= BATCH.1 {
                    queue.add(Job::Files(Arc::clone(open), number, std::mem::take(&mut files)));
                    bytes = 0;
                }
            }
            children.push(child);
        }
        if !files.is_empty() {
            queue.add(Job::Files(Arc::clone(open), number, files));
        }
        Ok(children)
    }

    /// Looks at something that is not a directory, and tells whether its bytes are to be read.
    fn other(&self, open: &Open, name: &CStr, known: Option<u32>) -> io::Result<(Child, bool)> {
        let directory = open.descriptor.as_fd();
        let stat = statat(directory, name, AtFlags::SYMLINK_NOFOLLOW)?;
        let kind = kind(directory, name, &stat)?;
        let holder = Holder::Named(directory, name);
        let (mut entry, found) = entry_with(name, &stat, kind, holder, self.look)?;
        self.note(open, name, found);
        let inherited = self.inherited(open, (name, &stat), &entry, known);
        let mut to_read = false;
        match (&mut entry.kind, inherited) {
            (kind @ ListedKind::File { .. }, Some(inherited)) => *kind = inherited.clone(),
            (ListedKind::File { size, .. }, None) => to_read = *size != 0,
            (ListedKind::Symlink { target }, None) => match self.look.search.judge(target) {
                Holds::Nothing => {}
                Holds::Whole => self.place(open, name, OccurrenceKind::Symlink),
                Holds::Part => self.place(open, name, OccurrenceKind::Part),
            },
            _ => {}
        }
        let several = (stat.st_nlink > 1).then(|| identity(&stat));
        Ok((Child::Other(entry, several), to_read))
    }

    /// Returns what the parent listed, if it is still that.
    fn inherited(
        &self,
        open: &Open,
        (name, stat): (&CStr, &Stat),
        now: &ListedFile,
        known: Option<u32>,
    ) -> Option<&ListedKind> {
        let parent = self.parent.as_ref()?;
        let before = parent.listing.entries.get(known? as usize)?;
        let same = match (&before.kind, &now.kind) {
            (ListedKind::File { size: before, .. }, ListedKind::File { size: now, .. }) => {
                before == now
            }
            (before, now) => before == now,
        };
        let attributes = |entry: &ListedFile| {
            (entry.seconds, entry.nanoseconds, entry.mode, entry.uid, entry.gid)
        };
        let unchanged = same
            && attributes(before) == attributes(now)
            && parent.since.is_unchanged(&open.dir_path.path(name), stat);
        unchanged.then_some(&before.kind)
    }

    fn files(
        &self,
        open: &Open,
        number: usize,
        files: Vec<File>,
        buffer: &mut [u8],
    ) -> io::Result<()> {
        let mut read = Vec::with_capacity(files.len());
        for (index, name, several) in files {
            let mut file = || {
                let file =
                    directory::open_to_read(open.descriptor.as_fd(), &name, OFlags::NONBLOCK)?;
                FileReading::of(file.as_fd(), self.look.search, &mut *buffer, self.interrupt)
            };
            let reading = match several {
                None => file(),
                Some(identity) => {
                    let once = Arc::clone(lock(&self.several).entry(identity).or_default());
                    let mut once = lock(&once);
                    match *once {
                        Some(reading) => Ok(reading),
                        None => file().inspect(|reading| *once = Some(*reading)),
                    }
                }
            };
            let reading = reading.map_err(|error| open.dir_path.about(&name, error))?;
            if let Some(kind) = reading.holds {
                self.place(open, &name, kind);
            }
            read.push((number, index, reading));
        }
        lock(&self.read).append(&mut read);
        Ok(())
    }

    /// Notes what is in the extended attributes of a name.
    fn note(&self, open: &Open, name: &CStr, found: InXattrs) {
        if found.holds_name {
            self.place(open, name, OccurrenceKind::Attribute);
        }
        if found.is_marked {
            let is_top = name == c"." && open.dir_path.is_top();
            lock(&self.marked).push(if is_top { Vec::new() } else { open.dir_path.path(name) });
        }
    }

    fn place(&self, open: &Open, name: &CStr, kind: OccurrenceKind) {
        lock(&self.places).push(Occurrence { path: open.dir_path.path(name), kind });
    }

    /// Puts all that was found into its order.
    fn assemble(self) -> Listed {
        let mut found = self.found.into_inner().unwrap_or_default();
        for (number, index, reading) in self.read.into_inner().unwrap_or_default() {
            let children = found.get_mut(&number).map(|found| &mut found.children);
            if let Some(Child::Other(entry, _)) =
                children.and_then(|children| children.get_mut(index))
            {
                entry.kind = ListedKind::File { size: reading.size, digest: reading.digest };
            }
        }
        let mut entries: Vec<ListedFile> = Vec::new();
        let mut firsts = HashMap::new();
        let mut open = Vec::new();
        let mut enter = |number: usize, entries: &mut Vec<ListedFile>, depth| {
            let found = found.remove(&number);
            found.map(|Found { entry, children }| {
                entries.push(ListedFile { depth, ..entry });
                children.into_iter()
            })
        };
        open.extend(enter(0, &mut entries, 0));
        while let Some(children) = open.last_mut() {
            let Some(child) = children.next() else {
                open.pop();
                continue;
            };
            let depth = u32::try_from(open.len()).unwrap_or(u32::MAX);
            match child {
                Child::Directory(number) => open.extend(enter(number, &mut entries, depth)),
                Child::Other(entry, several) => {
                    let own = u32::try_from(entries.len()).unwrap_or(u32::MAX);
                    let first = several.map(|file| *firsts.entry(file).or_insert(own));
                    let first = first.filter(|first| *first != own);
                    entries.push(ListedFile { depth, first, ..entry });
                }
            }
        }
        let mut places = self.places.into_inner().unwrap_or_default();
        places.sort();
        let marked = self.marked.into_inner().unwrap_or_default();
        Listed { listing: Listing { entries }, places, marked }
    }
}

/// Reads one name of a directory, as [`ListedFile::read`] says.
pub(super) fn one(directory: BorrowedFd<'_>, name: &CStr) -> io::Result<ListedFile> {
    let stat = statat(directory, name, AtFlags::SYMLINK_NOFOLLOW)?;
    one_of(directory, name, &stat, Marks::Plain, Interrupt::NEVER)
}

/// Reads one name of a directory, or the directory itself where the name is empty, of a tree that has `marks`.
pub(super) fn one_of(
    directory: BorrowedFd<'_>,
    name: &CStr,
    stat: &Stat,
    marks: Marks,
    interrupt: Interrupt<'_>,
) -> io::Result<ListedFile> {
    let kind = match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => ListedKind::Directory,
        FileType::RegularFile => read_file(directory, name, interrupt)?,
        _ => kind(directory, name, stat)?,
    };
    let holder = match name.is_empty() {
        true => Holder::Open(directory),
        false => Holder::Named(directory, name),
    };
    let look = Look { search: &Search::NOTHING, marks };
    Ok(entry_with(name, stat, kind, holder, look)?.0)
}

fn read_file(
    directory: BorrowedFd<'_>,
    name: &CStr,
    interrupt: Interrupt<'_>,
) -> io::Result<ListedKind> {
    let file = directory::open_to_read(directory, name, OFlags::NONBLOCK)?;
    let mut buffer = vec![0; ONE_BUFFER];
    let read = FileReading::of(file.as_fd(), &Search::NOTHING, &mut buffer, interrupt)?;
    Ok(ListedKind::File { size: read.size, digest: read.digest })
}

/// Returns what something is that is not a directory; a file's bytes are not looked at.
fn kind(directory: BorrowedFd<'_>, name: &CStr, stat: &Stat) -> io::Result<ListedKind> {
    Ok(match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => ListedKind::File {
            size: u64::try_from(stat.st_size).unwrap_or_default(),
            digest: Digest::of(b""),
        },
        FileType::Symlink => {
            ListedKind::Symlink { target: readlinkat(directory, name, Vec::new())?.into_bytes() }
        }
        FileType::BlockDevice => ListedKind::BlockDevice(stat.st_rdev),
        FileType::CharacterDevice => ListedKind::CharacterDevice(stat.st_rdev),
        FileType::Fifo => ListedKind::Fifo,
        FileType::Socket => ListedKind::Socket,
        _ => return Err(io::Error::other("it is no longer what it was")),
    })
}

/// What is looked for in extended attributes, and how the tree has them.
#[derive(Debug, Clone, Copy)]
struct Look<'a> {
    search: &'a Search,
    marks: Marks,
}

/// What was found in extended attributes.
#[derive(Debug, Clone, Copy, Default)]
struct InXattrs {
    /// Whether anything of the name that is looked for is there.
    holds_name: bool,
    /// Whether there are attributes of overlayfs's names.
    is_marked: bool,
}

/// Returns what something is, and what was found in its extended attributes.
fn entry_with(
    name: &CStr,
    stat: &Stat,
    kind: ListedKind,
    holder: Holder<'_>,
    look: Look<'_>,
) -> io::Result<(ListedFile, InXattrs)> {
    let mut names = holder.names(Naming::Plain(look.marks))?;
    names.sort_unstable_by(|one, other| one.1.cmp(&other.1));
    let mut hasher = Hasher::default();
    let mut found = InXattrs::default();
    for (name, plain) in &names {
        found.is_marked |= [Form::Trusted, Form::User].iter().any(|form| form.is_of(plain));
        for bytes in [plain.to_bytes(), &holder.value(name)?] {
            hasher.update(&(bytes.len() as u64).to_le_bytes());
            hasher.update(bytes);
            found.holds_name |= look.search.is_in(bytes);
        }
    }
    let file = ListedFile {
        depth: 0,
        name: name.to_bytes().to_vec(),
        first: None,
        xattrs: (!names.is_empty()).then(|| hasher.finish()),
        seconds: stat.st_mtime,
        nanoseconds: u32::try_from(stat.st_mtime_nsec).unwrap_or_default(),
        kind,
        mode: stat.st_mode & BITS,
        uid: stat.st_uid,
        gid: stat.st_gid,
    };
    Ok((file, found))
}
