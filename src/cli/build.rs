//! `build`: fills the layer store, so that containers are made quickly.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use super::arguments::{
    BuildArguments, CompressionChoice, PullArguments, RemoteArguments, RunArguments, ValueArguments,
};
use super::mapping::{IN_PIECES, Mapping, in_the_way};
use super::new_container::NewContainer;
use super::options::Options;
use super::prepare::Prepared;
use super::refusal::Refusal;
use super::remote::RemoteChoice;
use super::request::{LockUse, Request, check, target, wanted, wanted_since};
use super::run::{Ran, run_filling};
use super::start::InitialConfig;
use super::within::enter;
use super::{load, output};
use crate::cache::{CacheAct, Wanted};
use crate::chain::Secrets;
use crate::execute::{Filled, status};
use crate::export::{Image, LayerCompression, Output, Target, TargetKind};
use crate::host::caller::Caller;
use crate::host::kernel::Received;
use crate::host::signals::{self, Signals};
use crate::host::state::RunDirectory;
use crate::host::trust::{Policy, Trust};
use crate::host::userns::Ids;
use crate::observe::secret;
use crate::plan::{self, EntryId, StorageMode};
use crate::record::RunVerb;
use crate::registry::Remote;
use crate::shell;
use crate::store::{self, Store};
use crate::tree::Interrupt;

pub(super) fn main(arguments: &BuildArguments) -> u8 {
    told(arguments, RunVerb::Build)
}

fn told(arguments: &BuildArguments, verb: RunVerb) -> u8 {
    match build(arguments, verb) {
        Ok(status) => status,
        Err(refusal) => {
            refusal.say();
            status::USAGE
        }
    }
}

/// `pull`: fills the layer store from a registry alone.
pub(super) fn pull(arguments: &PullArguments) -> u8 {
    let PullArguments { roles, from, locked, allow_untrusted, talk } = arguments;
    let (allow_untrusted, talk) = (*allow_untrusted, *talk);
    let arguments = BuildArguments {
        roles: roles.clone(),
        remote: RemoteArguments { from: from.clone(), only_pull: true },
        rebuild: false,
        older_than: None,
        locked: *locked,
        output: Vec::new(),
        compression: CompressionChoice::default(),
        run: RunArguments { keep_failed: false, allow_untrusted, talk },
    };
    told(&arguments, RunVerb::Pull)
}

