//! The config of a container that is upgraded: the lines of its role, as they were and as they are now, put into it.

use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;

use super::Rebase;
use super::choices::Named;
use crate::chain::judge_config_file;
use crate::lxc::config;
use crate::lxc::revision::{
    self, ConfigChoice, ConfigConflict, MadeLine, align, completed, revised,
};
use crate::merge::Side;
use crate::observe::lxc::HostLxc;
use crate::plan::{EntryId, Plan};
use crate::record::Record;
use crate::shell;
use crate::source::Source;
use crate::store::Entry;

/// What marks the lines that a container was given in a text where the role's are around them.
const GIVEN: &str = "\u{1}";

/// The config of the next generation.
#[derive(Debug)]
pub(super) struct NextConfig {
    pub text: Vec<u8>,
    /// Its lines as the record has them: without what somebody has edited.
    pub lines: Option<Vec<String>>,
    /// Those that the container was made with.
    pub given: Vec<String>,
}

impl Rebase<'_> {
    /// Returns the config of the next generation, with what the record has of it.
    pub(super) fn configs(
        &self,
        live: &[u8],
        made: &[u8],
        record: &Record,
        plan: &Plan,
    ) -> io::Result<Result<NextConfig, Vec<ConfigConflict>>> {
        let entry = record.stored.as_ref().and_then(|stored| EntryId::parse(&stored.entry));
        let entry = entry.ok_or_else(|| io::Error::other("what the role makes is not stored"))?;
        let new = Entry::read(self.store, entry)?;
        let sides = [(self.old, self.record), (&new, record)];
        let made = String::from_utf8_lossy(made);
        let mut made_now = config::effective(&made);
        made_now.retain(|line| is_role_s(record, line));
        let mut made_before = self.record.config.clone().unwrap_or_default();
        made_before.retain(|line| is_role_s(self.record, line));
        let (given, mut of_steps) = match &self.record.given {
            Some(given) => (given.clone(), None),
            None => {
                let (given, of_steps) = guessed(sides, &made_before, &made_now, plan);
                (given, Some(of_steps))
            }
        };
        let [old, new] = sides.map(|side| made_lines(side, &given, plan));
        // What else was made is of steps: that is written nowhere else.
        let old = completed(old, &made_before, |line| match &mut of_steps {
            None => true,
            Some(lines) => taken(lines, line),
        });
        let new = completed(new, &made_now, |_| true);
        let choose = |key: &str| {
            self.choices.on(Named::Key(key.as_bytes())).map(|side| match side {
                Side::New => ConfigChoice::New,
                Side::Own => ConfigChoice::Own,
            })
        };
        let lower = config::last_value(&made, "lxc.rootfs.path").and_then(lower_of);
        let on_lower = |text: &[u8]| {
            config::rewrite(text, |key, value| {
                let there = lower_of(config::unquoted(value))?;
                let lower = lower.as_ref().filter(|_| key == "lxc.rootfs.path")?;
                Some(config::unquoted(value).replacen(&there, lower, 1))
            })
        };
        let text = match revised(live, &old, &new, choose) {
            Ok(text) => on_lower(&text),
            Err(conflicts) => return Ok(Err(conflicts)),
        };
        if let Some(why) = not_loaded(live, &text) {
            return Err(io::Error::other(why));
        }
        let lines = self.record.config.as_ref().map(|before| {
            let before = before.join("\n");
            // What somebody has edited is none of what was made.
            let text = revised(before.as_bytes(), &old, &new, |_| Some(ConfigChoice::New));
            let text = on_lower(&text.unwrap_or_else(|_| before.into_bytes()));
            config::effective(&String::from_utf8_lossy(&text))
        });
        Ok(Ok(NextConfig { text, lines, given }))
    }
}

/// Returns the lines that a container was made with, and those that its steps have written, where the record does not
/// tell: of an earlier version of the program. What steps have written is known of the role as it is now.
fn guessed(
    [before, now]: [(&Entry, &Record); 2],
    made_before: &[String],
    made_now: &[String],
    plan: &Plan,
) -> (Vec<String>, Vec<String>) {
    let mut written = Vec::new();
    completed(made_lines(now, &[], plan), made_now, |line| {
        written.push(line.to_owned());
        true
    });
    // Some templates part what a container is given.
    let marks = ["lxc.given", "lxc.net.0.given"].map(str::to_owned);
    let mut given = revision::given(made_before, &made_lines(before, &marks, plan));
    written.retain(|line| taken(&mut given, line));
    (given, written)
}

