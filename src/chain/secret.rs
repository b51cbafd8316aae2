//! Secrets: values that nothing shows, stores or digests.
//!
//! A chain knows only where a secret is read from. The value arrives when a run begins, in a type
//! that no format string reveals.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde::{Serialize, Serializer};

use super::Chain;
use crate::diagnostic::{Diagnostic, Report};
use crate::manifest::SecretSource;
use crate::source::At;

/// A line of a secret that is shorter than this is not masked by itself: it may be any word.
const SHORTEST_LINE: usize = 8;

/// A text that nobody may see.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Arc<str>);

impl Secret {
    /// Wraps a text.
    pub fn new(text: impl Into<Arc<str>>) -> Self {
        Self(text.into())
    }

    /// Returns the text, for the environment of a step or a file that is rendered.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("[secret]")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, formatter)
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A variable that is a secret.
#[derive(Debug, Clone)]
pub struct SecretVariable {
    /// Its name where its source is declared.
    pub name: String,
    /// Where its value is read from.
    pub source: SecretSource,
    /// Where it is declared.
    pub at: At,
}

/// The secrets of a run.
#[derive(Debug, Clone, Default)]
pub struct Secrets(BTreeMap<SecretSource, (String, Secret)>);

impl Secrets {
    /// Gathers the secrets that layers of `chain` list. `read` reads one, or says why it cannot.
    ///
    /// The line feed at the end of a file is no part of its secret.
    pub fn gather(
        chain: &Chain,
        mut read: impl FnMut(&SecretSource) -> Result<Secret, String>,
    ) -> Result<Self, Report> {
        let mut secrets = Self::default();
        let mut report = Report::default();
        for variable in &chain.secrets {
            let fault = match read(&variable.source) {
                Ok(secret) => match checked(&variable.source, &secret) {
                    Ok(secret) => {
                        secrets.0.insert(variable.source.clone(), (variable.name.clone(), secret));
                        continue;
                    }
                    Err(fault) => fault.to_owned(),
                },
                Err(fault) => fault,
            };
            let message = format!("secret `{}`: {}: {fault}", variable.name, variable.source);
            report.push(Diagnostic::error(&variable.at, message));
        }
        if report.has_errors() { Err(report) } else { Ok(secrets) }
    }

    /// Tells whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the value of a secret that a layer lists.
    pub fn get(&self, variable: &SecretVariable) -> Option<&Secret> {
        self.0.get(&variable.source).map(|(_, secret)| secret)
    }

    /// Replaces every secret in a text by its name: `[secret token]`.
    pub fn mask<'a>(&self, text: &'a str) -> Cow<'a, str> {
        let mut masked = Cow::Borrowed(text);
        for (needle, name) in self.needles() {
            if masked.contains(needle) {
                masked = Cow::Owned(masked.replace(needle, &format!("[secret {name}]")));
            }
        }
        masked
    }

    /// Returns what to look for, the longest first: one secret may be part of another. Output
    /// arrives by lines, so that each line of a key is looked for too.
    fn needles(&self) -> Vec<(&str, &str)> {
        let mut needles: Vec<_> = self
            .0
            .values()
            .flat_map(|(name, secret)| {
                let lines = secret.expose().lines().map(str::trim_end);
                let lines = lines.filter(|line| line.len() >= SHORTEST_LINE);
                std::iter::once(secret.expose()).chain(lines).map(|text| (text, name.as_str()))
            })
            .collect();
        needles.sort_by(|(a, x), (b, y)| b.len().cmp(&a.len()).then_with(|| (a, x).cmp(&(b, y))));
        needles.dedup();
        needles
    }
}

/// Checks that a secret is one that an environment can carry.
fn checked(source: &SecretSource, secret: &Secret) -> Result<Secret, &'static str> {
    let text = secret.expose();
    let text = match source {
        SecretSource::Env(_) => text,
        SecretSource::File(_) => {
            text.strip_suffix("\r\n").or_else(|| text.strip_suffix('\n')).unwrap_or(text)
        }
    };
    if text.is_empty() {
        return Err("it is empty");
    }
    if text.contains('\0') {
        return Err("it holds a NUL, which no environment can carry");
    }
    Ok(Secret::new(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secrets(values: &[(&str, &str)]) -> Secrets {
        let entry = |(name, value): &(&str, &str)| {
            let source = SecretSource::Env((*name).to_owned());
            (source, ((*name).to_owned(), Secret::new(*value)))
        };
        Secrets(values.iter().map(entry).collect())
    }

    #[test]
    fn nothing_shows_a_secret() {
        let secret = Secret::new("hunter2");
        assert_eq!(format!("{secret} {secret:?}"), "[secret] [secret]");
        assert_eq!(serde_json::to_string(&secret).unwrap(), "\"[secret]\"");
        let all = format!("{:?}", secrets(&[("token", "hunter2")]));
        assert!(!all.contains("hunter2"), "{all}");
    }

    #[test]
    fn texts_are_masked_longest_first() {
        let secrets = secrets(&[
            ("a", "pass"),
            ("b", "password"),
            ("key", "-----BEGIN-----\nMIIEvQIBADAN\nxy\n"),
        ]);
        let table = [
            ("nothing here", "nothing here"),
            ("password pass", "[secret b] [secret a]"),
            ("log: MIIEvQIBADAN", "log: [secret key]"),
            ("xy", "xy"),
        ];
        for (text, masked) in table {
            assert_eq!(secrets.mask(text), masked);
        }
    }

    #[test]
    fn a_secret_must_fit_an_environment() {
        let (env, file) = (SecretSource::Env("T".into()), SecretSource::File("/t".into()));
        let table = [
            (&env, "x\n", Some("x\n")),
            (&file, "x\n", Some("x")),
            (&file, "x\r\n", Some("x")),
            (&file, "\n", None),
            (&env, "", None),
            (&env, "a\0b", None),
        ];
        for (source, text, expected) in table {
            let kept = checked(source, &Secret::new(text)).ok();
            assert_eq!(kept.as_ref().map(Secret::expose), expected, "{text:?}");
        }
    }
}
