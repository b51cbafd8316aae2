//! The layer store, over templates of ten lines of shell.

use std::fs;

use crate::requirement::root;
use crate::sandbox::{NAME, Sandbox};

/// A layer whose step runs inside the rootfs needs a shell there; a drop needs nothing.
const APP: &str = "\n[[layer]]\nname = \"app\"\n[[layer.file]]\npath = \"/app\"\ncontent = \"1\"\n";

/// Removes the container, so that it can be made again.
fn again(sandbox: &Sandbox) {
    fs::remove_dir_all(sandbox.container()).unwrap();
}

fn calls(sandbox: &Sandbox) -> usize {
    fs::read_to_string(sandbox.role().join("calls")).unwrap_or_default().lines().count()
}

#[test]
fn an_upstream_is_called_once() {
    let sandbox = Sandbox::new()
        .upstream("echo >>calls; mkdir \"$rootfs/etc\"; echo \"$name\" >\"$rootfs/etc/hostname\"")
        .layers(APP);
    for _ in 0..3 {
        sandbox.chain().exits(0);
        assert_eq!(sandbox.read("/etc/hostname"), format!("{NAME}\n"));
        assert_eq!(sandbox.read("/app"), "1");
        again(&sandbox);
    }
    assert_eq!(calls(&sandbox), 1);
    sandbox.template(["m.toml", "--rebuild"]).exits(0);
    again(&sandbox);
    sandbox.straight().exits(0);
    assert_eq!(calls(&sandbox), 3);
    assert_eq!(sandbox.record()["stored"], serde_json::Value::Null);
}

#[test]
fn a_host_that_has_no_overlay_goes_on_without_the_store() {
    if !root() {
        return;
    }
    let sandbox = Sandbox::new().upstream("mkdir \"$rootfs/etc\"; echo >>calls").layers(APP);
    sandbox.shell();
    // An overlay takes no overlay for its upper directory.
    let script = "mkdir ../low ../up ../work ../store && mount -t overlay overlay \
                  -o lowerdir=../low,upperdir=../up,workdir=../work ../store && exec \"$0\" \"$@\"";
    for (storage, status, said) in [
        (
            "copy",
            0,
            "warning: the layer store is used no further: nothing can be built for it in `[DIR]/store",
        ),
        ("overlay", 8, "error: layer `app` cannot have an overlay: nothing can be built"),
    ] {
        let mut command = sandbox.command("unshare");
        command.args(["--mount", "--", "/bin/sh", "-c", script]).arg(sandbox.program_path());
        command.args(sandbox.three()).args(["m.toml", &format!("--storage={storage}")]);
        let ran = sandbox.ran(command);
        ran.exits(status).mentions(said);
        if status == 0 {
            // What could be made is, and is the container's.
            ran.mentions("os: copying the stored tree\n");
            assert_eq!(sandbox.read("/app"), "1");
        }
        for directory in ["low", "up", "work", "store"] {
            fs::remove_dir_all(sandbox.path(directory)).unwrap();
        }
        again(&sandbox);
        sandbox.shell();
    }
    assert_eq!(calls(&sandbox), 2);
}

#[test]
fn an_address_that_a_template_makes_up_is_each_container_s_own() {
    let sandbox = Sandbox::new()
        .upstream(
            "mkdir \"$rootfs/etc\"; printf 'lxc.net.1.type = empty\\n\
             lxc.net.1.hwaddr = 00:16:3e:01:02:03\\n' >>\"$path/config\"",
        )
        .layers("[layer.config]\nlxc.net.2.type = \"empty\"\nlxc.net.2.hwaddr = \"02:00:00:00:00:01\"\n");
    let mut addresses = Vec::new();
    for _ in 0..2 {
        sandbox.chain().exits(0);
        let config = sandbox.config();
        // What the manifest says stays.
        assert!(config.contains("lxc.net.2.hwaddr = 02:00:00:00:00:01\n"), "{config}");
        let address = config.lines().find_map(|line| line.strip_prefix("lxc.net.1.hwaddr = "));
        addresses.push(address.unwrap().to_owned());
        again(&sandbox);
    }
    assert!(addresses.iter().all(|address| address.starts_with("00:16:3e:")), "{addresses:?}");
    assert!(!addresses.iter().any(|address| address.ends_with("xx")), "{addresses:?}");
    assert_ne!(addresses[0], addresses[1]);
}

