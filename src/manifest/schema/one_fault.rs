//! Makes a schema tell one fault of one mistake.
//!
//! A validator that finds nothing among several choices tells what each of them lacks, and a key that is
//! misspelt is missing as well. So choices of different types become one schema of several types, and
//! what must stand in a table is asked for only where each of its keys is known.

use std::collections::BTreeSet;

use serde_json::{Map, Value as Json, json};

/// The keywords that say which keys of a table go together.
const TOGETHER: [&str; 4] = ["required", "dependentRequired", "anyOf", "oneOf"];

/// The keys of a layer that `use` allows beside itself.
const BESIDE_USE: [&str; 3] = ["use", "with", "name"];

pub(super) fn unite(schema: &mut Json) {
    ask_late(schema);
    let definitions = schema["$defs"].clone();
    merge(schema, &definitions);
    drop_unused(schema);
}

/// Moves what must stand in a table behind the question whether its keys are known.
fn ask_late(schema: &mut Json) {
    match schema {
        Json::Object(table) => {
            table
                .iter_mut()
                .filter(|(key, _)| *key != "examples")
                .for_each(|(_, value)| ask_late(value));
            let is_closed = table.get("additionalProperties") == Some(&json!(false));
            let Some(Json::Object(properties)) = table.get("properties").filter(|_| is_closed)
            else {
                return;
            };
            let keys: Vec<String> = properties.keys().cloned().collect();
            // A bare `false` is told of the whole table; this is told of the key.
            let unknown = json!({ "not": { "description": "an unknown key" } });
            table.insert("additionalProperties".to_owned(), unknown);
            let mut asked = Map::new();
            for keyword in TOGETHER {
                asked.extend(table.remove(keyword).map(|value| (keyword.to_owned(), value)));
            }
            if keys.iter().any(|key| key == "use") {
                let apart =
                    json!({ "not": { "description": "a key that does not stand beside `use`" } });
                let others = keys.iter().filter(|key| !BESIDE_USE.contains(&key.as_str()));
                let none: Map<_, _> = others.map(|key| (key.clone(), apart.clone())).collect();
                asked.insert("if".to_owned(), json!({ "required": ["use"] }));
                asked.insert("then".to_owned(), json!({ "properties": none }));
            }
            if !asked.is_empty() {
                let known = json!({ "type": "object", "propertyNames": { "enum": keys } });
                table.insert("if".to_owned(), known);
                table.insert("then".to_owned(), Json::Object(asked));
            }
        }
        Json::Array(elements) => elements.iter_mut().for_each(ask_late),
        _ => {}
    }
}

/// Makes one schema of choices that differ in their types.
fn merge(schema: &mut Json, definitions: &Json) {
    match schema {
        Json::Object(table) => {
            if let Some(Json::Array(choices)) = table.get("anyOf")
                && choices
                    .iter()
                    .any(|choice| !choice["type"].is_null() || !choice["$ref"].is_null())
            {
                let (types, keywords) = united(choices, definitions);
                table.remove("anyOf");
                table.insert("type".to_owned(), json!(types));
                table.extend(keywords);
            }
            table.values_mut().for_each(|value| merge(value, definitions));
        }
        Json::Array(elements) => elements.iter_mut().for_each(|value| merge(value, definitions)),
        _ => {}
    }
}

/// Returns the types of choices, and all that is asked of any: each keyword is one of its type's alone.
fn united(choices: &[Json], definitions: &Json) -> (BTreeSet<String>, Map<String, Json>) {
    let (mut types, mut keywords) = (BTreeSet::new(), Map::new());
    for choice in choices {
        let name = choice["$ref"].as_str().and_then(|name| name.strip_prefix("#/$defs/"));
        let choice = name.map_or(choice, |name| &definitions[name]);
        let (its_types, its_keywords) = match (&choice["type"], &choice["anyOf"]) {
            (Json::String(only), _) => {
                ([only.clone()].into(), choice.as_object().cloned().unwrap())
            }
            (_, Json::Array(inner)) => united(inner, definitions),
            _ => panic!("a choice without a type: {choice}"),
        };
        for name in its_types {
            assert!(types.insert(name), "two choices of one type: {choice}");
        }
        for (keyword, value) in its_keywords {
            if !["type", "description"].contains(&keyword.as_str()) {
                assert!(keywords.insert(keyword, value).is_none(), "one keyword twice: {choice}");
            }
        }
    }
    (types, keywords)
}

/// Removes the definitions that are merged into others.
fn drop_unused(schema: &mut Json) {
    loop {
        let text = schema.to_string();
        let Some(Json::Object(definitions)) = schema.get_mut("$defs") else { return };
        let before = definitions.len();
        definitions.retain(|name, _| text.contains(&format!("\"#/$defs/{name}\"")));
        if definitions.len() == before {
            return;
        }
    }
}
