//! What a layer's place gives, beside what a plain directory gives.
//!
//! The same random operations are done in a copy of a tree and in a place that a layer of steps is
//! made in. Each must end alike, and what is stored must be what the copy is.

mod dump;
pub(crate) mod namespace;
pub(crate) mod operation;
pub(crate) mod planted;
pub(crate) mod random;

use std::fs;
use std::os::fd::AsFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::layout::form;
use super::{About, Build, BuildOn, Entry, Made, Setting, Store, map_of};
use crate::cache::{Field, KeyInputs};
use crate::host::files::Ownership;
use crate::host::userns::Ids;
use crate::store::Committed;
use crate::store::stored_marks;
use crate::tree::{self, Baseline, Interrupt, Listing, Marks, Search};
use dump::Dump;
use namespace::Who;
use operation::Operation;
use random::Random;

/// How many sequences are tried, unless `LT_SEQUENCES` says otherwise.
const SEQUENCES: u64 = 160;

/// How many operations each has at the most.
const LONGEST: usize = 60;

/// How many sequences begin with one planted tree.
const TOGETHER: u64 = 8;

const NAME: &str = "lt0placeholder-q4nm8vt2w6xk-z7f3a9c5d1h8";

#[test]
fn steps_find_a_plain_directory() {
    let name = "store::tests::steps_find_a_plain_directory";
    namespace::run(name, Who::Root, sequences);
}

#[test]
fn steps_of_mapped_root_find_a_plain_directory() {
    let name = "store::tests::steps_of_mapped_root_find_a_plain_directory";
    namespace::run(name, Who::Mapped, sequences);
}

#[expect(clippy::print_stdout, reason = "a test has nobody else to tell")]
fn sequences(place: &Path) {
    let asked = std::env::var("LT_SEQUENCES").ok();
    let count = asked.map_or(SEQUENCES, |count| count.parse().expect("a number"));
    let shelf = Shelf::new(place);
    let (mut shared, mut done) = (0, 0);
    for first in (0..count).step_by(usize::try_from(TOGETHER).unwrap()) {
        let base = shelf.plant(first);
        for seed in first..count.min(first + TOGETHER) {
            let (linked, ended_well) = shelf.sequence(&base, seed);
            shared += linked;
            done += ended_well;
        }
        shelf.forget(&base);
    }
    // Nothing is proven where hardly anything happens.
    let count = usize::try_from(count).unwrap();
    assert!(done > count * LONGEST / 6, "{done} operations of {count} sequences did something");
    let is_elsewhere = std::env::var_os(namespace::PLACE).is_some();
    assert!(is_elsewhere || shared > count * 8, "{shared} files of {count} sequences are shared");
    println!("{count} sequences, {done} operations did something, {shared} files are shared");
}

/// A store and a directory of containers.
struct Shelf {
    place: PathBuf,
    store: Store,
}

impl Shelf {
    fn new(place: &Path) -> Self {
        let store = Store::new(&place.join("store"), &map_of(Ids::of_this_process()));
        store.make(None).unwrap();
        fs::create_dir(place.join("lxc")).unwrap();
        Self { place: place.to_path_buf(), store }
    }

    fn begin(&self, parent: Option<Entry>) -> Build {
        let ownership = |mode| Ownership { uid: 0, gid: 0, mode };
        let start = Setting {
            lxcpath: &self.place.join("lxc"),
            name: NAME,
            ownership: ownership(0o640),
            group: 0,
            directory: ownership(0o770),
            on: BuildOn::Copy,
        };
        let lock = self.store.work_lock().unwrap();
        assert!(lock.take().unwrap());
        Build::begin((&self.store, lock), parent, &start, Interrupt::NEVER).unwrap()
    }

    fn rootfs(&self) -> PathBuf {
        self.place.join("lxc").join(NAME).join("rootfs")
    }

    fn commit(build: Build, what: &str) -> Entry {
        let made = Made {
            layer: what.to_owned(),
            slot: what.to_owned(),
            manifest: PathBuf::from("/m.toml"),
            role: None,
        };
        let field = Field::new(what, [("", "")]);
        let document = KeyInputs { fields: vec![field] };
        let (identity, kept, removed) = (&[], &[], &[]);
        let about = About {
            made,
            document,
            identity,
            kept,
            removed,
            placeholder: NAME,
            keeps_name: true,
            pulled: None,
        };
        match build.commit(about, Interrupt::NEVER).unwrap() {
            Committed::Stored(entry, _) => *entry,
            Committed::NameLeft(files) => panic!("{files:?}"),
        }
    }

    /// Stores a random tree.
    fn plant(&self, seed: u64) -> Entry {
        let build = self.begin(None);
        planted::plant(&self.rootfs(), &mut Random::new(seed));
        Self::commit(build, &format!("base {seed}"))
    }

