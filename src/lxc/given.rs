//! The lines of a container's config that its template was given, and what the template makes of them.
//!
//! LXC starts a config with lines of its own: those of `default.conf`, and the path of the rootfs. Most
//! templates append to them; `lxc-download` and `lxc-local` move them behind their own, those of the
//! first network to the very end. A stored layer is made with three lines that are the same everywhere.
//! Where they have come to says where a container's own belong.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use serde::{Deserialize, Serialize};
use thiserror::Error;

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

/// The most parts that a config has: its three kinds of given lines, and what is written around each.
const MOST_PARTS: usize = 2 * MOVED.len() + 1;

/// Why nobody takes a config that another host tells of.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ConfigFault {
    /// It is longer than LXC's own may be.
    #[error("its config has more than {} bytes", super::config::LARGEST)]
    TooLong,
    /// It does not say where the lines of a container belong, or says so more than once.
    #[error("its config has no one place for the lines of a container")]
    NoPlace,
    /// A piece ends in the middle of a line.
    #[error("its config has a line that does not end")]
    OpenLine,
    /// It has bytes that are no text.
    #[error("its config has control characters")]
    Control,
    /// It says what this program decides.
    #[error("its config sets `{0}`")]
    Key(String),
    /// It includes what nobody on this host has written.
    #[error("its config includes `{0}`")]
    Include(String),
}

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
        let lines: Vec<&[u8]> = text.split_inclusive(|byte| *byte == b'\n').collect();
        let given = |line: &&[u8]| {
            let exact = line.strip_suffix(b"\n").unwrap_or(line);
            match str::from_utf8(exact) {
                Ok(COMMENT) => Some(Part::Comments),
                Ok(NETWORK) => Some(Part::Network),
                _ => (exact == path).then_some(Part::Keys),
            }
        };
        let kinds: Vec<Option<Part>> = lines.iter().map(given).collect();
        let network = network(&lines, &kinds);
        let mut parts: Vec<Part> = Vec::new();
        for (at, (line, given)) in lines.iter().zip(kinds).enumerate() {
            match given {
                // A template may say where the rootfs is once more.
                Some(Part::Keys) if parts.contains(&Part::Keys) => append(&mut parts, line),
                // A layer may have the same network.
                Some(Part::Network) if network != Some(at) => append(&mut parts, line),
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

    /// Sees that another host may tell this config: that a template and a manifest can have led to it. `is_rootfs`
    /// tells whether a value of `lxc.rootfs.path` is that which it was made with.
    ///
    /// # Errors
    ///
    /// What no template and no manifest leads to.
    pub fn check(&self, is_rootfs: impl Fn(&str) -> bool) -> Result<(), ConfigFault> {
        let given = || self.parts.iter().filter(|part| !matches!(part, Part::Text(_)));
        if self.parts.len() > MOST_PARTS || !(given().eq(&[Part::All]) || given().eq(&MOVED)) {
            return Err(ConfigFault::NoPlace);
        }
        if self.written().map(<[u8]>::len).sum::<usize>() > super::config::LARGEST {
            return Err(ConfigFault::TooLong);
        }
        let before = self.parts.split_last().map_or(&[][..], |(_, before)| before);
        let is_open = |part: &Part| matches!(part, Part::Text(text) if !text.ends_with(b"\n"));
        if before.iter().any(is_open) {
            return Err(ConfigFault::OpenLine);
        }
        for text in self.written() {
            if text.iter().any(|byte| byte.is_ascii_control() && !b"\n\t".contains(byte)) {
                return Err(ConfigFault::Control);
            }
            let text = String::from_utf8_lossy(text);
            text.lines().filter_map(super::config::pair).try_for_each(|(key, value)| {
                let value = super::config::unquoted(value);
                check_line(key, value, &is_rootfs)
            })?;
        }
        Ok(())
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

/// Sees that a line is one that a template or a manifest can write. Some versions of LXC take a longer key for the one
/// that it begins with.
fn check_line(key: &str, value: &str, is_rootfs: impl Fn(&str) -> bool) -> Result<(), ConfigFault> {
    // A template may say where the rootfs is once more.
    if key == "lxc.rootfs.path" && is_rootfs(value.strip_prefix("dir:").unwrap_or(value)) {
        return Ok(());
    }
    if ["lxc.rootfs", "lxc.idmap", "lxc.id_map"].iter().any(|owned| key.starts_with(owned)) {
        return Err(ConfigFault::Key(key.to_owned()));
    }
    // What a layer brings in its rootfs, and what a container writes over that, could say there what it may not say
    // here.
    let is_delta = |rest: &str| rest.bytes().all(|byte| byte.is_ascii_digit());
    let is_bad = |part: &str| {
        part == ".." || part == "rootfs" || part.strip_prefix("delta").is_some_and(is_delta)
    };
    let is_odd = !value.is_empty() && !value.starts_with('/') || value.split('/').any(is_bad);
    if key.starts_with("lxc.include") && is_odd {
        return Err(ConfigFault::Include(value.to_owned()));
    }
    Ok(())
}

/// Returns which line of a text is that of [`config`]'s network: the one beside the others, or that which a template has
/// moved, before layers add their own.
fn network(lines: &[&[u8]], kinds: &[Option<Part>]) -> Option<usize> {
    let given = GIVEN.map(Some);
    if let Some(at) = kinds.windows(given.len()).position(|window| window == given) {
        return Some(at + 1);
    }
    let keys = kinds.iter().position(|kind| *kind == Some(Part::Keys))?;
    let note = super::config::layer_note("");
    let is_note = |line: &&[u8]| line.starts_with(note.as_bytes());
    // What an image brings stands in front of that.
    let end = lines[keys..].iter().position(is_note).map_or(lines.len(), |end| keys + end);
    (keys..end).find(|at| kinds[*at] == Some(Part::Network))
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
    fn a_network_of_a_layer_s_own_is_none_of_what_was_given() {
        let layer = format!("# layered-template: layer app\n{NETWORK}\n");
        let found = given(|text| format!("{text}{layer}"));
        assert_eq!(found, Some(format!("{OWN}\n{layer}")));
        let found = given(|text| format!("{NETWORK}\n{text}{layer}{layer}"));
        assert_eq!(found, Some(format!("{NETWORK}\n{OWN}\n{layer}{layer}")));
        // Behind what a template has moved.
        let moved = |text: &str| {
            let line = |part: &str| text.lines().find(|line| line.contains(part)).unwrap();
            let lines = ["lines of", "lxc.rootfs.path", "lxc.net.0"].map(line);
            let [comment, keys, network] = lines;
            format!("{comment}\n{layer}{keys}\n{network}\nlxc.uts.name = NAME\n{layer}")
        };
        let keys = "lxc.apparmor.profile = generated\nlxc.net.1.type = veth\n\
                    lxc.rootfs.path = dir:/l/web/rootfs\n";
        let network = "lxc.net.0.type = veth\n#lxc.net.0.link = br0\n";
        let expected = format!("# mine\n{layer}{keys}{network}lxc.uts.name = NAME\n{layer}");
        assert_eq!(given(moved), Some(expected));
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
    fn what_no_template_and_no_manifest_can_have_written_is_refused() {
        let text = |text: &[u8]| Part::Text(text.to_vec());
        let check = |parts: Vec<Part>| Config { parts }.check(|path| path == "/p/rootfs");
        let line = |line: &str| check(vec![Part::All, text(line.as_bytes())]);
        for written in [
            "",
            "lxc.tty.max = 4\n\tlxc.include = /usr/share/lxc/config/common.conf\n",
            "lxc.rootfs.path = dir:/p/rootfs\nlxc.uts.name = p\n",
            "lxc.rootfs.path = /p/rootfs",
            "# lxc.idmap = u 0 0 1\njunk\n",
            "lxc.include =",
        ] {
            assert_eq!(line(written), Ok(()), "{written}");
        }
        assert_eq!(check(vec![Part::All, text(b"# \xff")]), Ok(()));
        let [comments, keys, network] = MOVED;
        let moved = vec![comments.clone(), text(b"\n"), keys.clone(), network.clone()];
        assert_eq!(check(moved), Ok(()));
        for parts in [vec![], vec![Part::All; 2], vec![keys, comments, network], {
            let mut parts = vec![text(b"a\n"); 1000];
            parts.push(Part::All);
            parts
        }] {
            assert_eq!(check(parts), Err(ConfigFault::NoPlace));
        }
        assert_eq!(check(vec![text(b"a"), Part::All]), Err(ConfigFault::OpenLine));
        let long = vec![b'a'; super::super::config::LARGEST + 1];
        assert_eq!(check(vec![Part::All, text(&long)]), Err(ConfigFault::TooLong));
        for written in ["a\0", "a\x1b[2J", "a\rlxc.idmap = x", "a\x7f"] {
            assert_eq!(line(written), Err(ConfigFault::Control), "{written}");
        }
        for key in [
            "lxc.rootfs.path",
            "lxc.rootfs.options",
            "lxc.rootfs",
            "lxc.idmap",
            "lxc.idmapped",
            "lxc.id_map",
        ] {
            let fault = Err(ConfigFault::Key(key.to_owned()));
            assert_eq!(line(&format!("# a\n \t{key}\t=dir:/q/rootfs\n")), fault);
        }
        assert_eq!(line("lxc.include = /usr/share/deltas/a\n"), Ok(()));
        for path in ["common.conf", "/p/rootfs/a", "/usr/../a", "/p/delta/a", "/p/delta0/a"] {
            let fault = Err(ConfigFault::Include(path.to_owned()));
            assert_eq!(line(&format!("lxc.include = {path}")), fault);
            assert_eq!(line(&format!("lxc.include = '{path}'")), fault);
        }
    }

    #[test]
    fn a_line_that_is_gone_or_doubled_is_not_understood() {
        let layer = format!("# layered-template: layer app\n{NETWORK}\n");
        for part in [COMMENT, NETWORK, "lxc.rootfs.path = dir:/p/rootfs"] {
            let without = |text: &str| text.replace(&format!("{part}\n"), "");
            assert_eq!(given(without), None, "{part}");
            assert_eq!(given(|text| without(text) + &layer), None, "{part}");
        }
        assert_eq!(given(|text| text.replace("empty", "veth")), None);
        assert_eq!(given(|text| format!("{text}{COMMENT}\n")), None);
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
