//! A directory of its own for a test, and the program called in it.

use std::ffi::OsStr;
use std::fs::{self, DirBuilder, Permissions};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

use crate::redactor::Redactor;

const PROGRAM: &str = env!("CARGO_BIN_EXE_layered-template");

/// What every fake template starts with: the three arguments, taken apart.
const PRELUDE: &str = "#!/bin/sh -eu
case $1:$2:$3 in
  --path=/*:--name=?*:--rootfs=/*) path=${1#*=} name=${2#*=} rootfs=${3#*=} ;;
  *) echo 'called without the three' >&2; exit 99 ;;
esac
";

/// The name of the container that tests make.
pub(crate) const NAME: &str = "web1";

/// Everything that one test has on the host. Dropped, it is removed.
pub(crate) struct Sandbox {
    directory: TempDir,
    environment: Vec<(String, String)>,
    umask: u32,
    user: Option<u32>,
}

impl Sandbox {
    pub(crate) fn new() -> Self {
        let directory = tempfile::Builder::new().prefix("layered-cli-").tempdir().unwrap();
        let sandbox = Self { directory, environment: Vec::new(), umask: 0o022, user: None };
        fs::set_permissions(sandbox.path(""), Permissions::from_mode(0o755)).unwrap();
        for name in ["home", "lxc", "role", "templates", "tmp"] {
            make(&sandbox.path(name), 0o755);
        }
        sandbox.upstream("mkdir \"$rootfs/etc\"")
    }

    /// The directory of the manifest, in which the program is called.
    pub(crate) fn role(&self) -> PathBuf {
        self.path("role")
    }

    /// The container's directory.
    pub(crate) fn container(&self) -> PathBuf {
        self.path("lxc").join(NAME)
    }

    pub(crate) fn rootfs(&self) -> PathBuf {
        self.container().join("rootfs")
    }

    /// Where logs of failed runs are.
    pub(crate) fn state(&self) -> PathBuf {
        self.path("state")
    }

    /// Returns the directories that runs have left there.
    pub(crate) fn left(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.state()).into_iter().flatten();
        let paths = entries.map(|entry| entry.unwrap().path());
        paths.filter(|path| *path != self.history()).collect()
    }

    /// The history of runs.
    pub(crate) fn history(&self) -> PathBuf {
        self.state().join("runs")
    }

    pub(crate) fn path(&self, relative: impl AsRef<Path>) -> PathBuf {
        self.directory.path().join(relative)
    }

    /// Writes the manifest `role/m.toml`.
    pub(crate) fn manifest(self, text: &str) -> Self {
        self.file("m.toml", text)
    }

    /// Writes a manifest whose innermost layer, `os`, calls the fake template; `rest` goes on with
    /// that layer.
    pub(crate) fn layers(self, rest: &str) -> Self {
        self.manifest(&format!(
            "manifest = 1\n\n[[layer]]\nname = \"os\"\ntemplate = \"fake\"\n{rest}"
        ))
    }

    /// Writes a file beside the manifest.
    pub(crate) fn file(self, path: &str, bytes: impl AsRef<[u8]>) -> Self {
        let path = self.role().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
        self
    }

    /// Writes the template `fake`, which finds its arguments in `$path`, `$name` and `$rootfs`.
    pub(crate) fn upstream(self, script: &str) -> Self {
        self.program("templates/lxc-fake", &format!("{PRELUDE}{script}\n"))
    }

    /// Writes an executable.
    pub(crate) fn program(self, path: &str, text: &str) -> Self {
        let path = self.path(path);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o755)).unwrap();
        self
    }

    /// Adds a variable to the caller's environment.
    pub(crate) fn env(mut self, name: &str, value: impl Into<String>) -> Self {
        self.environment.push((name.to_owned(), value.into()));
        self
    }

    pub(crate) fn umask(mut self, umask: u32) -> Self {
        self.umask = umask;
        self
    }

    /// Calls the program as an ordinary user from now on.
    pub(crate) fn nobody(mut self) -> Self {
        self.installed("layered-template");
        self.user = Some(65534);
        self
    }

    /// Copies the program to where everybody can run it.
    pub(crate) fn installed(&self, name: &str) -> PathBuf {
        let program = self.path(name);
        // A copy that this process has open to write cannot be run while another test's child, which has
        // it too, does not run its own program yet.
        assert!(Command::new("cp").arg(PROGRAM).arg(&program).status().unwrap().success());
        fs::set_permissions(&program, Permissions::from_mode(0o755)).unwrap();
        program
    }

    /// Makes the container's directory as `lxc-create` does before it calls a template.
    pub(crate) fn shell(&self) {
        make(&self.container(), 0o770);
        make(&self.rootfs(), 0o755);
        let config = format!("lxc.rootfs.path = dir:{}\n", self.rootfs().display());
        fs::write(self.container().join("config"), config).unwrap();
        fs::set_permissions(self.container().join("config"), Permissions::from_mode(0o640))
            .unwrap();
    }

    /// Returns the three arguments that LXC gives a template.
    pub(crate) fn three(&self) -> [String; 3] {
        [
            format!("--path={}", self.container().display()),
            format!("--name={NAME}"),
            format!("--rootfs={}", self.rootfs().display()),
        ]
    }

    /// Calls a subcommand.
    pub(crate) fn run<W: AsRef<OsStr>>(&self, words: impl IntoIterator<Item = W>) -> Ran {
        let mut command = self.command(self.program_path());
        command.args(words);
        self.ran(command)
    }

    /// Calls the program as LXC calls a template, with the user's words behind the three.
    pub(crate) fn template<W: AsRef<OsStr>>(&self, words: impl IntoIterator<Item = W>) -> Ran {
        if !self.container().exists() {
            self.shell();
        }
        let mut command = self.within();
        command.args(self.three()).args(words);
        self.ran(command)
    }

    /// Runs the manifest as a template.
    pub(crate) fn chain(&self) -> Ran {
        self.template(["--manifest", "m.toml"])
    }

    /// Runs the manifest as a template, straight on the container's rootfs.
    pub(crate) fn straight(&self) -> Ran {
        self.template(["--manifest", "m.toml", "--storage=none"])
    }

    /// Makes the container without LXC.
    pub(crate) fn create<W: AsRef<OsStr>>(&self, words: impl IntoIterator<Item = W>) -> Ran {
        let mut command = self.command(self.program_path());
        command.args(["create", "m.toml", "--name", NAME, "--lxcpath"]).arg(self.path("lxc"));
        command.args(words);
        self.ran(command)
    }

    /// Returns the program, to be called as root: an ordinary user's is one of a user namespace.
    pub(crate) fn within(&self) -> Command {
        if rustix::process::geteuid().is_root() || self.user.is_some() {
            return self.command(self.program_path());
        }
        let mut command = self.command("unshare");
        command.args(["--user", "--map-root-user", "--"]).arg(self.program_path());
        command
    }

    /// Returns the program as [`Self::within`] does, called by a shell that does something before.
    pub(crate) fn after(&self, prelude: &str) -> Command {
        let within = self.within();
        // Behind what the sandbox's own shell does.
        let words = within.get_args().skip(5);
        let mut command = self.command("/bin/sh");
        command.args(["-c", &format!("{prelude}; exec \"$@\""), "sh"]).args(words);
        command
    }

    pub(crate) fn program_path(&self) -> PathBuf {
        match self.user {
            Some(_) => self.path("layered-template"),
            None => PROGRAM.into(),
        }
    }

    /// Returns a command in the sandbox's environment.
    pub(crate) fn command(&self, program: impl AsRef<OsStr>) -> Command {
        // Whoever runs the tests may ignore signals, and the standard library leaves that as it is.
        let mut command = Command::new("env");
        // The shell sets what the standard library cannot.
        let umask = format!("umask {:03o}; exec \"$@\"", self.umask);
        command.args(["--default-signal", "/bin/sh", "-c", &umask, "sh"]);
        if let Some(user) = self.user {
            let (user, group) = (format!("--reuid={user}"), format!("--regid={user}"));
            command.args(["setpriv", &user, &group, "--clear-groups", "--"]);
        }
        command
            .arg(program)
            .current_dir(self.role())
            .env_clear()
            .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
            .env("HOME", self.path("home"))
            .env("TMPDIR", self.path("tmp"))
            .env("LAYERED_TEMPLATE_STATE", self.state())
            .env("LAYERED_TEMPLATE_STORE", self.path("store"))
            .env("UPSTREAM_TEMPLATE_DIR", self.path("templates"))
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null());
        command
    }

    pub(crate) fn ran(&self, mut command: Command) -> Ran {
        let output = command.output().unwrap();
        Ran { output, redactor: Redactor::new(self.directory.path()) }
    }

    /// Reads a file of the rootfs.
    pub(crate) fn read(&self, path: &str) -> String {
        let path = self.rootfs().join(path.trim_start_matches('/'));
        fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    pub(crate) fn config(&self) -> String {
        fs::read_to_string(self.container().join("config")).unwrap()
    }

    pub(crate) fn record(&self) -> serde_json::Value {
        let text = fs::read(self.container().join("layered-template.json")).unwrap();
        serde_json::from_slice(&text).unwrap()
    }

    /// Reads what steps have noted in `role/trace`.
    pub(crate) fn trace(&self) -> String {
        fs::read_to_string(self.role().join("trace")).unwrap_or_default()
    }

    pub(crate) fn redacted(&self, text: &str) -> String {
        Redactor::new(self.directory.path()).redact(text)
    }
}

fn make(path: &Path, mode: u32) {
    DirBuilder::new().mode(mode).create(path).unwrap();
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

/// How a call of the program ended.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) output: Output,
    redactor: Redactor,
}

impl Ran {
    pub(crate) fn stdout(&self) -> String {
        self.redactor.redact(&String::from_utf8_lossy(&self.output.stdout))
    }

    pub(crate) fn stderr(&self) -> String {
        self.redactor.redact(&String::from_utf8_lossy(&self.output.stderr))
    }

    /// Asserts the exit status.
    #[track_caller]
    pub(crate) fn exits(&self, status: i32) -> &Self {
        let code = self.output.status.code();
        let printed: String = self.stdout().chars().take(2000).collect();
        assert_eq!(code, Some(status), "{printed}\n{}", self.stderr());
        self
    }

    /// Asserts the whole of standard output.
    #[track_caller]
    pub(crate) fn prints(&self, expected: &str) -> &Self {
        assert_eq!(self.stdout(), expected, "stdout\n{}", self.stderr());
        self
    }

    /// Asserts a part of standard output.
    #[track_caller]
    pub(crate) fn shows(&self, part: &str) -> &Self {
        let said = self.stdout();
        assert!(said.contains(part), "`{part}` is not in\n{said}{}", self.stderr());
        self
    }

    /// Asserts the whole of standard error.
    #[track_caller]
    pub(crate) fn says(&self, expected: &str) -> &Self {
        let said = self.stderr();
        assert_eq!(said, expected, "\n{said}");
        self
    }

    /// Asserts a part of standard error, where the whole depends on the host.
    #[track_caller]
    pub(crate) fn mentions(&self, part: &str) -> &Self {
        let said = self.stderr();
        assert!(said.contains(part), "`{part}` is not in:\n{said}");
        self
    }
}