/// LXC strips quotes and blanks around a value, which may be part of the name.
#[test]
fn a_name_in_quotes_stays_so_in_the_config() {
    let config = "[layer.config]\nlxc.uts.name = \"{{ lxc.name }}\"\n";
    let sandbox = Sandbox::new().upstream("mkdir \"$rootfs/etc\"").layers(config);
    let names = sandbox.path("names");
    fs::create_dir(&names).unwrap();
    for (name, line) in [
        ("\"q\"", "lxc.uts.name = '\"q\"'"),
        ("'q'", "lxc.uts.name = \"'q'\""),
        (" sp ", "lxc.uts.name = \" sp \""),
        ("q\"", "lxc.uts.name = q\""),
        ("web1", "lxc.uts.name = web1"),
    ] {
        for storage in ["none", "copy"] {
            let mut command = sandbox.command(sandbox.program_path());
            command.args(["create", "m.toml", "--name", name, "--storage", storage, "--lxcpath"]);
            command.arg(&names);
            sandbox.ran(command).exits(0);
            let container = names.join(name);
            let text = fs::read_to_string(container.join("config")).unwrap();
            assert!(text.lines().any(|found| found == line), "{name} {storage}: {text}");
            fs::remove_dir_all(container).unwrap();
        }
    }
}

#[test]
fn a_name_that_cannot_be_written_keeps_a_layer_out_of_the_store() {
    let sandbox = Sandbox::new()
        .upstream(
            "mkdir \"$rootfs/etc\"; printf \"$name\\000\" >\"$rootfs/etc/binary\"; \
             : >\"$rootfs/etc/$name.conf\"; echo \"$name $rootfs\" >\"$rootfs/etc/text\"",
        )
        .layers("");
    let text = format!("{NAME} {}\n", sandbox.rootfs().display());
    sandbox.chain().exits(0).mentions(
        "template of layer `os` is not stored, and made in the container itself: it leaves the \
         container's name in /etc/lt0placeholder-q4nm8vt2w6xk-z7f3a9c5d1h8.conf, /etc/binary, in a \
         form that cannot be replaced",
    );
    assert_eq!(sandbox.read("/etc/text"), text);
    assert_eq!(sandbox.read("/etc/binary"), format!("{NAME}\0"));
    assert!(sandbox.rootfs().join(format!("etc/{NAME}.conf")).exists());
    // What has been found out once is known to the plan, and to the next run.
    let plan = sandbox.run(["plan", "m.toml", "--verbose"]);
    assert!(plan.stdout().contains("template fake  [always runs]"), "{}", plan.stdout());
    assert!(plan.stdout().contains("in a form that cannot be replaced"), "{}", plan.stdout());
    again(&sandbox);
    let ran = sandbox.chain();
    ran.exits(0);
    assert!(!ran.stderr().contains("warning"), "{}", ran.stderr());
    assert_eq!(sandbox.read("/etc/text"), text);
}

