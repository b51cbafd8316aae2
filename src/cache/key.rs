//! Keys of the layer store: what defines a stored layer, as a document of named values.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::digest::{Digest, Hasher};

/// What this program makes of a layer, as a number: with another one, nothing that is stored is found. It
/// is raised whenever the same layer would come out otherwise. A test compares the code that decides it.
pub const SEMANTICS: &str = "4";

/// What the field of the template is called.
pub(super) const TEMPLATE: &str = "template";

/// All that defines a stored layer.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyInputs {
    /// The parts, in the order in which they take effect.
    pub fields: Vec<Field>,
}

/// One part of a document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Field {
    /// What it is: `file /etc/app.conf`. No two fields of a document are the same thing.
    pub what: String,
    /// What a person calls it, where that is something else: it is no part of the key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// Its values, by name.
    pub values: BTreeMap<String, String>,
}

impl Field {
    /// Creates a field.
    pub fn new<N: Into<String>, V: Into<String>>(
        what: impl Into<String>,
        values: impl IntoIterator<Item = (N, V)>,
    ) -> Self {
        let values = values.into_iter().map(|(name, value)| (name.into(), value.into()));
        Self { what: what.into(), label: None, values: values.collect() }
    }

    fn label(&self) -> &str {
        self.label.as_deref().unwrap_or(&self.what)
    }
}

impl KeyInputs {
    /// Returns the key.
    pub fn key(&self) -> Digest {
        let mut hasher = Hasher::default();
        // Every text goes in with its length in front, so that none can run into the next.
        let mut add = |text: &str| {
            hasher.update(&(text.len() as u64).to_le_bytes());
            hasher.update(text.as_bytes());
        };
        add(SEMANTICS);
        for Field { what, values, .. } in &self.fields {
            add(what);
            add(&values.len().to_string());
            for (name, value) in values {
                add(name);
                add(value);
            }
        }
        hasher.finish()
    }

    /// Returns the digest of the template, or of the busybox that one copies, where it is of those that make
    /// the innermost layer.
    pub(crate) fn template(&self) -> Option<Digest> {
        let field = self.fields.iter().find(|field| field.what == TEMPLATE)?;
        // Behind that of the busybox is the version of the program.
        Digest::parse(field.values.get("digest")?.split(' ').next()?)
    }

    /// Says what is different from an earlier document, field by field.
    pub fn changes_since(&self, old: &Self) -> Vec<String> {
        let mut lines = Vec::new();
        let find = |document: &Self, what: &str| {
            document.fields.iter().find(|field| field.what == what).cloned()
        };
        for field in &self.fields {
            match find(old, &field.what) {
                None => lines.push(format!("{} is new", field.label())),
                Some(before) => changes_of(&before, field, &mut lines),
            }
        }
        let gone = old.fields.iter().filter(|field| find(self, &field.what).is_none());
        lines.extend(gone.map(|field| format!("{} is gone", field.label())));
        if lines.is_empty() && self.key() != old.key() {
            lines.push("the order has changed".to_owned());
        }
        lines
    }
}

fn changes_of(old: &Field, new: &Field, lines: &mut Vec<String>) {
    let label = new.label();
    if is_list(old) && is_list(new) {
        let missing = |from: &Field, of: &Field| -> Vec<String> {
            let has = |value: &&String| of.values.values().any(|other| other == *value);
            from.values.values().filter(|value| !has(value)).map(|value| shown(value)).collect()
        };
        lines.extend(missing(new, old).iter().map(|value| format!("{label}: {value} is new")));
        lines.extend(missing(old, new).iter().map(|value| format!("{label}: {value} is gone")));
        return;
    }
    for (name, value) in &new.values {
        match old.values.get(name) {
            Some(before) if before == value => {}
            Some(before) => {
                let common = common_start(before, value);
                let (before, value) = (shown(&before[common..]), shown(&value[common..]));
                let dots = if common > 0 { "…" } else { "" };
                lines.push(format!("{label}: {name} {dots}{before} → {dots}{value}"));
            }
            None => lines.push(format!("{label}: {name} {} is new", shown(value))),
        }
    }
    for (name, value) in old.values.iter().filter(|(name, _)| !new.values.contains_key(*name)) {
        lines.push(format!("{label}: {name} {} is gone", shown(value)));
    }
}

