//! The values of variables, and their place in texts.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use super::Container;
use crate::diagnostic::{Diagnostic, Report};
use crate::manifest::{LayerName, Manifest, Part, Text, Value, VariableSource};
use crate::shell;

/// The values of a manifest's variables and of those that are always there.
#[derive(Debug, Clone, Default)]
pub struct Values {
    known: BTreeMap<String, Source>,
    /// The names that something asked for.
    used: RefCell<BTreeSet<String>>,
}

#[derive(Debug, Clone)]
enum Source {
    Value(Value),
    From(LayerName),
}

impl Values {
    pub(super) fn new(manifest: &Manifest, container: &Container<'_>) -> Self {
        let always = [("lxc.name", container.name), ("lxc.arch", container.arch)];
        let always = always
            .map(|(name, value)| (name.to_owned(), Source::Value(Value::String(value.to_owned()))));
        let given = manifest.variables.iter().map(|variable| {
            let source = match &variable.source {
                VariableSource::Value(value) => Source::Value(value.clone()),
                VariableSource::From(layer) => Source::From(layer.clone()),
            };
            (variable.name.clone(), source)
        });
        Self { known: given.chain(always).collect(), used: RefCell::default() }
    }

    /// Returns the values by name, those that are decided only during a run left out.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.known.iter().filter_map(|(name, source)| match source {
            Source::Value(value) => Some((name.as_str(), value)),
            Source::From(_) => None,
        })
    }

    /// Notes that a name is used.
    pub(super) fn use_name(&self, name: &str) {
        self.used.borrow_mut().insert(name.to_owned());
    }

    pub(super) fn was_used(&self, name: &str) -> bool {
        self.used.borrow().contains(name)
    }

    /// Puts the values into a text, and reports every name that has none.
    pub(super) fn fill(&self, text: &Text, report: &mut Report) -> String {
        let mut filled = String::new();
        for part in &text.parts {
            match part {
                Part::Literal(literal) => filled.push_str(literal),
                Part::Variable { name, at } => {
                    self.use_name(name);
                    match self.known.get(name) {
                        Some(Source::Value(value)) => {
                            let value = value.to_string();
                            if shell::has_control(&value) {
                                let message =
                                    format!("the value of `{name}` holds a control character");
                                let help = "it can stand in a file with `render = true`, and in a \
                                            step's environment";
                                report.push(Diagnostic::error(at, message).help(help));
                            }
                            filled.push_str(&value);
                        }
                        Some(Source::From(layer)) => {
                            let message = format!(
                                "`{name}` is decided only during the run, by a pre of `{layer}`"
                            );
                            let help = "steps get it as an environment variable";
                            report.push(Diagnostic::error(at, message).help(help));
                        }
                        None => {
                            let known = self.known.keys().map(String::as_str);
                            let message = format!("no variable is named `{name}`");
                            report.push(Diagnostic::error(at, message).did_you_mean(name, known));
                        }
                    }
                }
            }
        }
        filled
    }
}