#[test]
fn what_makes_a_container_itself_is_not_stored_unless_a_layer_drops_it() {
    let sandbox = Sandbox::new()
        .upstream(
            "mkdir -p \"$rootfs/etc/ssh\" \"$rootfs/var/lib/dbus\" \"$rootfs/var/lib/systemd\"; \
             echo id >\"$rootfs/etc/machine-id\"; echo id >\"$rootfs/var/lib/dbus/machine-id\"; \
             echo seed >\"$rootfs/var/lib/systemd/random-seed\"; \
             echo key >\"$rootfs/etc/ssh/ssh_host_rsa_key\"; \
             echo key >\"$rootfs/etc/ssh/ssh_host_rsa_key.pub\"; echo >\"$rootfs/etc/own\"; \
             mkdir -p \"$rootfs/etc/ssl/private\" \"$rootfs/etc/ssl/certs\"; \
             echo key >\"$rootfs/etc/ssl/private/ssl-cert-snakeoil.key\"; \
             echo cert >\"$rootfs/etc/ssl/certs/ssl-cert-snakeoil.pem\"; \
             ln -s ssl-cert-snakeoil.pem \"$rootfs/etc/ssl/certs/0a1b2c3d.0\"",
        )
        .layers("identity = \"/etc/own\"\n");
    sandbox.chain().exits(0);
    assert_eq!(sandbox.read("/etc/machine-id"), "");
    for path in [
        "var/lib/dbus/machine-id",
        "var/lib/systemd/random-seed",
        "etc/ssh/ssh_host_rsa_key",
        "etc/ssh/ssh_host_rsa_key.pub",
        "etc/own",
        "etc/ssl/private/ssl-cert-snakeoil.key",
        "etc/ssl/certs/ssl-cert-snakeoil.pem",
    ] {
        assert!(!sandbox.rootfs().join(path).exists(), "{path}");
    }
    // The link by which a certificate is found goes with it.
    assert_eq!(fs::read_dir(sandbox.rootfs().join("etc/ssl/certs")).unwrap().count(), 0);
    let dropped = Sandbox::new()
        .upstream("mkdir \"$rootfs/etc\"")
        .layers("[[layer.file]]\npath = \"/etc/machine-id\"\ncontent = \"mine\\n\"\n");
    dropped.chain().exits(0);
    assert_eq!(dropped.read("/etc/machine-id"), "mine\n");
}

#[test]
fn what_a_layer_removes_of_an_identity_is_nobody_s() {
    if !root() {
        return;
    }
    let sandbox = Sandbox::new().manifest(
        r##"
manifest = 1
[[layer]]
name = "os"
template = "builtin:busybox"
[[layer.file]]
path = "/usr/bin/ssh-keygen"
mode = "0755"
content = "#!/bin/sh\nfor word; do file=$word; done\necho made >\"$file\"\n"

[[layer]]
name = "server"
post = { in = "rootfs", run = "mkdir /etc/ssh; cd /etc/ssh; echo | tee ssh_host_rsa_key ssh_host_ecdsa_key >/etc/machine-id" }

[[layer]]
name = "less"
[[layer.file]]
path = "/etc/machine-id"
remove = true
[[layer.file]]
path = "/etc/ssh/ssh_host_rsa_key"
remove = true

[[layer]]
name = "more"
post = { in = "rootfs", run = "echo id >/etc/machine-id; echo key >/etc/ssh/ssh_host_ed25519_key" }
"##,
    );
    for _ in 0..2 {
        sandbox.chain().exits(0);
        assert_eq!(sandbox.read("/etc/machine-id"), "");
        for kind in ["ecdsa", "ed25519"] {
            assert_eq!(sandbox.read(&format!("/etc/ssh/ssh_host_{kind}_key")), "made\n");
        }
        assert!(!sandbox.rootfs().join("etc/ssh/ssh_host_rsa_key").exists());
        again(&sandbox);
    }
}

#[test]
fn what_comes_in_the_place_of_a_dropped_key_is_no_dropped_one() {
    if !root() {
        return;
    }
    let table = [
        // Removed with what is above it, by a step, and where the directory is another.
        "[[layer.file]]\npath = \"/etc/ssh\"\nremove = true\n",
        "store = true\npost = 'rm $LXC_ROOTFS/etc/ssh/ssh_host_rsa_key'\n",
        "store = true\npost = 'rm -r $LXC_ROOTFS/etc/ssh && mkdir $LXC_ROOTFS/etc/ssh'\n",
    ];
    for removes in table {
        let sandbox = Sandbox::new().upstream("mkdir \"$rootfs/etc\"").layers(&format!(
            "[[layer.file]]\npath = \"/etc/ssh/ssh_host_rsa_key\"\ncontent = \"mine\"\n\
             [[layer]]\nname = \"less\"\n{removes}\
             [[layer]]\nname = \"more\"\nstore = true\n\
             post = 'mkdir -p $LXC_ROOTFS/etc/ssh && echo >$LXC_ROOTFS/etc/ssh/ssh_host_rsa_key'\n"
        ));
        sandbox.chain().exits(0);
        // Nobody can make another here.
        assert!(!sandbox.rootfs().join("etc/ssh/ssh_host_rsa_key").exists(), "{removes}");
    }
}

