//! Observes the host for a plan: nothing is changed, and nothing is run but, to find out whether that
//! can be, an empty program of a machine that a template is asked for.

use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::{hook, interpreters, tree};
use crate::chain::{self, Chain, Dropped};
use crate::diagnostic::{Diagnostic, Report, nearest};
use crate::digest::Digest;
use crate::host::machine::{self, Support};
use crate::host::template::TemplateFault;
use crate::host::trust::{Opened, Trust, Untrusted};
use crate::host::{elf, files, template};
use crate::manifest::shebang;
use crate::manifest::{Action, Place, SecretSource, Step, TemplateRef};
use crate::plan::{self, Facts, Program, ProgramKind, Script, SourceFact};
use crate::shell;
use crate::source::At;

/// The largest source that is a template of variables, in bytes.
const LARGEST_TEMPLATE: u64 = 1024 * 1024;

/// The largest script, in bytes.
const LARGEST_SCRIPT: usize = 16 * 1024 * 1024;

/// Where distributions put a busybox.
const BUSYBOX: [&str; 4] =
    ["/bin/busybox", "/usr/bin/busybox", "/sbin/busybox", "/bin/busybox.static"];

/// Returns the machine's architecture as Debian and LXC's images name it.
pub fn arch() -> &'static str {
    match env::consts::ARCH {
        "x86_64" => "amd64",
        "x86" => "i386",
        "aarch64" => "arm64",
        "arm" => "armhf",
        "powerpc64" => "ppc64el",
        "loongarch64" => "loong64",
        other => other,
    }
}

/// Observes what a plan depends on.
#[derive(Debug, Default)]
pub struct Probe {
    trust: Trust,
    report: Report,
    /// The digest of a template that need not be there.
    known: Option<Digest>,
    is_absent: bool,
    /// What is reported as what cannot be used.
    unreadable: BTreeSet<PathBuf>,
}

impl Probe {
    /// Creates one of a host with files that root may have to refuse.
    pub(crate) fn new(trust: &Trust) -> Self {
        Self { trust: trust.clone(), ..Self::default() }
    }

    /// Takes this for the template's digest where the template is not there: what it made is stored.
    #[must_use]
    pub(crate) fn knowing(self, template: Option<Digest>) -> Self {
        Self { known: template, ..self }
    }

    /// Tells whether the template of a chain, or the busybox that one copies, is not on this host.
    pub(crate) fn lacks_template(chain: &Chain) -> bool {
        let found = find_template(&chain.upstream.template);
        found.map_or_else(|| busybox().is_none(), |found| found.is_err())
    }

    /// Warns of a template that is not on this host: it may well be on the one that the manifest is for.
    pub(crate) fn warn_of_template(chain: &Chain) -> Report {
        let mut report = Report::default();
        let upstream = &chain.upstream;
        if let Some(Err(fault)) = find_template(&upstream.template) {
            let warning = Diagnostic::warning(&upstream.at, format!("{fault} on this host"));
            report.push(help_with_template(warning, &upstream.template, &fault));
        }
        report
    }

    /// Observes all that the plan of a chain depends on; `args` are the user's words for the template.
    ///
    /// The facts are there if no diagnostic of the report is an error.
    pub(crate) fn all(mut self, chain: &Chain, args: &[OsString]) -> (Option<Facts>, Report) {
        let program = self.program(chain);
        let foreign = plan::asked_for(chain, args)
            .filter(|machine| machine::support(*machine) == Support::None);
        let is_absent = self.is_absent;
        let facts = Facts { program, is_absent, foreign, ..self.facts(chain) };
        (Some(facts).filter(|_| !self.report.has_errors()), self.report)
    }

    /// Observes what a manifest names, but for the template: a manifest is judged on other hosts too.
    pub fn files(mut self, chain: &Chain) -> (Facts, Report) {
        (self.facts(chain), self.report)
    }

