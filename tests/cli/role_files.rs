//! A manifest that is a template: the kernel hands it to the program as the first word.

use crate::sandbox::{Ran, Sandbox};

const ROLE: &str = "#!/usr/bin/env layered-template
manifest = 1
description = \"Front end\"
[vars]
http_port = { default = 8080, description = \"where it listens\" }
site = { required = true, description = \"host name served\" }
debug = true
storage = \"own\"
token = { secret = true, env = \"TOKEN\" }
build = { from = \"app\" }
[[layer]]
name = \"os\"
template = \"fake\"
[[layer]]
name = \"app\"
secrets = [\"token\"]
pre = \"echo build=1 >>$LAYER_ENV\"
[[layer.file]]
path = \"/etc/site\"
content = \"{{ site }} {{ http_port }} {{ debug }} {{ storage }}\\n\"
render = true
";

const UPSTREAM: &str = "
for word in \"$@\"; do
  case $word in -h) echo HELP; exit 1 ;; esac
done
mkdir \"$rootfs/etc\"; echo \"$@\" >\"$path/words\"";

fn role() -> Sandbox {
    Sandbox::new().upstream(UPSTREAM).manifest(ROLE)
}

/// Calls it as the kernel does, for a container where `three` says so.
fn called(sandbox: &Sandbox, three: bool, words: &[&str]) -> Ran {
    let mut command = sandbox.within();
    command.arg("./m.toml");
    if three {
        if !sandbox.container().exists() {
            sandbox.shell();
        }
        command.args(sandbox.three());
    }
    command.args(words);
    sandbox.ran(command)
}

#[test]
fn its_variables_are_options() {
    let sandbox = role().env("TOKEN", "t");
    let words = ["--site", "a.example", "--http-port=1", "--http_port", "2", "--debug=false"];
    let more = ["--set", "storage=other", "--storage=none", "x", "--other", "y"];
    called(&sandbox, true, &[&words[..], &more].concat()).exits(0);
    let debug = if sandbox.read("/etc/site").contains("False") { "False" } else { "false" };
    assert_eq!(sandbox.read("/etc/site"), format!("a.example 2 {debug} other\n"));
    // What is no option of its own goes to its template.
    let words = std::fs::read_to_string(sandbox.container().join("words")).unwrap();
    assert!(words.ends_with(" x --other y\n"), "{words}");
    let record = sandbox.record();
    let set = ["http_port=2", "site=a.example", "debug=false", "storage=other"];
    assert_eq!(record["call"]["set"], serde_json::json!(set));
}

#[test]
fn a_value_that_is_wrong_or_missing_is_told() {
    let sandbox = role();
    called(&sandbox, true, &["--site"]).exits(2).mentions("error: `--site` wants a value\n");
    called(&sandbox, true, &[])
        .exits(2)
        .mentions("`site` is required")
        .mentions("host name served; give it by `--site …` or in a vars file");
    called(&sandbox, true, &["--site=x", "--http-port", "many"])
        .exits(2)
        .mentions("`http_port`: `many` is not an integer");
    called(&sandbox, true, &["--site=x", "--token", "t"]).exits(2).mentions("`token` is a secret");
    called(&sandbox, true, &["--site=x", "--manifest", "n.toml"])
        .exits(2)
        .mentions("a manifest is the template already");
}

#[test]
fn a_misspelt_option_does_not_go_to_the_template() {
    let sandbox = role().env("TOKEN", "t");
    let hint = "run `lxc-create -t [DIR]/role/m.toml -h`";
    for (words, meant) in [
        (
            &["--site=x", "--http-prot", "80"][..],
            "`--http-prot` is not an option of this role; did you mean `--http-port`?",
        ),
        (&["--stie=x"], "`--stie` is not an option of this role; did you mean `--site`?"),
        (
            &["--site=x", "--keepfailed"],
            "`--keepfailed` is not an option of this role; did you mean `--keep-failed`?",
        ),
    ] {
        let refused = called(&sandbox, true, words);
        refused.exits(2).mentions(meant).mentions(hint);
        assert!(!sandbox.container().join("words").exists(), "{}", refused.stderr());
    }
    // What the manifest itself gives the template is its template's, and so is all behind `--`.
    let own = ROLE.replace("template = \"fake\"", "template = \"fake\"\nargs = { sites = \"a\" }");
    let sandbox = role().env("TOKEN", "t").manifest(&own);
    called(&sandbox, true, &["--storage=none", "--site=x", "--sites=b", "--", "--stie"]).exits(0);
    let words = std::fs::read_to_string(sandbox.container().join("words")).unwrap();
    assert!(words.ends_with(" --sites=a --sites=b -- --stie\n"), "{words}");
}

/// The variables of a role within a role are options of its template.
#[test]
fn a_role_within_takes_what_is_near_an_option_of_the_outer_one() {
    let inner = "#!/usr/bin/env layered-template\nmanifest = 1\n[vars]\nsites = \"none\"\n\
                 [[layer]]\nname = \"os\"\ntemplate = \"fake\"\n[[layer.file]]\n\
                 path = \"/etc/sites\"\ncontent = \"{{ sites }}\\n\"\nrender = true\n";
    let outer = ROLE.replace("template = \"fake\"", "template = \"./inner.toml\"");
    let sandbox = role().env("TOKEN", "hunter2").program("role/inner.toml", inner).manifest(&outer);
    called(&sandbox, true, &["--storage=none", "--site=x", "--sites=b"]).exits(0);
    assert_eq!(sandbox.read("/etc/sites"), "b\n");
    called(&sandbox, true, &["--site=x", "--siets=b"]).exits(4).mentions("did you mean `--sites`?");
}

#[test]
fn it_shows_its_help_without_lxc() {
    let sandbox = role();
    let help = "./m.toml: Front end

  lxc-create -t [DIR]/role/m.toml -n NAME -- [OPTIONS]

Its variables:
  --http-port NUMBER       where it listens [default: 8080]
  --site VALUE             host name served [required]
  --debug=false            [default: true]
  --set storage=VALUE      [default: own]
  token                    [a secret: environment variable TOKEN]
  build                    [decided by its pre steps]

Its layers, the outermost first:
  app
  os

Its template: fake

Other options:
  --set NAME=VALUE ";
    let ran = called(&sandbox, false, &[]);
    ran.exits(0).says("");
    assert!(ran.stdout().starts_with(help), "{}", ran.stdout());
    assert!(ran.stdout().ends_with("\nAll other arguments go to its template.\n"));
    // The template is asked as well where it can be called.
    let asked = called(&sandbox, false, &["-h"]);
    asked.exits(0);
    assert_eq!(asked.stdout(), ran.stdout());
    let asked = called(&sandbox, false, &["-h", "--site=x"]);
    asked.exits(0);
    let end = "\nThe help of its template, fake:\n\nHELP\n";
    assert_eq!(asked.stdout(), ran.stdout() + end);
    // LXC keeps no container of it.
    called(&sandbox, true, &["--site=x", "-h"]).exits(9).shows(end);
    let odd = called(&sandbox, false, &["--site", "x"]);
    odd.exits(2).mentions("only `lxc-create` makes something of these arguments");
    assert!(odd.stdout().starts_with(help), "{}", odd.stdout());
}

#[test]
fn a_link_leads_to_what_is_beside_the_manifest() {
    let text = "#!/usr/bin/env layered-template\nmanifest = 1\n[[layer]]\nname = \"os\"\n\
                template = \"fake\"\n[[layer.file]]\npath = \"/etc/f\"\nsource = \"f\"\n";
    let sandbox = Sandbox::new().manifest(text).file("f", "beside\n");
    let link = sandbox.path("templates/lxc-m");
    std::os::unix::fs::symlink(sandbox.path("role/m.toml"), &link).unwrap();
    sandbox.shell();
    let mut command = sandbox.within();
    command.arg(link).args(sandbox.three());
    sandbox.ran(command).exits(0);
    assert_eq!(sandbox.read("/etc/f"), "beside\n");
    let path = sandbox.path("role/m.toml").display().to_string();
    assert_eq!(sandbox.record()["manifest"]["path"], path);
}

#[test]
fn a_manifest_that_is_no_template_is_no_upstream() {
    let inner = Sandbox::new().file("inner.toml", "manifest = 1\n");
    let sandbox =
        inner.manifest("manifest = 1\n[[layer]]\nname = \"os\"\ntemplate = \"./inner.toml\"\n");
    sandbox.chain().exits(2).mentions("the run bit and `#!/usr/bin/env layered-template`");
}
