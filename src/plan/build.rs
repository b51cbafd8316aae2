//! From a chain, a target and facts to a plan.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::drop::{Bytes, Content, FileDrop};
use super::facts::{Facts, FileFact, Program, ProgramKind, SourceFact};
use super::inside;
use super::nest::{
    Act, Configuration, Inner, Inside, Layer, Manifest, Place, Plan, Step, Target, Template,
    Upstream, Variable,
};
use super::status::Storage;
use crate::chain::{self, Chain, Dropped, EnvSource, Rendered};
use crate::diagnostic::{Diagnostic, Report};
use crate::digest::Digest;
use crate::lxc::call::TemplateCall;
use crate::lxc::{machine, upstream};
use crate::manifest::{self, Action, Mode, Phase, When};
use crate::source::{At, Source};

/// The version of the plan's format.
const FORMAT: u32 = 1;

/// The permission bits of a file that holds a secret.
const SECRET: Mode = Mode::new(0o600);

/// The shell of steps that name none: it ends at the first failure and at an unset variable.
const SHELL: [&str; 2] = ["/bin/sh", "-eu"];

/// Makes the plan, or reports why there can be none.
pub fn build(chain: &Chain, target: Target, facts: &Facts) -> Result<Plan, Report> {
    let mut builder = Builder { chain, facts, report: Report::default() };
    let upstream = builder.upstream(&target);
    let layers = builder.layers();
    match upstream {
        Some(upstream) if !builder.report.has_errors() => {
            let mut inner = Inner::Upstream(Box::new(upstream));
            for layer in layers {
                inner = Inner::Layer(Box::new(layer(inner)));
            }
            let Inner::Layer(layer) = inner else { return Err(builder.report) };
            Ok(Plan {
                plan: FORMAT,
                manifest: manifest(chain),
                container: target,
                variables: chain.variables.iter().map(variable).collect(),
                hidden: hidden(chain),
                storage: Storage::none(),
                layer: *layer,
            })
        }
        _ => Err(builder.report),
    }
}

/// Reports what a plan would stumble over, whatever the template is.
pub fn check(chain: &Chain, facts: &Facts) -> Report {
    let mut builder = Builder { chain, facts, report: Report::default() };
    builder.layers();
    builder.report
}

fn manifest(chain: &Chain) -> Manifest {
    let Source { path, dir, .. } = &*chain.source;
    Manifest {
        path: path.clone(),
        absolute: path.file_name().map_or_else(|| dir.clone(), |name| dir.join(name)),
        digest: Digest::of(chain.source.text.as_bytes()),
        description: chain.description.clone(),
    }
}

fn variable(variable: &chain::Variable) -> Variable {
    Variable {
        name: variable.name.clone(),
        value: variable.value.as_ref().map(ToString::to_string),
        secret: variable.secret,
        from: variable.from.clone(),
        origin: variable.origin.clone(),
        description: variable.description.clone(),
        at: variable.at.clone(),
    }
}

/// Names and values, sorted.
type Environment = Vec<(OsString, OsString)>;

struct Builder<'a> {
    chain: &'a Chain,
    facts: &'a Facts,
    report: Report,
}

