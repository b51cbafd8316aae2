//! The program as an LXC template: the door that `lxc-create` comes through.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::arguments::{LogFormat, TalkArguments, ValueArguments};
use super::load::Loaded;
use super::remote::RemoteChoice;
use super::request::{self, ContainerIds, LockUse, Request, wanted};
use super::run::{Options, run};
use super::{output, plan};
use crate::diagnostic::Report;
use crate::execute::status;
use crate::host::caller::Caller;
use crate::host::files;
use crate::host::state::RunDirectory;
use crate::host::template;
use crate::host::trust::{Policy, Trust};
use crate::host::userns::Ids;
use crate::lxc;
use crate::lxc::call::{Arguments, TemplateCall};

use crate::lxc::upstream::{DEEPEST, DEPTH};
use crate::manifest::TemplateRef;
use crate::observe::secret;
use crate::plan::{Plan, StorageMode, Target, Template};
use crate::record::RunVerb;
use crate::{shell, store};

const HELP: &str = "\
layered-template makes a container from a manifest: ordered layers around an LXC
template.

  lxc-create -t layered-template -n NAME -- --manifest ROLE.toml [ARGUMENTS...]

  --manifest FILE          use this manifest; a first argument that is no option
                           means the same
  --set NAME=VALUE         set a variable of the manifest
  --vars-file FILE         set variables from a TOML file
  --storage HOW            how to use the layer store: `copy` it into the
                           container, which is the default, share it through
                           overlayfs (`overlay`), or do not use it (`none`)
  --from REGISTRY/REPO     pull layers that are not stored from a registry; by
                           default from that of remote.toml in
                           /etc/layered-template, or of the user's
  --only-pull              build nothing: a layer that is neither stored nor
                           there is a failure
  --rebuild                rebuild everything that is stored
  --locked                 hold the role to its lock: refuse what has changed
  --keep-failed            keep the rootfs of a failed run for people to look at
  --allow-untrusted        as root, take files that others could have written,
                           and give steps the host's network even where nothing
                           keeps them from the host's containers
  --log-format text|json   progress output format
  -h, --help               show this help; with a manifest, its role, its
                           layers, and its template's own help

All other arguments go to the template that the manifest wraps. To see what a
run would do, use `layered-template plan ROLE.toml`.
";

/// Runs the program as a template, and returns the exit status.
pub(super) fn main(words: &[OsString]) -> u8 {
    output::trace(0);
    let arguments = match Arguments::parse(words) {
        Ok(arguments) => arguments,
        Err(error) => return usage(&error.to_string()),
    };
    let Some(manifest) = arguments.manifest.clone() else {
        return match lxc::request::judge(None, &[], &arguments.rest) {
            Some(lxc::request::InfoRequest::Help) => {
                output::printed(informational(&arguments), |to| to.write_all(HELP.as_bytes()))
            }
            _ => usage(
                "no manifest is given: lxc-create -t layered-template -n NAME -- --manifest \
                 ROLE.toml",
            ),
        };
    };
    let trust = Trust::observe(Policy::Refuse.unless(arguments.allow_untrusted));
    let (loaded, report) = Loaded::read(&manifest, &values(&arguments), &trust);
    if let Some(question) = loaded.as_ref().and_then(|loaded| asks(loaded, &arguments)) {
        return answer(&question, (&manifest, trust), (loaded.as_ref(), report), &arguments);
    }
    let call = match arguments.call() {
        Ok(call) => call,
        Err(error) => return usage(&error.to_string()),
    };
    let request = match request((&manifest, trust), &arguments, &call) {
        Ok(request) => request,
        Err(status) => return status,
    };
    let prepared = match request.prepare_loaded(loaded.as_ref(), report) {
        Ok(prepared) => prepared,
        Err(status) => return status,
    };
    match secret::read(&prepared.chain) {
        Ok(secrets) => run(&prepared, secrets, options(&arguments)).told(),
        Err(report) => output::refused(&report),
    }
}

fn values(arguments: &Arguments) -> ValueArguments {
    ValueArguments { set: arguments.set.clone(), vars_files: arguments.vars_files.clone() }
}

