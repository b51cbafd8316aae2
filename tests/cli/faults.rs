//! Faults at any system call of the program: a signal to whoever makes it, or an error in its place.
//!
//! Whatever is struck, a run leaves no process, mount or temporary file; a success is one; and the next
//! run makes what one makes that nothing has struck. Few points are tried of each command and fault,
//! evenly spread over its calls; `LT_FAULTS=N` tries N, and `LT_FAULTS=all` each of them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::requirement::{root, skip};
use crate::sandbox::{Ran, Sandbox};
use crate::{listing, processes};

/// The faults that `strike.c` knows.
const FAULTS: [&str; 11] =
    ["KILL", "TERM", "INT", "HUP", "ENOSPC", "EDQUOT", "EROFS", "EIO", "ENOMEM", "EMFILE", "EINTR"];

/// The name of the container that a struck run makes, and that of the next one.
const STRUCK: &str = "struck-container";
const NEXT: &str = "whole-container";

/// How many points are tried of each command and fault, of most commands.
const POINTS: usize = 4;

const ROLE: &str = r#"
[[layer]]
name = "os"
template = "builtin:busybox"
[layer.config]
lxc.start.auto = 1
[[layer]]
name = "app"
store = true
post = { in = "rootfs", run = "echo inside >/etc/inside" }
[[layer.file]]
path = "/etc/app"
content = "{{ lxc.name }}"
render = true
[[layer]]
name = "own"
pre = "true"
post = 'echo post >"$LXC_ROOTFS/etc/post"'
check = 'test -e "$LXC_ROOTFS/etc/inside"'
finally = "true"
"#;

/// What is struck.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Struck {
    /// A `create`: how it uses the store, and whether that holds all by then.
    Create { storage: &'static str, is_warm: bool },
    /// The same by an ordinary user, whose store is empty.
    User { storage: &'static str },
    /// A call of the template, as `lxc-create` makes it, where the store is empty.
    Template { storage: &'static str },
    /// A `create` that rebuilds what the store holds.
    Rebuild,
    /// `store gc`, where there is something to be removed.
    Gc,
    /// `store verify`.
    Verify,
}

impl Struck {
    fn words(self, sandbox: &Sandbox) -> Vec<String> {
        match self {
            Self::Create { .. } | Self::User { .. } | Self::Template { .. } => {
                self.making(sandbox, STRUCK)
            }
            Self::Rebuild => [self.making(sandbox, STRUCK), vec!["--rebuild".to_owned()]].concat(),
            Self::Gc => ["store", "gc", "--forget", "--keep", "0"].map(str::to_owned).to_vec(),
            Self::Verify => ["store", "verify"].map(str::to_owned).to_vec(),
        }
    }

    /// Returns what makes a container through the same door.
    fn making(self, sandbox: &Sandbox, name: &str) -> Vec<String> {
        let storage = format!("--storage={}", self.storage());
        if matches!(self, Self::Template { .. }) {
            let path = sandbox.path("lxc").join(name).display().to_string();
            let three = [
                format!("--path={path}"),
                format!("--name={name}"),
                format!("--rootfs={path}/rootfs"),
            ];
            return [&three[..], &["m.toml".to_owned(), storage]].concat();
        }
        let words = format!("create m.toml --quiet --name {name} --lxcpath ../lxc {storage}");
        words.split(' ').map(str::to_owned).collect()
    }

    /// Whether it makes a container.
    fn makes(self) -> bool {
        !matches!(self, Self::Gc | Self::Verify)
    }

    /// Whether the store is empty when it begins.
    fn is_cold(self) -> bool {
        match self {
            Self::Create { is_warm, .. } => !is_warm,
            Self::User { .. } | Self::Template { .. } => true,
            Self::Rebuild | Self::Gc | Self::Verify => false,
        }
    }

    fn storage(self) -> &'static str {
        match self {
            Self::Create { storage, .. } | Self::User { storage } | Self::Template { storage } => {
                storage
            }
            Self::Rebuild | Self::Gc | Self::Verify => "overlay",
        }
    }

    /// How many points are tried of each fault: most of what these do the others do as well.
    fn points(self) -> usize {
        if matches!(self, Self::User { .. } | Self::Template { .. }) { POINTS / 2 } else { POINTS }
    }

    /// The name of the id map of what it stores.
    fn map(self) -> &'static str {
        if matches!(self, Self::User { .. }) { "u65534-1-g65534-1" } else { "host" }
    }
}

