//! Who calls `lxc-create`.

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Caller {
    Root,
    /// Somebody with 65536 subordinate ids and nothing else; everything then happens in a user
    /// namespace.
    User,
    /// Root, with an id map in the containers' config. They are made, but not started: for that root
    /// would need ids in `/etc/subuid`, which is the host's.
    Mapped,
}
