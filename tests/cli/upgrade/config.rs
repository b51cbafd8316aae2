//! The config of a container that is upgraded: the role's lines, those of whoever has edited it, and both together.

use std::fs;

use super::{each_storage, upgrade};
use crate::sandbox::Sandbox;

/// Gives the role a layer with these lines of config, besides an address of its own.
fn change(sandbox: &Sandbox, address: &str, config: &str) {
    let text = format!(
        "manifest = 1\n\n[[layer]]\nname = \"os\"\ntemplate = \"fake\"\n\n[[layer]]\nname = \"net\"\n[layer.config]\n\
         \"lxc.net.1.type\" = \"empty\"\n\"lxc.net.1.hwaddr\" = \"{address}\"\n{config}"
    );
    fs::write(sandbox.role().join("m.toml"), text).unwrap();
}

#[test]
fn an_address_that_the_role_gives_is_upgraded() {
    each_storage(|sandbox, storage| {
        let (one, two) = ("00:16:3e:11:11:11", "00:16:3e:22:22:22");
        fs::remove_dir_all(sandbox.container()).unwrap();
        change(sandbox, one, "");
        sandbox.create([format!("--storage={storage}")]).exits(0);
        let has = |address: &str| {
            let line = format!("lxc.net.1.hwaddr = {address}\n");
            assert_eq!(sandbox.config().matches(&line).count(), 1, "{}", sandbox.config());
        };
        has(one);
        change(
            sandbox,
            two,
            "\"lxc.net.2.type\" = \"empty\"\n\"lxc.net.2.hwaddr\" = \"00:16:3e:33:33:33\"\n",
        );
        upgrade(sandbox, &[]).exits(0).shows("A  config: lxc.net.1.hwaddr = 00:16:3e:22:22:22\n");
        has(two);
        assert!(sandbox.config().contains("lxc.net.2.hwaddr = 00:16:3e:33:33:33\n"));
        upgrade(sandbox, &[]).exits(0).mentions("no change");
    });
}

#[test]
fn a_limit_that_both_have_changed_is_a_conflict() {
    each_storage(|sandbox, storage| {
        let address = "00:16:3e:11:11:11";
        let limit = |limit: &str| format!("\"lxc.cgroup2.memory.max\" = \"{limit}\"\n");
        let line = |limit: &str| format!("lxc.cgroup2.memory.max = {limit}\n");
        for (word, holds, goes) in [("--keep", "256M", "2G"), ("--take", "2G", "256M")] {
            let _ = fs::remove_dir_all(sandbox.container());
            change(sandbox, address, &limit("1G"));
            sandbox.create([format!("--storage={storage}")]).exits(0);
            let edited = sandbox.config().replace(&line("1G"), &line("256M"));
            fs::write(sandbox.container().join("config"), edited).unwrap();
            change(sandbox, address, &limit("2G"));
            upgrade(sandbox, &[]).exits(1).shows(
                "C  config:lxc.cgroup2.memory.max\n   was   1G\n   role  2G\n   own   256M\n",
            );
            upgrade(sandbox, &[word, "config:lxc.cgroup2.memory.max"]).exits(0);
            let config = sandbox.config();
            assert!(config.contains(&line(holds)) && !config.contains(&line(goes)), "{config}");
        }
    });
}

