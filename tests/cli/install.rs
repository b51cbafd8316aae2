//! `install-template`, and manual pages.

use std::fs;
use std::os::unix::fs::MetadataExt;

use crate::requirement::{installed, root};
use crate::sandbox::Sandbox;

#[test]
fn a_host_without_lxc_is_told_of() {
    let sandbox = Sandbox::new();
    let mut command = sandbox.command("/bin/sh");
    let line = "PATH=/nowhere exec \"$0\" install-template --directory=../templates";
    command.args(["-c", line]).arg(sandbox.program_path());
    let told = "\nwarning: `lxc-create` is not on this host\nhint: ";
    sandbox.ran(command).exits(0).mentions(told);
}

#[test]
fn the_program_is_installed_where_it_is_told() {
    let sandbox = Sandbox::new().umask(0o077).layers("");
    let ran = sandbox.run(["install-template", "--directory", "../templates"]);
    ran.exits(0).prints("");
    // The directory is spelled as it was given, and looked for as it is.
    ran.mentions("installed [DIR]/templates/lxc-layered-template: `lxc-create -t layered-template` finds it\n");
    let installed = sandbox.path("templates/lxc-layered-template");
    let metadata = fs::metadata(&installed).unwrap();
    assert_eq!(metadata.mode() & 0o7777, 0o755);
    assert_eq!(metadata.len(), fs::metadata(sandbox.program_path()).unwrap().len());
    // It is a template by its name, and replaces itself.
    let mut command = sandbox.command(&installed);
    command.arg("--help");
    assert!(
        sandbox.ran(command).exits(0).stdout().starts_with("layered-template makes a container")
    );
    sandbox.run(["install-template", "--directory", "../templates"]).exits(0);
    assert_eq!(fs::read_dir(sandbox.path("templates")).unwrap().count(), 2);
}