fn build(arguments: &BuildArguments, verb: RunVerb) -> Result<u8, Refusal> {
    check(None, &arguments.roles.args)?;
    let targets = arguments.output.iter().map(|text| output_target(text));
    let targets: Vec<Target> = targets.collect::<Result<_, _>>()?;
    if !targets.is_empty() && arguments.roles.manifests.len() != 1 {
        return Err("`--output` needs a single manifest".to_owned().into());
    }
    let is_image = |target: &Target| matches!(target.kind, TargetKind::Oci(_));
    if arguments.compression != CompressionChoice::default() && !targets.iter().any(is_image) {
        let why = "`--compression` is for `--output=oci:DIR:TAG`".to_owned();
        let hint = "the name of a `tar:FILE` says how it is compressed".to_owned();
        return Err(Refusal::with_hint(why, hint));
    }
    let compression = arguments.compression.into();
    let outputs = Outputs { targets, output: Output::observe(), compression };
    let caller = Caller::observe();
    if let Some(status) = InitialConfig::refused(arguments.roles.config.as_deref()) {
        return Ok(status);
    }
    let start = InitialConfig::read(arguments.roles.config.as_deref(), &caller)?;
    if start.mapping == Mapping::Pieces {
        return Err(IN_PIECES.to_owned().into());
    }
    let (_scratch, lxcpath) = scratch("build")?;
    // What is built from now on is new for all roles.
    let mut wanted = match arguments.older_than {
        Some(age) => wanted_since(StorageMode::Fill, age.into()),
        None => wanted(StorageMode::Fill, arguments.rebuild),
    };
    let choice = RemoteChoice {
        from: arguments.remote.from.as_deref(),
        only_pull: arguments.remote.only_pull,
        allow_untrusted: arguments.run.allow_untrusted,
    };
    let remote = match choice.open(&mut wanted) {
        Ok(remote) => remote,
        Err(status) => return Ok(status),
    };
    // One that cannot be used is found out before anything is made.
    let roles = arguments.roles.manifests.iter().map(|manifest| {
        let asked = Asked {
            manifest,
            values: &arguments.roles.values,
            args: &arguments.roles.args,
            allow_untrusted: arguments.run.allow_untrusted,
            wanted,
            lock: LockUse::Ignore.unless(arguments.locked),
            remote: remote.clone(),
        };
        Role::prepare(asked.request(&start, &lxcpath, &caller))
    });
    let roles: Vec<_> = roles.collect();
    let unusable = unusable(&arguments.roles.manifests, &roles);
    let roles = match roles.into_iter().collect::<Result<Vec<Role>, u8>>() {
        Ok(roles) => roles,
        Err(status) => {
            if arguments.roles.manifests.len() > 1 {
                output::error(&format!("nothing was done: {unusable} cannot be used"), None);
            }
            return Ok(status);
        }
    };
    enter(start.mapping)?;
    // One that comes between two runs is heard when the next begins, which ends at it.
    let mut signals =
        Signals::keep().map_err(|error| format!("signals cannot be kept: {error}"))?;
    let options = Options::of(arguments.run, verb);
    let mut sum = Sum { only_pulls: arguments.remote.only_pull, ..Sum::of(roles.len()) };
    let mut unwritten = None;
    for role in roles {
        let container = role.prepared.plan.container.clone();
        let is_written = !outputs.targets.is_empty();
        let filled = role.fill(options, is_written, &mut sum)?;
        if filled.status == 0 && is_written {
            unwritten =
                outputs.write(&filled.entries, &container, &mut signals, sum.is_quiet).err();
        }
        let ended = match &unwritten {
            Some(unwritten) => filled.fail(unwritten.status, &unwritten.message),
            None => filled.end(),
        };
        if ended > status::SIGNAL {
            sum.last = ended;
            sum.tell();
            if let Some(unwritten) = unwritten {
                output::error(&unwritten.message, None);
            }
            return Ok(ended);
        }
        // What is stored may still not be written.
        if sum.status == 0 {
            sum.status = ended;
        }
    }
    let told = sum.tell();
    // What is said last is what was not done.
    if let Some(unwritten) = unwritten {
        output::error(&unwritten.message, None);
    }
    Ok(told)
}

/// Returns the names of the manifests whose roles cannot be used.
fn unusable(manifests: &[PathBuf], roles: &[Result<Role, u8>]) -> String {
    let unusable = manifests.iter().zip(roles).filter(|(_, role)| role.is_err());
    let names: Vec<String> = unusable.map(|(manifest, _)| shell::word(manifest)).collect();
    shell::listed(&names)
}

/// Reads where a role is written to, and sees that it can be.
fn output_target(text: &OsStr) -> Result<Target, Refusal> {
    let fault = |why: String| format!("`--output={}`: {why}", text.display());
    let target = Target::parse(text).map_err(fault)?;
    if let Some(missing) = target.missing_parent() {
        let message = fault(format!("there is no directory `{}`", missing.display()));
        let hint = format!("`mkdir -p {}` makes it", shell::word(&missing));
        return Err(Refusal::with_hint(message, hint));
    }
    target.has_room().map_err(fault)?;
    Ok(target)
}

/// Makes a directory of containers that goes again.
pub(super) fn scratch(name: &str) -> Result<(RunDirectory, PathBuf), String> {
    let scratch = RunDirectory::make_temporary(name, None)
        .map_err(|error| format!("no directory to build in can be made: {error}"))?;
    let lxcpath = scratch.place("lxc");
    std::fs::create_dir(&lxcpath)
        .map_err(|error| format!("`{}` cannot be made: {error}", lxcpath.display()))?;
    Ok((scratch, lxcpath))
}

/// What is asked of a role that no container is made of.
pub(super) struct Asked<'a> {
    pub(super) manifest: &'a Path,
    pub(super) values: &'a ValueArguments,
    pub(super) args: &'a [OsString],
    pub(super) allow_untrusted: bool,
    pub(super) wanted: Wanted,
    pub(super) lock: LockUse,
    pub(super) remote: Option<Rc<Remote>>,
}

