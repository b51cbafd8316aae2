//! A store in which something lies that no run has put there: nothing of it comes into a container, and
//! whoever looks after the store is told the truth.

use std::fs::{self, File};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{CWD, Mode, mkfifoat};

use super::older::{self, POISON, document, names};
use super::{create_directly, seen, shelf};
use crate::call::Outcome;
use crate::caller::Caller;
use crate::lab::Lab;

/// Something at a path that is not there any more.
type Thing = (&'static str, fn(&Path));

/// What may be where a document of the store was.
const THINGS: &[Thing] = &[
    ("nothing", |_| ()),
    ("an empty file", |path| fs::write(path, "").unwrap()),
    ("garbage", |path| fs::write(path, "\x7fELF\0garbage\n\n").unwrap()),
    ("JSON without a digest", |path| fs::write(path, "{\"format\":6}").unwrap()),
    ("JSON of other types", |path| document(path, b"{\"format\":6,\"id\":7,\"places\":\"x\"}")),
    ("JSON of another kind", |path| document(path, b"[1,2,3]")),
    ("deep JSON", |path| document(path, &b"[".repeat(1 << 20))),
    ("JSON that ends early", |path| document(path, b"{\"format\":6,")),
    ("a link to nothing", |path| symlink("/nonexistent", path).unwrap()),
    ("a link to itself", |path| symlink(path, path).unwrap()),
    ("a link to a file of the host", |path| symlink("/etc/passwd", path).unwrap()),
    ("a link to an endless device", |path| symlink("/dev/zero", path).unwrap()),
    ("a directory", |path| fs::create_dir(path).unwrap()),
    ("a full directory", |path| fs::create_dir_all(path.join("a/b")).unwrap()),
    ("a fifo", |path| mkfifoat(CWD, path, Mode::from_raw_mode(0o600)).unwrap()),
    ("a socket", |path| drop(UnixListener::bind_addr(&address(path)).unwrap())),
    ("100 MiB", |path| File::create(path).unwrap().set_len(100 << 20).unwrap()),
    ("a terabyte", |path| File::create(path).unwrap().set_len(1 << 40).unwrap()),
];

/// A short name for a long path.
fn address(path: &Path) -> std::os::unix::net::SocketAddr {
    let directory = File::open(path.parent().unwrap()).unwrap();
    let short = format!("/proc/self/fd/{}", std::os::fd::IntoRawFd::into_raw_fd(directory));
    let name = path.file_name().unwrap();
    std::os::unix::net::SocketAddr::from_pathname(Path::new(&short).join(name)).unwrap()
}

/// A store of three entries, and a copy of it.
struct Shelf<'lab> {
    lab: &'lab Lab,
    manifest: PathBuf,
    name: String,
    /// The entries, the innermost first.
    ids: Vec<String>,
}

/// What was expected of whom.
#[derive(Clone, Copy, PartialEq)]
enum Damage {
    /// Of an entry: it is made anew, or named.
    OfAnEntry,
    /// Of what no entry needs.
    OfNone,
}

impl<'lab> Shelf<'lab> {
    fn new(lab: &'lab Lab) -> Self {
        let manifest = older::role(lab, "");
        let name = lab.name("foreign");
        create_directly(lab, &name, &manifest, &[]).outcome().success();
        lab.destroy(&name);
        let ids: Vec<_> = shelf::stored(lab).into_iter().map(|entry| entry.id).collect();
        assert_eq!(ids.len(), 3);
        let shelf = Self { lab, manifest, name, ids };
        shelf.copy("store", "kept");
        shelf
    }

    fn copy(&self, from: &str, to: &str) {
        let script = "rm -rf \"$2\" && cp -a \"$1\" \"$2\"";
        let call = self.lab.call_as_root(["sh", "-c", script, "sh"]).arg(self.lab.path(from));
        call.arg(self.lab.path(to)).outcome().success();
    }

