//! A directory of a tree that is being made.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use super::dir_path::DirPath;

/// A directory of the new tree.
#[derive(Debug)]
pub(super) struct TargetDir {
    pub(super) directory: Arc<OwnedFd>,
    pub(super) dir_path: Arc<DirPath>,
    /// The permission bits that it has as long as it is being filled.
    pub(super) mode: u32,
}
