//! `push --sign`: no host finds anything that is not signed, however a push ends.

use super::counter::Counter;
use super::pulling::{key, puller, pushed};

/// A program in the place of `ssh-keygen` that does something else where it is to sign.
fn signing(by: &str) -> String {
    format!(
        "#!/bin/sh\n\
         for word; do case $word in sign) {by};; esac; done\n\
         exec /usr/bin/ssh-keygen \"$@\"\n"
    )
}

#[test]
fn a_push_whose_signing_fails_leaves_what_hosts_have() {
    let Some(pushed) = pushed() else { return };
    let (other, _) = key(&pushed.builder, "other");
    let repository = pushed.repository.as_str();
    let before = pushed.manifest("latest");
    pushed.builder.run(["build", "m.toml", "--rebuild"]).exits(0);
    let programs = pushed.builder.path("programs");
    std::fs::create_dir(&programs).unwrap();
    let by_another = format!(
        "exec /usr/bin/ssh-keygen -Y sign -n layered-template -f {}",
        other.to_str().unwrap()
    );
    for (by, why) in [
        ("echo no agent >&2; exit 1", "no agent"),
        (by_another.as_str(), "the signature that was made is not one of this key"),
        ("echo junk; exit 0", "the signature that was made is not one of this key"),
    ] {
        let builder = &pushed.builder;
        let program = programs.join("ssh-keygen");
        std::fs::write(&program, signing(by)).unwrap();
        let mut command = builder.command("/bin/sh");
        let called = "chmod 755 \"$0\"; PATH=${0%/*}:$PATH exec \"$@\"";
        command.args(["-c", called]).arg(&program).arg(builder.program_path());
        command.args(["push", "m.toml", repository, "--sign"]).arg(&pushed.key);
        builder.ran(command).exits(8).mentions(why);
        assert_eq!(pushed.manifest("latest"), before);
        pushed.pull(&puller(&pushed), &[]).exits(0);
    }
}

#[test]
fn a_layer_is_found_once_its_signature_is_there() {
    let Some(pushed) = pushed() else { return };
    let counter = Counter::to(pushed.registry.port);
    let key = pushed.key.to_str().unwrap();
    let push = ["push", "m.toml", &counter.repository("other"), "--sign", key];
    pushed.builder.run(push).exits(0);
    let (requests, ..) = counter.take();
    let puts = requests.iter().filter_map(|line| line.strip_prefix("PUT /v2/other/manifests/"));
    let kinds: Vec<_> = puts.map(|tag| tag.split('-').next().unwrap()).collect();
    let expected = ["sha256", "sha256", "sha256", "key", "key", "key", "latest", "latest.lt"];
    assert_eq!(kinds, expected, "{requests:#?}");
}
