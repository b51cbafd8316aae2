//! The documentation of a reusable layer, made from its file: a page of Markdown.
//!
//! The comment at the head of the file is the prose. What is indented there by four more columns is
//! an example.

use std::fmt::{self, Write as _};
use std::sync::Arc;

use layered_template::lxc::config;
use layered_template::manifest::{
    self, Action, ConfigLine, ConfigValue, Content, FileDrop, IfExists, Layer, LayerFile, Phase,
    Place, Text, Value, Variable, VariableSource, VariableType, When,
};
use layered_template::source::Source;

/// What a reusable layer is, to be shown to people.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Page<'a> {
    /// The layer's name.
    pub(crate) name: &'a str,
    /// Its file.
    pub(crate) file: &'a LayerFile,
}

impl Page<'_> {
    /// Returns the examples of the file: parts of a manifest that use the layer.
    pub(crate) fn examples(&self) -> Vec<String> {
        let blocks = blocks(&self.file.source.text);
        blocks.into_iter().filter(|(code, _)| *code).map(|(_, text)| text).collect()
    }
}

/// Shows the page as Markdown.
impl fmt::Display for Page<'_> {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(to, "# {}\n", self.name)?;
        if let Some(description) = &self.file.description {
            writeln!(to, "{}.", description.trim_end_matches('.'))?;
        }
        let (examples, prose): (Vec<_>, Vec<_>) =
            blocks(&self.file.source.text).into_iter().partition(|(code, _)| *code);
        for (_, example) in examples {
            write!(to, "\n```toml\n{example}```\n")?;
        }
        for (_, text) in prose {
            write!(to, "\n{text}")?;
        }
        variables(&self.file.variables, to)?;
        made(&self.file.layer, to)
    }
}

/// Returns the paragraphs of the comment at the head of a file, and whether each is an example.
fn blocks(text: &str) -> Vec<(bool, String)> {
    const INDENT: &str = "    ";
    let lines = text.lines().map_while(|line| line.strip_prefix('#'));
    let lines = lines.filter(|line| !line.starts_with(":schema"));
    let mut blocks: Vec<(bool, String)> = Vec::new();
    let mut open = false;
    for line in lines {
        let line = line.strip_prefix(' ').unwrap_or(line);
        let code = line.starts_with(INDENT);
        let (text, blank) = (line.strip_prefix(INDENT).unwrap_or(line), line.trim().is_empty());
        match blocks.last_mut() {
            _ if blank => {}
            // A blank line does not end an example that goes on.
            Some((true, block)) if code => {
                block.push_str(if open { "" } else { "\n" });
                block.push_str(text);
                block.push('\n');
            }
            Some((false, block)) if !code && open => {
                block.push_str(text);
                block.push('\n');
            }
            _ => blocks.push((code, format!("{text}\n"))),
        }
        open = !blank;
    }
    blocks
}

fn variables(variables: &[Variable], to: &mut fmt::Formatter<'_>) -> fmt::Result {
    if variables.is_empty() {
        return writeln!(to, "\n## Variables\n\nIt has none.");
    }
    writeln!(to, "\n## Variables\n\n| name | type | default | what it is |\n|---|---|---|---|")?;
    for variable in variables {
        let kind = variable.kind.or(match &variable.source {
            VariableSource::Value(value, _) => Some(value.kind()),
            _ => None,
        });
        let kind = match kind {
            _ if matches!(variable.source, VariableSource::Secret(_)) => "secret",
            Some(VariableType::Integer) => "integer",
            Some(VariableType::Boolean) => "boolean",
            Some(VariableType::Path) => "path",
            Some(VariableType::String) | None => "string",
        };
        let default = match &variable.source {
            VariableSource::Value(Value::String(text), _) => code(&format!("\"{text}\"")),
            VariableSource::Value(value, _) => code(&value.to_string()),
            VariableSource::Required | VariableSource::Secret(None) => "required".to_owned(),
            VariableSource::From(_) => "decided by its own pre steps".to_owned(),
            VariableSource::Secret(Some(source)) => source.to_string(),
        };
        let description = variable.description.as_deref().unwrap_or_default();
        let (name, description) = (code(&variable.name), cell(description));
        writeln!(to, "| {name} | {kind} | {default} | {description} |")?;
    }
    Ok(())
}

