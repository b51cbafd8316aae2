//! Has from a registry what the store lacks: the layer is laid over what is below it, and stored as if it had
//! been built.

use std::io::{self, Read};
use std::os::fd::AsFd;
use std::time::Instant;

use super::super::failure::{Failure, status};
use super::super::observe::Event;
use super::super::{Run, RunContext};
use super::session::Session;
use super::{fault, unfit_for};
use crate::cache::{Answer, BuildBase, CacheAct, Planned, Pulling, Unfit, bytes};
use crate::digest::Hasher;
use crate::host::files;
use crate::plan::Layer;
use crate::registry::{Pulled, Remote};
use crate::store::{Committed, Content};
use crate::tree::{Devices, Interrupt, Limits, decoded_file, unpack};

impl<'a> Run<'a> {
    /// Pulls the next slot.
    pub(super) fn pull(
        &mut self,
        session: &mut Session<'a>,
        layer: &Layer,
        planned: &Planned,
    ) -> Result<(), Box<Failure>> {
        let CacheAct::Pull { entry, size, repository, .. } = &planned.act else { return Ok(()) };
        let Some(remote) = self.context.remote else { return Ok(()) };
        let begun = Instant::now();
        self.context.observer.event(&Event::Act(planned));
        let text = format!("pulling {} from {repository}", bytes(*size));
        let blobs = session.store.blobs();
        let wanted = session.cache.wanted;
        let can_build = wanted.pulling == Pulling::First && !wanted.locked;
        let (mut unfit, mut down) = (None, None);
        let pulled = self.store_act(layer, &text, status::STORE, |run| {
            let RunContext { events, observer, .. } = &mut run.context;
            let interrupt = Interrupt::of(events.as_fd());
            let total = Some(*size);
            let mut progress = |done| observer.event(&Event::Bytes { done, total });
            match remote.fetch(*entry, &blobs, &mut progress, interrupt) {
                Err(error) if error.is_unfit() => {
                    unfit = Some(error.to_string());
                    Ok(None)
                }
                Err(error) if error.is_unreachable() && can_build => {
                    down = Some(error.to_string());
                    Ok(None)
                }
                fetched => Ok(Some(fetched?)),
            }
        })?;
        if let Some(why) = down {
            self.note(&format!("{why}: the missing layers are built instead"));
            session.index.offers.insert(entry.key, Answer::Unreachable(why));
            session.ask(self);
            return Ok(());
        }
        let Some(mut pulled) = pulled else {
            return Err(unfit_for(layer, &unfit.unwrap_or_default(), Unfit::Altered));
        };
        if pulled.portable.parent != session.progress.base {
            return Err(unfit_for(
                layer,
                "it is based on another layer than it should be",
                Unfit::Altered,
            ));
        }
        self.lay(session, layer, &mut pulled, begun, remote)
    }

    /// Lays what was pulled over what is below it, and stores that.
    fn lay(
        &mut self,
        session: &mut Session<'a>,
        layer: &Layer,
        pulled: &mut Pulled,
        begun: Instant,
        remote: &Remote,
    ) -> Result<(), Box<Failure>> {
        let label = session.slot().label();
        let base = session.progress.base;
        let inside = base.and_then(|base| session.index.looked_at.get(&base));
        // An overlay would hide it.
        let on = match base {
            None => BuildBase::Nothing,
            Some(_) if inside.is_some_and(|inside| inside.whiteout.is_some()) => BuildBase::Copy,
            Some(_) => BuildBase::Overlay,
        };
        let top = session.store.top().display().to_string();
        let fail = |error: &io::Error| {
            if let Some(full) = files::without_place(error) {
                return fault(layer, &format!("could not be stored in `{top}`"), &full);
            }
            fault(layer, "cannot be laid over what is below it", error)
        };
        let (build, workspace) = match self.place(session, on) {
            Ok(place) => place,
            Err(error) => {
                self.heard(&error)?;
                return Err(fail(&error));
            }
        };
        // Nothing works there, and whoever has it open is in the way.
        drop(workspace);
        let interrupt = Interrupt::of(self.context.events.as_fd());
        let laid = || -> io::Result<(String, bool)> {
            let rootfs = build.open_rootfs()?;
            let from = decoded_file(&pulled.blob.file, interrupt)?;
            let mut archive = Digesting { from, hasher: Hasher::default() };
            let limits = Limits::default();
            let unpacked =
                unpack(&mut archive, rootfs.as_fd(), &limits, Devices::LeaveOut, interrupt)?;
            io::copy(&mut archive, &mut io::sink())?;
            let is_right = archive.hasher.finish() == pulled.portable.diff_id;
            Ok((unpacked.left_out.to_string(), is_right))
        };
        let (left_out, is_right) = match laid() {
            Ok(laid) => laid,
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                return Err(unfit_for(
                    layer,
                    &format!("what it holds cannot be taken: {error}"),
                    Unfit::Altered,
                ));
            }
            Err(error) => {
                self.heard(&error)?;
                return Err(fail(&error));
            }
        };
        if !is_right {
            let why = format!("{} has sent something else than it announced", remote.repository());
            return Err(unfit_for(layer, &why, Unfit::Altered));
        }
        for line in left_out.lines() {
            self.note(&format!("{label}: {line}"));
        }
        let content = Content { digest: pulled.portable.diff_id, form: None };
        let pulled = Some((&pulled.portable, pulled.origin.clone()));
        match self.commit(session, layer, build, pulled)? {
            Committed::Stored(entry, pin) => {
                if let Err(error) = session.store.remember_content(&entry, content) {
                    tracing::debug!(%error, "the digest of an archive has to be taken again");
                }
                self.tell_of_names_kept(&label, &entry.fixed);
                session.has_built((*entry, pin), begun.elapsed());
            }
            Committed::NameLeft(files) => {
                let why = format!("it holds the container's name in {}", files.join(", "));
                return Err(unfit_for(layer, &why, Unfit::Altered));
            }
        }
        session.ask(self);
        Ok(())
    }
}

/// Digests what is read through it.
struct Digesting<R> {
    from: R,
    hasher: Hasher,
}

impl<R: Read> Read for Digesting<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.from.read(buffer)?;
        self.hasher.update(&buffer[..read]);
        Ok(read)
    }
}
