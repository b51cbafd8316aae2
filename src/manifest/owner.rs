//! Owners of dropped files.

use std::fmt;

use serde::{Serialize, Serializer};

/// A user and a group, each by name or number. Names are looked up in the rootfs's own passwd and
/// group when the drop is made, never on the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    /// The user.
    pub user: Id,
    /// The group.
    pub group: Id,
}

/// A user or a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Id {
    /// By number, as the container counts.
    Number(u32),
    /// By name.
    Name(String),
}

impl Owner {
    /// The owner of a drop that names none: root:root.
    pub const ROOT: Self = Self { user: Id::Number(0), group: Id::Number(0) };

    /// Parses `user`, `user:group` or `:group`; what is not named is root.
    pub fn parse(text: &str) -> Option<Self> {
        let (user, group) = text.split_once(':').unwrap_or((text, ""));
        if user.is_empty() && group.is_empty() {
            return None;
        }
        Some(Self { user: Id::parse(user)?, group: Id::parse(group)? })
    }
}

impl Id {
    fn parse(text: &str) -> Option<Self> {
        if text.is_empty() {
            return Some(Self::Number(0));
        }
        if text.bytes().all(|byte| byte.is_ascii_digit()) {
            // The largest number means "no change" to chown.
            return text.parse().ok().filter(|id| *id != u32::MAX).map(Self::Number);
        }
        let sound = text.len() <= 256
            && !text.starts_with('-')
            && text.chars().all(|c| c.is_alphanumeric() || "-_.$@+".contains(c));
        sound.then(|| Self::Name(text.to_owned()))
    }
}

impl fmt::Display for Id {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(0) => formatter.write_str("root"),
            Self::Number(number) => write!(formatter, "{number}"),
            Self::Name(name) => formatter.write_str(name),
        }
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{}", self.user, self.group)
    }
}

impl Serialize for Owner {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn owners_are_users_and_groups() {
        let table = [
            ("root", Some("root:root")),
            ("app", Some("app:root")),
            ("app:www-data", Some("app:www-data")),
            (":adm", Some("root:adm")),
            ("1000:100", Some("1000:100")),
            ("", None),
            (":", None),
            ("a:b:c", None),
            ("a b", None),
            ("-x", None),
            ("4294967295", None),
            ("99999999999", None),
        ];
        for (text, shown) in table {
            assert_eq!(Owner::parse(text).map(|o| o.to_string()).as_deref(), shown, "{text}");
        }
    }
}
