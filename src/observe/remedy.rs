//! The line to type where a package is missing.

use crate::host::program;

/// The package managers that are known, and the words that install with them. The names of packages are
/// Debian's.
const MANAGERS: [(&str, &str); 1] = [("apt-get", "apt-get install")];

/// Returns what installs packages of Debian: a line for a shell, where this host has such packages.
pub(crate) fn install(packages: &[&str]) -> String {
    let known = MANAGERS.iter().find(|(program, _)| program::find(program).is_some());
    line(known.map(|(_, words)| *words), packages)
}

fn line(words: Option<&str>, packages: &[&str]) -> String {
    match words {
        Some(words) => format!("as root: {words} {}", packages.join(" ")),
        None => {
            let names: Vec<_> = packages.iter().map(|name| format!("`{name}`")).collect();
            format!("install what Debian has in {}", names.join(", "))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_one_to_type() {
        let packages = ["debootstrap", "distro-info"];
        assert_eq!(
            line(Some("apt-get install"), &packages),
            "as root: apt-get install debootstrap distro-info"
        );
        assert_eq!(
            line(None, &packages),
            "install what Debian has in `debootstrap`, `distro-info`"
        );
    }
}
