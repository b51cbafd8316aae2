//! Random operations of a role and of a container, put together, beside what the rule says of plain directories.

use std::fs;
use std::os::fd::AsFd;
use std::path::Path;
use std::process::Command;

use super::view::View;
use super::{Graft, graft_of, open};
use crate::cache::{DELTA, WORK};
use crate::host::caller::Caller;
use crate::merge::{self, Rules, Side, Tree, Trees};
use crate::store::Overlay;
use crate::store::namespace::{self, Who};
use crate::store::operation::Operation;
use crate::store::planted::plant;
use crate::store::random::Random;
use crate::tree::{self, Baseline, Interrupt, Listing, Marks, Search};

/// How many sequences are tried.
const SEQUENCES: u64 = 60;

/// How many operations each side does.
const OPERATIONS: usize = 8;

/// Nothing is decided.
struct Nobody;

impl Rules for Nobody {
    fn is_state(&self, _: &[u8]) -> bool {
        false
    }

    fn prefers(&self, _: &[u8]) -> Option<Side> {
        None
    }

    fn decides(&self, path: &[u8]) -> Option<Side> {
        self.prefers(path)
    }

    fn text(&self, _: &[u8]) -> Option<Vec<u8>> {
        None
    }
}

#[test]
fn what_is_put_together_is_what_the_rule_says() {
    let name = "execute::rebase::tests::what_is_put_together_is_what_the_rule_says";
    namespace::run(name, Who::Root, sequences);
}

#[test]
fn in_a_user_namespace_it_is_as_well() {
    let name = "execute::rebase::tests::in_a_user_namespace_it_is_as_well";
    namespace::run(name, Who::Mapped, sequences);
}

fn sequences(place: &Path) {
    let (mut clean, mut conflicting) = (0, 0);
    for seed in 0..SEQUENCES {
        let at = place.join(seed.to_string());
        fs::create_dir(&at).unwrap();
        match sequence(&at, seed) {
            true => clean += 1,
            false => conflicting += 1,
        }
        let place = open(place).unwrap();
        tree::remove(place.as_fd(), seed.to_string().as_ref()).unwrap();
    }
    // Nothing is proven by sequences of one kind.
    assert!(clean > 10 && conflicting > 10, "{clean} clean, {conflicting} with conflicts");
}

fn listing(top: &Path) -> Listing {
    let top = open(top).unwrap();
    let never = Interrupt::NEVER;
    Listing::of(top.as_fd(), Baseline::Nothing, &Search::NOTHING, Marks::Plain, never)
        .unwrap()
        .listing
}

fn copied(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    let (from, to) = (open(from).unwrap(), open(to).unwrap());
    tree::copy((from.as_fd(), Marks::Plain), to.as_fd(), &[], Interrupt::NEVER).unwrap();
}

