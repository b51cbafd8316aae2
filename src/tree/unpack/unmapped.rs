//! Ids in a layer that the id map of this process does not have.

use std::ffi::CStr;
use std::fmt;
use std::io;

use crate::host::caller;

/// The tags of entries of an access list that name somebody.
const NAMED_USER: u8 = 0x02;
const NAMED_GROUP: u8 = 0x08;

/// Whose id it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Whose {
    User,
    Group,
}

impl Whose {
    fn map(self) -> &'static str {
        match self {
            Self::User => "/proc/self/uid_map",
            Self::Group => "/proc/self/gid_map",
        }
    }
}

/// An id that the map does not have, and which ids it has.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(super) struct Unmapped {
    whose: Whose,
    id: u32,
    /// The first and the last of each of its ranges.
    ranges: Vec<(u32, u32)>,
}

impl Unmapped {
    /// Returns one, if it is: without an id map there is none.
    pub(super) fn find(whose: Whose, id: u32) -> Option<Self> {
        let map = caller::id_map(whose.map());
        // The largest number is nobody's, whatever the map.
        if id == u32::MAX || map.is_empty() || caller::outside(&map, id).is_some() {
            return None;
        }
        let last = |first: u32, count: u32| first.saturating_add(count.saturating_sub(1));
        let ranges = map.iter().map(|extent| (extent.inside, last(extent.inside, extent.count)));
        Some(Self { whose, id, ranges: ranges.collect() })
    }

    /// Returns the first that an access list names, or a capability.
    pub(super) fn of_attribute(name: &CStr, value: &[u8]) -> Option<Self> {
        let number = |bytes: &[u8]| bytes.try_into().map(u32::from_le_bytes).ok();
        match name.to_bytes() {
            // Of the third version; the owner of its user namespace is its last number.
            b"security.capability" if value.len() == 24 => {
                Self::find(Whose::User, number(&value[20..])?)
            }
            b"system.posix_acl_access" | b"system.posix_acl_default" if value.len() % 8 == 4 => {
                value[4..].chunks_exact(8).find_map(|entry| {
                    let whose = match u16::from_le_bytes([entry[0], entry[1]]).try_into() {
                        Ok(NAMED_USER) => Whose::User,
                        Ok(NAMED_GROUP) => Whose::Group,
                        _ => return None,
                    };
                    Self::find(whose, number(&entry[4..])?)
                })
            }
            _ => None,
        }
    }

    /// Returns it as an error of the kind that the kernel's is.
    pub(super) fn into_io(self) -> io::Error {
        io::Error::new(io::ErrorKind::InvalidInput, self)
    }
}

impl fmt::Display for Unmapped {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whose, letter, file) = match self.whose {
            Whose::User => ("user", 'u', "/etc/subuid"),
            Whose::Group => ("group", 'g', "/etc/subgid"),
        };
        let ranges = self.ranges.iter().map(|(first, last)| match first == last {
            true => first.to_string(),
            false => format!("{first} to {last}"),
        });
        let ranges = ranges.collect::<Vec<_>>().join(" and ");
        write!(
            formatter,
            "the {whose} {} is not in the id map, which has {ranges}: a map that is large enough \
             (`lxc.idmap = {letter} ...`, with ids of `{file}`) can take the layer",
            self.id
        )
    }
}
