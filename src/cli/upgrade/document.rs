//! What an upgrade changes in a container, or what keeps it from that, as a value.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::chain::Secrets;
use crate::cli::diff::ConfigChange;
use crate::cli::file_difference::FileChange;
use crate::execute::{Difference, FileConflict, PathChange};
use crate::lxc::revision::ConfigConflict;
use crate::merge::{Item, Side, What};
use crate::shell;

/// What an upgrade changes in a container, or what keeps it from that, as `upgrade --format json` writes it: one line
/// for each container.
#[derive(Debug, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct UpgradeDocument {
    /// The container's name.
    pub(super) container: String,
    /// Its directory.
    pub(super) path: String,
    /// What has come of it.
    pub(super) outcome: UpgradeOutcome,
    /// Why it failed.
    pub(super) error: Option<String>,
    /// The paths of its rootfs that change.
    pub(super) files: Vec<ChangedName>,
    /// What of these goes that the container itself had put into a directory which is none any more.
    #[serde(default)]
    pub(super) dropped: Vec<String>,
    /// The files beside its rootfs that change.
    pub(super) beside: Vec<ChangedName>,
    /// The lines of its config that go or come.
    pub(super) config: Vec<ConfigChange>,
    /// Whether its config changes at all, be it only the stored tree that it names.
    pub(super) is_other_config: bool,
    /// Whether its record tells of another role, or of other layers.
    pub(super) is_other_record: bool,
    /// What both the container and its role have changed. Where there is any, nothing changes.
    pub(super) conflicts: Vec<Conflict>,
}

/// What has come of the upgrade of a container.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub(crate) enum UpgradeOutcome {
    /// It is what its role makes now.
    Upgraded,
    /// It was that already.
    Unchanged,
    /// It was only looked at, and would change.
    WouldChange,
    /// Both it and its role have changed the same; it is left as it was.
    Conflict,
    /// That failed; what would have changed is told as far as it is known.
    #[default]
    Failed,
    /// Nothing was tried, since others had failed before.
    Left,
}

/// Something that changes.
#[derive(Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct ChangedName {
    /// Its absolute path inside the rootfs, or its name beside that.
    pub(super) name: String,
    /// What becomes of it.
    pub(super) change: FileChange,
}

/// What both a container and its role have changed.
#[derive(Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct Conflict {
    /// The path inside the rootfs, `beside:` and the name of a file beside that, or `config:` and a key, as `--take` and
    /// `--keep` have it.
    pub(super) name: String,
    /// How a shell writes that name, where it is no text: the name has U+FFFD then for what is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) word: Option<String>,
    /// What the role had made; nothing, where it had not.
    pub(super) was: Option<String>,
    /// What it makes now.
    pub(super) role: Option<String>,
    /// What the container has.
    pub(super) own: Option<String>,
    /// What would be wrong, where the three do not show it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) why: Option<String>,
    /// What decides it, where `--take` and `--keep` of the name itself do not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) decide: Option<String>,
}

impl Conflict {
    /// Returns its name as a shell writes it.
    pub(super) fn word(&self) -> String {
        self.word.clone().unwrap_or_else(|| shell::word(&self.name))
    }
}

impl UpgradeDocument {
    /// Tells whether nothing changes but the record.
    pub(super) fn is_of_record_alone(&self) -> bool {
        self.is_other_record
            && !self.is_other_config
            && self.files.is_empty()
            && self.beside.is_empty()
    }

    /// That of a container that nothing changes in.
    pub(super) fn of(container: &str, path: &Path) -> Self {
        let (container, path) = (container.to_owned(), path.to_string_lossy().into_owned());
        Self { container, path, ..Self::default() }
    }

