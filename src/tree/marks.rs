//! The extended attributes that overlayfs takes for its own.
//!
//! A rootfs may hold such attributes itself, where a container store has worked in it. The lower
//! directory of an overlay has them escaped, as the kernel does since Linux 6.7: what stands there as
//! `trusted.overlay.overlay.opaque` is shown as `trusted.overlay.opaque`. So has a stored tree; a plain
//! directory has them as they are.

use std::ffi::{CStr, CString};

/// Where overlayfs keeps its own extended attributes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// In `trusted.overlay.`: root's own mounts.
    Trusted,
    /// In `user.overlay.`: mounts with `userxattr`.
    User,
}

/// What is put behind the prefix of an attribute that is the rootfs's own.
pub(super) const ESCAPE: &str = "overlay.";

impl Form {
    /// Returns what the names of its attributes begin with.
    pub(super) fn prefix(self) -> &'static str {
        match self {
            Self::Trusted => "trusted.overlay.",
            Self::User => "user.overlay.",
        }
    }

    /// Returns what follows the prefix of a name.
    pub(super) fn rest(self, name: &CStr) -> Option<&[u8]> {
        name.to_bytes().strip_prefix(self.prefix().as_bytes())
    }

    /// Tells whether a name is one of overlayfs's.
    pub(super) fn is_of(self, name: &CStr) -> bool {
        self.rest(name).is_some()
    }

    /// Tells whether a name is that of a mark which overlayfs has set itself.
    pub(super) fn is_own(self, name: &CStr) -> bool {
        self.rest(name).is_some_and(|rest| !rest.starts_with(ESCAPE.as_bytes()))
    }
}

/// How a tree has attributes of these names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Marks {
    /// As they are.
    Plain,
    /// Escaped. What is not is overlayfs's own, and none of the tree's.
    Escaped(Form),
    /// Escaped, in a tree that has none of overlayfs's own: one that is there all the same is taken for the
    /// tree's.
    Stored(Form),
}

impl Marks {
    /// Returns the name under which a plain directory has an attribute of the tree; `None` where it is
    /// overlayfs's own.
    pub(super) fn plain(self, name: &CStr) -> Option<CString> {
        let (Self::Escaped(form) | Self::Stored(form)) = self else { return Some(name.to_owned()) };
        let Some(rest) = form.rest(name) else { return Some(name.to_owned()) };
        match rest.strip_prefix(ESCAPE.as_bytes()) {
            Some(rest) => CString::new([form.prefix().as_bytes(), rest].concat()).ok(),
            None => matches!(self, Self::Stored(_)).then(|| name.to_owned()),
        }
    }
}

/// What becomes of attributes on their way to another tree.
#[derive(Debug, Clone, Copy)]
pub(super) enum Naming {
    /// They come into a plain directory.
    Plain(Marks),
    /// They come into a tree that has them in the same way; overlayfs's own stay behind.
    Same(Marks),
}

impl Naming {
    /// Returns the name that an attribute gets; `None` where it stays behind.
    pub(super) fn of(self, name: &CStr) -> Option<CString> {
        match self {
            Self::Plain(marks) => marks.plain(name),
            Self::Same(marks) => marks.plain(name).map(|_| name.to_owned()),
        }
    }
}