    fn tree(&self, entry: &Entry) -> PathBuf {
        self.store.rootfs(entry.id)
    }

    /// Does random operations in a copy and in a layer's place, and compares all there is to compare.
    /// Returns how many files the layer shares with the base, and how many operations went well.
    fn sequence(&self, base: &Entry, seed: u64) -> (usize, usize) {
        let below = self.tree(base);
        let before = Dump::of(&below).unlinked();
        let plain = self.place.join("plain");
        fs::create_dir(&plain).unwrap();
        let open = |path: &Path| fs::File::open(path).unwrap();
        let shares_bytes = tree::copy(
            (open(&below).as_fd(), Marks::Plain),
            open(&plain).as_fd(),
            &[],
            Interrupt::NEVER,
        )
        .unwrap();

        let build = self.begin(Some(base.clone()));
        let rootfs = self.rootfs();
        assert_eq!(Dump::of(&plain).differing(&Dump::of(&rootfs)), [""; 0], "seed {seed}: a copy");
        let mut random = Random::new(seed);
        let mut told = Vec::new();
        let mut done = 0;
        for _ in 0..=random.below(LONGEST) {
            let operation = Operation::any(&plain, &mut random);
            let (expected, ended) = (operation.act(&plain), operation.act(&rootfs));
            told.push(format!("{operation:?}: {expected:?}"));
            done += usize::from(expected.is_ok());
            assert_eq!(expected, ended, "seed {seed}: {told:#?}");
        }
        let (wanted, left) = (Dump::of(&plain).recent(&before), Dump::of(&rootfs));
        let worked = left.clone().recent(&before);
        assert_eq!(wanted.differing(&worked), [""; 0], "seed {seed}: the place: {told:#?}");

        let entry = Self::commit(build, &format!("layer {seed}"));
        let stored = Dump::of(&self.tree(&entry));
        // To the nanosecond, but without the number of links: they lead into the base.
        let differing = left.clone().unlinked().differing(&stored.clone().unlinked());
        assert_eq!(differing, [""; 0], "seed {seed}: what is stored: {told:#?}");
        assert_eq!(
            before.differing(&Dump::of(&below).unlinked()),
            [""; 0],
            "seed {seed}: the base"
        );
        let listing = entry.list(&self.store).unwrap();
        let tree = open(&self.tree(&entry));
        assert_eq!(
            listing.verify(tree.as_fd(), Marks::Stored(form())).unwrap(),
            [],
            "seed {seed}: the listing"
        );
        let read = Listing::of(
            tree.as_fd(),
            Baseline::Nothing,
            &Search::NOTHING,
            stored_marks(),
            Interrupt::NEVER,
        )
        .unwrap();
        assert_eq!(listing, read.listing, "seed {seed}");

        let trees = [&below, &self.tree(&entry)];
        let shared = match shares_bytes {
            true => 0,
            false => assert_shared(trees, [&before, &left.unlinked()], seed, &told),
        };
        for tree in [&plain, &self.tree(&entry)] {
            let above = open(tree.parent().unwrap());
            tree::remove(above.as_fd(), tree.file_name().unwrap()).unwrap();
        }
        self.forget(&entry);
        (shared, done)
    }

    /// Removes an entry, if it is still there.
    fn forget(&self, entry: &Entry) {
        let trees = fs::File::open(self.store.trees()).unwrap();
        tree::remove(trees.as_fd(), entry.id.to_string().as_ref()).unwrap();
        for path in [self.store.document(entry.id), self.store.list(entry.id)] {
            fs::remove_file(path).unwrap();
        }
    }
}

/// Sees that just those files are shared that are as they were, and returns how many they are.
fn assert_shared(
    [below, above]: [&PathBuf; 2],
    [before, left]: [&Dump; 2],
    seed: u64,
    told: &[String],
) -> usize {
    let inode = |tree: &Path, path: &str| fs::symlink_metadata(tree.join(path)).unwrap().ino();
    let is_private =
        |path: &String| ["etc/", "home/", "var/log/"].iter().any(|zone| path.starts_with(zone));
    let mut shared = 0;
    for (path, was, is) in before.both(left) {
        let unchanged = was == is && is.group.iter().all(|name| before.at(name) == left.at(name));
        let expected = unchanged && !is.group.iter().any(is_private);
        let is_shared = inode(below, path) == inode(above, path);
        assert_eq!(is_shared, expected, "seed {seed}: {path}: {was:?} {is:?}: {told:#?}");
        shared += usize::from(is_shared);
    }
    shared
}

/// Gives a path a mode, whatever the umask.
fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}
