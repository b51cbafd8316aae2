//! The program as an LXC template: the door that `lxc-create` comes through.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use super::arguments::{LogFormat, TalkArguments, ValueArguments};
use super::load::Loaded;
use super::options::Options;
use super::passed_on::{self, given_args, known_name};
use super::refused_run::RefusedRun;
use super::remote::RemoteChoice;
use super::request::{self, ContainerIds, LockUse, Request, wanted};
use super::run::run;
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
use crate::lxc::request::InfoRequest;
use crate::lxc::slip::{Slip, TemplateOptions};
use crate::lxc::upstream::{ASKS, DEEPEST, DEPTH};
use crate::manifest::TemplateRef;
use crate::plan::{Plan, StorageMode, Target, Template};
use crate::record::RunVerb;
use crate::{shell, store};

const HELP: &str = "\
layered-template makes a container from a manifest: ordered layers around an LXC
template.

  lxc-create -t layered-template -n NAME -- --manifest ROLE.toml [ARGUMENTS...]

  --manifest FILE          use this manifest; a first argument that is no option
                           means the same
";

/// The options that there are by whichever name the program is called.
pub(super) const OPTIONS: &str = "  --set NAME=VALUE         set a variable of the manifest
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
";

const NO_MANIFEST: &str =
    "no manifest is given: lxc-create -t layered-template -n NAME -- --manifest ROLE.toml";

/// What comes behind them.
const REST: &str = "
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
            Some(InfoRequest::Help) => output::printed(informational(&arguments), own_help),
            _ => {
                let slip = Slip::find(&arguments.rest, &[], &TemplateOptions::default());
                usage(&match slip {
                    Some(slip) => format!("no manifest is given, and {}", slip.of_template()),
                    None => NO_MANIFEST.to_owned(),
                })
            }
        };
    };
    let trust = Trust::observe(Policy::Refuse.unless(arguments.allow_untrusted));
    let (loaded, report) = Loaded::read(&manifest, &values(&arguments), &trust);
    let slip = loaded.as_ref().and_then(|loaded| passed_on::slip(loaded, &[], &arguments, &trust));
    if let Some(slip) = slip.filter(|_| template::depth() == 0) {
        output::warning(&slip.of_template(), options(&arguments).talk.log_format);
    }
    Call { manifest: &manifest, trust, arguments: &arguments, help: None }.run(loaded, report)
}

fn own_help(to: &mut dyn io::Write) -> io::Result<()> {
    [HELP, OPTIONS, REST].iter().try_for_each(|text| to.write_all(text.as_bytes()))
}

/// A call of the template, whichever way its manifest was named.
pub(super) struct Call<'a> {
    pub(super) manifest: &'a Path,
    /// Whose files are taken.
    pub(super) trust: Trust,
    pub(super) arguments: &'a Arguments,
    /// The help of the manifest, where that is the template.
    pub(super) help: Option<String>,
}

impl Call<'_> {
    /// Makes the container, or answers what the call asks, and returns the exit status.
    pub(super) fn run(self, loaded: Option<Loaded>, report: Report) -> u8 {
        let loaded = loaded.as_ref();
        if let Some(question) = loaded.and_then(|loaded| asks(loaded, self.arguments)) {
            return self.answer(&question, loaded, report);
        }
        if template::is_asked() {
            let manifest = self.manifest.display();
            output::say(&format!("`{manifest}` has no answer: its template has no list"));
            return informational(self.arguments);
        }
        let call = match (self.arguments.call(), &self.help) {
            (Ok(call), _) => call,
            (Err(_), Some(help)) if !self.arguments.is_of_lxc() => {
                let message = "only `lxc-create` makes something of these arguments";
                output::error(message, None);
                return output::printed(status::USAGE, |to| to.write_all(help.as_bytes()));
            }
            (Err(error), _) => return usage(&error.to_string()),
        };
        let request = match request((self.manifest, self.trust), self.arguments, &call) {
            Ok(request) => request,
            Err(status) => return status,
        };
        let options = options(self.arguments);
        match request.prepare_run(loaded, report, options) {
            Ok((prepared, secrets)) => run(&prepared, secrets, options).told(),
            Err(status) => status,
        }
    }
}

/// Returns what gives the variables of the manifest values.
pub(super) fn values(arguments: &Arguments) -> ValueArguments {
    ValueArguments { set: arguments.set.clone(), vars_files: arguments.vars_files.clone() }
}

