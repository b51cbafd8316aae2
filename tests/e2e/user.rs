//! An unprivileged user who exists as long as a test does.

use std::ops::Range;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread::sleep;
use std::time::Duration;

/// How many ids LXC's users have, and what every feature is promised for.
pub(crate) const MAPPED: u32 = 65536;

/// The account files have one lock, for which the shadow tools wait only some seconds.
static ACCOUNTS: Mutex<()> = Mutex::new(());

static COUNT: AtomicU32 = AtomicU32::new(0);

/// The account; dropped, it is removed with its group and its subordinate ids.
pub(crate) struct User {
    pub(crate) name: String,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    /// The first of the subordinate user ids.
    pub(crate) first_uid: u32,
    /// The first of the subordinate group ids.
    pub(crate) first_gid: u32,
}

impl User {
    /// Adds a user; the home is not made.
    pub(crate) fn add(home: &Path) -> Self {
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("lte2e{}x{count}", std::process::id());
        let home = home.to_str().expect("a lab's path is plain");
        account(&["useradd", "--no-create-home", "--home-dir", home, "--shell", "/bin/sh", &name])
            .expect("useradd works");
        // From here on the account is removed whatever fails.
        let mut user = Self { name, uid: 0, gid: 0, first_uid: 0, first_gid: 0 };
        user.uid = user.id_of("-u");
        user.gid = user.id_of("-g");
        user.first_uid = user.subordinate("/etc/subuid", "--add-subuids");
        user.first_gid = user.subordinate("/etc/subgid", "--add-subgids");
        user
    }

    /// Whom the user's processes run as, in and out of the user namespace.
    pub(crate) fn ids(&self) -> [Range<u32>; 2] {
        [self.uid..self.uid + 1, self.first_uid..self.first_uid + MAPPED]
    }

    fn id_of(&self, flag: &str) -> u32 {
        let output =
            Command::new("id").args([flag, &self.name]).output().expect("id is always there");
        String::from_utf8_lossy(&output.stdout).trim().parse().expect("the user was just added")
    }

    /// The start of the user's range; `useradd` gives one by itself only where it is told to.
    fn subordinate(&self, file: &str, option: &str) -> u32 {
        if let Some(first) = ranges(file).into_iter().find_map(|(owner, first, count)| {
            (owner == self.name && count >= MAPPED).then_some(first)
        }) {
            return first;
        }
        let free =
            ranges(file).into_iter().map(|(_, first, count)| first + count).fold(100_000, u32::max);
        let range = format!("{free}-{}", free + MAPPED - 1);
        account(&["usermod", option, &range, &self.name]).expect("usermod works");
        free
    }
}

impl Drop for User {
    fn drop(&mut self) {
        // A zombie that nobody has reaped still counts as the user's process: hence by force.
        if let Err(trouble) = account(&["userdel", "--force", &self.name])
            && !std::thread::panicking()
        {
            panic!("the test user {} could not be removed: {trouble}", self.name);
        }
    }
}

fn ranges(file: &str) -> Vec<(String, u32, u32)> {
    std::fs::read_to_string(file)
        .unwrap_or_default()
        .lines()
        .filter_map(|line| {
            let mut fields = line.split(':');
            let owner = fields.next()?.to_owned();
            Some((owner, fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
        })
        .collect()
}

/// Runs one of the shadow tools, again where another holds the lock (status 1 or 10).
fn account(command: &[&str]) -> Result<(), String> {
    let _held = ACCOUNTS.lock().unwrap_or_else(PoisonError::into_inner);
    let mut last = String::new();
    for _ in 0..20 {
        let Output { status, stderr, .. } = Command::new(command[0])
            .args(&command[1..])
            .stdin(Stdio::null())
            .output()
            .map_err(|error| error.to_string())?;
        if status.success() {
            return Ok(());
        }
        last = String::from_utf8_lossy(&stderr).into_owned();
        if !matches!(status.code(), Some(1 | 10)) {
            break;
        }
        sleep(Duration::from_millis(250));
    }
    Err(last)
}
