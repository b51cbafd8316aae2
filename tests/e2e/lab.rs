//! A directory of its own for a test, and the commands that work in it.

use std::ffi::OsStr;
use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use tempfile::TempDir;

use crate::call::Call;
use crate::caller::Caller;
use crate::processes::{self, Process};
use crate::requirement::{self, TEMPLATES};
use crate::user::{MAPPED, User};

const PROGRAM: &str = env!("CARGO_BIN_EXE_layered-template");

/// The program's name among the templates.
const INSTALLED: &str = "lxc-layered-template";

/// The first id that a map of root's own has: nobody has given it away in `/etc/subuid`.
const FIRST_OF_ROOT: u32 = 1_700_000_000;

/// Everything that one test has on the host. Dropped, it stops the containers, ends the processes,
/// removes the user and then the directory.
pub(crate) struct Lab {
    pub(crate) caller: Caller,
    /// The name of the directory: unlike any other string on the host, and in all that a lab runs.
    pub(crate) mark: String,
    // The account goes before the directory that holds its home.
    pub(crate) user: Option<User>,
    directory: TempDir,
}

impl Lab {
    /// Nothing, with the reason printed, where the host lacks what is needed.
    pub(crate) fn open(caller: Caller, commands: &[&str]) -> Option<Self> {
        if !requirement::met(caller, commands) {
            return None;
        }
        let directory = tempfile::Builder::new()
            .prefix("layered-e2e-")
            .tempdir_in(passable())
            .expect("a directory can be made");
        let mark = directory.path().file_name().expect("it has a name").display().to_string();
        let mut lab = Self { caller, mark, user: None, directory };
        fs::set_permissions(lab.directory.path(), Permissions::from_mode(0o755)).expect("chmod");
        if caller == Caller::User {
            lab.user = Some(User::add(&lab.path("home")));
        }
        lab.furnish();
        if caller == Caller::User && !lab.maps() {
            requirement::skip("this host lets no ordinary user make a user namespace");
            return None;
        }
        Some(lab)
    }

    fn furnish(&self) {
        for directory in ["bin", "log", "run", "templates"] {
            make(&self.path(directory), 0o755);
        }
        make(&self.path("tmp"), 0o1777);
        for directory in ["cache", "home", "home/.config", "home/.config/lxc", "lxc"] {
            self.directory(directory);
        }
        for directory in ["state", "store", "work"] {
            self.directory(directory);
        }
        self.default_config("lxc.net.0.type = empty\n");

        let templates = fs::read_dir(TEMPLATES).expect("LXC's templates are there");
        let templates = templates.map(|entry| entry.expect("a directory entry").path());
        // The host's own is not the program that is tested.
        let templates: Vec<_> = templates.filter(|path| !path.ends_with(INSTALLED)).collect();
        copy(&templates, &self.path("templates"));
        copy(&[PROGRAM.into()], &self.template());
        fs::set_permissions(self.template(), Permissions::from_mode(0o755)).expect("chmod");
        fs::hard_link(self.template(), self.path("templates").join(INSTALLED))
            .expect("the template is installed");
        fs::hard_link(self.template(), self.program()).expect("the program is installed");
    }

