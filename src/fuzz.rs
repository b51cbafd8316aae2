//! What the targets in `fuzz/` call: the readers of what others write, and what holds whatever they read.
//!
//! Compiled with the feature `fuzzing` alone, which nothing but `fuzz/` asks for. A target fails by a
//! panic, and tells whether what it was given could be used.

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;

use crate::chain::{self, BindContext, Container, Library, SetBy};
use crate::diagnostic::{Diagnostic, Report};
use crate::digest::Digest;
use crate::export::{Kind, Member, write_end, write_header, write_padding};
use crate::lxc::call::Arguments;
use crate::lxc::{config, given};
use crate::manifest::LayerName;
use crate::plan::EntryId;
use crate::source::{At, Source};
use crate::store::Entry;
use crate::tree::{ArchiveKind, ArchiveMember, ArchiveReader, Limits, Listing, decoded, seal};

/// A manifest is judged, and whatever it holds, what is said of it can be printed.
pub fn manifest(text: &str) -> bool {
    judge(text, None)
}

/// A manifest with a variable of each kind, for [`vars_file`].
const VARIABLES: &str = r#"manifest = 1
[vars]
text = "a"
number = 1
switch = false
described = { default = "a", description = "d" }
needed = { required = true }
count = { required = true, type = "integer" }
handed = { from = "app" }
hidden = { secret = true, env = "HIDDEN" }
[[layer]]
name = "os"
template = "x"
args = { text = "{{ text }}", number = "{{ number }}" }
[[layer]]
name = "app"
pre = "echo handed=1 >>$LAYER_ENV"
[layer.config]
lxc.environment = "NEEDED={{ needed }}"
[[layer.file]]
path = "/etc/{{ count }}"
content = "{{ text }} {{ switch }} {{ described }}\n"
render = true
"#;

/// So is a file of values.
pub fn vars_file(text: &str) -> bool {
    judge(VARIABLES, Some(text))
}

fn judge(manifest: &str, vars_file: Option<&str>) -> bool {
    let source = |name: &str, text: &str| Arc::new(Source::new(name, "/srv", text));
    let vars_files: Vec<_> = vars_file.into_iter().map(|text| source("vars.toml", text)).collect();
    let context = BindContext {
        container: Container { name: "web1", arch: "amd64" },
        set: &[],
        set_by: SetBy::Set,
        vars_files: &vars_files,
        directory: Path::new("/srv"),
        lxc: None,
    };
    let (role, mut report) = chain::resolve(&source("role.toml", manifest), &mut Nothing);
    let bound = role.is_some_and(|role| {
        let (chain, faults) = chain::bind(&role, &context);
        report.extend(faults);
        chain.is_some()
    });
    assert!(bound || report.has_errors(), "there is no chain, and nothing says why");
    let _ = report.to_json();
    for text in [report.to_text(false), report.to_github()] {
        let control = text.chars().find(|c| c.is_control() && !"\n\t".contains(*c));
        assert_eq!(control, None, "{text}");
    }
    !report.has_errors()
}

/// No other file is there.
struct Nothing;

impl Library for Nothing {
    fn base(&mut self, path: &Path, at: &At) -> Result<Arc<Source>, Report> {
        Err(Diagnostic::error(at, format!("no manifest `{}`", path.display())).into())
    }

    fn layer(&mut self, _: &LayerName, _: &At) -> Result<Option<Arc<Source>>, Report> {
        Ok(None)
    }

    fn names(&mut self, _: &At) -> Vec<String> {
        Vec::new()
    }
}

/// A config keeps every line that is not rewritten, and holds what is written in the place of others.
pub fn config_rewrite(text: &[u8]) -> bool {
    assert_eq!(config::rewrite(text, |_, _| None), text);

    let set = |key: &str, _: &str| config::is_address(key).then(|| config::ANY_ADDRESS.to_owned());
    let new = config::rewrite(text, set);
    assert_eq!(config::rewrite(&new, set), new, "once is enough");
    let lines = |text: &'_ [u8]| text.split(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
    let (old, new): (Vec<_>, Vec<_>) = (lines(text), lines(&new));
    assert_eq!(old.len(), new.len());
    for (old, new) in old.iter().zip(&new) {
        match str::from_utf8(old).ok().and_then(config::pair) {
            Some((key, _)) if config::is_address(key) => {
                let new = str::from_utf8(new).unwrap();
                assert_eq!(config::pair(new), Some((key, config::ANY_ADDRESS)));
            }
            _ => assert_eq!(old, new),
        }
    }

    // What a template made of the lines that it was given, made of the same lines again.
    let Some(read) = given::Config::read(text, Path::new("/rootfs")) else { return false };
    let again =
        read.around(&given::config(Path::new("/rootfs")), |lines| Ok::<_, ()>(lines.to_vec()));
    let open = |text: &[u8]| text.strip_suffix(b"\n").unwrap_or(text).to_vec();
    assert_eq!(open(&again.unwrap()), open(text));
    true
}

