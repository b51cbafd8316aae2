//! The variables of a role, bound: what each manifest and each reusable layer sees.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use super::context::{assignment, of_set};
use super::resolve::Role;
use super::values::Binding;
use super::{BindContext, Origin, SecretVariable, SetBy, Values, Variable};
use crate::diagnostic::{Diagnostic, Report};
use crate::manifest::{self, Value, VariableSource, VariableType};

/// A variable of a role: what its manifests say of it together.
struct Declared {
    /// The innermost manifest that declares it: those outside see it too.
    level: usize,
    /// The outermost declaration, with what it leaves open taken from those inside.
    variable: manifest::Variable,
    /// A value from the command line, which wins.
    given: Option<(Value, Origin)>,
    /// Whether a value from there is of no use, and that is reported.
    faulty: bool,
}

/// What the manifests of a role declare, in the order of the files.
struct Declarations<'a> {
    all: Vec<Declared>,
    places: BTreeMap<&'a str, usize>,
    /// Whether there are others that could not be read.
    is_partial: bool,
}

/// The variables of the manifests of a role.
pub(super) struct Scope {
    /// The variables, in the order of the files, the innermost first.
    pub(super) variables: Vec<Variable>,
    /// What the layers of each manifest see.
    pub(super) levels: Vec<Values>,
}

/// Binds the variables of a role's manifests.
pub(super) fn bind(role: &Role, context: &BindContext<'_>, report: &mut Report) -> Scope {
    let mut declared = declare(role, report);
    from_files(&mut declared, context, report);
    from_command_line(&mut declared, context, report);
    let mut variables = Vec::new();
    let mut known: Vec<BTreeMap<String, Binding>> =
        role.levels.iter().map(|_| always(context)).collect();
    for declared in declared.all {
        let level = declared.level;
        let bound = value_of(&declared, context.set_by, report);
        for values in &mut known[level..] {
            values.insert(bound.name.clone(), known_of(&bound, &declared.variable));
        }
        variables.push(bound);
    }
    let levels = known.into_iter().map(Values::new);
    let levels = levels.map(|values| if role.whole { values } else { values.partial() });
    Scope { variables, levels: levels.collect() }
}

/// Returns what the manifests of a role say of its variables together, each with the type that its values have.
pub fn declared(role: &Role) -> Vec<manifest::Variable> {
    let declared = declare(role, &mut Report::default()).all;
    let typed = declared.into_iter().map(|declared| {
        let kind = kind_of(&declared.variable);
        manifest::Variable { kind, ..declared.variable }
    });
    typed.collect()
}

/// Returns what is always there.
pub(super) fn always(context: &BindContext<'_>) -> BTreeMap<String, Binding> {
    [("lxc.name", context.container.name), ("lxc.arch", context.container.arch)]
        .map(|(name, value)| (name.to_owned(), Binding::Value(Value::String(value.to_owned()))))
        .into()
}

fn known_of(bound: &Variable, declared: &manifest::Variable) -> Binding {
    match (&bound.value, &bound.from, &declared.source) {
        (Some(value), _, _) => Binding::Value(value.clone()),
        (None, Some(layer), _) => Binding::From(layer.clone()),
        (None, None, VariableSource::Secret(Some(source))) => {
            Binding::Secret(Arc::new(SecretVariable {
                name: bound.name.clone(),
                source: source.clone(),
                at: bound.at.clone(),
            }))
        }
        _ => Binding::Faulty,
    }
}

/// Lays the `[vars]` of the manifests over each other.
fn declare<'a>(role: &'a Role, report: &mut Report) -> Declarations<'a> {
    let mut all: Vec<Declared> = Vec::new();
    let mut places: BTreeMap<&str, usize> = BTreeMap::new();
    for (level, manifest) in role.levels.iter().map(|level| &level.manifest).enumerate() {
        for variable in &manifest.variables {
            if let Some(place) = places.get(variable.name.as_str()) {
                let inner = &mut all[*place].variable;
                *inner = overlay(inner, variable, report);
            } else {
                places.insert(&variable.name, all.len());
                all.push(Declared {
                    level,
                    variable: variable.clone(),
                    given: None,
                    faulty: false,
                });
            }
        }
    }
    Declarations { all, places, is_partial: !role.whole }
}

