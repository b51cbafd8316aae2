//! `upgrade` and `rollback`: what a container keeps, what it gets, and what it is at every moment.

mod accounts;
mod around;
mod asked;
mod config;
mod full_disk;
mod immutable;
mod kills;
mod record;
mod replaced;
mod sidecars;
mod stopped_at;
mod told;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread::sleep;
use std::time::Duration;

use crate::requirement::root;
use crate::sandbox::{NAME, Ran, Sandbox};
use crate::storages;

const UPSTREAM: &str = r#"
cd "$rootfs"; mkdir -p etc/ssh srv/www srv/data srv/old opt var/log
echo "$name" >etc/hostname; echo one >etc/conf; echo x >srv/old/f; echo k >etc/ssh/ssh_host_rsa_key
printf 'root:x:0:0::/root:/bin/sh\n' >etc/passwd
echo linked >srv/linked; ln srv/linked srv/linked-too; echo log >var/log/app
"#;

/// The site's layer; `rest` is what its step does besides.
fn layers(page: &str, tty: u32, rest: &str) -> String {
    format!(
        "[[layer]]\nname = \"site\"\nstate = \"/srv/data\"\n\
         post = \"cd $LXC_ROOTFS; echo site >srv/data/seed; {rest}\"\nstore = true\n\
         check = \"grep -qv broken $LXC_ROOTFS/srv/www/index.html\"\n\
         [layer.config]\n\"lxc.tty.max\" = {tty}\n\"lxc.environment\" = [\"PAGE={page}\"]\n\
         [[layer.file]]\npath = \"/srv/www/index.html\"\ncontent = \"{page} of {{{{ lxc.name }}}}\\n\"\nrender = true\n"
    )
}

fn role() -> Sandbox {
    Sandbox::new().upstream(UPSTREAM).layers(&layers("one", 2, "true"))
}

/// Changes the role.
fn change(sandbox: &Sandbox, page: &str, tty: u32, rest: &str) {
    let text = format!(
        "manifest = 1\n\n[[layer]]\nname = \"os\"\ntemplate = \"fake\"\n{}",
        layers(page, tty, rest)
    );
    fs::write(sandbox.role().join("m.toml"), text).unwrap();
}

fn upgrade(sandbox: &Sandbox, words: &[&str]) -> Ran {
    let container = sandbox.container();
    sandbox.run([&["upgrade", container.to_str().unwrap()], words].concat())
}

fn rollback(sandbox: &Sandbox) -> Ran {
    sandbox.run(["rollback", sandbox.container().to_str().unwrap()])
}

/// Returns how the container's overlay is mounted at `at`.
fn mount(sandbox: &Sandbox, at: &Path) -> String {
    let config = sandbox.config();
    let line = config.lines().rev().find(|line| line.starts_with("lxc.rootfs.path")).unwrap();
    let path = line.split_once('=').unwrap().1.trim();
    let Some(path) = path.strip_prefix("overlay:") else {
        let path = path.strip_prefix("dir:").unwrap_or(path);
        return format!("mount --bind {path} {}", at.display());
    };
    let (lower, upper) = path.split_once(':').unwrap();
    let work = sandbox.path("work");
    fs::create_dir_all(&work).unwrap();
    format!(
        "mount -t overlay overlay -o lowerdir={lower},upperdir={upper},workdir={} {}",
        work.display(),
        at.display()
    )
}

