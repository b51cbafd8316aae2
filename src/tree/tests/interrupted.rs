//! Work on a tree that is ended before its time.

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::os::fd::AsFd;

use super::super::bytes::Ways;
use super::super::{Baseline, Form, Interrupt, Listing, copy, merge};
use super::scratch::{Scratch, open};
use crate::tree::{Marks, Search};

#[test]
fn nothing_goes_on_once_interrupted() {
    let scratch = Scratch::new();
    let from = scratch.directory("from");
    fs::create_dir(from.join("d")).unwrap();
    fs::write(from.join("d/f"), "x").unwrap();
    let (heard, mut writer) = std::io::pipe().unwrap();
    let interrupt = Interrupt::of(heard.as_fd());

    // As long as nothing can be read there, it changes nothing.
    for name in ["one", "two"] {
        scratch.directory(name);
    }
    let to = |name: &str| open(&scratch.path().join(name));
    copy((open(&from).as_fd(), Marks::Plain), to("one").as_fd(), &[], interrupt).unwrap();
    Listing::of(open(&from).as_fd(), Baseline::Nothing, &Search::NOTHING, Marks::Plain, interrupt)
        .unwrap();
    merge(None, to("one").as_fd(), to("two").as_fd(), Form::User, interrupt).unwrap();
    assert_eq!(fs::read(scratch.path().join("two/d/f")).unwrap(), b"x");

    writer.write_all(b"!").unwrap();
    let to = |name: &str| open(&scratch.directory(name));
    let ended = [
        copy((open(&from).as_fd(), Marks::Plain), to("three").as_fd(), &[], interrupt).unwrap_err(),
        merge(
            Some(open(&from).as_fd()),
            to("upper").as_fd(),
            to("four").as_fd(),
            Form::User,
            interrupt,
        )
        .unwrap_err(),
        Listing::of(
            open(&from).as_fd(),
            Baseline::Nothing,
            &Search::NOTHING,
            Marks::Plain,
            interrupt,
        )
        .unwrap_err(),
    ];
    assert_eq!(ended.map(|error| error.kind()), [ErrorKind::Interrupted; 3]);
    for name in ["three", "four"] {
        let names: Vec<_> = fs::read_dir(scratch.path().join(name)).unwrap().collect();
        assert!(names.is_empty(), "{names:?}");
    }
}

#[test]
fn a_long_file_is_left_in_the_middle() {
    let scratch = Scratch::new();
    let path = scratch.path().join("long");
    fs::write(&path, vec![7; 1024 * 1024]).unwrap();
    let from = File::open(&path).unwrap();
    let to = File::create(scratch.path().join("copy")).unwrap();
    let (heard, mut writer) = std::io::pipe().unwrap();
    writer.write_all(b"!").unwrap();
    let interrupt = Interrupt::of(heard.as_fd());
    let mut buffer = vec![0; 4096];

    let stat = rustix::fs::fstat(&from).unwrap();
    let error = Ways::new(false, interrupt).copy(from.as_fd(), to.as_fd(), &stat, &mut buffer);
    assert_eq!(error.unwrap_err().kind(), ErrorKind::Interrupted);
    assert_eq!(to.metadata().unwrap().len(), 0);
}
