//! The page of the manifest, from the schema that an editor has.

use std::fmt::Write;

use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, roman};
use serde_json::Value as Json;

use super::MANIFEST;
use super::markdown::inlines;
use super::page::{self, Page};
use crate::cli::init;

const MANIFEST_SCHEMA: &str = include_str!("../../../schema/manifest.schema.json");
const LAYER_SCHEMA: &str = include_str!("../../../schema/layer.schema.json");

/// A longer word of an example does not fit into a line of a narrow terminal.
const LONGEST_WORD: usize = 60;

/// The tables of a manifest: the title of each, its name in the schema, and how it is written.
const TABLES: &[(&str, &str, &str)] = &[
    ("MANIFEST", "", "The keys at the top."),
    ("VARIABLES", "Variable", "`[vars]` has a value of each variable, or a table."),
    ("LAYERS", "Layer", "`[[layer]]` begins each layer, the innermost first."),
    (
        "STEPS",
        "Step",
        "A step is a command, or a table; `pre`, `post`, `check` and `finally` have one or a list.",
    ),
    ("FILES IN THE ROOTFS", "File", "`[[layer.file]]` begins each, in the layer above it."),
    ("ENVIRONMENT OF STEPS", "EnvValue", "A value of `env` is plain, or a table."),
];

/// Returns the page.
pub(super) fn page() -> Page {
    let mut text = Vec::new();
    let man =
        page::described(Man::new(clap::Command::new(MANIFEST)), MANIFEST, "5", "File Formats");
    man.render_title(&mut text).expect("a vector takes all that is written");
    let manifest: Json =
        serde_json::from_str(MANIFEST_SCHEMA).expect("tests hold the schema to its types");
    let layer: Json =
        serde_json::from_str(LAYER_SCHEMA).expect("tests hold the schema to its types");
    let mut roff = Roff::new();
    roff.control("SH", ["NAME"]);
    roff.text([roman(format!("{MANIFEST} - the layers of a host role, for layered-template"))]);
    roff.control("SH", ["DESCRIPTION"]);
    roff.text(inlines(
        "A manifest is a TOML file. It describes one host role: the template that installs the system, \
         and the layers around it. An unknown key is an error. Relative paths are relative to the \
         directory of the file that names them.",
    ));
    for (title, name, how) in TABLES {
        let table = if name.is_empty() { &manifest } else { &manifest["$defs"][name] };
        section(&mut roff, title, how, table, &manifest);
    }
    let how = "A reusable layer is a file of its own, which a manifest names with `use`. `[layer]` has the \
               keys of a layer but `name`, `use`, `with` and those of a template.";
    section(&mut roff, "REUSABLE LAYERS", how, &layer, &layer);
    roff.control("SH", ["EXAMPLES"]).text([roman("A whole manifest:")]);
    page::verbatim(&mut roff, &init::example());
    let pages = [
        ("layered-template", "1"),
        ("layered-template-init", "1"),
        ("layered-template-schema", "1"),
        ("lxc.container.conf", "5"),
    ];
    page::see_also(&mut roff, pages.into_iter());
    let text = String::from_utf8_lossy(&text).into_owned() + &roff.to_roff();
    Page { file: format!("{MANIFEST}.5"), text: page::tidy(&text) }
}

fn section(roff: &mut Roff, title: &str, how: &str, table: &Json, schema: &Json) {
    roff.control("SH", [title]).text(inlines(how));
    for (key, value) in table["properties"].as_object().into_iter().flatten() {
        let mut term = vec![bold(key.as_str())];
        term.push(roman(format!(" ({})", kind(value, schema))));
        roff.control("TP", []).text(term);
        let mut meaning = value["description"].as_str().unwrap_or_default().to_owned();
        if let Some(default) = value.get("default") {
            let _ = write!(meaning, " The default is `{}`.", as_toml(default));
        } else if let Some(example) = value["examples"].get(0).filter(|_| value["const"].is_null())
        {
            let example = as_toml(example);
            if example.split(' ').all(|word| word.len() < LONGEST_WORD) {
                let _ = write!(meaning, " For example: `{example}`");
            }
        }
        roff.text(inlines(&meaning));
    }
}

/// Returns what a value may be, in words.
fn kind(value: &Json, schema: &Json) -> String {
    if let Some(only) = value.get("const") {
        return as_toml(only);
    }
    if let Some(words) = value["enum"].as_array() {
        return listed(words.iter().map(as_toml).collect());
    }
    if let Some(name) = value["$ref"].as_str().and_then(|name| name.strip_prefix("#/$defs/")) {
        return kind(&schema["$defs"][name], schema);
    }
    let types = match &value["type"] {
        Json::Array(several) => several.iter().filter_map(Json::as_str).collect(),
        only => only.as_str().into_iter().collect::<Vec<_>>(),
    };
    let word = |name: &str| match name {
        "array" => "list".to_owned(),
        "object" => "table".to_owned(),
        other => other.to_owned(),
    };
    listed(types.into_iter().map(word).collect())
}

fn listed(mut words: Vec<String>) -> String {
    let last = words.pop().unwrap_or_default();
    if words.is_empty() { last } else { format!("{} or {last}", words.join(", ")) }
}

/// Returns a value as a manifest has it, on one line.
fn as_toml(value: &Json) -> String {
    toml::Value::try_from(value).map_or_else(|_| value.to_string(), |value| value.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_table_of_the_schema_is_on_the_page() {
        let schema: Json = serde_json::from_str(MANIFEST_SCHEMA).unwrap();
        for (name, table) in schema["$defs"].as_object().unwrap() {
            let is_shown = TABLES.iter().any(|(_, shown, _)| shown == name);
            // A list of steps has the keys of a step.
            assert!(is_shown || table["properties"].is_null() || name == "Steps", "{name}");
        }
    }

    #[test]
    fn keys_stand_with_what_they_may_be() {
        let text = page().text;
        for part in [
            ".TP\n\\fBif_exists\\fR (\"replace\", \"keep\" or \"error\")\n",
            ".TP\n\\fBtemplate\\fR (string)\n",
            "\\fBenv\\fR (table)\n",
            "\\fBpost\\fR (list, table or string)\n",
        ] {
            assert!(text.contains(part), "{part}\n{text}");
        }
    }
}
