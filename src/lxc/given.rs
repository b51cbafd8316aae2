//! The lines of a container's config that its template was given, and what the template makes of them.
//!
//! LXC starts a config with lines of its own: those of `default.conf`, and the path of the rootfs. Most
//! templates append to them; `lxc-download` and `lxc-local` move them behind their own, those of the
//! first network to the very end. A stored layer is made with three lines that are the same everywhere.
//! Where they have come to says where a container's own belong.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use serde::{Deserialize, Serialize};

/// A line that is neither LXC's nor a network's.
const COMMENT: &str = "# lines of the container";

/// A line of the first network.
const NETWORK: &str = "lxc.net.0.type = empty";

/// What marks a line of LXC's, and one of the first network's, to the templates that move them.
const OF_LXC: &str = "lxc.";
const OF_NETWORK: &str = "lxc.net.0";

/// A config that a stored layer has left.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Config {
    parts: Vec<Part>,
}

/// A part of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Part {
    /// Lines that the layer has written.
    Text(Vec<u8>),
    /// All lines that the container was given, as they stood.
    All,
    /// Of those, the ones that are not LXC's.
    Comments,
    /// Those of LXC's that are not the first network's.
    Keys,
    /// Those of the first network.
    Network,
}

/// What stands in [`config`], in this order.
const GIVEN: [Part; 3] = [Part::Comments, Part::Network, Part::Keys];

/// The order in which `lxc-download` and `lxc-local` leave it.
const MOVED: [Part; 3] = [Part::Comments, Part::Keys, Part::Network];

/// Returns the config that a stored layer is made with, for this rootfs.
pub(crate) fn config(rootfs: &Path) -> Vec<u8> {
    let lines = [COMMENT.as_bytes(), NETWORK.as_bytes(), &path_line(rootfs), b""];
    lines.join(&b'\n')
}

/// Returns the line that says where a rootfs is.
pub(crate) fn path_line(rootfs: &Path) -> Vec<u8> {
    [b"lxc.rootfs.path = dir:", rootfs.as_os_str().as_bytes()].concat()
}

impl Config {
    /// Reads what has become of [`config`]; `None` where a line of it is gone, or stands there twice.
    pub fn read(text: &[u8], rootfs: &Path) -> Option<Self> {
        let path = path_line(rootfs);
        let mut parts: Vec<Part> = Vec::new();
        for line in text.split_inclusive(|byte| *byte == b'\n') {
            let exact = line.strip_suffix(b"\n").unwrap_or(line);
            let given = match str::from_utf8(exact) {
                Ok(COMMENT) => Some(Part::Comments),
                Ok(NETWORK) => Some(Part::Network),
                _ => (exact == path).then_some(Part::Keys),
            };
            match given {
                // A template may say where the rootfs is once more.
                Some(Part::Keys) if parts.contains(&Part::Keys) => append(&mut parts, line),
                Some(given) if parts.contains(&given) => return None,
                Some(given) => parts.push(given),
                None => append(&mut parts, line),
            }
        }
        if let Some(at) = parts.windows(GIVEN.len()).position(|window| window == GIVEN) {
            parts.splice(at..at + GIVEN.len(), [Part::All]);
            return Some(Self { parts });
        }
        // Nothing else that moves them is known well enough to do the same with other lines.
        let given = parts.iter().filter(|part| !matches!(part, Part::Text(_)));
        (parts.first() == Some(&Part::Comments) && given.eq(&MOVED)).then_some(Self { parts })
    }

    /// Returns what the layer has written, piece by piece.
    pub fn written(&self) -> impl Iterator<Item = &[u8]> {
        self.parts.iter().filter_map(|part| match part {
            Part::Text(text) => Some(text.as_slice()),
            _ => None,
        })
    }

    /// Returns it with what the layer has written gone through `write`.
    #[must_use]
    pub fn rewritten(&self, write: impl Fn(&[u8]) -> Vec<u8>) -> Self {
        let parts = self.parts.iter().map(|part| match part {
            Part::Text(text) => Part::Text(write(text)),
            other => other.clone(),
        });
        Self { parts: parts.collect() }
    }

    /// Returns the config of a container that was given the lines `own`. What the layer has written goes
    /// through `written`.
    ///
    /// # Errors
    ///
    /// Those of `written`.
    pub fn around<E>(
        &self,
        own: &[u8],
        mut written: impl FnMut(&[u8]) -> Result<Vec<u8>, E>,
    ) -> Result<Vec<u8>, E> {
        let mut text = Vec::new();
        for part in &self.parts {
            match part {
                Part::Text(lines) => text.extend(written(lines)?),
                Part::All => end_line(&mut text, own.iter().copied()),
                Part::Comments | Part::Keys | Part::Network => {
                    let is_meant = |line: &&[u8]| kind(line) == *part;
                    let lines = own.split_inclusive(|byte| *byte == b'\n').filter(is_meant);
                    end_line(&mut text, lines.flatten().copied());
                }
            }
        }
        Ok(text)
    }
}

