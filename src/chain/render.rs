//! Files with `render = true`: templates of variables.

mod depth;

use std::collections::{BTreeMap, BTreeSet};

use minijinja::syntax::SyntaxConfig;
use minijinja::{Environment, ErrorKind, UndefinedBehavior};

use super::values::Known;
use super::{Secret, Secrets, Values};
use crate::diagnostic::{Diagnostic, nearest};
use crate::manifest::Value;
use crate::source::At;

/// How many instructions a template may take, or all those that stand in a role's manifests: a loop
/// over a range ends within milliseconds.
const FUEL: u64 = 1_000_000;

/// The longest text that a template may make, or all those in a role's manifests, in bytes.
const LONGEST: usize = 16 * 1024 * 1024;

/// What becomes of a template before a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rendered {
    /// This text.
    Text(String),
    /// A text that holds these secrets, so that it is made only during the run, by [`reveal`].
    Secret(Vec<String>),
}

/// Why a template could not be rendered.
#[derive(Debug)]
pub struct RenderError {
    line: Option<usize>,
    message: String,
    help: Option<String>,
    /// Whether a name has no value.
    undefined: bool,
}

impl RenderError {
    /// Returns the fault of a template, `what` it is, that is named at `at`.
    pub fn diagnostic(&self, at: &At, what: &str) -> Diagnostic {
        let line = self.line.map(|line| format!(", in its line {line}")).unwrap_or_default();
        let message = format!("{what} cannot be rendered{line}: {}", self.message);
        let diagnostic = Diagnostic::error(at, message);
        match &self.help {
            Some(help) => diagnostic.help(help.as_str()),
            None => diagnostic,
        }
    }
}

impl From<minijinja::Error> for RenderError {
    fn from(error: minijinja::Error) -> Self {
        let message = match error.detail() {
            Some(detail) => format!("{}: {detail}", error.kind()),
            None => error.kind().to_string(),
        };
        let help = match error.kind() {
            ErrorKind::UndefinedError => {
                Some("every name that a template uses is declared in `[vars]`")
            }
            ErrorKind::OutOfFuel => {
                Some("a template is bounded; what takes longer belongs in a step")
            }
            _ => None,
        };
        let undefined = error.kind() == ErrorKind::UndefinedError;
        Self { line: error.line(), message, help: help.map(str::to_owned), undefined }
    }
}

/// Renders a template: strict, without escaping, with its last line feed kept, and bounded.
///
/// Variables are there by their names, and `lxc.name` and `lxc.arch`. A template that names a
/// secret is only checked: its text is nothing to be shown or kept.
pub fn render(text: &str, values: &Values) -> Result<Rendered, RenderError> {
    render_within(text, values, &mut Allowance::default())
}

/// Renders a template as [`render`] does, with what is left for all those of a role.
pub(super) fn render_within(
    text: &str,
    values: &Values,
    allowance: &mut Allowance,
) -> Result<Rendered, RenderError> {
    let names = names(text, values)?;
    let secrets: Vec<_> =
        names.iter().filter(|name| values.secret(name).is_some()).cloned().collect();
    if secrets.is_empty() {
        let filled = fill(text, context(&names, values), allowance).map(Rendered::Text);
        // The engine does not say which name it is that has no value.
        return filled.map_err(|error| match unknown(&names, values) {
            Some(unknown) if error.undefined => RenderError { line: error.line, ..unknown },
            _ => error,
        });
    }
    match unknown(&names, values) {
        Some(error) => Err(error),
        None => Ok(Rendered::Secret(secrets)),
    }
}

/// What templates may take.
#[derive(Debug)]
pub(super) struct Allowance {
    /// Instructions.
    fuel: u64,
    /// Bytes of their texts.
    bytes: usize,
}

impl Default for Allowance {
    fn default() -> Self {
        Self { fuel: FUEL, bytes: LONGEST }
    }
}

