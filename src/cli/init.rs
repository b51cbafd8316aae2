//! `init`: writes a manifest to start from.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::sync::Arc;

use super::arguments::InitArguments;
use super::output;
use crate::execute::status;
use crate::manifest::{self, shebang};
use crate::shell;
use crate::source::Source;

/// Arguments for templates that want some, as the manifest has them.
const ARGUMENTS: &[(&str, &str)] = &[
    ("alpine", "args = { release = \"v3.22\" }"),
    ("busybox", "# args = { busybox-path = \"/bin/busybox\" }"),
    ("centos", "args = { release = \"7\" }"),
    ("debian", DEBIAN),
    ("download", "args = { dist = \"debian\", release = \"bookworm\", arch = \"amd64\" }"),
    ("fedora", "args = { release = \"42\" }"),
    (
        "local",
        "args = { metadata = \"/srv/image/meta.tar.xz\", fstree = \"/srv/image/rootfs.tar.xz\" }",
    ),
    ("oci", "args = { url = \"oci:/srv/image:latest\" }"),
    ("ubuntu", "args = { release = \"noble\" }"),
];

const DEBIAN: &str = r#"args = { release = "bookworm" }
# Without `debian-distro-info` on the host, the template writes sources that do not exist.
check = '! grep -q /updates "$LXC_ROOTFS/etc/apt/sources.list"'"#;

pub(super) fn main(arguments: &InitArguments) -> u8 {
    let text = manifest(arguments);
    let path = arguments.file.display().to_string();
    // What is written is a manifest that can be used, or nothing is.
    let source = Arc::new(Source::new(&arguments.file, "/", text.as_str()));
    let (_, report) = manifest::parse(&source);
    if report.has_errors() {
        output::error(
            &format!("{} cannot be the name of a template", shell::word(&arguments.template)),
            None,
        );
        return status::USAGE;
    }
    if arguments.file.as_os_str() == "-" {
        return output::printed_data(0, |to| to.write_all(text.as_bytes()));
    }
    match write(arguments, &text) {
        Ok(()) => {
            output::say(&format!(
                "wrote {path}; `layered-template plan {path}` shows what it makes"
            ));
            0
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            output::error(&format!("`{path}` is there already, and is left as it is"), None);
            status::USAGE
        }
        Err(error) => {
            output::error(&format!("`{path}`: {error}"), None);
            status::USAGE
        }
    }
}

/// Writes a file that was not there; where not all of it can be written, there is none again.
fn write(arguments: &InitArguments, text: &str) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(if arguments.executable { 0o777 } else { 0o666 })
        .open(&arguments.file)?;
    file.write_all(text.as_bytes()).inspect_err(|_| {
        let _ = std::fs::remove_file(&arguments.file);
    })
}

/// Returns a manifest for a small container.
pub(super) fn example() -> String {
    manifest(&InitArguments {
        file: "web.toml".into(),
        template: "builtin:busybox".to_owned(),
        executable: false,
    })
}

fn manifest(arguments: &InitArguments) -> String {
    let template = arguments.template.as_str();
    let absolute = std::path::absolute(&arguments.file).unwrap_or_else(|_| arguments.file.clone());
    // A comment is one line, whatever the file is called.
    let called = shell::one_line(&shell::word(absolute));
    let (first, call, set) = match arguments.executable {
        true => {
            let first = format!("{}\n", shebang::LINE);
            (first, format!("-t {called} -n NAME"), "--greeting ...")
        }
        false => {
            let call = "-t layered-template -n NAME -- --manifest THIS.toml".to_owned();
            (String::new(), call, "--set greeting=...")
        }
    };
    let quoted = toml::Value::String(template.to_owned()).to_string();
    let arguments = ARGUMENTS.iter().find(|(name, _)| *name == template).map(|(_, line)| *line);
    let arguments = arguments.map(|line| format!("{line}\n")).unwrap_or_default();
    format!(
        r#"{first}# A role: what its containers are made of. `layered-template plan THIS.toml` shows what it does,
# and this makes one:
#   lxc-create {call}
manifest = 1
description = "What this role is for"

# Values that files with `render = true` and steps can use. `{set}` changes one.
[vars]
greeting = "welcome"

# The first layer is the innermost: it calls an LXC template, which installs the system.
[[layer]]
name = "os"
template = {quoted}
{arguments}
# Each further layer wraps those before it.
[[layer]]
name = "app"
# A command of the host that proves the layer's work; `$LXC_ROOTFS` is the rootfs.
check = 'test -f "$LXC_ROOTFS/etc/motd"'

# Lines for the container's config.
[layer.config]
lxc.environment = "GREETING={{{{ greeting }}}}"

# Files for the rootfs. Instead of `content`, `source` names a file or a directory beside this one.
[[layer.file]]
path = "/etc/motd"
content = "{{{{ greeting }}}} to {{{{ lxc.name }}}}\n"
render = true
mode = "0644"
owner = "root:root"
"#
    )
}
