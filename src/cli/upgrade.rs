//! `upgrade`: brings containers up to date with their role; `rollback` restores what was.

mod asked;
mod document;
mod halt;
mod recovery;
mod rollback;
mod subject;
mod tell;
mod values;

use std::cell::RefCell;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use rustix::fs::{MemfdFlags, memfd_create};

use super::arguments::UpgradeArguments;
use super::judge::Judge;
use super::new_container::NewContainer;
use super::options::Options;
use super::output;
use super::prepare::Prepared;
use super::refusal::Refusal;
use super::remote::RemoteChoice;
use super::request::{LockUse, Request, target, wanted};
use super::run::{Part, Task, begin, perform};
use crate::cache::{CONFIG_NAME, Purpose, Wanted};
use crate::chain::Secrets;
use crate::execute::{Choices, Listings, Rebase, Rebased, status};
use crate::host::caller::Caller;
use crate::host::signals::Signals;
use crate::host::trust::{Policy, Trust};
use crate::lxc::config;
use crate::observe::container::Container;
use crate::observe::secret;
use crate::record::{Record, RunVerb};
use crate::shell;
use crate::store::GcRoot;
use asked::{find, gone, not_set, unset};
pub(crate) use document::UpgradeDocument;
use document::UpgradeOutcome;
use recovery::recover;
pub(super) use rollback::rollback;
use subject::Subject;

/// The exit status of conflicts.
const CONFLICTS: u8 = 1;

/// What stands, within an upgrade, for a container that nothing changes in.
const UNCHANGED: u8 = status::INFORMATIONAL;

pub(super) fn main(arguments: &UpgradeArguments) -> u8 {
    let choices = match Choices::of(&arguments.take, &arguments.keep) {
        Ok(choices) => choices,
        Err(word) => {
            let word = shell::word(word);
            output::error(&format!("{word} is both `--take` and `--keep`"), None);
            return status::USAGE;
        }
    };
    let caller = Caller::observe();
    let found = match find(arguments, &caller) {
        Ok(found) => found,
        Err(refusal) => {
            refusal.say();
            return status::USAGE;
        }
    };
    // One that comes while a container does not run is heard when it runs again.
    let signals = match Signals::keep() {
        Ok(kept) => RefCell::new(kept),
        Err(error) => {
            output::error(&format!("signals cannot be kept: {error}"), None);
            return status::FILES;
        }
    };
    let (mut ended, mut failed) = (0, 0);
    for (number, container) in found.iter().enumerate() {
        let (status, document) = upgrade(container, (arguments, choices), &caller, &signals)
            .unwrap_or_else(|refusal| {
                refusal.say();
                let document = UpgradeDocument::of(&container.name, &container.path);
                (status::USAGE, document.failed(refusal.message().as_str()))
            });
        let done = tell::outcome(arguments, status, &document);
        if done == 0 {
            continue;
        }
        // As of several roles, the first failure decides.
        ended = if ended == 0 { done } else { ended };
        failed += 1;
        if done > status::SIGNAL {
            ended = done;
        }
        if failed >= arguments.max_failures || done > status::SIGNAL {
            let left = &found[number + 1..];
            for container in left {
                let document = UpgradeDocument::of(&container.name, &container.path);
                tell::outcome(arguments, 0, &document.with(UpgradeOutcome::Left));
            }
            let names: Vec<_> = left.iter().map(|left| shell::one_line(&left.name)).collect();
            if !names.is_empty() {
                output::say(&format!("left as they are: {}", names.join(", ")));
            }
            break;
        }
    }
    ended
}

