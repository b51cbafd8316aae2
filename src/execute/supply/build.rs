//! Builds what the store lacks.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Instant;

use super::super::failure::{Failure, status};
use super::super::observe::{Doing, Event, Subject};
use super::super::workspace::Workspace;
use super::super::{Run, config};
use super::session::Session;
use super::{cannot_build, fault};
use crate::cache::{BuildBase, CacheAct, PLACEHOLDER, Planned, Provenance, Refusal, SlotKind};
use crate::digest::Digest;
use crate::host::caller::Caller;
use crate::host::files::Ownership;
use crate::host::lxcpath;
use crate::manifest::LayerName;
use crate::observe::base_inputs;
use crate::plan::{Act, Content, Layer, Target};
use crate::store::{self, About, Build, BuildOn, Committed, Entry, Made, Portable, Setting, Store};
use crate::tree::Patience;

impl<'a> Run<'a> {
    /// Builds the next slot, unless another run has built it meanwhile. What is to be done then is asked
    /// again.
    pub(super) fn build(&mut self, session: &mut Session<'a>) -> Result<(), Box<Failure>> {
        let slot = session.slot();
        let layer = session.cache.twin_of(&slot.layer);
        let fail = |error: io::Error| fault(layer, "cannot be looked for in the store", &error);
        let handed = |name: &LayerName| self.handed_of(session.cache, name);
        let (done, base) = (session.progress.done, session.progress.base);
        // What a lock pins may have another key than what is here would give.
        let key = match session.next_pull(done) {
            Some(entry) => entry.key,
            None => session.cache.lookup(done, base, &handed).1,
        };
        let lock = match session.store.lock_of(key) {
            Ok(lock) => lock,
            Err(error) => {
                let error = io::Error::new(error.kind(), format!("no lock: {error}"));
                session.stop(self, cannot_build(session.store.top(), &error), true);
                return Ok(());
            }
        };
        let token = lock.token().map_err(fail)?;
        if self.held().contains(&token) {
            let subject = Subject { layer: layer.name.clone(), doing: Doing::Store };
            let reason = "is built by a run that this is part of";
            let failure = Failure::of(status::STORE, subject, &layer.at, reason);
            return Err(Box::new(failure.hint("a manifest cannot invoke itself")));
        }
        let what = format!("another run builds {}", slot.label());
        if let Err(error) = self.wait(&what, Patience::told(), || lock.take()) {
            self.heard(&error)?;
            return Err(Box::new(Failure::of_run(
                status::STORE,
                format!("the layer store: {error}"),
            )));
        }
        session.look_again(self).map_err(fail)?;
        // With `--rebuild`, what was built while this run waited is new too.
        let Some(planned) = session.next_made(done) else { return Ok(()) };
        // Its file may have been made anew meanwhile.
        let token = lock.token().map_err(fail)?;
        self.tokens.push(token.clone());
        let result = match planned.act {
            CacheAct::Build { on, .. } => self.build_missing(session, (layer, key), &planned, on),
            _ => self.pull(session, layer, &planned),
        };
        self.tokens.retain(|held| *held != token);
        result
    }

