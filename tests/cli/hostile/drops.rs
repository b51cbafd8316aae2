//! Every kind of drop, against all that can be in its way.

use std::fs;
use std::path::{Path, PathBuf};

use super::plants::{self, Plant, Seen, Site};
use crate::idmaps::{CALLER, Namespace, WHOLE};
use crate::listing;
use crate::requirement::root;
use crate::sandbox::Sandbox;

/// What a drop does, as far as that tells what is in its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Doing {
    /// It puts something that is no directory.
    Put,
    /// It puts something below.
    Below,
    Directory,
    /// It merges a tree into it.
    Tree,
    /// It merges a tree into what it is in, with a directory for it.
    Merge,
    Remove,
    RemoveBelow,
    Keep,
    MustNotExist,
}

/// The drops; `@` stands for the directory that the plant `t` is in.
const DROPS: [(Doing, &str); 14] = [
    (Doing::Put, "path = '@/t'\ncontent = 'new'\n"),
    (Doing::Put, "path = '@/t'\ncontent = '{{ v }}'\nrender = true\n"),
    (Doing::Put, "path = '@/t'\nsource = 'tree/f'\n"),
    (Doing::Put, "path = '@/t'\nsymlink = 'x'\n"),
    (Doing::Put, "path = '@'\nsource = 'merged'\n"),
    (Doing::Below, "path = '@/t/f'\ncontent = 'new'\n"),
    (Doing::Below, "path = '@/t/n/f'\ncontent = 'new'\n"),
    (Doing::Directory, "path = '@/t'\ndirectory = true\nmode = '0711'\n"),
    (Doing::Tree, "path = '@/t'\nsource = 'tree'\n"),
    (Doing::Merge, "path = '@'\nsource = 'deep'\n"),
    (Doing::Remove, "path = '@/t'\nremove = true\n"),
    (Doing::RemoveBelow, "path = '@/t/f'\nremove = true\n"),
    (Doing::Keep, "path = '@/t'\ncontent = 'new'\nif_exists = 'keep'\n"),
    (Doing::MustNotExist, "path = '@/t'\ncontent = 'new'\nif_exists = 'error'\n"),
];

const OCCUPIED: &str = "there is a directory";
const NO_DIRECTORY: &str = "there is a file, not a directory";
const NOT_ON_THE_WAY: &str = "something on the way is not a directory";
const CIRCLE: &str = "a link on the way leads around in a circle";
const NOWHERE: &str = "a link on the way leads nowhere";
const FORBIDDEN: &str = "Operation not permitted";
const MOUNTED: &str = "something is mounted on the way";
const BUSY: &str = "Device or resource busy";

/// Returns why a drop is refused; `None`, where it is done.
fn refusal(doing: Doing, seen: Seen, mapped: bool) -> Option<&'static str> {
    use Doing::{Below, Directory, Merge, MustNotExist, Put, Remove, RemoveBelow, Tree};
    match (doing, seen) {
        (MustNotExist, _) => Some("something is there already"),
        (Put, Seen::Directory | Seen::ShutDirectory | Seen::MountedDirectory) => Some(OCCUPIED),
        (Put | Remove, Seen::MountedFile) => Some(BUSY),
        (Below | Directory | Tree | Merge | Remove | RemoveBelow, Seen::MountedDirectory) => {
            Some(MOUNTED)
        }
        (Below | Tree | RemoveBelow, Seen::MountedFile) => Some(MOUNTED),
        (Put, Seen::ShutFile) | (Below | Directory | Tree | Merge, Seen::ShutDirectory) => {
            Some(FORBIDDEN)
        }
        // Root opens it to changes.
        (Remove, Seen::ShutFile | Seen::ShutDirectory) => mapped.then_some(FORBIDDEN),
        (Below, Seen::File | Seen::Special | Seen::ShutFile | Seen::LinkToFile) => {
            Some(NOT_ON_THE_WAY)
        }
        (Below, Seen::LinkNowhere) => Some(NOWHERE),
        (Below | RemoveBelow | Tree | Merge, Seen::Circle) => Some(CIRCLE),
        (Directory | Tree | Merge, Seen::File | Seen::Special | Seen::ShutFile) => {
            Some(NO_DIRECTORY)
        }
        (Directory | Merge, Seen::MountedFile) => Some(NO_DIRECTORY),
        _ => None,
    }
}

