//! Small trees of any form.

use std::fs;
use std::os::fd::AsFd;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use proptest::prelude::*;

use super::super::{Interrupt, Listing, copy, usage};
use super::scratch::{Scratch, listing, open};
use crate::tree::Marks;

#[derive(Debug, Clone)]
enum Made {
    Directory(u32),
    File(u32, Vec<u8>),
    Symlink(String),
    /// Another name of what was made before.
    Link(usize),
}

fn made() -> impl Strategy<Value = Made> {
    // The owner can read all of it.
    let mode = (0_u32..0o1000).prop_map(|mode| mode | 0o700);
    prop_oneof![
        mode.clone().prop_map(Made::Directory),
        (mode, prop::collection::vec(any::<u8>(), 0..300))
            .prop_map(|(mode, bytes)| Made::File(mode, bytes)),
        "[a-z/%=\t]{1,20}".prop_map(Made::Symlink),
        any::<prop::sample::Index>().prop_map(|index| Made::Link(index.index(64))),
    ]
}

fn plant(top: &Path, entries: &[(Vec<String>, Made)]) {
    let mut paths = Vec::new();
    for (names, made) in entries {
        let path = names.iter().fold(top.to_path_buf(), |path, name| path.join(name));
        let _ = path.parent().map(fs::create_dir_all);
        let set_mode = |mode: &u32| {
            fs::set_permissions(&path, fs::Permissions::from_mode(*mode)).unwrap();
        };
        // Where something is in the way, that is what the tree has.
        let done = match made {
            Made::Directory(mode) => fs::create_dir(&path).map(|()| set_mode(mode)),
            Made::File(mode, bytes) if !path.exists() => {
                fs::write(&path, bytes).map(|()| set_mode(mode))
            }
            Made::Symlink(target) => symlink(target, &path),
            Made::Link(index) => match paths.get(index % paths.len().max(1)) {
                Some(first) => fs::hard_link(first, &path),
                None => Ok(()),
            },
            Made::File(..) => Ok(()),
        };
        if done.is_ok() {
            paths.push(path);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..Default::default() })]

    #[test]
    fn a_copy_of_any_tree_is_the_tree_again(
        entries in prop::collection::vec((prop::collection::vec("[ab%\n]{1,2}", 1..4), made()), 0..24),
    ) {
        let scratch = Scratch::new();
        let [from, to] = ["from", "to"].map(|name| scratch.directory(name));
        plant(&from, &entries);
        copy((open(&from).as_fd(), Marks::Plain), open(&to).as_fd(), &[], Interrupt::NEVER).unwrap();
        let listed = listing(&from);
        prop_assert_eq!(&listed, &listing(&to));
        let mut written = Vec::new();
        listed.write(&mut written).unwrap();
        prop_assert_eq!(&listed, &Listing::read(written.as_slice()).unwrap());
        prop_assert_eq!(usage(open(&to).as_fd()).unwrap().shared, 0);
    }

    #[test]
    fn anything_may_be_read_as_a_listing(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let all = [b"layered-template listing 2\n".as_slice(), &bytes].concat();
        prop_assert!(Listing::read(all.as_slice()).is_err());
        prop_assert!(Listing::read(bytes.as_slice()).is_err());
    }
}