    /// Returns the directories that runs have left in the state directory.
    pub(crate) fn left(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.path("state")).expect("it is there");
        let paths = entries.map(|entry| entry.expect("a directory entry").path());
        paths.filter(|path| path.is_dir()).collect()
    }

    /// Lets every container's config start with these lines, behind the id map that the caller has.
    pub(crate) fn default_config(&self, lines: &str) {
        let default = match self.first_ids() {
            None => lines.to_owned(),
            Some((users, groups)) => format!(
                "lxc.idmap = u 0 {users} {MAPPED}\nlxc.idmap = g 0 {groups} {MAPPED}\n{lines}"
            ),
        };
        self.write("default.conf", &default);
        self.write("home/.config/lxc/default.conf", &default);
    }

    /// The host's user and group id of a container's root, where its ids are mapped.
    pub(crate) fn first_ids(&self) -> Option<(u32, u32)> {
        match (self.caller, &self.user) {
            (Caller::Mapped, _) => Some((FIRST_OF_ROOT, FIRST_OF_ROOT)),
            (_, Some(user)) => Some((user.first_uid, user.first_gid)),
            (_, None) => None,
        }
    }

    fn maps(&self) -> bool {
        self.call(["lxc-usernsexec", "--", "true"]).outcome().status.success()
    }

    /// A path in the lab.
    pub(crate) fn path(&self, relative: impl AsRef<Path>) -> PathBuf {
        self.directory.path().join(relative)
    }

    /// The directory of the containers, `-P` of LXC's commands.
    pub(crate) fn lxcpath(&self) -> PathBuf {
        self.path("lxc")
    }

    /// The program under the name that makes it a template.
    pub(crate) fn template(&self) -> PathBuf {
        self.path("bin/lxc-layered-template")
    }

    /// The program under its own name.
    pub(crate) fn program(&self) -> PathBuf {
        self.path("bin/layered-template")
    }

    /// A container's name that no other test uses: cgroups know no lxcpath.
    pub(crate) fn name(&self, stem: &str) -> String {
        let tail = self.mark.rsplit('-').next().expect("a mark has a tail");
        format!("{stem}-{tail}")
    }

    /// The host's id of a container's id.
    pub(crate) fn id(&self, inside: u32) -> u32 {
        self.first_ids().map_or(inside, |(first, _)| first + inside)
    }

    /// Makes a directory that is the caller's.
    pub(crate) fn directory(&self, relative: impl AsRef<Path>) -> PathBuf {
        let path = self.path(relative);
        make(&path, 0o755);
        self.give(&path);
        path
    }

    /// Writes a file that is the caller's.
    pub(crate) fn write(&self, relative: impl AsRef<Path>, text: &str) -> PathBuf {
        let path = self.path(relative);
        fs::write(&path, text).expect("the file can be written");
        fs::set_permissions(&path, Permissions::from_mode(0o644)).expect("chmod");
        self.give(&path);
        path
    }

    /// Writes a program that is the caller's, and that mapped ids may run as well.
    pub(crate) fn script(&self, relative: impl AsRef<Path>, text: &str) -> PathBuf {
        let path = self.write(relative, text);
        fs::set_permissions(&path, Permissions::from_mode(0o755)).expect("chmod");
        path
    }

    fn give(&self, path: &Path) {
        if let Some(user) = &self.user {
            chown(path, Some(user.uid), Some(user.gid)).expect("root gives files away");
        }
    }

    /// The text of a file, or nothing where there is none.
    pub(crate) fn read(&self, relative: impl AsRef<Path>) -> String {
        fs::read_to_string(self.path(relative)).unwrap_or_default()
    }

    /// A command of the caller's.
    pub(crate) fn call<W: AsRef<OsStr>>(&self, words: impl IntoIterator<Item = W>) -> Call<'_> {
        Call::new(self, self.caller, words)
    }

    /// A command of root's, whoever the caller is.
    pub(crate) fn call_as_root<W: AsRef<OsStr>>(
        &self,
        words: impl IntoIterator<Item = W>,
    ) -> Call<'_> {
        Call::new(self, Caller::Root, words)
    }

    /// `lxc-create` with a template, in the lab's lxcpath.
    pub(crate) fn create_with(&self, template: &Path, name: &str) -> Call<'_> {
        let call = self.lxc("lxc-create", name).arg("-t").arg(template);
        match self.caller {
            // An ordinary user's default is read without being named.
            Caller::User => call,
            Caller::Root | Caller::Mapped => call.arg("-f").arg(self.path("default.conf")),
        }
    }

    /// `lxc-create` of a manifest's container, through the program.
    pub(crate) fn create(&self, name: &str, manifest: &Path) -> Call<'_> {
        self.create_with(&self.template(), name).arg("--").arg("--manifest").arg(manifest)
    }

    /// The template as LXC would call it, in a directory where nothing of LXC's looks.
    pub(crate) fn call_directly(&self, name: &str, manifest: &Path) -> Call<'_> {
        let path = self.path("direct");
        let rootfs = path.join("rootfs");
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&rootfs).expect("the directory is new");
        self.write("direct/config", "lxc.net.0.type = empty\n");
        self.call([self.template()])
            .arg(format!("--path={}", path.display()))
            .arg(format!("--name={name}"))
            .arg(format!("--rootfs={}", rootfs.display()))
            .arg("--manifest")
            .arg(manifest)
    }

    /// One of LXC's commands for a container of the lab.
    pub(crate) fn lxc(&self, command: &str, name: &str) -> Call<'_> {
        self.call([command, "-n", name]).arg("-P").arg(self.lxcpath())
    }

    /// A path in the directory of a container.
    pub(crate) fn container(&self, name: &str, relative: impl AsRef<Path>) -> PathBuf {
        self.lxcpath().join(name).join(relative)
    }

    /// Whether this caller's containers start here; where they do not, that is said.
    pub(crate) fn can_start(&self) -> bool {
        if self.caller == Caller::Mapped {
            return false;
        }
        let starts = self.starts_any();
        if !starts {
            requirement::skip("LXC cannot start a plain busybox container of this caller's here");
        }
        starts
    }

    /// Starts a container, and waits until its init runs. False where LXC itself cannot start any
    /// container of this caller's on this host.
    #[must_use]
    pub(crate) fn start(&self, name: &str) -> bool {
        if !self.can_start() {
            return false;
        }
        let log = self.path(format!("tmp/{name}.log"));
        let outcome = self.lxc("lxc-start", name).args(["-l", "INFO", "-o"]).arg(&log).outcome();
        let log = fs::read_to_string(log).unwrap_or_default();
        assert!(outcome.status.success(), "{outcome}\n{log}");
        self.lxc("lxc-wait", name).args(["-s", "RUNNING", "-t", "20"]).outcome().success();
        true
    }

    /// What a command inside a running container prints.
    pub(crate) fn inside(&self, name: &str, words: &[&str]) -> String {
        self.lxc("lxc-attach", name).arg("--").args(words).outcome().success().stdout
    }

    pub(crate) fn stop(&self, name: &str) {
        self.lxc("lxc-stop", name).arg("-k").outcome().success();
    }

    /// Removes a container, and sees that nothing of it stays.
    pub(crate) fn destroy(&self, name: &str) {
        self.lxc("lxc-destroy", name).outcome().success();
        self.assert_absent(name);
        self.assert_quiet(Duration::from_secs(5));
    }

    /// Sees that there is no container of this name, not even a half-made one.
    pub(crate) fn assert_absent(&self, name: &str) {
        let path = self.container(name, "");
        assert!(!path.exists(), "{} is still there", path.display());
    }

    /// Sees that no process of the lab is left, or will be after a while.
    pub(crate) fn assert_quiet(&self, patience: Duration) {
        let deadline = Instant::now() + patience;
        loop {
            let left = self.processes();
            if left.is_empty() {
                return;
            }
            assert!(Instant::now() < deadline, "left after {patience:?}: {left:#?}");
            sleep(Duration::from_millis(50));
        }
    }

    /// All living processes that the lab's commands started.
    pub(crate) fn processes(&self) -> Vec<Process> {
        let mut found = processes::carrying(&self.mark);
        if let Some(user) = &self.user {
            found.extend(processes::of_users(&user.ids()));
            found.sort_by_key(|process| process.id);
            found.dedup_by_key(|process| process.id);
        }
        found
    }

    /// Whether this caller's containers start here at all, whatever made them.
    fn starts_any(&self) -> bool {
        static ROOT: OnceLock<bool> = OnceLock::new();
        static USER: OnceLock<bool> = OnceLock::new();
        let known = if self.caller == Caller::Root { &ROOT } else { &USER };
        *known.get_or_init(|| {
            let name = self.name("plain");
            self.create_with(Path::new("busybox"), &name).outcome().success();
            let started = self.lxc("lxc-start", &name).outcome().status.success();
            if started {
                self.stop(&name);
            }
            self.lxc("lxc-destroy", &name).arg("-f").outcome();
            started
        })
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        for entry in fs::read_dir(self.lxcpath()).into_iter().flatten().flatten() {
            if let Some(name) = entry.file_name().to_str() {
                // Stopped by LXC, a container takes its cgroups along; killed, it does not.
                let stop = self.lxc("lxc-stop", name).arg("-k").limit(Duration::from_secs(10));
                stop.ignore();
            }
        }
        for _ in 0..100 {
            let left = self.processes();
            if left.is_empty() {
                break;
            }
            for process in left {
                process.signal(Signal::KILL);
            }
            sleep(Duration::from_millis(50));
        }
    }
}

/// Makes a directory with this mode, whatever the umask.
fn make(path: &Path, mode: u32) {
    fs::create_dir(path).expect("the directory is new");
    fs::set_permissions(path, Permissions::from_mode(mode)).expect("chmod");
}

/// A directory for labs in which every mapped id may walk down.
fn passable() -> PathBuf {
    [std::env::temp_dir(), "/var/tmp".into(), "/tmp".into()]
        .into_iter()
        .find(|candidate| {
            candidate.is_absolute()
                && candidate.ancestors().all(|directory| {
                    fs::metadata(directory)
                        .is_ok_and(|metadata| metadata.permissions().mode() & 0o001 != 0)
                })
        })
        .expect("/tmp is open to everyone")
}

/// Copies files by another process: one that this process has open to write cannot be run while a child
/// of another test has it too.
fn copy(files: &[PathBuf], to: &Path) {
    let copied = Command::new("cp").args(files).arg(to).status().expect("cp runs");
    assert!(copied.success(), "{files:?} is copied to {}", to.display());
}
