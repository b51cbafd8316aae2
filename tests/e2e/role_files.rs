//! Manifests that are templates: `lxc-create -t /PATH/ROLE.toml`.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;

use crate::call::Call;
use crate::caller::Caller;
use crate::config;
use crate::lab::Lab;
use crate::requirement::PATH;

const LINE: &str = "#!/usr/bin/env layered-template";

/// Writes a manifest that is a template around another one, and drops a file of its own.
fn role(lab: &Lab, name: &str, vars: &str, upstream: &str, content: &str) -> PathBuf {
    let text = format!(
        "{LINE}\nmanifest = 1\ndescription = \"the {name} role\"\n\n[vars]\n{vars}\n\n\
         [[layer]]\nname = \"os\"\n{upstream}\n\n\
         [[layer]]\nname = \"{name}\"\n[layer.config]\nlxc.environment = \"OF={name}\"\n\
         [[layer.file]]\npath = \"/etc/{name}\"\ncontent = \"{content}\\n\"\nrender = true\n"
    );
    lab.script(format!("work/{name}.toml"), &text)
}

/// Three roles, each the template of the next.
fn three(lab: &Lab) -> PathBuf {
    let base = "release = \"none\"\nloud = false";
    role(lab, "base", base, "template = \"busybox\"", "{{ release }} {{ loud }}");
    let args = "template = \"./base.toml\"\nargs = { release = \"{{ base_release }}\" }";
    role(lab, "middle", "base_release = \"of-middle\"", args, "{{ base_release }}");
    let args = "template = \"./middle.toml\"";
    role(
        lab,
        "web",
        "http_port = 80\nsite = { required = true }",
        args,
        "{{ site }} {{ http_port }}",
    )
}

/// `lxc-create` with a manifest for its template; the program is found by `PATH`.
fn create<'lab>(lab: &'lab Lab, name: &str, role: &std::path::Path) -> Call<'lab> {
    with_path(lab, lab.create_with(role, name))
}

fn with_path<'lab>(lab: &Lab, call: Call<'lab>) -> Call<'lab> {
    call.env("PATH", format!("{}:{PATH}", lab.path("bin").display()))
}

#[test]
fn a_manifest_is_a_template_three_deep() {
    for caller in [Caller::Root, Caller::User, Caller::Mapped] {
        let Some(lab) = Lab::open(caller, &[]) else { continue };
        let web = three(&lab);
        let name = lab.name("web");
        // What is no variable of the outer ones goes inward.
        let words =
            ["--", "--site=a b", "--http-port", "8080", "--base-release", "trixie", "--loud"];
        create(&lab, &name, &web).args(words).outcome().success();

        for (file, text) in
            [("web", "a b 8080\n"), ("middle", "trixie\n"), ("base", "trixie True\n")]
        {
            let found = lab.read(lab.container(&name, format!("rootfs/etc/{file}")));
            assert_eq!(found, text, "{caller:?} {file}");
        }
        let config = lab.read(lab.container(&name, "config"));
        let lines = ["base", "middle", "web"].map(|name| format!("lxc.environment = OF={name}"));
        config::assert_in_order(&config, &lines.each_ref().map(String::as_str));
        let header = format!("# Template used to create this container: {}\n", web.display());
        assert!(config.contains(&header), "{config}");
        let record = lab.read(lab.container(&name, "layered-template.json"));
        let record: serde_json::Value = serde_json::from_str(&record).expect("a record is JSON");
        assert_eq!(record["manifest"]["path"], web.display().to_string());
        assert_eq!(record["call"]["set"], serde_json::json!(["http_port=8080", "site=a b"]));
        if lab.start(&name) {
            assert_eq!(lab.inside(&name, &["/bin/cat", "/etc/base"]), "trixie True\n");
            lab.stop(&name);
        }
        let status = lab.call([lab.program()]).args(["status", "--lxcpath"]).arg(lab.lxcpath());
        let status = status.outcome().success().stdout;
        let line = status.lines().find(|line| line.contains(&name)).expect("it is listed");
        assert!(line.contains("current"), "{caller:?} {status}");
        lab.destroy(&name);
    }
}

