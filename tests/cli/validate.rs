//! `validate`: many manifests, three formats.

use crate::sandbox::Sandbox;
use crate::snapshot;

fn roles() -> Sandbox {
    Sandbox::new()
        .file("good.toml", "manifest = 1\n[[layer]]\nname = \"os\"\ntemplate = \"builtin:busybox\"\n")
        .file(
            "warned.toml",
            "manifest = 1\n[vars]\nunused = 1\n[[layer]]\nname = \"os\"\ntemplate = \"builtin:busybox\"\n",
        )
        .file(
            "bad.toml",
            "manifest = 1\n[[layer]]\nname = \"os\"\ntemplat = \"x\"\n[[layer.file]]\n\
             path = \"relative\"\ncontent = 1\n[[layer]]\nname = \"os\"\n\
             post = { run = \"x\", in = \"rotfs\" }\n",
        )
        .file("odd,name:1.toml", "manifest = \n")
}

const ALL: [&str; 6] =
    ["validate", "good.toml", "warned.toml", "bad.toml", "odd,name:1.toml", "missing.toml"];

#[test]
fn text_tells_people() {
    let ran = roles().run(ALL);
    ran.exits(1).prints("");
    snapshot::check("validate.txt", &ran.stderr());
}

#[test]
fn what_is_no_manifest_is_not_quoted_in_whole() {
    let sandbox = Sandbox::new().file("page.html", "<p>no manifest</p>\n".repeat(50));
    let ran = sandbox.run(["validate", "page.html"]);
    ran.exits(1).mentions("40 more errors are not shown").mentions("1 manifest: 50 errors");
    assert!(ran.stderr().lines().count() < 70, "{}", ran.stderr());
}

#[test]
fn json_tells_programs() {
    let ran = roles().run(ALL.into_iter().chain(["--format", "json"]));
    ran.exits(1).says("");
    serde_json::from_slice::<serde_json::Value>(&ran.output.stdout).unwrap();
    snapshot::check("validate.json", &ran.stdout());
}

#[test]
fn github_tells_a_pull_request() {
    let ran = roles().run(ALL.into_iter().chain(["--format=github"]));
    ran.exits(1).says("");
    snapshot::check("validate.github", &ran.stdout());
}

#[test]
fn warnings_alone_are_no_findings() {
    let roles = roles();
    roles.run(["validate", "good.toml"]).exits(0).says("1 manifest: 0 errors, 0 warnings\n");
    let ran = roles.run(["validate", "good.toml", "warned.toml"]);
    ran.exits(0).mentions("2 manifests: 0 errors, 1 warning\n");
    roles.run(["validate", "good.toml", "--format=json"]).exits(0).prints("[]\n");
    roles.run(["validate", "good.toml", "--format=github"]).exits(0).prints("");
}

#[test]
fn a_template_that_is_not_on_this_host_is_a_warning() {
    let role = |template: &str| {
        format!("manifest = 1\n[[layer]]\nname = \"os\"\ntemplate = \"{template}\"\n")
    };
    let sandbox = Sandbox::new()
        .file("slip.toml", role("fakee"))
        .file("far.toml", role("of-another-host"))
        .file("path.toml", role("./template"))
        .file("template", "#!/bin/sh\n");
    let ran = sandbox.run(["validate", "slip.toml"]);
    ran.exits(0)
        .mentions("warning: there is no `lxc-fakee` in [DIR]/templates, ")
        .mentions(" on this host\n --> slip.toml:4:12\n")
        .mentions("  = help: did you mean `fake`?\n")
        .mentions("1 manifest: 0 errors, 1 warning\n");
    sandbox.run(["validate", "far.toml"]).exits(0).mentions("1 manifest: 0 errors, 1 warning\n");
    sandbox
        .run(["validate", "path.toml"])
        .exits(0)
        .mentions("/template` cannot be executed on this host\n")
        .mentions("= help: `chmod +x ");
    sandbox.run(["plan", "slip.toml"]).exits(2).mentions("error: there is no `lxc-fakee` in ");
}
