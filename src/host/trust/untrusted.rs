//! What others could have written, how that is told, and what mends it.

use std::ffi::OsStr;
use std::fmt;
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, Stat};

use super::judge::Writer;
use crate::diagnostic::{Diagnostic, Severity};
use crate::host::account;
use crate::shell;
use crate::source::At;

/// What others could have written: a file, or directories and links on the way to it, the outermost first.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) struct Untrusted {
    faults: Vec<Fault>,
    /// The tree that it is in.
    tree: Option<PathBuf>,
    severity: Severity,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Fault {
    path: PathBuf,
    writer: Writer,
    is_link: bool,
}

impl Untrusted {
    /// Creates one in which nothing is found yet.
    pub(super) fn nothing(severity: Severity, tree: Option<PathBuf>) -> Self {
        Self { faults: Vec::new(), tree, severity }
    }

    /// Adds what was seen at a path, if there is somebody who could have written it.
    pub(super) fn add(&mut self, path: &Path, writer: Option<Writer>, stat: &Stat) {
        let is_link = FileType::from_raw_mode(stat.st_mode) == FileType::Symlink;
        let Some(writer) = writer else { return };
        if self.faults.iter().all(|fault| fault.path != path) {
            self.faults.push(Fault { path: path.to_path_buf(), writer, is_link });
        }
    }

    /// Returns it, if anything was found.
    pub(super) fn found(self) -> Option<Self> {
        (!self.faults.is_empty()).then_some(self)
    }

    /// Tells whether it must not be taken.
    pub(crate) fn is_refused(&self) -> bool {
        self.severity == Severity::Error
    }

    /// Says who could have written the outermost, where it is told of `place` by then.
    pub(super) fn of_place(&self, place: &Path) -> String {
        match self.faults.first() {
            Some(Fault { path, writer, .. }) if path == place => format!("it {writer}"),
            _ => self.to_string(),
        }
    }

    /// Returns the diagnostic of a whole file.
    pub(crate) fn of_file(&self, file: &Path) -> Diagnostic {
        self.told(Diagnostic::of_file(file, format!("others could have written it: {self}")))
    }

    /// Returns the diagnostic of the directory in which containers are made.
    pub(crate) fn of_lxcpath(&self, lxcpath: &Path) -> Diagnostic {
        let message = format!("others could replace the containers in it: {self}");
        self.told(Diagnostic::of_file(lxcpath, message))
    }

    /// Returns the diagnostic of something that is named at `at`.
    pub(crate) fn of(&self, what: &str, at: &At) -> Diagnostic {
        self.told(Diagnostic::error(at, format!("others could have written {what}: {self}")))
    }

    fn told(&self, diagnostic: Diagnostic) -> Diagnostic {
        let help = format!("{}; `--allow-untrusted` accepts it anyway", self.advice());
        let diagnostic = diagnostic.help(help);
        let notes = match self.is_refused() {
            true => Vec::new(),
            false => vec!["a run as root refuses it, and ends with status 10".to_owned()],
        };
        let untrusted = self.faults.first().map(|fault| fault.path.clone());
        Diagnostic { severity: self.severity, untrusted, notes, ..diagnostic }
    }

    /// Says what fixes that.
    pub(super) fn advice(&self) -> String {
        const COPY: &str = "copy the file, and the files that it names, to a directory that only root can write to";
        if let Some((home, user)) = self.faults.iter().find_map(Fault::home) {
            let home = home.display();
            return format!(
                "`{home}` is the home of {user}: {COPY}, or let {user} call the program by `sudo`"
            );
        }
        // Whose it is decides what mends it, and that is not seen from here.
        if self.faults.iter().any(|fault| fault.writer == Writer::Owner(None)) {
            return format!("{COPY}, or use `layered-template create`");
        }
        let of_owner = |fault: &&Fault| matches!(fault.writer, Writer::Owner(_));
        let (owned, open): (Vec<_>, Vec<_>) = self.faults.iter().partition(of_owner);
        // Of a link, the owner of what it leads to would change.
        let is_link = owned.iter().any(|fault| fault.is_link);
        let chown: &[&str] = if is_link { &["chown", "-h"] } else { &["chown"] };
        let commands =
            [self.command(chown, "root", &owned), self.command(&["chmod"], "go-w", &open)];
        let commands: Vec<_> = commands.into_iter().flatten().collect();
        format!("`{}` fixes that", commands.join(" && "))
    }

    /// Returns the command that mends some faults: in a tree, all that is in it.
    fn command(&self, program: &[&str], what: &str, faults: &[&Fault]) -> Option<String> {
        let paths: Vec<&Path> = match &self.tree {
            _ if faults.is_empty() => return None,
            Some(top) => vec![top],
            None => faults.iter().map(|fault| fault.path.as_path()).collect(),
        };
        let recursive = self.tree.as_ref().map(|_| "-R");
        let words = program.iter().copied().chain(recursive).chain([what]).map(OsStr::new);
        Some(shell::command(words.chain(paths.into_iter().map(Path::as_os_str))))
    }
}

impl Fault {
    /// Returns the home that it is, and the name of its user.
    fn home(&self) -> Option<(&Path, String)> {
        let Writer::Owner(Some(uid)) = self.writer else { return None };
        (account::home(uid)? == self.path).then_some((&self.path, account::user_name(uid)?))
    }
}

/// Says who could have written the outermost.
impl fmt::Display for Untrusted {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(Fault { path, writer, .. }) = self.faults.first() else { return Ok(()) };
        write!(formatter, "`{}` {writer}", shell::one_line(&path.to_string_lossy()))
    }
}

/// Says what that is, in words that follow the path.
impl fmt::Display for Writer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named = |id: u32, name: Option<String>| match name {
            Some(name) => format!("`{name}`"),
            None => id.to_string(),
        };
        match *self {
            Writer::Owner(Some(uid)) => {
                write!(formatter, "belongs to user {}", named(uid, account::user_name(uid)))
            }
            Writer::Owner(None) => {
                formatter.write_str("belongs to a user whom this user namespace does not know")
            }
            Writer::Everybody => formatter.write_str("is writable by everybody"),
            Writer::Group(Some(gid)) => {
                write!(formatter, "is writable by group {}", named(gid, account::group_name(gid)))
            }
            Writer::Group(None) => {
                formatter.write_str("is writable by a group that this user namespace does not know")
            }
            Writer::Listed => formatter.write_str("is writable by somebody in its access list"),
        }
    }
}
