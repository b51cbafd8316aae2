//! The id map of a container that an ordinary user makes, or that its config asks for.

use std::fmt::Write;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, access};
use rustix::io::Errno;
use rustix::process::{getegid, getgroups};

use crate::host::account::{self, Range};
use crate::host::caller::Caller;
use crate::host::userns::Ids;
use crate::host::{files, trust};
use crate::lxc::call::Mapped;
use crate::lxc::config::{pair, unquoted};
use crate::lxc::given;
use crate::shell;

/// The largest config that a container can start with, in bytes.
pub(super) const LARGEST: usize = 1024 * 1024;

/// How a container's ids are mapped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mapping {
    /// Not at all: the host's own ids are the container's.
    None,
    /// The caller alone is mapped, to root: there are no ids besides.
    CallerAlone,
    /// By these.
    Ids(Ids),
    /// By several ranges, as a config says that leaves a hole for an id of the host's. LXC alone
    /// makes such containers.
    Pieces,
}

/// What to say where a config's map cannot be entered.
pub(super) const IN_PIECES: &str =
    "the container's config maps its ids in several pieces, which only `lxc-create` can do";

impl Mapping {
    /// Decides by the config that the container starts with, and by who calls.
    pub(super) fn decide(config: &str, caller: &Caller) -> Self {
        let Ok(given) = idmap(config) else { return Self::Pieces };
        match given.or_else(|| Ids::subordinate(caller).filter(|_| caller.uid != 0)) {
            Some(ids) => Self::Ids(ids),
            None if caller.uid == 0 => Self::None,
            None => Self::CallerAlone,
        }
    }

    /// Returns the ids of the namespace that the run works in; `None` if they are the host's.
    pub(super) fn ids(self, caller: &Caller) -> Option<Ids> {
        let one = |first| Range { first, count: 1 };
        match self {
            Self::None | Self::Pieces => None,
            Self::CallerAlone => Some(Ids { users: one(caller.uid), groups: one(caller.gid) }),
            Self::Ids(ids) => Some(ids),
        }
    }

    /// Returns the config of a container that starts with `config`: as LXC has it by then.
    pub(super) fn initial_config(self, config: &str, rootfs: &Path) -> Vec<u8> {
        let mut text = config.to_owned();
        if let (Ok(None), Self::Ids(Ids { users, groups })) = (idmap(&including(config)), self) {
            let _ = writeln!(text, "lxc.idmap = u 0 {} {}", users.first, users.count);
            let _ = writeln!(text, "lxc.idmap = g 0 {} {}", groups.first, groups.count);
        }
        [text.as_bytes(), &given::path_line(rootfs), b"\n"].concat()
    }

    /// Returns the ids that stand for the caller in the container's namespace.
    pub(super) fn mapped(self) -> Option<Mapped> {
        match self {
            Self::None | Self::Pieces => None,
            Self::CallerAlone => Some(Mapped { uid: 0, gid: 0 }),
            Self::Ids(ids) => Some(ids.mapped()),
        }
    }
}

/// Says which directory keeps a path from being made, and the command that lets it be: by its owner, its group, or its
/// mode. `within` the container's id map something is done.
pub(super) fn in_the_way(path: &Path, within: &str) -> Option<String> {
    let above = path.ancestors().skip(1);
    let above =
        above.map(|above| if above.as_os_str().is_empty() { Path::new(".") } else { above });
    let mut above: Vec<&Path> = above.collect();
    above.reverse();
    let mut last = None;
    let mut closed = None;
    for directory in above {
        match access(directory, Access::EXEC_OK) {
            Ok(()) => last = Some(directory),
            Err(Errno::ACCESS) => {
                closed = Some(directory);
                break;
            }
            Err(_) => break,
        }
    }
    let is_shut = |last: &&Path| access(*last, Access::WRITE_OK) == Err(Errno::ACCESS);
    let directory = closed.or_else(|| last.filter(is_shut))?;
    let metadata = fs::metadata(directory).ok()?;
    let shown = shell::word(directory);
    let (uid, gid) = (metadata.uid(), metadata.gid());
    let map = Ids::of_this_process();
    let own = map.map_or_else(|| Caller::observe().uid, |ids| ids.mapped().uid);
    let is_own = uid == own || map.is_some() && uid == 0;
    let without = |what: &str| {
        format!("{what} of {shown} has no id in the container's id map, within which {within}")
    };
    let elsewhere = "or write elsewhere";
    Some(if closed.is_some() {
        let who = if map.is_some() { "the ids of the container" } else { "you" };
        let sudo = if is_own { "" } else { "sudo " };
        let is_in_group = || {
            getegid().as_raw() == gid
                || getgroups().is_ok_and(|all| all.iter().any(|group| group.as_raw() == gid))
        };
        // Of owner, group and others the first that fits decides.
        let class = match is_own {
            true => 'u',
            false if is_in_group() => 'g',
            false => 'o',
        };
        format!("{who} may not pass {shown}: `{sudo}chmod {class}+x {shown}`, {elsewhere}")
    } else if map.is_some() && uid == trust::UNKNOWN {
        let why = without("the owner");
        format!("{why}: `sudo chown \"$(id -u):$(id -g)\" {shown}`, {elsewhere}")
    } else if map.is_some() && gid == trust::UNKNOWN {
        let why = without("the group");
        format!("{why}: `chgrp \"$(id -g)\" {shown}`, {elsewhere}")
    } else if is_own {
        format!("{shown} is read-only: `chmod u+w {shown}`, {elsewhere}")
    } else {
        let owner = account::user_name(uid).filter(|_| map.is_none());
        let owner = owner.unwrap_or_else(|| format!("user {uid}"));
        format!(
            "{shown} belongs to {owner}: `sudo chown \"$(id -u):$(id -g)\" {shown}`, {elsewhere}"
        )
    })
}

