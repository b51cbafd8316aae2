//! Which LXC is installed.

use std::process::{Command, Stdio};

/// Returns the installed LXC's major and minor version, as `lxc-create --version` says it.
pub fn installed() -> Option<(u32, u32)> {
    let mut command = Command::new("lxc-create");
    command.arg("--version").stdin(Stdio::null()).stderr(Stdio::null());
    let output = command.output().ok()?;
    parse(str::from_utf8(&output.stdout).ok()?)
}

fn parse(text: &str) -> Option<(u32, u32)> {
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
