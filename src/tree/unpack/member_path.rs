//! The path of a member, as names that lead down from the top of a tree.

use std::ffi::{CStr, CString};

use super::UnpackFault;
use crate::tree::archive::ArchiveFault;

/// The longest name, in bytes.
const LONGEST: usize = 255;

/// What stands before the name of what is removed. Source: the image specification of OCI 1.1.
pub(super) const MARK: &[u8] = b".wh.";

/// Tells whether a name marks something as removed.
pub(super) fn is_mark(name: &CStr) -> bool {
    name.to_bytes().starts_with(MARK)
}

/// The names that lead to a member.
#[derive(Debug)]
pub(super) struct MemberPath {
    names: Vec<CString>,
}

impl MemberPath {
    /// Reads a path. Slashes in front, and names that lead nowhere, are dropped; none of it leads upwards.
    pub(super) fn read(path: &[u8], levels: usize) -> Result<Self, UnpackFault> {
        let mut names: Vec<CString> = Vec::new();
        for name in path.split(|byte| *byte == b'/').filter(|name| ![&b""[..], b"."].contains(name))
        {
            if name == b".." {
                return Err(UnpackFault::Upwards);
            }
            if name.len() > LONGEST {
                return Err(UnpackFault::LongName);
            }
            if let Some(above) = names.last().filter(|above| is_mark(above)) {
                return Err(UnpackFault::Reserved(above.to_bytes().to_vec()));
            }
            if names.len() > levels {
                return Err(UnpackFault::Deep(levels));
            }
            let name = CString::new(name);
            names.push(name.map_err(|_| ArchiveFault::Nul("name"))?);
        }
        Ok(Self { names })
    }

    /// Returns all names; none for the top.
    pub(super) fn names(&self) -> &[CString] {
        &self.names
    }

    /// Returns the names that lead to the directory that it is in.
    pub(super) fn above(&self) -> &[CString] {
        self.names.split_last().map_or(&[], |(_, above)| above)
    }

    /// Returns the last name; `None` for the top.
    pub(super) fn name(&self) -> Option<&CStr> {
        self.names.last().map(CString::as_c_str)
    }
}
