//! Files of accounts that a container and its role have both changed.

use super::{change, each_storage, upgrade, within};

#[test]
fn a_file_of_accounts_that_is_too_large_to_put_together_is_a_conflict() {
    each_storage(|sandbox, storage| {
        within(sandbox, "seq -f \"u%.0f:x:1:1:$(printf %01000d 0):/:/bin/sh\" 17000 >>etc/passwd");
        let lines = || within(sandbox, "wc -l <etc/passwd");
        assert_eq!(lines(), "17001\n");
        change(sandbox, "one", 2, "echo app:x:998:998::/:/bin/false >>etc/passwd");
        upgrade(sandbox, &[]).exits(1).shows("C  /etc/passwd\n");
        assert_eq!(lines(), "17001\n", "{storage}");
    });
}

#[test]
fn a_number_that_becomes_another_account_s_while_files_keep_it_is_a_conflict() {
    each_storage(|sandbox, storage| {
        let accounts = |text: &str| format!("printf '{text}' >>etc/passwd");
        std::fs::remove_dir_all(sandbox.container()).unwrap();
        change(sandbox, "one", 2, &accounts("app:x:998:9::/:/bin/false\\\\n"));
        sandbox.create([format!("--storage={storage}")]).exits(0);
        change(sandbox, "two", 2, &accounts("db:x:998:9::/:/f\\\\napp:x:997:9::/:/f\\\\n"));
        upgrade(sandbox, &["--dry-run"]).exits(0);
        within(sandbox, "echo mine >srv/data/mine; chown 998 srv/data/mine");
        let why = "   why   uid 998 is `app`, and would be `db`: /srv/data/mine belongs to it, and stays\n";
        upgrade(sandbox, &[]).exits(1).shows("C  /etc/passwd\n").shows(why);
        upgrade(sandbox, &["--format=json"]).exits(1).shows("\"why\":\"uid 998 is ");
        upgrade(sandbox, &["--take=/etc/passwd"]).exits(0);
        assert_eq!(within(sandbox, "grep -c db: etc/passwd"), "1\n");
    });
}

#[test]
fn files_of_no_account_are_not_handed_to_a_new_one() {
    each_storage(|sandbox, _| {
        within(sandbox, "echo mine >srv/data/mine; chown 998 srv/data/mine");
        change(sandbox, "one", 2, "echo app:x:998:9::/:/bin/false >>etc/passwd");
        let why = "   why   uid 998 is no account, and would be `app`: /srv/data/mine belongs to it, and stays\n";
        upgrade(sandbox, &[]).exits(1).shows("C  /etc/passwd\n").shows(why);
        upgrade(sandbox, &["--take=/etc/passwd"]).exits(0);
        assert_eq!(within(sandbox, "grep -c app: etc/passwd"), "1\n");
    });
}
