//! Blocks of TOML: whole manifests, parts of one, reusable layers and vars files.

use toml::{Table, Value};

use crate::page::Block;
use crate::place::Place;

/// What a part of a layer is put into: a manifest whose last layer it goes on with.
const LAYER: &str = "manifest = 1\n[[layer]]\nname = \"the-upstream\"\n\
                     template = \"builtin:busybox\"\n[[layer]]\nname = \"the-layer\"\n";

/// What layers without an upstream are put around.
const UPSTREAM: &str =
    "manifest = 1\n[[layer]]\nname = \"the-upstream\"\ntemplate = \"builtin:busybox\"\n";

/// The keys of a layer. Those of its upstream are shown in a whole `[[layer]]`.
const KEYS: [&str; 8] = ["env", "secrets", "pre", "post", "check", "finally", "file", "config"];

/// The directory of reusable layers.
const LAYERS: &str = "layers/";

/// The name of a manifest that the page does not name.
const UNNAMED: &str = "unnamed.toml";

/// Validates a block by the program, or, where it is shown for its errors, sees that it has some.
pub(crate) fn judge(block: &Block, place: &Place) -> Result<(), String> {
    if let Some(file) = block.file.as_ref().filter(|file| file.with_errors) {
        place.write(&file.name, &block.text);
        return match place.run(&["validate", &file.name]) {
            (1, _) => Ok(()),
            (_, output) => Err(format!("`{}` should have errors\n{output}", file.name)),
        };
    }
    let table: Table = block.text.parse().map_err(|error| format!("this is not TOML: {error}"))?;
    named_files(&table, &mut |name| place.provide(name));
    let name = block.file.as_ref().map_or(UNNAMED, |file| file.name.as_str());
    if let Some(layer) = name.strip_prefix(LAYERS).and_then(|name| name.strip_suffix(".toml")) {
        place.write(name, &block.text);
        return holds(place.run(&["layer", "show", layer]));
    }
    if block.file.is_some() && table.values().all(is_plain) && !table.contains_key("manifest") {
        place.write(name, &block.text);
        return Ok(());
    }
    place.write(name, &whole(&table, &block.text)?);
    let mut words = vec!["validate".to_owned(), name.to_owned()];
    words.extend(required(&table));
    holds(place.run(&words.iter().map(String::as_str).collect::<Vec<_>>()))
}

fn holds((status, output): (i32, String)) -> Result<(), String> {
    if status == 0 { Ok(()) } else { Err(output) }
}

/// Tells whether a vars file can hold a value.
fn is_plain(value: &Value) -> bool {
    matches!(value, Value::String(_) | Value::Integer(_) | Value::Boolean(_))
}

/// Returns the options that give required variables a value of their type.
fn required(table: &Table) -> Vec<String> {
    let variables = table.get("vars").and_then(Value::as_table);
    let required = variables.into_iter().flatten().filter(|(_, variable)| {
        let is = |key: &str| variable.get(key).and_then(Value::as_bool) == Some(true);
        is("required") && !is("secret")
    });
    let value = |variable: &Value| match variable.get("type").and_then(Value::as_str) {
        Some("integer") => "1",
        Some("boolean") => "true",
        _ => "value",
    };
    required.map(|(name, variable)| format!("--set={name}={}", value(variable))).collect()
}

/// Makes a part of a manifest a whole one.
fn whole(table: &Table, text: &str) -> Result<String, String> {
    let only = |known: &[&str]| table.keys().all(|key| known.contains(&key.as_str()));
    if table.get("manifest") == Some(&Value::Integer(1)) {
        return Ok(text.to_owned());
    }
    if only(&["vars"]) {
        return Ok(format!("{UPSTREAM}{text}"));
    }
    match table.get("layer") {
        Some(Value::Array(layers)) if only(&["layer", "vars"]) => {
            let calls = layers.first().is_some_and(|layer| layer.get("template").is_some());
            let before = if calls { "manifest = 1\n" } else { UPSTREAM };
            return Ok(format!("{before}{text}"));
        }
        Some(Value::Table(_)) if only(&["layer", "vars"]) => return Ok(format!("{LAYER}{text}")),
        _ => {}
    }
    let of_a_layer = |key: &String| KEYS.contains(&key.as_str()) || key == "layer" || key == "vars";
    if table.keys().all(of_a_layer) && !table.get("layer").is_some_and(Value::is_array) {
        return Ok(format!("{LAYER}{text}"));
    }
    Err("this is neither a manifest nor a part of one".to_owned())
}

/// Finds the files of the host that a manifest names.
fn named_files(table: &Table, each: &mut dyn FnMut(&str)) {
    for (key, value) in table {
        match value {
            Value::String(name) if key == "source" || key == "script" => each(name),
            Value::Table(table) => named_files(table, each),
            Value::Array(values) => {
                for value in values {
                    match value {
                        Value::Table(table) => named_files(table, each),
                        Value::String(name) if key == "inputs" => each(name),
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }
}
