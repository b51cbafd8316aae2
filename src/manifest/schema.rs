//! The JSON schemas by which an editor completes and checks a manifest.
//!
//! They are made of the types of [`shape`], which say what the decoder reads and exist for this
//! alone. Tests hold both to each other, and the files in `schema/` to the types.

mod one_fault;
mod shape;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::Value as Json;

use super::position::{TABLES, TableKind};
use crate::schema::assert_current;
use crate::source::Source;

thread_local! {
    /// The keys that the decoder asked for, by what it read.
    static ASKED: RefCell<BTreeMap<&'static str, BTreeSet<&'static str>>> =
        const { RefCell::new(BTreeMap::new()) };
}

/// Notes the keys that the decoder knows in a kind of table.
pub(super) fn note_keys(what: &'static str, keys: &[&'static str]) {
    ASKED.with_borrow_mut(|asked| asked.entry(what).or_default().extend(keys));
}

/// Returns the schema of a type as an editor of TOML needs it.
fn schema<T: schemars::JsonSchema>() -> Json {
    let mut schema = schemars::schema_for!(T).to_value();
    tidy(&mut schema);
    one_fault::unite(&mut schema);
    schema
}

/// TOML has no null, lines of a comment are no lines of a description, and a format only repeats the type.
fn tidy(schema: &mut Json) {
    match schema {
        Json::Object(table) => {
            table.retain(|key, value| key != "format" || !value.is_string());
            if let Some(Json::Array(types)) = table.get_mut("type") {
                types.retain(|found| found != "null");
                if let [only] = &types[..] {
                    let only = only.clone();
                    table.insert("type".to_owned(), only);
                }
            }
            if let Some(Json::Array(choices)) = table.get_mut("anyOf") {
                choices.retain(|choice| choice["type"] != "null");
                if let [Json::Object(only)] = &choices[..] {
                    let only = only.clone();
                    table.remove("anyOf");
                    table.extend(only.into_iter().filter(|(key, _)| key != "description"));
                }
            }
            if let Some(Json::String(text)) = table.get_mut("description") {
                *text = text.replace('\n', " ");
            }
            table.values_mut().for_each(tidy);
        }
        Json::Array(elements) => elements.iter_mut().for_each(tidy),
        _ => {}
    }
}

#[test]
fn the_files_are_current() {
    assert_current("manifest.schema.json", &schema::<shape::Manifest>());
    assert_current("layer.schema.json", &schema::<shape::LayerFile>());
}

/// Returns the properties of a type.
fn properties(schema: &Json, name: &str) -> BTreeSet<String> {
    let table = if name.is_empty() { schema } else { &schema["$defs"][name] };
    let properties = table["properties"].as_object();
    properties.unwrap_or_else(|| panic!("no {name} in {schema}")).keys().cloned().collect()
}

#[test]
fn the_schema_has_the_keys_that_the_decoder_reads() {
    let manifest = "manifest = 1\n[vars]\na = { default = 1 }\n[[layer]]\nname = \"os\"\n\
                    template = \"x\"\nenv = { A = { pass = true } }\npost = { run = \"x\" }\n\
                    [[layer.file]]\npath = \"/a\"\ncontent = \"\"\n";
    let (_, report) = super::parse(&Arc::new(Source::new("m.toml", "/", manifest)));
    assert!(report.is_empty(), "{}", report.to_text(false));
    let (_, report) = super::parse_layer(&Arc::new(Source::new("l.toml", "/", "[layer]\n")));
    assert!(report.is_empty(), "{}", report.to_text(false));
    let asked = ASKED.take();
    let words = |what: &str| -> BTreeSet<String> {
        let keys = asked.get(what).unwrap_or_else(|| panic!("nothing read {what}"));
        keys.iter().map(|key| (*key).to_owned()).collect()
    };

    let schema = schema::<shape::Manifest>();
    let layer = properties(&schema, "Layer");
    assert_eq!(properties(&schema, ""), words("a manifest"));
    for (table, what) in [
        ("Layer", "a layer"),
        ("Variable", "a variable"),
        ("Step", "a step"),
        ("File", "a file"),
        ("EnvValue", "a value of `env`"),
    ] {
        assert_eq!(properties(&schema, table), words(what), "{what}");
    }
    for TableKind { name, keys, .. } in &TABLES {
        let keys: BTreeSet<_> = keys.iter().map(|key| (*key).to_owned()).collect();
        assert_eq!(keys, words(name), "{name}");
    }

    let schema = self::schema::<shape::LayerFile>();
    let not_there =
        ["use", "with", "name", "template", "args", "inputs", "sha256"].map(str::to_owned);
    let reusable: BTreeSet<_> = layer.into_iter().filter(|key| !not_there.contains(key)).collect();
    assert_eq!(properties(&schema, ""), words("a reusable layer"));
    assert_eq!(properties(&schema, "ReusableLayer"), reusable);
}

/// An editor shows the description of a key, so that each has one.
#[test]
fn every_key_is_described() {
    fn check(schema: &Json, path: &str) {
        for (key, property) in schema["properties"].as_object().into_iter().flatten() {
            assert!(property["description"].is_string(), "{path}.{key} has no description");
            let shown = !property["examples"].is_null() || !property["default"].is_null();
            let fixed = !property["const"].is_null() || !property["enum"].is_null();
            assert!(shown || fixed, "{path}.{key} has no example");
        }
        for (name, table) in schema["$defs"].as_object().into_iter().flatten() {
            check(table, name);
        }
    }
    check(&schema::<shape::Manifest>(), "manifest");
    check(&schema::<shape::LayerFile>(), "layer");
}
