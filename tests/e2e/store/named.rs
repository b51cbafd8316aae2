//! A role made under several names, in every way that there is.

use std::fs;
use std::path::Path;

use super::listing::Listing;
use super::planned::standings;
use super::{create_directly, seen, shelf};
use crate::call::Outcome;
use crate::config;
use crate::lab::Lab;

/// Two of a fleet: what stands before a `-` or behind it is not the same, nor as long.
pub(super) const NAMES: [&str; 2] = ["web-12", "db-007"];

/// What a container is made of: its tree, and the lines of its config that every storage has.
pub(super) type Made = (Listing, Vec<String>);

/// An upstream with the host's busybox, and `setfattr` where the host has it. Its last lines are a
/// test's own; they have `$N`, `$R` and `$P`: the name, the rootfs, the container's directory.
pub(super) fn upstream(lab: &Lab, file: &str, lines: &str) -> String {
    const HEAD: &str = r#"#!/bin/sh
set -e
for a; do case $a in --rootfs=*) R=${a#*=};; --path=*) P=${a#*=};; --name=*) N=${a#*=};; --host=*) H=${a#*=};; esac; done
umask 022
cd "$R"
mkdir -p bin etc root proc dev sys srv tmp usr/bin var/lib
chmod 1777 tmp
cp "$(command -v busybox)" bin/busybox
for applet in $(bin/busybox --list); do [ "$applet" = busybox ] || ln -s busybox "bin/$applet"; done
echo root:x:0:0::/root:/bin/sh >etc/passwd
echo root:x:0: >etc/group
if program=$(command -v setfattr); then
    for file in "$program" $(ldd "$program" | grep -o '/[^ )]*'); do
        mkdir -p ".${file%/*}"
        [ -e ".$file" ] || cp -L "$file" ".$file"
    done
fi
printf 'lxc.uts.name = %s\n' "$N" >>"$P/config"
"#;
    let script = lab.script(format!("work/{file}"), &format!("{HEAD}{lines}\n"));
    format!("template = \"{}\"", script.display())
}

/// Makes a container, takes what it is made of, and removes it.
fn made(
    lab: &Lab,
    name: &str,
    manifest: &Path,
    words: &[&str],
) -> Result<(Made, Outcome), Outcome> {
    let outcome = create_directly(lab, name, manifest, words).outcome();
    if !outcome.status.success() {
        lab.assert_absent(name);
        return Err(outcome);
    }
    let tree = seen::listing(lab, name).timeless();
    let text = lab.read(lab.container(name, "config"));
    let lines = config::body(&text).into_iter().filter(|line| is_common(line));
    let lines = lines.map(str::to_owned).collect();
    // None has been started.
    fs::remove_dir_all(lab.container(name, "")).expect("root removes all");
    Ok(((tree, lines), outcome))
}

/// Whether a line of a config has nothing to do with where the rootfs is.
fn is_common(line: &str) -> bool {
    let own = ["lxc.rootfs.", "lxc.hook.clone", "# layered-template: stands on the layer store"];
    !own.iter().any(|start| line.starts_with(start))
}

/// What a role gives without a store.
#[track_caller]
pub(super) fn expected(lab: &Lab, name: &str, manifest: &Path) -> Made {
    match made(lab, name, manifest, &["--storage=none"]) {
        Ok((made, _)) => made,
        Err(outcome) => panic!("without a store: {outcome}"),
    }
}

/// What is wrong with a container of a storage, and what the run has said. Where nothing at all is
/// stored, there is no overlay.
pub(super) fn faults(
    lab: &Lab,
    name: &str,
    manifest: &Path,
    storage: &str,
    expected: &Made,
) -> (Vec<String>, String) {
    let words = [storage];
    let (made, outcome) = match made(lab, name, manifest, &words) {
        Ok(made) => made,
        Err(outcome) => {
            let nothing = outcome.status.code() == Some(8)
                && outcome.stderr.contains("nothing is stored")
                && storage == "--storage=overlay";
            let faults = if nothing { vec![] } else { vec![format!("{storage}: {outcome}")] };
            return (faults, outcome.stderr);
        }
    };
    let ((tree, lines), (other_tree, other_lines)) = (&made, expected);
    let mut faults: Vec<_> = tree
        .differing(other_tree)
        .into_iter()
        .map(|path| {
            let (is, should) = (tree.0.get(&path), other_tree.0.get(&path));
            format!("{name} {storage}: /{}: {is:?}, not {should:?}", path.display())
        })
        .collect();
    if lines != other_lines {
        faults.push(format!("{name} {storage}: config {lines:?}, not {other_lines:?}"));
    }
    (faults, outcome.stderr)
}

/// A plan of the role for a name.
#[track_caller]
pub(super) fn plan(lab: &Lab, name: &str, manifest: &Path) -> String {
    let call = lab.call([lab.program()]).arg("plan").arg(manifest).args(["-v", "--name", name]);
    let call = call.arg("-f").arg(lab.path("default.conf")).arg("--lxcpath").arg(lab.lxcpath());
    call.outcome().success().stdout
}

/// What is of a kind in the store.
pub(super) fn count(lab: &Lab, what: &str) -> usize {
    if !lab.path("store/roots").exists() {
        return 0;
    }
    shelf::kinds(lab).iter().filter(|kind| *kind == what).count()
}

/// Makes a role under both names, in each way, and tells of all that is not as without a store; also
/// where a run did not do what a plan has said before. `found` is whether only the run that makes the
/// layer can find out that it cannot be stored.
pub(super) fn tried(lab: &Lab, manifest: &Path, what: &str, found: bool) -> Vec<String> {
    let wanted = NAMES.map(|name| expected(lab, name, manifest));
    let mut all = Vec::new();
    let planned = standings(&plan(lab, NAMES[0], manifest));
    let before = count(lab, what);
    let runs = [(0, "--storage=copy"), (1, "--storage=copy"), (0, "--storage=overlay")];
    for (round, (which, storage)) in runs.into_iter().enumerate() {
        let (faults, _) = self::faults(lab, NAMES[which], manifest, storage, &wanted[which]);
        all.extend(faults);
        let is_made = count(lab, what) > before;
        let standing = planned.get(what).map_or("", String::as_str);
        let kept = match standing {
            "to build" => is_made || found,
            "always runs" => !is_made,
            _ => false,
        };
        if round == 0 && !kept {
            all.push(format!("the plan says [{standing}]; made: {is_made}"));
        }
    }
    all
}
