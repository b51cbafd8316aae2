//! A plan as text: the nest, indented as it wraps.

use std::io::{self, Write};
use std::path::Path;

use super::drop::{Bytes, Content, EntryKind, FileDrop, TreeEntry};
use super::nest::{Act, Inner, Inside, Layer, Place, Plan, Step, Template, Upstream, Variable};
use super::status::CacheStatus;
use crate::digest::Digest;
use crate::lxc::config;
use crate::manifest::Owner;
use crate::shell;

/// How much of a plan is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Detail {
    /// A line for each thing.
    Lines,
    /// Whole texts of steps, the upstream's environment, and the entries of trees as well.
    Whole,
}

/// Deeper layers are not indented any further: the lines of a deep nest would grow without bound.
const DEEPEST_INDENT: usize = 16;

/// How wide the column of kinds is.
const KIND: usize = 8;

/// Writes a plan as text.
pub fn text(plan: &Plan, detail: Detail, to: &mut dyn Write) -> io::Result<()> {
    let manifest = printable_path(&plan.manifest.path);
    let role = plan.manifest.description.as_deref().unwrap_or("a container");
    writeln!(to, "{}: {}", plan.container.name, shell::one_line(role))?;
    writeln!(to, "  manifest {manifest}")?;
    writeln!(to, "  rootfs   {}", printable_path(&plan.container.rootfs))?;
    for variable in &plan.variables {
        writeln!(to, "  variable {}", shown(variable))?;
    }
    if let Some(why) = &plan.storage.unused {
        writeln!(to, "  store    not used: {}", shell::one_line(why))?;
    }
    writeln!(to)?;
    Show { to, detail, depth: 0 }.layer(&plan.layer)
}

struct Show<'a> {
    to: &'a mut dyn Write,
    detail: Detail,
    depth: usize,
}

