//! Whose files root takes, by the doors that a container is made through.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;

use crate::call::Call;
use crate::caller::Caller;
use crate::lab::Lab;
use crate::manifest::three_layers;

/// Somebody who has no account.
const SOMEBODY: u32 = 1_900_000_001;

const BUSYBOX: &str = "template = \"busybox\"";

#[test]
fn root_refuses_what_others_could_have_written() {
    refused_where_others_can_write(Caller::Root);
}

#[test]
fn root_behind_an_id_map_refuses_what_others_could_have_written() {
    refused_where_others_can_write(Caller::Mapped);
}

#[test]
fn an_ordinary_user_s_namespace_refuses_nothing() {
    let Some(lab) = Lab::open(Caller::User, &[]) else { return };
    let manifest = three_layers(&lab, BUSYBOX);
    chown(&manifest, Some(SOMEBODY), None).expect("chown");
    by_everybody(&manifest);
    let trace = lab.path("work/trace");
    for door in [by_lxc, directly] {
        let name = lab.name("trusting");
        door(&lab, &name, &manifest).env("TRACE", &trace).outcome().success();
        lab.destroy(&name);
    }
}

#[test]
fn whom_sudo_names_is_known_behind_lxc_create() {
    let Some(lab) = Lab::open(Caller::Root, &[]) else { return };
    let manifest = three_layers(&lab, BUSYBOX);
    chown(&manifest, Some(SOMEBODY), None).expect("chown");
    for door in [by_lxc, directly] {
        let name = lab.name("sudo");
        let outcome = door(&lab, &name, &manifest).outcome();
        assert!(!outcome.status.success(), "{outcome}");
        assert!(outcome.stderr.contains("belongs to user 1900000001"), "{outcome}");
        lab.assert_absent(&name);
        let call = door(&lab, &name, &manifest).env("SUDO_UID", SOMEBODY.to_string());
        call.env("TRACE", lab.path("work/trace")).outcome().success();
        lab.destroy(&name);
    }
}

#[test]
fn root_takes_of_a_user_what_sudo_says_and_no_more() {
    let Some(lab) = Lab::open(Caller::User, &[]) else { return };
    let user = lab.user.as_ref().expect("it has a user");
    let manifest = lab.write(
        "home/role.toml",
        "manifest = 1\n[[layer]]\nname = \"os\"\ntemplate = \"busybox\"\n",
    );
    let home = manifest.parent().expect("it has a home");
    mode(&manifest, 0o664);
    let plan = || lab.call_as_root([lab.program()]).args(["plan", "--storage=none"]).arg(&manifest);
    let told = format!("`{}` belongs to user `{}`", home.display(), user.name);
    let advice = format!(
        "`{}` is the home of {}: copy the file, and the files that it names, to a directory that only root can \
         write to, or let {} call the program by `sudo`",
        home.display(),
        user.name,
        user.name
    );
    let outcome = plan().outcome().code(10);
    assert!(outcome.stderr.contains(&told), "{outcome}");
    assert!(outcome.stderr.contains(&advice), "{outcome}");
    // The group is the user's own.
    plan().env("SUDO_UID", user.uid.to_string()).outcome().success();

    // Of a file of root's, too, but then by sudo alone.
    let manifest = lab.path("bin/role.toml");
    fs::copy(home.join("role.toml"), &manifest).expect("a copy");
    chown(&manifest, Some(0), Some(user.gid)).expect("chown");
    mode(&manifest, 0o664);
    let plan = || lab.call_as_root([lab.program()]).args(["plan", "--storage=none"]).arg(&manifest);
    let told = format!("`{}` is writable by group `{}`", manifest.display(), user.name);
    let outcome = plan().outcome().code(10);
    assert!(outcome.stderr.contains(&told), "{outcome}");
    plan().env("SUDO_UID", user.uid.to_string()).outcome().success();
}

#[test]
fn root_mounts_no_cache_that_others_could_replace() {
    let Some(lab) = Lab::open(Caller::Root, &[]) else { return };
    let manifest = lab.write(
        "work/role.toml",
        "manifest = 1\n[[layer]]\nname = \"os\"\ntemplate = \"builtin:busybox\"\n[[layer]]\nname = \"app\"\n\
         post = { in = \"rootfs\", run = \"true\", cache = \"/var/cache/x\" }\n",
    );
    let open = lab.directory("open");
    let cache = open.join("kept");
    by_everybody(&open);
    let name = lab.name("cache");
    let make = || directly(&lab, &name, &manifest).env("LAYERED_TEMPLATE_CACHE", &cache).outcome();
    let outcome = make().code(6);
    let told = format!(
        "cannot have its cache `/var/cache/x`: `{}` is writable by everybody (`chmod go-w",
        open.display()
    );
    assert!(outcome.stderr.contains(&told), "{outcome}");
    assert!(!cache.exists());
    mode(&open, 0o755);
    make().success();
    assert!(cache.exists());
    lab.destroy(&name);
}

#[test]
fn behind_an_id_map_an_owner_may_be_unknown() {
    let Some(lab) = Lab::open(Caller::Mapped, &[]) else { return };
    let manifest = three_layers(&lab, BUSYBOX);
    let name = lab.name("unknown");
    // The container's own root is nobody to obey either.
    let (first, _) = lab.first_ids().expect("it has a map");
    for (owner, why) in [
        (SOMEBODY, "belongs to a user whom this user namespace does not know".to_owned()),
        (first, format!("belongs to user {first}")),
    ] {
        chown(&manifest, Some(owner), None).expect("chown");
        let outcome = by_lxc(&lab, &name, &manifest).outcome().code(1);
        assert!(outcome.stderr.contains(&why), "{outcome}");
        lab.assert_absent(&name);
    }
}

fn refused_where_others_can_write(caller: Caller) {
    let Some(lab) = Lab::open(caller, &[]) else { return };
    let manifest = three_layers(&lab, BUSYBOX);
    let trace = lab.path("work/trace");
    let directory = manifest.parent().expect("it is somewhere").to_path_buf();
    for path in [&manifest, &directory] {
        by_everybody(path);
        for door in [by_lxc, directly] {
            let name = lab.name("open");
            let outcome = door(&lab, &name, &manifest).env("TRACE", &trace).outcome();
            assert!(!outcome.status.success(), "{outcome}");
            let told = format!("`{}` is writable by everybody", path.display());
            assert!(outcome.stderr.contains(&told), "{outcome}");
            assert_eq!(lab.read(&trace), "", "no step runs");
            lab.assert_absent(&name);

            let call = door(&lab, &name, &manifest).arg("--allow-untrusted");
            call.env("TRACE", &trace).outcome().success();
            lab.destroy(&name);
            fs::remove_file(&trace).expect("steps have run");
        }
        mode(path, 0o755);
    }
}

/// Makes a container as LXC does.
fn by_lxc<'a>(lab: &'a Lab, name: &str, manifest: &Path) -> Call<'a> {
    lab.create(name, manifest).arg("--storage=none")
}

/// Makes one without LXC.
fn directly<'a>(lab: &'a Lab, name: &str, manifest: &Path) -> Call<'a> {
    lab.call([lab.program()])
        .args(["create", "--name", name, "--storage=none", "--lxcpath"])
        .arg(lab.lxcpath())
        .arg(manifest)
}

fn by_everybody(path: &Path) {
    mode(path, 0o777);
}

fn mode(path: &Path, bits: u32) {
    fs::set_permissions(path, Permissions::from_mode(bits)).expect("chmod");
}
