//! One command, run in a lab's private view of the host.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::fs::{self, File};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, kill_process_group};

use crate::caller::Caller;
use crate::lab::Lab;
use crate::requirement::{PATH, TEMPLATES};

/// Covers what upstream templates might remove or fill on the host, then becomes the command. A
/// mount that fails ends it: nothing ever runs without the cover.
const VIEW: &str = r#"set -eu
umask 022
lab=$1 templates=$2; shift 2
mount -t tmpfs -o mode=0755 lab /var/lib/lxc
mount --bind "$lab/templates" "$templates"
if [ -d /var/cache/lxc ]; then mount --bind "$lab/cache" /var/cache/lxc; fi
if [ -d /run/lxc ]; then mount --bind "$lab/run" /run/lxc; fi
if [ -d /run/lock ]; then mount -t tmpfs -o mode=1777 lab /run/lock; fi
exec "$@"
"#;

/// Long enough for the slowest step on a busy machine; a test that waits for more says so.
const LIMIT: Duration = Duration::from_secs(90);

static COUNT: AtomicU32 = AtomicU32::new(0);

/// A command that is being put together.
pub(crate) struct Call<'lab> {
    lab: &'lab Lab,
    caller: Caller,
    words: Vec<OsString>,
    environment: Vec<(String, OsString)>,
    limit: Duration,
}

impl<'lab> Call<'lab> {
    pub(crate) fn new<W: AsRef<OsStr>>(
        lab: &'lab Lab,
        caller: Caller,
        words: impl IntoIterator<Item = W>,
    ) -> Self {
        let words = words.into_iter().map(|word| word.as_ref().to_owned()).collect();
        Self { lab, caller, words, environment: Vec::new(), limit: LIMIT }
    }

    pub(crate) fn arg(mut self, word: impl AsRef<OsStr>) -> Self {
        self.words.push(word.as_ref().to_owned());
        self
    }

    pub(crate) fn args<W: AsRef<OsStr>>(mut self, words: impl IntoIterator<Item = W>) -> Self {
        self.words.extend(words.into_iter().map(|word| word.as_ref().to_owned()));
        self
    }

    pub(crate) fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.environment.push((name.to_owned(), value.as_ref().to_owned()));
        self
    }

    /// How long the command may take before it is killed.
    pub(crate) fn limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// Runs the command to its end.
    pub(crate) fn outcome(self) -> Outcome {
        self.start().outcome()
    }

    /// Runs the command to its end, where nobody may fail any more.
    pub(crate) fn ignore(self) {
        if let Ok(mut running) = self.spawn() {
            running.wait();
        }
    }

    /// Starts the command as the leader of a process group of its own.
    pub(crate) fn start(self) -> Running {
        self.spawn().expect("unshare starts")
    }

    fn spawn(self) -> std::io::Result<Running> {
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let stdout = self.lab.path(format!("log/{count}.out"));
        let stderr = self.lab.path(format!("log/{count}.err"));
        let shown = self.words.join(OsStr::new(" ")).to_string_lossy().into_owned();
        // Whoever runs the tests may ignore signals, and the standard library leaves that as it is.
        let child = Command::new("env")
            .args([
                "--default-signal",
                "unshare",
                "--mount",
                "--propagation",
                "private",
                "--",
                "/bin/sh",
                "-c",
                VIEW,
                "view",
            ])
            .arg(self.lab.path(""))
            .arg(TEMPLATES)
            .args(self.identity())
            .args(&self.words)
            .env_clear()
            .envs(self.surroundings())
            .envs(self.environment)
            .current_dir(self.lab.path("work"))
            .stdin(Stdio::null())
            // Files, not pipes: a container's monitor keeps its descriptors, and would be waited for.
            .stdout(File::create(&stdout)?)
            .stderr(File::create(&stderr)?)
            .process_group(0)
            .spawn()?;
        let deadline = Instant::now() + self.limit;
        Ok(Running { child, shown, stdout, stderr, deadline, status: None })
    }

    /// What stands before the command, so that it runs as the caller.
    fn identity(&self) -> Vec<String> {
        match (self.caller, &self.lab.user) {
            (Caller::User, Some(user)) => vec![
                "setpriv".to_owned(),
                format!("--reuid={}", user.uid),
                format!("--regid={}", user.gid),
                "--init-groups".to_owned(),
                "--".to_owned(),
            ],
            _ => Vec::new(),
        }
    }

    fn surroundings(&self) -> Vec<(&'static str, OsString)> {
        let name = match (self.caller, &self.lab.user) {
            (Caller::User, Some(user)) => user.name.as_str(),
            _ => "root",
        };
        let place = |relative: &str| self.lab.path(relative).into_os_string();
        vec![
            ("PATH", PATH.into()),
            ("LANG", "C.UTF-8".into()),
            ("SHELL", "/bin/sh".into()),
            ("USER", name.into()),
            ("LOGNAME", name.into()),
            ("HOME", place("home")),
            ("TMPDIR", place("tmp")),
            ("LXC_CACHE_PATH", place("cache")),
            ("LAYERED_TEMPLATE_STATE", place("state")),
            ("LAYERED_TEMPLATE_CACHE", place("home/kept")),
            ("LAYERED_TEMPLATE_STORE", place("store")),
        ]
    }
}