#[test]
fn a_config_that_lxc_would_not_load_is_not_made() {
    each_storage(|sandbox, storage| {
        let kind = |kind: &str| format!("\"lxc.net.0.type\" = \"{kind}\"\n");
        let table = [
            // What somebody writes in place of what, what comes with the role, and what is wrong.
            (
                "lxc.net.0.type = veth",
                "lxc.net.0.type = empty",
                "\"lxc.net.0.veth.pair\" = \"abc\"\n",
                "because of `lxc.net.0.veth.pair = abc`: `lxc.net.0.veth.pair` is for a network of type `veth`",
            ),
            (
                "lxc.tty.max = 2",
                "lxc.cap.keep = mknod",
                "\"lxc.cap.drop\" = \"sys_time\"\n",
                "because of `lxc.cap.",
            ),
        ];
        for (from, to, comes, why) in table {
            let role = kind("veth") + "\"lxc.tty.max\" = 2\n";
            layers(sandbox, &[&role]);
            create(sandbox, storage, "");
            let edited = sandbox.config().replace(from, to);
            fs::write(sandbox.container().join("config"), &edited).unwrap();
            layers(sandbox, &[&(role + comes)]);
            for words in [&["--dry-run"][..], &[]] {
                let ran = upgrade(sandbox, words);
                ran.exits(5).mentions(
                    "LXC does not load a config with its own lines and those of the role",
                );
                ran.mentions(why).mentions("edit its config so that both can stand there");
                assert_eq!(sandbox.config(), edited);
            }
            // What it did not load before is nobody's fault now.
            let broken = format!("{edited}lxc.nonsense = 1\n");
            fs::write(sandbox.container().join("config"), &broken).unwrap();
            layers(sandbox, &[&kind("veth"), "\"lxc.pty.max\" = 7\n"]);
            upgrade(sandbox, &[]).exits(0);
            assert!(sandbox.config().contains("lxc.pty.max = 7\n"), "{}", sandbox.config());
        }
    });
}

#[test]
fn a_line_that_comes_stands_where_a_new_container_has_it() {
    each_storage(|sandbox, storage| {
        let address = "00:16:3e:11:11:11";
        let include = sandbox.path("inc.conf");
        fs::write(&include, "lxc.tty.max = 7\n").unwrap();
        fs::remove_dir_all(sandbox.container()).unwrap();
        change(sandbox, address, "\"lxc.tty.max\" = 2\n");
        sandbox.create([format!("--storage={storage}")]).exits(0);
        let include = format!("\"lxc.include\" = \"{}\"\n\"lxc.tty.max\" = 2\n", include.display());
        change(sandbox, address, &include);
        upgrade(sandbox, &[]).exits(0);
        let config = sandbox.config();
        let place = |part: &str| config.find(part).unwrap_or_else(|| panic!("{part}: {config}"));
        assert!(place("lxc.include = ") < place("lxc.tty.max = 2\n"), "{config}");
    });
}

/// Gives the role layers with these lines of config.
fn layers(sandbox: &Sandbox, layers: &[&str]) {
    let mut text = "manifest = 1\n\n[[layer]]\nname = \"os\"\ntemplate = \"fake\"\n".to_owned();
    for (number, lines) in layers.iter().enumerate() {
        text.extend([&format!("[[layer]]\nname = \"l{number}\"\n[layer.config]\n"), *lines]);
    }
    fs::write(sandbox.role().join("m.toml"), text).unwrap();
}

/// Makes the container anew, with these lines of its own.
fn create(sandbox: &Sandbox, storage: &str, base: &str) {
    let _ = fs::remove_dir_all(sandbox.container());
    let path = sandbox.path("base.conf");
    fs::write(&path, format!("lxc.net.0.type = empty\n{base}")).unwrap();
    let storage = format!("--storage={storage}");
    sandbox.create([storage.as_str(), "--config", path.to_str().unwrap()]).exits(0);
}

/// Returns the lines of the container's config, but those that say where its rootfs is.
fn lines(sandbox: &Sandbox) -> Vec<String> {
    let config = sandbox.config();
    let is_rootfs = |line: &&str| line.starts_with("lxc.rootfs.path");
    config.lines().filter(|line| !is_rootfs(line)).map(str::to_owned).collect()
}