impl Asked<'_> {
    /// Returns the request, for a container in a directory of containers.
    pub(super) fn request(
        &self,
        start: &InitialConfig,
        lxcpath: &Path,
        caller: &Caller,
    ) -> Request {
        let name = load::name_of(self.manifest);
        let mapped = start.mapping.mapped();
        let target = target(&name, &lxcpath.join(&name), mapped, self.args.to_vec());
        Request {
            manifest: self.manifest.to_path_buf(),
            values: self.values.clone(),
            trust: Trust::observe(Policy::Refuse.unless(self.allow_untrusted)),
            config: start.config(&target.rootfs),
            ids: start.ids(caller),
            wanted: self.wanted,
            lock: self.lock,
            remote: self.remote.clone(),
            target,
        }
    }
}

/// A role whose layers are to be stored.
pub(super) struct Role {
    pub(super) request: Request,
    pub(super) prepared: Prepared,
    secrets: Secrets,
}

impl Role {
    /// Plans it, or says why it cannot be used, and returns the exit status.
    pub(super) fn prepare(request: Request) -> Result<Self, u8> {
        let prepared = request.prepare()?;
        // Mapped ids may not read what the caller may.
        let secrets = secret::read(&prepared.chain).map_err(|report| output::refused(&report))?;
        Ok(Self { request, prepared, secrets })
    }

    /// Builds what the store lacks of it, in the directory of a container that goes again. A role that is to
    /// be `written` must be stored as a whole.
    pub(super) fn fill(
        self,
        options: Options,
        written: bool,
        sum: &mut Sum,
    ) -> Result<FilledRole, String> {
        let Self { request, prepared, secrets } = self;
        sum.is_quiet = options.talk.quiet;
        if let Some(cache) = prepared.cache.plan().filter(|cache| cache.slots.is_empty()) {
            let (manifest, why) = (request.manifest.display(), cache.end.as_deref());
            let why = why.unwrap_or("it leaves nothing");
            if written {
                return Err(format!("`{manifest}` cannot be written: none of it is stored: {why}"));
            }
            output::say(&format!("warning: {manifest}: none of it is stored: {why}"));
            return Ok(FilledRole { status: 0, entries: Vec::new(), ran: None });
        }
        let path = &request.target.path;
        let _new = NewContainer::make(path, &request.config, request.target.mapped)
            .map_err(|error| format!("`{}` cannot be made: {error}", path.display()))?;
        // An error comes last.
        let before_failure = |say: &dyn Fn(&str)| sum.tell_of(&Filled::read(path), say);
        let ran = run_filling(&prepared, secrets, options, &before_failure);
        let ended = ran.status;
        let filled = Filled::read(path);
        if ended == 0 {
            sum.tell_of(&filled, &print_line);
        }
        sum.add(&request.manifest, &filled, ended);
        let mut left = None;
        if ended == 0 {
            // What was found out by building it is known by now.
            for planned in &prepared.ladder().acts {
                if let CacheAct::Leave { why, .. } = &planned.act {
                    sum.leave(planned.layer.as_str(), why);
                    left = left.or(Some(planned.layer.as_str().to_owned()));
                }
            }
        }
        if ended == 0
            && let Some(layer) = left.filter(|_| written)
        {
            sum.tell();
            let why =
                format!("the role cannot be written: layer `{layer}` is made in each container");
            let hint = "a host `post` keeps a layer out of the store: run it inside the rootfs";
            output::error(&why, Some(hint));
            let ran = Some(ran.failed(status::STORE, &why));
            return Ok(FilledRole { status: status::STORE, entries: Vec::new(), ran });
        }
        let entries = filled.iter().map(|filled| filled.entry).collect();
        Ok(FilledRole { status: ended, entries, ran: Some(ran) })
    }
}

/// A role whose layers are stored, or have failed to be. The history learns of its end when all is done that was
/// asked for.
#[must_use = "the history waits for its end"]
pub(super) struct FilledRole {
    /// The exit status.
    pub(super) status: u8,
    /// What it has come to.
    pub(super) entries: Vec<EntryId>,
    /// The run, where one was needed.
    ran: Option<Ran>,
}

impl FilledRole {
    /// Ends it, and returns the exit status.
    pub(super) fn end(self) -> u8 {
        self.ran.map_or(self.status, Ran::told)
    }

    /// Ends it as failed by what came after it, and returns the exit status.
    pub(super) fn fail(self, status: u8, message: &str) -> u8 {
        self.ran.map_or(status, |ran| ran.failed(status, message).told())
    }
}

