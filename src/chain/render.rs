//! Files with `render = true`: templates of variables.

mod context;
mod depth;

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::Arc;

use minijinja::syntax::SyntaxConfig;
use minijinja::{Environment, ErrorKind, UndefinedBehavior};

use super::values::Binding;
use super::{Secret, Secrets, Values};
use crate::diagnostic::{Diagnostic, nearest};
use crate::source::At;
use context::Context;

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

/// What `lxc` has.
const OF_LXC: [&str; 2] = ["name", "arch"];

impl RenderError {
    /// Returns the fault as one of `lxc`, where its line asks that for what it has not.
    fn of_lxc(self, text: &str) -> Self {
        let line = self.line.and_then(|line| text.lines().nth(line.checked_sub(1)?));
        let asked = line.unwrap_or_default().split("lxc.").skip(1).map(|rest| {
            let end = rest.find(|letter: char| !letter.is_alphanumeric() && letter != '_');
            &rest[..end.unwrap_or(rest.len())]
        });
        let mut unknown = asked.filter(|name| !name.is_empty() && !OF_LXC.contains(name));
        let Some(name) = unknown.next() else { return self };
        let help = match nearest(name, OF_LXC) {
            Some(near) => format!("did you mean `lxc.{near}`?"),
            None => "there are `lxc.name` and `lxc.arch`".to_owned(),
        };
        Self { message: format!("`lxc` has no `{name}`"), help: Some(help), ..self }
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
    render_within(text, values, &mut Allowance::default(), &mut BTreeSet::new())
}

/// Renders a template as [`render`] does, with what is left for all those of a role, and notes the
/// variables that it uses.
pub(super) fn render_within(
    text: &str,
    values: &Values,
    allowance: &mut Allowance,
    used: &mut BTreeSet<String>,
) -> Result<Rendered, RenderError> {
    let names = names(text, values)?;
    if let Some(secrets) = secrets(&names, values) {
        return match unknown(&names, values) {
            Some(error) => Err(error),
            None => Ok(Rendered::Secret(secrets)),
        };
    }
    let context = Arc::new(Context::new(values, None));
    let filled = fill(text, &names, &context, allowance);
    // What a name is set to may be a secret of that very name: then it counts as assigned to.
    let mut asked = context.asked();
    asked.retain(|name| values.known(name).is_some() || !is_function(name));
    asked.extend(names);
    refuse(&asked, values)?;
    used.extend(asked.iter().cloned());
    match (filled, secrets(&asked, values), unknown(&asked, values)) {
        (Ok(text), None, _) => Ok(Rendered::Text(text)),
        // The engine does not say which name it is that has no value.
        (Err(error), _, Some(unknown)) if error.undefined => {
            Err(RenderError { line: error.line, ..unknown })
        }
        // It is called as well, and is not there.
        (Err(_), _, Some(unknown)) if asked.iter().any(|name| is_function(name)) => Err(unknown),
        (_, Some(_), Some(unknown)) => Err(unknown),
        (_, Some(secrets), None) => Ok(Rendered::Secret(secrets)),
        (Err(error), None, _) if error.undefined => Err(error.of_lxc(text)),
        (Err(error), None, _) => Err(error),
    }
}

/// Returns the secrets among names that a layer gets.
fn secrets(names: &BTreeSet<String>, values: &Values) -> Option<Vec<String>> {
    let secrets: Vec<_> =
        names.iter().filter(|name| values.secret(name).is_some()).cloned().collect();
    (!secrets.is_empty()).then_some(secrets)
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
        _ if is_function(name) => {
            format!(
                "`{name}` is a function of templates, to be called as `{name}(…)`; every other \
                     name is declared in `[vars]`"
            )
        }
        Some(near) => format!("did you mean `{near}`?"),
        None => "every name that a template uses is declared in `[vars]`".to_owned(),
    };
    let message = format!("no variable is named `{name}`");
    Some(RenderError { line: None, message, help: Some(help), undefined: true })
}

fn is_function(name: &str) -> bool {
    environment().globals().any(|(function, _)| function == name)
}

/// Renders a template as [`render`] does, with the secrets that it names.
pub fn reveal(text: &str, values: &Values, secrets: &Secrets) -> Result<Secret, RenderError> {
    let names = names(text, values)?;
    let context = Arc::new(Context::new(values, Some(secrets)));
    // What the engine says of a value may quote it.
    let mask = |error: RenderError| RenderError {
        message: secrets.mask(&error.message).into_owned(),
        ..error
    };
    fill(text, &names, &context, &mut Allowance::default()).map(Secret::new).map_err(mask)
}

/// Returns the names of the variables in a template, and refuses those that it cannot have.
pub(super) fn names(text: &str, values: &Values) -> Result<BTreeSet<String>, RenderError> {
    depth::check(text)?;
    let environment = environment();
    let functions: Vec<String> = environment
        .globals()
        .map(|(name, _)| name.to_owned())
        .filter(|name| values.known(name).is_none())
        .collect();
    // A template is judged as it is, before anything is put in the place of its names.
    environment.template_from_str(text)?;
    let text = without_calls(text, &functions);
    let template = environment.template_from_str(&text)?;
    let mut names: BTreeSet<String> = template.undeclared_variables(false).into_iter().collect();
    names.retain(|name| !name.starts_with(CALLED));
    drop(template);
    refuse(&names, values)?;
    Ok(names)
}

/// What the name of a function that is called begins with, for the sake of [`names`]. No variable's
/// name has upper case.
const CALLED: &str = "Called_";

/// Returns a template in which functions have other names wherever they are called: what is left of
/// their names stands for variables.
fn without_calls<'a>(text: &'a str, functions: &[String]) -> Cow<'a, str> {
    let is_inner = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
    let mut replaced = String::new();
    let mut taken = 0;
    let mut index = 0;
    while let Some(start) = text.as_bytes()[index..].iter().position(is_inner) {
        let start = index + start;
        let word = text[start..].bytes().take_while(is_inner).count();
        index = start + word;
        let is_called = text[index..].trim_start().starts_with('(');
        let is_own = text[..start].trim_end().ends_with(['.', '|']);
        if is_called && !is_own && functions.iter().any(|name| *name == text[start..index]) {
            replaced.push_str(&text[taken..start]);
            replaced.push_str(CALLED);
            taken = start;
        }
    }
    if taken == 0 && replaced.is_empty() {
        return Cow::Borrowed(text);
    }
    replaced.push_str(&text[taken..]);
    Cow::Owned(replaced)
}

/// Refuses names that a template cannot have the values of.
fn refuse(names: &BTreeSet<String>, values: &Values) -> Result<(), RenderError> {
    for name in names {
        let fault = match values.known(name) {
            Some(Binding::Secret(_)) if values.secret(name).is_none() => (
                format!("`{name}` is a secret that this layer does not list"),
                "a layer gets the secrets that it lists, as in `secrets = [\"token\"]`",
            ),
            Some(Binding::From(layer)) => (
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
    Ok(())
}

fn fill(
    text: &str,
    names: &BTreeSet<String>,
    context: &Arc<Context>,
    allowance: &mut Allowance,
) -> Result<String, RenderError> {
    let mut environment = environment();
    // The name of a function is a name without a value, unless it is called.
    for name in names {
        environment.remove_global(name);
    }
    environment.set_fuel(Some(allowance.fuel));
    let template = environment.template_from_str(text)?;
    let mut bounded = Bounded { bytes: Vec::new(), most: allowance.bytes };
    let context = minijinja::Value::from_dyn_object(Arc::clone(context));
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
mod tests;
