//! The lock beside a manifest, as a file.

use std::path::{Path, PathBuf};

use super::output;
use crate::diagnostic::{Diagnostic, Report, Severity};
use crate::execute::status;
use crate::host::files;
use crate::host::trust::Trust;
use crate::lock::Lock;

/// The largest lock, in bytes.
const LARGEST: usize = 16 << 20;

/// A lock, and where it is.
#[derive(Debug)]
pub(super) struct LockFile {
    pub(super) path: PathBuf,
    manifest: PathBuf,
    pub(super) text: String,
    pub(super) lock: Lock,
}

impl LockFile {
    /// Reads the lock of a manifest, if there is one.
    pub(super) fn read(manifest: &Path, trust: &Trust) -> Result<Option<Self>, Report> {
        let path = Lock::path_of(manifest);
        if matches!(path.symlink_metadata(), Err(error) if error.kind() == std::io::ErrorKind::NotFound)
        {
            return Ok(None);
        }
        let (source, warnings) = files::read_source(&path, LARGEST, trust)?;
        output::diagnostics(&warnings);
        let lock = Lock::parse(&source)?;
        let text = source.text.clone();
        Ok(Some(Self { path, manifest: manifest.to_path_buf(), text, lock }))
    }

    /// Says that there is none, and returns the exit status.
    pub(super) fn missing(manifest: &Path) -> u8 {
        let path = Lock::path_of(manifest);
        let message = format!("there is no `{}`", path.display());
        output::error(&message, Some(&format!("{} writes it", command(manifest))));
        status::USAGE
    }

    /// Says what has changed since it was locked, and returns the exit status.
    ///
    /// # Errors
    ///
    /// Where anything is.
    pub(super) fn refuse(&self, differences: &[String]) -> Result<(), u8> {
        if differences.is_empty() {
            return Ok(());
        }
        let manifest = self.manifest.display();
        let mut message = format!("`{manifest}` has changed since it was locked:");
        for difference in differences {
            message.push_str("\n  ");
            message.push_str(difference);
        }
        let hint =
            format!("review what has changed; {} locks it as it is now", command(&self.manifest));
        output::error(&message, Some(&hint));
        Err(status::TRUST)
    }

    /// Returns a warning that it is out of date, where it is.
    pub(super) fn outdated(&self, differences: &[String]) -> Report {
        let Some(first) = differences.first() else { return Report::default() };
        let more = match differences.len() - 1 {
            0 => String::new(),
            more => format!(", and {more} more"),
        };
        let mut warning =
            Diagnostic::of_file(&self.path, format!("it is out of date: {first}{more}"))
                .help(format!("{} locks the role as it is now", command(&self.manifest)));
        warning.severity = Severity::Warning;
        warning.into()
    }
}

fn command(manifest: &Path) -> String {
    format!("`layered-template lock {}`", crate::shell::word(manifest))
}