/// Returns the fault of the first name that nobody declares.
fn unknown(names: &BTreeSet<String>, values: &Values) -> Option<RenderError> {
    let name = names.iter().find(|name| *name != "lxc" && values.known(name).is_none())?;
    let near = nearest(name, values.names());
    let help = match near {
        Some(near) => format!("did you mean `{near}`?"),
        None => "every name that a template uses is declared in `[vars]`".to_owned(),
    };
    let message = format!("no variable is named `{name}`");
    Some(RenderError { line: None, message, help: Some(help), undefined: true })
}

/// Renders a template as [`render`] does, with the secrets that it names.
pub fn reveal(text: &str, values: &Values, secrets: &Secrets) -> Result<Secret, RenderError> {
    let names = names(text, values)?;
    let mut context = context(&names, values);
    for name in &names {
        if let Some(secret) = values.secret(name).and_then(|variable| secrets.get(variable)) {
            context.insert(name.clone(), secret.expose().into());
        }
    }
    // What the engine says of a value may quote it.
    let mask = |error: RenderError| RenderError {
        message: secrets.mask(&error.message).into_owned(),
        ..error
    };
    fill(text, context, &mut Allowance::default()).map(Secret::new).map_err(mask)
}

/// Returns the names of the variables in a template, and refuses those that it cannot have.
pub(super) fn names(text: &str, values: &Values) -> Result<BTreeSet<String>, RenderError> {
    depth::check(text)?;
    let environment = environment();
    let template = environment.template_from_str(text)?;
    let globals: BTreeSet<_> = environment.globals().map(|(name, _)| name.to_owned()).collect();
    let names: BTreeSet<String> =
        template.undeclared_variables(false).into_iter().filter(|n| !globals.contains(n)).collect();
    for name in &names {
        let fault = match values.known(name) {
            Some(Known::Secret(_)) if values.secret(name).is_none() => (
                format!("`{name}` is a secret that this layer does not list"),
                "a layer gets the secrets that it lists, as in `secrets = [\"token\"]`",
            ),
            Some(Known::From(layer)) => (
                format!("`{name}` is decided only during the run, by a pre of `{layer}`"),
                "steps get it as an environment variable",
            ),
            _ => continue,
        };
        return Err(RenderError {
            line: None,
            message: fault.0,
            help: Some(fault.1.to_owned()),
            undefined: true,
        });
    }
    Ok(names)
}

/// Returns the values that a template names.
fn context(names: &BTreeSet<String>, values: &Values) -> BTreeMap<String, minijinja::Value> {
    let value = |name: &str| match values.known(name) {
        Some(Known::Value(value)) => Some(engine_value(value)),
        _ => None,
    };
    let always = ["name", "arch"].map(str::to_owned).into_iter();
    let lxc: BTreeMap<_, _> =
        always.filter_map(|name| Some((name.clone(), value(&format!("lxc.{name}"))?))).collect();
    let lxc = ("lxc".to_owned(), lxc.into());
    let named = names.iter().filter_map(|name| Some((name.clone(), value(name)?)));
    named.chain([lxc]).collect()
}

fn fill(
    text: &str,
    context: BTreeMap<String, minijinja::Value>,
    allowance: &mut Allowance,
) -> Result<String, RenderError> {
    let mut environment = environment();
    environment.set_fuel(Some(allowance.fuel));
    let template = environment.template_from_str(text)?;
    let mut bounded = Bounded { bytes: Vec::new(), most: allowance.bytes };
    match template.render_captured_to(context, &mut bounded) {
        Ok(captured) => {
            if let Some((_, left)) = captured.state().fuel_levels() {
                allowance.fuel = left;
            }
        }
        Err(error) => {
            // How much it took is not known; the others are rendered only to be judged.
            allowance.fuel /= 2;
            return Err(error.into());
        }
    }
    allowance.bytes -= bounded.bytes.len();
    String::from_utf8(bounded.bytes).map_err(|_| {
        minijinja::Error::new(ErrorKind::InvalidOperation, "the result is not UTF-8").into()
    })
}