    fn facts(&mut self, chain: &Chain) -> Facts {
        let environment = env::vars_os().collect();
        self.inputs(chain);
        self.secrets(chain);
        self.interpreters(chain);
        let (sources, scripts) = (self.sources(chain), self.scripts(chain));
        self.report.extend(hook::warn(chain, &sources));
        Facts { program: None, is_absent: false, foreign: None, environment, sources, scripts }
    }

    fn program(&mut self, chain: &Chain) -> Option<Program> {
        let upstream = &chain.upstream;
        let Some(found) = find_template(&upstream.template) else {
            let found = busybox();
            self.is_absent = found.is_none() && self.known.is_some();
            let assumed = self.is_absent.then(|| BUSYBOX[0].into());
            return Some(Program::Busybox(found.or(assumed)));
        };
        let path = match found {
            Ok(path) => path,
            Err(fault) => {
                if let Some(digest) = self.known {
                    self.is_absent = true;
                    let path = match &upstream.template {
                        TemplateRef::Path(path) => path.clone(),
                        TemplateRef::Name(name) => template::usual_path(name),
                        TemplateRef::BuiltinBusybox => BUSYBOX[0].into(),
                    };
                    let kind = ProgramKind::Other;
                    return Some(Program::File { path, digest, kind });
                }
                let diagnostic = Diagnostic::error(&upstream.at, fault.to_string());
                self.report.push(help_with_template(diagnostic, &upstream.template, &fault));
                return None;
            }
        };
        let opened = self.trust.open(&path).and_then(|Opened { file, untrusted }| {
            let mut file = File::from(file);
            let mut first = Vec::new();
            (&mut file).take(shebang::LONGEST).read_to_end(&mut first)?;
            let (digest, _) = Digest::of_reader(first.chain(file))?;
            Ok((untrusted, digest, shebang::is_of_this_program(&first)))
        });
        match opened {
            Ok((untrusted, digest, is_manifest)) => {
                let what = format!("the template `{}`", path.display());
                self.report(untrusted, &what, &upstream.at);
                let kind = match is_manifest {
                    true => ProgramKind::Manifest,
                    false if is_this_program(&path, digest) => ProgramKind::ThisProgram,
                    false => ProgramKind::Other,
                };
                Some(Program::File { path, digest, kind })
            }
            Err(error) => {
                let message = format!("`{}` cannot be read: {error}", path.display());
                self.report.push(Diagnostic::error(&upstream.at, message));
                None
            }
        }
    }

    fn sources(&mut self, chain: &Chain) -> BTreeMap<PathBuf, SourceFact> {
        let mut sources: BTreeMap<PathBuf, SourceFact> = BTreeMap::new();
        for file in chain.layers.iter().flat_map(|layer| &layer.files) {
            let Dropped::Source { path, render, at } = &file.content else { continue };
            let complete = match sources.get(path) {
                Some(SourceFact::File(fact)) => !render || fact.bytes.is_some(),
                Some(SourceFact::Tree { .. }) => true,
                None => false,
            };
            if complete {
                continue;
            }
            match tree::observe(path, render.then_some(LARGEST_TEMPLATE), &self.trust) {
                Ok((observed, untrusted)) => {
                    sources.insert(path.clone(), observed);
                    let what = format!("the source `{}`", path.display());
                    self.report(untrusted, &what, at);
                }
                Err(error) => self.unreadable("source", path, &error, at),
            }
        }
        sources
    }

    /// Reports inputs that are not there. What they hold is read where something is stored.
    fn inputs(&mut self, chain: &Chain) {
        for input in &chain.upstream.inputs {
            let path = &input.path;
            match std::fs::metadata(path).and_then(|_| self.trust.look_through(path)) {
                Ok(untrusted) => {
                    let what = format!("the input `{}`", path.display());
                    self.report(untrusted, &what, &input.at);
                }
                Err(error) => self.unreadable("input", path, &error, &input.at),
            }
        }
    }