/// Compiles what strikes, once; `None` where that cannot be.
fn striker() -> Option<PathBuf> {
    static BUILT: OnceLock<Option<TempDir>> = OnceLock::new();
    let built = BUILT.get_or_init(|| {
        let directory = tempfile::Builder::new().prefix("layered-strike-").tempdir().unwrap();
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cli/faults/strike.c");
        let mut cc = Command::new("cc");
        let built = cc.arg("-O1").arg("-o").arg(directory.path().join("strike")).arg(source);
        built.status().is_ok_and(|status| status.success()).then_some(directory)
    });
    Some(built.as_ref()?.path().join("strike"))
}

/// A sandbox in which one command is struck again and again.
struct Range {
    sandbox: Sandbox,
    struck: Struck,
    strike: PathBuf,
    /// What an undisturbed run makes.
    whole: String,
}

impl Range {
    fn open(struck: Struck) -> Option<Self> {
        if !root() {
            return None;
        }
        if !cfg!(target_arch = "x86_64") {
            skip("faults are made on x86-64 alone");
            return None;
        }
        let Some(strike) = striker() else {
            skip("no C compiler is installed");
            return None;
        };
        let sandbox = Sandbox::new();
        let sandbox =
            if matches!(struck, Struck::User { .. }) { sandbox.nobody() } else { sandbox };
        let sandbox = sandbox.manifest(&format!("manifest = 1\n{ROLE}"));
        // Also a user who may not pass the directory of the first runs it.
        let own = sandbox.path("strike");
        fs::copy(strike, &own).unwrap();
        let mut range = Self { sandbox, struck, strike: own, whole: String::new() };
        if matches!(struck, Struck::User { .. }) && !range.belongs_to_user() {
            return None;
        }
        range.whole = range.next();
        range.clear();
        Some(range)
    }

    /// Gives the sandbox to its user; false, where this host lets none make a user namespace.
    fn belongs_to_user(&self) -> bool {
        let top = self.sandbox.path("");
        let mut chown = Command::new("chown");
        assert!(chown.args(["-R", "65534:65534"]).arg(top).status().unwrap().success());
        let mut command = self.sandbox.command("unshare");
        let can_be = self.sandbox.ran({
            command.args(["--user", "--map-root-user", "true"]);
            command
        });
        let can_be = can_be.output.status.success();
        if !can_be {
            skip("this host lets no ordinary user make a user namespace");
        }
        can_be
    }

    /// Makes what LXC has made of a container when it calls a template.
    fn prepare(&self, name: &str) {
        if matches!(self.struck, Struck::Template { .. }) {
            let container = self.sandbox.path("lxc").join(name);
            fs::create_dir_all(container.join("rootfs")).unwrap();
            let config = format!("lxc.rootfs.path = dir:{}/rootfs\n", container.display());
            fs::write(container.join("config"), config).unwrap();
        }
    }

    /// Makes a container undisturbed, and returns what it is.
    #[track_caller]
    fn next(&self) -> String {
        self.prepare(NEXT);
        let ran = self.sandbox.run(self.struck.making(&self.sandbox, NEXT));
        ran.exits(0);
        let whole = self.look(NEXT);
        fs::remove_dir_all(self.sandbox.path("lxc").join(NEXT)).unwrap();
        whole
    }

    /// Returns what a container holds, without its name.
    fn look(&self, name: &str) -> String {
        let container = self.sandbox.path("lxc").join(name);
        let mut text = listing::of(&container);
        for file in ["config", "rootfs/etc/app", "rootfs/etc/hosts", "delta/etc/app"] {
            text += &fs::read_to_string(container.join(file)).unwrap_or_default();
        }
        // When something was made is in the record, and in what entries are called.
        let is_dated = |line: &&str| {
            ["/layered-template.json ", "/config ", "lxc.rootfs.path = overlay:"]
                .iter()
                .any(|start| line.starts_with(start))
        };
        let lines = text.lines().filter(|line| !is_dated(line));
        let lines = lines.map(|line| line.replace(name, "NAME"));
        lines.collect::<Vec<_>>().join("\n")
    }

    /// Takes away what runs have left that may leave something.
    fn clear(&self) {
        // By its own inode, the directory of containers stays known.
        for directory in ["state", "lxc", "tmp"] {
            for name in names(&self.sandbox.path(directory)) {
                let path = self.sandbox.path(directory).join(name);
                let removed = if path.is_dir() { fs::remove_dir_all } else { fs::remove_file };
                removed(&path).unwrap();
            }
        }
        if self.struck.is_cold() {
            let _ = fs::remove_dir_all(self.sandbox.path("store"));
        }
        // What gc has taken is there again.
        if self.struck == Struck::Gc {
            self.next();
        }
    }

