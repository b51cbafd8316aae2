//! The proxy that a request goes through, by the variables that other programs know too.

use std::fmt;

/// A proxy that the environment names, and that is not spoken with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct UnusableProxy {
    /// The variable.
    variable: &'static str,
    /// The scheme of its URL: all else may be a password.
    scheme: String,
}

impl fmt::Display for UnusableProxy {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { variable, scheme } = self;
        write!(
            formatter,
            "`{variable}` names a proxy by `{scheme}://`, and only HTTP proxies are spoken with"
        )
    }
}

#[cfg(feature = "registry")]
pub(super) use self::with_client::Proxies;

#[cfg(feature = "registry")]
mod with_client {
    use std::env;

    use ureq::http::Uri;
    use ureq::{Proxy, ProxyProtocol};

    use super::UnusableProxy;

    /// The variables, the first that counts first.
    const VARIABLES: [&str; 6] =
        ["ALL_PROXY", "all_proxy", "HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy"];

    /// The proxies that the environment names.
    #[derive(Debug)]
    pub(in crate::registry) struct Proxies {
        /// The first that it names, with the hosts that are asked without one.
        first: Option<Proxy>,
        /// The first that is spoken with, if any is, and otherwise why the first is not.
        usable: Result<Option<Proxy>, UnusableProxy>,
    }

    impl Proxies {
        /// Looks at the environment.
        pub(in crate::registry) fn observe() -> Self {
            let value = |name: &'static str| Some((name, env::var(name).ok()?));
            Self {
                first: Proxy::try_from_env(),
                usable: usable(VARIABLES.into_iter().filter_map(value)),
            }
        }

        /// Returns the proxy for a URL.
        ///
        /// # Errors
        ///
        /// Where there is to be one, and none that is named is spoken with.
        pub(in crate::registry) fn to(&self, url: &str) -> Result<Option<Proxy>, UnusableProxy> {
            let is_spared =
                |first: &Proxy| url.parse::<Uri>().is_ok_and(|url| first.is_no_proxy(&url));
            if self.first.as_ref().is_some_and(is_spared) {
                return Ok(None);
            }
            self.usable.clone()
        }
    }

    /// Returns the first proxy that is spoken with. A text that names none is passed over.
    fn usable(
        named: impl Iterator<Item = (&'static str, String)>,
    ) -> Result<Option<Proxy>, UnusableProxy> {
        let mut unusable = None;
        for (variable, text) in named {
            let Ok(proxy) = Proxy::new(&text) else { continue };
            if matches!(proxy.protocol(), ProxyProtocol::Http | ProxyProtocol::Https) {
                return Ok(Some(proxy));
            }
            let scheme = text.split(':').next().unwrap_or_default().to_owned();
            unusable.get_or_insert(UnusableProxy { variable, scheme });
        }
        unusable.map_or(Ok(None), Err)
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn a_socks_proxy_gives_way_to_one_that_is_spoken_with() {
            let found = |named: &[(&'static str, &str)]| {
                let named = named.iter().map(|(name, text)| (*name, (*text).to_owned()));
                usable(named).map(|proxy| proxy.map(|proxy| proxy.host().to_owned()))
            };
            let unusable =
                |variable, scheme: &str| Err(UnusableProxy { variable, scheme: scheme.to_owned() });
            let host = |name: &str| Ok(Some(name.to_owned()));
            for (named, expected) in [
                (&[][..], Ok(None)),
                (&[("ALL_PROXY", "http://a:1"), ("HTTPS_PROXY", "socks5://b")], host("a")),
                (&[("ALL_PROXY", "socks5h://a"), ("HTTPS_PROXY", "b:3128")], host("b")),
                (&[("ALL_PROXY", "Socks4://u:p@a")], unusable("ALL_PROXY", "Socks4")),
                (
                    &[("all_proxy", "socks://a"), ("http_proxy", "socks5://b")],
                    unusable("all_proxy", "socks"),
                ),
                (&[("ALL_PROXY", ""), ("HTTPS_PROXY", "gopher://b")], Ok(None)),
            ] {
                assert_eq!(found(named), expected, "{named:?}");
            }
        }
    }
}
