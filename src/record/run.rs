//! A run as the history of its host has it: a line of JSON when it begins, and another when it has ended.

use serde::{Deserialize, Serialize};

use crate::shell;

/// The version of the format.
const FORMAT: u32 = 1;

/// The longest text in a line, in bytes.
const LONGEST: usize = 4000;

/// The largest number of a run: what is above it has come into a history by accident, and no run follows it.
const LAST: u64 = 1 << 48;

/// A run of this host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct RunRecord {
    /// The number by which `runs show` finds it.
    pub run: u64,
    /// The version of this format.
    pub format: u32,
    /// The version of the program that ran.
    pub version: String,
    /// What it was for.
    pub verb: RunVerb,
    /// What has become of it.
    pub state: RunState,
    /// When it began, in UTC, as RFC 3339 has it.
    pub began: String,
    /// When it ended.
    pub ended: Option<String>,
    /// How long it took.
    pub milliseconds: Option<u64>,
    /// The exit status.
    pub status: Option<u8>,
    /// The name of the container; none, where it only filled the store.
    pub container: Option<String>,
    /// The directory of the container.
    pub path: Option<String>,
    /// The description of the role.
    pub role: Option<String>,
    /// The absolute path of the manifest.
    pub manifest: String,
    /// The words that the program was called with, as a shell would need them.
    pub command: String,
    /// The directory in which it was called; nothing where that is not known.
    pub directory: Option<String>,
    /// What failed, and why.
    pub failure: Option<RunFailure>,
    /// The log, where one was kept.
    pub log: Option<String>,
    /// The process that ran it, as the host counts, and when that began: by the two it is known whether it
    /// still runs.
    pub process: ProcessId,
}

/// What a run was for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub(crate) enum RunVerb {
    /// A container, for LXC.
    Template,
    /// A container, without LXC.
    Create,
    /// The layer store.
    Build,
    /// The layer store, from a registry.
    Pull,
    /// The layer store, and then a registry.
    Push,
    /// Another generation of a container.
    Upgrade,
    /// The generation of a container before that.
    Rollback,
}

impl RunVerb {
    /// Returns its name as people write it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Template => "template",
            Self::Create => "create",
            Self::Build => "build",
            Self::Pull => "pull",
            Self::Push => "push",
            Self::Upgrade => "upgrade",
            Self::Rollback => "rollback",
        }
    }
}

/// What has become of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub(crate) enum RunState {
    /// It goes on.
    Running,
    /// It did what it should.
    Done,
    /// It failed.
    Failed,
    /// It did not begin: its manifest, or what that names, cannot be used.
    Refused,
    /// A signal ended it.
    Interrupted,
    /// It was killed with all its processes, or the power went.
    Lost,
}

impl RunState {
    /// Returns its name as people write it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Refused => "refused",
            Self::Interrupted => "interrupted",
            Self::Lost => "lost",
        }
    }

    /// Tells whether a run has not done what it should.
    pub(crate) fn is_failure(self) -> bool {
        matches!(self, Self::Failed | Self::Refused | Self::Interrupted | Self::Lost)
    }
}

/// What failed in a run, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct RunFailure {
    /// The layer.
    pub layer: Option<String>,
    /// What of the layer: `pre`, `post`, `check`, `finally`, `template`, `file`, `config` or `store`.
    pub what: Option<String>,
    /// Where the manifest has it.
    pub at: Option<String>,
    /// What happened, in a line.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
    /// The failed rootfs, where it was kept.
    pub rootfs: Option<String>,
}

/// A process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct ProcessId {
    /// Its id.
    pub id: u32,
    /// When it began, in clock ticks since the boot.
    pub began: u64,
}

/// What is known of a run when it begins.
#[derive(Debug, Clone)]
pub(crate) struct RunStart {
    /// What it is for.
    pub verb: RunVerb,
    /// When it begins.
    pub began: String,
    /// The name and the directory of the container.
    pub container: Option<(String, String)>,
    /// The description of the role.
    pub role: Option<String>,
    /// The absolute path of the manifest.
    pub manifest: String,
    /// The words that the program was called with, without secrets.
    pub command: String,
    /// The directory in which it was called.
    pub directory: Option<String>,
    /// The process that runs it.
    pub process: ProcessId,
}

impl RunRecord {
    /// Creates that of a run which begins. It has no number yet.
    pub(crate) fn begin(start: RunStart) -> Self {
        let (container, path) = start.container.unzip();
        Self {
            run: 0,
            format: FORMAT,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            verb: start.verb,
            state: RunState::Running,
            began: start.began,
            ended: None,
            milliseconds: None,
            status: None,
            container,
            path,
            role: start.role.map(|role| short(&role)),
            manifest: start.manifest,
            command: short(&start.command),
            directory: start.directory,
            failure: None,
            log: None,
            process: start.process,
        }
    }

    /// Returns its line, without the line feed.
    pub(crate) fn line(&self) -> Vec<u8> {
        shell::to_json(self).unwrap_or_default()
    }