/// A template's words, one a line, are all the program's own or the upstream's, in order.
pub fn template_arguments(lines: &[u8]) -> bool {
    let words: Vec<OsString> =
        lines.split(|byte| *byte == b'\n').map(|word| OsStr::from_bytes(word).to_owned()).collect();
    let Ok(arguments) = Arguments::parse(&words) else { return false };
    let mut given = words.iter();
    for word in &arguments.rest {
        assert!(given.any(|given| given == word), "{} is made up, or has moved", word.display());
    }
    let Ok(call) = arguments.call() else { return false };
    assert!(call.path.is_absolute() && call.rootfs.is_absolute());
    assert_eq!(call.args, arguments.rest);
    true
}

/// A listing that can be read is a tree, and is written as it was read.
pub fn listing(lines: &[u8]) -> bool {
    // As they are, nearly all bytes are refused for their digest.
    let _ = Listing::read(lines);
    let mut sealed = Vec::new();
    seal(lines.to_vec(), &mut sealed).unwrap();
    let Ok(listing) = Listing::read(&sealed[..]) else { return false };
    let mut written = Vec::new();
    listing.write(&mut written).unwrap();
    assert_eq!(Listing::read(&written[..]).unwrap(), listing);
    let paths: Vec<_> = listing.paths().collect();
    let different: BTreeSet<_> = paths.iter().collect();
    assert_eq!(different.len(), paths.len(), "a path stands twice");
    true
}

/// A document of an entry is written as it was read.
pub fn entry(text: &[u8]) -> bool {
    let id = EntryId { key: Digest::of(b"key"), generation: 1 };
    let _ = Entry::parse(text, id);
    let Ok(entry) = Entry::parse(&Entry::seal(text), id) else { return false };
    let written = entry.to_bytes().unwrap();
    let again = Entry::parse(&written, id).unwrap();
    assert_eq!(again.to_bytes().unwrap(), written);
    let _ = entry.contents();
    true
}

/// How long an archive of a target is, in bytes, once it is decompressed.
const LONGEST: u64 = 1 << 24;

/// The members of an archive, written by this program, are read again as they are.
pub fn archive(bytes: &[u8]) -> bool {
    // As they are, nearly all bytes are refused for a checksum.
    let _ = members(bytes);
    let mut sealed = bytes.to_vec();
    for block in sealed.chunks_exact_mut(512).filter(|block| block[257..].starts_with(b"ustar")) {
        block[148..156].fill(b' ');
        let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
        block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    }
    let Some(members) = members(&sealed) else { return false };
    let mut written = Vec::new();
    let mut expected = Vec::new();
    for (member, content) in members {
        let kind = match &member.kind {
            ArchiveKind::File(size) => {
                assert_eq!(*size, content.len() as u64);
                Kind::File(*size)
            }
            ArchiveKind::Link(target) => Kind::Link(target.clone()),
            ArchiveKind::Symlink(target) => Kind::Symlink(target.clone()),
            ArchiveKind::Directory => Kind::Directory,
            ArchiveKind::Fifo => Kind::Fifo,
            // None is written.
            ArchiveKind::CharacterDevice(..) | ArchiveKind::BlockDevice(..) => continue,
        };
        let ArchiveMember { path, mode, uid, gid, time, attributes, .. } = &member;
        let (mode, uid, gid, time) = (*mode, *uid, *gid, *time);
        let head = Member { name: path, kind, mode, uid, gid, time, attributes };
        write_header(&head, &mut written).unwrap();
        written.write_all(&content).unwrap();
        write_padding(content.len() as u64, &mut written).unwrap();
        expected.push((ArchiveMember { has_text_lists: false, ..member }, content));
    }
    write_end(&mut written).unwrap();
    // What a header says in few bytes can take more in another one.
    let limits = Limits { names: 2 << 20, bytes: 4 * LONGEST, ..Limits::default() };
    assert_eq!(read(&written, &limits).unwrap(), expected);
    true
}

/// Reads all members of an archive, and their bytes; `None` where it cannot be read.
fn members(bytes: &[u8]) -> Option<Vec<(ArchiveMember, Vec<u8>)>> {
    read(bytes, &Limits { bytes: LONGEST, ..Limits::default() })
}

fn read(bytes: &[u8], limits: &Limits) -> Option<Vec<(ArchiveMember, Vec<u8>)>> {
    let mut archive = ArchiveReader::new(decoded(bytes).ok()?, limits);
    let mut members = Vec::new();
    let mut buffer = [0; 1000];
    while let Some(member) = archive.next().map_err(|error| error.to_string()).ok()? {
        let mut content = Vec::new();
        loop {
            let length = archive.piece(&mut buffer).ok()?;
            content.extend(&buffer[..length]);
            if length == 0 {
                break;
            }
        }
        members.push((member, content));
    }
    assert!(archive.next().unwrap().is_none());
    Some(members)
}
