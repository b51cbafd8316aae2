//! The name that stands for a container's in what is stored, and how it becomes the container's.

use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::plan::Target;

/// The name of the container that stored layers are built for. No real one has it. It is a sound host
/// name, and each of its words between dashes is one that no file holds by chance: where one is found
/// alone, somebody has taken the name apart.
pub const PLACEHOLDER: &str = "lt0placeholder-q4nm8vt2w6xk-z7f3a9c5d1h8";

/// What is written for a container in the place of what an entry holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Names {
    /// What is written for what, the longest first.
    pairs: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Names {
    /// Returns what is to be written for a container whose layers were built in `lxcpaths`.
    pub fn of(lxcpaths: &[PathBuf], target: &Target) -> Self {
        let bytes = |path: &Path| path.as_os_str().as_bytes().to_vec();
        let mut pairs = vec![(PLACEHOLDER.as_bytes().to_vec(), target.name.clone().into_bytes())];
        for path in lxcpaths.iter().map(|lxcpath| lxcpath.join(PLACEHOLDER)) {
            pairs.push((bytes(&path.join("rootfs")), bytes(&target.rootfs)));
            pairs.push((bytes(&path), bytes(&target.path)));
        }
        pairs.sort_by_key(|(old, _)| std::cmp::Reverse(old.len()));
        Self { pairs }
    }

    /// Writes them into a text.
    pub fn put_into(&self, text: &[u8]) -> Vec<u8> {
        let mut result = Vec::with_capacity(text.len());
        let mut rest = text;
        while let Some(at) = find(rest, PLACEHOLDER.as_bytes()) {
            // The pair whose text is here: a path begins before the name in it.
            let fits = self.pairs.iter().find_map(|(old, new)| {
                let before = find(old, PLACEHOLDER.as_bytes())?;
                let start = at.checked_sub(before)?;
                rest[start..].starts_with(old).then_some((start, old.len(), new))
            });
            let Some((start, length, new)) = fits else { break };
            result.extend_from_slice(&rest[..start]);
            result.extend_from_slice(new);
            rest = &rest[start + length..];
        }
        result.extend_from_slice(rest);
        result
    }
}

fn find(text: &[u8], needle: &[u8]) -> Option<usize> {
    memchr::memmem::find(text, needle)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_written_before_the_name_in_them() {
        let pair = |old: &str, new: &str| (old.as_bytes().to_vec(), new.as_bytes().to_vec());
        let names = Names {
            pairs: vec![
                pair(&format!("/l/{PLACEHOLDER}/rootfs"), "/mnt/rootfs"),
                pair(&format!("/l/{PLACEHOLDER}"), "/lxc/web1"),
                pair(PLACEHOLDER, "web1"),
            ],
        };
        let table = [
            ("a @ b", "a web1 b"),
            ("@@", "web1web1"),
            ("/l/@/rootfs/etc /l/@/config", "/mnt/rootfs/etc /lxc/web1/config"),
            ("/k/@/rootfs", "/k/web1/rootfs"),
            ("x", "x"),
            ("", ""),
        ];
        for (text, expected) in table {
            let text = text.replace('@', PLACEHOLDER);
            let found = names.put_into(text.as_bytes());
            assert_eq!(String::from_utf8(found).unwrap(), expected);
        }
    }
}
