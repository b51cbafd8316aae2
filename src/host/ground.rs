//! What defines a stored upstream besides its call: files that arguments name, and the like.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::caller::Caller;
use super::lxcpath;
use super::reading::Reader;
use crate::chain::Chain;
use crate::digest::{Digest, Stamp};
use crate::plan::{Facts, Ground, Program, Target};

/// Returns what was observed of an upstream's surroundings.
///
/// `config` is what LXC starts the container's config with, `ids` the name of the id map, and
/// `recall` what is known of files already.
pub fn observe(
    (chain, target): (&Chain, &Target),
    facts: &Facts,
    config: &[u8],
    ids: &str,
    recall: &dyn Fn(&Stamp) -> Option<Digest>,
) -> Ground {
    let own = chain.upstream.args.iter().map(OsString::from);
    let words: Vec<_> = own.chain(target.args.iter().cloned()).collect();
    let mut reader = Reader::new(recall);
    Ground {
        ids: ids.to_owned(),
        config: crate::lxc::config::of_any_container(config, "dir:rootfs"),
        // As LXC makes it.
        rootfs: (0, lxcpath::group(&Caller::observe(), target.mapped), 0o755),
        files: named(&words, &mut reader),
        readings: reader.readings(),
        directories: directories(&words),
        busybox: match &facts.program {
            Some(Program::Busybox(Some(path))) => digest(path),
            _ => None,
        },
        is_this_program: match &facts.program {
            Some(Program::File { path, digest }) => is_this_program(path, *digest),
            _ => false,
        },
    }
}

/// Returns the digests of the files that arguments name: what they hold decides what the upstream
/// leaves. A path may be a word, or stand behind a `=` in it. `recall` is what is known of files
/// already.
pub fn files(
    words: &[OsString],
    recall: &dyn Fn(&Stamp) -> Option<Digest>,
) -> BTreeMap<String, Digest> {
    named(words, &mut Reader::new(recall))
}

fn named(words: &[OsString], reader: &mut Reader<'_>) -> BTreeMap<String, Digest> {
    let mut found = BTreeMap::new();
    for word in words {
        let bytes = word.as_bytes();
        let value = bytes.iter().position(|byte| *byte == b'=').map(|at| &bytes[at + 1..]);
        for path in [Some(bytes), value].into_iter().flatten().filter(|path| !path.is_empty()) {
            if let Some(digest) = reader.digest(Path::new(OsStr::from_bytes(path))) {
                found.insert(word.to_string_lossy().into_owned(), digest);
            }
        }
    }
    found
}

/// Returns the arguments that name a directory by a path.
fn directories(words: &[OsString]) -> Vec<String> {
    let named = words.iter().filter(|word| {
        let bytes = word.as_bytes();
        let value = bytes.iter().position(|byte| *byte == b'=').map(|at| &bytes[at + 1..]);
        let mut paths = [Some(bytes), value].into_iter().flatten();
        paths.any(|path| path.contains(&b'/') && Path::new(OsStr::from_bytes(path)).is_dir())
    });
    named.map(|word| word.to_string_lossy().into_owned()).collect()
}

fn digest(path: &Path) -> Option<Digest> {
    Reader::new(&|_| None).digest(path)
}

/// Tells whether a program is this one: it may be another copy of it.
fn is_this_program(path: &Path, digest: Digest) -> bool {
    let own = Path::new("/proc/self/exe");
    let length = |path| fs::metadata(path).map(|metadata| metadata.len()).ok();
    length(path) == length(own) && self::digest(own) == Some(digest)
}
