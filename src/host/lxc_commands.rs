//! LXC's own commands, for a container that runs.

use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use super::child::output_of;
use super::ended::describe;
use super::program;

/// Where logs of root's containers are that are in LXC's own directory.
const SYSTEM_LOGS: &str = "/var/log/lxc";

/// How often it is asked whether one of them has ended.
const POLL_INTERVAL: Duration = Duration::from_millis(5);

/// A container as LXC's commands name it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LxcContainer<'a> {
    /// The directory of containers.
    pub lxcpath: &'a Path,
    /// The name.
    pub name: &'a str,
}

impl LxcContainer<'_> {
    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.arg("-P").arg(self.lxcpath).arg("-n").arg(self.name).stdin(Stdio::null());
        command
    }

    /// Tells whether LXC says that it runs, in whatever state; without LXC, none does.
    pub(crate) fn is_running(&self) -> bool {
        let mut command = self.command("lxc-info");
        command.arg("-sH").stderr(Stdio::null());
        output_of(command).is_ok_and(|(printed, status)| {
            let state = String::from_utf8_lossy(&printed).trim().to_owned();
            status.success() && !["", "STOPPED"].contains(&state.as_str())
        })
    }

    /// Returns where LXC writes what fails at its start, unless it was told otherwise.
    ///
    /// Source: lxc.container.conf(5), and `build_log_path` of liblxc 5.
    pub(crate) fn log(&self) -> Option<PathBuf> {
        let name = format!("{}.log", self.name);
        let places = [self.lxcpath.join(self.name).join(&name), Path::new(SYSTEM_LOGS).join(&name)];
        places.into_iter().find(|place| place.is_file())
    }

    /// Starts it.
    pub(crate) fn start(&self) -> io::Result<()> {
        self.run("lxc-start", || ())
    }

    /// Shuts it down; one that does not end in a minute is killed, as `lxc-stop` has it. Meanwhile something is
    /// done over and over.
    pub(crate) fn stop(&self, meanwhile: impl FnMut()) -> io::Result<()> {
        self.run("lxc-stop", meanwhile)
    }

    fn run(&self, program: &str, mut meanwhile: impl FnMut()) -> io::Result<()> {
        // What a terminal sends to this process is not for it: half a stop is neither.
        let child = self.command(program).process_group(0).spawn();
        let mut child = child.map_err(|error| program::not_started(program.as_ref(), error))?;
        let status = loop {
            if let Some(status) = child.try_wait()? {
                break status;
            }
            meanwhile();
            sleep(POLL_INTERVAL);
        };
        match status.success() {
            true => Ok(()),
            false => Err(io::Error::other(format!("`{program}` {}", describe(status)))),
        }
    }
}
