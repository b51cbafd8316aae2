//! The scripts that layers make of their variables are sound, whatever the variables say.

use std::io::Write as _;
use std::process::{Command, Stdio};

use layered_template::chain::{Chain, Dropped};
use layered_template::plan::Act;

use crate::page::Page;
use crate::plans;

/// Returns the texts that a chain makes, by their paths.
fn texts(chain: &Chain) -> Vec<(String, String)> {
    let files = chain.layers.iter().flat_map(|layer| &layer.files);
    let texts = files.filter_map(|file| match &file.content {
        Dropped::Inline(bytes) => {
            Some((file.path.to_string(), String::from_utf8(bytes.to_vec()).unwrap()))
        }
        _ => None,
    });
    texts.collect()
}

fn text(chain: &Chain, path: &str) -> String {
    let found = texts(chain).into_iter().find(|(other, _)| other == path);
    found.unwrap_or_else(|| panic!("nothing makes {path}")).1
}

/// Gives a text to a program, or says that it is not here.
fn judge(words: &[&str], text: &str) -> Option<String> {
    let mut child = Command::new(words[0])
        .args(&words[1..])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .ok()?;
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    Some(if output.status.success() {
        String::new()
    } else {
        format!("{}\n{text}", String::from_utf8_lossy(&said))
    })
}

#[test]
fn the_hook_parses_with_all_settings() {
    for once in [true, false] {
        for required in [true, false] {
            for pass in ["", "SITE", "SITE  PORT"] {
                let part = format!(
                    "[[layer]]\nuse = \"provision-on-start\"\nwith = {{ script = \"x\", once = \
                     {once}, required = {required}, pass = \"{pass}\", job = \"a-b\" }}\n"
                );
                let chain = plans::chain(&part);
                let hook = text(&chain, "/etc/provision-on-start/a-b.hook");
                assert!(hook.starts_with("#!/bin/sh\n"), "{hook}");
                assert!(!hook.contains("{{") && !hook.contains("{%"), "{hook}");
                assert_eq!(judge(&["sh", "-n"], &hook).as_deref(), Some(""));
                // Where it is not installed, `make lint` says so.
                if let Some(said) = judge(&["shellcheck", "-"], &hook) {
                    assert_eq!(said, "");
                }
                assert_eq!(hook.contains("SITE=\"${SITE-}\" \\\n"), pass.contains("SITE"));
                assert_eq!(hook.contains("PORT=\"${PORT-}\" \\\n"), pass.contains("PORT"));
            }
        }
    }
}

/// A shell gives every value back as it was.
#[test]
fn a_login_shell_reads_the_value_that_was_meant() {
    for value in ["plain", "two words", "it's", "a\"b", "$HOME `id` \\n", "100%", "''"] {
        let quoted = toml::Value::from(value).to_string();
        let part = format!(
            "[[layer]]\nuse = \"environment\"\nwith = {{ variable = \"V\", value = {quoted} }}\n"
        );
        let script = text(&plans::chain(&part), "/etc/profile.d/environment-V.sh");
        let script = format!("{script}printf %s \"$V\"");
        let output = Command::new("/bin/sh").args(["-euc", &script]).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stdout), value, "{script}");
    }
}

#[test]
fn systemd_reads_the_value_that_was_meant() {
    let part = r#"
[[layer]]
use = "environment"
with = { variable = "V", value = 'a "b" \ 5%' }
"#;
    let conf = text(&plans::chain(part), "/etc/systemd/system.conf.d/environment-V.conf");
    assert_eq!(conf, "[Manager]\nDefaultEnvironment=\"V=a \\\"b\\\" \\\\ 5%%\"\n");
}

#[test]
fn network_files_say_what_was_given() {
    let part = r#"
[[layer]]
use = "network-static"

[layer.with]
address = "192.0.2.10/24"
gateway = "192.0.2.1"
dns = "192.0.2.1 2001:db8::1"
search = "example.org"
address6 = "2001:db8::10/64"
gateway6 = "2001:db8::1"
interface = "lan0"
"#;
    let chain = plans::chain(part);
    let networkd = "\
[Match]
Name=lan0

[Network]
Address=192.0.2.10/24
Gateway=192.0.2.1
Address=2001:db8::10/64
Gateway=2001:db8::1
DNS=192.0.2.1
DNS=2001:db8::1
Domains=example.org
";
    assert_eq!(text(&chain, "/etc/systemd/network/05-lan0.network"), networkd);
    let resolver = text(&chain, "/etc/resolv.conf");
    let (_, resolver) = resolver.split_once('\n').unwrap();
    let expected = "nameserver 192.0.2.1\nnameserver 2001:db8::1\nsearch example.org\n";
    assert_eq!(resolver, expected);
}

#[test]
fn the_hosts_file_knows_the_container() {
    let alone = plans::chain("[[layer]]\nuse = \"hostname-and-hosts\"\n");
    let hosts = text(&alone, "/etc/hosts");
    assert!(hosts.contains("\n127.0.1.1 web1\n\n"), "{hosts}");
    assert!(hosts.ends_with("ip6-allrouters\n"), "{hosts}");
    let part = "[[layer]]\nuse = \"hostname-and-hosts\"\n[layer.with]\naddress = \"192.0.2.10\"\n\
                domain = \"example.org\"\nhosts = \"\"\"\n192.0.2.7 db\n192.0.2.8 mail\n\"\"\"\n";
    let hosts = text(&plans::chain(part), "/etc/hosts");
    assert!(hosts.contains("\n192.0.2.10 web1.example.org web1\n"), "{hosts}");
    assert!(hosts.ends_with("\n\n192.0.2.7 db\n192.0.2.8 mail\n"), "{hosts}");
}

#[test]
fn every_step_parses() {
    for (name, file) in crate::all() {
        let plan = plans::plan(&plans::chain(&Page { name, file: &file }.examples().concat()));
        for act in &plan.layer.after {
            if let Act::Step(step) = act {
                let text = step.argv.last().unwrap();
                assert_eq!(judge(&["sh", "-n"], text).as_deref(), Some(""), "{name}");
                // Words are split on purpose, and variables come from the environment.
                let shellcheck = ["shellcheck", "-s", "sh", "-e", "SC2086,SC2154", "-"];
                let said = judge(&shellcheck, text);
                assert_eq!(said.unwrap_or_default(), "", "{name}");
            }
        }
    }
}