    fn build_missing(
        &mut self,
        session: &mut Session<'a>,
        (layer, key): (&Layer, Digest),
        planned: &Planned,
        on: BuildBase,
    ) -> Result<(), Box<Failure>> {
        let slot = session.slot();
        let label = slot.label();
        if let CacheAct::Build { why, .. } = &planned.act {
            for line in why {
                self.log(format!("{label}: misses: {line}\n").as_bytes());
                tracing::info!(slot = label, line, "misses");
            }
        }
        let begun = Instant::now();
        let (build, workspace) = match self.place(session, on) {
            Ok(place) => place,
            Err(error) => {
                self.heard(&error)?;
                session.stop(self, cannot_build(session.store.top(), &error), true);
                return Ok(());
            }
        };
        self.context.observer.event(&Event::Act(planned));
        let upstream = slot.kind == SlotKind::Upstream;
        let handed = self.handed_of(session.cache, &layer.name);
        let top = session.store.top().to_path_buf();
        self.in_workspace(workspace, &top, |run| {
            if upstream {
                return Ok(run.upstream(layer, session.cache.upstream(), true)?);
            }
            run.acts(layer, &handed, |act| !act.is_check_on_host())
        })?;
        if upstream {
            unchanged_arguments(session, layer)?;
            if build.config().is_ok_and(|config| config.is_none()) {
                let why = "changes the lines of the config that LXC has given it";
                self.refuse(session, key, why);
                return Ok(());
            }
        }
        match self.commit(session, layer, build, None)? {
            Committed::Stored(entry, pin) => {
                let id = entry.id;
                self.tell_of_names_kept(&label, &entry.fixed);
                session.has_built((*entry, pin), begun.elapsed());
                tracing::debug!(%id, "stored");
            }
            Committed::NameLeft(files) => {
                let shown: Vec<_> = files
                    .iter()
                    .take(MOST_FILES)
                    .map(|file| crate::shell::one_line(file))
                    .collect();
                let more = if files.len() > MOST_FILES { ", ..." } else { "" };
                let why = format!(
                    "leaves the container's name in {}{more}, in a form that cannot be replaced",
                    shown.join(", ")
                );
                self.refuse(session, key, &why);
                return Ok(());
            }
        }
        session.ask(self);
        Ok(())
    }

    /// Goes on without storing what was built, from now on and in other runs.
    fn refuse(&mut self, session: &mut Session<'a>, key: Digest, why: &str) {
        let label = session.slot().label();
        self.note(&format!("{label} is not stored, and made in the container itself: it {why}"));
        let refusal = Refusal { why: why.to_owned(), at: store::now() };
        if let Err(error) = session.store.refuse(key, &refusal) {
            tracing::debug!(%error, "it will be built once more to find that out");
        }
        session.index.now = session.index.now.max(refusal.at);
        session.index.refused.insert(key, refusal);
        session.ask(self);
    }

    /// Stores what was built, or `pulled`.
    pub(super) fn commit(
        &mut self,
        session: &Session<'a>,
        layer: &Layer,
        build: Build,
        pulled: Option<(&Portable, Provenance)>,
    ) -> Result<Committed, Box<Failure>> {
        let slot = session.slot();
        let made = Made {
            layer: layer.name.to_string(),
            slot: slot.label(),
            manifest: self.plan.manifest.absolute.clone(),
            role: self.plan.manifest.description.clone(),
        };
        let own: &[Act] = if slot.kind == SlotKind::Upstream { &[] } else { &layer.after };
        let identity: Vec<&Path> = slot.identity.iter().map(AsRef::as_ref).collect();
        let (kept, removed) = (dropped(own), removed(own));
        let kept: Vec<&Path> = kept.iter().map(PathBuf::as_path).collect();
        let handed = |name: &LayerName| self.handed_of(session.cache, name);
        let (done, base) = (session.progress.done, session.progress.base);
        let about = About {
            made,
            document: match &pulled {
                Some((portable, _)) => portable.inputs.clone(),
                None => session.cache.lookup(done, base, &handed).0,
            },
            identity: &identity,
            kept: &kept,
            removed: &removed,
            placeholder: PLACEHOLDER,
            keeps_name: slot.keeps_name,
            pulled,
        };
        let started = Instant::now();
        match self.meanwhile(|interrupt| build.commit(about, interrupt)) {
            Ok(committed) => {
                let elapsed = started.elapsed().as_secs_f64();
                let ended = match &committed {
                    Committed::Stored(entry, _) => {
                        format!("stored in {elapsed:.1} s as {}", entry.id)
                    }
                    Committed::NameLeft(_) => "not stored".to_owned(),
                };
                self.log(format!("{}: {ended}\n", slot.label()).as_bytes());
                Ok(committed)
            }
            Err(error) => {
                self.heard(&error)?;
                let top = session.store.top().display();
                Err(fault(layer, &format!("could not be stored in `{top}`"), &error))
            }
        }
    }

