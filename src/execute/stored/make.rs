//! Makes what the store lacks.

use std::io;
use std::path::{Path, PathBuf};

use super::super::failure::Failure;
use super::super::site::Site;
use super::super::{Handed, Run, config};
use super::identity::Names;
use super::{Stored, fault, is_upstream};
use crate::host::files::Ownership;
use crate::lxc;
use crate::plan::{Act, Content, EntryId, Layer, PLACEHOLDER, Pattern, Rung};
use crate::store::{About, Build, Entry, Made, Start};

/// How the making of something ended.
pub(super) enum Ended {
    /// It is there.
    Done,
    /// This host has no place where it could be made.
    NoPlace(io::Error),
}

impl Run<'_> {
    /// Makes one storable, or takes it from another run that makes it meanwhile.
    pub(super) fn make(&mut self, pattern: &Pattern, index: usize) -> Result<Ended, Box<Failure>> {
        self.uninterrupted()?;
        let storable = &pattern.stored[index];
        let Some(layer) = pattern.nest_layer(&storable.name) else { return Ok(Ended::Done) };
        let Some(stored) = &self.stored else { return Ok(Ended::Done) };
        let (store, base, since) = (stored.store.clone(), stored.base, stored.stock.now);
        let rung = self.rung(pattern, index, base);
        let fail = |error: io::Error| fault(layer, "cannot be looked for", &error);
        let lock = store.lock_of(rung.key).map_err(fail)?;
        self.wait(&format!("another run makes {}", storable.slot()), || lock.take())?;
        let stock = store.stock(&self.plan.manifest.absolute, &[]).map_err(fail)?;
        if let Some(stored) = &mut self.stored {
            stored.stock.entries = stock.entries;
            for id in &stored.damaged {
                if stored.stock.entries.get(&id.key) == Some(&id.generation) {
                    stored.stock.entries.remove(&id.key);
                }
            }
        }
        let newest =
            self.stored.as_ref().and_then(|stored| stored.stock.entries.get(&rung.key).copied());
        let again = self.rung(pattern, index, base);
        // With `--rebuild`, what was made while this run waited is new too.
        let newer = newest.filter(|generation| *generation > since);
        let newer = newer.map(|generation| EntryId { key: rung.key, generation });
        if let Some(entry) = again.found.or(newer) {
            let slot = storable.slot();
            self.log(format!("{slot}: in the store as {entry}, made meanwhile\n").as_bytes());
            self.found(index, entry);
            return Ok(Ended::Done);
        }
        if index > 0 {
            // Why the first misses was said when it was looked for.
            self.misses(pattern, index, &again);
        }
        let (build, site) = match self.place(pattern) {
            Ok(place) => place,
            Err(error) => return Ok(Ended::NoPlace(error)),
        };
        let entry = self.build(pattern, index, layer, again, build, site)?;
        self.found(index, entry.id);
        Ok(Ended::Done)
    }

    fn build(
        &mut self,
        pattern: &Pattern,
        index: usize,
        layer: &Layer,
        rung: Rung,
        build: Build,
        site: Site,
    ) -> Result<Entry, Box<Failure>> {
        let storable = &pattern.stored[index];
        let handed = self.handed_of(pattern, &layer.name);
        let upstream = is_upstream(pattern, index);
        self.at_site(site, |run| {
            if upstream {
                return Ok(run.upstream(layer, pattern.upstream())?);
            }
            run.acts(layer, &handed, |act| !act.is_check_on_host())
        })?;
        let made = Made {
            layer: layer.name.to_string(),
            slot: storable.slot(),
            manifest: self.plan.manifest.absolute.clone(),
            role: self.plan.manifest.description.clone(),
        };
        let identity: Vec<&Path> = storable.identity.iter().map(AsRef::as_ref).collect();
        let kept = if upstream { Vec::new() } else { dropped(layer) };
        let kept: Vec<&Path> = kept.iter().map(PathBuf::as_path).collect();
        let about = About {
            made,
            document: rung.document,
            identity: &identity,
            kept: &kept,
            placeholder: PLACEHOLDER,
        };
        let started = std::time::Instant::now();
        let entry =
            build.commit(about).map_err(|error| fault(layer, "could not be stored", &error))?;
        let elapsed = started.elapsed().as_secs_f64();
        let (slot, id) = (storable.slot(), entry.id);
        self.log(format!("{slot}: stored in {elapsed:.1} s as {id}\n").as_bytes());
        for path in &entry.fixed {
            let path = crate::shell::word(format!("/{}", String::from_utf8_lossy(path)));
            self.note(&format!(
                "{slot} has the container's name in {path}, where it cannot be written: every \
                 container will have `{PLACEHOLDER}` there"
            ));
        }
        Ok(entry)
    }

    /// Makes a place on what is done so far.
    fn place(&mut self, pattern: &Pattern) -> io::Result<(Build, Site)> {
        let build = self.begin(pattern)?;
        let site = Site::open(&pattern.target)?;
        Ok((build, site))
    }

    fn begin(&mut self, pattern: &Pattern) -> io::Result<Build> {
        let Some(stored) = &self.stored else { return Err(io::Error::other("it is not open")) };
        let parent = match stored.base {
            Some(id) => Some(Entry::read(&stored.store, id)?),
            None => None,
        };
        let target = &pattern.target;
        let rootfs = format!("dir:{}", target.rootfs.display());
        let initial = lxc::config::of_any_container(&stored.initial, &rootfs);
        let start = Start {
            lxcpath: target.path.parent().unwrap_or(Path::new("/")),
            name: &target.name,
            initial: &initial,
            ownership: config::ownership(&self.site.container, target.mapped)?,
            directory: Ownership::of(&self.site.container)?,
            rootfs: stored.ground.rootfs,
        };
        Build::begin(&stored.store, parent, &start)
    }

    /// Runs the checks on the host of a layer where the container has no rootfs yet: in one that
    /// looks like it, and is thrown away.
    pub(super) fn in_view(
        &mut self,
        layer: &Layer,
        pattern: &Pattern,
        handed: &Handed,
    ) -> Result<(), Box<Failure>> {
        let entry = self.base_entry().map_err(|error| fault(layer, "cannot be read", &error))?;
        let (build, mut site) = self
            .place(pattern)
            .map_err(|error| fault(layer, "cannot be shown to its checks", &error))?;
        let own = &self.site.target;
        site.target.name.clone_from(&own.name);
        let names = Names::of(&entry, own);
        names
            .write(&site.rootfs, &entry.places)
            .map_err(|error| fault(layer, "cannot be shown to its checks", &error))?;
        self.at_site(site, |run| run.acts(layer, handed, Act::is_check_on_host))?;
        drop(build);
        Ok(())
    }

    /// Reads the entry of what is done so far.
    pub(super) fn base_entry(&self) -> io::Result<Entry> {
        match &self.stored {
            Some(Stored { store, base: Some(id), .. }) => Entry::read(store, *id),
            _ => Err(io::Error::other("nothing is stored")),
        }
    }
}

/// Returns the paths that a layer drops, each entry of a tree among them.
fn dropped(layer: &Layer) -> Vec<PathBuf> {
    let mut paths = Vec::new();
    for act in &layer.after {
        let Act::Drop(file) = act else { continue };
        let path: &Path = file.path.as_ref();
        paths.push(path.to_path_buf());
        if let Content::Tree { entries, .. } = &file.content {
            paths.extend(entries.iter().map(|entry| path.join(&entry.path)));
        }
    }
    paths
}