/// Reads what a container's config starts with.
pub(super) fn starting_config(path: &Path) -> Result<String, String> {
    let mut text = String::from_utf8(config_bytes(path)?)
        .map_err(|_| format!("the config `{}` is not UTF-8", path.display()))?;
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    Ok(text)
}

/// Reads a config that LXC reads whatever is in its comments.
pub(super) fn lax_config(path: &Path) -> Result<String, String> {
    Ok(String::from_utf8_lossy(&config_bytes(path)?).into_owned())
}

fn config_bytes(path: &Path) -> Result<Vec<u8>, String> {
    files::read_regular(path, LARGEST)
        .map_err(|error| format!("the config `{}` cannot be read: {error}", path.display()))
}

/// How deep a config may include others.
const DEEPEST: usize = 8;

/// Returns a config with those that it includes in their places: an id map may stand there.
pub(super) fn including(config: &str) -> String {
    within(config, 0)
}

fn within(config: &str, depth: usize) -> String {
    let mut text = String::new();
    for line in config.lines() {
        let value = pair(line).and_then(|(key, value)| (key == "lxc.include").then_some(value));
        match value.map(|path| Path::new(unquoted(path))) {
            Some(path) if depth < DEEPEST => {
                let configs = if path.is_dir() { below(path) } else { vec![path.to_path_buf()] };
                for config in configs.iter().filter_map(|path| lax_config(path).ok()) {
                    text.push_str(&within(&config, depth + 1));
                }
            }
            _ => {
                text.push_str(line);
                text.push('\n');
            }
        }
    }
    text
}

/// Returns the configs that LXC includes of a directory.
fn below(directory: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    let mut paths: Vec<_> = entries.map(|entry| entry.path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "conf"));
    paths.sort();
    paths
}

/// Returns the id map of a config, where it has one that starts at 0 for users and groups.
///
/// # Errors
///
/// [`IN_PIECES`], where there is more than that.
pub(super) fn idmap(config: &str) -> Result<Option<Ids>, &'static str> {
    let (mut users, mut groups) = (Vec::new(), Vec::new());
    for line in config.lines() {
        let Some(("lxc.idmap", value)) = pair(line) else { continue };
        let mut words = unquoted(value).split_whitespace();
        let list = match words.next() {
            Some("u") => &mut users,
            Some("g") => &mut groups,
            // LXC forgets what was before.
            None => {
                users.clear();
                groups.clear();
                continue;
            }
            Some(_) => continue,
        };
        let mut number = || words.next().and_then(|word| word.parse::<u32>().ok());
        if let (Some(inside), Some(first), Some(count)) = (number(), number(), number()) {
            list.push((inside, Range { first, count }));
        }
    }
    match (users.as_slice(), groups.as_slice()) {
        ([(0, users)], [(0, groups)]) => Ok(Some(Ids { users: *users, groups: *groups })),
        ([] | [_], [] | [_]) => Ok(None),
        _ => Err(IN_PIECES),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_config_s_map_counts_if_it_starts_at_0() {
        let text = "lxc.idmap = u 0 100000 65536\nlxc.idmap=g 0 200000 65536\n";
        let ids = idmap(text).unwrap().unwrap();
        assert_eq!((ids.users.first, ids.groups.first), (100_000, 200_000));
        assert_eq!(idmap(&format!("lxc.idmap = u 5 7 9\nlxc.idmap =\n{text}")), Ok(Some(ids)));
        assert_eq!(idmap("lxc.idmap = u 0 1 1\n"), Ok(None));
        assert_eq!(idmap("lxc.idmap = u 5 1 1\nlxc.idmap = g 5 1 1\n"), Ok(None));
        assert_eq!(idmap("# lxc.idmap = u 0 1 1\n"), Ok(None));
        let quoted = "lxc.idmap = 'u 0 100000 65536'\n lxc.idmap = \"g 0 200000 65536\"\n";
        assert_eq!(idmap(quoted), Ok(Some(ids)));
        assert_eq!(idmap(&format!("lxc.idmap = u 65536 1000 1\n{text}")), Err(IN_PIECES));
    }
    #[test]
    fn a_map_may_stand_in_what_a_config_includes_whatever_is_said_there_besides() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("map.conf");
        std::fs::write(&path, b"# f\xfcr web\nlxc.idmap = u 0 1 2\nlxc.idmap = g 0 1 2\n").unwrap();
        for included in [path.display().to_string(), format!("\"{}\"", place.path().display())] {
            let text = including(&format!(" lxc.include = {included}\n"));
            assert!(idmap(&text).unwrap().is_some(), "{text}");
        }
    }
}