/// Binds the variable of a base by one of the same name.
fn overlay(
    inner: &manifest::Variable,
    outer: &manifest::Variable,
    report: &mut Report,
) -> manifest::Variable {
    let kind = kind_of(inner);
    let fault = match (&inner.source, &outer.source) {
        (VariableSource::Secret(_), VariableSource::Secret(_)) => None,
        (VariableSource::Secret(_), _) => {
            Some("is a secret, and stays one: `{ secret = true, env = \"NAME\" }`".to_owned())
        }
        (_, VariableSource::Value(value, _)) => kind
            .filter(|kind| !kind.admits(value))
            .map(|kind| format!("is {}, and not {}", kind.article(), value.kind().article())),
        _ => None,
    };
    if let Some(fault) = fault {
        let message = format!("`{}` {fault}", inner.name);
        let help = format!("it is declared at {}", inner.at);
        report.push(Diagnostic::error(&outer.at, message).help(help));
        return inner.clone();
    }
    manifest::Variable {
        name: inner.name.clone(),
        at: outer.at.clone(),
        description: outer.description.clone().or_else(|| inner.description.clone()),
        kind: outer.kind.or(kind),
        source: outer.source.clone(),
    }
}

/// Returns the declared type, or that of the value.
fn kind_of(variable: &manifest::Variable) -> Option<VariableType> {
    variable.kind.or(match &variable.source {
        VariableSource::Value(value, _) => Some(value.kind()),
        _ => None,
    })
}

/// Takes the values of the vars files.
fn from_files(declared: &mut Declarations<'_>, context: &BindContext<'_>, report: &mut Report) {
    for source in context.vars_files {
        let (assignments, faults) = manifest::parse_vars(source);
        report.extend(faults);
        for line in assignments.into_iter().flatten() {
            let fault = |message: String| Diagnostic::error(&line.name_at, message);
            let Some(place) = place(declared, &line.name, fault, report) else { continue };
            let declared = &mut declared.all[place];
            let kind = kind_of(&declared.variable).unwrap_or(VariableType::String);
            if !kind.admits(&line.value) {
                let found = line.value.kind().article();
                let message = format!("`{}` is {}, and not {found}", line.name, kind.article());
                report.push(Diagnostic::error(&line.at, message));
                declared.faulty = true;
                continue;
            }
            match placed(line.value, kind, line.at.dir()) {
                Ok(value) => {
                    declared.given = Some((value, Origin::VarsFile(line.name_at.clone())));
                }
                Err(message) => {
                    report.push(Diagnostic::error(&line.at, message));
                    declared.faulty = true;
                }
            }
        }
    }
}

/// Takes the values of `--set`.
fn from_command_line(
    declared: &mut Declarations<'_>,
    context: &BindContext<'_>,
    report: &mut Report,
) {
    for word in context.set {
        let Some((name, text)) = assignment(word, report) else { continue };
        let Some(place) = place(declared, name, of_set, report) else { continue };
        let declared = &mut declared.all[place];
        let kind = kind_of(&declared.variable).unwrap_or(VariableType::String);
        let value = match kind {
            VariableType::Integer => text.parse().ok().map(Value::Integer),
            VariableType::Boolean => text.parse().ok().map(Value::Boolean),
            VariableType::String | VariableType::Path => Some(Value::String(text.to_owned())),
        };
        let value = value
            .filter(|_| !text.contains('\0'))
            .ok_or_else(|| format!("`{text}` is not {}", kind.article()))
            .and_then(|value| placed(value, kind, context.directory))
            .map_err(|message| format!("`{name}`: {message}"));
        match value {
            Ok(value) => declared.given = Some((value, Origin::Set)),
            Err(message) => {
                report.push(of_set(message));
                declared.faulty = true;
            }
        }
    }
}

/// Returns the place of a variable that a value may be given from outside the manifests.
fn place(
    declared: &Declarations<'_>,
    name: &str,
    fault: impl Fn(String) -> Diagnostic,
    report: &mut Report,
) -> Option<usize> {
    let Some(&place) = declared.places.get(name) else {
        if declared.is_partial {
            return None;
        }
        report.push_error(|| {
            let known = declared.places.keys().copied();
            let names = known.clone().map(|name| format!("`{name}`")).collect::<Vec<_>>();
            let help = match names.as_slice() {
                [] => "the role has no variables".to_owned(),
                names => format!("the role has {}", names.join(", ")),
            };
            let unknown = fault(format!("no variable is named `{name}`")).help(help);
            unknown.did_you_mean(name, known)
        });
        return None;
    };
    match &declared.all[place].variable.source {
        VariableSource::Value(..) | VariableSource::Required => Some(place),
        VariableSource::From(layer) => {
            let message = format!("`{name}` is decided during the run, by a pre of `{layer}`");
            report.push(fault(message));
            None
        }
        VariableSource::Secret(_) => {
            let message = format!("`{name}` is a secret, and others could read it here");
            let help = "the manifest says where it is read from, by `env` or `file`";
            report.push(fault(message).help(help));
            None
        }
    }
}