#[test]
fn a_machine_id_that_a_layer_drops_behind_a_link_stays() {
    let sandbox = Sandbox::new()
        .upstream("mkdir \"$rootfs/etc\"; ln -s ../persist/id \"$rootfs/etc/machine-id\"")
        .layers(&format!("[[layer.file]]\npath = \"/persist/id\"\ncontent = \"mine\"\n{APP}"));
    for _ in 0..2 {
        sandbox.chain().exits(0);
        assert_eq!(sandbox.read("/persist/id"), "mine");
        again(&sandbox);
    }
}

#[test]
fn a_machine_id_is_emptied_wherever_it_is_unless_it_is_none_yet() {
    let table = [
        ("ln -s ../var/lib/id etc/machine-id; mkdir -p var/lib; echo id >var/lib/id", ""),
        (
            "ln -s /var/run/id etc/machine-id; mkdir -p var run; ln -s ../run var/run; echo id >run/id",
            "",
        ),
        // The first start is to be one of a new machine.
        ("echo uninitialized >etc/machine-id", "uninitialized\n"),
    ];
    for (make, expected) in table {
        let sandbox = Sandbox::new()
            .upstream(&format!("mkdir \"$rootfs/etc\"; cd \"$rootfs\"; {make}"))
            .layers(&format!("\n{APP}"));
        for _ in 0..2 {
            sandbox.chain().exits(0);
            let link = fs::read_link(sandbox.rootfs().join("etc/machine-id"));
            assert_eq!(link.is_ok(), expected.is_empty(), "{make}");
            let file = ["/var/lib/id", "/run/id", "/etc/machine-id"]
                .into_iter()
                .find(|path| {
                    let path = sandbox.rootfs().join(&path[1..]);
                    path.symlink_metadata().is_ok_and(|found| found.is_file())
                })
                .unwrap();
            assert_eq!(sandbox.read(file), expected, "{make}");
            again(&sandbox);
        }
    }
    // Whatever a link leads to, nothing else is touched.
    let table = [
        "ln -s machine-id etc/machine-id",
        "ln -s ../../../../../victim etc/machine-id",
        "ln -s /etc etc/machine-id",
        "ln -s /none/id etc/machine-id",
        "ln -s $(printf %0300d 0) etc/machine-id",
        "ln -s $(printf %0300d 0)/id etc/machine-id",
        "mkfifo etc/pipe; ln -s pipe etc/machine-id",
    ];
    for make in table {
        let sandbox = Sandbox::new()
            .file("../victim", "whole")
            .upstream(&format!("mkdir \"$rootfs/etc\"; cd \"$rootfs\"; {make}"))
            .layers(&format!("\n{APP}"));
        sandbox.chain().exits(0);
        assert_eq!(fs::read_to_string(sandbox.path("victim")).unwrap(), "whole", "{make}");
    }
}

#[test]
fn files_that_an_argument_names_define_what_is_stored() {
    let words = [
        "data",
        "--from=data",
        "-fdata",
        "-f=data",
        "oci-archive:data:latest",
        "--url=docker-archive:./data",
        "--disk=file=./data,format=raw",
        "--url=file://$PWD/data",
    ];
    for word in words {
        let sandbox = Sandbox::new().file("data", "1").file("other", "1");
        let word = word.replace("$PWD", &sandbox.role().display().to_string());
        let sandbox = sandbox
            .upstream("echo >>calls; cat data other >\"$rootfs/data\"")
            .layers(&format!("args = [\"{word}\", \"./other,./data\"]\n"));
        for (text, other, count) in
            [("1", "1", 1), ("1", "1", 1), ("2", "1", 2), ("1", "1", 2), ("1", "2", 3)]
        {
            fs::write(sandbox.role().join("data"), text).unwrap();
            fs::write(sandbox.role().join("other"), other).unwrap();
            sandbox.chain().exits(0);
            assert_eq!(sandbox.read("/data"), format!("{text}{other}"), "{word}");
            assert_eq!(calls(&sandbox), count, "{word}: {text}");
            again(&sandbox);
        }
    }
}

