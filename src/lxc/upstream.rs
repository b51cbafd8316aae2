//! The call of an upstream template: its argv and its environment.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

use super::call::TemplateCall;

/// The variable that counts how deep the program is its own upstream.
pub const DEPTH: &str = "LXC_LAYERED_TEMPLATE_DEPTH";

/// How deep the program may be its own upstream.
pub const DEEPEST: u32 = 16;

/// The variable that tells a run within a run what that holds of layer stores: a word for the lock that
/// every run shares, and one for each key that is made. Who waited for that would wait for itself.
pub const HELD: &str = "LXC_LAYERED_TEMPLATE_HELD";

/// The caller's variables that every upstream gets.
const NAMES: [&str; 8] = [
    "PATH",
    "HOME",
    "LANG",
    "TERM",
    "MIRROR",
    "SECURITY_MIRROR",
    "WGETRC",
    // This program's own too, for where it is its own upstream.
    "UPSTREAM_TEMPLATE_DIR",
];

/// The beginnings of the names of those that it gets as well.
const PREFIXES: [&str; 4] = ["LXC_", "DEBIAN_", "DOWNLOAD_", OWN];

/// The beginning of the names of this program's own variables, for where it is its own upstream.
const OWN: &str = "LAYERED_TEMPLATE_";

/// The ends of the names of those that it gets as well.
const SUFFIXES: [&str; 2] = ["_proxy", "_PROXY"];

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

/// Tells whether an upstream gets the caller's variable `name` unasked.
pub fn passes(name: &OsStr) -> bool {
    let bytes = name.as_bytes();
    name != DEPTH
        && name != HELD
        && (NAMES.iter().any(|known| name == *known)
            || PREFIXES.iter().any(|prefix| bytes.starts_with(prefix.as_bytes()))
            || SUFFIXES.iter().any(|suffix| bytes.ends_with(suffix.as_bytes())))
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
    fn the_environment_is_a_list_of_names() {
        for name in [
            "PATH",
            "LXC_CACHE_PATH",
            "https_proxy",
            "NO_PROXY",
            "DOWNLOAD_KEYID",
            "LAYERED_TEMPLATE_STATE",
        ] {
            assert!(passes(OsStr::new(name)), "{name}");
        }
        for name in ["AWS_SECRET_ACCESS_KEY", "LD_PRELOAD", "XLXC_", "PATHS", DEPTH, HELD] {
            assert!(!passes(OsStr::new(name)), "{name}");
        }
    }
}
