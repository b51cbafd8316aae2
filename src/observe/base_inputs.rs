//! What defines a stored upstream besides its call: files that arguments name, and other files that it copies from.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::input;
use super::reading::Reader;
use crate::cache::BaseInputs;
use crate::chain::Chain;
use crate::digest::{Digest, Reading, Stamp};
use crate::lxc::upstream;
use crate::manifest::TemplateRef;
use crate::plan::{Facts, Plan, Program, Upstream};

/// Returns what was observed of an upstream's surroundings, and which files were read for that.
///
/// `recall` is what is known of files already.
pub(crate) fn observe(
    (chain, plan): (&Chain, &Plan),
    facts: &Facts,
    recall: &dyn Fn(&Stamp) -> Option<Digest>,
) -> (BaseInputs, Vec<Reading>) {
    let own = chain.upstream.args.iter().map(OsString::from);
    let words: Vec<_> = own.chain(plan.container.args.iter().cloned()).collect();
    let mut reader = Reader::new(recall);
    let mut inputs = BTreeMap::new();
    let mut unreadable = None;
    for (what, path) in self::inputs(chain, plan.upstream(), &words) {
        match input::observe(&path, &mut reader) {
            Ok(input) => {
                inputs.insert(what, input);
            }
            Err(error) => unreadable = Some(format!("the {what} cannot be read: {error}")),
        }
    }
    let inputs = BaseInputs {
        files: named(&words, &mut reader),
        inputs,
        unreadable,
        directories: directories(&words),
        busybox: match &facts.program {
            Some(Program::Busybox(Some(path))) => reader.digest(path),
            _ => None,
        },
        is_this_program: facts.program.as_ref().is_some_and(Program::is_this_program),
    };
    (inputs, reader.readings())
}

/// Returns what the upstream copies from: what its layer says, and for a template of LXC's the program
/// that it is known to copy.
fn inputs(chain: &Chain, upstream: &Upstream, words: &[OsString]) -> Vec<(String, PathBuf)> {
    let own = chain.upstream.inputs.iter();
    let own = own.map(|input| (format!("input {}", input.word), input.path.clone()));
    let template = match &chain.upstream.template {
        TemplateRef::BuiltinBusybox => None,
        TemplateRef::Name(name) => Some(name.as_str()),
        TemplateRef::Path(path) => {
            path.file_name().and_then(|name| name.to_str()?.strip_prefix("lxc-"))
        }
    };
    let program = template.and_then(|template| {
        let program = upstream::copied(template, words)?;
        let (_, search) = upstream.environment.iter().find(|(name, _)| name == "PATH")?;
        Some((format!("program {program}"), input::program(program, search)?))
    });
    own.chain(program).collect()
}

/// Tells whether all that a stored upstream was given, or copies from, is still as it was observed.
pub(crate) fn is_unchanged(
    inputs: &BaseInputs,
    words: &[OsString],
    recall: &dyn Fn(&Stamp) -> Option<Digest>,
) -> bool {
    let mut reader = Reader::new(recall);
    inputs.files == named(words, &mut reader)
        && inputs
            .inputs
            .values()
            .all(|input| input::observe(&input.path, &mut reader).is_ok_and(|now| now == *input))
}

/// How the names of images begin that are files or directories, as skopeo has them.
const IMAGES: [&[u8]; 4] = [b"oci", b"dir", b"oci-archive", b"docker-archive"];

/// Returns the digests of the files that arguments name: what they hold decides what the upstream
/// leaves.
fn named(words: &[OsString], reader: &mut Reader<'_>) -> BTreeMap<String, Digest> {
    let mut found = BTreeMap::new();
    for word in words {
        let parts = parts(word);
        let paths: BTreeSet<_> =
            parts.iter().filter(|part| part.may_be_file()).map(Part::path).collect();
        let digests: Vec<_> = paths.into_iter().filter_map(|path| reader.digest(path)).collect();
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

/// What may be a path in an argument.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Part<'a> {
    text: &'a [u8],
    kind: PartKind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum PartKind {
    /// All of it, or all that stands behind a `=` or the letter of an option.
    Whole,
    /// Where an image is.
    Image,
    /// One of several pieces, which is a path if it looks like one.
    Piece,
}

impl Part<'_> {
    fn path(&self) -> &Path {
        Path::new(OsStr::from_bytes(self.text))
    }

    /// Tells whether it may name a file: any word may, as a whole.
    fn may_be_file(&self) -> bool {
        self.kind != PartKind::Piece || self.text.contains(&b'/')
    }

    /// Tells whether it names a directory: not every word does that has the name of one.
    fn is_directory(&self) -> bool {
        let may_be = match self.kind {
            PartKind::Whole => self.text.contains(&b'/'),
            PartKind::Image => true,
            PartKind::Piece => false,
        };
        may_be && self.path().is_dir()
    }
}

/// Returns what may be a path in an argument. What is none makes no difference.
fn parts(word: &OsStr) -> BTreeSet<Part<'_>> {
    let word = word.as_bytes();
    let mut wholes = vec![word];
    if word.len() > 2 && word[0] == b'-' && word[1] != b'-' {
        wholes.push(&word[2..]);
    }
    wholes.extend(memchr::memchr_iter(b'=', word).map(|at| &word[at + 1..]));
    let mut parts = BTreeSet::new();
    for whole in wholes {
        parts.insert(Part { text: whole, kind: PartKind::Whole });
        let pieces: Vec<_> = whole.split(|byte| b":,=".contains(byte)).collect();
        let is_image = IMAGES.contains(&pieces[0]);
        for (index, text) in pieces.into_iter().enumerate() {
            let kind = if is_image && index == 1 { PartKind::Image } else { PartKind::Piece };
            parts.insert(Part { text, kind });
        }
    }
    parts.retain(|part| !part.text.is_empty());
    parts
}

/// Returns the arguments that name a directory.
fn directories(words: &[OsString]) -> Vec<String> {
    let named = words.iter().filter(|word| parts(word).iter().any(Part::is_directory));
    named.map(|word| word.to_string_lossy().into_owned()).collect()
}