/// A command that runs; dropped, it and its process group are killed.
pub(crate) struct Running {
    child: Child,
    shown: String,
    stdout: PathBuf,
    stderr: PathBuf,
    deadline: Instant,
    status: Option<ExitStatus>,
}

impl Running {
    /// The id of the command itself: what stands before it only ever replaces itself.
    pub(crate) fn id(&self) -> i32 {
        i32::try_from(self.child.id()).expect("process ids fit")
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).expect("the command still runs");
    }

    /// Signals all that a terminal would signal.
    pub(crate) fn signal_group(&self, signal: Signal) {
        let _ = kill_process_group(self.pid(), signal);
    }

    pub(crate) fn ended(&mut self) -> bool {
        self.status = self.child.try_wait().expect("it is a child of ours");
        self.status.is_some()
    }

    /// Waits until it has made a file.
    pub(crate) fn until(mut self, made: &Path) -> Self {
        let deadline = Instant::now() + Duration::from_secs(60);
        while !made.exists() {
            if Instant::now() > deadline || self.ended() {
                self.signal_group(Signal::KILL);
                panic!("it never made {}: {}", made.display(), self.outcome());
            }
            sleep(Duration::from_millis(10));
        }
        self
    }

    /// Waits for the end.
    pub(crate) fn outcome(mut self) -> Outcome {
        let in_time = self.wait();
        let read = |path| String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).into_owned();
        let outcome = Outcome {
            status: self.status.expect("it was waited for"),
            stdout: read(&self.stdout),
            stderr: read(&self.stderr),
            shown: std::mem::take(&mut self.shown),
            errors: self.stderr.clone(),
        };
        assert!(in_time, "killed after its time limit: {outcome}");
        outcome
    }

    /// Waits until the end or the limit, whichever comes first. False at the limit.
    fn wait(&mut self) -> bool {
        while Instant::now() < self.deadline {
            if self.status.is_some() || self.ended() {
                return true;
            }
            sleep(Duration::from_millis(5));
        }
        self.kill();
        false
    }

    fn kill(&mut self) {
        let _ = kill_process_group(self.pid(), Signal::KILL);
        self.status = self.child.wait().ok();
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(self.id()).expect("a child's id is not 0")
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.status.is_none() {
            self.kill();
        }
    }
}

/// How a command ended, and what it said.
pub(crate) struct Outcome {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    shown: String,
    errors: PathBuf,
}

impl Outcome {
    /// Standard error with what the command's orphans have added to it since.
    pub(crate) fn said_since(&self) -> String {
        fs::read_to_string(&self.errors).unwrap_or_default()
    }

    #[track_caller]
    pub(crate) fn success(self) -> Self {
        self.code(0)
    }

    /// Sees that the command ended with this exit status, not by a signal.
    #[track_caller]
    pub(crate) fn code(self, code: i32) -> Self {
        assert_eq!(self.status.code(), Some(code), "{self}");
        self
    }

    #[track_caller]
    pub(crate) fn signalled(self, signal: Signal) -> Self {
        assert_eq!(self.status.signal(), Some(signal.as_raw()), "{self}");
        self
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { status, stdout, stderr, shown, .. } = self;
        write!(formatter, "`{shown}` ended with {status}\n-- stdout\n{stdout}-- stderr\n{stderr}")
    }
}
