//! What another container store has left in a rootfs: attributes and whiteouts of overlays.

use std::path::PathBuf;

use super::{as_each, create_directly, named, seen, shelf};
use crate::caller::Caller;
use crate::lab::Lab;

/// What changes something beside and among them: by a step, and without any.
const LAYERS: &str = r#"
[[layer]]
name = "step"
post = { in = "rootfs", run = '''
cd /var/lib/engine/layer
echo more >>dir/f; echo new >dir/by-step; mkdir beside; mv below beside/moved; chmod 0710 dir
''' }

[[layer]]
name = "drops"
[[layer.file]]
path = "/var/lib/engine/layer/dir/dropped"
content = "dropped\n"
[[layer.file]]
path = "/var/lib/engine/layer/beside/dropped"
content = "dropped\n"

[[layer]]
name = "last"
post = { in = "rootfs", run = "echo last >/var/lib/engine/layer/dir/sub/by-last" }
"#;

const TREE: &str = r#"
mkdir -p var/lib/engine/layer/dir/sub var/lib/engine/layer/below/deep var/lib/engine/other
cd var/lib/engine/layer
for d in dir dir/sub below below/deep ../other; do echo "$d" >"$d/f"; done
"#;

/// Each is set in the form that overlays of this caller have.
const MARKS: &[(&str, &str)] = &[
    ("an opaque directory", "setfattr -n $X.overlay.opaque -v y dir"),
    ("an opaque directory deep down", "setfattr -n $X.overlay.opaque -v y below/deep"),
    ("a directory that holds whiteouts", "setfattr -n $X.overlay.opaque -v x dir"),
    ("a redirect", "setfattr -n $X.overlay.redirect -v /var/lib/engine/other dir/sub"),
    ("a redirect to nothing", "setfattr -n $X.overlay.redirect -v gone below"),
    (
        "an origin",
        "setfattr -n $X.overlay.origin -v 0sAPsdAAFx dir; setfattr -n $X.overlay.origin -v 0sAPsdAAFx dir/f",
    ),
    ("impure", "setfattr -n $X.overlay.impure -v y dir; setfattr -n $X.overlay.impure -v y below"),
    ("a number of links", "setfattr -n $X.overlay.nlink -v U+1 dir/f"),
    ("a file without its bytes", "setfattr -n $X.overlay.metacopy -v 0sAAA= below/deep/f"),
    ("an attribute that was escaped already", "setfattr -n $X.overlay.overlay.opaque -v y dir"),
    ("one of none of overlayfs's names", "setfattr -n $X.overlay.own -v 1 dir dir/f"),
    (
        "all at once",
        "setfattr -n $X.overlay.opaque -v y dir; setfattr -n $X.overlay.redirect -v /x below; \
                     setfattr -n $X.overlay.origin -v 0sAPsd dir/f; setfattr -n user.plain -v 1 dir",
    ),
];

/// What changes something there without any step.
const DROPS: &str = r#"
[[layer]]
name = "drops"
[[layer.file]]
path = "/var/lib/engine/layer/dir/dropped"
content = "dropped\n"
[[layer.file]]
path = "/var/lib/engine/layer/dir/sub/f"
content = "another\n"
"#;

fn role(lab: &Lab, marks: &str, layers: &str) -> PathBuf {
    let prefix = if lab.caller == Caller::Root { "trusted" } else { "user" };
    let marks = marks.replace("$X", prefix);
    let upstream = named::upstream(lab, "upstream", &format!("{TREE}{marks}"));
    let text = format!("manifest = 1\n[[layer]]\nname = \"os\"\n{upstream}\n{layers}");
    lab.write("work/role.toml", &text)
}

/// Sees what is not as without a store, however it is stored. What an overlay cannot show may be refused,
/// where a message says so.
fn faults(lab: &Lab, about: &str, marks: &str, layers: &str) -> Vec<String> {
    let manifest = role(lab, marks, layers);
    let name = lab.name("nested");
    let mut first = None;
    let mut faults = Vec::new();
    for storage in ["--storage=none", "--storage=copy", "--storage=copy", "--storage=overlay"] {
        let what = format!("{:?}, {about}, {storage}", lab.caller);
        let outcome = create_directly(lab, &name, &manifest, &[storage]).outcome();
        if !outcome.status.success() {
            let refused = outcome.status.code() == Some(8)
                && ["whiteout", "overlay.", "/var/lib/engine"]
                    .iter()
                    .any(|word| outcome.stderr.contains(word));
            if storage != "--storage=overlay" || !refused {
                faults.push(format!("{what}: {outcome}"));
            }
            continue;
        }
        let tree = seen::listing(lab, &name).timeless();
        lab.destroy(&name);
        let Some(first) = &first else {
            first = Some(tree);
            continue;
        };
        faults.extend(tree.differing(first).into_iter().map(|path| {
            let (is, should) = (tree.0.get(&path), first.0.get(&path));
            format!("{what}: /{}: {is:?}, not {should:?}", path.display())
        }));
    }
    let verified = shelf::store(lab, &["verify"]).outcome();
    if !verified.status.success() {
        faults.push(format!("{:?}, {about}: {verified}", lab.caller));
    }
    faults
}

#[test]
fn attributes_of_overlays_are_the_rootfs_s_own() {
    let mut wrong = Vec::new();
    as_each(&["setfattr", "ldd"], |lab| {
        wrong.extend(MARKS.iter().flat_map(|(about, marks)| faults(lab, about, marks, LAYERS)));
    });
    assert!(wrong.is_empty(), "{} faults: {wrong:#?}", wrong.len());
}

/// Those of the form that is none of this caller's overlays.
#[test]
fn attributes_of_overlays_of_the_other_form_are_the_rootfs_s_own() {
    let Some(lab) = Lab::open(Caller::Root, &["setfattr", "ldd"]) else { return };
    let faults: Vec<_> = MARKS
        .iter()
        .flat_map(|(about, marks)| faults(&lab, about, &marks.replace("$X", "user"), LAYERS))
        .collect();
    assert!(faults.is_empty(), "{} faults: {faults:#?}", faults.len());
}

#[test]
fn attributes_of_overlays_stay_where_no_step_runs() {
    let Some(lab) = Lab::open(Caller::Root, &["setfattr", "ldd"]) else { return };
    let mut wrong = Vec::new();
    for (how, layers) in [("a template alone", ""), ("files alone", DROPS)] {
        wrong.extend(
            MARKS
                .iter()
                .flat_map(|(about, marks)| faults(&lab, &format!("{about}, {how}"), marks, layers)),
        );
    }
    assert!(wrong.is_empty(), "{} faults: {wrong:#?}", wrong.len());
}

#[test]
fn whiteouts_are_the_rootfs_s_own() {
    let mut wrong = Vec::new();
    as_each(&["setfattr", "ldd"], |lab| {
        for (about, marks) in [
            ("a whiteout", "mknod dir/gone c 0 0"),
            ("a whiteout that is moved", "mknod below/deep/gone c 0 0"),
            ("two names of one", "mknod dir/gone c 0 0; ln dir/gone below/gone"),
            ("a directory of nothing else", "mkdir dir/only; mknod dir/only/gone c 0 0"),
        ] {
            wrong.extend(faults(lab, about, marks, LAYERS));
            wrong.extend(faults(lab, &format!("{about}, files alone"), marks, DROPS));
        }
    });
    assert!(wrong.is_empty(), "{} faults: {wrong:#?}", wrong.len());
}
