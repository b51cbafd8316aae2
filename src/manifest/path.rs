//! Paths inside the rootfs.

use std::fmt;
use std::path::Path;

use serde::Serialize;

/// An absolute path inside the rootfs, normalised: one slash between names, no `.` and no `..`.
///
/// It says where something is for the container. It is never joined to a path of the host:
/// [`crate::host::rootfs`] resolves it by descriptors.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct RootfsPath(String);

impl RootfsPath {
    /// Parses an absolute path, or says why `text` cannot be one.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        if !text.starts_with('/') {
            return Err("a path inside the rootfs starts with `/`");
        }
        if crate::shell::has_control(text) {
            return Err("a path cannot hold control characters");
        }
        if text.len() > 4095 {
            return Err("a path is at most 4095 bytes long");
        }
        let mut path = String::with_capacity(text.len());
        for name in text.split('/').filter(|name| !name.is_empty()) {
            match name {
                "." | ".." => return Err("`.` and `..` have no place in a path inside the rootfs"),
                _ if name.len() > 255 => return Err("a file's name is at most 255 bytes long"),
                _ => {
                    path.push('/');
                    path.push_str(name);
                }
            }
        }
        if path.is_empty() {
            path.push('/');
        }
        Ok(Self(path))
    }

    /// Returns the path as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Tells whether it is the rootfs itself.
    pub fn is_root(&self) -> bool {
        self.0 == "/"
    }
}

impl AsRef<Path> for RootfsPath {
    fn as_ref(&self) -> &Path {
        Path::new(&self.0)
    }
}

impl fmt::Display for RootfsPath {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_normalised_and_stay_inside() {
        let long = format!("/{}", "a".repeat(256));
        let table = [
            ("/etc/motd", Some("/etc/motd")),
            ("//etc///motd/", Some("/etc/motd")),
            ("/", Some("/")),
            ("etc/motd", None),
            ("", None),
            ("/etc/../../x", None),
            ("/./x", None),
            ("/a\nb", None),
            ("/a\0b", None),
            (long.as_str(), None),
        ];
        for (text, path) in table {
            assert_eq!(
                RootfsPath::parse(text).ok().as_ref().map(RootfsPath::as_str),
                path,
                "{text}"
            );
        }
    }
}
