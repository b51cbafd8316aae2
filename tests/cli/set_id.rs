//! A program that would have more rights than its caller does not run.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use rustix::fs::{StatVfsMountFlags, XattrFlags, setxattr, statvfs};

use crate::requirement::{root, skip};
use crate::sandbox::Sandbox;

/// What gives a program more rights than its caller has.
type Gift = fn(&Path);

fn mode(path: &Path, bits: u32) {
    fs::set_permissions(path, Permissions::from_mode(bits)).unwrap();
}

/// Gives a program `CAP_DAC_OVERRIDE`, permitted and effective: a `vfs_cap_data` of revision 2.
fn capable(path: &Path) {
    let words: [u32; 5] = [0x0200_0001, 1 << 1, 0, 0, 0];
    let value: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    setxattr(path, "security.capability", &value, XattrFlags::empty()).unwrap();
}

#[test]
fn a_program_with_more_rights_than_its_caller_does_not_run() {
    if !root() {
        return;
    }
    let sandbox = Sandbox::new().layers("");
    if statvfs(sandbox.path("")).unwrap().f_flag.contains(StatVfsMountFlags::NOSUID) {
        skip("nothing is set-user-id on the filesystem of temporary files");
        return;
    }
    let table: [(&str, Gift, &str, &str); 3] = [
        ("user", |path| mode(path, 0o4755), "is set-user-id", "chmod u-s"),
        ("group", |path| mode(path, 0o2755), "is set-group-id", "chmod g-s"),
        ("capability", capable, "has file capabilities", "setcap -r"),
    ];
    let as_nobody = |program: &Path, words: &[&str]| {
        let mut command = sandbox.command("setpriv");
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups", "--"]).arg(program);
        sandbox.ran({
            command.args(words);
            command
        })
    };
    for (name, give, is, command) in table {
        let program = sandbox.installed(name);
        as_nobody(&program, &["plan", "m.toml"]).exits(0);
        give(&program);
        for words in [&["plan", "m.toml"][..], &["--version"], &["--path=/a/b/c", "-h"]] {
            let ran = as_nobody(&program, words);
            ran.exits(10).says(&format!(
                "error: the program {is}, and does not run with more rights than its caller\n\nhint: \
                 `{command} [DIR]/{name}` fixes that\n"
            ));
            assert_eq!(ran.stdout(), "");
        }
        // Root is given nothing by it.
        let mut command = sandbox.command(&program);
        command.arg("--version");
        sandbox.ran(command).exits(0);
    }
}
