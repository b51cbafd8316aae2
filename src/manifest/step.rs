//! From the TOML tree to the manifest: steps.

use toml::de::DeValue;

use super::decode::Decoder;
use super::tree::{Node, Table};
use super::{Action, Duration, Phase, Place, Step};
use crate::diagnostic::Diagnostic;

/// The longest title of a step, in characters.
const LONGEST_TITLE: usize = 80;

impl Decoder {
    /// Reads the steps of one kind: a string, a table, or a list of either.
    pub(super) fn steps(
        &mut self,
        table: &mut Table<'_>,
        key: &'static str,
        phase: Phase,
    ) -> Vec<Step> {
        let Some(entry) = table.take(key) else { return Vec::new() };
        let nodes = entry.node.one_or_many();
        nodes.iter().filter_map(|node| self.step(node, phase)).collect()
    }

    fn step(&mut self, node: &Node<'_>, phase: Phase) -> Option<Step> {
        let at = node.at.clone();
        if let DeValue::String(text) = node.value {
            let action = self.run(text, node)?;
            return Some(Step {
                title: None,
                action,
                shell: None,
                timeout: None,
                timeout_at: None,
                place: Place::Host,
                at,
            });
        }
        let DeValue::Table(_) = node.value else {
            let help =
                format!("write `{phase} = \"command\"` or `{phase} = {{ run = \"command\" }}`");
            self.report.push(node.not("a string or a table").help(help));
            return None;
        };
        let mut table = Table::of(node, "a step", &mut self.report)?;
        let place = self.place(&mut table, phase);
        let title = table.take("title");
        let run = table.take("run");
        let script = table.take("script");
        let shell = table.take("shell");
        let timeout = table.take("timeout");
        table.reject_later("each", "write one step for each", &mut self.report);
        table.finish("a step", |_| None, &mut self.report);
        let title = title.and_then(|entry| self.title(&entry.node));
        let shell = shell.and_then(|entry| self.shell(&entry.node));
        let timeout_at = timeout.as_ref().map(|entry| entry.node.at.clone());
        let timeout = timeout.and_then(|entry| self.duration(&entry.node));
        let action = match (run, script) {
            (Some(run), None) => match run.node.value {
                DeValue::String(text) => self.run(text, &run.node)?,
                _ => {
                    self.report.push(run.node.not("a string"));
                    return None;
                }
            },
            (None, Some(script)) => {
                let text = self.string(&script.node)?;
                let path = self.host_path(&text, &script.node.at, "a script")?;
                let path = self.source.dir.join(path);
                // The path is what a message about the script points at.
                let at = script.node.at.clone();
                let action = Action::Script(path);
                return Some(Step { title, action, shell, timeout, timeout_at, place, at });
            }
            (Some(_), Some(script)) => {
                let message = "a step has `run` or `script`, not both";
                let help = "write two steps: `post = [{ run = \"…\" }, { script = \"…\" }]`";
                self.report.push(Diagnostic::error(&script.key_at, message).help(help));
                return None;
            }
            (None, None) => {
                let message = "a step needs `run` or `script`";
                self.report.push(Diagnostic::error(&at, message).help("`run = \"command\"`"));
                return None;
            }
        };
        Some(Step { title, action, shell, timeout, timeout_at, place, at })
    }

    /// Reads what people call a step: a few words in one line.
    fn title(&mut self, node: &Node<'_>) -> Option<String> {
        let text = self.string(node)?;
        if !self.no_control(&text, &node.at, "the title of a step") {
            return None;
        }
        let title = text.trim();
        let length = title.chars().count();
        if length == 0 || length > LONGEST_TITLE {
            let message = format!("a title has 1 to {LONGEST_TITLE} characters");
            let help = "it says in a few words what the step is for: `title = \"Install nginx\"`";
            self.report.push(Diagnostic::error(&node.at, message).help(help));
            return None;
        }
        Some(title.to_owned())
    }

    fn run(&mut self, text: &str, node: &Node<'_>) -> Option<Action> {
        if text.contains('\0') {
            self.report.push(Diagnostic::error(&node.at, "a NUL in a command"));
            return None;
        }
        if text.trim().is_empty() {
            let message = "an empty command";
            self.report.push(Diagnostic::error(&node.at, message).help("leave the step out"));
            return None;
        }
        Some(Action::Run(text.to_owned()))
    }

    /// Reads the shell of a step, as a command line without quoting.
    fn shell(&mut self, node: &Node<'_>) -> Option<Vec<String>> {
        let text = self.string(node)?;
        let words: Vec<_> = text.split_whitespace().map(str::to_owned).collect();
        if words.is_empty() || !self.no_control(&text, &node.at, "a shell") {
            let help =
                "write the shell and its options, as in `shell = \"/bin/bash -euo pipefail\"`";
            self.report.push(Diagnostic::error(&node.at, "a step needs a shell").help(help));
            return None;
        }
        Some(words)
    }

    pub(super) fn duration(&mut self, node: &Node<'_>) -> Option<Duration> {
        let help = "write a number and one of `s`, `m`, `h`, `d`, as in `\"2m\"`";
        let DeValue::String(text) = node.value else {
            self.report.push(node.not("a duration").help(help));
            return None;
        };
        let duration = Duration::parse(text);
        if duration.is_none() {
            let message = format!("`{text}` is not a duration");
            self.report.push(Diagnostic::error(&node.at, message).help(help));
        }
        duration
    }
}
