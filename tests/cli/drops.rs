//! Drops: every kind, on everything that can be there, by every rule.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use crate::listing;
use crate::sandbox::Sandbox;

/// What can be at the path of a drop.
const THERE: [&str; 7] =
    ["nothing", "file", "directory", "to-file", "to-directory", "dangling", "fifo"];

/// What is dropped: the name, the manifest's lines, and what is there afterwards.
const KINDS: [(&str, &str, &str); 6] = [
    ("content", "content = \"new\"", "file 0644 \"new\""),
    ("source", "source = \"one\"", "file 0644 \"one\""),
    ("tree", "source = \"tree\"", "directory 0700"),
    ("symlink", "symlink = \"else\"", "-> else"),
    ("directory", "directory = true", "directory 0755"),
    ("remove", "remove = true", "nothing"),
];

const THERE_ALREADY: &str = "something is there already";
const A_DIRECTORY: &str = "there is a directory";
const NOT_ONE: &str = "there is a file, not a directory";

/// Returns the outcome that is right: what is there afterwards, or a part of the failure.
fn expected(
    kind: &str,
    there: &str,
    if_exists: &str,
) -> Result<Option<&'static str>, &'static str> {
    let (_, _, made) = KINDS.into_iter().find(|(name, ..)| *name == kind).unwrap();
    let leads_to_directory = there == "to-directory";
    match (kind, there) {
        (_, "nothing") => Ok(Some(made)),
        // A tree merges into a directory, one behind a link too, and asks file by file.
        ("tree", "directory") => Ok(None),
        ("tree", _) if leads_to_directory => Ok(None),
        ("tree", "to-file" | "dangling") => match if_exists {
            "keep" => Ok(None),
            "error" => Err(THERE_ALREADY),
            _ => Ok(Some(made)),
        },
        ("tree", _) => Err(NOT_ONE),
        _ if if_exists == "keep" => Ok(None),
        _ if if_exists == "error" => Err(THERE_ALREADY),
        ("remove", _) => Ok(Some(made)),
        ("directory", "directory") => Ok(None),
        ("directory", "file" | "fifo") => Err(NOT_ONE),
        (_, "directory") => Err(A_DIRECTORY),
        _ => Ok(Some(made)),
    }
}

/// Puts what is to be there.
fn put(there: &str, rootfs: &Path) {
    let place = rootfs.join("place");
    fs::write(rootfs.join("file"), "old").unwrap();
    fs::create_dir(rootfs.join("dir")).unwrap();
    match there {
        "file" => fs::write(place, "old").unwrap(),
        "directory" => fs::create_dir(place).unwrap(),
        "to-file" => symlink("file", place).unwrap(),
        "to-directory" => symlink("dir", place).unwrap(),
        "dangling" => symlink("/no/where", place).unwrap(),
        "fifo" => assert!(Command::new("mkfifo").arg(place).status().unwrap().success()),
        _ => {}
    }
}