impl Builder<'_> {
    /// Returns the layers, the innermost first, each still to be put around what it wraps.
    fn layers(&mut self) -> Vec<impl FnOnce(Inner) -> Layer + use<>> {
        let chain = self.chain;
        chain.layers.iter().map(|layer| self.layer(layer)).collect()
    }

    fn upstream(&mut self, target: &Target) -> Option<Upstream> {
        let upstream = &self.chain.upstream;
        let program = match self.facts.program.clone()? {
            Program::Busybox(Some(path)) => {
                if let Some(word) = target.args.first() {
                    let word = crate::shell::word(word);
                    let message =
                        format!("`builtin:busybox` takes no argument, and {word} is given");
                    let refused = Diagnostic::error(&upstream.at, message);
                    self.report.push(match self.meant_variable(&target.args) {
                        Some(set) => refused.help(set),
                        None => refused,
                    });
                }
                Template::Busybox { path }
            }
            Program::Busybox(None) => {
                let message = "this host has no static busybox that a rootfs could be made of";
                let help = "install `busybox-static`";
                self.report.push(Diagnostic::error(&upstream.at, message).help(help));
                return None;
            }
            Program::File { path, digest, kind } => {
                Template::File { path, digest, is_manifest: kind == ProgramKind::Manifest }
            }
        };
        if let Some(machine) = self.facts.foreign {
            let message = format!(
                "the template's arguments ask for a rootfs of {machine}, and this host, {}, runs no \
                 programs of that: steps with `in = \"rootfs\"` could not run",
                target.arch
            );
            self.report.push(Diagnostic::error(&upstream.at, message).help(machine::ADVICE));
        }
        let template = upstream.template.name();
        let words: Vec<_> = upstream.args.iter().map(OsString::from).collect();
        let args = upstream::arguments(&call(target), &words);
        let [environment, decisive] =
            self.upstream_environment(self.chain.layers.first()?, target.mapped.is_some());
        let pin = upstream.sha256.clone();
        let at = upstream.at.clone();
        let standing = None;
        Some(Upstream { template, at, program, pin, args, environment, decisive, standing })
    }

    /// Says how the variable is given that the first of these words may be meant for as an option.
    fn meant_variable(&self, args: &[OsString]) -> Option<String> {
        let word = args.first()?.to_str()?.strip_prefix("--")?;
        let (option, value) = match word.split_once('=') {
            Some((option, value)) => (option, Some(value)),
            None => (word, args.get(1).and_then(|value| value.to_str())),
        };
        let named = option.replace('-', "_");
        let known =
            |variable: &&chain::Variable| [option, &named].contains(&variable.name.as_str());
        let name = &self.chain.variables.iter().find(known)?.name;
        let set = crate::shell::word(format!("{name}={}", value.unwrap_or("VALUE")));
        Some(format!("`{name}` is a variable of the manifest: `--set {set}`"))
    }

    /// Returns the whole environment of the upstream, and what of it decides what that makes: what every
    /// template has, what it may know of the caller's, and what the layer gives or passes.
    fn upstream_environment(&self, layer: &chain::Layer, is_mapped: bool) -> [Environment; 2] {
        let caller = &self.facts.environment;
        let hidden = hidden(self.chain);
        let own = layer.env.iter().filter_map(|(name, value)| {
            let name = OsString::from(name);
            let value = match value {
                EnvSource::Value(value) => OsString::from(value),
                EnvSource::Caller if is_hidden(&hidden, &name) => return None,
                EnvSource::Caller => caller.iter().find(|(other, _)| *other == name)?.1.clone(),
            };
            Some((name, value))
        });
        let own: Vec<_> = own.collect();
        let is_this_program = self.facts.program.as_ref().is_some_and(Program::is_this_program);
        // This program finds its own files by these, and knows whose files it may take.
        let is_home = |name: &OsStr| {
            let is_one = name == "HOME" || name == upstream::SUDO;
            is_this_program && (is_one || name.as_encoded_bytes().starts_with(b"XDG_"))
        };
        let passed = caller
            .iter()
            .filter(|(name, _)| upstream::passes(name) || is_home(name))
            .filter(|(name, _)| !is_hidden(&hidden, name));
        let mut environment: BTreeMap<OsString, OsString> =
            upstream::ENVIRONMENT.map(|(name, value)| (name.into(), value.into())).into();
        let home = caller.iter().find(|(name, _)| name == "HOME");
        if let (true, Some((_, home))) = (is_mapped, home) {
            // Templates look for it below a home that is no mapped root's.
            let cache = Path::new(home).join(".cache/lxc").into_os_string();
            environment.insert(upstream::CACHE.into(), cache);
        }
        environment.extend(passed.clone().cloned());
        environment.extend(own.iter().cloned());
        let decisive = passed.filter(|(name, _)| upstream::decides(name)).cloned();
        let decisive: BTreeMap<_, _> = decisive.chain(own).collect();
        [environment, decisive].map(|pairs| pairs.into_iter().collect())
    }

    fn layer(&mut self, layer: &chain::Layer) -> impl FnOnce(Inner) -> Layer + use<> {
        // What is always there has names that no environment carries.
        let variables = layer.values.iter().filter(|(name, _)| manifest::is_variable_name(name));
        let variables =
            variables.map(|(name, value)| (OsString::from(name), value.to_string().into()));
        let hidden = hidden(self.chain);
        for (name, _) in layer.env.iter().filter(|(_, value)| *value == EnvSource::Caller) {
            if is_hidden(&hidden, name.as_ref()) {
                let message = format!("`env` passes `{name}`, which a secret is read from");
                let help = "a layer gets the secrets that it lists, as in `secrets = [\"token\"]`";
                self.report.push(Diagnostic::error(&layer.at, message).help(help));
            }
        }
        let own = layer.env.iter().filter_map(|(name, value)| match value {
            EnvSource::Value(value) => Some((OsString::from(name), OsString::from(value))),
            // Steps have the caller's environment anyway.
            EnvSource::Caller => None,
        });
        let environment: Arc<[_]> = variables.chain(own).collect();
        let secrets = layer.values.secrets();
        let (name, at) = (layer.name.clone(), layer.used.as_ref().unwrap_or(&layer.at).clone());
        let directory = directory_of(layer);
        let variables = layer.variables.iter().map(variable).collect();
        let secrets = secrets.map(|(name, secret)| (name.to_owned(), Arc::clone(secret))).collect();
        let sees = layer.values.handed().map(|(name, _)| name.to_owned()).collect();
        let hands = layer.hands.clone();
        let before = self.steps(layer, &layer.pre, Phase::Pre);
        let after = self.after(layer);
        let finally = self.steps(layer, &layer.finally, Phase::Finally);
        let state = layer.state.clone();
        move |inner| Layer {
            name,
            at,
            directory,
            variables,
            secrets,
            sees,
            hands,
            environment,
            before,
            inner,
            after,
            finally,
            state,
            standing: None,
        }
    }

    /// Returns what the layer does after what it wraps: config, files, post, late files, check.
    fn after(&mut self, layer: &chain::Layer) -> Vec<Act> {
        let mut acts = Vec::new();
        if !layer.config.is_empty() {
            acts.push(Act::Config(layer.config.iter().map(configuration).collect()));
        }
        acts.extend(self.drops(layer, When::BeforePost));
        acts.extend(self.steps(layer, &layer.post, Phase::Post).into_iter().map(Act::Step));
        acts.extend(self.drops(layer, When::AfterPost));
        acts.extend(self.steps(layer, &layer.check, Phase::Check).into_iter().map(Act::Step));
        acts
    }

    fn drops(&mut self, layer: &chain::Layer, when: When) -> Vec<Act> {
        let files = layer.files.iter().filter(|file| file.when == when);
        files.filter_map(|file| self.file(layer, file).map(Act::Drop)).collect()
    }

    fn file(&mut self, layer: &chain::Layer, file: &chain::FileDrop) -> Option<FileDrop> {
        let content = match &file.content {
            Dropped::Inline(bytes) => inline(bytes, file.mode, false),
            Dropped::Secret { template, secrets } => Content::Rendered {
                template: Arc::clone(template),
                values: layer.values.clone(),
                secrets: secrets.clone(),
                mode: file.mode.unwrap_or(SECRET),
            },
            Dropped::Url { url, sha256 } => Content::Fetched {
                url: url.clone(),
                digest: *sha256,
                mode: file.mode.unwrap_or_else(|| default_mode(false)),
            },
            Dropped::Symlink(target) => Content::Symlink { target: target.clone() },
            Dropped::Directory => Content::Directory { mode: file.mode },
            Dropped::Remove => Content::Remove,
            Dropped::Source { path, render, at } => {
                // What could not be observed is reported already.
                let observed = self.facts.sources.get(path)?;
                match observed {
                    SourceFact::File(fact) if *render => {
                        self.rendered(layer, fact, file.mode, at)?
                    }
                    SourceFact::File(fact) => Content::File {
                        source: Bytes::Source(path.clone()),
                        size: fact.size,
                        digest: fact.digest,
                        mode: file.mode.unwrap_or_else(|| default_mode(fact.executable)),
                    },
                    SourceFact::Tree { top, entries } => {
                        self.tree_may_go_here(file, *render, at)?;
                        Content::Tree {
                            source: path.clone(),
                            mode: file.mode,
                            top: top.clone(),
                            entries: Arc::clone(entries),
                        }
                    }
                }
            }
        };
        if file.path.is_root() && !matches!(content, Content::Tree { .. }) {
            let message = "a file cannot take the place of the rootfs";
            let help = "only a tree may go to `/`: it merges into what is there";
            self.report.push(Diagnostic::error(&file.at, message).help(help));
            return None;
        }
        Some(FileDrop {
            path: file.path.clone(),
            at: file.at.clone(),
            content,
            owner: file.owner.clone(),
            if_exists: file.if_exists,
        })
    }

    fn rendered(
        &mut self,
        layer: &chain::Layer,
        fact: &FileFact,
        mode: Option<Mode>,
        at: &At,
    ) -> Option<Content> {
        let fault = match str::from_utf8(fact.bytes.as_deref()?) {
            Ok(text) => match chain::render(text, &layer.values) {
                Ok(Rendered::Text(text)) => {
                    return Some(inline(&text.into_bytes().into(), mode, fact.executable));
                }
                Ok(Rendered::Secret(secrets)) => {
                    return Some(Content::Rendered {
                        template: text.into(),
                        values: layer.values.clone(),
                        secrets,
                        mode: mode.unwrap_or(SECRET),
                    });
                }
                Err(fault) => fault.diagnostic(at, "the source"),
            },
            Err(error) => {
                let message = format!(
                    "the source cannot be rendered: byte {} of it is not UTF-8",
                    error.valid_up_to() + 1
                );
                Diagnostic::error(at, message)
            }
        };
        self.report.push(fault);
        None
    }

    fn tree_may_go_here(&mut self, file: &chain::FileDrop, render: bool, at: &At) -> Option<()> {
        if render {
            let message = "a tree cannot be rendered";
            let help = "name its files one by one, or leave `render` out";
            self.report.push(Diagnostic::error(at, message).help(help));
            return None;
        }
        let error = file.if_exists == manifest::IfExists::Error;
        if error && file.path.is_root() {
            let message = "the rootfs always exists, so that this drop would always fail";
            self.report.push(Diagnostic::error(&file.at, message));
            return None;
        }
        Some(())
    }

    fn steps(&self, layer: &chain::Layer, steps: &[manifest::Step], phase: Phase) -> Vec<Step> {
        steps.iter().filter_map(|step| self.step(layer, step, phase)).collect()
    }

    fn step(&self, layer: &chain::Layer, step: &manifest::Step, phase: Phase) -> Option<Step> {
        let shell = || match &step.shell {
            Some(words) => words.clone(),
            None => SHELL.map(str::to_owned).to_vec(),
        };
        let inside = matches!(step.place, manifest::Place::Rootfs(_));
        let (argv, script, reads_name) = match &step.action {
            Action::Run(text) => {
                let mut words = shell();
                words.extend(["-c".to_owned(), text.clone()]);
                (words, None, false)
            }
            Action::Script(path) => {
                let script = self.facts.scripts.get(path)?;
                let own = step.shell.is_none() && !script.interpreter.is_empty();
                let mut words = if own { script.interpreter.clone() } else { shell() };
                let path = if inside { inside::script(path) } else { path.clone() };
                words.push(path.to_string_lossy().into_owned());
                (words, Some(script.digest), script.reads_name)
            }
        };
        let directory = if inside { "/".into() } else { directory_of(layer) };
        let place = match &step.place {
            manifest::Place::Host => Place::Host,
            manifest::Place::Rootfs(sandbox) => Place::Rootfs(Inside {
                sandbox: sandbox.clone(),
                environment: self.environment_inside(layer),
                script: match &step.action {
                    Action::Script(path) => Some(path.clone()),
                    Action::Run(_) => None,
                },
            }),
        };
        Some(Step {
            phase,
            at: step.at.clone(),
            title: step.title.clone(),
            argv,
            script,
            reads_name,
            directory,
            timeout: step.timeout,
            timeout_at: step.timeout_at.clone(),
            place,
        })
    }

    /// Returns what a step inside the rootfs has of the caller's environment: how the network is
    /// reached, and what the layer passes.
    fn environment_inside(&self, layer: &chain::Layer) -> Arc<[(OsString, OsString)]> {
        let (caller, hidden) = (&self.facts.environment, hidden(self.chain));
        let passed = |name: &OsStr| {
            layer.env.iter().any(|(own, value)| *value == EnvSource::Caller && **own == *name)
        };
        let mut environment: Vec<_> = caller
            .iter()
            .filter(|(name, _)| inside::passes(name) || passed(name))
            .filter(|(name, _)| !is_hidden(&hidden, name))
            .cloned()
            .collect();
        environment.sort();
        environment.into()
    }
}

