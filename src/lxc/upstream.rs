//! The call of an upstream template: its argv and its environment.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

use super::call::TemplateCall;

/// The variable that counts how deep the program is its own upstream.
pub const DEPTH: &str = "LXC_LAYERED_TEMPLATE_DEPTH";

/// How deep the program may be its own upstream.
pub const DEEPEST: u32 = 16;

/// The variable that tells the program as its own upstream that it is only asked for help or a list: whether it
/// can give that or not, nothing is made.
pub const ASKS: &str = "LXC_LAYERED_TEMPLATE_ASKS";

/// The variable that tells a run within a run what that holds of layer stores: a word for the lock that
/// every run shares, and one for each key that is made. Who waited for that would wait for itself.
pub const HELD: &str = "LXC_LAYERED_TEMPLATE_HELD";

/// The variable by which `sudo` tells who called it.
pub const SUDO: &str = "SUDO_UID";

/// What every upstream has, whoever calls: a shell, `sudo`, cron and CI each have a `PATH` of their own.
pub const ENVIRONMENT: [(&str, &str); 3] = [
    ("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"),
    ("HOME", "/root"),
    ("LANG", "C.UTF-8"),
];

/// Where every upstream finds programs.
pub const fn path() -> &'static str {
    ENVIRONMENT[0].1
}

/// Where a template keeps what it has downloaded.
pub const CACHE: &str = "LXC_CACHE_PATH";

/// The caller's variables that decide what a template makes.
const DECISIVE: [&str; 2] = ["MIRROR", "SECURITY_MIRROR"];

/// The beginnings of the names of those that do so as well.
const DECISIVE_PREFIXES: [&str; 3] = ["LXC_", "DEBIAN_", "DOWNLOAD_"];

/// The caller's variables that say how something is shown, reached or kept.
const NEUTRAL: [&str; 4] = [
    "TERM",
    "WGETRC",
    CACHE,
    // This program looks for templates there, where it is its own upstream.
    "UPSTREAM_TEMPLATE_DIR",
];

/// The ends of the names of those that do so as well.
const NEUTRAL_SUFFIXES: [&str; 2] = ["_proxy", "_PROXY"];

/// The beginning of the names of this program's own variables, for where it is its own upstream.
const OWN: &str = "LAYERED_TEMPLATE_";

/// What a step has of another container, where the caller is one.
const OF_STEPS: [&str; 5] =
    ["LXC_NAME", "LXC_PATH", "LXC_ROOTFS", "LXC_MAPPED_UID", "LXC_MAPPED_GID"];

/// Returns the arguments of an upstream: what LXC gave, the mapped pair right behind it, the
/// layer's own, and the user's, which win with getopt.
pub fn arguments(call: &TemplateCall, layer: &[OsString]) -> Vec<OsString> {
    let joined = |option: &str, value: &OsStr| {
        let mut word = OsString::from(option);
        word.push("=");
        word.push(value);
        word
    };
    let mut words = vec![
        joined("--path", call.path.as_os_str()),
        joined("--name", OsStr::new(&call.name)),
        joined("--rootfs", call.rootfs.as_os_str()),
    ];
    if let Some(mapped) = call.mapped {
        let pair =
            ["--mapped-uid", &mapped.uid.to_string(), "--mapped-gid", &mapped.gid.to_string()];
        words.extend(pair.map(OsString::from));
    }
    words.extend(layer.iter().cloned());
    words.extend(call.args.iter().cloned());
    words
}

/// Returns the program that a template of LXC's copies from its `PATH`, where it is called with `words`.
///
/// Of those that LXC has, `busybox` alone copies one. A file that an argument names is known by that.
pub fn copied(template: &str, words: &[OsString]) -> Option<&'static str> {
    // getopt takes every beginning of an option that no other has.
    let names_another = |word: &OsString| word.as_bytes().starts_with(b"--b");
    (template == "busybox" && !words.iter().any(names_another)).then_some("busybox")
}

/// Tells whether an upstream gets the caller's variable `name` unasked.
pub fn passes(name: &OsStr) -> bool {
    let bytes = name.as_bytes();
    decides(name)
        || NEUTRAL.iter().any(|known| name == *known)
        || NEUTRAL_SUFFIXES.iter().any(|suffix| bytes.ends_with(suffix.as_bytes()))
        || bytes.starts_with(OWN.as_bytes())
}

/// Tells whether the caller's variable `name` is passed and decides what a template makes.
pub fn decides(name: &OsStr) -> bool {
    let is_one_of = |names: &[&str]| names.iter().any(|known| name == *known);
    let begins = |prefix: &&str| name.as_bytes().starts_with(prefix.as_bytes());
    let is_inner = is_one_of(&[DEPTH, ASKS, HELD, CACHE]) || is_one_of(&OF_STEPS);
    !is_inner && (is_one_of(&DECISIVE) || DECISIVE_PREFIXES.iter().any(begins))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lxc::call::Mapped;

    #[test]
    fn the_pair_stands_right_behind_the_three() {
        let call = TemplateCall {
            path: "/l/c".into(),
            name: "c".into(),
            rootfs: "/l/c/rootfs".into(),
            mapped: Some(Mapped { uid: 65536, gid: 65537 }),
            args: vec!["--".into(), OsStr::from_bytes(b"\xff").into()],
        };
        let words = arguments(&call, &["-r".into(), "x".into()]);
        let line: Vec<_> = words.iter().map(|word| word.as_bytes()).collect();
        let expected: [&[u8]; 11] = [
            b"--path=/l/c",
            b"--name=c",
            b"--rootfs=/l/c/rootfs",
            b"--mapped-uid",
            b"65536",
            b"--mapped-gid",
            b"65537",
            b"-r",
            b"x",
            b"--",
            b"\xff",
        ];
        assert_eq!(line, expected);
    }

    #[test]
    fn the_template_of_busybox_copies_the_one_that_it_finds_or_is_given() {
        let words = |words: &[&str]| words.iter().map(OsString::from).collect::<Vec<_>>();
        assert_eq!(copied("busybox", &words(&["-x", "--name=b"])), Some("busybox"));
        for given in [&["--busybox-path=/b"][..], &["--busybox-path", "/b"], &["--busy=/b"]] {
            assert_eq!(copied("busybox", &words(given)), None, "{given:?}");
        }
        assert_eq!(copied("debian", &[]), None);
    }

    #[test]
    fn the_environment_is_a_list_of_names() {
        for name in ["MIRROR", "DOWNLOAD_KEYID", "DEBIAN_FRONTEND", "LXC_TEMPLATE_CONFIG"] {
            assert!(passes(OsStr::new(name)) && decides(OsStr::new(name)), "{name}");
        }
        for name in ["TERM", CACHE, "https_proxy", "NO_PROXY", "LAYERED_TEMPLATE_STATE"] {
            assert!(passes(OsStr::new(name)) && !decides(OsStr::new(name)), "{name}");
        }
        let others = ["PATH", "HOME", "AWS_SECRET_ACCESS_KEY", "LD_PRELOAD", "XLXC_", "LXC_NAME"];
        for name in others.into_iter().chain([DEPTH, ASKS, HELD]) {
            assert!(!passes(OsStr::new(name)), "{name}");
        }
    }
}
