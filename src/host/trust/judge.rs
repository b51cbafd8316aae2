//! Judges who could have written a file, by what was seen of it and of the way to it.

/// What was seen of a file, or of something on the way to it. Ids are the host's; `None` stands for one that
/// the user namespace of this process does not know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Seen {
    /// What it is.
    pub kind: Kind,
    /// Its owner.
    pub uid: Option<u32>,
    /// Its group.
    pub gid: Option<u32>,
    /// Its permission bits.
    pub mode: u32,
    /// Whether an access list may name others besides.
    pub has_list: bool,
}

/// What something is, as far as that makes a difference here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A directory: who can write to it decides what its names lead to.
    Directory,
    /// A symbolic link. Its permission bits mean nothing.
    Link,
    /// Anything else.
    File,
}

/// Who could have written something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Writer {
    /// Its owner.
    Owner(Option<u32>),
    /// Everybody.
    Everybody,
    /// The members of its group.
    Group(Option<u32>),
    /// Somebody in its access list.
    Listed,
}

/// Returns who could have written something besides those who are `trusted`. `members` tells who has a
/// group, and of whom nothing is known.
///
/// The bits of the group are also the most that an access list can give: without the write bit there, it
/// gives nobody that right.
pub(super) fn judge(
    seen: &Seen,
    trusted: &[u32],
    members: impl FnOnce(u32) -> Vec<Option<u32>>,
) -> Option<Writer> {
    let is_trusted = |uid: u32| trusted.contains(&uid);
    if !seen.uid.is_some_and(is_trusted) {
        return Some(Writer::Owner(seen.uid));
    }
    // What others put into a sticky directory belongs to them, and what does not they cannot replace.
    let is_sticky = seen.kind == Kind::Directory && seen.mode & 0o1000 != 0;
    if seen.kind == Kind::Link || is_sticky {
        return None;
    }
    if seen.mode & 0o002 != 0 {
        return Some(Writer::Everybody);
    }
    if seen.mode & 0o020 == 0 {
        return None;
    }
    if seen.has_list {
        return Some(Writer::Listed);
    }
    // A group without members is for programs that are set-group-id.
    let members = seen.gid.map(members).unwrap_or_default();
    let is_private =
        !members.is_empty() && members.into_iter().all(|uid| uid.is_some_and(is_trusted));
    (!is_private).then_some(Writer::Group(seen.gid))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ME: u32 = 1000;
    const YOU: u32 = 1001;

    /// The groups: one of each user's own, and one of both; the others have no members.
    fn members(gid: u32) -> Vec<Option<u32>> {
        match gid {
            0 | ME | YOU => vec![Some(gid)],
            50 => vec![Some(ME), Some(YOU)],
            60 => vec![Some(ME), Some(0)],
            70 => vec![Some(ME), None],
            _ => Vec::new(),
        }
    }

    fn judged(kind: Kind, (uid, gid): (u32, u32), mode: u32, has_list: bool) -> Option<Writer> {
        let seen = Seen { kind, uid: Some(uid), gid: Some(gid), mode, has_list };
        judge(&seen, &[0, ME], members)
    }

    #[test]
    fn others_than_the_trusted_are_found() {
        use Kind::{Directory, File, Link};
        let group = |gid| Some(Writer::Group(Some(gid)));
        let owner = |uid| Some(Writer::Owner(Some(uid)));
        let everybody = Some(Writer::Everybody);
        let table = [
            (File, (0, 0), 0o644, None),
            (File, (ME, ME), 0o644, None),
            (File, (YOU, YOU), 0o400, owner(YOU)),
            (File, (YOU, 0), 0o644, owner(YOU)),
            (File, (0, 0), 0o646, everybody),
            // Write permission for others is one whoever the group is.
            (File, (0, 0), 0o666, everybody),
            // A sticky file is nothing special.
            (File, (0, 0), 0o1646, everybody),
            (File, (0, 0), 0o664, None),
            (File, (ME, ME), 0o664, None),
            (File, (0, ME), 0o664, None),
            (File, (0, 60), 0o664, None),
            (File, (0, YOU), 0o664, group(YOU)),
            (File, (ME, 50), 0o664, group(50)),
            (File, (0, 70), 0o664, group(70)),
            (File, (0, 99), 0o664, group(99)),
            (File, (0, 99), 0o644, None),
            (Directory, (0, 0), 0o755, None),
            (Directory, (0, 0), 0o775, None),
            (Directory, (0, 50), 0o775, group(50)),
            (Directory, (0, 0), 0o777, everybody),
            (Directory, (0, 0), 0o1777, None),
            (Directory, (0, 50), 0o1775, None),
            (Directory, (YOU, YOU), 0o1777, owner(YOU)),
            (Link, (0, 0), 0o777, None),
            (Link, (YOU, 0), 0o777, owner(YOU)),
        ];
        for (kind, ids, mode, expected) in table {
            assert_eq!(judged(kind, ids, mode, false), expected, "{kind:?} {ids:?} {mode:o}");
        }
    }

    #[test]
    fn an_access_list_gives_what_the_bits_of_the_group_show() {
        assert_eq!(judged(Kind::File, (0, 0), 0o664, true), Some(Writer::Listed));
        assert_eq!(judged(Kind::File, (0, 0), 0o644, true), None);
    }

    #[test]
    fn an_id_that_is_unknown_here_is_nobody_s() {
        let seen = Seen { kind: Kind::File, uid: None, gid: Some(0), mode: 0o644, has_list: false };
        assert_eq!(judge(&seen, &[0], members), Some(Writer::Owner(None)));
        let seen = Seen { uid: Some(0), gid: None, mode: 0o664, ..seen };
        assert_eq!(judge(&seen, &[0], members), Some(Writer::Group(None)));
    }
}
