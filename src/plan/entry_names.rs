//! Names of entries that people can read and write: beginnings that no other entry has.

use std::collections::BTreeMap;

use super::status::EntryId;

/// The shortest beginning of a key, in digits.
const SHORTEST: usize = 8;

impl EntryId {
    /// Tells whether a text is the beginning of its name. Of the key and of the generation behind the dot
    /// each may be shortened.
    pub fn is_named(&self, text: &str) -> bool {
        let (key, generation) = (self.digits(), self.generation.to_string());
        match text.split_once('.') {
            None => key.starts_with(text),
            Some((head, tail)) => key.starts_with(head) && generation.starts_with(tail),
        }
    }

    /// Returns the digits of its key.
    fn digits(&self) -> String {
        self.key.to_string().split_off("sha256:".len())
    }
}

/// Returns the shortest name of each entry that is that of no other one.
pub fn entry_names(entries: &[EntryId]) -> BTreeMap<EntryId, String> {
    let mut by_key: BTreeMap<String, BTreeMap<EntryId, String>> = BTreeMap::new();
    for id in entries {
        by_key.entry(id.digits()).or_default().insert(*id, id.generation.to_string());
    }
    let keys: Vec<&String> = by_key.keys().collect();
    let mut names = BTreeMap::new();
    for (index, (key, generations)) in by_key.iter().enumerate() {
        // They are sorted, so that those which are most alike stand side by side.
        let beside = [index.checked_sub(1), Some(index + 1)].into_iter().flatten();
        let beside = beside.filter_map(|other| keys.get(other));
        let alike = beside.map(|other| common(key, other)).max().unwrap_or_default();
        let head = &key[..SHORTEST.max(alike + 1)];
        for (id, generation) in generations {
            let others = generations.iter().filter(|(other, _)| *other != id);
            let alike = others.map(|(_, other)| common(generation, other)).max();
            let tail = alike.map(|alike| &generation[..generation.len().min(alike + 1)]);
            let tail = tail.map(|tail| format!(".{tail}")).unwrap_or_default();
            names.insert(*id, format!("{head}{tail}"));
        }
    }
    names
}

/// Returns how many digits two texts begin with alike.
fn common(one: &str, other: &str) -> usize {
    one.bytes().zip(other.bytes()).take_while(|(one, other)| one == other).count()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Digest;

    #[test]
    fn a_name_is_as_long_as_it_must_be() {
        let key = |start: &str| Digest::parse(&format!("{start:0<64}")).unwrap();
        let id = |start: &str, generation| EntryId { key: key(start), generation };
        let entries = [
            id("1", 1_764_000_000_001),
            id("1", 1_764_000_000_002),
            id("1", 1_765_000_000_000),
            id("2222222222222a", 7),
            id("2222222222222b", 7),
            id("3", 7),
        ];
        let names = entry_names(&entries);
        let shown: Vec<_> = entries.iter().map(|id| names[id].as_str()).collect();
        let expected = [
            "10000000.1764000000001",
            "10000000.1764000000002",
            "10000000.1765",
            "2222222222222a",
            "2222222222222b",
            "30000000",
        ];
        assert_eq!(shown, expected);
        for (index, name) in shown.iter().enumerate() {
            let named: Vec<_> = entries.iter().filter(|id| id.is_named(name)).collect();
            assert_eq!(named, [&entries[index]], "{name}");
            assert!(entries[index].is_named(&entries[index].to_string()));
        }
        assert_eq!(entries.iter().filter(|id| id.is_named("1")).count(), 3);
    }
}