    /// Runs the command, struck at a point, and returns how it ended, and how many points there are.
    fn strike(&self, fault: &str, point: usize) -> (Ran, usize, String) {
        let sandbox = &self.sandbox;
        self.prepare(STRUCK);
        let out = self.sandbox.path("struck");
        let mut command = self.sandbox.command("timeout");
        command.args(["--kill-after=5", "60"]).arg(&self.strike).arg(&out);
        command.args([fault, &point.to_string()]).arg(self.sandbox.program_path());
        let ran = self.sandbox.ran({
            command.args(self.struck.words(sandbox));
            command
        });
        let told = fs::read_to_string(out).unwrap_or_default();
        let (count, call) = told.trim().split_once(' ').unwrap_or(("0", "-1"));
        (ran, count.parse().unwrap(), call.to_owned())
    }

    /// Strikes at one point, and returns what is wrong then.
    fn try_point(&self, fault: &str, point: usize) -> Vec<String> {
        let (ran, _, call) = self.strike(fault, point);
        let mut wrong = self.judge(fault, &ran);
        let said: String = ran.stderr().chars().take(600).collect();
        if !wrong.is_empty() {
            let status = ran.output.status;
            wrong.insert(0, format!("{fault} at point {point}, call {call}: {status}\n{said}"));
        }
        self.clear();
        wrong
    }

    fn judge(&self, fault: &str, ran: &Ran) -> Vec<String> {
        let mut wrong = Vec::new();
        let mut see = |is_right: bool, what: String| {
            if !is_right {
                wrong.push(what);
            }
        };
        let sandbox = &self.sandbox;
        let (code, said) = (ran.output.status.code().unwrap_or(-1), ran.stderr());
        see(![-1, 99, 101, 124].contains(&code), format!("it ended with {code}"));
        // `pathrs` takes it for certain that it can look at `/proc`, and ends where it cannot.
        let is_own = !said.contains("/pathrs-");
        see(!(said.contains("panicked") && is_own), "it panicked".to_owned());
        let left = within_a_while(|| processes::within(sandbox));
        see(left.is_empty(), format!("processes are left: {left:?}"));
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
        let is_mounted = mounts.contains(sandbox.path("").to_str().unwrap());
        see(!is_mounted, "mounts are left".to_owned());
        let names = |path: &str| names(&sandbox.path(path));
        let container = sandbox.path("lxc").join(STRUCK);
        let is_killed = fault == "KILL" && code == 137;
        if !is_killed {
            see(names("tmp").is_empty(), format!("temporary files: {:?}", names("tmp")));
            let state = sandbox.left();
            let is_told = said.contains("could not be removed") || code != 0;
            see(state.is_empty() || is_told, format!("in the state directory: {state:?}"));
        }
        let made = names("lxc");
        see(made.iter().all(|name| name == STRUCK), format!("beside the container: {made:?}"));
        let partial = container.join("partial");
        if code == 0 && self.struck.makes() {
            let is = self.look(STRUCK);
            see(is == self.whole, format!("it is no success:\n{}", difference(&self.whole, &is)));
            see(!partial.exists(), "it shows as unfinished".to_owned());
        } else if container.exists() && !matches!(self.struck, Struck::Template { .. }) {
            // Of a template's call, LXC removes it.
            let is_told = is_killed || said.contains("could not be removed");
            see(is_told, "the container is still there".to_owned());
            let is_whole = || self.look(STRUCK) == self.whole;
            let is_unfinished = partial.exists() || self::names(&container).is_empty();
            see(is_unfinished || is_whole(), "it shows as finished".to_owned());
        }
        let verified = sandbox.run(["store", "verify"]);
        let is_sound = [Some(0)].contains(&verified.output.status.code());
        let has_store = sandbox.path(format!("store/{}.meta", self.struck.map())).exists();
        see(is_sound || !has_store, format!("the store: {}", verified.stderr()));
        let next = self.next();
        see(next == self.whole, format!("the next run:\n{}", difference(&self.whole, &next)));
        wrong
    }

    /// Takes away what runs that were killed have left in the store, and sees that nothing is left.
    fn clean(&self) -> Vec<String> {
        let cleaned = self.sandbox.run(["store", "gc", "--forget", "--keep", "0"]);
        let left: Vec<_> = ["work", "trees"]
            .into_iter()
            .flat_map(|path| names(&self.sandbox.path("store").join(self.struck.map()).join(path)))
            .collect();
        self.next();
        let is_clean = cleaned.output.status.code() == Some(0) && left.is_empty();
        let wrong = (!is_clean).then(|| format!("gc: {}{left:?}", cleaned.stderr()));
        wrong.into_iter().collect()
    }
}

