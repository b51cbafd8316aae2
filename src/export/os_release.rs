//! What a rootfs says of its system.

use std::path::Path;

use crate::host::rootfs::Rootfs;

/// Where it is said. Source: os-release(5).
const PATHS: [&str; 2] = ["/etc/os-release", "/usr/lib/os-release"];

/// The longest such file that is read, in bytes.
const LONGEST: u64 = 64 * 1024;

/// What a rootfs says of its system; each is empty where it says nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct OsRelease {
    /// The system's short name, such as `debian`.
    pub id: String,
    /// The version, such as `12`.
    pub version: String,
    /// The system and its version, for people.
    pub name: String,
}

impl OsRelease {
    /// Reads it; `None` where nothing is said.
    pub(super) fn read(rootfs: &Rootfs) -> Option<Self> {
        let text = PATHS.iter().find_map(|path| rootfs.read(Path::new(path), LONGEST).ok())?;
        Some(Self::parse(&String::from_utf8_lossy(&text)))
    }

    fn parse(text: &str) -> Self {
        let value = |key: &str| {
            let lines = text.lines().rev();
            let mut values =
                lines.filter_map(|line| line.trim().strip_prefix(key)?.strip_prefix('='));
            let words = values.next().and_then(shlex::split).unwrap_or_default();
            words.into_iter().next().unwrap_or_default()
        };
        Self { id: value("ID"), version: value("VERSION_ID"), name: value("PRETTY_NAME") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_are_not_of_the_value() {
        let text = "# x\nPRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\nID=debian\nVERSION_ID='12'\nID_LIKE=x\n";
        let expected = OsRelease {
            id: "debian".to_owned(),
            version: "12".to_owned(),
            name: "Debian GNU/Linux 12 (bookworm)".to_owned(),
        };
        assert_eq!(OsRelease::parse(text), expected);
        assert_eq!(OsRelease::parse("ID=\"\nVERSION_ID=\nXID=y"), OsRelease::default());
    }
}