    /// Warns of files that hold the placeholder, or a part of it, and stay so.
    pub(super) fn tell_of_names_kept(&mut self, label: &str, files: &[Vec<u8>]) {
        for path in files {
            let path = crate::shell::one_line(&store::shown(path));
            self.note(&format!(
                "{label} has the container's name in {path}, where it cannot be written: every \
                 container has a piece of `{PLACEHOLDER}` there; without `store = true` the layer is \
                 made in each container"
            ));
        }
    }

    /// Makes a place for a layer on what is done so far.
    pub(super) fn place(
        &mut self,
        session: &Session<'a>,
        on: BuildBase,
    ) -> io::Result<(Build, Workspace)> {
        let base = session.progress.base;
        let parent = base.map(|id| Entry::read(&session.store, id)).transpose()?;
        let target = &session.cache.target;
        let on = match on {
            BuildBase::Copy => BuildOn::Copy,
            BuildBase::Nothing | BuildBase::Overlay => BuildOn::Overlay,
        };
        let build = self.begin(&session.store, target, parent, on)?;
        Ok((build, Workspace::open(target)?))
    }

    /// Makes a place that looks like the container of `target`.
    pub(super) fn begin(
        &mut self,
        store: &Store,
        target: &Target,
        parent: Option<Entry>,
        on: BuildOn,
    ) -> io::Result<Build> {
        let setting = Setting {
            lxcpath: target.path.parent().unwrap_or(Path::new("/")),
            name: &target.name,
            ownership: config::ownership(&self.workspace.container, target.mapped)?,
            group: lxcpath::group(&Caller::observe(), target.mapped),
            directory: Ownership::of(&self.workspace.container)?,
            on,
        };
        let lock = store.work_lock()?;
        let what = "another run is making a place to work in the store";
        self.wait(what, Patience::silent(), || lock.take())?;
        self.meanwhile(|interrupt| Build::begin((store, lock), parent, &setting, interrupt))
    }
}

/// How many files a message names.
const MOST_FILES: usize = 4;

/// Fails, if what the upstream was given, or copies from, is not what the key says any more.
fn unchanged_arguments(session: &Session<'_>, layer: &Layer) -> Result<(), Box<Failure>> {
    let recall = |stamp: &_| session.store.recall(stamp);
    if base_inputs::is_unchanged(&session.cache.inputs, &session.cache.arguments, &recall) {
        return Ok(());
    }
    let upstream = session.cache.upstream();
    let doing = Doing::Upstream(upstream.template.clone());
    let subject = Subject { layer: layer.name.clone(), doing };
    let reason = "was given a file that changed after it was planned";
    Err(Box::new(Failure::of(status::UPSTREAM, subject, &upstream.at, reason)))
}

/// Returns the paths that a layer removes.
fn removed(acts: &[Act]) -> Vec<&Path> {
    let removals = acts.iter().filter_map(|act| match act {
        Act::Drop(file) if matches!(file.content, Content::Remove) => Some(file.path.as_ref()),
        _ => None,
    });
    removals.collect()
}

/// Returns the paths that a layer drops, each entry of a tree among them.
fn dropped(acts: &[Act]) -> Vec<PathBuf> {
    let mut paths = Vec::new();
    for act in acts {
        let Act::Drop(file) = act else { continue };
        if matches!(file.content, Content::Remove) {
            continue;
        }
        let path: &Path = file.path.as_ref();
        paths.push(path.to_path_buf());
        if let Content::Tree { entries, .. } = &file.content {
            paths.extend(entries.iter().map(|entry| path.join(&entry.path)));
        }
    }
    paths
}