impl Show<'_> {
    fn layer(&mut self, layer: &Layer) -> io::Result<()> {
        let standing = standing(layer.standing.as_ref());
        self.line("layer", format_args!("{}{standing}", layer.name), &layer.at)?;
        self.depth += 1;
        self.why(layer.standing.as_ref())?;
        if self.detail == Detail::Whole {
            for variable in &layer.variables {
                self.more("variable", format_args!("{}", shown(variable)))?;
            }
        }
        for (name, _) in &layer.secrets {
            self.more("secret", format_args!("{name}"))?;
        }
        for step in &layer.before {
            self.step(step)?;
        }
        for name in &layer.hands {
            self.more("hands", format_args!("{name} (decided by the run)"))?;
        }
        match &layer.inner {
            Inner::Layer(inner) => self.layer(inner)?,
            Inner::Upstream(upstream) => self.upstream(upstream)?,
        }
        for act in &layer.after {
            match act {
                Act::Step(step) => self.step(step)?,
                Act::Drop(file) => self.drop(file)?,
                Act::Config(lines) => {
                    for line in lines {
                        let text = config::line(&line.key, &line.value);
                        self.line("config", format_args!("{}", shell::one_line(&text)), &line.at)?;
                    }
                }
            }
        }
        for step in &layer.finally {
            self.step(step)?;
        }
        self.depth -= 1;
        Ok(())
    }

    /// Says more of where a layer comes from.
    fn why(&mut self, standing: Option<&CacheStatus>) -> io::Result<()> {
        if self.detail != Detail::Whole {
            return Ok(());
        }
        match standing {
            Some(CacheStatus::Stored { entry }) => {
                self.more("stored", format_args!("{entry}"))?;
            }
            Some(CacheStatus::Pulled { entry, .. }) => {
                self.more("pulled", format_args!("{entry}"))?;
            }
            Some(CacheStatus::Built { why, .. }) => {
                for line in why {
                    self.more("misses", format_args!("{}", shell::one_line(line)))?;
                }
            }
            Some(CacheStatus::Always { why }) => {
                self.more("runs", format_args!("{}", shell::one_line(why)))?;
            }
            Some(CacheStatus::Decided { .. } | CacheStatus::Nothing) | None => {}
        }
        Ok(())
    }

    fn upstream(&mut self, upstream: &Upstream) -> io::Result<()> {
        let template = shell::one_line(&upstream.template);
        let standing = standing(upstream.standing.as_ref());
        self.line("template", format_args!("{template}{standing}"), &upstream.at)?;
        let path = match &upstream.program {
            Template::Busybox { path } => {
                let path = printable_path(path);
                self.more("", format_args!("a small rootfs of {path}, made by this program"))?;
                return self.why(upstream.standing.as_ref());
            }
            Template::File { path, digest, is_manifest } => {
                let kind = if *is_manifest { "a manifest, " } else { "" };
                let pinned = match &upstream.pin {
                    None => "",
                    Some((pin, _)) if pin == digest => ", as pinned",
                    Some(_) => ", which is NOT what the manifest pins: the run would end here",
                };
                let digest = self.digest(digest);
                self.more("", format_args!("{kind}{digest}{pinned}"))?;
                path
            }
        };
        let words = [path.as_os_str()].into_iter().chain(upstream.args.iter().map(AsRef::as_ref));
        self.more("", format_args!("{}", shell::command(words)))?;
        if upstream.standing.as_ref().is_some_and(CacheStatus::is_stored) {
            self.more(
                "",
                format_args!(
                    "built for the store; the placeholder is replaced by the container's name"
                ),
            )?;
        }
        self.why(upstream.standing.as_ref())?;
        if self.detail == Detail::Whole {
            for (name, value) in &upstream.environment {
                let name = shell::word(name);
                self.more("", format_args!("{name}={}", shell::word(value)))?;
            }
        }
        Ok(())
    }

    fn step(&mut self, step: &Step) -> io::Result<()> {
        let text = step.argv.last().map(String::as_str).unwrap_or_default();
        let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
        let first = shell::one_line(lines.next().unwrap_or_default());
        let dots = if lines.next().is_some() { " ..." } else { "" };
        let timeout = match step.timeout {
            Some(timeout) => format!(" [timeout {timeout}]"),
            None => String::new(),
        };
        let script = match step.script {
            Some(digest) => format!(" {}", self.digest(&digest)),
            None => String::new(),
        };
        let place = match &step.place {
            Place::Host => String::new(),
            Place::Rootfs(inside) => place(inside),
        };
        let title = match &step.title {
            Some(title) => format!("{}: ", shell::one_line(title)),
            None => String::new(),
        };
        let kind = step.phase.to_string();
        self.line(&kind, format_args!("{title}{first}{dots}{script}{place}{timeout}"), &step.at)?;
        if self.detail == Detail::Whole {
            let shell = shell::command(&step.argv[..step.argv.len().saturating_sub(1)]);
            let directory = printable_path(&step.directory);
            self.more("", format_args!("in {directory}, by {shell}"))?;
            if let Place::Rootfs(inside) = &step.place {
                self.inside(inside)?;
            }
            for line in text.lines() {
                self.more("", format_args!("> {}", shell::one_line(line)))?;
            }
        }
        Ok(())
    }

    fn inside(&mut self, inside: &Inside) -> io::Result<()> {
        if let Some(script) = &inside.script {
            self.more("", format_args!("the bytes of {}", printable_path(script)))?;
        }
        for (name, value) in inside.environment.iter() {
            self.more("", format_args!("{}={}", shell::word(name), shell::word(value)))?;
        }
        Ok(())
    }

    fn drop(&mut self, file: &FileDrop) -> io::Result<()> {
        let owner = file.owner.as_ref().unwrap_or(&Owner::ROOT);
        let path = &file.path;
        let exists = match file.if_exists {
            crate::manifest::IfExists::Replace => "",
            crate::manifest::IfExists::Keep => " [kept if it exists]",
            crate::manifest::IfExists::Error => " [must not exist]",
        };
        match &file.content {
            Content::File { source, size, digest, mode } => {
                let source = match source {
                    Bytes::Inline(_) => String::new(),
                    Bytes::Source(path) => format!(" from {}", printable_path(path)),
                };
                let digest = self.digest(digest);
                let text = format_args!("{path}  {mode} {owner} {size} B {digest}{source}{exists}");
                self.line("file", text, &file.at)
            }
            Content::Tree { source, mode, entries, .. } => {
                let mode = mode.map(|mode| format!(" {mode}")).unwrap_or_default();
                let summary = summary(entries);
                let source = printable_path(source);
                let text = format_args!("{path} {mode} {owner} {summary} from {source}{exists}");
                self.line("tree", text, &file.at)?;
                if self.detail == Detail::Whole {
                    for entry in entries.iter() {
                        self.entry(path.as_ref(), entry)?;
                    }
                }
                Ok(())
            }
            Content::Rendered { secrets, mode, .. } => {
                let secrets = secrets.join(", ");
                let text =
                    format_args!("{path}  {mode} {owner} rendered with secret {secrets}{exists}");
                self.line("file", text, &file.at)
            }
            Content::Fetched { url, digest, mode } => {
                let digest = self.digest(digest);
                let url = shell::one_line(url);
                let text = format_args!("{path}  {mode} {owner} {digest} from {url}{exists}");
                self.line("file", text, &file.at)
            }
            Content::Symlink { target } => {
                let target = shell::one_line(target);
                let text = format_args!("{path} -> {target}  {owner}{exists}");
                self.line("symlink", text, &file.at)
            }
            Content::Directory { mode } => {
                // Of one that is there already, only what the manifest says is changed.
                let new = match (mode, &file.owner) {
                    (None, None) => " [if it is new]",
                    (None, Some(_)) => " [the mode if it is new]",
                    (Some(_), None) => " [the owner if it is new]",
                    (Some(_), Some(_)) => "",
                };
                let mode = mode.map_or_else(|| "0755".to_owned(), |mode| mode.to_string());
                self.line("mkdir", format_args!("{path}  {mode} {owner}{new}{exists}"), &file.at)
            }
            Content::Remove => self.line("remove", format_args!("{path}{exists}"), &file.at),
        }
    }

    fn entry(&mut self, top: &Path, entry: &TreeEntry) -> io::Result<()> {
        let path = printable_path(&top.join(&entry.path));
        match &entry.kind {
            EntryKind::Directory { mode, .. } => self.more("", format_args!("{path}/  {mode}")),
            EntryKind::File { mode, size, digest, .. } => {
                self.more("", format_args!("{path}  {mode} {size} B {digest}"))
            }
            EntryKind::Symlink { target } => {
                self.more("", format_args!("{path} -> {}", printable_path(target)))
            }
        }
    }

    /// Returns a digest as it is shown: enough of it to tell two apart, or all of it.
    fn digest(&self, digest: &Digest) -> String {
        match self.detail {
            Detail::Lines => format!("sha256:{}", digest.short()),
            Detail::Whole => digest.to_string(),
        }
    }

    /// Writes a line with the place that gave it.
    fn line(
        &mut self,
        kind: &str,
        text: std::fmt::Arguments<'_>,
        at: &crate::source::At,
    ) -> io::Result<()> {
        self.write(format_args!("{kind:KIND$} {text}  ({at})"))
    }

    /// Writes a line that belongs to the one before.
    fn more(&mut self, kind: &str, text: std::fmt::Arguments<'_>) -> io::Result<()> {
        self.write(format_args!("{kind:KIND$} {text}"))
    }

    /// Writes a line in one go: all that is written is looked through for what drives a terminal.
    fn write(&mut self, text: std::fmt::Arguments<'_>) -> io::Result<()> {
        let bars = "| ".repeat(self.depth.min(DEEPEST_INDENT));
        let line = match self.depth {
            ..=DEEPEST_INDENT => format!("{bars}{text}\n"),
            depth => format!("{bars}[{depth}] {text}\n"),
        };
        self.to.write_all(line.as_bytes())
    }
}

