//! Whatever a layer does with the container's name, it is this container's.

use std::path::PathBuf;

use layered_template::cache::PLACEHOLDER;

use super::named::{self, NAMES, upstream};
use crate::caller::Caller;
use crate::lab::Lab;

const LAYER: &str = "layer app";
const TEMPLATE: &str = "template of layer os";

/// Steps inside the rootfs that have the name from `$LXC_NAME`.
const OF_THE_VARIABLE: &[(&str, &str)] = &[
    ("as it is", "echo $LXC_NAME >/etc/n"),
    ("in braces", "echo \"${LXC_NAME}\" >/etc/n"),
    ("the number", "echo \"node=${LXC_NAME##*-}\" >/etc/n"),
    ("the stem", "echo \"stem=${LXC_NAME%%-*}\" >/etc/n"),
    ("upper case", "echo \"$LXC_NAME\" | tr a-z A-Z >/etc/n"),
    ("lower case", "echo \"$LXC_NAME\" | tr A-Z a-z >/etc/n"),
    ("the length", "echo ${#LXC_NAME} >/etc/n"),
    ("three letters", "echo \"$LXC_NAME\" | cut -c1-3 >/etc/n"),
    ("backwards", "echo \"$LXC_NAME\" | rev >/etc/n"),
    ("a hash", "echo \"$LXC_NAME\" | sha256sum >/etc/n"),
    ("base64", "echo \"$LXC_NAME\" | base64 >/etc/n"),
    ("compressed", "echo \"$LXC_NAME\" | gzip >/etc/n.gz"),
    ("a file's name", "echo x >\"/etc/$LXC_NAME.conf\""),
    ("a directory's name", "mkdir -p \"/srv/$LXC_NAME/data\"; echo x >\"/srv/$LXC_NAME/data/f\""),
    ("the number as a file's name", "echo x >\"/etc/node-${LXC_NAME##*-}\""),
    ("upper case as a file's name", "echo x >\"/etc/$(echo \"$LXC_NAME\" | tr a-z A-Z)\""),
    ("a link's target", "ln -s \"/srv/$LXC_NAME/x\" /etc/link"),
    ("the number in a link's target", "ln -s \"/srv/${LXC_NAME##*-}\" /etc/link"),
    ("in a binary file", "printf '%s\\0' \"$LXC_NAME\" >/etc/n.bin"),
    ("the number in a binary file", "printf '\\0%s\\0' \"${LXC_NAME##*-}\" >/etc/n.bin"),
    ("as an owner", "echo x >/etc/n; chown \"${LXC_NAME##*-}\" /etc/n"),
    ("as a length", "truncate -s \"${LXC_NAME##*-}\" /etc/n"),
    ("as a condition", "case $LXC_NAME in web-*|db-*) echo in;; *) echo out;; esac >/etc/n"),
    ("by awk", "awk 'BEGIN { split(ENVIRON[\"LXC_NAME\"], a, \"-\"); print a[2] }' >/etc/n"),
    ("by env and grep", "env | grep '^LXC_NAME=' | cut -d= -f2 | tr a-z A-Z >/etc/n"),
    ("by eval", "v=LXC_NAME; eval \"echo \\${$v##*-}\" >/etc/n"),
    ("into what an inner layer has made", "sed -i \"s/^root:/root-${LXC_NAME##*-}:/\" /etc/group"),
];

/// The same from the kernel, and from files.
const OF_THE_HOST_NAME: &[(&str, &str)] = &[
    ("hostname", "hostname >/etc/n"),
    ("uname", "uname -n >/etc/n"),
    ("/proc", "cat /proc/sys/kernel/hostname >/etc/n"),
    ("a variable of the shell's", "echo \"${HOSTNAME:-}\" >/etc/n"),
    ("hostname in a link", "ln -s \"/srv/$(hostname)\" /etc/link"),
    ("/etc/hostname", "cat /etc/hostname >/etc/n"),
];

