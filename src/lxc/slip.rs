//! Options of a role that are misspelt: without being looked for, they would go to its template unseen.

use std::ffi::{OsStr, OsString};

use thiserror::Error;

use super::call::{OWN, VariableOption, option_of};
use super::request::{has_option, is_followed_by_value};
use crate::diagnostic::nearest;
use crate::shell;

/// The shortest name that is taken for a misspelt one, in bytes: of two letters everything is a slip.
const SHORTEST: usize = 3;

/// A word that goes to the template of a role, and is most likely meant for the role.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("`{word}` is not an option of this role; did you mean `{meant}`?")]
pub(crate) struct Slip {
    word: String,
    meant: String,
}

/// What the template of a role takes.
#[derive(Debug, Default)]
pub(crate) struct TemplateOptions<'a> {
    /// The template's name, which may be a known one.
    pub(crate) template: Option<&'a str>,
    /// The words that the manifest gives it.
    pub(crate) args: &'a [OsString],
    /// The variables of the template, where that is a manifest too.
    pub(crate) variables: &'a [VariableOption],
}

impl Slip {
    /// Says so where the word goes to the template all the same.
    pub(crate) fn of_template(&self) -> String {
        format!("`{}` goes to the template; did you mean `{}`?", self.word, self.meant)
    }

    /// Looks for one among the words that go to the template. What that is known to take is none, and nothing is
    /// behind `--`.
    pub(crate) fn find(
        rest: &[OsString],
        variables: &[VariableOption],
        template: &TemplateOptions<'_>,
    ) -> Option<Self> {
        let known: Vec<_> = variables.iter().map(|variable| plain(&variable.name)).collect();
        let known = known.iter().map(String::as_str).filter(|name| name.len() >= SHORTEST);
        let own = OWN.into_iter().filter(|name| name.len() > SHORTEST);
        let known: Vec<&str> = known.chain(own).collect();
        let mut is_value = false;
        for word in rest.iter().take_while(|word| *word != "--") {
            let was_value =
                std::mem::replace(&mut is_value, is_followed_by_value(template.template, word));
            let Some(name) = name_of(word).filter(|name| !was_value && name.len() >= SHORTEST)
            else {
                continue;
            };
            if template.takes(name) {
                continue;
            }
            if let Some(near) = nearest(&plain(name), known.iter().copied()) {
                return Some(Self { word: shell::word(format!("--{name}")), meant: option(near) });
            }
        }
        None
    }
}

impl TemplateOptions<'_> {
    fn takes(&self, name: &str) -> bool {
        has_option(self.template, name)
            || self.args.iter().any(|word| name_of(word) == Some(name))
            || self.variables.iter().any(|variable| plain(&variable.name) == plain(name))
    }
}

/// Returns the name of a long option.
fn name_of(word: &OsStr) -> Option<&str> {
    let name = word.to_str()?.strip_prefix("--")?;
    Some(name.split_once('=').map_or(name, |(name, _)| name))
}

fn plain(name: &str) -> String {
    name.replace('_', "-")
}

/// Returns how that is written which a name is near to.
fn option(name: &str) -> String {
    option_of(name).unwrap_or_else(|| format!("--{name}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<OsString> {
        line.split_whitespace().map(OsString::from).collect()
    }

    fn options(names: &[&str]) -> Vec<VariableOption> {
        let option = |name: &&str| VariableOption { name: (*name).to_owned(), is_flag: false };
        names.iter().map(option).collect()
    }

    #[test]
    fn what_is_near_an_option_of_the_role_is_a_slip() {
        let variables = options(&["port", "http_port", "release", "site", "ip"]);
        let args = words("--sites=x --verbose");
        let inner = options(&["ports_of"]);
        for (template, line, expected) in [
            (None, "--prot 80", Some(("--prot", "--port"))),
            (None, "--prot=80", Some(("--prot", "--port"))),
            (None, "x --http_prot 80", Some(("--http_prot", "--http-port"))),
            (None, "--realease trixie", Some(("--realease", "--release"))),
            (None, "--stroage=none", Some(("--stroage", "--storage"))),
            (None, "--keep-faild", Some(("--keep-faild", "--keep-failed"))),
            (Some("debian"), "--prot 80", Some(("--prot", "--port"))),
            // What the template is known to take, or given by the manifest.
            (Some("opensuse"), "--relese x", Some(("--relese", "--release"))),
            (Some("debian"), "--mirror --prot", None),
            (None, "--sites=y", None),
            (None, "--ports-of=1 --ports_of 2", None),
            // Nothing is near, or of so few letters that everything is.
            (None, "--packages curl --arch amd64", None),
            (None, "--id 1 --i", None),
            (None, "-prot prot", None),
            (None, "-- --prot 80", None),
            (None, "", None),
        ] {
            let template = TemplateOptions { template, args: &args, variables: &inner };
            let found = Slip::find(&words(line), &variables, &template);
            let expected = expected.map(|(word, meant): (&str, &str)| Slip {
                word: word.to_owned(),
                meant: meant.to_owned(),
            });
            assert_eq!(found, expected, "{line}");
        }
        let clean = options(&["clear"]);
        let debian = TemplateOptions { template: Some("debian"), ..TemplateOptions::default() };
        assert_eq!(Slip::find(&words("--clean"), &clean, &debian), None);
        let unknown = TemplateOptions::default();
        assert!(Slip::find(&words("--clean"), &clean, &unknown).is_some());
    }
}
