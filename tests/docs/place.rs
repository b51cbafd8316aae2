//! The directory that a page's files lie in, and where its commands run.

use std::cell::Cell;
use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

use tempfile::TempDir;

/// The built program.
const PROGRAM: &str = env!("CARGO_BIN_EXE_layered-template");

/// Where commands besides the program are looked for.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Runs a command line where the directories of the host that templates know are covered.
const COVER: &str = r#"
for directory in /var/lib/lxc /var/cache/lxc; do
    [ ! -d "$directory" ] || mount -t tmpfs tmpfs "$directory" || exit
done
exec /bin/sh -c "$0"
"#;

/// LXC's template directory.
const TEMPLATES: &str = "/usr/share/lxc/templates";

#[derive(Debug)]
pub(crate) struct Place {
    directory: TempDir,
    /// The exit status of the last command.
    pub(crate) status: Cell<i32>,
    /// Whether a command could not be run here, so that those after it mean nothing.
    pub(crate) skipping: Cell<bool>,
    /// Whether templates of LXC's are called, which know the host's own directories.
    calls_templates: Cell<bool>,
}

impl Place {
    pub(crate) fn new() -> Self {
        let directory = TempDir::new().expect("a temporary directory");
        // A container's mapped ids pass it.
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).expect("its mode");
        fs::create_dir(directory.path().join(".home")).expect("a home");
        let [skipping, calls_templates] = [false; 2].map(Cell::new);
        Self { directory, status: Cell::new(0), skipping, calls_templates }
    }

    /// Lets no command from now on see the host's containers, or what templates keep for themselves.
    pub(crate) fn call_templates(&self) {
        self.calls_templates.set(true);
    }

    /// Writes a file, as whoever saves it from the page has it: nothing makes it executable.
    pub(crate) fn write(&self, name: &str, text: &str) {
        let path = self.directory.path().join(name);
        fs::create_dir_all(path.parent().expect("a directory")).expect("it can be made");
        fs::write(&path, text).expect("it can be written");
    }

    /// Makes what a manifest names, where it is not there: a directory, if the name ends with `/`.
    pub(crate) fn provide(&self, name: &str) {
        let path = self.directory.path().join(name);
        if Path::new(name).is_absolute() || path.exists() {
            return;
        }
        if name.ends_with('/') {
            fs::create_dir_all(path).expect("it can be made");
        } else {
            self.write(name, "made for the documentation's test\n");
        }
    }

    /// Runs the program, and returns its exit status and all that it said.
    pub(crate) fn run(&self, words: &[&str]) -> (i32, String) {
        let mut command = Command::new(PROGRAM);
        command.args(words);
        self.finish(command)
    }

    /// Runs a command line, in which `layered-template` is the program.
    pub(crate) fn shell(&self, line: &str) -> (i32, String) {
        let line = format!("{{ {line}\n}} 2>&1");
        let command = if self.calls_templates.get() {
            let mut command = Command::new("unshare");
            command.args(["--mount", "/bin/sh", "-c", COVER, &line]);
            command
        } else {
            let mut command = Command::new("/bin/sh");
            command.args(["-c", &line]);
            command
        };
        self.finish(command)
    }

    fn finish(&self, mut command: Command) -> (i32, String) {
        let home = self.directory.path().join(".home");
        let programs = Path::new(PROGRAM).parent().expect("a directory").display();
        command
            .env_clear()
            .env("PATH", format!("{programs}:{PATH}"))
            .env("HOME", &home)
            .env("LAYERED_TEMPLATE_STATE", home.join("state"))
            .env("LAYERED_TEMPLATE_STORE", home.join("store"))
            .current_dir(self.directory.path())
            .stdin(Stdio::null());
        let output = command.output().expect("it can be run");
        let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
        text += &String::from_utf8_lossy(&output.stderr);
        // A page shows what root sees, in a directory of no name.
        let user = format!("{}/.local/share/lxc", home.display());
        let text = text.replace(&user, "/var/lib/lxc");
        let here = format!("{}/", self.directory.path().display());
        (output.status.code().unwrap_or(-1), text.replace(&here, "/srv/"))
    }
}

/// Tells whether the host has a program, or a template of LXC's.
pub(crate) fn has(name: &str) -> bool {
    [TEMPLATES].into_iter().chain(PATH.split(':')).any(|path| Path::new(path).join(name).exists())
}

/// Checks that a shell can parse a text.
pub(crate) fn parses(text: &str) -> Result<(), String> {
    let mut command = Command::new("/bin/sh");
    command.args(["-n", "-c", text]).stdin(Stdio::null());
    let output = command.output().map_err(|error| error.to_string())?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("this does not parse: {}", String::from_utf8_lossy(&output.stderr)))
}

/// Says that something is not run, past the harness, which shows the output of failed tests only.
pub(crate) fn skip(reason: &str) {
    let demanded = std::env::var_os("LT_REQUIRE_E2E").is_some_and(|value| value == "1");
    assert!(!demanded, "this host cannot run what LT_REQUIRE_E2E=1 demands: {reason}");
    let _ = std::io::stderr().write_all(format!("skipped: {reason}\n").as_bytes());
}