fn upgrade(
    container: &Container,
    (arguments, choices): (&UpgradeArguments, Choices<'_>),
    caller: &Caller,
    signals: &RefCell<Signals>,
) -> Result<(u8, UpgradeDocument), Refusal> {
    let document = || UpgradeDocument::of(&container.name, &container.path);
    let any = Subject::find_any(container, caller, "upgrade")?;
    let lock = any.lock()?;
    any.stands_alone()?;
    let recovered = recover(&any, arguments.dry_run, &mut signals.borrow_mut())?;
    if recovered != 0 {
        let why = "what an upgrade that was interrupted has left cannot be ended";
        return Ok((recovered, document().failed(why)));
    }
    // What was read of it may be of before the lock.
    let again = Container::at(&container.path);
    let container = again.as_ref().ok_or_else(|| format!("`{}` is gone", container.name))?;
    let subject = Subject::find(container, caller)?;
    let record = subject.record;
    let manifest =
        arguments.manifest.clone().unwrap_or_else(|| record.manifest.path.clone().into());
    if !manifest.exists() {
        return Err(gone(container, &manifest, arguments, caller));
    }
    let trust = Trust::observe(Policy::Refuse.unless(arguments.run.allow_untrusted));
    if let Some(refusal) = not_set(container, arguments, &record.call, &trust) {
        return Err(refusal);
    }
    let unknown = values::without_variable(&manifest, &arguments.unset, &record.call, &trust);
    if !unknown.is_empty() {
        return Err(unset(container, &unknown));
    }
    let may_differ = record.layers.iter().any(|layer| !layer.handed.is_empty())
        || arguments.manifest.is_some()
        || arguments.lock.locked
        || !(arguments.take.is_empty() && arguments.keep.is_empty())
        || !arguments.unset.is_empty()
        || !arguments.values.is_empty();
    if !may_differ
        // What cannot be planned is told of by the run, with its place.
        && Judge::new(Caller::observe())
            .changes(container, record, &manifest)
            .is_ok_and(|changes| changes.is_empty())
    {
        return Ok((0, document().with(UpgradeOutcome::Unchanged)));
    }
    let untouched = |status: u8| {
        tell::untouched(&container.name, false);
        Ok((status, document().failed("its role cannot be used")))
    };
    let request = match request(&subject, arguments, &manifest) {
        Ok(request) => request,
        Err(status) => return untouched(status),
    };
    let prepared = match request.prepare() {
        Ok(prepared) => prepared,
        Err(status) => return untouched(status),
    };
    let secrets = match secret::read(&prepared.chain) {
        Ok(secrets) => secrets,
        Err(report) => return untouched(output::refused(&report)),
    };
    let told = memfd_create("upgrade", MemfdFlags::CLOEXEC);
    let told = told.map_err(|error| format!("no memory to tell of it: {error}"))?.into();
    let upgrade = Upgrade {
        subject,
        arguments,
        choices,
        prepared,
        secrets,
        signals,
        told,
        last: RefCell::default(),
    };
    let done = upgrade.run(&request);
    drop(lock);
    Ok(done)
}

/// Asks for the container to be made as its role makes it now.
fn request(
    subject: &Subject<'_>,
    arguments: &UpgradeArguments,
    manifest: &Path,
) -> Result<Request, u8> {
    let (container, record) = (subject.container, subject.record);
    let mut wanted = Wanted { purpose: Purpose::Upgrade, ..wanted(record.storage(), false) };
    let choice = RemoteChoice {
        from: arguments.remote.from.as_deref(),
        only_pull: arguments.remote.only_pull,
        allow_untrusted: arguments.run.allow_untrusted,
    };
    let remote = choice.open(&mut wanted)?;
    let trust = Trust::observe(Policy::Refuse.unless(arguments.run.allow_untrusted));
    let args = record.call.args.iter().map(Into::into).collect();
    let target = target(&container.name, &container.path, subject.mapping.mapped(), args);
    Ok(Request {
        manifest: manifest.to_path_buf(),
        values: values::laid_over(&arguments.values, &arguments.unset, &record.call, &trust),
        trust,
        config: subject.mapping.initial_config(&given(record), &target.rootfs),
        ids: subject.ids.clone(),
        wanted,
        remote,
        lock: LockUse::Ignore.unless(arguments.lock.locked),
        target,
    })
}

/// Returns what the config of a container had before its role wrote there, but for where it is and what ids it has.
fn given(record: &Record) -> String {
    let lines = record.given.iter().flatten();
    let is_own = |line: &&String| {
        !config::pair(line).is_some_and(|(key, _)| key == "lxc.idmap" || key == "lxc.rootfs.path")
    };
    lines.filter(is_own).flat_map(|line| [line.as_str(), "\n"]).collect()
}

/// An upgrade of a container.
struct Upgrade<'a> {
    subject: Subject<'a>,
    arguments: &'a UpgradeArguments,
    choices: Choices<'a>,
    prepared: Prepared,
    secrets: Secrets,
    /// What ends it where it can be ended.
    signals: &'a RefCell<Signals>,
    /// What is told of it, in a file that all its processes have.
    told: File,
    /// What its last part has come to, where this process knows.
    last: RefCell<Option<Part>>,
}

