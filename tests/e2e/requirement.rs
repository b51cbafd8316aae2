//! What a test needs of the host, and what is said when it is not there.

use std::io::Write;
use std::path::Path;

use rustix::process::geteuid;

use crate::caller::Caller;

/// The directories a command is looked for in, and the `PATH` of everything that a lab runs.
pub(crate) const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Where LXC's own templates are installed.
pub(crate) const TEMPLATES: &str = "/usr/share/lxc/templates";

const ALWAYS: &[&str] = &["lxc-create", "lxc-start", "lxc-destroy", "unshare", "mount", "busybox"];
const OF_A_USER: &[&str] =
    &["setpriv", "useradd", "userdel", "usermod", "newuidmap", "newgidmap", "lxc-usernsexec"];
const OF_MAPPED_ROOT: &[&str] = &["lxc-usernsexec"];

/// Whether the host has all that is needed; if not, the reason is printed.
///
/// # Panics
///
/// With `LT_REQUIRE_E2E=1`, instead of printing.
pub(crate) fn met(caller: Caller, commands: &[&str]) -> bool {
    match unmet(caller, commands) {
        None => true,
        Some(reason) => {
            skip(&reason);
            false
        }
    }
}

/// Whether tests are asked for that install whole distributions. They belong to `make test-network`, and
/// `make test` does not lack them.
pub(crate) fn network() -> bool {
    asked_for("LT_NETWORK")
}

/// Whether tests are asked for that take many minutes. They belong to `make test-slow`, and `make test`
/// does not lack them.
pub(crate) fn slow() -> bool {
    asked_for("LT_SLOW")
}

/// Whether LXC can limit memory and processes by cgroup2 here.
pub(crate) enum Limits {
    /// It can.
    Work,
    /// It starts containers that have limits, and does not limit them: the first hierarchies have the
    /// controllers.
    Ignored,
    /// It starts no container that has limits: nobody has the controllers.
    Refused,
}

/// Looks at the controllers of this host's cgroups.
pub(crate) fn limits() -> Limits {
    let controllers = std::fs::read_to_string("/sys/fs/cgroup/cgroup.controllers");
    let has = |list: &str, wanted| list.split_whitespace().any(|one| one == wanted);
    match controllers {
        Ok(list) if has(&list, "memory") && has(&list, "pids") => Limits::Work,
        Ok(_) => Limits::Refused,
        Err(_) => Limits::Ignored,
    }
}

fn asked_for(variable: &str) -> bool {
    std::env::var_os(variable).is_some_and(|value| value == "1")
}

/// Says that a test, or the rest of one, is not run.
pub(crate) fn skip(reason: &str) {
    assert!(!demanded(), "this host cannot run a test that LT_REQUIRE_E2E=1 demands: {reason}");
    say(reason);
}

/// Says why something is not run, and notes it for the sum at the end.
pub(crate) fn say(reason: &str) {
    tell(&format!("skipped: {reason}"));
    if let Some(path) = std::env::var_os("LT_SKIPPED")
        && let Ok(mut file) = std::fs::File::options().create(true).append(true).open(path)
    {
        let _ = writeln!(file, "{reason}");
    }
}

/// Written past the harness, which shows the output of failed tests only.
pub(crate) fn tell(text: &str) {
    let line = format!("{text}\n");
    let _ = std::io::stderr().write_all(line.as_bytes());
}

fn demanded() -> bool {
    asked_for("LT_REQUIRE_E2E")
}

fn unmet(caller: Caller, commands: &[&str]) -> Option<String> {
    if !geteuid().is_root() || !owns_every_id() {
        return Some("not root on the host".to_owned());
    }
    let of_the_caller = match caller {
        Caller::Root => &[],
        Caller::User => OF_A_USER,
        Caller::Mapped => OF_MAPPED_ROOT,
    };
    if let Some(absent) =
        [ALWAYS, of_the_caller, commands].into_iter().flatten().find(|command| !installed(command))
    {
        return Some(format!("`{absent}` is not installed"));
    }
    ["/var/lib/lxc", TEMPLATES]
        .into_iter()
        .find(|directory| !Path::new(directory).is_dir())
        .map(|absent| format!("there is no {absent}"))
}

/// Root of a user namespace cannot add users, nor give away ids.
fn owns_every_id() -> bool {
    std::fs::read_to_string("/proc/self/uid_map")
        .is_ok_and(|map| map.split_whitespace().eq(["0", "0", "4294967295"]))
}

fn installed(command: &str) -> bool {
    PATH.split(':').any(|directory| Path::new(directory).join(command).exists())
}
