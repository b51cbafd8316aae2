//! `push`: brings a role to a registry.

use std::os::fd::AsFd;
use std::sync::Arc;

use super::amount::amount;
use super::arguments::{LogFormat, PushArguments, TalkArguments};
use super::build::{Asked, Role, Sum, Unwritten, ended_by, image, scratch};
use super::live_line::LiveLine;
use super::mapping::{IN_PIECES, Mapping};
use super::options::Options;
use super::output::{self, Look};
use super::refusal::Refusal;
use super::request::{LockUse, check, wanted};
use super::start::InitialConfig;
use super::within::enter;
use crate::cache::{PinnedEntry, Unfit};
use crate::execute::{FULL_DISK_HINT, status};
use crate::host::caller::Caller;
use crate::host::signals::Signals;
use crate::plan::StorageMode;
use crate::record::RunVerb;
use crate::registry::{
    Client, Meter, Notice, Push, Pushed, Reference, RegistryError, Repository, Signer, Upload,
};
use crate::tree::Interrupt;

pub(super) fn main(arguments: &PushArguments) -> u8 {
    match push(arguments) {
        Ok(status) => status,
        Err(refusal) => {
            refusal.say();
            status::USAGE
        }
    }
}

fn push(arguments: &PushArguments) -> Result<u8, Refusal> {
    check(None, &arguments.args)?;
    let (repository, tag) = destination(&arguments.to)?;
    let mount_from = arguments.mount_from.as_deref();
    let mount_from = mount_from.map(|from| other_repository(&repository, from)).transpose()?;
    let caller = Caller::observe();
    if let Some(status) = InitialConfig::refused(arguments.config.as_deref()) {
        return Ok(status);
    }
    let start = InitialConfig::read(arguments.config.as_deref(), &caller)?;
    if start.mapping == Mapping::Pieces {
        return Err(IN_PIECES.to_owned().into());
    }
    let signer = arguments.sign.as_deref().map(Signer::open).transpose();
    let signer = signer.map_err(|error| error.to_string())?;
    // Mapped ids may not read what the caller may.
    let client = Client::new(&repository).map_err(|error| error.to_string())?;
    let line = Arc::new(LiveLine::new(Look::observe()));
    measure(&client, &line, arguments.talk);
    let (_scratch, lxcpath) = scratch("push")?;
    let asked = Asked {
        manifest: &arguments.manifest,
        values: &arguments.values,
        args: &arguments.args,
        allow_untrusted: arguments.allow_untrusted,
        wanted: wanted(StorageMode::Fill, false),
        lock: LockUse::Ignore.unless(arguments.lock.locked),
        remote: None,
    };
    let role = match Role::prepare(asked.request(&start, &lxcpath, &caller)) {
        Ok(role) => role,
        Err(status) => return Ok(status),
    };
    let pins = role.prepared.cache.plan().map(|cache| cache.pins.as_slice()).unwrap_or_default();
    let pinned: Vec<PinnedEntry> = pins.iter().copied().flatten().collect();
    enter(start.mapping)?;
    let mut signals =
        Signals::keep().map_err(|error| format!("signals cannot be kept: {error}"))?;
    let container = role.prepared.plan.container.clone();
    let mut sum = Sum::of(1);
    let filled = role.fill(options(arguments), true, &mut sum)?;
    if filled.status != 0 {
        return Ok(filled.end());
    }
    let (mount_from, signer) = (mount_from.as_deref(), signer.as_ref());
    let push = Push { tag: &tag, mount_from, signer, pinned: &pinned };
    let written = || {
        let image = image(&filled.entries, &container).map_err(RegistryError::of_image)?;
        let image = image.with_layers(arguments.compression.into());
        client.push(&image, push, Interrupt::of(signals.as_fd()))
    };
    let pushed = written();
    line.clear();
    match pushed {
        Ok(pushed) => {
            let told = tell(&client, &pushed);
            let ended = filled.end();
            Ok(if ended == 0 { told } else { ended })
        }
        Err(error) => {
            let (unwritten, hint) = match ended_by(&mut signals, "the role is not pushed") {
                Some(interrupted) => (interrupted, None),
                None => {
                    let (why, hint) = if error.is_of_full_disk() {
                        let why = "the disk of the layer store is full: no room for its blobs";
                        (why.to_owned(), Some(FULL_DISK_HINT.to_owned()))
                    } else {
                        (error.to_string(), error.hint())
                    };
                    let message = format!("the role cannot be pushed: {why}");
                    let is_other = error.unfit() == Some(Unfit::NotLocked);
                    let status = if is_other { status::TRUST } else { status::STORE };
                    (Unwritten { message, status }, hint)
                }
            };
            output::error(&unwritten.message, hint.as_deref());
            Ok(filled.fail(unwritten.status, &unwritten.message))
        }
    }
}

/// Shows how far a push has come, where somebody looks.
fn measure(client: &Client, line: &Arc<LiveLine>, talk: TalkArguments) {
    let notice = output::notice();
    let shown = Arc::clone(line);
    client.tell(Notice::by(move |text| {
        shown.clear();
        notice.tell(text);
    }));
    if talk.quiet || talk.log_format == LogFormat::Json {
        return;
    }
    let shown = Arc::clone(line);
    let host = client.repository().host.clone();
    client.measure(Meter::by(move |upload| {
        let Upload { number, count, done, total, waited } = upload;
        let waited = match waited.as_secs() {
            0 => String::new(),
            seconds => format!("  waiting for {host}, {seconds} s"),
        };
        let what = match count {
            0 => String::new(),
            _ => format!("[{number}/{count}] sending layer  {}", amount(done, Some(total))),
        };
        shown.show(format!("{what}{waited}").trim_start());
    }));
}

/// Tells what was sent, and returns the exit status.
fn tell(client: &Client, pushed: &Pushed) -> u8 {
    for line in pushed.warnings.to_string().lines() {
        output::say(&format!("warning: {line}"));
    }
    for slot in &pushed.older {
        output::say(&format!(
            "warning: {} has a newer generation of {slot}, which stays",
            client.repository()
        ));
    }
    let (repository, digest) = (client.repository(), pushed.image);
    let mounted = match pushed.mounted {
        0 => String::new(),
        1 => ", 1 blob mounted".to_owned(),
        count => format!(", {count} blobs mounted"),
    };
    output::printed(0, |to| {
        writeln!(to, "{} bytes sent{mounted}", pushed.bytes)?;
        writeln!(to, "{repository}@{digest}")
    })
}

/// Returns how the run that builds the role is told of.
fn options(arguments: &PushArguments) -> Options {
    let PushArguments { keep_failed, allow_untrusted, talk, .. } = *arguments;
    Options { talk, keep_failed, allow_untrusted, verb: RunVerb::Push }
}

/// Returns the repository and the tag that somebody has named.
fn destination(text: &str) -> Result<(Repository, String), String> {
    Reference::parse_destination(text).map_err(|error| format!("`{text}`: {error}"))
}

/// Returns the name of another repository of a registry.
fn other_repository(repository: &Repository, name: &str) -> Result<String, String> {
    let whole = format!("{}/{name}", repository.host);
    let other =
        Repository::parse(&whole).map_err(|error| format!("`--mount-from={name}`: {error}"))?;
    Ok(other.name)
}