fn environment() -> Environment<'static> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_syntax(syntax());
    environment.set_auto_escape_callback(|_| minijinja::AutoEscape::None);
    environment
}

/// What a file ends with is kept: a config without its last line feed is a trap.
fn syntax() -> SyntaxConfig {
    let mut syntax = SyntaxConfig::builder();
    syntax.keep_trailing_newline(true);
    syntax.build().expect("the standard delimiters are sound")
}

fn engine_value(value: &Value) -> minijinja::Value {
    match value {
        Value::String(text) => text.as_str().into(),
        Value::Integer(number) => (*number).into(),
        Value::Boolean(truth) => (*truth).into(),
    }
}

/// A buffer that refuses to grow without end.
struct Bounded {
    bytes: Vec<u8>,
    most: usize,
}

impl std::io::Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        if self.bytes.len() + bytes.len() > self.most {
            return Err(std::io::Error::other("the result is longer than 16 MiB"));
        }
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::chain::SecretVariable;
    use crate::manifest::SecretSource;
    use crate::source::Source;

    fn values() -> Values {
        let source = Arc::new(Source::new("m.toml", "/", "x"));
        let secret = |name: &str| {
            Known::Secret(Arc::new(SecretVariable {
                name: name.to_owned(),
                source: SecretSource::Env(name.to_uppercase()),
                at: At { source: Arc::clone(&source), span: 0..1 },
            }))
        };
        let text = |text: &str| Known::Value(Value::String(text.to_owned()));
        let known = [
            ("port", Known::Value(Value::Integer(80))),
            ("on", Known::Value(Value::Boolean(true))),
            ("html", text("<b>")),
            ("lxc.name", text("web1")),
            ("lxc.arch", text("amd64")),
            ("token", secret("token")),
            ("other", secret("other")),
        ];
        let known = known.into_iter().map(|(name, known)| (name.to_owned(), known)).collect();
        Values::new(known).listing(["token".to_owned()])
    }

    #[test]
    fn templates_are_strict_and_keep_their_newline() {
        let table = [
            ("listen {{ port }};\n", Some("listen 80;\n")),
            ("{{ html }}{{ lxc.name }}.{{ lxc.arch }}", Some("<b>web1.amd64")),
            ("{% if on %}yes{% endif %}\n\n", Some("yes\n\n")),
            ("{{ missing }}", None),
            ("{{ lxc.missing }}", None),
            ("{{ port ", None),
            ("{{ other }}", None),
            ("{{ token }}{{ missing }}", None),
            ("{% for i in range(100000000) %}x{% endfor %}", None),
            ("{% include 'etc/passwd' %}", None),
            (&format!("{{{{ 1{} }}}}", "+1".repeat(1000)), None),
            (&format!("{{{{ '}}}}' ~ 1{} }}}}", "+1".repeat(1000)), None),
            (&format!("{{% if 1 %}}{}{{% endif %}}", "{%- elif 1 %}".repeat(1000)), None),
            (&format!("{{ a }} {{# {} #}}", "x".repeat(2000)), Some("{ a } ")),
        ];
        for (text, expected) in table {
            let expected = expected.map(|text| Rendered::Text(text.to_owned()));
            assert_eq!(render(text, &values()).ok(), expected, "{text}");
        }
    }

    #[test]
    fn memory_is_bounded() {
        let text = "{% set s = 'x' * 1000000 %}{% for i in range(1000) %}{{ s }}{% endfor %}";
        assert!(render(text, &values()).is_err());
    }

    #[test]
    fn a_secret_is_put_in_only_during_the_run() {
        let rendered = render("{{ token }}:{{ port }}", &values()).unwrap();
        assert_eq!(rendered, Rendered::Secret(vec!["token".to_owned()]));
        let shown = render("{{ debug() }}", &values()).unwrap();
        assert!(matches!(&shown, Rendered::Text(text) if !text.contains("token")), "{shown:?}");
    }
}
