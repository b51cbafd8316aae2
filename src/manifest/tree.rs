//! The TOML tree with the places of its values, read key by key.

use std::sync::Arc;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::position::elsewhere;
use crate::diagnostic::{Diagnostic, Report, nearest};
use crate::source::{At, Source};

/// A value and its place.
#[derive(Debug, Clone)]
pub(super) struct Node<'a> {
    pub(super) value: &'a DeValue<'a>,
    pub(super) at: At,
}

impl<'a> Node<'a> {
    fn new(source: &Arc<Source>, value: &'a Spanned<DeValue<'a>>) -> Self {
        Self { value: value.get_ref(), at: At { source: Arc::clone(source), span: value.span() } }
    }

    /// Returns the name of the value's type with its article, as messages say it.
    pub(super) fn type_name(&self) -> &'static str {
        match self.value {
            DeValue::String(_) => "a string",
            DeValue::Integer(_) => "an integer",
            DeValue::Float(_) => "a float",
            DeValue::Boolean(_) => "a boolean",
            DeValue::Datetime(_) => "a date",
            DeValue::Array(_) => "a list",
            DeValue::Table(_) => "a table",
        }
    }

    /// Returns the fault that the value is of the wrong type.
    pub(super) fn not(&self, expected: &str) -> Diagnostic {
        Diagnostic::error(&self.at, format!("expected {expected}, found {}", self.type_name()))
            .label(format!("{} is wanted here", capital(expected)))
    }

    /// Returns the elements of a list; of anything else, the value itself as the only one.
    pub(super) fn one_or_many(&self) -> Vec<Node<'a>> {
        match self.value {
            DeValue::Array(array) => {
                array.iter().map(|value| Node::new(&self.at.source, value)).collect()
            }
            _ => vec![self.clone()],
        }
    }

    /// Returns the value as a whole number.
    pub(super) fn integer(&self) -> Option<i64> {
        let integer = self.value.as_integer()?;
        let digits = integer.as_str().replace('_', "");
        i64::from_str_radix(&digits, integer.radix()).ok()
    }
}

fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

/// A key of a table, its place, and its value.
#[derive(Debug, Clone)]
pub(super) struct KeyValue<'a> {
    pub(super) key: String,
    pub(super) key_at: At,
    pub(super) node: Node<'a>,
}

/// A table, whose keys are taken out one by one; what is left is unknown.
#[derive(Debug)]
pub(super) struct Table<'a> {
    /// The entries that were not taken, in the order of the file.
    entries: Vec<KeyValue<'a>>,
    /// The keys that were asked for: the known ones.
    asked: Vec<&'static str>,
    pub(super) at: At,
}

impl<'a> Table<'a> {
    /// Reads a table of the tree.
    pub(super) fn new(at: At, table: &'a DeTable<'a>) -> Self {
        let source = &at.source;
        let mut entries: Vec<_> = table
            .iter()
            .map(|(key, value)| KeyValue {
                key: key.get_ref().to_string(),
                key_at: At { source: Arc::clone(source), span: key.span() },
                node: Node::new(source, value),
            })
            .collect();
        // The tree keeps its keys sorted; the order of the file is meaning here.
        entries.sort_by_key(|entry| entry.key_at.span.start);
        Self { entries, asked: Vec::new(), at }
    }

    /// Reads a table, or reports that `node` is none.
    pub(super) fn of(node: &Node<'a>, expected: &str, report: &mut Report) -> Option<Self> {
        if let DeValue::Table(table) = node.value {
            return Some(Self::new(node.at.clone(), table));
        }
        report.push(node.not(expected));
        None
    }

    /// Takes the value of a known key.
    pub(super) fn take(&mut self, key: &'static str) -> Option<KeyValue<'a>> {
        self.asked.push(key);
        let index = self.entries.iter().position(|entry| entry.key == key)?;
        Some(self.entries.remove(index))
    }

    /// Returns the value of a key, which stays.
    pub(super) fn peek(&self, key: &str) -> Option<&KeyValue<'a>> {
        self.entries.iter().find(|entry| entry.key == key)
    }

    /// Takes a key that has no place here, so that a message can say where it has one.
    pub(super) fn take_foreign(&mut self, key: &str) -> Option<KeyValue<'a>> {
        let index = self.entries.iter().position(|entry| entry.key == key)?;
        Some(self.entries.remove(index))
    }

    /// Takes all entries that are left, whatever their keys.
    pub(super) fn take_all(&mut self) -> Vec<KeyValue<'a>> {
        std::mem::take(&mut self.entries)
    }

    /// Takes a key of a later version, if it is there, and reports that it cannot be used yet.
    pub(super) fn reject_later(&mut self, key: &'static str, instead: &str, report: &mut Report) {
        if let Some(entry) = self.take_foreign(key) {
            let message = format!("`{key}` is not supported by this version");
            report.push(Diagnostic::error(&entry.key_at, message).help(instead));
        }
    }

    /// Reports every entry that is left as unknown; `explain` may know more about a key.
    pub(super) fn finish(
        self,
        what: &'static str,
        explain: impl Fn(&str) -> Option<String>,
        report: &mut Report,
    ) {
        #[cfg(test)]
        super::schema::note_keys(what, &self.asked);
        for entry in self.entries {
            report.push_error(|| {
                let message = format!("unknown key `{}` in {what}", entry.key);
                let diagnostic = Diagnostic::error(&entry.key_at, message);
                match explain(&entry.key).or_else(|| meant(&entry.key, &self.asked, what)) {
                    Some(help) => diagnostic.help(help),
                    None => diagnostic,
                }
            });
        }
    }
}

/// Says what a key is most likely a slip of, and where else than in `what` it can stand.
fn meant(key: &str, asked: &[&'static str], what: &str) -> Option<String> {
    let near = nearest(key, asked.iter().copied()).map(|near| format!("did you mean `{near}`?"));
    match (near, elsewhere(key, what)) {
        (Some(near), Some(elsewhere)) => Some(format!("{near} {elsewhere}")),
        (near, elsewhere) => near.or(elsewhere),
    }
}