/// Tells of which kind a line is, as the templates that move them do.
fn kind(line: &[u8]) -> Part {
    let holds = |text: &str| memchr::memmem::find(line, text.as_bytes()).is_some();
    match (holds(OF_NETWORK), holds(OF_LXC)) {
        (true, _) => Part::Network,
        (false, true) => Part::Keys,
        (false, false) => Part::Comments,
    }
}

fn append(parts: &mut Vec<Part>, line: &[u8]) {
    match parts.last_mut() {
        Some(Part::Text(text)) => text.extend_from_slice(line),
        _ => parts.push(Part::Text(line.to_vec())),
    }
}

/// Adds lines, the last of which is ended: another may come behind it.
fn end_line(text: &mut Vec<u8>, lines: impl Iterator<Item = u8>) {
    text.extend(lines);
    if text.last().is_some_and(|last| *last != b'\n') {
        text.push(b'\n');
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    const OWN: &str = "# mine\nlxc.net.0.type = veth\nlxc.apparmor.profile = generated\n\
                       lxc.net.1.type = veth\n#lxc.net.0.link = br0\nlxc.rootfs.path = dir:/l/web/rootfs";

    fn given(rewritten: impl Fn(&str) -> String) -> Option<String> {
        let text = String::from_utf8(config(Path::new("/p/rootfs"))).unwrap();
        let config = Config::read(rewritten(&text).as_bytes(), Path::new("/p/rootfs"))?;
        let result = config.around(OWN.as_bytes(), |text| Ok::<_, Infallible>(text.to_vec()));
        Some(String::from_utf8(result.unwrap()).unwrap())
    }

    #[test]
    fn lines_of_a_container_stay_before_what_is_appended() {
        let found = given(|text| format!("{text}lxc.tty.max = 1\n")).unwrap();
        assert_eq!(found, format!("{OWN}\nlxc.tty.max = 1\n"));
        assert_eq!(given(str::to_owned), Some(format!("{OWN}\n")));
        let again = given(|text| format!("{text}lxc.rootfs.path = dir:/p/rootfs\n")).unwrap();
        assert_eq!(again, format!("{OWN}\nlxc.rootfs.path = dir:/p/rootfs\n"));
    }

    #[test]
    fn lines_of_a_container_go_where_a_template_moves_them() {
        // As `lxc-download` does.
        let found = given(|text| {
            let line = |part: &str| text.lines().find(|line| line.contains(part)).unwrap();
            let (comment, network) = (line("lines of"), line("lxc.net.0"));
            let path = line("lxc.rootfs.path");
            format!(
                "{comment}\n\n# Distribution\nlxc.arch = x86_64\n\n# Container\n{path}\n\
                 lxc.uts.name = NAME\n\n# Network\n{network}\n"
            )
        });
        let expected = "# mine\n\n# Distribution\nlxc.arch = x86_64\n\n# Container\n\
                        lxc.apparmor.profile = generated\nlxc.net.1.type = veth\n\
                        lxc.rootfs.path = dir:/l/web/rootfs\nlxc.uts.name = NAME\n\n# Network\n\
                        lxc.net.0.type = veth\n#lxc.net.0.link = br0\n";
        assert_eq!(found.as_deref(), Some(expected));
    }

    #[test]
    fn a_line_that_is_gone_or_doubled_is_not_understood() {
        for part in [COMMENT, NETWORK, "lxc.rootfs.path = dir:/p/rootfs"] {
            assert_eq!(given(|text| text.replace(&format!("{part}\n"), "")), None, "{part}");
        }
        assert_eq!(given(|text| text.replace("empty", "veth")), None);
        assert_eq!(given(|text| format!("{text}{NETWORK}\n")), None);
        assert_eq!(given(|_| String::new()), None);
        assert_eq!(given(|text| text.replace('\n', "\r\n")), None);
    }

    #[test]
    fn lines_of_a_container_stay_together_wherever_they_are() {
        let found = given(|text| format!("# first\n{text}lxc.tty.max = 1\n")).unwrap();
        assert_eq!(found, format!("# first\n{OWN}\nlxc.tty.max = 1\n"));
    }

    #[test]
    fn another_order_is_not_understood() {
        let reversed = |text: &str| {
            let lines: Vec<_> = text.lines().rev().collect();
            lines.join("\n") + "\n"
        };
        assert_eq!(given(reversed), None);
        // What it has written stands between, and would count for more or less than before.
        let path = "lxc.rootfs.path = dir:/p/rootfs\n";
        let behind = format!("lxc.apparmor.profile = unconfined\n{path}");
        assert_eq!(given(|text| text.replace(path, "") + &behind), None);
    }
}
