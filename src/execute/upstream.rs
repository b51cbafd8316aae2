//! Calls the upstream template.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::io::Read;
use std::path::Path;
use std::process::Stdio;

use super::failure::{Failure, status};
use super::observe::{Doing, Subject};
use super::step::Job;
use super::{Run, config};
use crate::digest::Digest;
use crate::host::child::{self, SpawnOptions};
use crate::host::files;
use crate::host::rootfs::{Fingerprint, Rootfs};
use crate::host::template;
use crate::lxc::upstream::{DEEPEST, DEPTH};
use crate::plan::{Layer, Template, Upstream};
use crate::{record, shell};

impl Run<'_> {
    /// Calls the upstream: for the container, or for the store.
    pub(super) fn upstream(
        &mut self,
        layer: &Layer,
        upstream: &Upstream,
        for_store: bool,
    ) -> Result<(), Failure> {
        let doing = Doing::Upstream(upstream.template.clone());
        let subject = Subject { layer: layer.name.clone(), doing };
        let fail =
            |reason: String| Failure::of(status::UPSTREAM, subject.clone(), &upstream.at, reason);
        let (path, digest, is_manifest) = match &upstream.program {
            Template::Busybox { path } => return self.busybox(layer, upstream, path, &subject),
            Template::File { path, digest, is_manifest } => (path, digest, *is_manifest),
        };
        let depth = template::depth();
        if depth >= DEEPEST {
            let hint = "a manifest cannot invoke itself";
            return Err(fail(format!("is this program again, {depth} levels deep")).hint(hint));
        }
        unchanged(path, *digest).map_err(&fail)?;
        let before = self.effect().map_err(|error| fail(format!("cannot be watched: {error}")))?;
        let mut command = template::command(path, is_manifest);
        command
            .args(&upstream.args)
            .env_clear()
            .envs(upstream.environment.iter().map(|(name, value)| (name, value)))
            .env(DEPTH, (depth + 1).to_string())
            // A template may ask questions, but what somebody answers is in no key.
            .stdin(if for_store { Stdio::null() } else { Stdio::inherit() });
        let options = SpawnOptions {
            shares_terminal: !for_store && child::is_terminal(rustix::stdio::stdin()),
            tick: self.context.observer.tick(),
            ..SpawnOptions::default()
        };
        let text = upstream.template.as_str();
        let job = Job {
            subject: subject.clone(),
            at: &upstream.at,
            text,
            status: status::UPSTREAM,
            download: None,
        };
        let words =
            [path.as_os_str()].into_iter().chain(upstream.args.iter().map(OsString::as_os_str));
        let line = shell::command(words);
        self.command(job, command, options)
            .map_err(|failure| Failure { command: Some(line.clone()), ..failure })?;
        if for_store {
            // What it has left would be stored as that of another.
            unchanged(path, *digest).map_err(&fail)?;
        }
        let missing = self.missing(!before.1.is_empty());
        let after = self.effect().map_err(|error| {
            fail(missing.clone().unwrap_or_else(|| format!("left a fault: {error}")))
        })?;
        if before == after && !self.workspace.target.args.is_empty() {
            let reason = "has changed nothing: the call only asked for something";
            return Err(Failure { status: status::INFORMATIONAL, ..fail(reason.to_owned()) });
        }
        if let Some(reason) = missing {
            return Err(fail(reason));
        }
        if after.0.is_empty() {
            self.note(&format!(
                "the rootfs is empty: {subject} has succeeded, and made nothing in it"
            ));
        }
        self.look_for_stray_config(&subject);
        self.upstream_record = self.read_record();
        Ok(())
    }

    /// Checks that the template is the one that the manifest pins, before anything runs.
    pub(super) fn pinned(&self) -> Result<(), Failure> {
        let upstream = self.plan.upstream();
        let (Template::File { path, digest, .. }, Some((pin, at))) =
            (&upstream.program, &upstream.pin)
        else {
            return Ok(());
        };
        if pin == digest {
            return Ok(());
        }
        let innermost = self.plan.layers().last().unwrap_or(&self.plan.layer);
        let doing = Doing::Upstream(upstream.template.clone());
        let subject = Subject { layer: innermost.name.clone(), doing };
        let reason = format!(
            "is not the one that the manifest pins: `{}` has the digest {digest}",
            path.display()
        );
        let failure = Failure::of(status::UPSTREAM, subject, at, reason);
        Err(failure.hint("review what has changed in it, then pin the new one"))
    }

    /// Returns what shows whether a template has done anything.
    fn effect(&self) -> io::Result<(Fingerprint, Vec<u8>)> {
        // LXC makes no directory of its own choosing for `--dir`: the template does.
        let rootfs = match Rootfs::open(&self.workspace.rootfs) {
            Ok(rootfs) => rootfs.fingerprint()?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Fingerprint::new(),
            Err(error) => return Err(error),
        };
        let config = config::read(&self.workspace)?;
        Ok((rootfs, config))
    }

    /// Says what the template has taken from the container, where it has: `had_config` tells whether
    /// there was one.
    fn missing(&self, had_config: bool) -> Option<String> {
        let rootfs = shell::word(&self.workspace.rootfs);
        match fs::symlink_metadata(&self.workspace.rootfs).map(|found| found.file_type()) {
            Ok(kind) if kind.is_dir() => {}
            Ok(kind) => {
                let what = if kind.is_symlink() { "a symbolic link" } else { "a file" };
                return Some(format!("left {what} at {rootfs}, instead of the rootfs"));
            }
            Err(_) => return Some(format!("left no rootfs at {rootfs}")),
        }
        let config = files::open_in(&self.workspace.container, config::NAME);
        let is_gone = config.is_err_and(|error| error.kind() == io::ErrorKind::NotFound);
        let path = self.workspace.target.path.join(config::NAME);
        (had_config && is_gone)
            .then(|| format!("removed the container's config {}", shell::word(path)))
    }

    /// Some packaged templates add the name to a path that ends with it already, and write their
    /// config where LXC does not read it.
    fn look_for_stray_config(&mut self, subject: &Subject) {
        let container = &self.workspace.target;
        let stray = container.path.join(&container.name).join("config");
        if stray.is_file() {
            let stray = stray.display();
            self.note(&format!("{subject} wrote a config to {stray}, where LXC does not read it"));
        }
    }

    /// Reads the record that the upstream left, where it is this program again.
    fn read_record(&self) -> Option<serde_json::Value> {
        let mut text = Vec::new();
        let file = files::open_in(&self.workspace.container, record::NAME).ok()?;
        file.take(64 * 1024 * 1024).read_to_end(&mut text).ok()?;
        serde_json::from_slice(&text).ok()
    }
}

/// Fails, if a template is not the one that was planned any more.
fn unchanged(path: &Path, planned: Digest) -> Result<(), String> {
    match File::open(path).and_then(Digest::of_reader) {
        Ok((digest, _)) if digest == planned => Ok(()),
        Ok(_) => Err("changed after it was planned".to_owned()),
        Err(error) => Err(format!("cannot be read any more: {error}")),
    }
}
