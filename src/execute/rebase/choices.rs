//! Whose side holds where somebody has said so, by `--take` and `--keep`.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

use crate::merge::{self, Side};
use crate::shell;

/// What stands before a key of the config, and before the name of a sidecar.
const CONFIG: &[u8] = b"config:";
const BESIDE: &[u8] = b"beside:";

/// What one word names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Named<'a> {
    /// A path of the rootfs, without slashes around it.
    Path(&'a [u8]),
    /// A file or directory beside it.
    Beside(&'a [u8]),
    /// A key of the config.
    Key(&'a [u8]),
}

/// The words for the role's side, and those for the container's.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Choices<'a> {
    take: &'a [OsString],
    keep: &'a [OsString],
}

impl<'a> Choices<'a> {
    /// Returns those of the two options.
    ///
    /// # Errors
    ///
    /// With a word that stands in both.
    pub(crate) fn of(take: &'a [OsString], keep: &'a [OsString]) -> Result<Self, &'a OsStr> {
        let is_taken = |word: &&OsString| take.iter().any(|other| named(other) == named(word));
        match keep.iter().find(is_taken) {
            Some(word) => Err(word),
            None => Ok(Self { take, keep }),
        }
    }

    /// Returns all words, each with its option and what it names.
    pub(super) fn words(self) -> impl Iterator<Item = (&'static str, &'a OsStr, Named<'a>)> {
        let of = |option, words: &'a [OsString]| {
            words.iter().map(move |word| (option, word.as_os_str(), named(word)))
        };
        of("take", self.take).chain(of("keep", self.keep))
    }

    /// Returns those words that something holds for, as they are typed.
    pub(super) fn spelled(self, holds: impl Fn(Side, Named<'a>) -> bool) -> Vec<String> {
        let words = self.words().filter(|(option, _, named)| holds(side(option), *named));
        words.map(|(option, word, _)| format!("--{option} {}", shell::word(word))).collect()
    }

    /// Returns the paths of the rootfs.
    pub(super) fn paths(self) -> impl Iterator<Item = &'a [u8]> {
        self.words().filter_map(|(.., named)| match named {
            Named::Path(path) => Some(path),
            _ => None,
        })
    }

    /// Returns who holds at a path of the rootfs, and by which word: of several that it is in, by the innermost.
    pub(super) fn at(self, path: &[u8]) -> Option<(Side, &'a [u8])> {
        let within = self.words().filter_map(|(option, _, named)| match named {
            Named::Path(word) if merge::is_within(path, word) => Some((side(option), word)),
            _ => None,
        });
        within.max_by_key(|(_, word)| word.len())
    }

    /// Returns who holds in what is named.
    pub(super) fn on(self, what: Named<'_>) -> Option<Side> {
        self.words().find(|(.., named)| *named == what).map(|(option, ..)| side(option))
    }
}

fn side(option: &str) -> Side {
    if option == "take" { Side::New } else { Side::Own }
}

fn named(word: &OsStr) -> Named<'_> {
    let word = word.as_bytes();
    if let Some(key) = word.strip_prefix(CONFIG) {
        return Named::Key(key.trim_ascii());
    }
    if let Some(name) = word.strip_prefix(BESIDE) {
        return Named::Beside(name);
    }
    let inner = |path: &'_ [u8]| path.iter().position(|byte| *byte != b'/');
    let start = inner(word).unwrap_or(word.len());
    let end = word.iter().rposition(|byte| *byte != b'/').map_or(start, |last| last + 1);
    Named::Path(&word[start..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(words: &[&str]) -> Vec<OsString> {
        words.iter().map(Into::into).collect()
    }

    #[test]
    fn the_innermost_word_decides_whatever_its_option() {
        let (take, keep) = (words(&["/", "/etc/sub/a"]), words(&["etc/", "/etc/sub/a/b", "/srv"]));
        let choices = Choices::of(&take, &keep).unwrap();
        for (path, side) in [
            ("", Side::New),
            ("usr", Side::New),
            ("etc", Side::Own),
            ("etcetera", Side::New),
            ("etc/sub", Side::Own),
            ("etc/sub/a", Side::New),
            ("etc/sub/a/b/c", Side::Own),
            ("srv/www", Side::Own),
        ] {
            assert_eq!(choices.at(path.as_bytes()).map(|(side, _)| side), Some(side), "{path}");
        }
        assert_eq!(Choices::of(&keep, &[]).unwrap().at(b"usr"), None);
    }

    #[test]
    fn each_kind_of_thing_is_decided_by_itself() {
        let (take, keep) = (words(&["config: lxc.tty.max ", "beside:hook"]), words(&["hook"]));
        let choices = Choices::of(&take, &keep).unwrap();
        assert_eq!(choices.on(Named::Key(b"lxc.tty.max")), Some(Side::New));
        assert_eq!(choices.on(Named::Key(b"lxc.tty")), None);
        assert_eq!(choices.on(Named::Beside(b"hook")), Some(Side::New));
        assert_eq!(choices.at(b"hook").map(|(side, _)| side), Some(Side::Own));
        assert_eq!(choices.paths().collect::<Vec<_>>(), [b"hook"]);
    }

    #[test]
    fn a_word_for_both_sides_is_none() {
        let (take, keep) = (words(&["/etc/a/"]), words(&["/srv", "etc/a"]));
        assert_eq!(Choices::of(&take, &keep).unwrap_err(), "etc/a");
    }
}