    /// Puts something in a place, and tells what is wrong with whatever is done then.
    fn tried(&self, about: &str, damage: Damage, id: &str, act: impl FnOnce()) -> Vec<String> {
        let lab = self.lab;
        self.copy("kept", "store");
        act();
        let mut wrong = Vec::new();
        let mut tell =
            |what: &str, outcome: &Outcome| wrong.push(format!("{about}: {what}: {outcome}"));
        let usual = |outcome: &Outcome| {
            let known = matches!(outcome.status.code(), Some(0 | 1 | 8));
            known && !outcome.stderr.contains("panicked")
        };
        let tend =
            |words: &[&str]| shelf::store(lab, words).limit(Duration::from_secs(60)).outcome();
        let list = tend(&["list"]);
        if list.status.code() != Some(0) || !usual(&list) {
            tell("list", &list);
        }
        let verify = tend(&["verify"]);
        let is_named = |outcome: &Outcome| {
            let text = format!("{}{}", outcome.stdout, outcome.stderr);
            text.contains(&id[..8])
        };
        let truth = match damage {
            Damage::OfNone => verify.status.code() == Some(0),
            Damage::OfAnEntry => verify.status.code() != Some(0) && is_named(&verify),
        };
        if !truth || !usual(&verify) {
            tell("verify", &verify);
        }
        for storage in ["--storage=copy", "--storage=overlay"] {
            let call = create_directly(lab, &self.name, &self.manifest, &[storage]);
            let outcome = call.limit(Duration::from_secs(60)).outcome();
            if !outcome.status.success() {
                if !usual(&outcome) || damage == Damage::OfNone || !is_named(&outcome) {
                    tell(storage, &outcome);
                }
                continue;
            }
            let tree = seen::listing(lab, &self.name);
            let text = |path: &str| if tree.has(path) { tree.text(path) } else { String::new() };
            let right = text("etc/base") == "base \n"
                && text("etc/app") == "app \n"
                && text("etc/mailname") == format!("{}\n", self.name)
                && !tree.has(POISON);
            if !right || outcome.stderr.contains("panicked") {
                tell(&format!("{storage} gives another rootfs"), &outcome);
            }
            lab.destroy(&self.name);
        }
        // An entry without a document is none.
        let meta = shelf::meta(lab);
        if fs::symlink_metadata(meta.join("entries").join(id)).is_ok() {
            let remove = tend(&["remove", id]);
            if !remove.status.success() || !usual(&remove) {
                tell("remove", &remove);
            }
        }
        let gc = tend(&["gc", "--keep=0", "--forget"]);
        if !gc.status.success() || !usual(&gc) {
            tell("gc", &gc);
        }
        let map = meta.with_extension("");
        for directory in [
            map.join("trees"),
            map.join("work"),
            meta.join("entries"),
            meta.join("lists"),
            meta.join("last"),
            meta.join("refused"),
        ] {
            let left = names(&directory);
            if !left.is_empty() {
                wrong.push(format!("{about}: gc leaves {left:?} in {}", directory.display()));
            }
        }
        wrong
    }

    /// Puts what must come into no container into the tree of an entry.
    fn poison(&self, id: &str) {
        let path = shelf::tree(self.lab, id).join(POISON);
        fs::write(path, "poison\n").expect("root writes");
    }
}

/// Removes whatever is at a path.
fn clear(path: &Path) {
    match fs::symlink_metadata(path) {
        Ok(found) if found.is_dir() => fs::remove_dir_all(path).unwrap(),
        Ok(_) => fs::remove_file(path).unwrap(),
        Err(_) => {}
    }
}

#[track_caller]
fn assert_none(wrong: &[String]) {
    assert!(wrong.is_empty(), "{} faults: {wrong:#?}", wrong.len());
}

#[test]
fn whatever_is_where_a_document_was_is_not_trusted() {
    let Some(lab) = Lab::open(Caller::Root, &[]) else { return };
    let shelf = Shelf::new(&lab);
    let mut wrong = Vec::new();
    for (at, (about, put)) in THINGS.iter().enumerate() {
        let id = &shelf.ids[if at % 2 == 0 { 2 } else { 0 }];
        // Nobody knows of an entry whose document is gone.
        let damage = if *about == "nothing" { Damage::OfNone } else { Damage::OfAnEntry };
        wrong.extend(shelf.tried(&format!("document: {about}"), damage, id, || {
            let path = shelf::meta(&lab).join("entries").join(id);
            shelf.poison(id);
            clear(&path);
            put(&path);
        }));
    }
    assert_none(&wrong);
}

#[test]
fn a_document_that_is_cut_or_is_another_entry_s_is_not_trusted() {
    let Some(lab) = Lab::open(Caller::Root, &[]) else { return };
    let shelf = Shelf::new(&lab);
    let mut wrong = Vec::new();
    let id = &shelf.ids[1];
    let path = shelf::meta(&lab).join("entries").join(id);
    let length = fs::metadata(&path).unwrap().len();
    for at in [1, 64, 71, 72, 73, length / 2, length - 1] {
        wrong.extend(shelf.tried(&format!("cut at {at}"), Damage::OfAnEntry, id, || {
            shelf.poison(id);
            File::options().write(true).open(&path).unwrap().set_len(at).unwrap();
        }));
    }
    let other = path.with_file_name(&shelf.ids[0]);
    wrong.extend(shelf.tried("another's", Damage::OfAnEntry, id, || {
        shelf.ids.iter().for_each(|id| shelf.poison(id));
        fs::copy(&other, &path).unwrap();
        fs::write(&other, "").unwrap();
    }));
    wrong.extend(shelf.tried("a link to another's", Damage::OfAnEntry, id, || {
        shelf.poison(id);
        clear(&path);
        symlink(&other, &path).unwrap();
    }));
    assert_none(&wrong);
}