    /// Reports files that others could have written a secret into. What they hold is for a run to read.
    fn secrets(&mut self, chain: &Chain) {
        for secret in &chain.secrets {
            let SecretSource::File(path) = &secret.source else { continue };
            if let Ok(untrusted) = self.trust.look(path) {
                self.report(untrusted, &format!("the secret `{}`", secret.name), &secret.at);
            }
        }
    }

    /// Reports programs of the host that steps there are run by, if others could have written them.
    fn interpreters(&mut self, chain: &Chain) {
        let mut seen = BTreeSet::new();
        for step in steps(chain).filter(|step| matches!(step.place, Place::Host)) {
            let program = step.shell.iter().flatten().next().map(Path::new);
            let Some(program) = program.filter(|program| program.is_absolute()) else { continue };
            if seen.insert(program)
                && let Ok(untrusted) = self.trust.look(program)
            {
                let what = format!("the shell `{}`", program.display());
                self.report(untrusted, &what, &step.at);
            }
        }
    }

    fn scripts(&mut self, chain: &Chain) -> BTreeMap<PathBuf, Script> {
        let mut scripts = BTreeMap::new();
        for step in steps(chain) {
            let Action::Script(path) = &step.action else { continue };
            if scripts.contains_key(path) {
                continue;
            }
            let read = self.trust.open(path).and_then(|Opened { file, untrusted }| {
                Ok((untrusted, files::read_opened(file, LARGEST_SCRIPT)?))
            });
            match read {
                Ok((untrusted, bytes)) => {
                    let what = format!("the script `{}`", path.display());
                    self.report(untrusted, &what, &step.at);
                    let interpreter = shebang::interpreter(&bytes);
                    self.script(path, &bytes, step);
                    let digest = Digest::of(&bytes);
                    let reads_name = memchr::memmem::find(&bytes, b"LXC_NAME").is_some();
                    let script = Script { interpreter, digest, reads_name };
                    scripts.insert(path.clone(), script);
                }
                Err(error) => self.unreadable("script", path, &error, &step.at),
            }
        }
        scripts
    }

    /// Reports what a script has that will not do what it should, and who else could have written the program
    /// that runs it on the host.
    fn script(&mut self, path: &Path, bytes: &[u8], step: &Step) {
        let shown = path.display();
        let is_marked = bytes.starts_with(b"\xef\xbb\xbf");
        let slip = match bytes.split(|byte| *byte == b'\n').next() {
            _ if is_marked => Some((
                format!("the script `{shown}` begins with a byte order mark"),
                format!(
                    "the kernel finds no `#!` behind it; take it out: `sed -i '1s/^\\xef\\xbb\\xbf//' {shown}`"
                ),
            )),
            Some([.., b'\r']) => Some((
                format!("the lines of the script `{shown}` end as on Windows, with CR and LF"),
                format!(
                    "a shell takes the CR for a part of each command; take it out: `sed -i 's/\\r$//' {shown}`"
                ),
            )),
            _ => None,
        };
        if let Some((message, help)) = slip {
            self.report.push(Diagnostic::warning(&step.at, message).help(help));
        }
        if !matches!(step.place, Place::Host) {
            return;
        }
        if let Some(command) = chain::of_the_host(&String::from_utf8_lossy(bytes)) {
            self.report.push(chain::on_the_host(&step.at, command));
        }
        for program in interpreters::of(path, bytes) {
            if let Ok(untrusted) = self.trust.look(&program) {
                let what = format!("`{}`, the interpreter of `{shown}`", program.display());
                self.report(untrusted, &what, &step.at);
            }
        }
    }

    fn report(&mut self, untrusted: impl IntoIterator<Item = Untrusted>, what: &str, at: &At) {
        for untrusted in untrusted {
            self.report.push(untrusted.of(what, at));
        }
    }

    /// Reports a file that cannot be used, once for all that name it.
    fn unreadable(&mut self, what: &str, path: &Path, error: &io::Error, at: &At) {
        if !self.unreadable.insert(path.to_path_buf()) {
            return;
        }
        let reason = match error.kind() {
            io::ErrorKind::NotFound => "it is not there".to_owned(),
            _ => error.to_string(),
        };
        let message = format!("the {what} `{}` cannot be used: {reason}", path.display());
        let help = help_with_path(path, at);
        let diagnostic = Diagnostic::error(at, message);
        self.report.push(match error.kind() {
            io::ErrorKind::NotFound => diagnostic.help(help),
            _ => diagnostic,
        });
    }
}

