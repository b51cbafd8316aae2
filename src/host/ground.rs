//! What defines a stored upstream besides its call: files that arguments name, and the like.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::caller::Caller;
use super::lxcpath;
use super::reading::Reader;
use crate::chain::Chain;
use crate::digest::{Digest, Reading, Stamp};
use crate::plan::{Facts, Ground, Program, Target};

/// Returns what was observed of an upstream's surroundings, and which files were read for that.
///
/// `config` is what LXC starts the container's config with, `ids` the name of the id map, and
/// `recall` what is known of files already.
pub fn observe(
    (chain, target): (&Chain, &Target),
    facts: &Facts,
    config: &[u8],
    ids: &str,
    recall: &dyn Fn(&Stamp) -> Option<Digest>,
) -> (Ground, Vec<Reading>) {
    let own = chain.upstream.args.iter().map(OsString::from);
    let words: Vec<_> = own.chain(target.args.iter().cloned()).collect();
    let mut reader = Reader::new(recall);
    let ground = Ground {
        ids: ids.to_owned(),
        config: crate::lxc::config::of_any_container(config, "dir:rootfs"),
        // As LXC makes it.
        rootfs: (0, lxcpath::group(&Caller::observe(), target.mapped), 0o755),
        files: named(&words, &mut reader),
        directories: directories(&words),
        busybox: match &facts.program {
            Some(Program::Busybox(Some(path))) => digest(path),
            _ => None,
        },
        is_this_program: match &facts.program {
            Some(Program::File { path, digest }) => is_this_program(path, *digest),
            _ => false,
        },
    };
    (ground, reader.readings())
}

/// How the names of images begin whose place is a directory, as skopeo has them.
const DIRECTORIES: [&str; 2] = ["oci", "dir"];

/// Returns the digests of the files that arguments name: what they hold decides what the upstream
/// leaves. `recall` is what is known of files already.
pub fn files(
    words: &[OsString],
    recall: &dyn Fn(&Stamp) -> Option<Digest>,
) -> BTreeMap<String, Digest> {
    named(words, &mut Reader::new(recall))
}

fn named(words: &[OsString], reader: &mut Reader<'_>) -> BTreeMap<String, Digest> {
    let mut found = BTreeMap::new();
    for word in words {
        let paths = parts(word).into_iter();
        let digests: Vec<_> =
            paths.filter_map(|part| reader.digest(Path::new(OsStr::from_bytes(part)))).collect();
        let digest = match digests.as_slice() {
            [] => continue,
            [one] => *one,
            several => {
                let text: String = several.iter().map(Digest::to_string).collect();
                Digest::of(text.as_bytes())
            }
        };
        found.insert(word.to_string_lossy().into_owned(), digest);
    }
    found
}

/// Returns what may be a path in an argument: all of it, what stands behind a `=` or the letter of an
/// option, and the pieces between `:` and `,` in that. What is none makes no difference.
fn parts(word: &OsStr) -> Vec<&[u8]> {
    let whole = word.as_bytes();
    let mut parts = vec![whole];
    let behind = |at: usize| &whole[at..];
    if whole.len() > 2 && whole[0] == b'-' && whole[1] != b'-' {
        parts.push(behind(2));
    }
    parts.extend(memchr::memchr_iter(b'=', whole).map(|at| behind(at + 1)));
    let pieces: Vec<_> =
        parts.iter().flat_map(|part| part.split(|byte| b":,=".contains(byte))).collect();
    parts.extend(pieces);
    parts.retain(|part| !part.is_empty());
    let mut seen = BTreeSet::new();
    parts.retain(|part| seen.insert(*part));
    parts
}

/// Returns the arguments that name a directory: by a path, since any word may be the name of one that
/// happens to be there, or as an image's.
fn directories(words: &[OsString]) -> Vec<String> {
    let named = words.iter().filter(|word| {
        let parts = parts(word);
        let is_image = parts.iter().any(|part| DIRECTORIES.map(str::as_bytes).contains(part));
        parts.iter().any(|part| {
            (is_image || part.contains(&b'/')) && Path::new(OsStr::from_bytes(part)).is_dir()
        })
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