fn usage(message: &str) -> u8 {
    output::error(message, Some("`-h` says how the program is called"));
    status::USAGE
}

fn options(arguments: &Arguments) -> Options {
    let log_format = match arguments.log_format.as_deref() {
        Some("json") => LogFormat::Json,
        _ => LogFormat::Text,
    };
    let talk = TalkArguments { verbose: 0, quiet: false, log_format };
    let Arguments { keep_failed, allow_untrusted, .. } = *arguments;
    Options { talk, keep_failed, allow_untrusted, verb: RunVerb::Template }
}

/// Returns what a call asks for. What cannot be read of the container's config is told when the run
/// comes to it.
///
/// # Errors
///
/// With the exit status, where a registry cannot be used.
fn request(
    (manifest, trust): (&Path, Trust),
    arguments: &Arguments,
    call: &TemplateCall,
) -> Result<Request, u8> {
    let mode = match arguments.storage.as_deref() {
        Some("overlay") => StorageMode::Overlay,
        Some("none") => StorageMode::None,
        _ => StorageMode::Copy,
    };
    let mut wanted = wanted(mode, arguments.rebuild);
    let Arguments { only_pull, allow_untrusted, .. } = *arguments;
    let remote = RemoteChoice { from: arguments.from.as_deref(), only_pull, allow_untrusted };
    let remote = remote.open(&mut wanted)?;
    let config = files::read_regular(&call.path.join("config"), lxc::config::LARGEST);
    let map = (!Ids::are_in_pieces()).then(|| store::map_of(Ids::of_this_process()));
    let is_mapped = Caller::observe().is_mapped_root();
    Ok(Request {
        manifest: manifest.to_path_buf(),
        values: values(arguments),
        trust,
        target: target(call),
        wanted,
        remote,
        ids: ContainerIds { map, is_mapped },
        config: config.unwrap_or_default(),
        lock: LockUse::Ignore.unless(arguments.locked),
    })
}

fn target(call: &TemplateCall) -> Target {
    let target = request::target(&call.name, &call.path, call.mapped, call.args.clone());
    Target { rootfs: call.rootfs.clone(), ..target }
}

/// Returns the exit status of a call that only asks: LXC has made the shell of a container by then,
/// where it gave a path, and must not keep it.
fn informational(arguments: &Arguments) -> u8 {
    if arguments.path.is_some() { status::INFORMATIONAL } else { 0 }
}

/// Tells whether the user's words ask for something.
///
/// The manifest says which template they are for; one that cannot be used is shown later.
fn asks(loaded: &Loaded, arguments: &Arguments) -> Option<Question> {
    let name = arguments.name.as_deref().and_then(|name| name.to_str()).unwrap_or("NAME");
    let chain = loaded.bind(name).0?;
    let template = match &chain.upstream.template {
        TemplateRef::BuiltinBusybox => Some("busybox".to_owned()),
        TemplateRef::Name(name) => Some(name.clone()),
        TemplateRef::Path(path) => path.file_name().map(|name| {
            let name = name.to_string_lossy();
            name.strip_prefix("lxc-").unwrap_or(&name).to_owned()
        }),
    };
    let before: Vec<OsString> = chain.upstream.args.iter().map(OsString::from).collect();
    let request = lxc::request::judge(template.as_deref(), &before, &arguments.rest)?;
    // What is built in has no help of its own to ask for, and takes no arguments.
    let builtin = chain.upstream.template == TemplateRef::BuiltinBusybox;
    let args = if builtin { Vec::new() } else { arguments.rest.clone() };
    Some(Question { request, args })
}

/// A call that only asks for something.
struct Question {
    request: lxc::request::InfoRequest,
    /// What the template is to be called with.
    args: Vec<OsString>,
}

