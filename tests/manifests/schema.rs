//! The schemas and the program agree: an outside validator judges the folders too.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::folder::{files, root};

/// Says why nothing is judged: where the validator is missing, the test proves nothing.
#[expect(clippy::print_stderr, reason = "a test that is skipped says so")]
fn skip() {
    eprintln!("skipped: python3 has no module jsonschema");
}

/// Judges files by a schema, or says that there is no validator here.
fn judge(schema: &str, paths: &[PathBuf]) -> Option<Vec<bool>> {
    let lines = validate(&[], schema, paths)?;
    Some(lines.iter().map(|line| line == "pass").collect())
}

/// Returns what the validator says of each file, or `None` where there is no validator.
fn validate(options: &[&str], schema: &str, paths: &[PathBuf]) -> Option<Vec<String>> {
    let schema = Path::new(env!("CARGO_MANIFEST_DIR")).join("schema").join(schema);
    let output = Command::new("python3")
        .arg(root().join("validator.py"))
        .args(options)
        .arg(schema)
        .args(paths)
        .output()
        .ok()?;
    let said = String::from_utf8_lossy(&output.stderr);
    if said.contains("ModuleNotFoundError") {
        return None;
    }
    assert!(output.status.success(), "{said}");
    Some(String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect())
}

#[test]
fn what_the_program_takes_the_schema_takes() {
    let examples = ["../../examples/hello", "../../examples/roles"];
    let folders = ["valid", "valid/bases", "dubious"].into_iter().chain(examples);
    let manifests: Vec<_> = folders.flat_map(|folder| files(folder, "toml")).collect();
    let layers = ["valid/layers", "dubious/layers", "compiled-in", "../../layers"];
    let layers = layers.map(|folder| files(folder, "toml"));
    for (schema, paths) in
        [("manifest.schema.json", manifests), ("layer.schema.json", layers.concat())]
    {
        let Some(verdicts) = judge(schema, &paths) else {
            return skip();
        };
        assert_eq!(verdicts.len(), paths.len());
        for (path, passes) in paths.iter().zip(verdicts) {
            assert!(passes, "{} is refused by {schema}", path.display());
        }
    }
}

/// A schema cannot see everything; which faults it misses is written down.
#[test]
fn what_the_schema_misses_is_known() {
    let paths = files("invalid", "toml");
    let Some(verdicts) = judge("manifest.schema.json", &paths) else {
        return skip();
    };
    let missed = paths.iter().zip(verdicts).filter(|(_, passes)| *passes);
    let names = missed.map(|(path, _)| path.file_stem().unwrap().to_string_lossy().into_owned());
    let found = names.map(|name| name + "\n").collect::<String>();
    let list = root().join("beyond-the-schema.txt");
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        fs::write(&list, &found).unwrap();
    }
    assert_eq!(found, fs::read_to_string(&list).unwrap_or_default());
}

/// A mistake is one fault, in the place where it is: not one for each thing that could have been meant.
#[test]
fn the_schema_tells_one_fault_of_one_mistake() {
    const SOUND: &str = r#"manifest = 1
[vars]
port = { default = 1, description = "x" }
[[layer]]
name = "os"
template = "debian"
args = { release = "bookworm" }
[[layer]]
use = "motd"
with = { text = "x" }
[[layer]]
name = "app"
env = { A = { pass = true } }
pre = { script = "x.sh" }
post = [{ run = "true", timeout = "2m" }, "x"]
config = { lxc.start.auto = 1 }
[[layer.file]]
path = "/etc/motd"
content = "x"
"#;
    let mistakes = [
        ("manifest =", "manifset =", "$.manifset"),
        ("default =", "defalt =", "$.vars.port.defalt"),
        ("name = \"os\"", "nmae = \"os\"", "$.layer[0].nmae"),
        ("template =", "templat =", "$.layer[0].templat"),
        ("args =", "agrs =", "$.layer[0].agrs"),
        ("use =", "usee =", "$.layer[1].usee"),
        ("with =", "wiht =", "$.layer[1].wiht"),
        ("use =", "template = \"x\"\nuse =", "$.layer[1].template"),
        ("pass =", "pas =", "$.layer[2].env.A.pas"),
        ("script =", "skript =", "$.layer[2].pre.skript"),
        ("post =", "psot =", "$.layer[2].psot"),
        ("run =", "rnu =", "$.layer[2].post[0].rnu"),
        ("\"2m\"", "2", "$.layer[2].post[0].timeout"),
        ("auto = 1", "auto = 1.5", "$.layer[2].config.lxc.start.auto"),
        ("path =", "pth =", "$.layer[2].file[0].pth"),
        ("content =", "contnet =", "$.layer[2].file[0].contnet"),
        ("content = \"x\"", "", "$.layer[2].file[0]"),
    ];
    let directory = tempfile::tempdir().unwrap();
    let mut paths = vec![directory.path().join("sound.toml")];
    fs::write(&paths[0], SOUND).unwrap();
    for (number, (from, to, _)) in mistakes.iter().enumerate() {
        let path = directory.path().join(format!("{number}.toml"));
        fs::write(&path, SOUND.replacen(from, to, 1)).unwrap();
        paths.push(path);
    }
    let Some(found) = validate(&["--faults"], "manifest.schema.json", &paths) else {
        return skip();
    };
    let expected: Vec<_> = std::iter::once("").chain(mistakes.map(|(.., place)| place)).collect();
    assert_eq!(found, expected);
}