#[test]
fn whatever_is_where_a_listing_was_changes_no_container() {
    let Some(lab) = Lab::open(Caller::Root, &[]) else { return };
    let shelf = Shelf::new(&lab);
    let mut wrong = Vec::new();
    for (about, put) in THINGS {
        let id = &shelf.ids[1];
        wrong.extend(shelf.tried(&format!("listing: {about}"), Damage::OfAnEntry, id, || {
            let path = shelf::meta(&lab).join("lists").join(id);
            clear(&path);
            put(&path);
            // So that a layer is made on it.
            let outer = &shelf.ids[2];
            clear(&shelf::meta(&lab).join("entries").join(outer));
            clear(shelf::tree(&lab, outer).parent().unwrap());
        }));
    }
    assert_none(&wrong);
}

/// Puts something where the rootfs of an entry was, and where all of its tree was.
fn in_place_of_a_tree(shelf: &Shelf<'_>, about: &str, put: &dyn Fn(&Path)) -> Vec<String> {
    let mut wrong = Vec::new();
    for id in [&shelf.ids[0], &shelf.ids[2]] {
        for is_rootfs in [true, false] {
            let what = if is_rootfs { "rootfs" } else { "tree" };
            wrong.extend(shelf.tried(&format!("{about} as {what}"), Damage::OfAnEntry, id, || {
                let rootfs = shelf::tree(shelf.lab, id);
                let path = if is_rootfs { rootfs.as_path() } else { rootfs.parent().unwrap() };
                clear(path);
                put(path);
            }));
        }
    }
    wrong
}

#[test]
fn whatever_is_where_a_tree_was_is_not_taken() {
    let Some(lab) = Lab::open(Caller::Root, &[]) else { return };
    let shelf = Shelf::new(&lab);
    let kinds = ["nothing", "garbage", "a link to nothing", "a link to itself", "a fifo"];
    let things = THINGS.iter().filter(|thing| kinds.contains(&thing.0));
    let wrong: Vec<_> =
        things.flat_map(|(about, put)| in_place_of_a_tree(&shelf, about, put)).collect();
    assert_none(&wrong);
}

#[test]
fn a_link_where_a_tree_was_leads_to_nothing_of_the_host() {
    let Some(lab) = Lab::open(Caller::Root, &[]) else { return };
    let shelf = Shelf::new(&lab);
    let host = lab.directory("tmp/host");
    fs::create_dir_all(host.join("rootfs/etc")).unwrap();
    fs::create_dir(host.join("etc")).unwrap();
    for path in [host.join(POISON), host.join("rootfs").join(POISON)] {
        fs::write(path, "poison\n").unwrap();
    }
    let about = "a link to a directory of the host";
    let wrong = in_place_of_a_tree(&shelf, about, &|path| symlink(&host, path).unwrap());
    assert!(host.join("rootfs").join(POISON).exists(), "something of the host was removed");
    assert_none(&wrong);
}

#[test]
fn whatever_says_what_was_last_made_changes_nothing() {
    let Some(lab) = Lab::open(Caller::Root, &[]) else { return };
    let shelf = Shelf::new(&lab);
    let mut wrong = Vec::new();
    let gone = format!("{}.7", "0".repeat(64));
    for (about, put) in THINGS {
        wrong.extend(shelf.tried(&format!("last: {about}"), Damage::OfNone, &shelf.ids[0], || {
            let lasts = shelf::meta(&lab).join("last");
            for name in names(&lasts) {
                clear(&lasts.join(&name));
                put(&lasts.join(&name));
            }
        }));
        let planned = lab.call([lab.program()]).arg("plan").arg(&shelf.manifest).arg("-v");
        planned.limit(Duration::from_secs(60)).outcome().success();
    }
    wrong.extend(shelf.tried("an entry that is gone", Damage::OfNone, &shelf.ids[0], || {
        let lasts = shelf::meta(&lab).join("last");
        for name in names(&lasts) {
            fs::write(lasts.join(name), &gone).unwrap();
        }
    }));
    assert_none(&wrong);
}

