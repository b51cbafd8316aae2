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
    let schema = Path::new(env!("CARGO_MANIFEST_DIR")).join("schema").join(schema);
    let output = Command::new("python3")
        .arg(root().join("validator.py"))
        .arg(schema)
        .args(paths)
        .output()
        .ok()?;
    let said = String::from_utf8_lossy(&output.stderr);
    if said.contains("ModuleNotFoundError") {
        return None;
    }
    assert!(output.status.success(), "{said}");
    Some(String::from_utf8_lossy(&output.stdout).lines().map(|line| line == "pass").collect())
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