    /// Returns the runs of a history, the oldest first. What is damaged is passed over.
    pub(crate) fn all(history: &[u8]) -> Vec<Self> {
        let lines = history.split(|byte| *byte == b'\n');
        let mut runs: Vec<Self> = Vec::new();
        for run in lines.filter_map(|line| serde_json::from_slice::<Self>(line).ok()) {
            // Most lines that tell of one run are close together.
            match runs.iter_mut().rev().find(|known| known.run == run.run) {
                Some(known) => *known = run,
                None => runs.push(run),
            }
        }
        runs.sort_by_key(|run| run.run);
        runs
    }

    /// Returns the number of the next run by the last lines of a history, and whether what stands before them
    /// cannot make it another.
    pub(crate) fn next_number(lines: &[u8]) -> (u64, bool) {
        let lines = lines.rsplit(|byte| *byte == b'\n');
        let lines = lines.filter_map(|line| serde_json::from_slice::<Numbered>(line).ok());
        let mut last = 0;
        for Numbered { run, state } in lines.filter(|line| line.run < LAST) {
            last = last.max(run);
            // Runs begin in the order of their numbers, but one that has just ended may be an old one.
            if state == RunState::Running {
                return (last + 1, true);
            }
        }
        (last + 1, false)
    }
}

/// What of a line gives the next run its number.
#[derive(Deserialize)]
struct Numbered {
    run: u64,
    state: RunState,
}

impl RunFailure {
    /// Returns it with all its texts as `mask` leaves them.
    pub(crate) fn masked(self, mask: impl Fn(&str) -> String) -> Self {
        let masked = |text: Option<String>| text.map(|text| mask(&text));
        Self {
            layer: masked(self.layer),
            what: self.what,
            at: masked(self.at),
            message: mask(&self.message),
            hint: masked(self.hint),
            rootfs: masked(self.rootfs),
        }
    }

    /// Returns it with texts of a bounded length.
    pub(crate) fn shortened(self) -> Self {
        let hint = self.hint.map(|hint| short(&hint));
        Self { message: short(&self.message), hint, ..self }
    }
}

fn short(text: &str) -> String {
    let cut = shell::cut(text, LONGEST);
    if cut.len() == text.len() { cut.to_owned() } else { format!("{cut}...") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn begun(run: u64) -> RunRecord {
        let start = RunStart {
            verb: RunVerb::Create,
            began: "2026-01-01T00:00:00Z".to_owned(),
            container: Some(("web1".to_owned(), "/var/lib/lxc/web1".to_owned())),
            role: None,
            manifest: "/srv/web.toml".to_owned(),
            command: "layered-template create web.toml".to_owned(),
            directory: Some("/srv".to_owned()),
            process: ProcessId { id: 1, began: 2 },
        };
        RunRecord { run, ..RunRecord::begin(start) }
    }

    #[test]
    fn the_last_line_of_a_run_counts_and_damage_is_passed_over() {
        let ended = RunRecord { state: RunState::Done, status: Some(0), ..begun(1) };
        let lines = [begun(1).line(), begun(2).line(), ended.line()];
        let whole = lines.join(&b'\n');
        assert_eq!(RunRecord::all(&whole), [ended.clone(), begun(2)]);
        assert_eq!(RunRecord::next_number(&whole), (3, true));
        assert_eq!(RunRecord::next_number(&lines[2]), (2, false));
        for cut in 0..whole.len() {
            let runs = RunRecord::all(&whole[..cut]);
            assert!(runs.len() <= 2);
            assert!(runs.iter().all(|run| [1, 2].contains(&run.run)));
        }
        let damaged = [&whole[..], b"\n\xff\xfe{\n{}\nnull\n", &begun(7).line()[..]].concat();
        assert_eq!(RunRecord::all(&damaged), [ended, begun(2), begun(7)]);
        assert_eq!(RunRecord::next_number(&damaged), (8, true));
        assert_eq!(RunRecord::next_number(b""), (1, false));
        let absurd = [&damaged[..], b"\n", &begun(u64::MAX).line()].concat();
        assert_eq!(RunRecord::next_number(&absurd), (8, true));
    }

    #[test]
    fn a_run_of_a_version_that_noted_no_directory_is_read() {
        let line = String::from_utf8(begun(1).line()).unwrap();
        let older = line.replace("\"directory\":\"/srv\",", "");
        assert_ne!(older, line);
        let expected = RunRecord { directory: None, ..begun(1) };
        assert_eq!(RunRecord::all(older.as_bytes()), [expected]);
    }

    #[test]
    fn no_text_makes_a_line_that_a_terminal_obeys_or_that_is_two() {
        let hostile = "a\nb\x1b[2J\u{9b}31m\u{202e}";
        let run = RunRecord { role: Some(hostile.to_owned()), ..begun(1) };
        let line = String::from_utf8(run.line()).unwrap();
        assert!(line.chars().all(|character| !character.is_control()), "{line}");
        assert_eq!(RunRecord::all(line.as_bytes())[0].role.as_deref(), Some(hostile));
    }
}