/// A note says that a layer was built once, and could not be stored. Without one it is built once more.
#[test]
fn whatever_says_what_was_refused_changes_no_container() {
    let Some(lab) = Lab::open(Caller::Root, &[]) else { return };
    let text = "manifest = 1\n[[layer]]\nname = \"os\"\ntemplate = \"builtin:busybox\"\n\
                [[layer]]\nname = \"app\"\n\
                post = { in = \"rootfs\", run = \"hostname | tr a-z A-Z >/etc/n\" }\n";
    let manifest = lab.write("work/role.toml", text);
    let name = lab.name("refused");
    let mut wrong = Vec::new();
    let mut tried = |about: &str| {
        let call = create_directly(&lab, &name, &manifest, &[]).limit(Duration::from_secs(60));
        let outcome = call.outcome();
        let expected = format!("{}\n", name.to_uppercase());
        if !outcome.status.success() || seen::listing(&lab, &name).text("etc/n") != expected {
            wrong.push(format!("{about}: {outcome}"));
        }
        let _ = fs::remove_dir_all(lab.container(&name, ""));
    };
    tried("no note");
    let notes = shelf::meta(&lab).join("refused");
    let note = notes.join(&names(&notes)[0]);
    for (about, put) in THINGS {
        clear(&note);
        put(&note);
        tried(about);
        shelf::store(&lab, &["list"]).outcome().success();
    }
    shelf::store(&lab, &["gc", "--keep=0"]).outcome().success();
    assert_eq!(names(&notes), [""; 0]);
    assert_none(&wrong);
}

/// Puts things of all kinds into a directory of the store.
fn beside(shelf: &Shelf<'_>, place: &str) -> Vec<String> {
    let odd = std::ffi::OsString::from_vec(b"not-\xff-utf8".to_vec());
    let mut names = vec!["foreign".into(), ".hidden".into(), "a b\n".into(), odd];
    if place != "host.meta/entries" {
        names.push(format!("{}.99", "a".repeat(64)).into());
    }
    let kinds = ["an empty file", "a full directory", "a fifo", "a link to itself"];
    let things: Vec<_> = THINGS.iter().filter(|thing| kinds.contains(&thing.0)).collect();
    shelf.tried(&format!("in {place}"), Damage::OfNone, &shelf.ids[0], || {
        for (name, (at, (_, put))) in names.iter().zip(things.iter().cycle().enumerate()) {
            let directory = shelf.lab.path("store").join(place);
            put(&directory.join(name));
            put(&directory.join(format!("thing-{at}")));
        }
    })
}

#[test]
fn what_lies_beside_the_entries_is_in_nobody_s_way() {
    let Some(lab) = Lab::open(Caller::Root, &[]) else { return };
    let shelf = Shelf::new(&lab);
    let places = ["", "host", "host/trees", "host.meta", "roots"];
    let of_documents = ["entries", "lists", "last", "locks", "readings", "refused"];
    let of_documents = of_documents.map(|place| format!("host.meta/{place}"));
    let places = places.into_iter().chain(of_documents.iter().map(String::as_str));
    let wrong: Vec<_> = places.flat_map(|place| beside(&shelf, place)).collect();
    assert_none(&wrong);
}

#[test]
fn what_lies_where_layers_are_made_goes_with_gc() {
    let Some(lab) = Lab::open(Caller::Root, &[]) else { return };
    let shelf = Shelf::new(&lab);
    assert_none(&beside(&shelf, "host/work"));
}

/// Whoever waits for a lock that nobody can give would wait for ever.
#[test]
fn whatever_is_where_a_lock_was_is_waited_for_by_nobody() {
    let Some(lab) = Lab::open(Caller::Root, &[]) else { return };
    let shelf = Shelf::new(&lab);
    let mut wrong = Vec::new();
    let locks = names(&shelf::meta(&lab).join("locks"));
    assert!(!locks.is_empty(), "{locks:?}");
    for lock in locks {
        for (about, put) in THINGS {
            shelf.copy("kept", "store");
            let path = shelf::meta(&lab).join("locks").join(&lock);
            clear(&path);
            put(&path);
            for words in [&["store", "list"][..], &["store", "verify"], &["store", "gc"]] {
                let call = lab.call([lab.program()]).args(words).limit(Duration::from_secs(20));
                let outcome = call.outcome();
                let is_told = outcome.stderr.contains(&format!("{}", lab.path("store").display()));
                let is_refused = outcome.status.code() == Some(8) && is_told;
                if !outcome.status.success() && !is_refused {
                    wrong.push(format!("{lock}: {about}: {outcome}"));
                }
            }
            let call = create_directly(&lab, &shelf.name, &shelf.manifest, &[]);
            let outcome = call.limit(Duration::from_secs(30)).outcome();
            if !outcome.status.success() {
                wrong.push(format!("{lock}: {about}: {outcome}"));
                continue;
            }
            let tree = seen::listing(&lab, &shelf.name);
            if !tree.has("etc/app") {
                wrong.push(format!("{lock}: {about}: another rootfs"));
            }
            lab.destroy(&shelf.name);
        }
    }
    assert_none(&wrong);
}