/// Shows a variable with its value, and where that came from.
fn shown(variable: &Variable) -> String {
    let name = &variable.name;
    let origin = match &variable.origin {
        Some(origin) => origin.to_string(),
        None => variable.at.to_string(),
    };
    match (&variable.value, variable.secret) {
        (_, true) => format!("{name} = [secret]  ({origin})"),
        (Some(value), _) => format!("{name} = {}  ({origin})", shell::word(value)),
        (None, _) => format!("{name}  ({origin})"),
    }
}

/// Says where a step inside the rootfs runs, and what it has there besides what all have.
fn place(inside: &Inside) -> String {
    let sandbox = &inside.sandbox;
    let mut words = vec!["rootfs".to_owned()];
    if sandbox.network {
        words.push("network".to_owned());
        if !sandbox.resolver {
            words.push("no resolver".to_owned());
        }
    }
    words.extend(sandbox.capabilities.iter().map(|capability| format!("+{capability}")));
    words.extend(sandbox.cache.iter().map(|path| format!("cache {path}")));
    format!(" [{}]", words.join(", "))
}

/// Says where a layer comes from.
/// Returns where a layer comes from, in a word or two behind its name.
pub(crate) fn standing(standing: Option<&CacheStatus>) -> String {
    match standing {
        Some(CacheStatus::Stored { .. }) => "  [stored]".to_owned(),
        Some(CacheStatus::Pulled { .. }) => "  [in registry]".to_owned(),
        Some(CacheStatus::Built { .. }) => "  [to build]".to_owned(),
        Some(CacheStatus::Decided { by }) => format!("  [decided by pre of {by}]"),
        Some(CacheStatus::Always { .. }) => "  [always runs]".to_owned(),
        Some(CacheStatus::Nothing) | None => String::new(),
    }
}

fn summary(entries: &[TreeEntry]) -> String {
    let mut files = 0_u64;
    let mut bytes = 0;
    for entry in entries {
        if let EntryKind::File { size, .. } = entry.kind {
            files += 1;
            bytes += size;
        }
    }
    let others = entries.len() as u64 - files;
    let plural = if files == 1 { "" } else { "s" };
    format!("{files} file{plural} of {bytes} B, {others} directories and links")
}

fn printable_path(path: &Path) -> String {
    shell::one_line(&path.to_string_lossy())
}
