//! A rootfs for another kind of processor.

use std::fs;

use crate::sandbox::Sandbox;

/// Returns the machines that this host can run no programs of, as `doctor` says, with the number that
/// ELF has for each.
fn foreign() -> Vec<(&'static str, u16)> {
    let ran = Sandbox::new().run(["doctor", "--format", "json"]);
    let findings: serde_json::Value = serde_json::from_slice(&ran.output.stdout).unwrap();
    let list = findings.as_array().or_else(|| findings["findings"].as_array()).unwrap();
    let machines = list.iter().find(|finding| finding["subject"] == "machines").unwrap();
    let says = machines["says"].as_str().unwrap().to_owned();
    [("arm64", 183), ("amd64", 62), ("riscv64", 243), ("ppc64el", 21)]
        .into_iter()
        .filter(|(name, _)| !says.split([' ', ',']).any(|word| word == *name))
        .collect()
}

/// Returns the beginning of a static executable for a machine.
fn executable(machine: u16) -> Vec<u8> {
    let mut bytes = b"\x7fELF\x02\x01\x01".to_vec();
    bytes.resize(16, 0);
    bytes.extend(2_u16.to_le_bytes());
    bytes.extend(machine.to_le_bytes());
    bytes.resize(4096, 0);
    bytes
}

#[test]
fn a_rootfs_that_cannot_be_run_is_known_before_the_sandbox() {
    let Some((name, number)) = foreign().into_iter().next() else {
        return crate::requirement::skip("this host runs programs of every machine");
    };
    let shells = [("sh", ""), ("dash", "ln -s dash \"$rootfs/bin/sh\"")];
    for storage in ["none", "copy"] {
        for (shell, link) in shells {
            let sandbox = Sandbox::new()
                .file("shell", executable(number))
                .layers("[[layer]]\nname = \"app\"\npost = { run = 'true', in = \"rootfs\" }\n");
            let shell_of_host = sandbox.role().join("shell").display().to_string();
            let sandbox = sandbox.upstream(&format!(
                "mkdir \"$rootfs/bin\"; cp '{shell_of_host}' \"$rootfs/bin/{shell}\"\n\
                 chmod 755 \"$rootfs/bin/{shell}\"; {link}"
            ));
            let ran = sandbox.template(["m.toml", &format!("--storage={storage}")]);
            ran.exits(6)
                .mentions(&format!(
                    "`/bin/sh` of the rootfs is a program for {name}, and this host"
                ))
                .mentions("install `qemu-user-static`");
            assert!(!ran.stderr().contains("Exec format"), "{}", ran.stderr());
            assert!(ran.stderr().contains("command: /bin/sh -eu -c true"), "{}", ran.stderr());
            // Nothing of a sandbox was put there.
            let left = fs::read_dir(sandbox.rootfs()).into_iter().flatten();
            let left: Vec<_> = left.map(|entry| entry.unwrap().file_name()).collect();
            assert!(left.iter().all(|name| name == "bin"), "{left:?}");
            if storage == "none" {
                let entered = sandbox.run(["shell", "--lxcpath", "../lxc", "web1"]);
                entered
                    .exits(6)
                    .mentions(&format!("`/bin/sh` of the rootfs is a program for {name}"));
            }
        }
    }
}

/// The shell is the host's own kind, and what the step names is not.
#[test]
fn an_interpreter_that_cannot_be_run_is_named() {
    let Some((name, number)) = foreign().into_iter().next() else {
        return crate::requirement::skip("this host runs programs of every machine");
    };
    let sandbox = Sandbox::new().file("tool", executable(number)).manifest(
        "manifest = 1
[[layer]]
name = \"os\"
template = \"builtin:busybox\"

[[layer.file]]
path = \"/usr/bin/tool\"
source = \"tool\"
mode = \"0755\"

[[layer]]
name = \"app\"
check = { run = 'true', shell = \"tool -x\", in = \"rootfs\" }
",
    );
    let ran = sandbox.straight();
    ran.exits(7).mentions(&format!("`tool` of the rootfs is a program for {name}, and this host"));
}

#[test]
fn what_the_arguments_name_is_known_before_the_template_runs() {
    let Some((name, _)) = foreign().into_iter().next() else {
        return crate::requirement::skip("this host runs programs of every machine");
    };
    let step = "[[layer]]\nname = \"app\"\npost = { run = 'true', in = \"rootfs\" }\n";
    let role = |arguments: &str, step: &str| {
        Sandbox::new().program("templates/lxc-debian", "#!/bin/sh\necho called\nexit 1\n").manifest(
            &format!(
                "manifest = 1\n[vars]\narch = \"{name}\"\n[[layer]]\nname = \"os\"\n\
                 template = \"debian\"\n{arguments}\n{step}"
            ),
        )
    };
    let refused = format!("the template's arguments ask for a rootfs of {name}, and this host");
    for arguments in [
        format!("args = [\"--arch\", \"{name}\"]"),
        format!("args = [\"--arch={name}\"]"),
        format!("args = [\"-a\", \"{name}\"]"),
        "args = [\"-r\", \"trixie\", \"-a{{ arch }}\"]".to_owned(),
    ] {
        let sandbox = role(&arguments, step);
        for ran in [sandbox.straight(), sandbox.run(["plan", "m.toml", "--name=web1"])] {
            ran.exits(2).mentions(&refused).mentions("install `qemu-user-static`");
            assert!(!ran.stderr().contains("called"), "{}", ran.stderr());
        }
    }
    // The user's words come last, and count.
    let own = std::env::consts::ARCH;
    role("", step).template(["m.toml", "--arch", name]).exits(2).mentions(&refused);
    let both = role(&format!("args = [\"--arch={name}\"]"), step);
    both.template(["m.toml", "--arch", own]).exits(4).mentions("called");
    // Where nothing runs inside, such a rootfs may be made.
    role(&format!("args = [\"--arch={name}\"]"), "").straight().exits(4).mentions("called");
    role("args = [\"--mirror\", \"--arch=arm64\"]", step).straight().exits(4).mentions("called");
}