#[test]
fn every_kind_on_everything_by_every_rule() {
    let mut faults = Vec::new();
    for (kind, lines, _) in KINDS {
        for there in THERE {
            // What is to go has no rule for being there.
            let rules =
                if kind == "remove" { &["replace"][..] } else { &["replace", "keep", "error"] };
            for if_exists in rules.iter().copied() {
                let rule = format!("if_exists = \"{if_exists}\"\n");
                let rule = if kind == "remove" { "" } else { &rule };
                let sandbox = Sandbox::new()
                    .file("one", "one")
                    .file("tree/in/f", "f")
                    .layers(&format!("[[layer.file]]\npath = \"/place\"\n{rule}{lines}\n"));
                let tree = sandbox.role().join("tree");
                fs::set_permissions(tree, std::os::unix::fs::PermissionsExt::from_mode(0o700))
                    .unwrap();
                sandbox.shell();
                put(there, &sandbox.rootfs());
                let place = sandbox.rootfs().join("place");
                let before = listing::one(&place);
                let ran = sandbox.chain();
                let after = listing::one(&place);
                let code = ran.output.status.code();
                let case =
                    format!("{kind} on {there}, {if_exists}: {code:?} {after}\n{}", ran.stderr());
                match expected(kind, there, if_exists) {
                    Ok(made) => {
                        if code != Some(0) || after != made.unwrap_or(&before) {
                            faults.push(case);
                        } else if kind == "tree" && made.is_none() && there.contains("directory") {
                            assert_eq!(sandbox.read("/place/in/f"), "f", "{case}");
                        }
                    }
                    Err(part) => {
                        if code != Some(5) || after != before || !ran.stderr().contains(part) {
                            faults.push(case);
                        }
                    }
                }
                // What a link leads to is never written to.
                assert_eq!(sandbox.read("/file"), "old");
                let names = listing::of(&sandbox.rootfs());
                assert!(!names.contains(".layered-template"), "{names}");
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn missing_parents_are_root_s_and_open_to_all() {
    let sandbox = Sandbox::new().umask(0o077).file("src/deep/f", "x").layers(
        "[[layer.file]]\npath = \"/a/b/c\"\ncontent = \"\"\nmode = \"0600\"\n\
         [[layer.file]]\npath = \"/d/e/f\"\nsymlink = \"x\"\n\
         [[layer.file]]\npath = \"/g/h/i\"\ndirectory = true\nmode = \"0700\"\n\
         [[layer.file]]\npath = \"/none/of/these\"\nremove = true\n",
    );
    sandbox.chain().exits(0);
    let expected = "/a directory 0755
/a/b directory 0755
/a/b/c file 0600 \"\"
/d directory 0755
/d/e directory 0755
/d/e/f -> x
/etc directory 0755
/g directory 0755
/g/h directory 0755
/g/h/i directory 0700
";
    assert_eq!(listing::of(&sandbox.rootfs()), expected);
}

#[test]
fn parents_below_a_set_group_id_directory_are_root_s_too() {
    let sandbox = Sandbox::new()
        .file("tree/t/f", "")
        .upstream("mkdir \"$rootfs/local\"; chgrp 50 \"$rootfs/local\" || :; chmod 2775 \"$rootfs/local\"")
        .layers(
            "[[layer.file]]\npath = \"/local/a/b/c\"\ncontent = \"\"\n\
             [[layer.file]]\npath = \"/local/d\"\ndirectory = true\n\
             [[layer.file]]\npath = \"/local\"\nsource = \"tree\"\n",
        );
    sandbox.chain().exits(0);
    let expected = "/a directory 0755
/a/b directory 0755
/a/b/c file 0644 \"\"
/d directory 0755
/t directory 0755
/t/f file 0644 \"\"
";
    assert_eq!(listing::of(&sandbox.rootfs().join("local")), expected);
}

#[test]
fn a_source_that_anyone_may_execute_stays_executable() {
    use std::os::unix::fs::PermissionsExt;
    let drop = |name: &str| format!("[[layer.file]]\npath = \"/{name}\"\nsource = \"{name}\"\n");
    let rest = ["o600", "o644", "o755", "o711", "o601", "o700"].map(drop).concat();
    let sandbox = Sandbox::new().layers(
        &(rest + "[[layer.file]]\npath = \"/forced\"\nsource = \"o755\"\nmode = \"4711\"\n"),
    );
    for mode in [0o600, 0o644, 0o755, 0o711, 0o601, 0o700] {
        let path = sandbox.role().join(format!("o{mode:o}"));
        fs::write(&path, "").unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }
    sandbox.chain().exits(0);
    let modes: Vec<_> = ["o600", "o644", "o755", "o711", "o601", "o700", "forced"]
        .map(|name| {
            listing::one(&sandbox.rootfs().join(name)).split(' ').nth(1).unwrap().to_owned()
        })
        .into();
    assert_eq!(modes, ["0644", "0644", "0755", "0755", "0755", "0755", "4711"]);
}

#[test]
fn a_directory_that_is_there_gets_what_the_manifest_says_and_no_more() {
    let sandbox = Sandbox::new()
        .upstream("mkdir -m 0700 \"$rootfs/a\" \"$rootfs/b\"; touch \"$rootfs/b/kept\"")
        .layers(
            "[[layer.file]]\npath = \"/a\"\ndirectory = true\n\
             [[layer.file]]\npath = \"/b\"\ndirectory = true\nmode = \"0711\"\n",
        );
    sandbox.chain().exits(0);
    let expected = "/a directory 0700\n/b directory 0711\n/b/kept file 0644 \"\"\n";
    assert_eq!(listing::of(&sandbox.rootfs()), expected);
}

#[test]
fn removing_takes_all_below_and_no_more() {
    let sandbox = Sandbox::new()
        .upstream(
            "mkdir -p \"$rootfs/d/e\" \"$rootfs/keep\"; touch \"$rootfs/d/e/f\" \"$rootfs/keep/k\"; \
             ln -s /keep \"$rootfs/d/link\"; ln -s /keep \"$rootfs/gone\"; touch \"$rootfs/file\"",
        )
        .layers(
            "[[layer.file]]\npath = \"/d\"\nremove = true\n\
             [[layer.file]]\npath = \"/gone\"\nremove = true\n\
             [[layer.file]]\npath = \"/file/below\"\nremove = true\n\
             [[layer.file]]\npath = \"/missing/below\"\nremove = true\n",
        );
    sandbox.chain().exits(0);
    let expected = "/file file 0644 \"\"\n/keep directory 0755\n/keep/k file 0644 \"\"\n";
    assert_eq!(listing::of(&sandbox.rootfs()), expected);
}

#[test]
fn merged_usr_and_absolute_links_of_the_rootfs_are_followed_on_the_way() {
    let sandbox = Sandbox::new()
        .upstream(
            "mkdir -p \"$rootfs/usr/bin\" \"$rootfs/var/data\"; ln -s usr/bin \"$rootfs/bin\"; \
             ln -s /var/data \"$rootfs/data\"",
        )
        .layers(
            "[[layer.file]]\npath = \"/bin/app\"\ncontent = \"a\"\nmode = \"0755\"\n\
             [[layer.file]]\npath = \"/data/sub/f\"\ncontent = \"b\"\n",
        );
    sandbox.chain().exits(0);
    assert_eq!(sandbox.read("/usr/bin/app"), "a");
    assert_eq!(sandbox.read("/var/data/sub/f"), "b");
    assert_eq!(listing::one(&sandbox.rootfs().join("bin")), "-> usr/bin");
}

#[test]
fn drops_come_before_or_after_the_post_steps() {
    let sandbox = Sandbox::new().layers(
        "post = 'ls \"$LXC_ROOTFS\" >>trace'\ncheck = 'ls \"$LXC_ROOTFS\" >>trace'\n\
         [[layer.file]]\npath = \"/late\"\ncontent = \"\"\nwhen = \"after-post\"\n\
         [[layer.file]]\npath = \"/early\"\ncontent = \"\"\n",
    );
    sandbox.chain().exits(0);
    assert_eq!(sandbox.trace(), "early\netc\nearly\netc\nlate\n");
}

#[test]
fn what_decides_over_what_is_there_already_is_named() {
    let sandbox = Sandbox::new()
        .upstream("mkdir \"$rootfs/etc\"; echo >\"$rootfs/etc/x\"")
        .layers("[[layer.file]]\npath = \"/etc/x\"\ncontent = \"\"\nif_exists = \"error\"\n");
    sandbox.chain().exits(5).mentions(
        "\nhint: `if_exists` decides what happens then: `\"error\"` ends the run, `\"replace\"` puts the drop in its \
         place, and `\"keep\"` keeps what is there\n",
    );
}