/// Says what is wrong with the words of the call.
fn usage(message: &str) -> u8 {
    output::error(message, Some("run `lxc-create -t layered-template -h`"));
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

/// Shows why the manifest of a call cannot be used, and returns the exit status. The history has it, where LXC has
/// called.
pub(super) fn refused(
    (manifest, loaded): (&Path, Option<&Loaded>),
    arguments: &Arguments,
    report: &Report,
) -> u8 {
    let status = output::refused(report);
    if let Ok(call) = arguments.call() {
        let (target, options) = (target(&call), options(arguments));
        RefusedRun::new((manifest, loaded), &target, &arguments.set, options).note(status, report);
    }
    status
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
    let template = loaded.template()?;
    let (known, before) = (known_name(template), given_args(loaded, arguments));
    let request = lxc::request::judge(known.as_deref(), &before, &arguments.rest)?;
    // What is built in has no help of its own to ask for, and takes no arguments.
    let builtin = *template == TemplateRef::BuiltinBusybox;
    let args = if builtin { Vec::new() } else { arguments.rest.clone() };
    Some(Question { request, args })
}

/// A call that only asks for something.
struct Question {
    request: InfoRequest,
    /// What the template is to be called with.
    args: Vec<OsString>,
}

impl Call<'_> {
    /// Answers a call that only asks. No step runs, and nothing is made.
    fn answer(self, question: &Question, loaded: Option<&Loaded>, report: Report) -> u8 {
        let Self { manifest, trust, arguments, help } = self;
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
        let asks_help = question.request == InfoRequest::Help;
        let plan = match (&help, loaded) {
            (Some(help), Some(loaded)) if asks_help => {
                output::diagnostics(&report);
                if output::print(|to| to.write_all(help.as_bytes())).is_err() {
                    return status::UPSTREAM;
                }
                // A variable may lack its value: the template's help is left out then.
                match request.look(loaded) {
                    Ok(prepared) => prepared.plan,
                    Err(_) => return informational(arguments),
                }
            }
            _ => match request.prepare_loaded(loaded, report) {
                Ok(prepared) => prepared.plan,
                Err(status) => return status,
            },
        };
        let printed = match (asks_help, help) {
            (true, Some(_)) => output::print(|to| upstream_title(&plan, to)),
            (true, None) => output::print(|to| {
                own_help(to)?;
                role(&plan, to)
            }),
            (false, _) => Ok(()),
        };
        if printed.is_err() {
            return status::UPSTREAM;
        }
        match ask_upstream(&plan) {
            Ok(()) => informational(arguments),
            Err(status) => status,
        }
    }
}

/// Has the template answer, unless it is built in.
fn ask_upstream(plan: &Plan) -> Result<(), u8> {
    let upstream = plan.upstream();
    let Template::File { path, is_manifest, .. } = &upstream.program else { return Ok(()) };
    let name = shell::one_line(&upstream.template);
    if !plan::pin_holds(plan) {
        let message = format!("template `{name}` is not the one that the manifest pins");
        output::error(&message, Some("review what has changed in it, then pin the new one"));
        return Err(status::UPSTREAM);
    }
    let depth = template::depth();
    if depth >= DEEPEST {
        let message = format!("template `{name}` is this program again, {depth} levels deep");
        output::error(&message, Some("a manifest cannot invoke itself"));
        return Err(status::UPSTREAM);
    }
    let mut command = template::command(path, *is_manifest);
    command
        .args(&upstream.args)
        .env_clear()
        .envs(upstream.environment.iter().map(|(name, value)| (name, value)))
        .env(DEPTH, (depth + 1).to_string())
        .env(ASKS, "1")
        .stdin(Stdio::inherit());
    match command.status() {
        Ok(ended) => tracing::debug!(%ended, "the template has answered"),
        Err(error) => {
            output::error(&format!("`{}`: {error}", path.display()), None);
            return Err(status::UPSTREAM);
        }
    }
    Ok(())
}

/// Writes what a manifest is for.
fn role(plan: &Plan, to: &mut dyn io::Write) -> io::Result<()> {
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
    upstream_title(plan, to)
}

/// Writes what stands before the help of the template. The program's own has none.
fn upstream_title(plan: &Plan, to: &mut dyn io::Write) -> io::Result<()> {
    let upstream = plan.upstream();
    match upstream.program {
        Template::File { .. } => {
            let template = shell::one_line(&upstream.template);
            writeln!(to, "\nThe help of its template, {template}:\n")
        }
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
        for line in [HELP, OPTIONS, REST].iter().flat_map(|text| text.lines()) {
            assert!(line.chars().count() <= 80, "{line}");
        }
    }
}
