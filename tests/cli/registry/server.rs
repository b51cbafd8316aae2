//! A registry on the loopback.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::requirement::skip;

/// Runs the registry, and ends it with whoever holds the standard input, so that it cannot
/// outlive a test that is killed.
const KEEPER: &str =
    "docker-registry serve config.yml >log 2>&1 & cat >/dev/null; kill -9 $!; wait";

/// A registry; dropped, it is killed, and all that it has goes.
pub(crate) struct Registry {
    directory: TempDir,
    keeper: Option<Child>,
    pub(crate) port: u16,
}

impl Registry {
    /// Starts one with more lines in the part `http` of its configuration, and more parts. `@` is its directory. Nothing,
    /// with the reason told, where the host has none.
    pub(crate) fn with(http: &str, parts: &str) -> Option<Self> {
        if Command::new("docker-registry").arg("--version").output().is_err() {
            skip("docker-registry is not installed");
            return None;
        }
        let directory = tempfile::Builder::new().prefix("layered-registry-").tempdir().unwrap();
        let mut registry = Self { directory, keeper: None, port: 0 };
        // Another may take a port that was free a moment ago.
        for _ in 0..20 {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            registry.port = listener.local_addr().unwrap().port();
            drop(listener);
            let top = registry.path("");
            let top = top.display().to_string();
            let top = top.trim_end_matches('/');
            let config = format!(
                "version: 0.1\nstorage:\n  filesystem:\n    rootdirectory: @/data\n  delete:\n    \
                 enabled: true\nhttp:\n  addr: 127.0.0.1:{}\n{http}{parts}",
                registry.port
            );
            fs::write(registry.path("config.yml"), config.replace('@', top)).unwrap();
            if registry.run() {
                return Some(registry);
            }
        }
        let log = fs::read_to_string(registry.path("log")).unwrap_or_default();
        panic!("the registry does not start: {log}");
    }

    /// Starts it again where it was; false, where it ends at once.
    pub(crate) fn run(&mut self) -> bool {
        self.kill();
        let keeper = Command::new("sh")
            .args(["-c", KEEPER])
            .current_dir(self.path(""))
            .env("OTEL_TRACES_EXPORTER", "none")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        self.keeper = Some(keeper);
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_secs(30) {
            if TcpStream::connect(("127.0.0.1", self.port)).is_ok() {
                return true;
            }
            let log = fs::read_to_string(self.path("log")).unwrap_or_default();
            if log.contains("address already in use") {
                return false;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        false
    }

    /// Ends it without a warning.
    pub(crate) fn kill(&mut self) {
        if let Some(mut keeper) = self.keeper.take() {
            drop(keeper.stdin.take());
            let _ = keeper.wait();
        }
    }

    /// Returns `host:port`.
    pub(crate) fn host(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Returns a repository of it.
    pub(crate) fn repository(&self, name: &str) -> String {
        format!("{}/{name}", self.host())
    }

    pub(crate) fn path(&self, relative: &str) -> PathBuf {
        self.directory.path().join(relative)
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        self.kill();
    }
}