/// Tells whether the names of a field's values are their numbers.
fn is_list(field: &Field) -> bool {
    field.values.keys().all(|name| name.parse::<usize>().is_ok())
}

/// Returns how much of the beginning of two long texts need not be shown, since it is the same.
fn common_start(a: &str, b: &str) -> usize {
    if a.len().max(b.len()) <= LONGEST || a.starts_with("sha256:") {
        return 0;
    }
    let common = a.bytes().zip(b.bytes()).take_while(|(a, b)| a == b).count();
    let start = common.saturating_sub(LONGEST / 2);
    (0..=start).rev().find(|at| a.is_char_boundary(*at) && b.is_char_boundary(*at)).unwrap_or(0)
}

/// The longest value in a line about a change, in characters.
const LONGEST: usize = 60;

/// Shows a value: of a digest the beginning, of a long text the first line.
fn shown(value: &str) -> String {
    if let Some(digest) = value.strip_prefix("sha256:").and_then(|_| Digest::parse(value)) {
        return format!("{}…", digest.short());
    }
    let line = crate::shell::one_line(value.trim());
    match line.char_indices().nth(LONGEST) {
        None if line.is_empty() => "(empty)".to_owned(),
        None => line,
        Some((index, _)) => format!("{}…", &line[..index]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Fields<'a> = &'a [(&'a str, &'a [(&'a str, &'a str)])];

    fn document(fields: Fields<'_>) -> KeyInputs {
        let field = |(what, values): &(&str, &[(&str, &str)])| {
            Field::new(*what, values.iter().map(|(name, value)| (*name, *value)))
        };
        KeyInputs { fields: fields.iter().map(field).collect() }
    }

    #[test]
    fn no_text_runs_into_the_next() {
        let table: [Fields<'_>; 6] = [
            &[],
            &[("a", &[])],
            &[("a", &[("b", "c")])],
            &[("a", &[("bc", "")])],
            &[("ab", &[("c", "")])],
            &[("a", &[]), ("b", &[("c", "")])],
        ];
        let keys: std::collections::BTreeSet<_> =
            table.iter().map(|fields| document(fields).key()).collect();
        assert_eq!(keys.len(), table.len());
    }

    #[test]
    fn changes_are_told_field_by_field() {
        let digest = |byte: &str| format!("sha256:{}", byte.repeat(32));
        let (a, b) = (digest("a1"), digest("b2"));
        let long = |end: &str| format!("{}/:{end}", ":/usr/bin".repeat(9));
        let mut old = document(&[
            ("file /etc/app.conf", &[("digest", &a), ("mode", "0644")]),
            ("post 1", &[("run", "true")]),
            ("config", &[("1", "x = 1"), ("2", "y = 2")]),
            ("environment", &[("PATH", &long("a"))]),
        ]);
        old.fields[0].label = Some("file files/app.conf".into());
        let mut new = document(&[
            ("file /etc/app.conf", &[("digest", &b), ("owner", "root")]),
            ("post 2", &[("run", "true")]),
            ("config", &[("1", "z = 3"), ("2", "x = 1")]),
            ("environment", &[("PATH", &long("b"))]),
        ]);
        new.fields[0].label = Some("file files/app.conf".into());
        assert_eq!(
            new.changes_since(&old),
            [
                "file files/app.conf: digest a1a1a1a1a1a1… → b2b2b2b2b2b2…",
                "file files/app.conf: owner root is new",
                "file files/app.conf: mode 0644 is gone",
                "post 2 is new",
                "config: z = 3 is new",
                "config: y = 2 is gone",
                "environment: PATH …n:/usr/bin:/usr/bin:/usr/bin/:a → …n:/usr/bin:/usr/bin:/usr/bin/:b",
                "post 1 is gone",
            ]
        );
        assert!(new.changes_since(&new).is_empty());
        let mut turned = new.clone();
        turned.fields.reverse();
        assert_eq!(turned.changes_since(&new), ["the order has changed"]);
        // What a person calls a thing does not define it.
        turned.fields[3].label = None;
        turned.fields.reverse();
        assert_eq!(turned.key(), new.key());
    }
}