#[test]
fn the_name_in_another_form_keeps_a_layer_out_of_the_store() {
    let layer = |content: &str| {
        format!(
            "\n[[layer]]\nname = \"app\"\n[[layer.file]]\npath = \"/app\"\nrender = true\n\
             content = \"{content}\"\n"
        )
    };
    for (content, standing) in
        [("{{ lxc.name }}", "[to build]"), ("{{ lxc.name | upper }}", "[always runs]")]
    {
        let sandbox = Sandbox::new().upstream("mkdir \"$rootfs/etc\"").layers(&layer(content));
        let plan = sandbox.run(["plan", "m.toml", "--name", NAME]);
        assert!(plan.stdout().contains(&format!("layer    app  {standing}")), "{}", plan.stdout());
        sandbox.chain().exits(0);
        let name = if content.contains("upper") { NAME.to_uppercase() } else { NAME.to_owned() };
        assert_eq!(sandbox.read("/app"), name);
    }
}

#[test]
fn a_miss_is_explained_field_by_field() {
    if !root() {
        return;
    }
    let sandbox = Sandbox::new()
        .file("files/app.conf", "old")
        .file("pass", "")
        .upstream("mkdir \"$rootfs/etc\"")
        .layers(
            "\n[[layer]]\nname = \"app\"\ncheck = \"test -e pass\"\n\
             [[layer.file]]\npath = \"/app\"\nsource = \"files/app.conf\"\n",
        );
    let lxcpath = sandbox.path("lxc").display().to_string();
    let plan = || sandbox.run(["plan", "m.toml", "-v", "--name", NAME, "--lxcpath", &lxcpath]);
    assert!(plan().stdout().contains("misses   nothing is stored of it\n"));
    sandbox.create([""; 0]).exits(0);
    let stored = plan().stdout();
    for line in ["layer    app  [stored]", "template fake  [stored]"] {
        assert!(stored.contains(line), "{stored}");
    }
    fs::write(sandbox.role().join("files/app.conf"), "new").unwrap();
    fs::remove_file(sandbox.role().join("pass")).unwrap();
    let planned = plan().stdout();
    assert!(planned.contains("layer    app  [to build]"), "{planned}");
    assert!(planned.contains("template fake  [stored]"), "{planned}");
    let old = layered_template::digest::Digest::of(b"old").short();
    let new = layered_template::digest::Digest::of(b"new").short();
    let why = format!("file files/app.conf: digest {old}… → {new}…\n");
    assert!(planned.contains(&format!("misses   {why}")), "{planned}");
    again(&sandbox);
    sandbox.create([""; 0]).exits(7);
    let run = sandbox.left().remove(0);
    let log = fs::read_to_string(run.join("log")).unwrap();
    assert!(log.contains(&format!("layer `app`: misses: {why}")), "{log}");
}