/// What a role is written as besides the store.
struct Outputs {
    targets: Vec<Target>,
    /// How the files are made.
    output: Output,
    compression: LayerCompression,
}

impl Outputs {
    /// Writes what is stored of a role, and tells where it is, unless it `is_quiet`.
    fn write(
        &self,
        entries: &[EntryId],
        container: &plan::Target,
        signals: &mut Signals,
        is_quiet: bool,
    ) -> Result<(), Unwritten> {
        let output = self.output.of(container.mapped.map(|mapped| (mapped.uid, mapped.gid)));
        let written = || -> std::io::Result<()> {
            let image = image(entries, container)?.with_layers(self.compression);
            for target in &self.targets {
                let warnings = image.write(target, output, Interrupt::of(signals.as_fd()))?;
                for line in warnings.to_string().lines() {
                    output::say(&format!("warning: {line}"));
                }
                if !is_quiet {
                    let path = target.path.display();
                    let _ = output::print(|to| writeln!(to, "written to {path}"));
                }
            }
            Ok(())
        };
        written().map_err(|error| {
            // What a signal has ended besides, such as `xz`, fails in a way of its own.
            ended_by(signals, "the role is not written").unwrap_or_else(|| {
                let is_denied = error.kind() == std::io::ErrorKind::PermissionDenied;
                let mut targets = self.targets.iter().filter(|_| is_denied);
                let why = targets.find_map(|target| in_the_way(&target.path, "layers are read"));
                let why = why.map(|why| format!(" ({why})")).unwrap_or_default();
                Unwritten {
                    message: format!("the role cannot be written: {error}{why}"),
                    status: status::STORE,
                }
            })
        })
    }
}

/// Why a role was not written.
pub(super) struct Unwritten {
    pub(super) message: String,
    /// The exit status.
    pub(super) status: u8,
}

/// Opens what is stored of a role.
pub(super) fn image(entries: &[EntryId], container: &plan::Target) -> std::io::Result<Image> {
    let top = store::directory(&Caller::observe())
        .ok_or_else(|| std::io::Error::other(store::NO_DIRECTORY))?;
    let store = Store::new(&top, &store::map_of(Ids::of_this_process()));
    Image::open(&store, entries, container)
}

/// Tells that a signal has ended what was done, where one has, and returns the exit status.
pub(super) fn interrupted(signals: &mut Signals, what: &str) -> Option<u8> {
    let Unwritten { message, status } = ended_by(signals, what)?;
    output::error(&message, None);
    Some(status)
}

/// Returns by what signal something was ended, where one has ended it.
pub(super) fn ended_by(signals: &mut Signals, what: &str) -> Option<Unwritten> {
    let Ok(Some(Received { signal, .. })) = signals.receive() else { return None };
    let message = format!("{what}: interrupted by {}", signals::name(signal));
    let status = status::SIGNAL + u8::try_from(signal.as_raw()).unwrap_or_default();
    Some(Unwritten { message, status })
}

/// Nobody who listens no more is kept from the store.
fn print_line(line: &str) {
    let _ = output::print(|to| writeln!(to, "{line}"));
}

/// What was done for all roles.
pub(super) struct Sum {
    roles: usize,
    /// Whether nothing is told.
    is_quiet: bool,
    /// Whether all was told: an error comes last.
    is_told: bool,
    /// The manifests of the roles that failed.
    failed: Vec<String>,
    /// The status of the last role that was begun.
    last: u8,
    /// Whether nothing is built.
    only_pulls: bool,
    /// The status of the first that failed.
    status: u8,
    told: BTreeSet<EntryId>,
    /// The layers that are not stored, and why.
    left: BTreeSet<(String, String)>,
    built: Made,
    pulled: Made,
    there: usize,
}

/// A layer that a run has come to.
struct News<'a> {
    layer: &'a str,
    /// How long it took to make or to pull; `None` where it was there.
    took: Option<Duration>,
    is_pulled: bool,
}

/// Layers that were not there.
struct Made {
    verb: &'static str,
    count: usize,
    took: Duration,
}

impl Default for Sum {
    fn default() -> Self {
        let made = |verb| Made { verb, count: 0, took: Duration::ZERO };
        Self {
            roles: 0,
            is_quiet: false,
            is_told: false,
            failed: Vec::new(),
            last: 0,
            only_pulls: false,
            status: 0,
            told: BTreeSet::new(),
            left: BTreeSet::new(),
            built: made("built"),
            pulled: made("pulled"),
            there: 0,
        }
    }
}

