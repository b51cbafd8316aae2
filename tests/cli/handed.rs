//! What a pre step hands inward by `$LAYER_ENV`.

use crate::sandbox::Sandbox;

const ROLE: &str = "manifest = 1
[vars]
build = { from = \"mid\" }

[[layer]]
name = \"os\"
template = \"fake\"
pre = \"echo os pre ${build-unset} ${LAYER_ENV-unset} >>trace\"

[[layer]]
name = \"mid\"
pre = [
  \"echo build=first >>\\\"$LAYER_ENV\\\"\",
  \"echo 'build=a b=c' >>\\\"$LAYER_ENV\\\"; echo mid pre ${build-unset} >>trace\",
]
post = \"echo mid post ${build-unset} ${LAYER_ENV-unset} >>trace\"
check = \"echo mid check ${build-unset} >>trace\"
finally = \"echo mid finally ${build-unset} >>trace\"

[[layer]]
name = \"out\"
pre = \"echo out pre ${build-unset} ${LAYER_ENV-unset} >>trace\"
post = \"echo out post ${build-unset} >>trace\"
";

#[test]
fn inner_layers_and_later_steps_see_it_and_nobody_outside() {
    let sandbox = Sandbox::new().manifest(ROLE);
    sandbox.chain().exits(0);
    let expected = "out pre unset unset
mid pre unset
os pre a b=c unset
mid post a b=c unset
mid check a b=c
mid finally a b=c
out post unset
";
    assert_eq!(sandbox.trace(), expected);
}

#[test]
fn a_reusable_layer_sees_its_own_alone() {
    let role = "manifest = 1
[vars]
build = { from = \"out\" }

[[layer]]
name = \"os\"
template = \"fake\"

[[layer]]
use = \"reused\"

[[layer]]
name = \"out\"
pre = \"echo build=outer >>\\\"$LAYER_ENV\\\"\"
post = \"echo out post $build ${own-unset} >>trace\"
";
    let reused = "[vars]
own = { from = \"self\" }
[layer]
pre = \"echo own=mine >>\\\"$LAYER_ENV\\\"\"
post = \"echo reused post $own ${build-unset} >>../trace\"
";
    let sandbox = Sandbox::new().manifest(role).file("layers/reused.toml", reused);
    sandbox.chain().exits(0);
    assert_eq!(sandbox.trace(), "reused post mine unset\nout post outer unset\n");
}

#[test]
fn what_is_not_as_declared_ends_the_run() {
    let table = [
        (":", "did not hand `build` inward: no line `build=…` was written to `$LAYER_ENV`"),
        ("echo x=1", "handed `x` inward, which `[vars]` does not declare as `from` this layer"),
        ("echo nonsense", "wrote line 1 of `$LAYER_ENV`, which is not `name=value`"),
        ("printf 'build=\\\\000\\n'", "handed a NUL inward, in `build`"),
        ("head -c 70000 /dev/zero", "left a `$LAYER_ENV` behind: it is 70000 bytes long"),
        ("rm \\\"$LAYER_ENV\\\"; mkdir \\\"$LAYER_ENV\\\"; true", "it is a directory"),
        ("rm \\\"$LAYER_ENV\\\"; mkfifo \\\"$LAYER_ENV\\\"; true", "it is not a regular file"),
    ];
    for (command, reason) in table {
        let redirect = if command.starts_with("rm ") { "" } else { " >>\\\"$LAYER_ENV\\\"" };
        let sandbox = Sandbox::new().upstream("touch \"$path/ran\"").manifest(&format!(
            "manifest = 1\n[vars]\nbuild = {{ from = \"os\" }}\n[[layer]]\nname = \"os\"\n\
             template = \"fake\"\npre = \"{command}{redirect}\"\nfinally = \"touch ended\"\n"
        ));
        let ran = sandbox.chain();
        ran.exits(3).mentions("`pre` of layer `os`").mentions(reason).mentions("--> m.toml:7");
        assert!(!sandbox.container().join("ran").exists(), "{command}");
        assert!(sandbox.role().join("ended").exists(), "{command}");
    }
}

#[test]
fn a_layer_that_declares_nothing_has_no_file_to_write_to() {
    let sandbox = Sandbox::new()
        .env("LAYER_ENV", "/of/the/caller")
        .env("LAYER_STATUS", "7")
        .layers("pre = 'echo ${LAYER_ENV-unset} ${LAYER_STATUS-unset} >>trace'\n");
    sandbox.chain().exits(0);
    assert_eq!(sandbox.trace(), "unset unset\n");
}
