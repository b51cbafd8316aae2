//! A plan shows every act that a run does: about the store, and of each layer.

use std::fs;
use std::path::PathBuf;

use layered_template::layers;
use serde_json::Value;

use super::told::{self, Role, Told};
use super::{as_each, examples};
use crate::caller::Caller;
use crate::lab::Lab;

/// A stand-in for a distribution: it has what the ready layers call, keys of its own, its name in files,
/// and something beside the rootfs.
const TEMPLATE: &str = r#"#!/bin/sh
set -eu
for a; do case $a in --rootfs=*) R=${a#*=};; --path=*) P=${a#*=};; --name=*) N=${a#*=};; esac; done
/usr/share/lxc/templates/lxc-busybox "$@" >&2
mkdir -p "$R/etc/ssh" "$R/usr/bin" "$R/usr/sbin" "$R/etc/apk" "$R/usr/share/zoneinfo/Europe"
echo "$N" >"$R/etc/hostname"
ln -s "/srv/$N" "$R/etc/home"
echo "made for $N" >"$P/beside"
echo zone >"$R/usr/share/zoneinfo/Europe/Berlin"
echo www-data:x:33:33::/var/www:/bin/false >>"$R/etc/passwd"
echo www-data:x:33: >>"$R/etc/group"
echo '# plain' >"$R/etc/ssh/sshd_config"
echo secret >"$R/etc/ssh/ssh_host_ed25519_key"
echo public >"$R/etc/ssh/ssh_host_ed25519_key.pub"
program() { cat >"$R/$1"; chmod 0755 "$R/$1"; }
for name in apt-get apk dnf rpm locale-gen; do
    printf '#!/bin/sh\necho "$0 $*" >>/var/log/packages\n' | program "usr/bin/$name"
done
mkdir -p "$R/var/log" "$R/var/lib/apt/lists" "$R/var/cache/apk" "$R/usr/share/i18n/locales/musl"
: >"$R/usr/share/i18n/locales/musl/de_DE.UTF-8"
program usr/bin/dpkg-query <<'END'
#!/bin/sh
printf 'install ok installed'
END
program usr/bin/ssh-keygen <<'END'
#!/bin/sh
while [ $# -gt 0 ]; do case $1 in -f) shift; file=$1 ;; esac; shift; done
echo key >"$file"; echo key >"$file.pub"
END
program usr/sbin/sshd <<'END'
#!/bin/sh
printf 'port 22\npasswordauthentication no\nkbdinteractiveauthentication no\n'
END
"#;

/// The container that a ready layer is used in.
fn around(lab: &Lab, layers: &str) -> PathBuf {
    lab.script("work/template", TEMPLATE);
    let text =
        format!("manifest = 1\n[[layer]]\nname = \"os\"\ntemplate = \"./template\"\n{layers}\n");
    lab.write("work/role.toml", &text)
}

/// The example that stands in the comment of a ready layer.
fn example_of(layer: &str) -> String {
    let lines = layer.lines().filter_map(|line| line.strip_prefix("#     "));
    lines.flat_map(|line| [line, "\n"]).collect()
}

/// Plans, runs, and tells where the acts of both differ; where `is_known`, all of them can be known before.
fn compared(
    lab: &Lab,
    role: &Role,
    name: &str,
    storage: &str,
    is_known: bool,
) -> (Vec<Value>, Vec<String>) {
    let storage = format!("--storage={storage}");
    let plan = role.plan(lab, name, &[&storage]);
    let outcome = role.run(lab, name, &[&storage]);
    let told = told::told(outcome.stderr.lines());
    let (planned, done) = (told::ladder(&plan), told::acts(&told));
    let mut wrong = told::unlike(&planned, &done);
    if is_known && wrong.is_empty() && planned != done {
        wrong.push(format!("all is stored, and still planned {planned:#?}\n  done    {done:#?}"));
    }
    if outcome.status.success() {
        let mut expected = told::expanded(&plan, if done.is_empty() { &planned } else { &done });
        if done.is_empty() {
            // That no act is told was told above.
            expected.retain(|told| matches!(told, Told::Begun { .. }));
        }
        if expected != told {
            wrong.push(format!("the layers would do {expected:#?}\n  done    {told:#?}"));
        }
        wrong.extend(told::unwritten(&done, &lab.container(name, "config")));
        // None has been started.
        fs::remove_dir_all(lab.container(name, "")).expect("root removes all");
    } else if !done.iter().any(|act| act["act"] == "refuse") && !planned_refusal(&planned) {
        wrong.push(format!("{outcome}"));
    }
    (done, wrong)
}

fn planned_refusal(planned: &[Value]) -> bool {
    planned.iter().any(|act| act["act"] == "refuse")
}

/// Begins a store anew.
fn empty(lab: &Lab) {
    let _ = fs::remove_dir_all(lab.path("store"));
    lab.directory("store");
}

/// Compares plans and runs with an empty store and a full one. Returns all differences, and the kinds of
/// acts that were done.
fn tried(lab: &Lab, about: &str, role: &Role, storages: &[&str]) -> (Vec<String>, Vec<String>) {
    let name = lab.name("acts");
    let (mut wrong, mut kinds) = (Vec::new(), Vec::new());
    for storage in storages {
        empty(lab);
        for is_full in [false, true] {
            let (done, differing) = compared(lab, role, &name, storage, is_full);
            let state = if is_full { "full" } else { "empty" };
            let told =
                |line| format!("{:?}, {about}, {storage}, {state} store: {line}", lab.caller);
            wrong.extend(differing.into_iter().map(told));
            kinds.extend(done.iter().filter_map(|act| act["act"].as_str().map(str::to_owned)));
        }
    }
    (wrong, kinds)
}

#[track_caller]
fn assert_none(wrong: &[String]) {
    assert!(wrong.is_empty(), "{} differences:\n{}", wrong.len(), wrong.join("\n"));
}

/// The examples, with what they need here.
fn all_examples(lab: &Lab) -> Vec<(&'static str, Role)> {
    examples::stand_in(lab);
    let data = format!("data={}", lab.directory("work/data").display());
    let role = |name: &&'static str| {
        let mut role = Role::new(examples::example(lab, name));
        if name.ends_with("database") {
            role.words = vec!["--set".to_owned(), data.clone()];
        }
        (*name, role)
    };
    examples::EXAMPLES.iter().map(role).collect()
}

#[test]
fn a_plan_of_an_example_shows_every_act_that_a_run_does() {
    let mut wrong = Vec::new();
    as_each(&[], |lab| {
        for (about, role) in all_examples(lab) {
            wrong.extend(tried(lab, about, &role, &["copy", "overlay"]).0);
        }
    });
    assert_none(&wrong);
}

#[test]
fn a_plan_of_a_ready_layer_shows_every_act_that_a_run_does() {
    let (mut wrong, mut kinds) = (Vec::new(), Vec::new());
    as_each(&[], |lab| {
        for (about, text) in layers::ALL {
            let role = ready(lab, text);
            let (differing, done) = tried(lab, about, &role, &["copy", "overlay"]);
            wrong.extend(differing);
            kinds.extend(done);
        }
    });
    assert_none(&wrong);
    kinds.sort();
    kinds.dedup();
    let all =
        ["build", "install", "make-keys", "put-sidecar", "take", "write-config", "write-name"];
    assert!(kinds.is_empty() || kinds == all, "{kinds:?}");
}

/// The role of a ready layer's example.
fn ready(lab: &Lab, text: &str) -> Role {
    if !lab.path("work/files").exists() {
        lab.directory("work/files");
        lab.script("work/files/provision.sh", "#!/bin/sh\ntrue\n");
        lab.write("work/files/app.service", "[Service]\nExecStart=/bin/true\n");
        lab.directory("work/files/www");
        lab.write("work/files/www/index.html", "hello\n");
    }
    let mut example = example_of(text);
    if text.contains("\nclean = ") {
        // The `find` of a busybox may not know `-delete`.
        example = example.replace("logrotate\"", "logrotate\", clean = false");
    }
    Role::new(around(lab, &example))
}

#[test]
fn a_plan_without_a_store_shows_every_act_that_a_run_does() {
    let mut wrong = Vec::new();
    as_each(&[], |lab| {
        for (about, role) in all_examples(lab) {
            wrong.extend(tried(lab, about, &role, &["none"]).0);
        }
        for (about, text) in layers::ALL {
            wrong.extend(tried(lab, about, &ready(lab, text), &["none"]).0);
        }
    });
    assert_none(&wrong);
}

/// The program calls itself again, and LXC has another copy of it.
fn called_by_lxc(act: &Value) -> Value {
    let text = act.to_string();
    let text = text.replace("/layered-template --clone-hook", "/lxc-layered-template --clone-hook");
    serde_json::from_str(&text).expect("it is JSON still")
}

/// As a person calls it, whose config LXC has begun.
#[test]
fn a_plan_shows_every_act_of_a_run_that_lxc_begins() {
    let mut wrong = Vec::new();
    as_each(&[], |lab| {
        for (about, role) in all_examples(lab) {
            for (storage, state) in
                [("copy", "an empty store"), ("copy", "a full store"), ("overlay", "a full store")]
            {
                let name = lab.name("acts");
                let storage = format!("--storage={storage}");
                let plan = role.plan(lab, &name, &[&storage]);
                let call = lab.create(&name, &role.manifest).args(&role.words).arg(&storage);
                let outcome = call.args(["--log-format", "json"]).outcome().success();
                let done = told::acts(&told::told(
                    outcome.stderr.lines().filter(|line| line.starts_with('{')),
                ));
                let what = format!("{:?}, {about}, {storage}, {state}", lab.caller);
                let planned = told::ladder(&plan).iter().map(called_by_lxc).collect::<Vec<_>>();
                let differing = told::unlike(&planned, &done);
                wrong.extend(differing.into_iter().map(|line| format!("{what}: {line}")));
                fs::remove_dir_all(lab.container(&name, "")).expect("root removes all");
            }
            empty(lab);
        }
    });
    assert_none(&wrong);
}

/// What keeps a part of a role out of the store, and what runs on the way.
const EDGES: &[(&str, &str)] = &[
    (
        "a middle layer is not stored",
        "[[layer]]\nname = \"in\"\npost = { in = \"rootfs\", run = \"true\" }\n\
      check = \"test -d \\\"$LXC_ROOTFS/etc\\\"\"\n\
      [[layer]]\nname = \"own\"\nstore = false\nfinally = \"true\"\n[layer.config]\nlxc.environment = \"A=b\"\n\
      [[layer]]\nname = \"out\"\npre = \"true\"\npost = { in = \"rootfs\", run = \"true\" }\ncheck = \"true\"\n",
    ),
    (
        "a step on the host",
        "[[layer]]\nname = \"in\"\nfinally = [\"true\", \"true\"]\n[[layer.file]]\npath = \"/a\"\ncontent = \"a\"\n\
      [[layer]]\nname = \"own\"\npost = [\"true\", { in = \"rootfs\", run = \"true\" }]\n",
    ),
    (
        "a step that reads the name",
        "[[layer]]\nname = \"own\"\npost = { in = \"rootfs\", run = \"echo $LXC_NAME >/n\" }\n",
    ),
    (
        "checks on the host everywhere",
        "[[layer]]\nname = \"in\"\ncheck = [\"true\", \"true\"]\n[[layer]]\nname = \"mid\"\ncheck = \"true\"\n\
      [[layer.file]]\npath = \"/a\"\ncontent = \"a\"\n[[layer]]\nname = \"out\"\ncheck = { in = \"rootfs\", run = \"true\" }\n\
      [[layer]]\nname = \"last\"\ncheck = \"true\"\n",
    ),
    (
        "a layer that leaves nothing",
        "[[layer]]\nname = \"in\"\npre = \"true\"\n[[layer]]\nname = \"out\"\nfinally = \"true\"\n",
    ),
];

#[test]
fn a_plan_shows_what_is_made_in_the_container() {
    let mut wrong = Vec::new();
    as_each(&[], |lab| {
        for (about, layers) in EDGES {
            let role = Role::new(around(lab, layers));
            wrong.extend(tried(lab, about, &role, &["copy", "overlay"]).0);
        }
    });
    assert_none(&wrong);
}

/// What a pre step hands inward is not known before the run.
#[test]
fn a_plan_shows_that_a_pre_step_decides() {
    let mut wrong = Vec::new();
    as_each(&[], |lab| {
        let name = lab.name("acts");
        let layers = "[[layer]]\nname = \"libs\"\npost = { in = \"rootfs\", run = \"true\" }\n\
                      [[layer]]\nname = \"app\"\npre = 'echo build=1 >>\"$LAYER_ENV\"'\n\
                      post = { in = \"rootfs\", run = \"true\" }\n\
                      [[layer]]\nname = \"out\"\n[[layer.file]]\npath = \"/a\"\ncontent = \"a\"\n";
        let manifest = around(lab, layers);
        let text = lab.read(&manifest);
        let head = "manifest = 1\n[vars]\nbuild = { from = \"app\" }\n";
        let role = Role::new(lab.write(&manifest, &text.replacen("manifest = 1\n", head, 1)));
        for storage in ["copy", "overlay", "copy"] {
            let (done, differing) = compared(lab, &role, &name, storage, false);
            wrong.extend(differing.into_iter().map(|line| format!("{:?}: {line}", lab.caller)));
            assert!(done.len() > 2, "{done:?}");
        }
    });
    assert_none(&wrong);
}

/// What a run finds out, the plan of the next one knows.
#[test]
fn a_plan_knows_what_a_run_has_found() {
    let mut wrong = Vec::new();
    as_each(&[], |lab| {
        let layer = |run: &str| {
            format!("[[layer]]\nname = \"app\"\npost = {{ in = \"rootfs\", run = \"{run}\" }}\n")
        };
        let plain = layer("true");
        let capitals = layer("hostname | tr a-z A-Z >/etc/n");
        for (about, layers, more) in [
            ("a name in capital letters", &capitals, ""),
            ("the template's in capital letters", &plain, "echo \"$N\" | tr a-z A-Z >\"$R/etc/n\""),
            ("a template that changes the config", &plain, "sed -i s/empty/none/ \"$P/config\""),
        ] {
            let role = Role::new(around(lab, layers));
            lab.script("work/template", &format!("{TEMPLATE}{more}\n"));
            let name = lab.name("acts");
            for storage in ["copy", "overlay"] {
                empty(lab);
                role.run(lab, &name, &["--storage=copy"]).success();
                fs::remove_dir_all(lab.container(&name, "")).expect("root removes all");
                let (_, differing) = compared(lab, &role, &name, storage, true);
                let told = |line| format!("{:?}, {about}, {storage}: {line}", lab.caller);
                wrong.extend(differing.into_iter().map(told));
            }
        }
    });
    assert_none(&wrong);
}

/// Other names, other storages and `--rebuild` find what they find in one store.
#[test]
fn a_plan_of_a_store_that_others_have_filled_shows_every_act() {
    let mut wrong = Vec::new();
    as_each(&[], |lab| {
        let layers = "[[layer]]\nname = \"in\"\npost = { in = \"rootfs\", run = \"hostname >/n\" }\n\
                      [[layer]]\nname = \"out\"\n[[layer.file]]\npath = \"/a\"\ncontent = \"a\"\n";
        let role = Role::new(around(lab, layers));
        let text = lab.read(&role.manifest).replace("content = \"a\"", "content = \"b\"");
        let other = Role::new(lab.write("work/other.toml", &text));
        let rebuilt = Role { words: vec!["--rebuild".to_owned()], ..role.clone() };
        for (about, role, name, storage, is_known) in [
            ("the first", &role, "web-12", "copy", false),
            ("another name", &role, "db-007", "overlay", true),
            ("another role", &other, "web-12", "overlay", false),
            ("both", &other, "db-007", "copy", true),
            ("a rebuilt one", &rebuilt, "web-12", "overlay", false),
            ("after that", &role, "db-007", "copy", true),
        ] {
            let (_, differing) = compared(lab, role, name, storage, is_known);
            let told = |line| format!("{:?}, {about}: {line}", lab.caller);
            wrong.extend(differing.into_iter().map(told));
        }
    });
    assert_none(&wrong);
}

/// Where the store cannot be used at all, that is an act too.
#[test]
fn a_plan_shows_that_there_is_no_store() {
    let Some(lab) = Lab::open(Caller::Root, &[]) else { return };
    let lab = &lab;
    let mut wrong = Vec::new();
    let long = "n".repeat(65);
    let plain =
        around(lab, "[[layer]]\nname = \"out\"\npost = { in = \"rootfs\", run = \"true\" }\n");
    let own = lab.write(
        "work/own.toml",
        &lab.read(&plain).replacen("name = \"os\"\n", "name = \"os\"\nstore = false\n", 1),
    );
    for (about, manifest, name) in
        [("a long name", &plain, long.as_str()), ("no layer is stored", &own, "web-1")]
    {
        for storage in ["copy", "overlay", "none"] {
            let (_, differing) = compared(lab, &Role::new(manifest.clone()), name, storage, true);
            wrong.extend(differing.into_iter().map(|line| format!("{about}, {storage}: {line}")));
        }
    }
    assert_none(&wrong);
}
