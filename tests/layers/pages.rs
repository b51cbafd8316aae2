//! `docs/layers`: a page for each layer, and their index.

use std::fmt::Write as _;

use crate::page::Page;
use crate::{all, expect, top};

const INDEX: &str = "\
# Ready layers

These layers are part of the program. A manifest uses one by its name:

```toml
[[layer]]
use = \"autostart\"
with = { order = 10 }
```

A file of the same name in `layers/` beside the manifest, or in another directory of the search path,
comes before them. So a copy of a file of [layers](../../layers) is the way to change one.

";

#[test]
fn every_layer_has_its_page() {
    let mut index = format!("{INDEX}| layer | what it does |\n|---|---|\n");
    for (name, file) in all() {
        let page = Page { name, file: &file };
        let made = format!(
            "{page}\nThis page is made from [layers/{name}.toml](../../layers/{name}.toml).\n"
        );
        expect(&format!("docs/layers/{name}.md"), &made);
        let description = file.description.as_deref().expect("a description");
        writeln!(index, "| [{name}]({name}.md) | {description} |").unwrap();
    }
    expect("docs/layers/README.md", &index);
}

#[test]
fn every_page_has_its_layer() {
    for entry in std::fs::read_dir(top("docs/layers")).unwrap() {
        let file = entry.unwrap().file_name().into_string().unwrap();
        let known = all().any(|(name, _)| format!("{name}.md") == file);
        assert!(known || file == "README.md", "{file}");
    }
}

/// What people see of a layer is complete.
#[test]
fn every_layer_says_what_it_is_for() {
    for (name, file) in all() {
        assert!(!Page { name, file: &file }.examples().is_empty(), "{name} shows no example");
        for variable in &file.variables {
            assert!(variable.description.is_some(), "{name}: {}", variable.name);
        }
    }
}
