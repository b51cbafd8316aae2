//! A directory that the role makes a symbolic link of, as a distribution does with `/lib`.

use std::fs;

use super::{change, layers, rollback, upgrade, within};
use crate::requirement::root;
use crate::sandbox::{NAME, Sandbox};
use crate::storages;

const BEFORE: &str = "mkdir opt/d; echo r >opt/r; echo d >opt/d/r";
const AFTER: &str =
    "mkdir opt/d; echo r >opt/r; echo d >opt/d/r; mkdir usr; mv opt usr/opt; ln -s usr/opt opt";

fn role() -> Sandbox {
    Sandbox::new().upstream(super::UPSTREAM).layers(&layers("one", 2, BEFORE))
}

fn each_storage(judge: impl Fn(&Sandbox)) {
    if root() {
        storages::each(&["copy", "overlay"], role, &[], |sandbox, _| judge(sandbox));
    }
}

#[test]
fn a_link_in_place_of_a_directory_of_the_containers_files_is_decided_either_way() {
    each_storage(|sandbox| {
        within(
            sandbox,
            "echo own >opt/own; mkdir opt/d/e; echo deep >opt/d/e/deep; echo edited >opt/r",
        );
        let before = within(sandbox, "find opt usr -printf '%p %y %m %l\\n' 2>/dev/null | sort");
        change(sandbox, "one", 2, AFTER);
        let ran = upgrade(sandbox, &[]);
        ran.exits(1).prints(
            "C  /opt\n   was   directory 0755 0:0\n   role  symlink to usr/opt 0777 0:0\n   own   directory 0755 \
             0:0\n   why   what the container itself has there would go: /opt/d/e, /opt/d/e/deep, /opt/own \
             and /opt/r\n",
        );
        ran.mentions(" --take /opt\n");
        let named = "/opt/d/e/deep, /opt/own and /opt/r";
        upgrade(sandbox, &["--take", "/opt", "--dry-run"]).exits(0).mentions(&format!(
            "{NAME}: this would go, which the container itself has put there: {named}\n"
        ));
        let ran = upgrade(sandbox, &["--take", "/opt"]);
        ran.exits(0).shows("M  /opt\n").shows("D  /opt/own\n");
        ran.mentions(&format!(
            "{NAME}: this has gone, which the container itself had put there: {named}; "
        ));
        let found = within(sandbox, "readlink opt; ls usr/opt usr/opt/d; cat opt/r");
        assert_eq!(found, "usr/opt\nusr/opt:\nd\nr\n\nusr/opt/d:\nr\nr\n");
        rollback(sandbox).exits(0);
        assert_eq!(
            within(sandbox, "find opt usr -printf '%p %y %m %l\\n' 2>/dev/null | sort"),
            before
        );

        upgrade(sandbox, &["--keep", "/opt"]).exits(0).shows("A  /usr/opt/r\n");
        let found = within(sandbox, "ls opt opt/d; cat opt/r opt/d/e/deep usr/opt/r opt/d/r");
        assert_eq!(found, "opt:\nd\nown\nr\n\nopt/d:\ne\nr\nedited\ndeep\nr\nd\n");
        upgrade(sandbox, &[]).exits(0).mentions(": no change");
    });
}

#[test]
fn a_link_in_place_of_a_directory_in_which_nothing_has_changed_is_taken() {
    each_storage(|sandbox| {
        change(sandbox, "one", 2, AFTER);
        upgrade(sandbox, &[]).exits(0);
        assert_eq!(within(sandbox, "readlink opt; cat opt/r"), "usr/opt\nr\n");
    });
}

