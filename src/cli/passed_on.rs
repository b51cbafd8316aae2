//! What of a call goes to the template of a role, and what is most likely meant for somebody else.

use std::ffi::OsString;
use std::path::PathBuf;

use super::arguments::ValueArguments;
use super::load::Loaded;
use crate::host::trust::Trust;
use crate::host::{self, files};
use crate::lxc::call::{Arguments, VariableOption};
use crate::lxc::slip::{Slip, TemplateOptions};
use crate::manifest::{TemplateRef, Variable, VariableType, shebang};

/// Looks for a misspelt option of the role, or of the program.
pub(super) fn slip(
    loaded: &Loaded,
    options: &[VariableOption],
    arguments: &Arguments,
    trust: &Trust,
) -> Option<Slip> {
    if arguments.rest.is_empty() {
        return None;
    }
    let reference = loaded.template()?;
    let name = known_name(reference);
    let inner = inner_role(reference)
        .and_then(|path| Loaded::read(&path, &ValueArguments::default(), trust).0);
    let inner: Vec<_> = inner.iter().flat_map(Loaded::variables).collect();
    let variables: Vec<_> = inner.iter().map(option).collect();
    let args = given_args(loaded, arguments);
    let known = TemplateOptions { template: name.as_deref(), args: &args, variables: &variables };
    Slip::find(&arguments.rest, options, &known)
}

/// Returns the path of a template that is a manifest itself.
fn inner_role(reference: &TemplateRef) -> Option<PathBuf> {
    let path = match reference {
        TemplateRef::BuiltinBusybox => return None,
        TemplateRef::Name(name) => host::template::find(name).ok()?,
        TemplateRef::Path(path) => path.clone(),
    };
    let head = files::read_head(&path, shebang::LONGEST).ok()?;
    shebang::is_of_this_program(&head).then_some(path)
}

/// Returns the name by which the options of a template may be known.
pub(super) fn known_name(template: &TemplateRef) -> Option<String> {
    match template {
        TemplateRef::BuiltinBusybox => Some("busybox".to_owned()),
        TemplateRef::Name(name) => Some(name.clone()),
        TemplateRef::Path(path) => path.file_name().map(|name| {
            let name = name.to_string_lossy();
            name.strip_prefix("lxc-").unwrap_or(&name).to_owned()
        }),
    }
}

/// Returns the words that the manifest gives its template; none, where something keeps them from being known.
pub(super) fn given_args(loaded: &Loaded, arguments: &Arguments) -> Vec<OsString> {
    let name = arguments.name.as_deref().and_then(|name| name.to_str()).unwrap_or("NAME");
    let chain = loaded.bind(name).0;
    let args = chain.iter().flat_map(|chain| &chain.upstream.args);
    args.map(OsString::from).collect()
}

/// Returns a variable as an option.
pub(super) fn option(variable: &Variable) -> VariableOption {
    let is_flag = variable.kind == Some(VariableType::Boolean);
    VariableOption { name: variable.name.clone(), is_flag }
}