/// Decides the value of a variable.
fn value_of(declared: &Declared, set_by: SetBy, report: &mut Report) -> Variable {
    let variable = &declared.variable;
    let mut bound = open(variable);
    match (&declared.given, &variable.source) {
        (Some((value, origin)), _) => {
            bound.value = Some(value.clone());
            bound.origin = Some(origin.clone());
        }
        (None, _) if declared.faulty => {}
        (None, VariableSource::Value(value, at)) => {
            bound.origin = Some(Origin::Vars(variable.at.clone()));
            let kind = kind_of(variable).unwrap_or(VariableType::String);
            match placed(value.clone(), kind, at.dir()) {
                Ok(value) => bound.value = Some(value),
                Err(message) => report.push(Diagnostic::error(at, message)),
            }
        }
        (None, VariableSource::Required) => {
            let message = format!("`{}` is required, and nothing gives it a value", variable.name);
            let say = format!("give it by `{}` or in a vars file", set_by.typed(&variable.name));
            report.push(Diagnostic::error(&variable.at, message).help(described(variable, &say)));
        }
        (None, VariableSource::From(layer)) => {
            bound.from = Some(layer.clone());
            bound.origin = Some(Origin::Pre(layer.clone()));
        }
        (None, VariableSource::Secret(Some(source))) => {
            bound.origin = Some(Origin::Secret(source.clone()));
        }
        (None, VariableSource::Secret(None)) => {
            let message = format!("nothing says where secret `{}` is read from", variable.name);
            let say = "bind it in a manifest that extends this one, as \
                       `{ secret = true, env = \"NAME\" }`";
            report.push(Diagnostic::error(&variable.at, message).help(described(variable, say)));
        }
    }
    bound
}

/// Returns a variable whose value is still open.
pub(super) fn open(variable: &manifest::Variable) -> Variable {
    Variable {
        name: variable.name.clone(),
        value: None,
        from: None,
        at: variable.at.clone(),
        description: variable.description.clone(),
        secret: matches!(variable.source, VariableSource::Secret(_)),
        is_path: variable.kind == Some(VariableType::Path),
        origin: None,
    }
}

/// Puts what a variable is for in front of a help.
pub(super) fn described(variable: &manifest::Variable, help: &str) -> String {
    match &variable.description {
        Some(description) => format!("{description}; {help}"),
        None => help.to_owned(),
    }
}

/// Makes a path absolute: it is relative to `dir`. Other values stay.
pub(super) fn placed(value: Value, kind: VariableType, dir: &Path) -> Result<Value, String> {
    let (VariableType::Path, Value::String(text)) = (kind, &value) else { return Ok(value) };
    if text.is_empty() {
        return Err("an empty path".to_owned());
    }
    if text.starts_with('/') {
        return Ok(value);
    }
    if dir.as_os_str().is_empty() {
        return Err(format!("`{text}` is relative, and a compiled-in layer has no directory"));
    }
    let text = text.strip_prefix("./").unwrap_or(text);
    match dir.join(text).into_os_string().into_string() {
        Ok(path) => Ok(Value::String(path)),
        Err(path) => Err(format!("`{}` is not UTF-8", path.to_string_lossy())),
    }
}

/// Warns of variables that nothing can see.
///
/// Steps see all that is no secret, so where there is a step only a secret can be unused.
pub(super) fn warn_unused<'a>(
    variables: impl IntoIterator<Item = &'a Variable>,
    used: &BTreeSet<String>,
    sees_all: bool,
    report: &mut Report,
) {
    for variable in variables {
        let seen = (sees_all && !variable.secret) || used.contains(&variable.name);
        if !seen {
            let message = format!("variable `{}` is never used", variable.name);
            let diagnostic = Diagnostic::warning(&variable.at, message);
            report.push(if variable.secret {
                diagnostic.help(format!("no layer lists it: `secrets = [\"{}\"]`", variable.name))
            } else {
                diagnostic
            });
        }
    }
}
