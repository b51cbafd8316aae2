//! Whatever a layer does with the container's name, it is this container's.

use std::path::PathBuf;

use super::named::{self, NAMES, upstream};
use crate::caller::Caller;
use crate::lab::Lab;

const LAYER: &str = "layer app";
/// The same from the kernel, and from files.
const OF_THE_HOST_NAME: &[(&str, &str)] = &[
    ("hostname", "hostname >/etc/n"),
    ("uname", "uname -n >/etc/n"),
    ("/proc", "cat /proc/sys/kernel/hostname >/etc/n"),
    ("a variable of the shell's", "echo \"${HOSTNAME:-}\" >/etc/n"),
    ("hostname in a link", "ln -s \"/srv/$(hostname)\" /etc/link"),
    ("/etc/hostname", "cat /etc/hostname >/etc/n"),
];

fn role(lab: &Lab, layers: &str) -> PathBuf {
    let upstream = upstream(lab, "upstream", "echo \"$N\" >etc/hostname");
    let text = format!("manifest = 1\n[[layer]]\nname = \"os\"\n{upstream}\n{layers}");
    lab.write("work/role.toml", &text)
}

/// A layer with a step inside the rootfs.
fn step(text: &str) -> String {
    assert!(!text.contains("'''"));
    format!("[[layer]]\nname = \"app\"\npost = {{ in = \"rootfs\", run = '''{text}''' }}\n")
}

/// Tries each row, and tells of all that is not as without a store.
fn faults(lab: &Lab, rows: &[(&str, String)], what: &str, found: bool) -> Vec<String> {
    let mut faults = Vec::new();
    for (about, layers) in rows {
        let manifest = role(lab, layers);
        let wrong = named::tried(lab, &manifest, what, found);
        let told = wrong.into_iter().map(|fault| format!("{:?}: {about}: {fault}", lab.caller));
        faults.extend(told);
    }
    faults
}

#[track_caller]
fn all_the_same(lab: &Lab, rows: &[(&str, String)], what: &str, found: bool) {
    let faults = faults(lab, rows, what, found);
    assert!(faults.is_empty(), "{} faults: {faults:#?}", faults.len());
}

