//! The plan of a role in short: which stored layers are not current, and what would change in a container.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::io::{self, Write};
use std::path::Path;

use serde::Serialize;

use super::file_difference::FileChange;
use super::role_difference::RoleDifference;
use crate::cache::{PlanDocument, SlotKind, bytes, label};
use crate::plan::{CacheStatus, Inner, Plan};
use crate::shell;

/// The plan of a role in short, as `plan --format json` writes it of several.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct RolePlan<'a> {
    /// The manifest as it was given.
    manifest: Cow<'a, str>,
    /// The exit status of `plan` for this role alone.
    pub(super) status: u8,
    /// Why it cannot be planned.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a str>,
    /// The stored layers that are not current.
    changes: Vec<LayerChange>,
    /// What would change in the container, with `--diff`.
    #[serde(skip_serializing_if = "Option::is_none")]
    diff: Option<&'a RoleDifference>,
    /// The plan itself; nothing, where there is none.
    plan: Option<PlanDocument<'a>>,
}

/// A stored layer that is not current.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct LayerChange {
    /// What: a layer, or the template of one.
    what: String,
    /// What the run does about it.
    act: LayerAct,
    /// Why.
    why: Vec<String>,
}

/// What a run does about a layer that is not stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
enum LayerAct {
    /// It is built.
    Build,
    /// It is pulled from a registry: it is current there.
    Pull,
    /// A `pre` step decides whether it is built.
    Decided,
    /// The store is not used: all is made in the container.
    Without,
}

impl LayerAct {
    fn word(self) -> &'static str {
        match self {
            Self::Build => "build",
            Self::Pull => "pull",
            Self::Decided => "decided by the run",
            Self::Without => "no store",
        }
    }
}

impl<'a> RolePlan<'a> {
    /// Returns what is to be shown of a plan.
    pub(super) fn of(
        manifest: &'a Path,
        status: u8,
        plan: PlanDocument<'a>,
        diff: Option<&'a RoleDifference>,
    ) -> Self {
        let (manifest, changes) = (manifest.to_string_lossy(), changes(plan.plan));
        Self { manifest, status, error: None, changes, diff, plan: Some(plan) }
    }

    /// Returns what is to be shown of a role that cannot be planned.
    pub(super) fn unusable(manifest: &'a Path, status: u8, why: &'a str) -> Self {
        let manifest = manifest.to_string_lossy();
        Self { manifest, status, error: Some(why), changes: Vec::new(), diff: None, plan: None }
    }

    /// Tells whether nothing of a plan would be built, as far as that is known before the run.
    pub(super) fn is_current(plan: &Plan) -> bool {
        changes(plan).iter().all(|change| change.act == LayerAct::Pull)
    }

    /// Writes it for people.
    pub(super) fn text(&self, to: &mut dyn Write) -> io::Result<()> {
        let manifest = shell::one_line(&self.manifest);
        if self.error.is_some() {
            // Why was said where errors are.
            return writeln!(to, "{manifest}: cannot be planned");
        }
        let changed = self.diff.is_some_and(|diff| !diff.is_empty());
        if self.changes.is_empty() && !changed {
            return writeln!(to, "{manifest}: current");
        }
        writeln!(to, "{manifest}:")?;
        for LayerChange { what, act, why } in &self.changes {
            let why = shell::one_line(&why.join("; "));
            let colon = if why.is_empty() { "" } else { ": " };
            writeln!(to, "  {}  {what}{colon}{why}", act.word())?;
        }
        self.diff.map_or(Ok(()), |diff| diff.text(true, to))
    }

    /// Writes several as a table of GitHub's Markdown.
    pub(super) fn table(roles: &[Self], to: &mut dyn Write) -> io::Result<()> {
        writeln!(to, "| role | layer | what changes | why |")?;
        writeln!(to, "|---|---|---|---|")?;
        roles.iter().try_for_each(|role| role.rows(to))
    }

