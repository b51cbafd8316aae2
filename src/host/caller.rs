//! Who runs the program, as the host sees it.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::process::{getegid, geteuid};

use super::proc;

/// The identity of this process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Caller {
    /// The effective user, as this user namespace counts.
    pub uid: u32,
    /// The effective group, likewise.
    pub gid: u32,
    /// The id map of the user namespace that this process is in; `None` in the host's own.
    pub map: Option<Vec<Extent>>,
}

/// A line of an id map: so many ids from `inside` on stand for those from `outside` on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Extent {
    /// The first id inside the namespace.
    pub inside: u32,
    /// The first id outside.
    pub outside: u32,
    /// How many.
    pub count: u32,
}

/// The map of the user namespace that the program was started in, once it was read.
static FIRST_MAP: OnceLock<Vec<Extent>> = OnceLock::new();

/// Whether this process may be in another by now.
static HAS_MOVED: AtomicBool = AtomicBool::new(false);

/// Has the id map read anew from now on: this process, or one that it forks, gets a user namespace of its own.
pub(super) fn moves() {
    HAS_MOVED.store(true, Ordering::Relaxed);
}

fn own_map() -> Vec<Extent> {
    if let Some(map) = FIRST_MAP.get().filter(|_| !HAS_MOVED.load(Ordering::Relaxed)) {
        return map.clone();
    }
    let map = id_map("/proc/self/uid_map");
    // A map is written once, but perhaps not yet.
    if !map.is_empty() && !HAS_MOVED.load(Ordering::Relaxed) {
        FIRST_MAP.get_or_init(|| map.clone());
    }
    map
}

impl Caller {
    /// Observes the calling process.
    pub(crate) fn observe() -> Self {
        let extents = own_map();
        let whole = Extent { inside: 0, outside: 0, count: u32::MAX };
        let map = (!extents.is_empty() && extents != [whole]).then_some(extents);
        Self { uid: geteuid().as_raw(), gid: getegid().as_raw(), map }
    }

    /// Tells whether this is user 0 of the host: not that of a user namespace, unless the two are
    /// one.
    pub(crate) fn is_host_root(&self) -> bool {
        self.uid == 0
            && self.map.as_ref().is_none_or(|map| {
                map.iter().any(|extent| extent.inside == 0 && extent.outside == 0)
            })
    }

    /// Tells whether user 0 of the host is among the ids of this process's user namespace: it is who
    /// calls then, whatever its id is called here.
    pub(crate) fn has_host_root(&self) -> bool {
        let of_root = |map: &Vec<Extent>| map.iter().any(|extent| extent.outside == 0);
        self.is_host_root() || self.map.as_ref().is_some_and(of_root)
    }

    /// Tells whether this process can do with the files of the host's root what it likes: it is that user, or
    /// root of a namespace that has its id.
    pub(crate) fn rules_host_root(&self) -> bool {
        self.uid == 0 && self.has_host_root()
    }

    /// Tells whether this is user 0 of a user namespace alone.
    pub(crate) fn is_mapped_root(&self) -> bool {
        self.uid == 0 && !self.is_host_root()
    }
}

/// Returns what an id of this user namespace stands for outside of it; `None` where it is none of its
/// ids.
pub(crate) fn outside(map: &[Extent], id: u32) -> Option<u32> {
    map.iter().find_map(|extent| {
        let above = id.checked_sub(extent.inside).filter(|above| *above < extent.count)?;
        extent.outside.checked_add(above)
    })
}

/// Reads an id map of this process: `/proc/self/uid_map` or `/proc/self/gid_map`.
///
/// One that cannot be read has no lines: the kernel has no user namespaces.
pub(crate) fn id_map(file: &str) -> Vec<Extent> {
    let text = proc::read(file).ok().and_then(|text| String::from_utf8(text).ok());
    parse_map(&text.unwrap_or_default())
}

fn parse_map(text: &str) -> Vec<Extent> {
    let parse = |line: &str| {
        let mut numbers = line.split_whitespace().map(str::parse);
        Some(Extent {
            inside: numbers.next()?.ok()?,
            outside: numbers.next()?.ok()?,
            count: numbers.next()?.ok()?,
        })
    };
    text.lines().filter_map(parse).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caller(uid: u32, map: &str) -> Caller {
        let extents = parse_map(map);
        Caller { uid, gid: uid, map: (!extents.is_empty()).then_some(extents) }
    }

    #[test]
    fn root_is_the_host_s_user_0() {
        let mapped = "         0     100000      65536\n     65536       1001          1\n";
        assert!(caller(0, "").is_host_root());
        assert!(caller(0, "0 0 1\n").is_host_root());
        assert!(!caller(0, mapped).is_host_root());
        assert!(caller(0, mapped).is_mapped_root());
        assert!(!caller(1001, "").is_host_root());
        assert!(!caller(1001, "").is_mapped_root());
        for (uid, map, rules) in [
            (0, "", true),
            (0, "0 0 65536\n", true),
            (0, "0 100000 65536\n65536 0 1\n", true),
            (0, mapped, false),
            (1000, "", false),
            (1000, "0 0 65536\n", false),
            (65536, "0 100000 65536\n65536 0 1\n", false),
        ] {
            assert_eq!(caller(uid, map).rules_host_root(), rules, "{uid} {map}");
        }
        let map = caller(0, mapped).map.unwrap();
        assert_eq!(map[1], Extent { inside: 65536, outside: 1001, count: 1 });
        let table =
            [(0, Some(100_000)), (65535, Some(165_535)), (65536, Some(1001)), (65537, None)];
        for (inside, expected) in table {
            assert_eq!(outside(&map, inside), expected, "{inside}");
        }
    }
}
