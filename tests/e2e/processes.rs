//! The processes of a lab, found by what they carry of it.
//!
//! A process that a run left behind has no parent left to ask, and may have entered namespaces, a
//! session and a root of its own. What it cannot shed is the name of the lab, which is unlike any
//! other string on the host: in its arguments, its environment or its mounts.

use std::fmt;
use std::ops::Range;

use rustix::process::{Pid, Signal, kill_process};

/// One living process.
pub(crate) struct Process {
    pub(crate) id: i32,
    pub(crate) parent: i32,
    pub(crate) arguments: Vec<String>,
}

impl Process {
    /// Sends a signal; a process that is gone already is nobody's loss.
    pub(crate) fn signal(&self, signal: Signal) {
        if let Some(id) = Pid::from_raw(self.id) {
            let _ = kill_process(id, signal);
        }
    }
}

impl fmt::Debug for Process {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} (child of {}) {:?}", self.id, self.parent, self.arguments)
    }
}

/// Every process in whose arguments, environment or mounts the word stands.
pub(crate) fn carrying(word: &str) -> Vec<Process> {
    living(|id| {
        ["cmdline", "environ", "mountinfo"].into_iter().any(|kind| contains(&read(id, kind), word))
    })
}

/// Every process that runs as one of these users.
pub(crate) fn of_users(ids: &[Range<u32>]) -> Vec<Process> {
    living(|id| {
        let status = String::from_utf8_lossy(&read(id, "status")).into_owned();
        status
            .lines()
            .find_map(|line| line.strip_prefix("Uid:")?.split_whitespace().next()?.parse().ok())
            .is_some_and(|user| ids.iter().any(|range| range.contains(&user)))
    })
}

fn living(wanted: impl Fn(i32) -> bool) -> Vec<Process> {
    let own = i32::try_from(std::process::id()).expect("process ids fit");
    std::fs::read_dir("/proc")
        .expect("/proc is mounted")
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<i32>().ok())
        .filter(|&id| id != own && wanted(id))
        .filter_map(describe)
        .collect()
}

/// Nothing, where the process has ended meanwhile; a zombie has ended as well.
fn describe(id: i32) -> Option<Process> {
    let stat = String::from_utf8_lossy(&read(id, "stat")).into_owned();
    // The name stands in brackets and may itself hold brackets and spaces.
    let mut fields = stat.rsplit_once(") ")?.1.split(' ');
    if matches!(fields.next()?, "Z" | "X") {
        return None;
    }
    let parent = fields.next()?.parse().ok()?;
    let arguments = read(id, "cmdline")
        .split(|&byte| byte == 0)
        .map(|argument| String::from_utf8_lossy(argument).into_owned())
        .collect();
    Some(Process { id, parent, arguments })
}

fn read(id: i32, kind: &str) -> Vec<u8> {
    std::fs::read(format!("/proc/{id}/{kind}")).unwrap_or_default()
}

fn contains(bytes: &[u8], word: &str) -> bool {
    bytes.windows(word.len()).any(|window| window == word.as_bytes())
}