#[test]
fn an_upgraded_config_is_that_of_a_new_container_with_the_same_lines() {
    each_storage(|sandbox, storage| {
        let hook = "\"lxc.hook.start-host\" = \"/bin/true\"\n";
        let clear = "\"lxc.cap.drop\" = \"\"\n";
        let table: [(&str, &[&str], &[&str]); 6] = [
            // What the container is given, what its role had, and what it has now.
            (
                "lxc.apparmor.profile = generated\nlxc.start.auto = 1\n",
                &["\"lxc.apparmor.profile\" = \"unconfined\"\n\"lxc.start.auto\" = 0\n"],
                &[],
            ),
            (
                "lxc.cap.drop =\n",
                &["\"lxc.cap.drop\" = \"mknod\"\n", clear],
                &["\"lxc.cap.drop\" = \"mknod\"\n"],
            ),
            ("lxc.environment =\nlxc.environment = A=1\n", &[], &["\"lxc.environment\" = \"\"\n"]),
            ("", &[hook], &[hook, hook]),
            (
                "# mine\nlxc.tty.max = 2\n",
                &["\"lxc.autodev\" = 1\n"],
                &["\"lxc.arch\" = \"x86_64\"\n\"lxc.autodev\" = 1\n"],
            ),
            ("", &["\"lxc.net.0.type\" = \"empty\"\n"], &[]),
        ];
        for (base, old, new) in table {
            layers(sandbox, old);
            create(sandbox, storage, base);
            layers(sandbox, new);
            upgrade(sandbox, &[]).exits(0);
            let upgraded = lines(sandbox);
            upgrade(sandbox, &[]).exits(0).mentions("no change");
            // Its own lines are known in the next upgrade as well.
            layers(sandbox, old);
            upgrade(sandbox, &[]).exits(0);
            let back = lines(sandbox);
            create(sandbox, storage, base);
            assert_eq!(back, lines(sandbox), "{base}{old:?}");
            layers(sandbox, new);
            create(sandbox, storage, base);
            assert_eq!(upgraded, lines(sandbox), "{base}{new:?}");
        }
    });
}

#[test]
fn a_line_that_only_moves_is_told_of() {
    each_storage(|sandbox, storage| {
        let line = |path: &str| format!("\"lxc.hook.start-host\" = \"/bin/{path}\"\n");
        layers(sandbox, &[&line("true"), &line("echo")]);
        create(sandbox, storage, "");
        layers(sandbox, &[&line("echo"), &line("true")]);
        let shown = upgrade(sandbox, &[]).exits(0).stdout();
        assert!(shown.contains("D  config: lxc.hook.start-host = /bin/"), "{shown}");
        assert!(shown.contains("A  config: lxc.hook.start-host = /bin/"), "{shown}");
    });
}

#[test]
fn what_a_step_writes_into_the_config_comes_once() {
    each_storage(|sandbox, storage| {
        let step = |value: u32, tty: u32| {
            let text = format!(
                "manifest = 1\n\n[[layer]]\nname = \"os\"\ntemplate = \"fake\"\n[[layer]]\nname = \"net\"\n\
                 post = {{ run = \"echo lxc.hook.start-host = /bin/echo {value} >>$LXC_PATH/config\", in = \"host\" }}\n\
                 [[layer]]\nname = \"app\"\n[layer.config]\n\"lxc.tty.max\" = {tty}\n"
            );
            fs::write(sandbox.role().join("m.toml"), text).unwrap();
        };
        step(1, 2);
        create(sandbox, storage, "lxc.start.auto = 1\n");
        step(1, 4);
        upgrade(sandbox, &[]).exits(0);
        let upgraded = lines(sandbox);
        create(sandbox, storage, "lxc.start.auto = 1\n");
        assert_eq!(upgraded, lines(sandbox));
        // It writes another line in place of the one of before.
        step(2, 4);
        upgrade(sandbox, &[]).exits(0);
        let upgraded = lines(sandbox);
        upgrade(sandbox, &[]).exits(0).mentions("no change");
        create(sandbox, storage, "lxc.start.auto = 1\n");
        assert_eq!(upgraded, lines(sandbox));
    });
}