#[track_caller]
fn all_the_same_for_each(
    commands: &[&str],
    rows: impl Fn(&Lab) -> Vec<(&'static str, String)>,
    found: bool,
) {
    let mut wrong = Vec::new();
    super::as_each(commands, |lab| wrong.extend(faults(lab, &rows(lab), LAYER, found)));
    assert!(wrong.is_empty(), "{} faults: {wrong:#?}", wrong.len());
}

#[track_caller]
fn steps_are_the_same(rows: &[(&str, &str)], found: bool) {
    let Some(lab) = Lab::open(Caller::Root, &[]) else { return };
    let rows: Vec<_> = rows.iter().map(|(about, text)| (*about, step(text))).collect();
    all_the_same(&lab, &rows, LAYER, found);
}

#[test]
fn a_step_that_asks_the_kernel_for_the_name_gives_each_container_its_own() {
    steps_are_the_same(OF_THE_HOST_NAME, true);
}

/// Steps that give a file which holds the name something else besides.
fn besides(rows: &[(&'static str, &str)]) -> Vec<(&'static str, String)> {
    let row =
        |(about, text): &(&'static str, &str)| (*about, step(&format!("hostname >/srv/n; {text}")));
    rows.iter().map(row).collect()
}

#[test]
fn what_a_file_with_the_name_has_besides_stays() {
    let rows = |_: &Lab| {
        besides(&[
            ("two names", "ln /srv/n /etc/n"),
            ("nobody may write it", "chmod 0400 /srv/n; chown 7:9 /srv/n"),
            ("an attribute", "setfattr -n user.n -v x /srv/n"),
            ("an old time", "touch -d '2001-02-03 04:05:06' /srv/n /srv"),
        ])
    };
    all_the_same_for_each(&["setfattr", "ldd"], rows, true);
}

#[test]
fn a_name_in_what_a_layer_drops_is_the_container_s_own() {
    let Some(lab) = Lab::open(Caller::Root, &[]) else { return };
    let lab = &lab;
    lab.directory("work/hosts");
    for name in NAMES {
        lab.write(format!("work/hosts/{name}.conf"), &format!("of {name}\n"));
    }
    // The source of a layer that is made for the store.
    lab.write(format!("work/hosts/{}.conf", layered_template::plan::PLACEHOLDER), "of nobody\n");
    lab.write("work/hosts/rendered", "{{ lxc.name }} is {{ lxc.name|upper }}\n");
    let rendered =
        |content: &str| format!("path = \"/etc/n\"\nrender = true\ncontent = '''{content}'''");
    let rows = [
        ("as it is", rendered("I am {{ lxc.name }}, {{ lxc.name }}!")),
        ("upper case", rendered("{{ lxc.name|upper }}")),
        ("a piece", rendered("{{ lxc.name|split('-')|last }}")),
        ("three letters", rendered("{{ lxc.name[:3] }}")),
        ("the length", rendered("{{ lxc.name|length }}")),
        ("a condition", rendered("{% if lxc.name == 'web-12' %}yes{% else %}no{% endif %}")),
        ("part of a condition", rendered("{% if lxc.name is startingwith 'web' %}yes{% endif %}")),
        ("beside a NUL", rendered("{{ lxc.name }}\0")),
        (
            "a rendered source",
            "path = \"/etc/n\"\nrender = true\nsource = \"hosts/rendered\"".to_owned(),
        ),
        ("a path", "path = \"/etc/{{ lxc.name }}.conf\"\ncontent = \"x\"".to_owned()),
        ("a directory", "path = \"/srv/{{ lxc.name }}\"\ndirectory = true".to_owned()),
        ("what is removed", "path = \"/etc/{{ lxc.name }}\"\nremove = true".to_owned()),
        ("a link's target", "path = \"/etc/n\"\nsymlink = \"/srv/{{ lxc.name }}\"".to_owned()),
        ("a source", "path = \"/etc/n\"\nsource = \"hosts/{{ lxc.name }}.conf\"".to_owned()),
    ]
    .map(|(about, file)| {
        (
            about,
            format!(
                "[[layer]]\nname = \"app\"\n[[layer.file]]\n{}\n",
                file.replace('\0', "\\u0000")
            ),
        )
    })
    .map(|(about, text)| match about {
        "beside a NUL" => (about, text.replace("'''", "\"")),
        _ => (about, text),
    });
    all_the_same(lab, &rows, LAYER, false);
}

#[test]
fn an_owner_of_the_container_s_name_owns_its_files() {
    let Some(lab) = Lab::open(Caller::Root, &[]) else { return };
    let accounts = NAMES.map(|name| format!("{name}:x:{}:9::/:/bin/sh\\n", name.len() * 100));
    let layers = format!(
        "[[layer]]\nname = \"accounts\"\npost = {{ in = \"rootfs\", run = \
         \"printf '{}' >>/etc/passwd\" }}\n[[layer]]\nname = \"app\"\n[[layer.file]]\n\
         path = \"/etc/n\"\ncontent = \"x\"\nowner = \"{{{{ lxc.name }}}}\"\n",
        accounts.concat().replace("\\n", "\\\\n")
    );
    let manifest = role(&lab, &layers);
    let faults = named::tried(&lab, &manifest, LAYER, false);
    assert!(faults.is_empty(), "{faults:#?}");
}

#[test]
fn a_name_in_a_line_of_the_config_is_the_container_s_own() {
    let rows = |_: &Lab| {
        let line = |line: &str| format!("[[layer]]\nname = \"app\"\n[layer.config]\n{line}\n");
        vec![
            ("as it is", line("lxc.environment = \"N={{ lxc.name }}\"")),
            ("twice", line("lxc.environment = [\"A={{ lxc.name }}.b-{{ lxc.name }}\", \"B=x\"]")),
            (
                "a mount",
                line(
                    "lxc.mount.entry = \"/dev/null srv/{{ lxc.name }} none bind,optional,create=file 0 0\"",
                ),
            ),
            ("the host name", line("lxc.uts.name = \"{{ lxc.name }}.example.org\"")),
        ]
    };
    all_the_same_for_each(&[], rows, false);
}
