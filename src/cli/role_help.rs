//! The help of a manifest that is a template: what it is for, and which options it has.

use std::fmt::Write;
use std::path::Path;

use super::load::Loaded;
use super::{show, template};
use crate::host::template::depth;
use crate::lxc::call::option_of;
use crate::manifest::{TemplateRef, Value, Variable, VariableSource, VariableType};
use crate::shell;

/// The column where the meaning of an option begins, as in the program's own options.
const COLUMN: usize = 27;

/// How wide a line may be.
const WIDTH: usize = 80;

/// Returns the help of a role.
pub(super) fn text(manifest: &Path, loaded: &Loaded, variables: &[Variable]) -> String {
    let absolute = std::path::absolute(manifest).unwrap_or_else(|_| manifest.to_path_buf());
    let mut levels = loaded.levels().iter().rev();
    let description = levels.find_map(|level| level.manifest.description.as_deref());
    let description = shell::one_line(description.unwrap_or("a container"));
    let mut text = format!("{}: {description}\n\n", shell::word(manifest));
    let _ = writeln!(text, "  lxc-create -t {} -n NAME -- [OPTIONS]", shell::word(&absolute));
    if !variables.is_empty() {
        text.push_str("\nIts variables:\n");
        for variable in variables {
            let meaning: Vec<_> =
                variable.description.iter().map(|text| shell::one_line(text)).collect();
            let meaning = [meaning, source(variable)].concat().join(" ");
            described(&mut text, &spelling(variable), &meaning);
        }
    }
    text.push_str(&show::nest_of(loaded));
    // A role within a role has its options from that.
    if depth() == 0 {
        let _ = write!(text, "\nOther options:\n{}", template::OPTIONS);
        if loaded.template() != Some(&TemplateRef::BuiltinBusybox) {
            text.push_str("\nAll other arguments go to its template.\n");
        }
    }
    text
}

/// Returns how a variable is set, or its name alone where no option sets it.
fn spelling(variable: &Variable) -> String {
    let name = &variable.name;
    match &variable.source {
        VariableSource::Secret(_) | VariableSource::From(_) => return name.clone(),
        VariableSource::Value(..) | VariableSource::Required => {}
    }
    let value = match variable.kind {
        Some(VariableType::Integer) => "NUMBER",
        Some(VariableType::Path) => "PATH",
        Some(VariableType::Boolean) => "true|false",
        Some(VariableType::String) | None => "VALUE",
    };
    match option_of(name) {
        // The program has an option of this name.
        None => format!("--set {name}={value}"),
        Some(option) if variable.kind == Some(VariableType::Boolean) => match &variable.source {
            VariableSource::Value(Value::Boolean(true), _) => format!("{option}=false"),
            _ => option,
        },
        Some(option) => format!("{option} {value}"),
    }
}

/// Returns what a variable is without being set, as words.
fn source(variable: &Variable) -> Vec<String> {
    let said = match &variable.source {
        VariableSource::Value(value, _) => {
            let value = value.to_string();
            let value = if value.is_empty() { "\"\"".to_owned() } else { value };
            format!("[default: {}]", shell::one_line(&value))
        }
        VariableSource::Required => "[required]".to_owned(),
        VariableSource::Secret(None) => "[a required secret]".to_owned(),
        VariableSource::Secret(Some(source)) => format!("[a secret: {source}]"),
        VariableSource::From(_) => "[decided by its pre steps]".to_owned(),
    };
    vec![said]
}

/// Adds an option and its meaning, broken at words.
fn described(text: &mut String, option: &str, meaning: &str) {
    let mut line = format!("  {option}");
    let mut column = line.chars().count();
    if column + 2 > COLUMN {
        text.push_str(&line);
        text.push('\n');
        line.clear();
        column = 0;
    }
    line.extend(std::iter::repeat_n(' ', COLUMN - column));
    column = COLUMN;
    for word in meaning.split(' ') {
        let width = word.chars().count();
        if column > COLUMN && column + 1 + width > WIDTH {
            text.push_str(&line);
            text.push('\n');
            line = " ".repeat(COLUMN);
            column = COLUMN;
        } else if column > COLUMN {
            line.push(' ');
            column += 1;
        }
        line.push_str(word);
        column += width;
    }
    text.push_str(&line);
    text.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_option_and_its_meaning_fit_a_terminal() {
        let mut text = String::new();
        described(&mut text, "--port NUMBER", "where it listens [default: 80]");
        let meaning = "a host name that is served by this container and by no other one";
        described(&mut text, "--a-name-of-many-letters VALUE", meaning);
        let expected = "  --port NUMBER            where it listens [default: 80]
  --a-name-of-many-letters VALUE
                           a host name that is served by this container and by
                           no other one
";
        assert_eq!(text, expected);
    }
}