fn made(layer: &Layer, to: &mut fmt::Formatter<'_>) -> fmt::Result {
    if !layer.config.is_empty() {
        writeln!(to, "\n## Config\n\n```text")?;
        for line in &layer.config {
            writeln!(to, "{}", config_line(line))?;
        }
        writeln!(to, "```")?;
    }
    if !layer.files.is_empty() {
        writeln!(to, "\n## Files\n\n| path | what |\n|---|---|")?;
        for file in &layer.files {
            writeln!(to, "| {} | {} |", code(&file.path.to_string()), cell(&drop(file)))?;
        }
    }
    let steps = [
        (Phase::Pre, &layer.pre),
        (Phase::Post, &layer.post),
        (Phase::Check, &layer.check),
        (Phase::Finally, &layer.finally),
    ];
    if steps.iter().any(|(_, steps)| !steps.is_empty()) {
        writeln!(to, "\n## Steps")?;
    }
    for (phase, steps) in steps {
        for step in steps {
            let place = match step.place {
                Place::Host => "on the host",
                Place::Rootfs(_) => "inside the rootfs",
            };
            write!(to, "\n`{phase}`, {place}:")?;
            match &step.action {
                Action::Run(text) => writeln!(to, "\n\n```sh\n{}\n```", text.trim_end())?,
                Action::Script(path) => writeln!(to, " {}", code(&path.to_string_lossy()))?,
            }
        }
    }
    Ok(())
}

fn config_line(line: &ConfigLine) -> String {
    match &line.value {
        ConfigValue::Text(text) => config::line(&line.key, &text.to_string()),
        ConfigValue::Plain(value) => config::line(&line.key, value),
    }
}

/// Says in a few words what a drop makes.
fn drop(file: &FileDrop) -> String {
    let from = |path: &Text| format!("from {} of the host", code(&path.to_string()));
    let mut text = match &file.content {
        Content::Inline { render: false, .. } => "a file".to_owned(),
        Content::Inline { render: true, .. } => "a file, made of the variables".to_owned(),
        Content::Source { path, render: false } => from(path),
        Content::Source { path, render: true } => format!("made of the variables, {}", from(path)),
        Content::Url { url, .. } => format!("from {}", code(&url.to_string())),
        Content::Symlink(target) => format!("a link to {}", code(&target.to_string())),
        Content::Directory => "a directory".to_owned(),
        Content::Remove => "removed".to_owned(),
    };
    let mut also = |words: fmt::Arguments<'_>| {
        let _ = write!(text, "; {words}");
    };
    if let Some(mode) = file.mode {
        also(format_args!("mode {mode}"));
    }
    if let Some(owner) = &file.owner {
        also(format_args!("owner {}", code(&owner.to_string())));
    }
    match file.if_exists {
        IfExists::Replace => {}
        IfExists::Keep => also(format_args!("what is there is kept")),
        IfExists::Error => also(format_args!("nothing may be there")),
    }
    if file.when == When::AfterPost {
        also(format_args!("made after the `post` steps"));
    }
    text
}

/// Returns text as code within a line.
fn code(text: &str) -> String {
    let quotes = if text.contains('`') { "``" } else { "`" };
    format!("{quotes}{}{quotes}", cell(text))
}

/// Returns text as it can stand in a table.
fn cell(text: &str) -> String {
    text.replace('\n', " ").replace('|', "\\|")
}

fn page(text: &str) -> String {
    let source = Arc::new(Source::compiled_in("x.toml", text));
    let (file, report) = manifest::parse_layer(&source);
    assert!(report.is_empty(), "{}", report.to_text(false));
    Page { name: "x", file: &file.unwrap() }.to_string()
}

#[test]
fn a_page_says_all_that_its_file_says() {
    let text = r#"#:schema s.json
#
# One line,
# and another.
#
#     [[layer]]
#     use = "x"
#
#     with = { a = 1 }
#
# After it.
# lxc.

description = "Does x."

[vars]
a = { default = 1, description = "one | two" }
b = { required = true, type = "path" }
c = { secret = true, required = true }
d = { from = "self" }

[layer]
secrets = ["c"]
pre = "echo d=1 >>\"$LAYER_ENV\""
check = { in = "rootfs", run = "true" }

[layer.config]
lxc.tty.max = 4
lxc.environment = ["A={{a}}", ""]

[[layer.file]]
path = "/etc/{{ a }}"
source = "{{ b }}"
mode = "0640"
owner = ":adm"
if_exists = "keep"
when = "after-post"

[[layer.file]]
path = "/l"
symlink = "/etc"
"#;
    let expected = r#"# x

Does x.

```toml
[[layer]]
use = "x"

with = { a = 1 }
```

One line,
and another.

After it.
lxc.

## Variables

| name | type | default | what it is |
|---|---|---|---|
| `a` | integer | `1` | one \| two |
| `b` | path | required |  |
| `c` | secret | required |  |
| `d` | string | decided by its own pre steps |  |

## Config

```text
lxc.tty.max = 4
lxc.environment = A={{ a }}
lxc.environment =
```

## Files

| path | what |
|---|---|
| `/etc/{{ a }}` | from `{{ b }}` of the host; mode 0640; owner `:adm`; what is there is kept; made after the `post` steps |
| `/l` | a link to `/etc` |

## Steps

`pre`, on the host:

```sh
echo d=1 >>"$LAYER_ENV"
```

`check`, inside the rootfs:

```sh
true
```
"#;
    assert_eq!(page(text), expected);
}

#[test]
fn a_bare_layer_has_a_page() {
    assert_eq!(page("[layer]\npost = \"true\"\n").lines().next(), Some("# x"));
}
