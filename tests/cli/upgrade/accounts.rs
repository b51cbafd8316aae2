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