/// Runs commands in the rootfs, as a running container would, and returns what they print.
fn within(sandbox: &Sandbox, commands: &str) -> String {
    // Times of files come from a clock that ticks a few hundred times a second.
    sleep(Duration::from_millis(30));
    let at = sandbox.path("at");
    fs::create_dir_all(&at).unwrap();
    let mut command = Command::new("unshare");
    command.args(["--mount", "--propagation=private", "sh", "-euc"]);
    command.arg(format!("{}; cd {}; {commands}", mount(sandbox, &at), at.display()));
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Returns everything in a directory, but when it was looked at.
fn dump(directory: &Path) -> String {
    let script = "cd \"$1\" && find . -mindepth 1 -printf '%P %y %m %U:%G %s %l %T@\\n' | sort && \
                  find . -type f -exec sha256sum {} + | sort -k2";
    let output = Command::new("sh").args(["-euc", script, "sh"]).arg(directory).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn tree(sandbox: &Sandbox, storage: &str) -> PathBuf {
    sandbox.container().join(if storage == "overlay" { "delta" } else { "rootfs" })
}

fn each_storage(judge: impl Fn(&Sandbox, &str)) {
    if !root() {
        return;
    }
    storages::each(&["copy", "overlay"], role, &[], judge);
}

#[test]
fn what_the_container_has_changed_stays_on_what_the_role_makes_now() {
    each_storage(|sandbox, storage| {
        within(
            sandbox,
            "echo mine >srv/data/mine; rm srv/data/seed; echo more >>etc/conf; rm -r srv/old; mkdir srv/old; \
             echo new >srv/old/new; echo me:x:1000:1000::/home:/bin/sh >>etc/passwd; ln srv/linked opt/third; \
             echo key >etc/ssh/ssh_host_rsa_key; echo l >>var/log/app; setfattr -n user.x -v 1 opt; chmod 700 opt",
        );
        let config = sandbox.container().join("config");
        let edited = format!("# by hand\n{}lxc.pty.max = 7\n", sandbox.config());
        fs::write(&config, &edited).unwrap();
        let was = dump(&tree(sandbox, storage));
        change(
            sandbox,
            "two",
            4,
            "echo app:x:998:998::/:/bin/false >>etc/passwd; rm srv/linked; echo log2 >>var/log/app; \
             echo seed2 >srv/data/seed; mkdir etc/new; echo n >etc/new/n",
        );
        // The container has a name of a file more, and the role one less: somebody has to decide.
        upgrade(sandbox, &[]).exits(1).shows("C  /opt/third\n").mentions("is left as it is");
        assert_eq!(dump(&tree(sandbox, storage)), was);
        change(
            sandbox,
            "two",
            4,
            "echo app:x:998:998::/:/bin/false >>etc/passwd; echo log2 >>var/log/app; echo seed2 >srv/data/seed; \
             mkdir etc/new; echo n >etc/new/n",
        );
        let expected = "A  /etc/new\nA  /etc/new/n\nM  /etc/passwd\nM  /srv/www/index.html\n\
             D  config: lxc.tty.max = 2\nD  config: lxc.environment = PAGE=one\n\
             A  config: lxc.tty.max = 4\nA  config: lxc.environment = PAGE=two\n";
        upgrade(sandbox, &["--dry-run"]).exits(0).prints(expected).mentions(
            "web1: an upgrade would change 4 paths, its config and its record; nothing was changed",
        );
        assert_eq!(dump(&tree(sandbox, storage)), was);
        assert_eq!(sandbox.config(), edited);
        upgrade(sandbox, &[]).exits(0).prints(expected);

        let found = within(
            sandbox,
            "cat srv/data/mine etc/conf etc/passwd etc/new/n srv/www/index.html etc/hostname etc/ssh/*key var/log/app; \
             echo srv/data/* srv/old/*; stat -c %h opt/third; stat -c %a opt; getfattr --only-values -n user.x opt",
        );
        // An overlay that copies up one name of a file takes the others from it.
        let names = if storage == "overlay" { 2 } else { 3 };
        let expected = format!(
            "mine\none\nmore\nroot:x:0:0::/root:/bin/sh\nme:x:1000:1000::/home:/bin/sh\n\
             app:x:998:998::/:/bin/false\nn\ntwo of {NAME}\n{NAME}\nkey\nlog\nl\n\
             srv/data/mine srv/old/new\n{names}\n700\n1"
        );
        assert_eq!(found, expected, "{storage}");
        let config = sandbox.config();
        assert!(
            config.starts_with("# by hand\n") && config.contains("lxc.pty.max = 7\n"),
            "{config}"
        );
        assert!(config.contains("lxc.tty.max = 4\n") && config.contains("PAGE=two"), "{config}");
        assert!(!config.contains("PAGE=one"), "{config}");
        sandbox
            .run(["status", "--exit-code", "-P", sandbox.path("lxc").to_str().unwrap()])
            .exits(0);
        // What the container has changed is still told of, and nothing else.
        let diff = sandbox.run(["diff", sandbox.container().to_str().unwrap()]).exits(1).stdout();
        for line in [
            "M  /etc/conf: content",
            "M  /etc/passwd: content",
            "A  /srv/old/new",
            "A  config: lxc.pty.max = 7",
        ] {
            assert!(diff.contains(line), "{storage}: {line} is not in\n{diff}");
        }
        assert!(!diff.contains("index.html") && !diff.contains("hostname"), "{diff}");

        rollback(sandbox)
            .exits(0)
            .mentions("web1: back to what it was before its upgrade of ")
            .mentions("; another rollback undoes this one\n");
        assert_eq!(dump(&tree(sandbox, storage)), was, "{storage}");
        assert_eq!(sandbox.config(), edited);
        // And forth again.
        rollback(sandbox).exits(0).mentions("web1: the last rollback is undone: ");
        assert_eq!(sandbox.config(), config);
        assert_eq!(within(sandbox, "cat srv/www/index.html"), format!("two of {NAME}\n"));
    });
}

#[test]
fn nothing_is_done_where_nothing_has_changed() {
    each_storage(|sandbox, _| {
        upgrade(sandbox, &[]).exits(0).prints("").mentions("web1: no change");
        assert!(!sandbox.container().join("upgrade").exists());
        rollback(sandbox)
            .exits(2)
            .mentions("`web1` was never upgraded: there is nothing to go back to");
    });
}

#[test]
fn a_failed_upgrade_says_that_the_container_is_as_it_was() {
    each_storage(|sandbox, _| {
        let manifest = sandbox.role().join("m.toml");
        let was = (sandbox.config(), fs::read_to_string(&manifest).unwrap());
        for (layer, status, part) in [
            ("name = \"gone\"\nuse = \"gone\"\n", 2, "no reusable layer is named `gone`"),
            (
                "name = \"bad\"\ncheck = \"exit 9\"\n",
                7,
                "`check` of layer `bad` ended with status 9",
            ),
        ] {
            fs::write(&manifest, format!("{}[[layer]]\n{layer}", was.1)).unwrap();
            upgrade(sandbox, &[])
                .exits(status)
                .mentions(&format!("error: {part}\n"))
                .mentions("m.toml:")
                .mentions("\n`web1` is left as it was\n");
            assert_eq!(sandbox.config(), was.0);
        }
    });
}

#[test]
fn a_manifest_and_a_container_are_not_taken_for_each_other() {
    if !root() {
        return;
    }
    let sandbox = role();
    sandbox.create([""; 0]).exits(0);
    let (container, lxcpath) = (sandbox.container(), sandbox.path("lxc"));
    let lxcpath = lxcpath.to_str().unwrap();
    sandbox.run(["upgrade", "m.toml", "-P", lxcpath]).exits(2).mentions(
        "hint: it is a file: `layered-template upgrade --all m.toml` upgrades what was made",
    );
    for named in ["web1", container.to_str().unwrap()] {
        sandbox.run(["upgrade", "--all", named, "-P", lxcpath]).exits(2).mentions(
            "is a container, and `--all` takes a manifest\n\nhint: `layered-template upgrade ",
        );
    }
}

#[test]
fn both_sides_of_a_conflict_are_shown_and_somebody_decides() {
    each_storage(|sandbox, storage| {
        within(sandbox, "echo own >srv/www/index.html");
        let config = sandbox.container().join("config");
        fs::write(&config, sandbox.config().replace("lxc.tty.max = 2", "lxc.tty.max = 3")).unwrap();
        let was = (dump(&tree(sandbox, storage)), sandbox.config());
        change(sandbox, "two", 4, "true");
        let ran = upgrade(sandbox, &[]);
        let shown = ran.exits(1).stdout();
        ran.mentions(
            "\n  layered-template diff --patch [DIR]/lxc/web1\n  layered-template diff --patch [DIR]/lxc/web1 [DIR]/role/m.toml\n",
        );
        for line in [
            "C  /srv/www/index.html\n",
            "C  config:lxc.tty.max\n   was   2\n   role  4\n   own   3\n",
        ] {
            assert!(shown.contains(line), "{shown}");
        }
        assert_eq!((dump(&tree(sandbox, storage)), sandbox.config()), was);
        upgrade(sandbox, &["--take=/srv/www", "--keep=config:lxc.tty.max"]).exits(0);
        assert_eq!(within(sandbox, "cat srv/www/index.html"), format!("two of {NAME}\n"));
        assert!(sandbox.config().contains("lxc.tty.max = 3\n"));
        rollback(sandbox).exits(0);
        upgrade(sandbox, &["--keep=/srv/www/index.html", "--take=config:lxc.tty.max"]).exits(0);
        assert_eq!(within(sandbox, "cat srv/www/index.html"), "own\n");
        assert!(sandbox.config().contains("lxc.tty.max = 4\n"));
    });
}

#[test]
fn a_check_that_fails_leaves_the_container_as_it_was() {
    each_storage(|sandbox, storage| {
        within(sandbox, "echo mine >etc/conf");
        let was = (dump(&tree(sandbox, storage)), sandbox.config());
        // The role itself is broken.
        change(sandbox, "broken", 4, "true");
        upgrade(sandbox, &[]).exits(7);
        assert_eq!((dump(&tree(sandbox, storage)), sandbox.config()), was);
        // It is only with what the container has changed.
        change(sandbox, "two", 4, "true");
        let path = sandbox.role().join("m.toml");
        let text = fs::read_to_string(&path).unwrap();
        let check = "check = \"! grep -q mine $LXC_ROOTFS/etc/conf\"";
        let text =
            text.replace("check = \"grep -qv broken $LXC_ROOTFS/srv/www/index.html\"", check);
        fs::write(&path, text).unwrap();
        upgrade(sandbox, &[]).exits(7);
        assert_eq!((dump(&tree(sandbox, storage)), sandbox.config()), was);
        assert!(!sandbox.container().join("upgrade/next").exists());
        assert!(!sandbox.container().join("upgrade/previous").exists());
    });
}

#[test]
fn who_cannot_be_upgraded_is_told_what_to_do() {
    if !root() {
        return;
    }
    let sandbox = role();
    sandbox.create(["--storage=none"]).exits(0);
    change(&sandbox, "two", 4, "true");
    upgrade(&sandbox, &[])
        .exits(2)
        .mentions("it was made without the layer store")
        .mentions("make a new container");
    fs::remove_dir_all(sandbox.container()).unwrap();
    change(&sandbox, "one", 2, "true");

    sandbox.create(["--storage=copy"]).exits(0);
    let manifest = sandbox.role().join("m.toml");
    fs::rename(&manifest, sandbox.role().join("n.toml")).unwrap();
    upgrade(&sandbox, &[])
        .exits(2)
        .mentions("is gone")
        .mentions("/n.toml` now: `layered-template upgrade ");
    fs::rename(sandbox.role().join("n.toml"), &manifest).unwrap();
    // Somebody stands on its rootfs.
    let other = sandbox.path("lxc/other");
    fs::create_dir(&other).unwrap();
    let lower = sandbox.rootfs().display().to_string();
    let line = format!("lxc.rootfs.path = overlay:{lower}:{}/delta0\n", other.display());
    fs::write(other.join("config"), line).unwrap();
    change(&sandbox, "two", 4, "true");
    upgrade(&sandbox, &[]).exits(2).mentions("`other` is an overlay on its rootfs");
    fs::remove_dir_all(other).unwrap();
    // What it was made of is gone.
    fs::remove_dir_all(sandbox.path("store")).unwrap();
    upgrade(&sandbox, &[])
        .exits(2)
        .mentions("what it was made of, `")
        .mentions("or is the disk of the store missing?");
}

#[test]
fn two_at_once_do_not_get_in_each_other_s_way() {
    each_storage(|sandbox, _| {
        change(sandbox, "two", 4, "true");
        let held = fs::File::open(sandbox.container()).unwrap();
        held.lock().unwrap();
        let why = "another upgrade or rollback of `web1` is at work";
        upgrade(sandbox, &[]).exits(2).mentions(why);
        rollback(sandbox).exits(2).mentions(why);
        drop(held);
        upgrade(sandbox, &[]).exits(0);
    });
}

#[test]
fn a_container_is_one_however_its_directory_is_spelled() {
    each_storage(|sandbox, _| {
        change(sandbox, "two", 4, "true");
        std::os::unix::fs::symlink(sandbox.path("lxc"), sandbox.path("link")).unwrap();
        let link = sandbox.path("link").join(NAME);
        sandbox.run(["upgrade", link.to_str().unwrap()]).exits(0);
        assert!(!sandbox.config().contains("/link/"), "{}", sandbox.config());
        let up = format!("../lxc/{NAME}");
        sandbox.run(["rollback", &up]).exits(0);
        sandbox.run(["upgrade", &up]).exits(0);
        assert_eq!(within(sandbox, "cat srv/www/index.html"), format!("two of {NAME}\n"));
    });
}

#[test]
fn gc_leaves_what_a_container_goes_back_to() {
    if !root() {
        return;
    }
    let sandbox = role();
    sandbox.create(["--storage=overlay"]).exits(0);
    within(&sandbox, "echo mine >srv/data/mine");
    change(&sandbox, "two", 4, "true");
    upgrade(&sandbox, &[]).exits(0);
    let lxcpath = sandbox.path("lxc");
    sandbox
        .run(["store", "gc", "--keep=0", "--forget", "--lxcpath", lxcpath.to_str().unwrap()])
        .exits(0);
    rollback(&sandbox).exits(0);
    assert_eq!(
        within(&sandbox, "cat srv/data/mine srv/www/index.html"),
        format!("mine\none of {NAME}\n")
    );
}

#[test]
fn all_containers_of_a_role_are_upgraded_until_one_fails() {
    if !root() {
        return;
    }
    let sandbox = role();
    let lxcpath = sandbox.path("lxc");
    for name in ["a", "b", "c"] {
        let words = ["create", "m.toml", "--storage=overlay", "--name", name, "--lxcpath"];
        sandbox.run([&words[..], &[lxcpath.to_str().unwrap()]].concat()).exits(0);
    }
    // The second one has a page of its own.
    fs::create_dir_all(lxcpath.join("b/delta/srv/www")).unwrap();
    fs::write(lxcpath.join("b/delta/srv/www/index.html"), "own\n").unwrap();
    change(&sandbox, "two", 4, "true");
    let all = ["upgrade", "m.toml", "--all", "-P", lxcpath.to_str().unwrap()];
    sandbox.run(all).exits(1).mentions("`b` is left as it is").mentions("left as they are: c\n");
    let is_new = |name: &str| {
        fs::read_to_string(lxcpath.join(name).join("config")).unwrap().contains("PAGE=two")
    };
    assert_eq!(["a", "b", "c"].map(is_new), [true, false, false]);
    // Programs are told of each, and the first failure decides how all of it ends.
    let told = |words: &[&str], status: i32| -> Vec<[String; 2]> {
        let ran = sandbox.run([&all[..], &["--format=json"], words].concat());
        let text = ran.exits(status).stdout();
        let line = |line: &str| -> [String; 2] {
            let value: serde_json::Value = serde_json::from_str(line).unwrap();
            ["container", "outcome"].map(|key| value[key].as_str().unwrap().to_owned())
        };
        text.lines().map(line).collect()
    };
    let outcomes = |all: [&str; 3]| {
        let names = ["a", "b", "c"].into_iter().zip(all);
        names.map(|(name, outcome)| [name.to_owned(), outcome.to_owned()]).collect::<Vec<_>>()
    };
    assert_eq!(told(&[], 1), outcomes(["unchanged", "conflict", "left"]));
    let record = lxcpath.join("c/layered-template.json");
    let text = fs::read(&record).unwrap();
    let expected = outcomes(["unchanged", "conflict", "would-change"]);
    assert_eq!(told(&["--max-failures=2", "--dry-run"], 1), expected);
    // It has no tree that could be looked at.
    fs::rename(lxcpath.join("c/delta"), lxcpath.join("c/gone")).unwrap();
    let expected = outcomes(["unchanged", "conflict", "failed"]);
    assert_eq!(told(&["--max-failures=3"], 1), expected);
    fs::rename(lxcpath.join("c/gone"), lxcpath.join("c/delta")).unwrap();
    assert_eq!(fs::read(&record).unwrap(), text);
    let expected = outcomes(["unchanged", "conflict", "upgraded"]);
    assert_eq!(told(&["--max-failures=2"], 1), expected);
    assert_eq!(["a", "b", "c"].map(is_new), [true, false, true]);
    sandbox.run([&all[..], &["--keep=/srv/www"]].concat()).exits(0);
    assert_eq!(["a", "b", "c"].map(is_new), [true, true, true]);
}

#[test]
fn an_upgrade_that_changes_nothing_keeps_what_is_kept() {
    each_storage(|sandbox, storage| {
        let other = sandbox.role().join("v2.toml");
        change(sandbox, "two", 4, "true");
        fs::copy(sandbox.role().join("m.toml"), &other).unwrap();
        let words = ["--manifest", other.to_str().unwrap()];
        upgrade(sandbox, &words).exits(0).mentions("web1: upgraded");
        let was = (dump(&tree(sandbox, storage)), sandbox.config());
        upgrade(sandbox, &words).exits(0).prints("").mentions("web1: no change");
        upgrade(sandbox, &[&words[..], &["--dry-run"]].concat())
            .exits(0)
            .mentions("web1: no change");
        assert_eq!((dump(&tree(sandbox, storage)), sandbox.config()), was);
        rollback(sandbox).exits(0);
        assert_eq!(within(sandbox, "cat srv/www/index.html"), format!("one of {NAME}\n"));
    });
}

#[test]
fn what_decides_of_nothing_is_a_mistake() {
    each_storage(|sandbox, _| {
        change(sandbox, "two", 4, "true");
        let words = ["--take=/typo", "--keep=config:no.such", "--keep=/etc/conf"];
        let ran = upgrade(sandbox, &words);
        ran.exits(2)
            .mentions("`--take /typo`: neither `web1` nor its role has that")
            .mentions("`--keep config:no.such`: neither");
        assert!(!ran.stderr().contains("--keep /etc/conf"), "{}", ran.stderr());
        assert_eq!(within(sandbox, "cat srv/www/index.html"), format!("one of {NAME}\n"));
    });
}

#[test]
fn names_of_the_program_and_shut_files_are_the_container_s_too() {
    if !crate::immutable::met() {
        return;
    }
    each_storage(|sandbox, storage| {
        let own = "mkdir .layered-template.upgrade .layered-template.upgrade.0; \
                   echo own >.layered-template.upgrade/f; echo own >.layered-template.upgrade.0/f; \
                   echo shut >etc/shut; chattr +i etc/shut";
        let is_shut = within(sandbox, &format!("{own}; lsattr etc/shut | cut -c5"));
        change(sandbox, "two", 4, "true");
        upgrade(sandbox, &[]).exits(0);
        let shown = "cat .layered-template.upgrade/f .layered-template.upgrade.0/f etc/shut; ls -A | grep -c upgrade; \
                     lsattr etc/shut | cut -c5; chattr -i etc/shut";
        let found = within(sandbox, shown);
        assert_eq!(found, format!("own\nown\nshut\n2\n{is_shut}"), "{storage}");
        rollback(sandbox).exits(0);
        within(sandbox, "chattr -i etc/shut || true");
    });
}

#[test]
fn an_upgrade_and_a_rollback_are_each_one_run_of_the_history() {
    each_storage(|sandbox, _| {
        let count = |state: &str| sandbox.run(["runs"]).exits(0).stdout().matches(state).count();
        let before = count("\n");
        change(sandbox, "two", 4, "true");
        upgrade(sandbox, &[]).exits(0);
        assert_eq!(count("\n"), before + 1, "{}", sandbox.run(["runs"]).stdout());
        within(sandbox, "echo own >srv/www/index.html");
        change(sandbox, "three", 4, "true");
        upgrade(sandbox, &[]).exits(1);
        assert_eq!(count("\n"), before + 2, "{}", sandbox.run(["runs"]).stdout());
        assert_eq!(count("failed"), 1, "{}", sandbox.run(["runs"]).stdout());
        rollback(sandbox).exits(0);
        sandbox.run(["runs", "show"]).exits(0).shows("rollback, done\n").shows("/m.toml\n");
    });
}

#[test]
fn a_container_whose_record_is_gone_goes_back_to_what_has_one() {
    each_storage(|sandbox, storage| {
        within(sandbox, "echo own >etc/own");
        let container = sandbox.container();
        let record = container.join("layered-template.json");
        let lxcpath = sandbox.path("lxc").to_str().unwrap().to_owned();
        fs::remove_file(&record).unwrap();
        // It was never upgraded, and nothing is known of it.
        rollback(sandbox).exits(2).mentions("this program has made no container ");
        fs::remove_dir_all(&container).unwrap();

        sandbox.create([&format!("--storage={storage}")]).exits(0);
        within(sandbox, "echo own >etc/own");
        let made = sandbox.record();
        let before = within(sandbox, "cat etc/own srv/www/index.html; ls etc");
        let config = sandbox.config();
        change(sandbox, "two", 3, "echo new >etc/new");
        upgrade(sandbox, &[]).exits(0);
        fs::remove_file(&record).unwrap();
        let said =
            "the record of `web1` is gone; `layered-template rollback [DIR]/lxc/web1` goes back";
        sandbox.run(["upgrade", "web1", "-P", &lxcpath]).exits(2).mentions(said);
        let ran = sandbox.run(["rollback", "web1", "-P", &lxcpath]);
        ran.exits(0)
            .mentions("web1: back to the other state; what it was until now is kept instead");
        assert_eq!(within(sandbox, "cat etc/own srv/www/index.html; ls etc"), before);
        assert_eq!((sandbox.record(), sandbox.config()), (made, config));

        // What it was until then has no record to come back with, or one that is none.
        fs::write(sandbox.container().join("upgrade/previous/layered-template.json"), "").unwrap();
        let ran = rollback(sandbox);
        ran.exits(2).mentions("error: `web1` cannot go back: `[DIR]/lxc/web1/upgrade/previous/");
        let said = ran.stderr();
        let by_hand = said.split_once("hint: by hand, while it does not run: ").unwrap().1;
        let by_hand = by_hand.trim().replace("[DIR]", sandbox.path("").to_str().unwrap());
        let output = Command::new("sh").args(["-c", &by_hand]).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        assert_eq!(within(sandbox, "cat etc/new etc/own"), "new\nown\n");
        upgrade(sandbox, &[]).exits(2);
        assert!(!record.exists());
    });
}
