//! Who calls `lxc-create`.

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Caller {
    Root,
    /// Somebody with 65536 subordinate ids and nothing else; everything then happens in a user
    /// namespace.
    User,
}
