//! Calls that only ask: help and list.
//!
//! LXC makes the container's directory before it calls the template, and keeps it when the
//! template exits 0. So a word that asks upstream for help must be recognised beforehand.

use std::ffi::{OsStr, OsString};

/// What a call asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum InfoRequest {
    /// `-h`, `--help`.
    Help,
    /// `-l`, `--list`.
    List,
}

/// The options of a known template: which letters and which words take a value.
struct Options {
    template: &'static str,
    short: &'static str,
    long: &'static [&'static str],
    /// Its long options that take none.
    flags: &'static [&'static str],
}

/// What every template takes from LXC.
const COMMON: [&str; 5] = ["rootfs", "path", "name", "mapped-uid", "mapped-gid"];

/// Source: the getopt line of each template.
const KNOWN: &[Options] = &[
    Options {
        template: "download",
        short: "dra",
        long: &["dist", "release", "arch", "variant", "server", "keyid", "keyserver"],
        flags: &["list", "flush-cache", "force-cache"],
    },
    Options { template: "busybox", short: "pn", long: &["busybox-path"], flags: &[] },
    Options { template: "local", short: "mf", long: &["metadata", "fstree"], flags: &[] },
    Options {
        template: "oci",
        short: "u",
        long: &["url", "username", "password"],
        flags: &["no-cache", "dhcp"],
    },
    Options {
        template: "debian",
        short: "pnarIS",
        long: &[
            "arch",
            "auth-key",
            "mirror",
            "keyring",
            "packages",
            "release",
            "security-mirror",
            "interpreter-path",
        ],
        flags: &["clean", "enable-non-free", "flush-cache"],
    },
    Options {
        template: "ubuntu",
        short: "abprvnSu",
        long: &[
            "arch",
            "bindhome",
            "release",
            "variant",
            "auth-key",
            "packages",
            "user",
            "password",
            "mirror",
            "security-mirror",
        ],
        flags: &["flush-cache", "debug"],
    },
    Options {
        template: "alpine",
        short: "amnpr",
        long: &["arch", "mirror", "release"],
        flags: &["debug", "flush-cache"],
    },
    Options {
        template: "archlinux",
        short: "pPednncar",
        long: &["packages", "enable_units", "disable_units", "config", "arch", "root_password"],
        flags: &[],
    },
    Options {
        template: "fedora",
        short: "apnRPM",
        long: &["release", "arch", "fqdn", "mask-tmp", "mirror", "packages"],
        flags: &["clean", "debug", "rsync"],
    },
    Options {
        template: "centos",
        short: "apnR",
        long: &["release", "repo", "arch", "fqdn"],
        flags: &["clean"],
    },
    Options { template: "opensuse", short: "pnr", long: &["release"], flags: &["clean"] },
    Options {
        template: "ubuntu-cloud",
        short: "aprniSTsu",
        long: &[
            "arch",
            "release",
            "hostid",
            "tarball",
            "stream",
            "userdata",
            "vendordata",
            "auth-key",
        ],
        flags: &["flush-cache", "cloud", "no_locales", "debug"],
    },
    Options {
        template: "voidlinux",
        short: "pPncr",
        long: &["packages", "config", "root_password"],
        flags: &[],
    },
];

/// Tells whether a template is known to have a long option of exactly this name.
pub(super) fn has_option(template: Option<&str>, name: &str) -> bool {
    let options = known(template).into_iter().flat_map(|known| [known.long, known.flags]);
    options.flatten().chain(&COMMON).any(|option| *option == name) || name == "help"
}

/// Tells whether a template is known to take the word behind `option` for its value.
pub(super) fn is_followed_by_value(template: Option<&str>, option: &OsStr) -> bool {
    known(template).is_some_and(|known| takes_value(Some(known), option))
}

fn known(template: Option<&str>) -> Option<&'static Options> {
    template.and_then(|name| KNOWN.iter().find(|known| known.template == name))
}

/// Judges the words that go to the upstream: `before` are the layer's own, `words` the user's.
///
/// Other spellings (`-lh`, `--hel`) are left to be judged by their effect.
pub(crate) fn judge(
    template: Option<&str>,
    before: &[OsString],
    words: &[OsString],
) -> Option<InfoRequest> {
    let known = known(template);
    let lists = known.is_none_or(|known| known.template == "download");
    let end = words.iter().position(|word| word == "--").unwrap_or(words.len());
    let mut previous: Option<&OsStr> = before.last().map(OsString::as_os_str);
    for word in &words[..end] {
        let request = match word.to_str() {
            Some("-h" | "--help") => Some(InfoRequest::Help),
            Some("-l" | "--list") if lists => Some(InfoRequest::List),
            _ => None,
        };
        let is_value = previous.is_some_and(|previous| takes_value(known, previous));
        if request.is_some() && !is_value {
            return request;
        }
        previous = Some(word);
    }
    None
}