/// Returns the variables of the caller's environment that secrets are read from.
fn hidden(chain: &Chain) -> Vec<String> {
    let names = chain.secrets.iter().filter_map(|secret| match &secret.source {
        manifest::SecretSource::Env(name) => Some(name.clone()),
        manifest::SecretSource::File(_) => None,
    });
    names.collect()
}

fn is_hidden(hidden: &[String], name: &OsStr) -> bool {
    hidden.iter().any(|hidden| name == hidden.as_str())
}

/// Returns where a layer's relative paths start; what is compiled in has no place of its own, and
/// takes that of the manifest that uses it.
fn directory_of(layer: &chain::Layer) -> PathBuf {
    match &layer.used {
        Some(used) if !layer.source.has_dir() => used.dir().to_path_buf(),
        _ => layer.source.dir.clone(),
    }
}

fn configuration(line: &chain::ConfigLine) -> Configuration {
    Configuration { key: line.key.clone(), value: line.value.clone(), at: line.at.clone() }
}

fn inline(bytes: &Arc<[u8]>, mode: Option<Mode>, executable: bool) -> Content {
    Content::File {
        source: Bytes::Inline(Arc::clone(bytes)),
        size: bytes.len() as u64,
        digest: Digest::of(bytes),
        mode: mode.unwrap_or_else(|| default_mode(executable)),
    }
}

fn default_mode(executable: bool) -> Mode {
    Mode::new(if executable { 0o755 } else { 0o644 })
}

fn call(target: &Target) -> TemplateCall {
    TemplateCall {
        path: target.path.clone(),
        name: target.name.clone(),
        rootfs: target.rootfs.clone(),
        mapped: target.mapped,
        args: target.args.clone(),
    }
}