    /// That of a container whose upgrade has failed by what a message tells of, where there is one.
    pub(super) fn failed<'a>(self, message: impl Into<Option<&'a str>>) -> Self {
        let error = message.into().map(str::to_owned);
        Self { outcome: UpgradeOutcome::Failed, error, ..self }
    }

    /// Returns it with what has come of the upgrade.
    pub(super) fn with(self, outcome: UpgradeOutcome) -> Self {
        Self { outcome, ..self }
    }

    /// Adds what changes. Secrets are replaced wherever they stand.
    pub(super) fn differing(self, difference: &Difference, secrets: &Secrets) -> Self {
        let name = |path: &[u8], before: &str| {
            format!("{before}{}", secrets.mask(&String::from_utf8_lossy(path)))
        };
        let changed = |changes: &[PathChange], before: &str| {
            let changed = |change: &PathChange| ChangedName {
                name: name(&change.path, before),
                change: match (change.was, change.is) {
                    (false, _) => FileChange::Added,
                    (true, true) => FileChange::Changed,
                    (true, false) => FileChange::Removed,
                },
            };
            changes.iter().map(changed).collect()
        };
        let (gone, come) = &difference.lines;
        let line =
            |line: &String, change| ConfigChange { change, line: secrets.mask(line).into_owned() };
        let gone = gone.iter().map(|text| line(text, FileChange::Removed));
        let come = come.iter().map(|text| line(text, FileChange::Added));
        Self {
            files: changed(&difference.paths, "/"),
            dropped: difference.dropped.iter().map(|path| name(path, "/")).collect(),
            beside: changed(&difference.beside, ""),
            config: gone.chain(come).collect(),
            is_other_config: difference.config,
            is_other_record: difference.record,
            ..self
        }
    }

    /// Adds what keeps it from changing. Secrets are replaced wherever they stand.
    pub(super) fn conflicting(
        self,
        files: &[FileConflict],
        configs: &[ConfigConflict],
        secrets: &Secrets,
    ) -> Self {
        let masked = |text: &str| secrets.mask(text).into_owned();
        let files = files.iter().map(|conflict| {
            let FileConflict { path, is_beside, old, new, own, is_private, why, elsewhere } =
                conflict;
            let before = if *is_beside { "beside:" } else { "/" };
            let described = |item: &Option<Item>| {
                item.as_ref().map(|item| masked(&described(item, *is_private)))
            };
            let is_text = str::from_utf8(path).is_ok();
            let spelled =
                |path: &[u8]| shell::word(OsStr::from_bytes(&[before.as_bytes(), path].concat()));
            let word = || spelled(path);
            let decide = elsewhere.as_ref().map(|(path, side)| match side {
                Side::New => format!("--take {}", spelled(path)),
                Side::Own => format!("--keep {}", spelled(path)),
            });
            Conflict {
                word: (!is_text).then(|| masked(&word())),
                name: masked(&format!("{before}{}", String::from_utf8_lossy(path))),
                was: described(old),
                role: described(new),
                own: described(own),
                why: why.as_deref().map(masked),
                decide: decide.as_deref().map(masked),
            }
        });
        let configs = configs.iter().map(|ConfigConflict { key, old, new, own }| Conflict {
            name: format!("config:{key}"),
            word: None,
            was: old.as_deref().map(masked),
            role: new.as_deref().map(masked),
            own: own.as_deref().map(masked),
            why: None,
            decide: None,
        });
        Self { conflicts: files.chain(configs).collect(), ..self }
    }
}

/// Says what something is.
fn described(item: &Item, is_private: bool) -> String {
    let what = match &item.what {
        What::Directory => "directory".to_owned(),
        // A short secret can be guessed by its digest.
        What::File(..) if is_private => "file".to_owned(),
        What::File(_, digest) => format!("sha256:{}…", digest.short()),
        What::Symlink(target) => format!("symlink to {}", String::from_utf8_lossy(target)),
        What::Special(kind, _) => (*kind).to_owned(),
    };
    let (uid, gid) = item.owner;
    let xattrs = if item.xattrs.is_some() { " with attributes" } else { "" };
    let links = match &item.names {
        Some(names) => format!(" one of {} names", names.len()),
        None => String::new(),
    };
    format!("{what} {:04o} {uid}:{gid}{xattrs}{links}", item.mode)
}
