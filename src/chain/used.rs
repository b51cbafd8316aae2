//! Binding a reusable layer: it sees only its own variables, and `with` gives them their values.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::bind::{Binder, sees_all};
use super::resolve::brought;
use super::scope::{always, described, open, placed, warn_unused};
use super::values::Binding;
use super::{Layer, Origin, SecretVariable, Values, Variable};
use crate::diagnostic::{Diagnostic, Report};
use crate::manifest::{
    self, LayerFile, Text, TextPart, Use, Value, VariableSource, VariableType, With, WithValue,
};

impl Binder<'_> {
    /// Binds a reusable layer.
    pub(super) fn used(&mut self, used: &Use, file: &LayerFile) -> Layer {
        let with: BTreeMap<&str, &With> =
            used.with.iter().map(|with| (with.name.as_str(), with)).collect();
        let names: BTreeSet<&str> =
            file.variables.iter().map(|variable| variable.name.as_str()).collect();
        for with in &used.with {
            if !names.contains(with.name.as_str()) && !self.values.is_partial() {
                self.report.push_error(|| {
                    let message = format!("layer `{}` has no variable `{}`", used.used, with.name);
                    Diagnostic::error(&with.name_at, message)
                        .did_you_mean(&with.name, names.iter().copied())
                });
            }
        }
        let mut known = always(self.context);
        let mut variables = Vec::new();
        let mut inner = Report::default();
        for variable in &file.variables {
            let (bound, value) = match with.get(variable.name.as_str()) {
                Some(with) => self.with(variable, with),
                None => self.without(variable, used, &mut inner),
            };
            known.insert(variable.name.clone(), value);
            variables.push(bound);
        }
        let values = Values::new(known);
        let values = if self.values.is_partial() { values.partial() } else { values };
        let outer_values = std::mem::replace(&mut self.values, values);
        let outer_used = std::mem::take(&mut self.used);
        let outer_report = std::mem::replace(&mut self.report, inner);
        let mut layer = self.layer(&file.layer, &used.name, &used.at);
        let sees_all = sees_all(&file.layer);
        if !self.report.has_errors() && !self.values.is_partial() {
            warn_unused(&variables, &self.used, sees_all, &mut self.report);
        }
        self.values = outer_values;
        self.used = outer_used;
        let inner = std::mem::replace(&mut self.report, outer_report);
        self.report.extend(inner.note(&brought(&used.name, &used.used_at)));
        let own =
            |variable: &&manifest::Variable| matches!(variable.source, VariableSource::From(_));
        layer.hands = file.variables.iter().filter(own).map(|own| own.name.clone()).collect();
        layer.variables = variables;
        layer.source = Arc::clone(&file.source);
        layer.used = Some(used.used_at.clone());
        layer
    }

    /// Binds a variable to the value that `with` gives it.
    fn with(&mut self, variable: &manifest::Variable, with: &With) -> (Variable, Binding) {
        let mut bound = open(variable);
        bound.origin = Some(Origin::With(with.name_at.clone()));
        let fault = match &variable.source {
            VariableSource::From(_) => Some("is handed inward by the layer's own pre steps"),
            VariableSource::Secret(_) => {
                let known = match &with.value {
                    WithValue::Text(text) => self.whole(text),
                    WithValue::Plain(_) => None,
                };
                if let Some(Binding::Secret(secret)) = known {
                    bound.origin = Some(Origin::Secret(secret.source.clone()));
                    return (bound, Binding::Secret(secret));
                }
                Some("is a secret: bind it to a secret of the manifest, as `\"{{ name }}\"`")
            }
            VariableSource::Value(..) | VariableSource::Required => None,
        };
        if let Some(fault) = fault {
            let message = format!("`{}` {fault}", variable.name);
            self.report.push(Diagnostic::error(&with.at, message));
            return (bound, Binding::Faulty);
        }
        let value = match &with.value {
            WithValue::Plain(value) => value.clone(),
            WithValue::Text(text) => match self.whole(text) {
                // A number stays a number.
                Some(Binding::Value(value)) => value,
                _ => match self.fill(text) {
                    Some(text) => Value::String(text),
                    None => return (bound, Binding::Faulty),
                },
            },
        };
        let default = match &variable.source {
            VariableSource::Value(default, _) => default.kind(),
            _ => VariableType::String,
        };
        let kind = variable.kind.unwrap_or(default);
        let value = if kind.admits(&value) {
            placed(value, kind, with.at.dir())
        } else {
            let found = value.kind().article();
            Err(format!("`{}` is {}, and not {found}", variable.name, kind.article()))
        };
        match value {
            Ok(value) => {
                bound.value = Some(value.clone());
                (bound, Binding::Value(value))
            }
            Err(message) => {
                self.report.push(Diagnostic::error(&with.at, message));
                (bound, Binding::Faulty)
            }
        }
    }

    /// Binds a variable that `with` leaves to its file.
    fn without(
        &mut self,
        variable: &manifest::Variable,
        used: &Use,
        inner: &mut Report,
    ) -> (Variable, Binding) {
        let mut bound = open(variable);
        let known = match &variable.source {
            VariableSource::Value(value, at) => {
                bound.origin = Some(Origin::Vars(variable.at.clone()));
                match placed(value.clone(), variable.kind.unwrap_or(VariableType::String), at.dir())
                {
                    Ok(value) => {
                        bound.value = Some(value.clone());
                        Binding::Value(value)
                    }
                    Err(message) => {
                        inner.push(Diagnostic::error(at, message));
                        Binding::Faulty
                    }
                }
            }
            VariableSource::From(_) => {
                bound.from = Some(used.name.clone());
                bound.origin = Some(Origin::Pre(used.name.clone()));
                Binding::From(used.name.clone())
            }
            VariableSource::Secret(Some(source)) => {
                bound.origin = Some(Origin::Secret(source.clone()));
                Binding::Secret(Arc::new(SecretVariable {
                    name: variable.name.clone(),
                    source: source.clone(),
                    at: variable.at.clone(),
                }))
            }
            VariableSource::Required | VariableSource::Secret(None) => {
                let message = format!("layer `{}` needs `{}`", used.used, variable.name);
                let say = if bound.secret {
                    format!(
                        "write `with = {{ {} = \"{{{{ name }}}}\" }}`, with the name of a secret",
                        variable.name
                    )
                } else {
                    format!("write `with = {{ {} = … }}`", variable.name)
                };
                let help = described(variable, &say);
                self.report.push(Diagnostic::error(&used.used_at, message).help(help));
                Binding::Faulty
            }
        };
        (bound, known)
    }

    /// Returns what is known of the only variable that a text is made of.
    fn whole(&mut self, text: &Text) -> Option<Binding> {
        let [TextPart::Variable { name, .. }] = &text.parts[..] else { return None };
        let known = self.values.known(name)?.clone();
        self.used.insert(name.clone());
        Some(known)
    }
}