/// A rootfs with one plant for each drop.
struct Case {
    sandbox: Sandbox,
    namespace: Option<Namespace>,
    canary: PathBuf,
    mounted: Option<&'static str>,
}

impl Case {
    fn new(plant: &Plant, mapped: bool) -> Self {
        let sandbox = Sandbox::new()
            .upstream(":")
            .file("tree/f", "new")
            .file("deep/t/f", "new")
            .file("merged/t", "new");
        let canary = super::canary(&sandbox);
        sandbox.shell();
        let rootfs = sandbox.rootfs();
        let is_shut = [Seen::ShutFile, Seen::ShutDirectory].contains(&plant.seen);
        let make = |at: &Path| {
            (plant.make)(&Site { at: at.to_path_buf(), rootfs: &rootfs, canary: &canary });
        };
        for index in 0..DROPS.len() {
            let directory = rootfs.join(format!("o{index}"));
            fs::create_dir_all(directory.join("inside")).unwrap();
            fs::write(directory.join("file"), "file").unwrap();
            if !is_shut {
                make(&directory.join("t"));
            }
        }
        let namespace = mapped.then(|| Namespace::new(&sandbox, WHOLE));
        if is_shut {
            (0..DROPS.len()).for_each(|index| make(&rootfs.join(format!("o{index}/t"))));
        }
        let mounted = match plant.seen {
            Seen::MountedDirectory => Some(""),
            Seen::MountedFile => Some("/file"),
            _ => None,
        };
        Self { sandbox, namespace, canary, mounted }
    }

    fn at(&self, index: usize) -> PathBuf {
        self.sandbox.rootfs().join(format!("o{index}"))
    }

    /// Makes the drops of these numbers in one run, and returns how it ended and what it said.
    fn run(&self, numbers: &[usize]) -> (Option<i32>, String) {
        let drops = numbers.iter().map(|index| {
            format!("[[layer.file]]\n{}", DROPS[*index].1.replace('@', &format!("/o{index}")))
        });
        let manifest = format!(
            "manifest = 1\n[vars]\nv = 'new'\n[[layer]]\nname = 'os'\ntemplate = 'fake'\n{}",
            drops.collect::<String>()
        );
        fs::write(self.sandbox.role().join("m.toml"), manifest).unwrap();
        let mut words: Vec<String> = Vec::new();
        let mut add = |more: &[&str]| words.extend(more.iter().map(|word| (*word).to_owned()));
        if let Some(namespace) = &self.namespace {
            add(&namespace.words());
        }
        if let Some(what) = self.mounted {
            // A set-user-id `mount` would be the host's root, who is not this one.
            let script = format!(
                "for t in '{}'/o*/t; do setpriv --no-new-privs mount --bind '{}{what}' \"$t\" || exit 99; done; exec \"$@\"",
                self.sandbox.rootfs().display(),
                self.canary.display()
            );
            add(&["unshare", "--mount", "--", "/bin/sh", "-c", &script, "sh"]);
        }
        // Whatever is in its way, no run waits for it.
        add(&["timeout", "--kill-after=1", "60"]);
        add(&[self.sandbox.program_path().to_str().unwrap()]);
        add(&self.sandbox.three().each_ref().map(String::as_str));
        if self.namespace.is_some() {
            add(&CALLER);
        }
        add(&["--manifest=m.toml", "--storage=none"]);
        let mut command = self.sandbox.command(&words[0]);
        command.args(&words[1..]);
        let ran = self.sandbox.ran(command);
        (ran.output.status.code(), ran.stderr())
    }