#[test]
fn help_and_lists_of_roles_make_nothing() {
    for caller in [Caller::Root, Caller::User] {
        let Some(lab) = Lab::open(caller, &[]) else { continue };
        let web = three(&lab);
        let titles = ["the web role", "the middle role", "the base role"];
        let help = with_path(&lab, lab.call(["lxc-create", "-t"]).arg(&web).arg("-h"));
        let help = help.outcome().success().stdout;
        assert!(help.contains(titles[0]) && help.contains("  --site VALUE"), "{help}");
        // Nobody has said what the site is, and the templates within are not asked.
        assert!(!help.contains(titles[1]), "{help}");
        let name = lab.name("asks");
        for words in [&["--", "-h", "--site", "x"][..], &["--", "--site=x", "--help"]] {
            let asked = create(&lab, &name, &web).args(words).outcome();
            assert!(!asked.status.success(), "{caller:?} {asked}");
            for title in titles {
                assert_eq!(asked.stdout.matches(title).count(), 1, "{caller:?} {asked}");
            }
            assert_eq!(asked.stdout.matches("--keep-failed").count(), 1, "{asked}");
            // What busybox's template says of itself.
            assert!(asked.stdout.contains("--busybox-path"), "{asked}");
            lab.assert_absent(&name);
        }
        // Busybox has no list, and the innermost role says so.
        let listed = create(&lab, &name, &web).args(["--", "--site=x", "-l"]).outcome();
        assert!(!listed.status.success(), "{listed}");
        assert!(listed.stderr.contains("base.toml` has no answer"), "{caller:?} {listed}");
        lab.assert_absent(&name);
        let without = create(&lab, &name, &web).outcome();
        assert!(without.stderr.contains("`site` is required"), "{without}");
        lab.assert_absent(&name);
    }
}

#[test]
fn a_role_is_installed_under_a_name() {
    let Some(lab) = Lab::open(Caller::Root, &[]) else { return };
    let text = format!(
        "{LINE}\nmanifest = 1\n[vars]\nwho = \"x\"\n[[layer]]\nname = \"os\"\n\
         template = \"busybox\"\n[[layer]]\nname = \"app\"\n\
         [[layer.file]]\npath = \"/etc/who\"\nsource = \"who\"\nrender = true\n"
    );
    let app = lab.script("work/app.toml", &text);
    lab.write("work/who", "{{ who }}\n");
    let install = |words: &[&str]| {
        let call = lab.call([lab.program()]).args(["install-template", "app.toml"]).args(words);
        with_path(&lab, call)
    };
    let said = install(&[]).outcome().success().stderr;
    assert!(said.contains("`lxc-create -t app` finds it"), "{said}");
    install(&["--as", "again"]).outcome().success();
    let taken = install(&["--as", "busybox"]).outcome();
    assert!(taken.stderr.contains("lxc-busybox is there already, and no link"), "{taken}");

    // What stands beside the manifest is found, whichever name LXC has of it.
    let name = lab.name("named");
    let call = lab.create_with(std::path::Path::new("again"), &name).args(["--", "--who", "me"]);
    with_path(&lab, call).outcome().success();
    assert_eq!(lab.read(lab.container(&name, "rootfs/etc/who")), "me\n");
    let record = lab.read(lab.container(&name, "layered-template.json"));
    assert!(record.contains(&format!("\"path\": \"{}\"", app.display())), "{record}");
    lab.destroy(&name);

    // By the name it is another manifest's template as well.
    let outer =
        "manifest = 1\n[[layer]]\nname = \"os\"\ntemplate = \"app\"\nargs = { who = \"you\" }\n";
    let outer = lab.write("work/outer.toml", outer);
    let plan = lab.call([lab.program()]).arg("plan").arg(&outer).outcome().success().stdout;
    assert!(plan.contains("a manifest, sha256:"), "{plan}");
    lab.create(&name, &outer).outcome().success();
    assert_eq!(lab.read(lab.container(&name, "rootfs/etc/who")), "you\n");
    lab.destroy(&name);
}

#[test]
fn root_takes_no_role_that_others_could_have_written() {
    let Some(lab) = Lab::open(Caller::Root, &[]) else { return };
    let text = format!("{LINE}\nmanifest = 1\n[[layer]]\nname = \"os\"\ntemplate = \"busybox\"\n");
    let open = lab.script("work/open.toml", &text);
    fs::set_permissions(&open, std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
    let link = lab.path("work/link.toml");
    symlink(&open, &link).unwrap();
    let outer =
        format!("{LINE}\nmanifest = 1\n[[layer]]\nname = \"os\"\ntemplate = \"./open.toml\"\n");
    let outer = lab.script("work/outer.toml", &outer);
    let name = lab.name("open");
    for role in [&open, &link, &outer] {
        let refused = create(&lab, &name, role).outcome();
        assert!(!refused.status.success(), "{refused}");
        assert!(refused.stderr.contains("writ"), "{refused}");
        lab.assert_absent(&name);
    }
    create(&lab, &name, &open).args(["--", "--allow-untrusted"]).outcome().success();
    lab.destroy(&name);
}
