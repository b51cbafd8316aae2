//! The values of variables, and their place in texts.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::SecretVariable;
use crate::diagnostic::{Diagnostic, Report};
use crate::manifest::{LayerName, Text, TextPart, Value};
use crate::shell;

/// What a layer sees: the values of its file's variables and of those that are always there.
#[derive(Debug, Clone, Default)]
pub struct Values {
    known: Arc<BTreeMap<String, Binding>>,
    /// The secrets that the layer lists.
    listed: BTreeSet<String>,
    /// Whether there are variables that could not be read.
    is_partial: bool,
}

/// What is known of a variable.
#[derive(Debug, Clone)]
pub(super) enum Binding {
    /// Its value.
    Value(Value),
    /// The layer whose pre steps hand it inward.
    From(LayerName),
    /// Where it is read from.
    Secret(Arc<SecretVariable>),
    /// Nothing, and that is reported already.
    Faulty,
}

impl Values {
    pub(super) fn new(known: BTreeMap<String, Binding>) -> Self {
        Self { known: Arc::new(known), listed: BTreeSet::new(), is_partial: false }
    }

    /// Returns what a layer sees that lists these secrets.
    pub(super) fn listing(&self, secrets: impl IntoIterator<Item = String>) -> Self {
        let listed = secrets.into_iter().collect();
        Self { known: Arc::clone(&self.known), listed, is_partial: self.is_partial }
    }

    /// Returns them as those of a role that could not be read as a whole: a name that is missing is no fault.
    pub(super) fn partial(self) -> Self {
        Self { is_partial: true, ..self }
    }

    pub(super) fn is_partial(&self) -> bool {
        self.is_partial
    }

    /// Returns the values by name; secrets, and those that are decided only during a run, are left
    /// out.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.known.iter().filter_map(|(name, known)| match known {
            Binding::Value(value) => Some((name.as_str(), value)),
            _ => None,
        })
    }

    /// Returns the variables that pre steps hand inward, each with the layer that does.
    pub fn handed(&self) -> impl Iterator<Item = (&str, &LayerName)> {
        self.known.iter().filter_map(|(name, known)| match known {
            Binding::From(layer) => Some((name.as_str(), layer)),
            _ => None,
        })
    }

    /// Returns the secrets that the layer lists, by the names that it knows them by.
    pub fn secrets(&self) -> impl Iterator<Item = (&str, &Arc<SecretVariable>)> {
        self.known.iter().filter_map(|(name, known)| match known {
            Binding::Secret(variable) if self.listed.contains(name) => {
                Some((name.as_str(), variable))
            }
            _ => None,
        })
    }

    /// Returns a secret that the layer lists.
    pub(super) fn secret(&self, name: &str) -> Option<&Arc<SecretVariable>> {
        match self.known.get(name) {
            Some(Binding::Secret(variable)) if self.listed.contains(name) => Some(variable),
            _ => None,
        }
    }

    pub(super) fn known(&self, name: &str) -> Option<&Binding> {
        self.known.get(name)
    }

    /// Returns the names of all variables.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.known.keys().map(String::as_str)
    }

    /// Puts the values into a text, and notes the names that it uses. A name without a value is
    /// reported, and the text is nothing.
    pub(super) fn fill(
        &self,
        text: &Text,
        used: &mut BTreeSet<String>,
        report: &mut Report,
    ) -> Option<String> {
        let mut filled = String::new();
        let mut sound = true;
        for part in &text.parts {
            let (name, at) = match part {
                TextPart::Literal(literal) => {
                    filled.push_str(literal);
                    continue;
                }
                TextPart::Variable { name, at } => (name, at),
            };
            if !used.contains(name) {
                used.insert(name.clone());
            }
            match self.known.get(name) {
                Some(Binding::Value(value)) => {
                    let value = value.to_string();
                    if shell::has_control(&value) {
                        sound = false;
                        let message = format!("the value of `{name}` holds a control character");
                        let help = "it can stand in a file with `render = true`, and in a step's \
                                    environment";
                        report.push(Diagnostic::error(at, message).help(help));
                    }
                    // A mebibyte of names times a mebibyte of value is no text that anybody wants.
                    if filled.len() + value.len() > crate::manifest::LARGEST {
                        let message = "the text is longer than 1 MiB with its values put in";
                        report.push(Diagnostic::error(at, message));
                        return None;
                    }
                    filled.push_str(&value);
                    continue;
                }
                Some(Binding::From(layer)) => {
                    let message =
                        format!("`{name}` is decided only during the run, by a pre of `{layer}`");
                    let help = "steps get it as an environment variable";
                    report.push(Diagnostic::error(at, message).help(help));
                }
                Some(Binding::Secret(_)) => report.push(secret_in_text(name, at)),
                Some(Binding::Faulty) => {}
                None if self.is_partial => {}
                None => report.push_error(|| {
                    let message = format!("no variable is named `{name}`");
                    Diagnostic::error(at, message).did_you_mean(name, self.names())
                }),
            }
            sound = false;
        }
        sound.then_some(filled)
    }
}

/// Returns the fault of a secret where others could read it.
fn secret_in_text(name: &str, at: &crate::source::At) -> Diagnostic {
    let message = format!("`{name}` is a secret, and others could read it here");
    let help = format!(
        "a layer with `secrets = [\"{name}\"]` gets it in the environment of its steps, and in its \
         files with `render = true`"
    );
    Diagnostic::error(at, message).help(help)
}