/// Answers a call that only asks. No step runs, and nothing is made.
fn answer(
    question: &Question,
    (manifest, trust): (&Path, Trust),
    (loaded, report): (Option<&Loaded>, Report),
    arguments: &Arguments,
) -> u8 {
    // Upstreams remove what they think is theirs when they lack one of the three arguments.
    let scratch = if arguments.path.is_none() { scratch() } else { None };
    let target = match (&scratch, arguments.call()) {
        (_, Ok(call)) => Target { args: question.args.clone(), ..target(&call) },
        (Some((_, path)), Err(_)) => {
            request::target("NAME", path, arguments.mapped, question.args.clone())
        }
        (None, Err(error)) => return usage(&error.to_string()),
    };
    let request = Request {
        manifest: manifest.to_path_buf(),
        values: values(arguments),
        trust,
        target,
        wanted: wanted(StorageMode::None, false),
        ids: ContainerIds { map: None, is_mapped: false },
        config: Vec::new(),
        lock: LockUse::Ignore,
        remote: None,
    };
    let plan = match request.prepare_loaded(loaded, report) {
        Ok(prepared) => prepared.plan,
        Err(status) => return status,
    };
    if question.request == lxc::request::InfoRequest::Help {
        let printed = output::print(|to| {
            to.write_all(HELP.as_bytes())?;
            role(&plan, to)
        });
        if printed.is_err() {
            return status::UPSTREAM;
        }
    }
    let upstream = plan.upstream();
    if let Template::File { path, .. } = &upstream.program {
        let name = shell::one_line(&upstream.template);
        if !plan::pin_holds(&plan) {
            let message = format!("template `{name}` is not the one that the manifest pins");
            output::error(&message, Some("review what has changed in it, then pin the new one"));
            return status::UPSTREAM;
        }
        let depth = template::depth();
        if depth >= DEEPEST {
            let message = format!("template `{name}` is this program again, {depth} levels deep");
            output::error(&message, Some("a manifest cannot invoke itself through `args`"));
            return status::UPSTREAM;
        }
        let mut command = Command::new(path);
        command
            .args(&upstream.args)
            .env_clear()
            .envs(upstream.environment.iter().map(|(name, value)| (name, value)))
            .env(DEPTH, (depth + 1).to_string())
            .stdin(Stdio::inherit());
        match command.status() {
            Ok(ended) => tracing::debug!(%ended, "the template has answered"),
            Err(error) => {
                output::error(&format!("`{}`: {error}", path.display()), None);
                return status::UPSTREAM;
            }
        }
    }
    informational(arguments)
}

/// Writes what a manifest is for.
fn role(plan: &Plan, to: &mut dyn std::io::Write) -> std::io::Result<()> {
    let manifest = shell::one_line(&plan.manifest.path.to_string_lossy());
    let description = plan.manifest.description.as_deref().unwrap_or("a container");
    writeln!(to, "\n{manifest}: {}\n", shell::one_line(description))?;
    if !plan.variables.is_empty() {
        writeln!(to, "Its variables:")?;
        for variable in &plan.variables {
            let value = match (&variable.value, &variable.from) {
                (Some(value), _) => Some(format!(" = {}", shell::word(value))),
                (None, Some(layer)) => Some(format!(" (decided by pre of {layer})")),
                (None, None) => None,
            };
            let description = variable.description.as_ref();
            let description = description.map(|text| format!("  {}", shell::one_line(text)));
            let (value, description) = (value.unwrap_or_default(), description.unwrap_or_default());
            writeln!(to, "  {}{value}{description}", variable.name)?;
        }
        writeln!(to)?;
    }
    writeln!(to, "Its layers, the outermost first:")?;
    for layer in plan.layers() {
        writeln!(to, "  {}", layer.name)?;
    }
    let upstream = plan.upstream();
    match upstream.program {
        Template::File { .. } => {
            let template = shell::one_line(&upstream.template);
            writeln!(to, "\nThe help of its template, {template}:\n")
        }
        // The program's own has none.
        Template::Busybox { .. } => Ok(()),
    }
}

/// Makes a directory that stands in for a container's.
fn scratch() -> Option<(RunDirectory, PathBuf)> {
    let directory = RunDirectory::make_temporary("help", None).ok()?;
    let path = directory.place("NAME");
    std::fs::create_dir_all(path.join("rootfs")).ok()?;
    Some((directory, path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_help_fits_every_terminal() {
        for line in HELP.lines() {
            assert!(line.chars().count() <= 80, "{line}");
        }
    }
}
