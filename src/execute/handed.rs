//! What a layer's pre steps hand inward, by `name=value` lines in `$LAYER_ENV`.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use super::failure::{Failure, status};
use super::observe::{Doing, Subject};
use super::{Handed, Run};
use crate::host::files;
use crate::manifest::Phase;
use crate::plan::Layer;

/// The most that can be handed inward, in bytes.
const MOST: usize = 64 * 1024;

impl Run<'_> {
    /// Makes the file that the pre steps of a layer write into.
    pub(super) fn handed_file(&self, layer: &Layer) -> Result<PathBuf, Failure> {
        let file = match &self.context.directory {
            Some(directory) => directory.file(&format!("env-{}", layer.name)),
            None => Err(std::io::Error::other("there is no state directory")),
        };
        file.map_err(|error| {
            failure(layer, format!("cannot run: a file for `$LAYER_ENV` cannot be made: {error}"))
        })
    }

    /// Reads what was handed inward.
    pub(super) fn handed(layer: &Layer, file: &Path) -> Result<Handed, Failure> {
        let bytes = files::read_regular(file, MOST)
            .map_err(|error| failure(layer, format!("left a `$LAYER_ENV` behind: {error}")))?;
        parse(&bytes, &layer.hands).map_err(|reason| failure(layer, reason))
    }
}

fn failure(layer: &Layer, reason: String) -> Failure {
    let subject = Subject {
        layer: layer.name.clone(),
        doing: Doing::Step { phase: Phase::Pre, title: None },
    };
    let at = layer.before.first().map_or(&layer.at, |step| &step.at);
    Failure::of(status::PRE, subject, at, reason)
}

/// Parses the lines; every declared variable must be there, and no other may. The last value of a
/// variable counts.
fn parse(bytes: &[u8], declared: &[String]) -> Result<Handed, String> {
    let mut handed = Handed::new();
    for (index, line) in bytes.split(|byte| *byte == b'\n').enumerate() {
        if line.is_empty() {
            continue;
        }
        let number = index + 1;
        let Some(equals) = line.iter().position(|byte| *byte == b'=') else {
            return Err(format!("wrote line {number} of `$LAYER_ENV`, which is not `name=value`"));
        };
        let name = String::from_utf8_lossy(&line[..equals]).into_owned();
        if !declared.contains(&name) {
            let name = crate::shell::one_line(&name);
            return Err(format!(
                "handed `{name}` inward, which `[vars]` does not declare as `from` this layer"
            ));
        }
        if line.contains(&0) {
            return Err(format!("handed a NUL inward, in `{name}`"));
        }
        handed.retain(|(other, _)| *other != *name);
        handed.push((name.into(), OsString::from_vec(line[equals + 1..].to_vec())));
    }
    match declared.iter().find(|name| !handed.iter().any(|(other, _)| other == name.as_str())) {
        None => Ok(handed),
        Some(name) => Err(format!(
            "did not hand `{name}` inward: no line `{name}=…` was written to `$LAYER_ENV`"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Expected<'a> = Result<&'a [(&'a str, &'a str)], &'a str>;

    #[test]
    fn lines_are_names_and_values() {
        let declared = ["a".to_owned(), "b".to_owned()];
        let table: [(&[u8], Expected<'_>); 7] = [
            (b"a=1\nb=x=y\n", Ok(&[("a", "1"), ("b", "x=y")])),
            (b"a=1\n\nb=\na=2", Ok(&[("b", ""), ("a", "2")])),
            (b"a=1\n", Err("did not hand `b`")),
            (b"", Err("did not hand `a`")),
            (b"a=1\nb=2\nc=3\n", Err("handed `c` inward")),
            (b"a=1\nnonsense\n", Err("line 2")),
            (b"a=1\nb=\0\n", Err("NUL")),
        ];
        for (text, expected) in table {
            let parsed = parse(text, &declared);
            match (parsed, expected) {
                (Ok(handed), Ok(pairs)) => {
                    let pairs: Handed =
                        pairs.iter().map(|(name, value)| (name.into(), value.into())).collect();
                    assert_eq!(handed, pairs);
                }
                (Err(reason), Err(part)) => assert!(reason.contains(part), "{reason}"),
                (parsed, expected) => panic!("{parsed:?}, {expected:?}"),
            }
        }
    }
}
