//! What has gone wrong, and what that is about.

use std::error::Error;
use std::io;

use rustix::io::Errno;

/// An error of the system, and what it is about.
#[derive(Debug, thiserror::Error)]
#[error("{about}: {source}")]
struct Fault {
    about: String,
    source: io::Error,
}

/// Says what an error is about, and keeps what it is.
pub(crate) fn about(about: impl Into<String>, source: io::Error) -> io::Error {
    io::Error::new(source.kind(), Fault { about: about.into(), source })
}

/// A kind of error that is handled by what it is, wherever it comes up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FaultKind {
    /// This host does not let a step's sandbox be built.
    Sandbox,
    /// A path of a rootfs has led out of it, or was changed while it was followed.
    UnsafePath,
}

/// An error of such a kind.
#[derive(Debug, thiserror::Error)]
#[error("{about}: {source}")]
struct Known {
    kind: FaultKind,
    about: &'static str,
    source: io::Error,
}

/// Makes an error one of a kind.
pub(crate) fn of_kind(kind: FaultKind, about: &'static str, source: io::Error) -> io::Error {
    io::Error::new(source.kind(), Known { kind, about, source })
}

/// Returns of which kind an error is, whatever it was said to be about since.
pub(crate) fn kind(error: &io::Error) -> Option<FaultKind> {
    chain(error).find_map(|error| error.downcast_ref::<Known>()).map(|known| known.kind)
}

/// Returns an error and those that have led to it.
fn chain(error: &io::Error) -> impl Iterator<Item = &(dyn Error + 'static)> {
    let mut next: Option<&(dyn Error + 'static)> = Some(error);
    std::iter::from_fn(move || {
        let error = next?;
        next = match error.downcast_ref::<io::Error>() {
            // Of one that wraps another, `source` would be that other one's.
            Some(error) => error.get_ref().map(|inner| inner as &(dyn Error + 'static)),
            None => error.source(),
        };
        Some(error)
    })
}

/// Tells whether something is wrong with this process or its host, and not with what it looked at: there
/// are no more descriptors, or there is no memory.
pub(crate) fn is_shortage(error: &io::Error) -> bool {
    const SHORTAGES: [Errno; 3] = [Errno::MFILE, Errno::NFILE, Errno::NOMEM];
    let mut numbers = chain(error).filter_map(|error| error.downcast_ref::<io::Error>());
    numbers.find_map(Errno::from_io_error).is_some_and(|number| SHORTAGES.contains(&number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_stays_of_its_kind() {
        let error = of_kind(FaultKind::UnsafePath, "the rootfs changed", Errno::AGAIN.into());
        let error = about("`/etc/app.conf`", about("layer app", error));
        assert_eq!(kind(&error), Some(FaultKind::UnsafePath));
        assert_eq!(kind(&about("x", Errno::AGAIN.into())), None);
        let text = "`/etc/app.conf`: layer app: the rootfs changed: ";
        assert!(error.to_string().starts_with(text), "{error}");
    }

    #[test]
    fn a_shortage_is_one_whatever_it_is_about() {
        let wrapped = |number: Errno| about("a tree", about("`/a`", number.into()));
        for (error, expected) in [
            (wrapped(Errno::MFILE), true),
            (Errno::NOMEM.into(), true),
            (wrapped(Errno::NOENT), false),
            (io::Error::other("its listing is damaged"), false),
        ] {
            assert_eq!(is_shortage(&error), expected, "{error}");
        }
        let text = wrapped(Errno::NOENT).to_string();
        assert_eq!(text, "a tree: `/a`: No such file or directory (os error 2)");
    }
}