#[test]
fn a_link_of_the_containers_in_place_of_a_directory_is_decided_either_way() {
    each_storage(|sandbox| {
        within(sandbox, "mv opt elsewhere; ln -s elsewhere opt");
        change(sandbox, "one", 2, &format!("{BEFORE}; echo new >opt/new"));
        let ran = upgrade(sandbox, &[]);
        let why = "what the role puts there would be missing: /opt/new\n";
        ran.exits(1).shows("C  /opt\n").shows(why).mentions(" --take /opt\n");
        upgrade(sandbox, &["--take", "/opt"]).exits(0);
        assert_eq!(
            within(sandbox, "ls opt opt/d elsewhere"),
            "elsewhere:\nd\nr\n\nopt:\nd\nnew\nr\n\nopt/d:\nr\n"
        );
        rollback(sandbox).exits(0);
        // Of several paths the innermost decides here too: the container has nothing there.
        upgrade(sandbox, &["--take=/opt", "--keep=/opt/new", "--keep=/opt/d"]).exits(0);
        assert_eq!(within(sandbox, "ls opt"), "r\n");
        rollback(sandbox).exits(0);
        upgrade(sandbox, &["--keep", "/opt"]).exits(0);
        assert_eq!(within(sandbox, "readlink opt; ls opt"), "elsewhere\nd\nr\n");
    });
}

#[test]
fn state_does_not_go_for_a_link() {
    each_storage(|sandbox| {
        fs::create_dir_all(sandbox.path("at")).unwrap();
        within(sandbox, "echo kept >srv/data/kept");
        change(
            sandbox,
            "one",
            2,
            &format!("{BEFORE}; mv srv srv2; ln -s srv2 srv; mkdir srv2/www 2>/dev/null || :"),
        );
        upgrade(sandbox, &[]).exits(1).shows("C  /srv\n");
        let ran = upgrade(sandbox, &["--take", "/srv"]);
        ran.exits(1).shows("C  /srv/data").mentions("only `--keep /srv` has a place for /srv/data");
        assert!(!ran.stderr().contains("--take /srv/data"), "{}", ran.stderr());
        assert_eq!(within(sandbox, "cat srv/data/kept"), "kept\n");
        upgrade(sandbox, &["--keep", "/srv"]).exits(0);
        assert_eq!(within(sandbox, "cat srv/data/kept srv/data/seed"), "kept\nsite\n");
    });
}

#[test]
fn what_is_taken_into_a_link_that_is_kept_is_told_what_has_a_place_for_it() {
    each_storage(|sandbox| {
        within(sandbox, "mv opt elsewhere; ln -s elsewhere opt; echo own >etc/conf");
        change(sandbox, "one", 2, &format!("{BEFORE}; echo new >opt/new; echo two >etc/conf"));
        let ran = upgrade(sandbox, &["--keep", "/opt", "--take", "/opt/new"]);
        ran.exits(1)
            .shows("C  /etc/conf\n")
            .shows("C  /opt/new\n   was   nothing\n   role  sha256:");
        ran.shows("   why   it would have no place: /opt would be what the container has there, which is no directory\n");
        ran.mentions(" --keep /opt --take /opt/new --take /etc/conf\nonly `--take /opt` has a place for /opt/new\n");
        upgrade(sandbox, &["--take", "/opt", "--keep", "/etc/conf"]).exits(0);
        assert_eq!(within(sandbox, "cat opt/new etc/conf"), "new\nown\n");
    });
}

#[test]
fn nothing_of_the_role_s_comes_to_a_link_that_is_state() {
    each_storage(|sandbox| {
        within(sandbox, "mv srv/data opt/data; ln -s /opt/data srv/data; echo mine >opt/data/mine");
        change(sandbox, "two", 2, &format!("{BEFORE}; echo new >srv/data/new"));
        upgrade(sandbox, &[]).exits(0).prints(
            "M  /srv/www/index.html\nD  config: lxc.environment = PAGE=one\n\
             A  config: lxc.environment = PAGE=two\n",
        );
        assert_eq!(within(sandbox, "readlink srv/data; ls opt/data"), "/opt/data\nmine\nseed\n");
    });
}

#[test]
fn state_is_not_taken_by_name() {
    each_storage(|sandbox| {
        within(sandbox, "echo mine >srv/data/seed");
        change(sandbox, "two", 2, &format!("{BEFORE}; echo two >srv/data/seed"));
        for path in ["/srv/data", "srv/data/seed"] {
            upgrade(sandbox, &["--take", path]).exits(2).mentions(&format!(
                "`--take {path}`: that is `state` of `{NAME}`, which stays as it is\n"
            ));
        }
        upgrade(sandbox, &["--take", "/srv", "--keep=/srv/data"]).exits(0);
        assert_eq!(within(sandbox, "cat srv/data/seed"), "mine\n");
    });
}