#[test]
fn what_a_step_writes_may_depend_on_what_the_container_was_given() {
    each_storage(|sandbox, storage| {
        let given = "lxc.environment = A=1\n";
        let step = |tty: u32| {
            let text = format!(
                "manifest = 1\n\n[[layer]]\nname = \"os\"\ntemplate = \"fake\"\n[[layer]]\nname = \"net\"\npost = {{ in = \
                 \"host\", run = \"! grep -q A=1 $LXC_PATH/config || echo lxc.environment = B=1 >>$LXC_PATH/config\" }}\n\
                 [layer.config]\n\"lxc.tty.max\" = {tty}\n"
            );
            fs::write(sandbox.role().join("m.toml"), text).unwrap();
        };
        step(2);
        create(sandbox, storage, given);
        assert_eq!(sandbox.config().matches("= B=1").count(), 1);
        step(4);
        upgrade(sandbox, &[]).exits(0);
        let upgraded = lines(sandbox);
        create(sandbox, storage, given);
        assert_eq!(upgraded, lines(sandbox));
    });
}

#[test]
fn a_record_that_does_not_tell_what_was_given_is_upgraded() {
    each_storage(|sandbox, storage| {
        let hook = |path: &str| format!("\"lxc.hook.start-host\" = \"/bin/{path}\"\n");
        layers(sandbox, &[&hook("true")]);
        create(sandbox, storage, "lxc.tty.max = 2\n");
        let record = sandbox.container().join("layered-template.json");
        let text = fs::read_to_string(&record).unwrap();
        let mut older: serde_json::Value = serde_json::from_str(&text).unwrap();
        older["record"] = 4.into();
        assert!(older.as_object_mut().unwrap().remove("given").is_some());
        fs::write(&record, older.to_string()).unwrap();
        layers(sandbox, &[&hook("echo")]);
        upgrade(sandbox, &[]).exits(0);
        let upgraded = lines(sandbox);
        create(sandbox, storage, "lxc.tty.max = 2\n");
        assert_eq!(upgraded, lines(sandbox));
    });
}

#[test]
fn a_config_with_a_comment_that_is_no_text_is_upgraded_and_restored() {
    each_storage(|sandbox, _| {
        let path = sandbox.container().join("config");
        let edited = [b"# f\xfcr web\n".as_slice(), &fs::read(&path).unwrap()].concat();
        fs::write(&path, &edited).unwrap();
        let container = sandbox.container();
        let container = container.to_str().unwrap();
        sandbox.run(["diff", container]).exits(0);
        sandbox.run(["status", "--exit-code", container]).exits(0).shows("  current\n");
        super::change(sandbox, "two", 4, "true");
        let plan = ["plan", "m.toml", "--diff", "--name", "web1", "--lxcpath"];
        let mut command = sandbox.command(sandbox.program_path());
        command.args(plan).arg(sandbox.path("lxc"));
        sandbox.ran(command).exits(0);
        upgrade(sandbox, &[]).exits(0);
        let upgraded = fs::read(&path).unwrap();
        assert!(upgraded.starts_with(b"# f\xfcr web\n") && upgraded != edited);
        super::rollback(sandbox).exits(0);
        assert_eq!(fs::read(&path).unwrap(), edited);
    });
}

#[test]
fn a_key_with_several_lines_is_named_once_in_what_to_type() {
    each_storage(|sandbox, storage| {
        let role = |value: u32| format!("\"lxc.environment\" = [\"A={value}\", \"B={value}\"]\n");
        layers(sandbox, &[&role(1)]);
        create(sandbox, storage, "");
        let edited = sandbox.config().replace("=1\n", "=own\n").replace("=1\"\n", "=own\"\n");
        fs::write(sandbox.container().join("config"), edited).unwrap();
        layers(sandbox, &[&role(2)]);
        let ran = upgrade(sandbox, &[]);
        ran.exits(1).mentions(" --take config:lxc.environment\n");
        assert_eq!(ran.stdout().matches("C  config:lxc.environment\n").count(), 2);
        assert_eq!(ran.stderr().matches("config:lxc.environment").count(), 1);
        upgrade(sandbox, &["--keep", "config:lxc.environment"]).exits(0);
        assert_eq!(sandbox.config().matches("=own").count(), 2);
    });
}