/// Says what a path is relative to, and what may be meant by one that is not there.
fn help_with_path(path: &Path, at: &At) -> String {
    let source = &at.source;
    let written = source.text.get(at.span.clone()).unwrap_or_default();
    let written = written.trim_matches(['"', '\'']);
    if Path::new(written) != path {
        return "a relative path is relative to the file that names it".to_owned();
    }
    let relative = written.trim_start_matches('/');
    let (directory, file) = (source.dir.join(relative), source.path.display());
    if !relative.is_empty() && directory.exists() {
        return format!(
            "an absolute path begins at the root of the host: write `{relative}`, which is beside `{file}`"
        );
    }
    format!(
        "an absolute path begins at the root of the host, and not in the rootfs; put the file beside `{file}`, and name \
         it by a path without a `/` in front"
    )
}

/// Returns all steps of a chain.
fn steps(chain: &Chain) -> impl Iterator<Item = &Step> {
    chain.layers.iter().flat_map(|layer| {
        [&layer.pre, &layer.post, &layer.check, &layer.finally].into_iter().flatten()
    })
}

/// Finds the host's busybox, if it is a static one: another would miss its libraries in a rootfs.
pub fn busybox() -> Option<PathBuf> {
    let candidates = BUSYBOX.into_iter().map(PathBuf::from);
    candidates
        .filter(|path| template::executable(path).is_ok())
        .find(|path| elf::is_static(path).unwrap_or(false))
}

/// Finds the program of a template; `None` for the one that is built in.
fn find_template(template: &TemplateRef) -> Option<Result<PathBuf, TemplateFault>> {
    match template {
        TemplateRef::BuiltinBusybox => None,
        TemplateRef::Path(path) => Some(template::executable(path).map(|()| path.clone())),
        TemplateRef::Name(name) => Some(template::find(name)),
    }
}

fn help_with_template(
    diagnostic: Diagnostic,
    template: &TemplateRef,
    fault: &TemplateFault,
) -> Diagnostic {
    let name = match template {
        TemplateRef::Name(name) => name,
        TemplateRef::Path(path) if path.extension().is_some_and(|found| found == "toml") => {
            let line = shebang::LINE;
            let help =
                format!("a manifest is a template by the run bit and `{line}` as its first line");
            return diagnostic.help(help);
        }
        TemplateRef::Path(_) | TemplateRef::BuiltinBusybox => {
            return match fault {
                TemplateFault::NotExecutable(path) => {
                    let command =
                        shell::command(["chmod".as_ref(), "+x".as_ref(), path.as_os_str()]);
                    diagnostic.help(format!("`{command}` makes it executable"))
                }
                TemplateFault::Missing(_) | TemplateFault::Unusable(_) => diagnostic,
            };
        }
    };
    let names = template::names();
    if let Some(near) = nearest(name, names.iter().map(String::as_str)) {
        return diagnostic.help(format!("did you mean `{near}`?"));
    }
    diagnostic.help(match names.is_empty() {
        true => "LXC's templates come with the packages `lxc` and `lxc-templates`; \
                 `template = \"builtin:busybox\"` needs neither"
            .to_owned(),
        false => format!("there are: {}", names.join(", ")),
    })
}

/// Tells whether a program is this one: it may be another copy of it.
fn is_this_program(path: &Path, digest: Digest) -> bool {
    let own = Path::new("/proc/self/exe");
    let length = |path| std::fs::metadata(path).map(|metadata| metadata.len()).ok();
    let own_digest = || File::open(own).and_then(Digest::of_reader).map(|(digest, _)| digest);
    length(path) == length(own) && own_digest().is_ok_and(|own| own == digest)
}