/// Returns the architecture that the words for a template ask for: the last one counts, as with
/// getopt.
///
/// Of a template that is not known, only `--arch` is.
pub(crate) fn architecture<'a>(
    template: Option<&str>,
    words: impl IntoIterator<Item = &'a OsStr>,
) -> Option<&'a str> {
    let known = known(template);
    let mut found = None;
    let mut words = words.into_iter().map_while(|word| (word != "--").then(|| word.to_str()));
    while let Some(word) = words.next() {
        let Some(word) = word else { continue };
        let value = match (arch_value(known, word), known) {
            (Some(""), _) if !word.ends_with('=') => words.next().flatten(),
            (Some(value), _) => Some(value),
            (None, Some(_)) if takes_value(known, OsStr::new(word)) => {
                words.next();
                None
            }
            (None, _) => None,
        };
        found = value.or(found);
    }
    found
}

/// Returns what stands in the word of an option for the architecture behind that option.
fn arch_value<'a>(known: Option<&Options>, word: &'a str) -> Option<&'a str> {
    if let Some(long) = word.strip_prefix("--") {
        let (name, value) = long.split_once('=').unwrap_or((long, ""));
        let all = known.map_or(&["arch"][..], |known| known.long);
        // Of a beginning that several options have, getopt takes none.
        let mut named = all.iter().filter(|long| !name.is_empty() && long.starts_with(name));
        return (named.next() == Some(&"arch") && named.next().is_none()).then_some(value);
    }
    let known = known.filter(|known| known.long.contains(&"arch"))?;
    let letters = word.strip_prefix('-')?;
    let index = letters.find(|letter| known.short.contains(letter))?;
    letters[index..].strip_prefix('a')
}

/// Tells whether the word behind `option` is its value.
fn takes_value(known: Option<&Options>, option: &OsStr) -> bool {
    let Some(text) = option.to_str() else { return false };
    if text.contains('=') {
        return false;
    }
    if matches!(text, "-h" | "--help" | "-l" | "--list") {
        return false;
    }
    let Some(known) = known else { return text.starts_with('-') && text.len() > 1 };
    if let Some(name) = text.strip_prefix("--") {
        // getopt takes any beginning of a long option.
        let mut names = known.long.iter().chain(&COMMON);
        return !name.is_empty() && names.any(|long| long.starts_with(name));
    }
    let Some(letters) = text.strip_prefix('-') else { return false };
    // In a cluster, the first letter that takes a value takes the rest of the word.
    letters.find(|letter| known.short.contains(letter)).map(|index| index + 1)
        == Some(letters.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_asks_unless_it_is_a_value() {
        let table = [
            (Some("download"), "-h", Some(InfoRequest::Help)),
            (Some("download"), "--help", Some(InfoRequest::Help)),
            (Some("download"), "-l", Some(InfoRequest::List)),
            (Some("download"), "-d debian --list", Some(InfoRequest::List)),
            (Some("download"), "-d -h", None),
            (Some("download"), "--dist --list", None),
            (Some("download"), "--dis --list", None),
            (Some("download"), "--dist=--help -h", Some(InfoRequest::Help)),
            (Some("download"), "--variant --list -r x", None),
            (Some("download"), "-fd -h", None),
            (Some("download"), "-ddebian -h", Some(InfoRequest::Help)),
            (Some("download"), "-- -h", None),
            (Some("download"), "-lh", None),
            (Some("busybox"), "-l", None),
            (Some("busybox"), "-h", Some(InfoRequest::Help)),
            (Some("debian"), "-c -h", Some(InfoRequest::Help)),
            (Some("mine"), "-x -h", None),
            (Some("mine"), "-x=1 -h", Some(InfoRequest::Help)),
            (Some("mine"), "word --list", Some(InfoRequest::List)),
            (Some("mine"), "- -h", Some(InfoRequest::Help)),
            (None, "-h", Some(InfoRequest::Help)),
            (None, "", None),
        ];
        for (template, line, request) in table {
            let words: Vec<OsString> = line.split_whitespace().map(OsString::from).collect();
            assert_eq!(judge(template, &[], &words), request, "{template:?} {line}");
        }
        let layer = [OsString::from("--release")];
        assert_eq!(judge(Some("debian"), &layer, &["-h".into()]), None);
    }

    #[test]
    fn the_architecture_is_that_of_the_last_option() {
        let table = [
            ("debian", "--arch arm64", Some("arm64")),
            ("debian", "-a arm64 --arch=i386", Some("i386")),
            ("debian", "-r trixie -aarm64", Some("arm64")),
            ("debian", "-ca arm64", Some("arm64")),
            ("debian", "--ar arm64", Some("arm64")),
            ("debian", "--a arm64", None),
            ("debian", "-r -a arm64", None),
            ("debian", "--mirror --arch x", None),
            ("debian", "-- -a arm64", None),
            ("debian", "-a", None),
            ("debian", "--arch=", Some("")),
            ("download", "-d debian -r trixie -a armhf", Some("armhf")),
            ("alpine", "-a aarch64", Some("aarch64")),
            ("opensuse", "-a arm64", None),
            ("busybox", "-a arm64", None),
            ("mine", "-a arm64", None),
            ("mine", "x --arch arm64", Some("arm64")),
            ("mine", "--architecture arm64", None),
        ];
        for (template, line, expected) in table {
            let words = line.split_whitespace().map(OsStr::new);
            assert_eq!(architecture(Some(template), words), expected, "{template} {line}");
        }
    }
}
