//! A ladder as text and as JSON, beside the plan that it belongs to.

use std::io::{self, Write};

use serde::Serialize;

use super::act::{BuildBase, CacheAct, CheckSees};
use super::ladder::Ladder;
use super::offer::Vouched;
use crate::plan::{Detail, Plan, StorageMode};
use crate::shell;

/// How wide the column of kinds is.
const KIND: usize = 8;

/// How many files a line names.
const MOST_FILES: usize = 4;

/// A plan with all that a run does about the layer store, as `plan --format json` writes it.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct PlanDocument<'a> {
    /// The plan.
    #[serde(flatten)]
    pub plan: &'a Plan,
    /// What the run does about the layer store, in order. What is made in the container itself is an
    /// act of this list too.
    pub ladder: &'a Ladder,
}

impl Ladder {
    /// Writes what cannot be seen from the layers: how the container gets what is stored, and what is
    /// made for it then.
    pub fn text(&self, detail: Detail, to: &mut dyn Write) -> io::Result<()> {
        let mut lines = Vec::new();
        for planned in &self.acts {
            let (brief, whole) = shown(&planned.act);
            if brief || detail == Detail::Whole {
                lines.extend(whole);
            }
        }
        if !self.uses_store() || lines.is_empty() {
            return Ok(());
        }
        writeln!(to)?;
        lines
            .iter()
            .try_for_each(|(kind, text)| writeln!(to, "{kind:KIND$} {}", shell::one_line(text)))
    }

    fn uses_store(&self) -> bool {
        let is_of_store = |act: &CacheAct| {
            matches!(
                act,
                CacheAct::Take { .. }
                    | CacheAct::Pull { .. }
                    | CacheAct::Build { .. }
                    | CacheAct::Install { .. }
            )
        };
        self.acts.iter().any(|planned| is_of_store(&planned.act))
    }
}

type Line = (&'static str, String);

/// Returns the lines of an act, and whether they are always shown.
fn shown(act: &CacheAct) -> (bool, Vec<Line>) {
    let line = |kind, text: String| vec![(kind, text)];
    match act {
        // They stand at the head of the plan.
        CacheAct::Without { .. } | CacheAct::Refuse { .. } | CacheAct::Distrust { .. } => {
            (false, Vec::new())
        }
        CacheAct::Take { what, entry } => (false, line("take", format!("{what}: {entry}"))),
        CacheAct::Pull { what, entry, size, repository, vouched, .. } => {
            let vouched = match vouched {
                Vouched::Lock => "pinned by the lock".to_owned(),
                Vouched::Signature { principal } => format!("signed by {principal}"),
                Vouched::Nobody { .. } => "nobody vouches for it".to_owned(),
            };
            let size = bytes(*size);
            (
                true,
                line(
                    "pull",
                    format!("{what}: {size} from {repository}, {vouched} ({})", entry.name()),
                ),
            )
        }
        CacheAct::Build { what, on, .. } => {
            let on = match on {
                BuildBase::Nothing => "",
                BuildBase::Overlay => ", on an overlay",
                BuildBase::Copy => ", on a private copy",
            };
            (false, line("build", format!("{what}{on}")))
        }
        CacheAct::Make { what, .. } => (false, line("make", format!("{what}, in the container"))),
        CacheAct::Leave { what, .. } => {
            (false, line("leave", format!("{what}, which is not stored")))
        }
        CacheAct::Install { what, by, .. } => {
            let how = if *by == StorageMode::Overlay { "an overlay on" } else { "a copy of" };
            (true, line("install", format!("{how} the stored tree ({what})")))
        }
        CacheAct::Personalise { decided_by } => {
            let text = format!("the container's name and keys, where {decided_by} needs them");
            (false, line("write", text))
        }
        CacheAct::WriteName { files, .. } => {
            let files: Vec<_> = files.iter().map(|file| path_of(file)).collect();
            (true, line("write", format!("the container's name into {}", some(&files))))
        }
        CacheAct::PutSidecar { .. } => {
            (true, line("write", "what the template leaves beside the rootfs".to_owned()))
        }
        CacheAct::WriteConfig { text } => {
            let text = String::from_utf8_lossy(text);
            (false, text.lines().map(|line| ("config", line.to_owned())).collect())
        }
        CacheAct::MakeKeys { keys } => {
            let paths: Vec<_> = keys.iter().map(|key| key.path.clone()).collect();
            (true, line("make", some(&paths)))
        }
        CacheAct::Check { sees, .. } => {
            let sees = match sees {
                CheckSees::Container => "in the container",
                CheckSees::Layer => "in a view of the layer",
            };
            (false, line("check", format!("on the host, {sees}")))
        }
    }
}

/// Writes a number of bytes for people: `12.3 MB`.
pub(crate) fn bytes(count: u64) -> String {
    const UNITS: [&str; 4] = ["kB", "MB", "GB", "TB"];
    if count < 1000 {
        return format!("{count} bytes");
    }
    let (mut tenths, mut unit) = (count / 100, 0);
    while tenths >= 10_000 && unit + 1 < UNITS.len() {
        (tenths, unit) = (tenths / 1000, unit + 1);
    }
    format!("{}.{} {}", tenths / 10, tenths % 10, UNITS[unit])
}

fn path_of(file: &[u8]) -> String {
    format!("/{}", String::from_utf8_lossy(file))
}

/// Returns the first of some paths, and how many there are more.
fn some(paths: &[String]) -> String {
    let shown = paths[..paths.len().min(MOST_FILES)].join(", ");
    match paths.len().saturating_sub(MOST_FILES) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}
