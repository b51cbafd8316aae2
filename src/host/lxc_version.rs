//! Which LXC is installed.

use std::process::{Command, Stdio};

use super::child;

/// Returns the installed LXC's major and minor version.
pub(crate) fn installed() -> Option<(u32, u32)> {
    parse(&said()?)
}

/// Returns what `lxc-create --version` says.
pub(crate) fn said() -> Option<String> {
    let mut command = Command::new("lxc-create");
    command.arg("--version").stdin(Stdio::null()).stderr(Stdio::null());
    let (said, _) = child::output_of(command).ok()?;
    Some(String::from_utf8_lossy(&said).trim().to_owned())
}

/// Parses what LXC says of its version: the major and the minor one.
pub(crate) fn parse(text: &str) -> Option<(u32, u32)> {
    let mut numbers = text.trim().split(['.', '-', '~']).map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_have_two_numbers() {
        assert_eq!(parse("5.0.2\n"), Some((5, 0)));
        assert_eq!(parse("6.0-devel"), Some((6, 0)));
        assert_eq!(parse("devel"), None);
    }
}