#[test]
fn elsewhere_it_says_how_to_call_it_and_who_cannot() {
    let sandbox = Sandbox::new();
    let closed = sandbox.path("home/closed");
    fs::create_dir(&closed).unwrap();
    fs::set_permissions(&closed, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
    sandbox.run(["install-template", "--directory", "../home/closed/in"]).exits(0).says(
        "installed [DIR]/home/closed/in/lxc-layered-template: call it by its path, `lxc-create -t \
         [DIR]/home/closed/in/lxc-layered-template`
warning: a container of an ordinary user cannot be made with it: its ids may not pass [DIR]/home/closed
hint: `chmod o+x [DIR]/home/closed` lets them pass
",
    );
}

#[test]
fn doctor_knows_the_template_that_a_user_has_installed_for_oneself() {
    if !root() {
        return;
    }
    let sandbox = Sandbox::new().nobody();
    let templates = |sandbox: &Sandbox| {
        let said = sandbox.run(["doctor"]).stdout();
        let lines: Vec<&str> =
            said.lines().skip_while(|line| !line.contains(" templates ")).collect();
        lines[..2].join("\n")
    };
    let said = templates(&sandbox);
    assert!(said.contains("this program not among them"), "{said}");
    let home = sandbox.path("home");
    std::os::unix::fs::chown(&home, Some(65534), None).unwrap();
    let ran = sandbox.run(["install-template"]);
    let path = "[DIR]/home/.local/share/layered-template/lxc-layered-template";
    ran.exits(0).mentions(&format!("call it by its path, `lxc-create -t {path}`"));
    let said = templates(&sandbox);
    assert!(said.starts_with("ok   templates "), "{said}");
    assert!(
        said.contains(&format!(" templates, and this program: `lxc-create -t {path}`\n")),
        "{said}"
    );
    fs::set_permissions(&home, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
    let said = templates(&sandbox);
    assert!(
        said.starts_with("warn templates ") && said.contains("`chmod o+x [DIR]/home`"),
        "{said}"
    );
}

#[test]
fn a_directory_that_cannot_be_is_told() {
    let sandbox = Sandbox::new().file("file", "");
    let ran = sandbox.run(["install-template", "--directory", "file/x"]);
    ran.exits(1).says("error: `file/x`: Not a directory\n");
}

#[test]
fn manual_pages_come_from_the_command_line_itself() {
    let sandbox = Sandbox::new();
    let page = sandbox.run(["man"]);
    page.exits(0).says("");
    assert!(page.stdout().contains(".TH LAYERED-TEMPLATE 1 "), "{}", page.stdout());
    fs::create_dir(sandbox.path("man")).unwrap();
    sandbox.run(["man", "--output", "../man"]).exits(0).says("");
    let pages = ["layered-template.1", "layered-template-store-gc.1", "layered-template.toml.5"];
    for name in pages {
        let text = fs::read_to_string(sandbox.path("man").join(name)).unwrap();
        for section in ["NAME", "DESCRIPTION", "EXAMPLES", "SEE ALSO"] {
            assert!(
                text.contains(&format!(".SH {section}\n").replace("SEE ALSO", "\"SEE ALSO\"")),
                "{name} {section}"
            );
        }
    }
    let text = fs::read_to_string(sandbox.path("man/layered-template.1")).unwrap();
    for part in
        [".SH ENVIRONMENT\n", ".SH FILES\n", ".SH \"EXIT STATUS\"\n", "LAYERED_TEMPLATE_STORE"]
    {
        assert!(text.contains(part), "{part}");
    }
    sandbox.run(["man", "--output", "../made/man"]).exits(0).says("");
    assert!(sandbox.path("made/man/layered-template.1").is_file());
    fs::write(sandbox.path("file"), "").unwrap();
    let ran = sandbox.run(["man", "--output", "../file"]);
    ran.exits(1).mentions("error: `../file` is not a directory\n");
}

/// A manifest that is a template.
const ROLE: &str = "#!/usr/bin/env layered-template
manifest = 1
[[layer]]
name = \"os\"
template = \"fake\"
";

#[test]
fn a_manifest_is_linked_where_lxc_looks() {
    let sandbox =
        Sandbox::new().program("role/web.toml", ROLE).file("plain.toml", "manifest = 1\n");
    let install = |words: &[&str]| {
        let own = ["install-template", "--directory", "../templates"];
        sandbox.run(own.iter().chain(words))
    };
    install(&["web.toml"]).exits(0).prints("").says(
        "linked [DIR]/templates/lxc-web to [DIR]/role/web.toml: `lxc-create -t web` finds it\n",
    );
    let link = sandbox.path("templates/lxc-web");
    assert_eq!(fs::read_link(&link).unwrap(), sandbox.path("role/web.toml"));
    // Its own link is replaced, and so is one to a manifest that has gone.
    install(&["web.toml"]).exits(0);
    fs::rename(sandbox.path("role/web.toml"), sandbox.path("role/moved.toml")).unwrap();
    install(&["moved.toml", "--as", "web"]).exits(0);
    assert_eq!(fs::read_link(&link).unwrap(), sandbox.path("role/moved.toml"));
    // What somebody else has put there is not.
    let before = fs::read(sandbox.path("templates/lxc-fake")).unwrap();
    install(&["moved.toml", "--as", "fake"])
        .exits(2)
        .mentions("error: [DIR]/templates/lxc-fake is there already, and no link to a manifest\n");
    assert_eq!(fs::read(sandbox.path("templates/lxc-fake")).unwrap(), before);
    std::os::unix::fs::symlink("lxc-fake", sandbox.path("templates/lxc-other")).unwrap();
    install(&["moved.toml", "--as", "other"]).exits(2).mentions("no link to a manifest");

    // Nobody waits for a writer that never comes.
    let fifo = sandbox.path("role/fifo.toml");
    rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, 0o755.into(), 0)
        .unwrap();
    install(&["fifo.toml"]).exits(2).mentions("it is not a regular file");
    std::os::unix::fs::symlink(&fifo, sandbox.path("templates/lxc-fifo")).unwrap();
    install(&["moved.toml", "--as", "fifo"]).exits(2).mentions("no link to a manifest");
    fs::remove_file(sandbox.path("templates/lxc-fifo")).unwrap();

    for name in ["", "no", "none", "a/b", "layered-template", "-x"] {
        install(&["moved.toml", &format!("--as={name}")])
            .exits(2)
            .mentions("as NAME` gives it another");
    }
    install(&["plain.toml"])
        .exits(2)
        .mentions("its first line has to be `#!/usr/bin/env layered-template`");
    fs::set_permissions(
        sandbox.path("role/moved.toml"),
        std::os::unix::fs::PermissionsExt::from_mode(0o644),
    )
    .unwrap();
    install(&["moved.toml"]).exits(2).mentions("hint: `chmod +x moved.toml` makes it a template");
    install(&["gone.toml"]).exits(2).mentions("No such file");
    let left = fs::read_dir(sandbox.path("templates")).unwrap().count();
    assert_eq!(left, 3, "a temporary link is left");
}

#[test]
fn init_writes_a_manifest_that_is_a_template() {
    let sandbox = Sandbox::new();
    sandbox.run(["init", "web.toml", "--executable", "--template", "fake"]).exits(0);
    let mode = fs::metadata(sandbox.path("role/web.toml")).unwrap().mode();
    assert_eq!(mode & 0o7777, 0o755);
    let text = fs::read_to_string(sandbox.path("role/web.toml")).unwrap();
    let called = format!("lxc-create -t {} -n NAME", sandbox.path("role/web.toml").display());
    assert!(
        text.starts_with("#!/usr/bin/env layered-template\n# ") && text.contains(&called),
        "{text}"
    );
    sandbox.run(["validate", "web.toml"]).exits(0);
    let mut command = sandbox.within();
    sandbox.shell();
    command.arg("./web.toml").args(sandbox.three()).args(["--greeting", "good evening"]);
    sandbox.ran(command).exits(0);
    assert_eq!(sandbox.read("/etc/motd").split(" to ").next(), Some("good evening"));
    sandbox.run(["init", "plain.toml"]).exits(0);
    let mode = fs::metadata(sandbox.path("role/plain.toml")).unwrap().mode();
    assert_eq!(mode & 0o7777, 0o644);
}

#[test]
fn init_writes_a_whole_manifest_or_none() {
    let sandbox = Sandbox::new();
    let printed = sandbox.run(["init", "-", "--template", "fake"]);
    printed.exits(0).says("");
    assert!(printed.stdout().contains("template = \"fake\""), "{}", printed.stdout());
    assert!(!sandbox.path("role/-").exists());
    let mut command = sandbox.command("/bin/sh");
    command.args(["-c", "ulimit -f 0; trap '' XFSZ; exec \"$0\" init part.toml"]);
    command.arg(sandbox.program_path());
    sandbox.ran(command).exits(2).mentions("part.toml");
    assert!(!sandbox.path("role/part.toml").exists());
}

/// What those find who check manual pages: nothing.
#[test]
fn manual_pages_are_well_formed() {
    let sandbox = Sandbox::new();
    fs::create_dir(sandbox.path("man")).unwrap();
    sandbox.run(["man", "--output", "../man"]).exits(0);
    let mut pages: Vec<_> =
        fs::read_dir(sandbox.path("man")).unwrap().map(|entry| entry.unwrap().path()).collect();
    pages.sort();
    assert!(pages.len() > 20, "{pages:?}");
    if installed("mandoc") {
        let mut lint = sandbox.command("mandoc");
        lint.args(["-T", "lint"]).args(&pages);
        sandbox.ran(lint).exits(0).prints("");
    }
    if installed("man") {
        for page in &pages {
            let mut man = sandbox.command("man");
            man.env("LC_ALL", "C.UTF-8").env("MANROFFSEQ", "").env("MANWIDTH", "80");
            man.args(["--warnings", "-E", "UTF-8", "-l", "-Tutf8", "-Z"]).arg(page);
            sandbox.ran(man).exits(0).says("");
        }
    }
}
