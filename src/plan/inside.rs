//! What a step inside the rootfs has of the host.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

/// The directory in which a script of the host stands inside, for as long as its step runs.
pub const SCRIPTS: &str = "/run/layered-template";

/// What says how the network is reached.
const PROXIES: [&str; 5] = ["http_proxy", "https_proxy", "ftp_proxy", "all_proxy", "no_proxy"];

/// Tells whether every step inside the rootfs has this variable of the caller's.
pub(crate) fn passes(name: &OsStr) -> bool {
    let name = name.to_string_lossy();
    PROXIES.iter().any(|proxy| name == *proxy || name == proxy.to_ascii_uppercase())
}

/// Returns where a script of the host stands inside.
pub(super) fn script(path: &Path) -> PathBuf {
    Path::new(SCRIPTS).join(path.file_name().unwrap_or_else(|| OsStr::new("script")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proxies_pass_and_nothing_else_does() {
        for name in ["http_proxy", "HTTPS_PROXY", "no_proxy", "ALL_PROXY"] {
            assert!(passes(OsStr::new(name)), "{name}");
        }
        for name in
            ["PATH", "HOME", "LANG", "SSH_AUTH_SOCK", "proxy", "Http_Proxy", "my_http_proxy"]
        {
            assert!(!passes(OsStr::new(name)), "{name}");
        }
    }
}