impl Upgrade<'_> {
    /// Upgrades it, of which the history has one entry, and returns the exit status and what is told of it.
    fn run(&self, request: &Request) -> (u8, UpgradeDocument) {
        let note = begin(&self.prepared, &self.secrets, self.options(), None);
        let status = self.work(request);
        let last = self.last.take().filter(|last| last.status == status);
        let part = last.unwrap_or_else(|| match status {
            0 => Part::done(),
            CONFLICTS => {
                Part::failed(status, "both the container and its role have changed the same")
            }
            _ if self.subject.generations.is_interrupted() => {
                Part::failed(status, "the upgrade failed halfway")
            }
            _ => Part::failed(status, "the upgrade failed, and the container is left as it was"),
        });
        let document = self.document();
        let document = match (status, document.outcome) {
            (0, UpgradeOutcome::Unchanged) | (CONFLICTS, UpgradeOutcome::Conflict) => document,
            (0, _) if self.arguments.dry_run => document.with(UpgradeOutcome::WouldChange),
            (0, _) => document.with(UpgradeOutcome::Upgraded),
            _ => document.failed(part.message()),
        };
        (part.of(note).told(), document)
    }

    /// Notes what was found out, for this process may be one of its own, and returns the exit status.
    fn found(&self, document: &UpgradeDocument, status: u8) -> u8 {
        let written = self.told.set_len(0).and_then(|()| {
            let text = serde_json::to_vec(document)?;
            self.told.write_all_at(&text, 0)
        });
        written.map_or_else(|error| self.subject.done(Err(error)), |()| status)
    }

    /// Returns what was found out.
    fn document(&self) -> UpgradeDocument {
        let read = || -> io::Result<UpgradeDocument> {
            let mut text =
                vec![0; usize::try_from(self.told.metadata()?.len()).unwrap_or_default()];
            self.told.read_exact_at(&mut text, 0)?;
            Ok(serde_json::from_slice(&text)?)
        };
        read().unwrap_or_else(|_| {
            UpgradeDocument::of(self.subject.name(), &self.subject.container.path)
        })
    }

    fn options(&self) -> Options {
        Options::of(self.arguments.run, RunVerb::Upgrade)
    }

    /// Does a part of it, and returns its exit status.
    fn part(&self, task: Task<'_>) -> u8 {
        let part = perform(task, &self.prepared, self.secrets.clone(), self.options());
        let status = part.status;
        self.last.replace(Some(part));
        status
    }

    /// Says why it fails, and returns the exit status.
    fn fails(&self, message: &str, hint: Option<&str>) -> u8 {
        output::error(message, hint);
        self.last.replace(Some(Part::failed(status::FILES, message)));
        status::FILES
    }

    fn work(&self, request: &Request) -> u8 {
        let subject = &self.subject;
        if self.arguments.dry_run {
            let looked = subject.within(|| self.look(request));
            self.forget_the_rest();
            return if looked == UNCHANGED { 0 } else { looked };
        }
        let was_running = subject.is_running();
        let next = subject.generations.next();
        let staged = subject.within(|| match subject.generations.tidy(was_running) {
            Ok(()) => self.stage(request, &next),
            failed => subject.done(failed),
        });
        if staged != 0 {
            return self.left_untouched(staged);
        }
        let mut listings = None;
        if was_running {
            let looked = subject.within(|| self.rebase(&next, None, false));
            if looked != 0 {
                return self.left_untouched(if looked == UNCHANGED { 0 } else { looked });
            }
            if self.document().is_of_record_alone() {
                let rebased = subject.within(|| self.rebase(&next, None, true));
                return if rebased == 0 { self.record() } else { self.left_untouched(rebased) };
            }
            // Where this process may not read them, the one that puts it together does so itself.
            listings = Listings::read(&subject.store, &subject.old, &next).ok();
            tell::note(self.arguments, &format!("{}: stopping it", subject.name()));
            let halted = subject.any().halt(Some(&mut self.signals.borrow_mut()));
            if halted != 0 {
                return self.left(halted);
            }
        }
        let rebased = subject.within(|| self.rebase(&next, listings.as_ref(), true));
        let switched = match rebased {
            0 if subject.is_running() => {
                let message = format!("`{}` was started meanwhile", subject.name());
                subject.any().forget_halt();
                return self.left(self.fails(&message, None));
            }
            0 if self.document().is_of_record_alone() => return self.record(),
            0 => subject.within(|| subject.done(subject.generations.switch())),
            UNCHANGED => return self.back_to_work(was_running, 0),
            failed => failed,
        };
        if switched != 0 {
            return self.back_to_work(was_running, switched);
        }
        // LXC has no lock that keeps others from starting it. Who did that has it as it was, or was to be.
        let failed = match was_running {
            true => subject
                .lxc()
                .start()
                .err()
                .map(|error| format!("does not start as its role makes it now: {error}")),
            false => subject.is_running().then(|| "was started meanwhile".to_owned()),
        };
        if let Some(why) = failed {
            return self.undo(was_running, &why);
        }
        subject.any().forget_halt();
        if was_running {
            tell::note(self.arguments, &format!("{}: started again", subject.name()));
        }
        self.left(0)
    }

    /// Gives the container the record of what it would become, which is otherwise what it is, and returns the exit status.
    fn record(&self) -> u8 {
        let subject = &self.subject;
        if !self.document().is_of_record_alone() {
            let message = format!("`{}` was changed meanwhile", subject.name());
            return self.left_untouched(self.fails(&message, None));
        }
        self.left(subject.within(|| subject.done(subject.generations.put_record())))
    }

    /// Restores what the container was, which does not do as what it is now, and returns the exit status.
    fn undo(&self, was_running: bool, why: &str) -> u8 {
        let Subject { generations, .. } = &self.subject;
        let was_running = was_running || self.subject.is_running();
        if self.subject.is_running() {
            self.subject.any().halt(None);
        }
        let noted = || if was_running { generations.note_halt(true) } else { Ok(()) };
        let undone =
            self.subject.within(|| self.subject.done(generations.undo().and_then(|()| noted())));
        let name = self.subject.name();
        if undone != 0 {
            let hint = "`rollback` restores what it was, once what keeps it from that is mended";
            let failed = self.fails(&format!("`{name}` {why}"), Some(hint));
            return self.left(failed);
        }
        let hint =
            self.subject.lxc().log().map(|log| format!("`{}` may say why", shell::word(log)));
        let failed = self.fails(&format!("`{name}` {why}"), hint.as_deref());
        self.back_to_work(was_running, failed)
    }

    /// Looks at what the container would become, and returns the exit status. It leaves no trace of that.
    fn look(&self, request: &Request) -> u8 {
        let look = match self.subject.generations.look() {
            Ok(look) => look,
            Err(error) => return self.subject.done(Err(error)),
        };
        let at = look.at();
        let staged = self.stage(request, &at);
        let looked = if staged == 0 { self.rebase(&at, None, false) } else { staged };
        let ended = self.subject.done(look.end());
        if [0, UNCHANGED].contains(&looked) && ended != 0 { ended } else { looked }
    }

    /// Makes the container as its role makes it now, beside what it is.
    fn stage(&self, request: &Request, at: &Path) -> u8 {
        let made = NewContainer::make(at, &request.config, self.subject.mapping.mapped());
        let shell = match made {
            Ok(shell) => shell,
            Err(error) => return self.subject.done(Err(error)),
        };
        let status = self.part(Task::Stage(at));
        if status != 0 { status } else { self.subject.done(shell.keep()) }
    }

    /// Puts the container's own changes on that, or only looks whether that can be done.
    fn rebase(&self, staged: &Path, listings: Option<&Listings>, applies: bool) -> u8 {
        let Subject { record, store, old, .. } = &self.subject;
        let rebase = Rebase {
            staged: staged.to_path_buf(),
            store,
            old,
            record,
            choices: self.choices,
            is_exact: !self.arguments.all,
            applies,
            listings,
        };
        let tell = |rebased: &Rebased| {
            let document = UpgradeDocument::of(self.subject.name(), &self.subject.container.path);
            match rebased {
                Rebased::Done(difference) if difference.is_empty() => {
                    self.found(&document.with(UpgradeOutcome::Unchanged), UNCHANGED)
                }
                Rebased::Done(difference) => {
                    self.found(&document.differing(difference, &self.secrets), 0)
                }
                Rebased::Conflicts(files, configs) => {
                    let document = document.conflicting(files, configs, &self.secrets);
                    self.found(&document.with(UpgradeOutcome::Conflict), CONFLICTS)
                }
                Rebased::Nothing(words) => tell::nothing(self.subject.name(), words),
                Rebased::State(words) => tell::state(self.subject.name(), words),
            }
        };
        self.part(Task::Rebase(&rebase, &tell))
    }

    /// Removes what nobody needs any more, and returns the exit status.
    fn left(&self, status: u8) -> u8 {
        self.subject.any().discard(self.arguments.run.talk.log_format);
        self.forget_the_rest();
        status
    }

    /// Forgets what the container was noted for, and does not stand on.
    fn forget_the_rest(&self) {
        let Subject { container, store, .. } = &self.subject;
        // Whoever cleans the store finds it out as well.
        let tidy = || u8::from(GcRoot::tidy(store, &container.path.join(CONFIG_NAME)).is_err());
        self.subject.within(tidy);
    }

    /// Likewise, and says that the container is as it was where the upgrade has failed. A conflict says so itself.
    fn left_untouched(&self, status: u8) -> u8 {
        if ![0, CONFLICTS].contains(&status) {
            tell::untouched(self.subject.name(), false);
        }
        self.left(status)
    }

    /// Starts the container as it was if it ran, removes what nobody needs any more, and returns the exit status.
    fn back_to_work(&self, was_running: bool, status: u8) -> u8 {
        let is_as_it_was = !was_running || self.subject.any().resume();
        let is_whole = !self.subject.generations.is_interrupted();
        if ![0, CONFLICTS].contains(&status) && is_as_it_was && is_whole {
            tell::untouched(self.subject.name(), was_running);
        }
        self.left(status)
    }
}