/// Lets a role and a container do something, puts it together, and tells whether that could be done.
fn sequence(at: &Path, seed: u64) -> bool {
    let random = &mut Random::new(seed);
    let path = |name: &str| at.join(name);
    let [old, new, delta, staged] = ["old", "new", DELTA, "staged"].map(&path);
    fs::create_dir(&old).unwrap();
    plant(&old, random);
    let before = listing(&old);
    copied(&old, &new);
    for _ in 0..OPERATIONS {
        let operation = Operation::any(&new, random);
        let _ = operation.act(&new);
    }
    for name in [DELTA, "merged", "look"] {
        fs::create_dir(path(name)).unwrap();
    }
    let (from, to) = (open(&old).unwrap(), open(&delta).unwrap());
    tree::copy_attributes(from.as_fd(), to.as_fd(), Marks::Plain).unwrap();
    let end = mounted(at, seed);
    for _ in 0..OPERATIONS {
        let operation = Operation::any(&path("merged"), random);
        let _ = operation.act(&path("merged"));
    }
    end();
    // What the container finds at its next start: until then names of one file may look like several files.
    let end = mounted(at, seed);
    let shown = listing(&path("merged")).items(|_| true);
    end();

    let never = Interrupt::NEVER;
    let look = View::of_container((&old, &before), &delta, &path("look"), never).unwrap();
    let all = |listing: &Listing| listing.items(|_| true);
    same(&shown, &all(&look.listing), "what the container has", seed);
    let new_listing = listing(&new);
    for name in ["", DELTA, WORK, "rootfs"] {
        fs::create_dir(staged.join(name)).unwrap();
    }
    let (from, to) = (open(&new).unwrap(), open(&staged.join(DELTA)).unwrap());
    tree::copy_attributes(from.as_fd(), to.as_fd(), Marks::Plain).unwrap();
    let next = View::of_next((&new, &new_listing), &staged, never).unwrap();
    same(&all(&new_listing), &all(&next.listing), "what the role makes", seed);

    let whole = [&before, &next.listing, &look.listing].map(all);
    let whole = Trees { old: &whole[0], new: &whole[1], own: &whole[2] };
    let expected = merge::merge(whole, &Nobody);
    let paths = tree::paths_to_merge(&before, [&next.listing, &look.listing], []);
    let some = |listing: &Listing| listing.items(|path| paths.contains(path));
    let some = [&before, &next.listing, &look.listing].map(some);
    let trees = Trees { old: &some[0], new: &some[1], own: &some[2] };
    let merged = merge::merge(trees, &Nobody);
    // What is in a directory that both have changed is no conflict of its own.
    assert_eq!(merged.conflicts.is_empty(), expected.conflicts.is_empty(), "seed {seed}");
    assert!(merged.conflicts.is_subset(&expected.conflicts), "seed {seed}");
    for (path, side) in &expected.sides {
        // What is left out is the same in all trees.
        let left_out = Side::New;
        assert_eq!(side, merged.sides.get(path).unwrap_or(&left_out), "{path:?}, seed {seed}");
    }
    assert!(merged.sides.keys().all(|path| expected.sides.contains_key(path)), "seed {seed}");
    let is_clean = merged.conflicts.is_empty();
    if is_clean {
        let expected: Tree = expected
            .sides
            .iter()
            .map(|(path, side)| {
                let tree = if *side == Side::New { whole.new } else { whole.own };
                (path.clone(), tree[path].clone())
            })
            .collect();
        let graft: Graft = graft_of(trees, &merged);
        tree::graft(look.top(), next.top(), &graft, never).unwrap();
        drop(next);
        let again =
            View::of_container((&new, &new_listing), &staged.join(DELTA), &path("merged"), never);
        same(&expected, &all(&again.unwrap().listing), "the new overlay", seed);
        // Into a copy as well.
        copied(&new, &path("copy"));
        let to = open(&path("copy")).unwrap();
        tree::graft(look.top(), to.as_fd(), &graft, never).unwrap();
        same(&expected, &all(&listing(&path("copy"))), "the new copy", seed);
        assert_eq!(listing(&new), new_listing, "the new tree is as it was");
    } else {
        drop(next);
    }
    drop(look);
    assert_eq!(listing(&old), before, "the old tree is as it was");
    is_clean
}

/// Mounts a container's overlay, and returns what ends it. Every other of root's lets directories be renamed.
fn mounted(at: &Path, seed: u64) -> Box<dyn FnOnce()> {
    let (old, delta) = (at.join("old"), at.join(DELTA));
    let merged = at.join("merged");
    // What was left there by a mount before keeps others from it.
    let place = open(at).unwrap();
    tree::remove(place.as_fd(), WORK.as_ref()).unwrap();
    fs::create_dir(at.join(WORK)).unwrap();
    if Caller::observe().is_mapped_root() || seed.is_multiple_of(2) {
        let overlay = Overlay::mount(&old, &delta, &at.join(WORK), &merged).unwrap();
        return Box::new(|| overlay.unmount().unwrap());
    }
    let options = format!(
        "redirect_dir=on,metacopy=off,index=off,lowerdir={},upperdir={},workdir={}",
        old.display(),
        delta.display(),
        at.join(WORK).display()
    );
    let run = |command: &mut Command| assert!(command.status().unwrap().success());
    run(Command::new("mount").args(["-t", "overlay", "overlay", "-o", &options]).arg(&merged));
    Box::new(move || run(Command::new("umount").arg(&merged)))
}

fn same(expected: &Tree, found: &Tree, what: &str, seed: u64) {
    let paths = expected.keys().chain(found.keys().filter(|path| !expected.contains_key(*path)));
    let different: Vec<String> = paths
        .filter(|path| expected.get(*path) != found.get(*path))
        .map(|path| {
            let name = String::from_utf8_lossy(path);
            format!("{name}: {:?} and {:?}", expected.get(path), found.get(path))
        })
        .collect();
    assert!(different.is_empty(), "{what}, seed {seed}: {different:#?}");
}