    /// Asserts that a drop has done what it should.
    fn is_done(&self, index: usize, seen: Seen, before: &str, what: &str) {
        let owner = if self.namespace.is_some() { " 100000:100000" } else { "" };
        let (doing, lines) = DROPS[index];
        let target = self.at(index).join("t");
        let within = match seen {
            Seen::LinkToDirectory => self.at(index).join("inside"),
            _ => target.clone(),
        };
        let file = format!("file 0644{owner} \"new\"");
        let (path, expected) = match doing {
            Doing::Put if lines.contains("symlink") => (target, "-> x".to_owned()),
            Doing::Put => (target, file),
            Doing::Below if lines.contains("/n/f") => (within.join("n/f"), file),
            Doing::Below | Doing::Tree | Doing::Merge => (within.join("f"), file),
            Doing::Directory => (target, format!("directory 0711{owner}")),
            Doing::Remove => (target, "nothing".to_owned()),
            Doing::RemoveBelow => (target.join("f"), "nothing".to_owned()),
            Doing::Keep | Doing::MustNotExist => (target, before.to_owned()),
        };
        assert_eq!(listing::one(&path), expected, "{what}: {doing:?}");
    }
}

impl Drop for Case {
    fn drop(&mut self) {
        crate::immutable::loosen(&self.sandbox.rootfs());
    }
}

/// Tries every drop on a plant, and returns how many that were.
fn try_all(plant: &Plant, mapped: bool) -> usize {
    let case = Case::new(plant, mapped);
    let what = format!("{}{}", plant.name, if mapped { ", mapped" } else { "" });
    let before = plants::known_by(&case.canary);
    let places: Vec<_> =
        (0..DROPS.len()).map(|index| listing::one(&case.at(index).join("t"))).collect();
    let (refused, done): (Vec<_>, Vec<_>) =
        (0..DROPS.len()).partition(|index| refusal(DROPS[*index].0, plant.seen, mapped).is_some());
    let (status, said) = case.run(&done);
    assert_eq!(status, Some(0), "{what}: {said}");
    for index in done {
        case.is_done(index, plant.seen, &places[index], &what);
    }
    for index in refused {
        let (doing, lines) = DROPS[index];
        let reason = refusal(doing, plant.seen, mapped).unwrap();
        let (status, said) = case.run(&[index]);
        assert_eq!(status, Some(5), "{what}: {lines}{said}");
        assert!(said.contains("could not be dropped: "), "{what}: {lines}{said}");
        assert!(said.contains(reason), "{what}: {lines}`{reason}` is not in {said}");
        assert_eq!(listing::one(&case.at(index).join("t")), places[index], "{what}: {lines}");
    }
    assert_eq!(plants::known_by(&case.canary), before, "{what}");
    let left = fs::read_dir(case.sandbox.rootfs()).unwrap().flatten();
    assert!(
        left.map(|entry| entry.file_name()).all(|name| name.to_string_lossy().starts_with('o'))
    );
    DROPS.len()
}

#[test]
fn nothing_that_is_planted_leads_a_drop_astray() {
    let plants = plants::plain();
    let tried: usize = plants.iter().map(|plant| try_all(plant, false)).sum();
    assert!(tried > 400, "{tried}");
}

#[test]
fn nothing_that_is_planted_leads_a_drop_of_mapped_root_astray() {
    if !root() {
        return;
    }
    let plants = plants::plain().into_iter().chain(plants::of_root());
    let tried: usize = plants.map(|plant| try_all(&plant, true)).sum();
    assert!(tried > 400, "{tried}");
}

#[test]
fn nothing_that_root_alone_can_plant_leads_a_drop_astray() {
    if !root() {
        return;
    }
    for plant in plants::of_root() {
        try_all(&plant, false);
    }
    // Not every filesystem has such attributes.
    if crate::immutable::met() {
        for mapped in [false, true] {
            for plant in plants::shut() {
                try_all(&plant, mapped);
            }
        }
    }
}

#[test]
fn what_is_mounted_in_a_rootfs_is_no_part_of_it() {
    if !root() {
        return;
    }
    for mapped in [false, true] {
        for plant in plants::mounted() {
            try_all(&plant, mapped);
        }
    }
}
