//! Files with `render = true`: templates of variables.

use std::collections::BTreeMap;

use minijinja::syntax::SyntaxConfig;
use minijinja::{Environment, UndefinedBehavior};

use super::Values;
use crate::diagnostic::Diagnostic;
use crate::manifest::Value;
use crate::source::At;

/// How many instructions a template may take: a loop over a range ends within milliseconds.
const FUEL: u64 = 1_000_000;

/// The longest text that a template may make, in bytes.
const LONGEST: usize = 16 * 1024 * 1024;

/// Why a template could not be rendered.
#[derive(Debug)]
pub struct RenderError(minijinja::Error);

impl RenderError {
    /// Returns the fault of a template, `what` it is, that is named at `at`.
    pub fn diagnostic(&self, at: &At, what: &str) -> Diagnostic {
        let line = self.0.line().map(|line| format!(", in its line {line}")).unwrap_or_default();
        let detail = match self.0.detail() {
            Some(detail) => format!("{}: {detail}", self.0.kind()),
            None => self.0.kind().to_string(),
        };
        let message = format!("{what} cannot be rendered{line}: {detail}");
        let diagnostic = Diagnostic::error(at, message);
        match self.0.kind() {
            minijinja::ErrorKind::UndefinedError => {
                diagnostic.help("every name that a template uses is declared in `[vars]`")
            }
            minijinja::ErrorKind::OutOfFuel => {
                diagnostic.help("a template is bounded; what takes longer belongs in a step")
            }
            _ => diagnostic,
        }
    }
}

/// Renders a template: strict, without escaping, with its last line feed kept, and bounded.
///
/// Variables are there by their names, and `lxc.name` and `lxc.arch`.
pub fn render(text: &str, values: &Values) -> Result<String, RenderError> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_syntax(syntax());
    environment.set_auto_escape_callback(|_| minijinja::AutoEscape::None);
    environment.set_fuel(Some(FUEL));
    let template = environment.template_from_str(text).map_err(RenderError)?;
    for name in template.undeclared_variables(false) {
        values.use_name(&name);
    }
    let mut context = BTreeMap::new();
    let mut lxc = BTreeMap::new();
    for (name, value) in values.iter() {
        match name.strip_prefix("lxc.") {
            Some(name) => lxc.insert(name.to_owned(), engine_value(value)),
            None => context.insert(name.to_owned(), engine_value(value)),
        };
    }
    context.insert("lxc".to_owned(), lxc.into());
    let mut bounded = Bounded(Vec::new());
    template.render_captured_to(context, &mut bounded).map_err(RenderError)?;
    String::from_utf8(bounded.0).map_err(|_| {
        let kind = minijinja::ErrorKind::InvalidOperation;
        RenderError(minijinja::Error::new(kind, "the result is not UTF-8"))
    })
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
struct Bounded(Vec<u8>);

impl std::io::Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        if self.0.len() + bytes.len() > LONGEST {
            return Err(std::io::Error::other("the result is longer than 16 MiB"));
        }
        self.0.extend_from_slice(bytes);
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
    use crate::chain::Container;
    use crate::manifest;
    use crate::source::Source;

    fn values(vars: &str) -> Values {
        let text = format!(
            "manifest = 1\n[vars]\n{vars}\n[[layer]]\nname = \"os\"\ntemplate = \"busybox\"\n"
        );
        let (manifest, report) = manifest::parse(&Arc::new(Source::new("m.toml", "/", text)));
        let manifest = manifest.unwrap_or_else(|| panic!("{}", report.to_text(false)));
        Values::new(&manifest, &Container { name: "web1", arch: "amd64" })
    }

    #[test]
    fn templates_are_strict_and_keep_their_newline() {
        let values = values("port = 80\nhtml = \"<b>\"\non = true");
        let table = [
            ("listen {{ port }};\n", Some("listen 80;\n")),
            ("{{ html }}{{ lxc.name }}.{{ lxc.arch }}", Some("<b>web1.amd64")),
            ("{% if on %}yes{% endif %}\n\n", Some("yes\n\n")),
            ("{{ missing }}", None),
            ("{{ lxc.missing }}", None),
            ("{{ port ", None),
            ("{% for i in range(100000000) %}x{% endfor %}", None),
            ("{% include 'etc/passwd' %}", None),
        ];
        for (text, expected) in table {
            assert_eq!(render(text, &values).ok().as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn memory_is_bounded() {
        let values = values("a = 1");
        let text = "{% set s = 'x' * 1000000 %}{% for i in range(1000) %}{{ s }}{% endfor %}";
        assert!(render(text, &values).is_err());
    }
}
