//! Which entries stay when the store is cleaned: a pure choice.

use std::collections::{BTreeMap, BTreeSet};

use super::role::Role;
use crate::plan::EntryId;

/// What is kept besides what containers use.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Retention {
    /// How many of the entries that a known role came to, the newest first.
    pub keep: usize,
    /// What was made at this time or later, in milliseconds since 1970.
    pub since: Option<u64>,
}

/// What is known of an entry.
#[derive(Debug, Clone, Copy)]
pub(super) struct Known {
    /// What it is built on.
    pub parent: Option<EntryId>,
    /// When it was made, in milliseconds since 1970.
    pub made_at: u64,
    /// Whether a run can use it: another version of the program has its own.
    pub is_usable: bool,
}

impl Retention {
    /// Returns the entries that stay: those that are `used`, those of known roles, those that are young, and
    /// all that these are built on. Without that they would never be found again, since the key of an
    /// entry names what it is built on.
    pub(super) fn stay(
        self,
        all: &BTreeMap<EntryId, Known>,
        used: impl Fn(EntryId) -> bool,
        roles: &[Role],
    ) -> BTreeSet<EntryId> {
        let mut wanted: BTreeSet<EntryId> = all.keys().copied().filter(|id| used(*id)).collect();
        for role in roles.iter().filter(|_| self.keep > 0) {
            let is_usable = |id: &&EntryId| all.get(*id).is_some_and(|known| known.is_usable);
            let there = role.entries.iter().filter(is_usable);
            wanted.extend(there.take(self.keep));
            wanted.extend(role.unfinished.iter().filter(is_usable));
        }
        if let Some(since) = self.since {
            let is_young = |known: &Known| known.is_usable && known.made_at >= since;
            wanted.extend(all.iter().filter(|(_, known)| is_young(known)).map(|(id, _)| *id));
        }
        let mut stay = BTreeSet::new();
        for id in wanted {
            let mut next = Some(id);
            while let Some(id) = next.filter(|id| all.contains_key(id) && stay.insert(*id)) {
                next = all[&id].parent;
            }
        }
        stay
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Digest;

    /// Two generations of a role of three layers, of which the first has a base that another role shares.
    #[test]
    fn what_stays_is_what_is_used_known_or_young_with_all_below() {
        let id = |name: &str| EntryId { key: Digest::of(name.as_bytes()), generation: 1 };
        let mut all = BTreeMap::new();
        for (name, parent, made_at) in [
            ("os1", None, 10),
            ("lib1", Some("os1"), 11),
            ("web1", Some("lib1"), 12),
            ("db1", Some("lib1"), 13),
            ("os2", None, 20),
            ("lib2", Some("os2"), 21),
            ("web2", Some("lib2"), 22),
        ] {
            all.insert(id(name), Known { parent: parent.map(id), made_at, is_usable: true });
        }
        let role = |entries: &[&str], unfinished: Option<&str>| Role {
            manifest: "/m".into(),
            unfinished: unfinished.map(id),
            entries: entries.iter().map(|name| id(name)).collect(),
        };
        let web = role(&["gone", "web2", "web1"], None);
        let only = std::slice::from_ref(&web);
        let failed = &[role(&["web1"], Some("lib2"))];
        #[expect(clippy::type_complexity, reason = "it is a table")]
        let table: [(&str, usize, Option<u64>, &[&str], &[Role]); 9] = [
            ("nothing is known", 1, None, &[], &[]),
            ("os2 lib2 web2", 1, None, &[], only),
            ("os1 lib1 web1 os2 lib2 web2", 2, None, &[], only),
            ("nothing is kept", 0, None, &[], only),
            ("os1 lib1 db1", 0, None, &["db1"], only),
            ("os1 lib1 db1 os2 lib2 web2", 1, None, &["db1"], only),
            ("os1 lib1 web1 os2 lib2", 1, None, &[], failed),
            ("os2 lib2 web2", 0, Some(21), &[], &[]),
            ("nothing is young", 0, Some(23), &[], &[]),
        ];
        for (expected, keep, since, used, roles) in table {
            let stay = Retention { keep, since }.stay(
                &all,
                |entry| used.iter().any(|name| id(name) == entry),
                roles,
            );
            let is_expected = |name: &str| expected.split(' ').any(|word| word == name);
            for name in ["os1", "lib1", "web1", "db1", "os2", "lib2", "web2"] {
                assert_eq!(stay.contains(&id(name)), is_expected(name), "{expected}: {name}");
            }
        }
    }
}