/// What is not put right by writing the name where the placeholder stands.
const OF_PIECES_OF_THE_HOST_NAME: &[(&str, &str)] = &[
    ("the stem of hostname", "hostname | cut -d- -f1 >/etc/n"),
    ("the second word of uname", "uname -n | cut -d- -f2 >/etc/n"),
    ("the stem of /etc/hostname", "cut -d- -f1 /etc/hostname >/etc/n"),
    ("the number of hostname", "hostname | sed 's/.*-//' >/etc/n"),
    ("/proc in upper case", "tr a-z A-Z </proc/sys/kernel/hostname >/etc/n"),
    ("the shell's variable", "h=${HOSTNAME:-none-0}; echo \"${h##*-}\" >/etc/n"),
    ("hostname as a file's name", "echo x >\"/etc/$(hostname).conf\""),
    ("the number of /etc/hostname", "sed 's/.*-//' /etc/hostname >/etc/n"),
    ("the number in all that env has", "env | sed -n 's/^LXC_N[A-Z]*=.*-//p' >/etc/n"),
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
fn a_step_that_reads_the_name_gives_each_container_its_own() {
    steps_are_the_same(OF_THE_VARIABLE, false);
}

#[test]
fn a_step_that_asks_the_kernel_for_the_name_gives_each_container_its_own() {
    steps_are_the_same(OF_THE_HOST_NAME, true);
}

#[test]
fn a_step_that_takes_the_host_name_to_pieces_gives_each_container_its_own() {
    steps_are_the_same(OF_PIECES_OF_THE_HOST_NAME, true);
}

#[test]
fn a_name_in_an_attribute_is_the_container_s_own() {
    let Some(lab) = Lab::open(Caller::Root, &["setfattr", "ldd"]) else { return };
    let rows = [
        ("the name", "setfattr -n user.n -v \"$LXC_NAME\" /etc/group"),
        ("the number", "setfattr -n user.n -v \"${LXC_NAME##*-}\" /etc/group"),
        ("of a directory", "setfattr -n user.n -v \"$(hostname)\" /srv"),
        ("as an attribute's name", "setfattr -n \"user.$(hostname)\" -v 1 /etc/group"),
    ];
    let rows = rows.map(|(about, text)| (about, step(text)));
    all_the_same(&lab, &rows, LAYER, true);
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

/// The kernel takes them from a file that is written to.
#[test]
fn set_id_bits_and_capabilities_of_a_file_with_the_name_stay() {
    let rows = |_: &Lab| {
        let capability = "0x0100000200040000000000000000000000000000";
        let capable = format!("setfattr -n security.capability -v {capability} /srv/n");
        besides(&[
            ("a set-user-id bit", "chmod 4755 /srv/n"),
            ("set-id bits of another", "chown 7:9 /srv/n; chmod 6755 /srv/n"),
            ("a capability", &capable),
        ])
    };
    all_the_same_for_each(&["setfattr", "ldd"], rows, true);
}

#[test]
fn a_script_that_reads_the_name_gives_each_container_its_own() {
    let rows = |lab: &Lab| {
        lab.write("work/number.sh", "#!/bin/sh\necho \"${LXC_NAME##*-}\" >/etc/n\n");
        lab.write("work/plain.sh", "# a comment\n\necho \"$LXC_NAME\" >/etc/n\n");
        let layer = |script: &str| {
            let post = format!("post = {{ in = \"rootfs\", script = \"{script}\" }}");
            format!("[[layer]]\nname = \"app\"\n{post}\n")
        };
        let second =
            format!("{}check = {{ in = \"rootfs\", run = \"true\" }}\n", layer("number.sh"));
        vec![
            ("the number", layer("number.sh")),
            ("as it is", layer("plain.sh")),
            ("with a check", second),
        ]
    };
    all_the_same_for_each(&[], rows, false);
}

#[test]
fn a_variable_that_holds_the_name_is_the_container_s_own() {
    let Some(lab) = Lab::open(Caller::Root, &[]) else { return };
    lab.directory("work/layers");
    let reusable = "[vars]\nhost = \"\"\n[layer]\n\
                    post = { in = \"rootfs\", run = \"echo ${host##*-} >/etc/n\" }\n";
    lab.write("work/layers/node.toml", reusable);
    let app = |keys: &str, run: &str| {
        let post = format!("post = {{ in = \"rootfs\", run = '''{run}''' }}");
        format!("[[layer]]\nname = \"app\"\n{keys}\n{post}\n")
    };
    let env = "env = { NODE = \"{{ lxc.name }}\" }";
    let rows = [
        ("as it is", app(env, "echo \"$NODE\" >/etc/n")),
        ("the number", app(env, "echo \"${NODE##*-}\" >/etc/n")),
        ("the length", app(env, "echo \"${#NODE}\" >/etc/n")),
        (
            "in another text",
            app("env = { NODE = \"x-{{ lxc.name }}-y\" }", "echo \"${NODE%-*}\" >/etc/n"),
        ),
        (
            "that a layer is given",
            "[[layer]]\nname = \"app\"\nuse = \"node\"\nwith = { host = \"{{ lxc.name }}\" }\n"
                .to_owned(),
        ),
    ];
    all_the_same(&lab, &rows, LAYER, false);
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
    lab.write(format!("work/hosts/{PLACEHOLDER}.conf"), "of nobody\n");
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

#[test]
fn a_name_that_a_template_writes_is_the_container_s_own() {
    let Some(lab) = Lab::open(Caller::Root, &["setfattr"]) else { return };
    let lab = &lab;
    let mut faults = Vec::new();
    let plain = "";
    for (about, keys, lines) in [
        ("as it is", plain, "echo \"$N\" >etc/n"),
        ("upper case", plain, "echo \"$N\" | tr a-z A-Z >etc/n"),
        ("the number", plain, "echo \"node-${N##*-}\" >etc/n"),
        ("a file's name", plain, "echo x >\"etc/$N.conf\""),
        ("a directory's name", plain, "mkdir \"srv/$N\""),
        ("upper case as a file's name", plain, "echo x >\"etc/$(echo \"$N\" | tr a-z A-Z)\""),
        ("the number as a file's name", plain, "echo x >\"etc/node-${N##*-}\""),
        ("a link's target", plain, "ln -s \"/srv/$N\" etc/link"),
        ("the number in a link's target", plain, "ln -s \"/srv/${N##*-}\" etc/link"),
        ("a binary file", plain, "printf '%s\\0' \"$N\" >etc/n.bin"),
        ("an attribute", plain, "setfattr -n user.n -v \"$N\" etc/group"),
        ("the number in an attribute", plain, "setfattr -n user.n -v \"${N##*-}\" etc/group"),
        ("a line of the config", plain, "echo \"lxc.environment = N=$N\" >>\"$P/config\""),
        (
            "the number in the config",
            plain,
            "echo \"lxc.environment = N=${N##*-}\" >>\"$P/config\"",
        ),
        (
            "upper case in the config",
            plain,
            "echo \"lxc.environment = N=$(echo \"$N\" | tr a-z A-Z)\" >>\"$P/config\"",
        ),
        ("an argument", "args = { host = \"{{ lxc.name }}\" }", "echo \"$H\" >etc/n"),
        (
            "the number of an argument",
            "args = { host = \"{{ lxc.name }}\" }",
            "echo \"${H##*-}\" >etc/n",
        ),
        (
            "part of an argument",
            "args = { host = \"{{ lxc.name }}.example.org\" }",
            "echo \"${H%%.*}\" >etc/n",
        ),
        ("a variable", "env = { NODE = \"{{ lxc.name }}\" }", "echo \"${NODE##*-}\" >etc/n"),
    ] {
        let template = upstream(lab, "template", lines);
        let text = format!("manifest = 1\n[[layer]]\nname = \"os\"\n{template}\n{keys}\n");
        let manifest = lab.write("work/upstream.toml", &text);
        let wrong = named::tried(lab, &manifest, TEMPLATE, true);
        faults.extend(wrong.into_iter().map(|fault| format!("{about}: {fault}")));
    }
    assert!(faults.is_empty(), "{:?}: {faults:#?}", lab.caller);
}
