//! Secrets: values that nothing shows, stores or digests.
//!
//! A chain knows only where a secret is read from. The value arrives when a run begins, in a type
//! that no format string reveals.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde::{Serialize, Serializer};

use super::mask::Mask;
use super::{Chain, MaskedStream, SecretVariable};
use crate::diagnostic::{Diagnostic, Report};
use crate::manifest::SecretSource;

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

/// The secrets of a run.
#[derive(Debug, Clone, Default)]
pub struct Secrets {
    values: BTreeMap<SecretSource, (String, Secret)>,
    mask: Mask,
}

impl Secrets {
    /// Gathers the secrets that layers of `chain` list. `read` reads one, or says why it cannot.
    ///
    /// The line feed at the end of a file is no part of its secret.
    pub fn gather(
        chain: &Chain,
        mut read: impl FnMut(&SecretSource) -> Result<Secret, String>,
    ) -> Result<Self, Report> {
        let mut values = BTreeMap::new();
        let mut report = Report::default();
        for variable in &chain.secrets {
            let fault = match read(&variable.source) {
                Ok(secret) => match checked(&variable.source, &secret) {
                    Ok(secret) => {
                        values.insert(variable.source.clone(), (variable.name.clone(), secret));
                        continue;
                    }
                    Err(fault) => fault.to_owned(),
                },
                Err(fault) => fault,
            };
            let message = format!("secret `{}`: {}: {fault}", variable.name, variable.source);
            report.push(Diagnostic::error(&variable.at, message));
        }
        let secrets = Self::new(values).map_err(|error| {
            for variable in &chain.secrets {
                let message = format!("secret `{}` cannot be masked: {error}", variable.name);
                report.push(Diagnostic::error(&variable.at, message));
            }
        });
        match secrets {
            Ok(secrets) if !report.has_errors() => Ok(secrets),
            _ => Err(report),
        }
    }

    fn new(
        values: BTreeMap<SecretSource, (String, Secret)>,
    ) -> Result<Self, aho_corasick::BuildError> {
        let mask = Mask::new(needles(&values))?;
        Ok(Self { values, mask })
    }

    /// Wraps texts that a caller has given for variables, each with the variable's name; `None` where they cannot
    /// be masked.
    pub(crate) fn given<'a>(pairs: impl Iterator<Item = (&'a str, &'a str)>) -> Option<Self> {
        let entry = |(name, text): (&str, &str)| {
            (SecretSource::Env(name.to_owned()), (name.to_owned(), Secret::new(text)))
        };
        Self::new(pairs.map(entry).collect()).ok()
    }

    /// Tells whether there is none.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// Returns the value of a secret that a layer lists.
    pub fn get(&self, variable: &SecretVariable) -> Option<&Secret> {
        self.values.get(&variable.source).map(|(_, secret)| secret)
    }

    /// Replaces every secret in a text by its name: `[secret token]`.
    pub fn mask<'a>(&self, text: &'a str) -> Cow<'a, str> {
        self.mask.text(text)
    }

    /// Begins with a stream of bytes in which every secret is replaced by its name.
    pub fn stream(&self) -> MaskedStream {
        self.mask.stream()
    }
}

/// Returns what to look for, each with its name: a secret may be shown in part, so that each line of
/// a key is looked for too.
fn needles(
    values: &BTreeMap<SecretSource, (String, Secret)>,
) -> impl Iterator<Item = (&str, &str)> {
    values.values().flat_map(|(name, secret)| {
        let whole = secret.expose();
        let lines = whole.split(['\n', '\r']).flat_map(|line| [line.trim_end(), line.trim()]);
        let lines = lines.filter(|line| line.len() >= SHORTEST_LINE);
        // A shell that is not told otherwise takes the blanks around it away.
        let wholes = [whole, whole.trim()].into_iter().filter(|text| !text.is_empty());
        wholes.chain(lines).map(|text| (text, name.as_str()))
    })
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
        Secrets::new(values.iter().map(entry).collect()).unwrap()
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