    fn rows(&self, to: &mut dyn Write) -> io::Result<()> {
        let role = code(&self.manifest);
        if let Some(error) = self.error {
            return writeln!(to, "| {role} | | **cannot be planned** | {} |", code(error));
        }
        for LayerChange { what, act, why } in &self.changes {
            let why: Vec<String> = why.iter().map(|why| code(why)).collect();
            let (what, act) = (code(&what.replace('`', "")), act.word());
            writeln!(to, "| {role} | {what} | {act} | {} |", why.join("<br>"))?;
        }
        let empty = RoleDifference::default();
        let diff = self.diff.unwrap_or(&empty);
        for line in &diff.role {
            writeln!(to, "| {role} | | the role | {} |", code(line))?;
        }
        for file in &diff.files {
            let verb = match file.file.change {
                FileChange::Added => "adds",
                FileChange::Changed => "changes",
                FileChange::Removed => "removes",
            };
            let mut why = file.file.described();
            why.push(file.why());
            let (layer, path) = (code(&file.layer), code(&file.file.path));
            writeln!(to, "| {role} | {layer} | {verb} {path} | {} |", code(&why.join(", ")))?;
        }
        if self.changes.is_empty() && diff.is_empty() {
            writeln!(to, "| {role} | | current | |")?;
        }
        Ok(())
    }
}

/// Returns the stored layers of a plan that are not current, the innermost first.
fn changes(plan: &Plan) -> Vec<LayerChange> {
    let mut changes = Vec::new();
    for layer in plan.layers() {
        changes.extend(change(label(&layer.name, SlotKind::Layer), layer.standing.as_ref()));
        if let Inner::Upstream(upstream) = &layer.inner {
            let what = label(&layer.name, SlotKind::Upstream);
            changes.extend(change(what, upstream.standing.as_ref()));
        }
    }
    if let Some(why) = &plan.storage.unused {
        let (what, why) = ("all layers".to_owned(), vec![why.clone()]);
        changes.push(LayerChange { what, act: LayerAct::Without, why });
    }
    changes.reverse();
    changes
}

fn change(what: String, status: Option<&CacheStatus>) -> Option<LayerChange> {
    let (act, why) = match status? {
        CacheStatus::Built { why, .. } => (LayerAct::Build, why.clone()),
        CacheStatus::Pulled { size, .. } => (LayerAct::Pull, vec![bytes(*size)]),
        CacheStatus::Decided { by } => (LayerAct::Decided, vec![format!("by pre of {by}")]),
        CacheStatus::Stored { .. } | CacheStatus::Always { .. } | CacheStatus::Nothing => {
            return None;
        }
    };
    Some(LayerChange { what, act, why })
}

/// Returns a text as code for a cell of a table in Markdown, in which nothing of it means anything: it ends no
/// cell, is no link and no HTML, and calls nobody by name.
fn code(text: &str) -> String {
    let mut escaped = String::from("<code>");
    for character in shell::one_line(text).chars() {
        match character {
            '&' | '<' | '>' | '|' | '\\' | '`' | '*' | '_' | '~' | '[' | ']' | '(' | ')' | '#'
            | '!' | '$' | '@' | '{' | '}' | '^' => {
                let _ = write!(escaped, "&#{};", u32::from(character));
            }
            other => escaped.push(other),
        }
    }
    escaped.push_str("</code>");
    escaped
}

#[cfg(test)]
mod tests {
    use super::code;

    #[test]
    fn nothing_of_a_cell_is_markup() {
        assert_eq!(code("a/b-c.d: e → f, \"g\" = 1"), "<code>a/b-c.d: e → f, \"g\" = 1</code>");
        let hostile = "a|b\\|c\nd `x` <img src=x> @who #1 [l](u) **b** __i__ $m$ &amp;";
        let escaped = code(hostile);
        let inner = escaped.strip_prefix("<code>").unwrap().strip_suffix("</code>").unwrap();
        for markup in ["|", "\\", "\n", "`", "<", ">", "@", "[", "]", "*", "_", "$", "&amp;"] {
            assert!(!inner.contains(markup), "{markup} is in {inner}");
        }
        // Every hash stands in an entity.
        assert_eq!(inner.matches('#').count(), inner.matches("&#").count());
    }
}
