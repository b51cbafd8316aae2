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
