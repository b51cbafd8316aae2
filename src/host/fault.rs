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
pub fn about(about: impl Into<String>, source: io::Error) -> io::Error {
    io::Error::new(source.kind(), Fault { about: about.into(), source })
}

/// Tells whether something is wrong with this process or its host, and not with what it looked at: there
/// are no more descriptors, or there is no memory.
pub fn is_shortage(error: &io::Error) -> bool {
    const SHORTAGES: [Errno; 3] = [Errno::MFILE, Errno::NFILE, Errno::NOMEM];
    let mut next: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(error) = next {
        next = match error.downcast_ref::<io::Error>() {
            Some(error) => match Errno::from_io_error(error) {
                Some(number) => return SHORTAGES.contains(&number),
                None => error.get_ref().map(|inner| inner as &(dyn Error + 'static)),
            },
            None => error.source(),
        };
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

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