#[test]
fn what_is_damaged_is_made_anew() {
    let sandbox = Sandbox::new().upstream("mkdir \"$rootfs/etc\"; echo >>calls").layers(APP);
    sandbox.chain().exits(0);
    let map = fs::read_dir(sandbox.path("store"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| path.extension().is_some_and(|end| end == "meta"))
        .unwrap();
    let trees = map.with_extension("").join("trees");
    let damage: [&dyn Fn(); 2] = [
        &|| {
            for entry in fs::read_dir(map.join("entries")).unwrap() {
                let path = entry.unwrap().path();
                let mut text = fs::read(&path).unwrap();
                let middle = text.len() / 2;
                text[middle] ^= 1;
                fs::write(path, text).unwrap();
            }
        },
        &|| {
            for entry in fs::read_dir(&trees).unwrap() {
                fs::remove_dir_all(entry.unwrap().path().join("rootfs")).unwrap();
            }
        },
    ];
    for (index, damage) in damage.iter().enumerate() {
        damage();
        again(&sandbox);
        sandbox.chain().exits(0).mentions(
            "warning: template of layer `os` is rebuilt: what is stored of it cannot be used: ",
        );
        assert_eq!(sandbox.read("/app"), "1");
        assert_eq!(calls(&sandbox), index + 2);
        again(&sandbox);
        let again = sandbox.chain();
        again.exits(0);
        assert!(!again.stderr().contains("warning"), "{}", again.stderr());
    }
}

#[test]
fn what_a_layer_drops_stays_under_the_layers_around_it() {
    let sandbox = Sandbox::new()
        .file("keys/ssh_host_rsa_key", "mine")
        .upstream("mkdir \"$rootfs/etc\"")
        .layers(&format!(
            "[[layer.file]]\npath = \"/etc/machine-id\"\ncontent = \"mine\"\n\
             [[layer.file]]\npath = \"/etc/ssh\"\nsource = \"keys\"\n{APP}"
        ));
    for _ in 0..2 {
        sandbox.chain().exits(0);
        assert_eq!(sandbox.read("/etc/machine-id"), "mine");
        assert_eq!(sandbox.read("/etc/ssh/ssh_host_rsa_key"), "mine");
        assert_eq!(sandbox.read("/app"), "1");
        again(&sandbox);
    }
}

#[test]
fn a_store_that_cannot_be_used_is_told_and_done_without() {
    let sandbox = Sandbox::new().upstream("mkdir \"$rootfs/etc\"").layers(APP);
    fs::write(sandbox.path("file"), "").unwrap();
    for (place, reason) in [
        ("a:b", "its path contains a character that overlay options cannot represent"),
        ("file/store", "Not a directory"),
    ] {
        let directory = sandbox.path(place);
        let shown = sandbox.redacted(&directory.display().to_string());
        let sandbox = Sandbox::new()
            .env("LAYERED_TEMPLATE_STORE", directory.to_str().unwrap())
            .upstream("mkdir \"$rootfs/etc\"")
            .layers(APP);
        let said = sandbox.chain();
        said.exits(0).mentions("warning: the layer store is not used: `").mentions(reason);
        assert_eq!(sandbox.read("/app"), "1", "{shown}");
        again(&sandbox);
        sandbox.template(["m.toml", "--storage=overlay"]).exits(8).mentions(reason);
    }
}

#[test]
fn what_is_stored_is_told_of_before_what_has_failed() {
    let sandbox = Sandbox::new().layers("");
    sandbox.run(["build", "m.toml"]).exits(0);
    let failing = "[[layer]]\nname = \"app\"\nstore = true\npost = \"exit 3\"\n";
    let sandbox = sandbox.layers(failing);
    let mut command = sandbox.command("/bin/sh");
    command.args(["-c", "exec \"$0\" build m.toml 2>&1"]).arg(sandbox.program_path());
    let ran = sandbox.ran(command);
    let said = ran.exits(6).stdout();
    let at = |text: &str| said.find(text).unwrap_or_else(|| panic!("{text}: {said}"));
    assert!(at("os  already stored\n") < at("error: `post` of layer `app`"), "{said}");
    assert!(at("error: ") < at("nothing built, 1 layer already stored; 1 of 1 role failed"));
    assert_eq!(said.matches("already stored\n").count(), 1, "{said}");
}

#[test]
fn a_store_that_others_may_write_to_is_named_where_that_is_mended() {
    let sandbox = Sandbox::new();
    let store = sandbox.path("store");
    std::fs::create_dir(&store).unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o775);
    std::fs::set_permissions(&store, mode).unwrap();
    sandbox.run(["store", "list"]).exits(0).mentions(
        "warning: no run of yours can use the layer store `[DIR]/store`: its mode is 0775: others may write there \
         (`chmod go-w [DIR]/store` fixes that)\n",
    );
}