/// Returns what there is once that is nothing, or a while is over.
fn within_a_while(look: impl Fn() -> Vec<String>) -> Vec<String> {
    let end = Instant::now() + Duration::from_secs(10);
    loop {
        let found = look();
        if found.is_empty() || Instant::now() > end {
            return found;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

/// Returns the first lines that are not in both.
fn difference(one: &str, other: &str) -> String {
    let lack = |from: &str, of: &str| -> Vec<String> {
        let lines = from.lines().filter(|line| !of.lines().any(|other| other == *line));
        lines.take(5).map(str::to_owned).collect()
    };
    format!("lacks {:#?}, has {:#?}", lack(one, other), lack(other, one))
}

/// Strikes a command with each fault, and sees what becomes of it. `test` is who asks for that.
fn withstands(test: &str, struck: Struck) {
    if std::env::var_os(IN_MEMORY).is_none() {
        return in_memory(test);
    }
    let Some(range) = Range::open(struck) else { return };
    let wanted = std::env::var("LT_FAULTS").unwrap_or_default();
    let mut wrong = Vec::new();
    for (index, fault) in FAULTS.into_iter().enumerate() {
        let (ran, count, _) = range.strike(fault, 0);
        ran.exits(0);
        range.clear();
        let points = match &*wanted {
            "all" => count,
            wanted => wanted.parse().unwrap_or(struck.points()).min(count),
        };
        for number in 0..points {
            // Another fault strikes elsewhere.
            let part = (number * FAULTS.len() + index) * count / (points * FAULTS.len());
            wrong.extend(range.try_point(fault, part + 1));
        }
        wrong.extend(range.clean());
    }
    assert!(wrong.is_empty(), "{struck:?}:\n{}", wrong.join("\n"));
}

/// Tells a test that its temporary files are in memory.
const IN_MEMORY: &str = "LT_IN_MEMORY";

/// Runs a test once more, where temporary files are in memory: a run that brings a copy to the disk would
/// wait for all that others write there.
fn in_memory(test: &str) {
    if !root() {
        return;
    }
    let place = tempfile::Builder::new().prefix("layered-faults-").tempdir().unwrap();
    let script = "mount -t tmpfs none \"$1\" && TMPDIR=$1 exec \"$2\" \"$3\" --exact --nocapture";
    let mut command = Command::new("unshare");
    command.args(["--mount", "--propagation", "private", "sh", "-c", script, "sh"]);
    command.arg(place.path()).arg(std::env::current_exe().unwrap()).arg(test);
    let output = command.env(IN_MEMORY, "1").output().unwrap();
    let [printed, said] =
        [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text));
    assert!(printed.contains("1 passed"), "{printed}\n{said}");
}

#[test]
fn a_cold_copy_withstands() {
    withstands(
        "faults::a_cold_copy_withstands",
        Struck::Create { storage: "copy", is_warm: false },
    );
}

#[test]
fn a_cold_overlay_withstands() {
    withstands(
        "faults::a_cold_overlay_withstands",
        Struck::Create { storage: "overlay", is_warm: false },
    );
}

#[test]
fn a_container_without_the_store_withstands() {
    withstands(
        "faults::a_container_without_the_store_withstands",
        Struck::Create { storage: "none", is_warm: false },
    );
}

#[test]
fn a_warm_copy_withstands() {
    withstands("faults::a_warm_copy_withstands", Struck::Create { storage: "copy", is_warm: true });
}

#[test]
fn a_warm_overlay_withstands() {
    withstands(
        "faults::a_warm_overlay_withstands",
        Struck::Create { storage: "overlay", is_warm: true },
    );
}

#[test]
fn an_ordinary_user_s_copy_withstands() {
    withstands("faults::an_ordinary_user_s_copy_withstands", Struck::User { storage: "copy" });
}

#[test]
fn a_call_of_the_template_withstands() {
    withstands(
        "faults::a_call_of_the_template_withstands",
        Struck::Template { storage: "overlay" },
    );
}

#[test]
fn a_rebuild_withstands() {
    withstands("faults::a_rebuild_withstands", Struck::Rebuild);
}

#[test]
fn gc_withstands() {
    withstands("faults::gc_withstands", Struck::Gc);
}

#[test]
fn verify_withstands() {
    withstands("faults::verify_withstands", Struck::Verify);
}
