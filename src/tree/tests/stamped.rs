//! What of a copy is read again, and what is known by its stamp.

use std::fs;
use std::os::fd::AsFd;
use std::thread::sleep;
use std::time::Duration;

use super::super::{Baseline, Interrupt, Listing, Marks, Search, Stamps, copy};
use super::scratch::{Scratch, listing, open};
use super::torture;

/// More than a tick of the clock that stamps are of.
const TICKS: Duration = Duration::from_millis(30);

#[test]
fn whatever_is_done_to_a_copy_is_seen() {
    let scratch = Scratch::new();
    let [base, tree] = ["base", "tree"].map(|name| scratch.directory(name));
    torture::plant(&base);
    for directory in ["one", "other"] {
        fs::create_dir(base.join(directory)).unwrap();
        for file in ["same", "sly", "swapped"] {
            let path = base.join(directory).join(file);
            fs::write(&path, format!("{directory:>5}")).unwrap();
            fs::File::options().append(true).open(&path).unwrap().set_modified(epoch()).unwrap();
        }
    }
    copy((open(&base).as_fd(), Marks::Plain), open(&tree).as_fd(), &[], Interrupt::NEVER).unwrap();
    sleep(TICKS);
    let stamps = Stamps::of(open(&tree).as_fd(), Interrupt::NEVER).unwrap();
    sleep(TICKS);
    let sly = tree.join("one/sly");
    fs::write(&sly, "trick").unwrap();
    fs::File::options().append(true).open(&sly).unwrap().set_modified(epoch()).unwrap();
    // Files that nobody has touched come to each other's paths.
    for (from, to) in [("one", "aside"), ("other", "one"), ("aside", "other")] {
        fs::rename(tree.join(from), tree.join(to)).unwrap();
    }
    let before = listing(&base);
    let known = Baseline::Copied(&before, &stamps);
    let (nothing, never) = (&Search::NOTHING, Interrupt::NEVER);
    let now =
        Listing::of(open(&tree).as_fd(), known, nothing, Marks::Plain, never).unwrap().listing;
    assert_eq!(now, listing(&tree));
}

fn epoch() -> std::time::SystemTime {
    std::time::UNIX_EPOCH
}