impl Sum {
    /// That of so many roles, of which nothing is done yet.
    pub(super) fn of(roles: usize) -> Self {
        Self { roles, ..Self::default() }
    }

    /// Tells of the layers of a role that are not counted yet.
    fn tell_of(&self, filled: &[Filled], say: &dyn Fn(&str)) {
        if self.is_quiet {
            return;
        }
        for new in self.news(filled) {
            let outcome = match new.took {
                None => "already stored".to_owned(),
                Some(took) => {
                    let made = if new.is_pulled { &self.pulled } else { &self.built };
                    format!("{} in {:.1} s", made.verb, took.as_secs_f64())
                }
            };
            say(&format!("{}  {outcome}", new.layer));
        }
    }

    /// Counts them.
    fn add(&mut self, manifest: &Path, filled: &[Filled], ended: u8) {
        if ended != 0 {
            self.failed.push(shell::word(manifest));
            self.status = if self.status == 0 { ended } else { self.status };
        }
        for new in self.news(filled) {
            let made = if new.is_pulled { &mut self.pulled } else { &mut self.built };
            match new.took {
                None => self.there += 1,
                Some(took) => {
                    made.count += 1;
                    made.took += took;
                }
            }
        }
        self.told.extend(filled.iter().map(|part| part.entry));
    }

    /// Returns what there is of layers that are not counted yet.
    fn news<'a>(&self, filled: &'a [Filled]) -> Vec<News<'a>> {
        let mut seen = BTreeSet::new();
        let mut is_new = |entry| !self.told.contains(&entry) && seen.insert(entry);
        // The template and its layer are one for people.
        let layers = filled.chunk_by(|one, other| one.layer == other.layer);
        let news = layers.filter_map(|layer| {
            let new: Vec<_> = layer.iter().filter(|part| is_new(part.entry)).collect();
            let took: Vec<Duration> = new.iter().filter_map(|part| part.took).collect();
            Some(News {
                layer: &new.first()?.layer,
                took: (!took.is_empty()).then(|| took.iter().sum()),
                // What was built on something pulled was built.
                is_pulled: new.iter().all(|part| part.is_pulled || part.took.is_none()),
            })
        });
        news.collect()
    }

    /// Tells of a layer that is not stored, once for all roles that have it.
    fn leave(&mut self, layer: &str, why: &str) {
        if self.left.insert((layer.to_owned(), why.to_owned())) {
            let why = shell::one_line(why);
            if !self.is_quiet {
                print_line(&format!("{layer}  not stored: {why}"));
            }
        }
    }

    /// Tells of all, once, and returns the exit status.
    fn tell(&mut self) -> u8 {
        if std::mem::replace(&mut self.is_told, true) || self.is_quiet {
            return self.status;
        }
        let layers =
            |count| if count == 1 { "1 layer".to_owned() } else { format!("{count} layers") };
        let made = [&self.pulled, &self.built].into_iter().filter(|made| made.count > 0);
        let made: Vec<_> = made
            .map(|made| {
                let (count, seconds) = (layers(made.count), made.took.as_secs_f64());
                format!("{count} {} in {seconds:.1} s", made.verb)
            })
            .collect();
        let built = match (made.is_empty(), !self.failed.is_empty(), self.only_pulls) {
            (false, ..) => made.join(", "),
            (true, true, true) => "nothing pulled".to_owned(),
            (true, true, false) => "nothing built".to_owned(),
            (true, false, true) => "nothing to pull".to_owned(),
            (true, false, false) => "nothing to build".to_owned(),
        };
        let there = match self.there {
            0 => String::new(),
            count => format!(", {} already stored", layers(count)),
        };
        let failed = match self.failed.len() {
            _ if self.last > status::SIGNAL => "; interrupted".to_owned(),
            0 => String::new(),
            failed if self.roles == 1 => format!("; {failed} of 1 role failed"),
            failed => {
                let manifests = shell::listed(&self.failed);
                format!("; {failed} of {} roles failed: {manifests}", self.roles)
            }
        };
        output::printed(self.status, |to| writeln!(to, "{built}{there}{failed}"))
    }
}