/// Takes the last of equal lines, and tells whether there was one.
fn taken(lines: &mut Vec<String>, line: &str) -> bool {
    let at = lines.iter().rposition(|other| other == line);
    at.map(|at| lines.remove(at)).is_some()
}

/// Says what LXC does not take of a config that it took as it was before.
fn not_loaded(before: &[u8], now: &[u8]) -> Option<String> {
    let lxc = HostLxc::default();
    let faults = |text: &[u8]| -> Vec<(String, String)> {
        let text = String::from_utf8_lossy(text).into_owned();
        let source = Arc::new(Source::new("config", "/", text));
        let report = judge_config_file(&source, &lxc);
        let faults = report.sorted().into_iter().filter_map(|fault| {
            let line = source.text.get(fault.at.as_ref()?.span.clone())?;
            Some((line.to_owned(), fault.message.clone()))
        });
        faults.collect()
    };
    let known = faults(before);
    let (line, why) = faults(now).into_iter().find(|fault| !known.contains(fault))?;
    let line = shell::one_line(&line);
    Some(format!(
        "LXC does not load a config with its own lines and those of the role, because of `{line}`: {why}; edit its config \
         so that both can stand there"
    ))
}

/// Returns the lines of a config that a container of an entry has just when it is made, where it was `given` some.
fn made_lines((entry, record): (&Entry, &Record), given: &[String], plan: &Plan) -> Vec<MadeLine> {
    let mut own = String::new();
    for line in given {
        own.extend([line.as_str(), GIVEN, "\n"]);
    }
    let text = entry.contents().config_of(own.as_bytes(), &plan.container);
    let mut text = String::from_utf8_lossy(&text).into_owned();
    // What was not stored was added by the layers themselves.
    for layer in record.layers.iter().filter(|layer| layer.supply.is_none()) {
        if !layer.config.is_empty() {
            let note = config::layer_note(&layer.name);
            text.extend([note.as_str(), "\n"]);
            layer.config.iter().for_each(|line| text.extend([line.as_str(), "\n"]));
        }
    }
    let made = |line: &str| {
        let is_given = line.ends_with(GIVEN);
        MadeLine { text: line.trim_end_matches(GIVEN).to_owned(), is_given }
    };
    let mut lines: Vec<_> = text.lines().map(|line| made(line.trim())).collect();
    lines.retain(|line| line.is_given || is_role_s(record, &line.text));
    lines
}

/// Tells whether a line can be the role's: an address is none of those, unless a layer has given it.
fn is_role_s(record: &Record, line: &str) -> bool {
    let mut layers = record.layers.iter().flat_map(|layer| &layer.config);
    !config::is_address(key_of(line)) || layers.any(|other| other == line)
}

/// Returns the key of a line of a config.
pub(super) fn key_of(line: &str) -> &str {
    line.split('=').next().unwrap_or_default().trim()
}

/// Returns the lines of a config that go, and those that come; where the tree is belongs to none of them.
pub(super) fn config_lines(before: &[u8], now: &[u8]) -> (Vec<String>, Vec<String>) {
    let [before, now] = [before, now].map(|text| {
        let mut lines = config::effective(&String::from_utf8_lossy(text));
        lines.retain(|line| !key_of(line).starts_with("lxc.rootfs."));
        lines
    });
    // A line that only moves goes and comes.
    let (stays, still): (BTreeSet<_>, BTreeSet<_>) = align(&before, &now).into_iter().unzip();
    let others = |lines: Vec<String>, but: &BTreeSet<usize>| {
        let lines = lines.into_iter().enumerate().filter(|(at, _)| !but.contains(at));
        lines.map(|(_, line)| line).collect()
    };
    (others(before, &stays), others(now, &still))
}

/// Returns the lower directory of an overlay as a config names it.
fn lower_of(value: &str) -> Option<String> {
    value.strip_prefix("overlay:")?.rsplit_once(':').map(|(lower, _)| lower.to_owned())
}
