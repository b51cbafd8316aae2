//! Where a URL leads, and where a registry may send a request on to.

use super::reference::{is_authority, is_loopback};

/// Where a URL leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Target<'a> {
    /// Whether nobody can listen on the way.
    pub(super) is_secret: bool,
    /// The host, with a port where the URL names one.
    authority: &'a str,
}

impl<'a> Target<'a> {
    /// Reads a URL. `None` for one that programs may read in more than one way: with a user in it, or a host that is
    /// not followed by a path or by nothing.
    pub(super) fn parse(url: &'a str) -> Option<Self> {
        let (scheme, rest) = url.split_once("://")?;
        let is_secret = match scheme {
            "https" => true,
            "http" => false,
            _ => return None,
        };
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let is_plain = |byte: u8| byte.is_ascii_graphic() && !b"\\#".contains(&byte);
        let is_read_alike = is_authority(authority) && path.bytes().all(is_plain);
        is_read_alike.then_some(Self { is_secret, authority })
    }

    /// Tells whether it is this machine.
    pub(super) fn is_local(self) -> bool {
        is_loopback(self.authority)
    }

    /// Tells whether nobody else can hear what is said there.
    fn is_safe(self) -> bool {
        self.is_secret || self.is_local()
    }

    /// Tells whether an answer from here may send what comes next to `next`.
    pub(super) fn leads_to(self, next: Self) -> bool {
        if self.is_secret { next.is_secret } else { next.is_safe() }
    }

    /// Tells whether what is uploaded to here may go to `next` instead: from this machine nowhere else.
    pub(super) fn hands_over_to(self, next: Self) -> bool {
        if self.is_secret { next.is_secret } else { next.is_local() }
    }
}

/// Returns the URL that the header `Location` of an answer from `url` names; `None` where that is no place.
pub(super) fn located(url: &str, location: &str) -> Option<String> {
    let location = location.split('#').next().unwrap_or_default();
    if !location.starts_with('/') {
        Target::parse(location)?;
        return Some(location.to_owned());
    }
    let from = Target::parse(url)?;
    let scheme = if from.is_secret { "https" } else { "http" };
    // Two slashes name another host.
    let whole = match location.starts_with("//") {
        true => format!("{scheme}:{location}"),
        false => format!("{scheme}://{}{location}", from.authority),
    };
    Target::parse(&whole)?;
    Some(whole)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_that_can_be_read_in_two_ways_are_none() {
        for url in [
            "http://127.0.0.1:80@192.0.2.2:5000/token",
            "https://user@registry.example/",
            "http://127.0.0.1?@192.0.2.2/",
            "http://127.0.0.1#@192.0.2.2/",
            "http://127.0.0.1\\@192.0.2.2/",
            "http://127.0.0.1/\\..",
            "http://127.0.0.1/a b",
            "http://127.0.0.1/a\n",
            "http:///token",
            "http://127.0.0.1:/",
            "ftp://127.0.0.1/",
            "HTTP://127.0.0.1/",
            "//127.0.0.1/",
            "127.0.0.1",
            "",
        ] {
            assert_eq!(Target::parse(url), None, "{url}");
        }
    }

    #[test]
    fn what_is_told_stays_where_nobody_else_hears_it() {
        let safe = |url| Target::parse(url).unwrap().is_safe();
        for url in ["https://a.example", "http://127.0.0.1:5000/t", "http://localhost/t?a=b@c"] {
            assert!(safe(url), "{url}");
        }
        for url in ["http://a.example/", "http://127.0.0.1.example/", "http://192.0.2.2:80/"] {
            assert!(!safe(url), "{url}");
        }
        let (far, secret, here, both) =
            ("http://a.example/", "https://a.example/", "http://127.0.0.1/", "https://[::1]:1/");
        let ways = |from: &str, to: &str| {
            let (from, to) = (Target::parse(from).unwrap(), Target::parse(to).unwrap());
            (from.leads_to(to), from.hands_over_to(to))
        };
        for (from, to, expected) in [
            (secret, "https://b.example/", (true, true)),
            (secret, far, (false, false)),
            (secret, here, (false, false)),
            (here, "http://localhost:2/", (true, true)),
            (here, both, (true, true)),
            (here, secret, (true, false)),
            (here, far, (false, false)),
        ] {
            assert_eq!(ways(from, to), expected, "{from} {to}");
        }
    }

    #[test]
    fn places_are_found_from_where_they_are_named() {
        let at = |location| located("https://a.example:5000/v2/x?y", location);
        assert_eq!(at("/b?c=http://d").as_deref(), Some("https://a.example:5000/b?c=http://d"));
        assert_eq!(at("//b.example/c").as_deref(), Some("https://b.example/c"));
        assert_eq!(at("http://b.example/c#d").as_deref(), Some("http://b.example/c"));
        for location in ["b", "?b", "", "//user@b.example/", "http://c@b.example"] {
            assert_eq!(at(location), None, "{location}");
        }
    }
}
