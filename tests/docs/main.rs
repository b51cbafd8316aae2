//! The documentation is true: what it shows is parsed, validated or run, and what it links to is
//! there.
//!
//! CONTRIBUTING.md says how a page is written for this. A block that no rule covers fails, so that
//! none is skipped in silence. Without root or a static busybox some commands cannot be run; a test
//! then says `skipped: ...`, and fails instead with `LT_REQUIRE_E2E=1` in the environment.

mod book;
mod console;
mod fragment;
mod links;
mod messages;
mod page;
mod picture;
mod place;

use std::path::{Path, PathBuf};

use page::{Block, Page};
use place::Place;

/// What is wrong with a page: each fault with its file and line.
type Faults = Vec<String>;

#[test]
fn every_block_of_the_documentation_holds() {
    let mut faults = Faults::new();
    // Who writes a page runs that one: `LT_PAGE=docs/tutorial.md cargo test --test docs`.
    let only = std::env::var_os("LT_PAGE").map(PathBuf::from);
    for path in
        pages().into_iter().filter(|path| only.as_ref().is_none_or(|only| path.ends_with(only)))
    {
        match Page::read(&path) {
            Ok(page) => faults.extend(judge(&page)),
            Err(fault) => faults.push(fault),
        }
    }
    assert!(faults.is_empty(), "\n\n{}\n", faults.join("\n\n"));
}

#[test]
fn every_link_of_the_documentation_leads_somewhere() {
    let faults: Faults = pages().iter().flat_map(|path| links::judge(path)).collect();
    assert!(faults.is_empty(), "\n\n{}\n", faults.join("\n\n"));
}

#[test]
fn every_picture_of_the_documentation_is_current() {
    let faults: Faults = pages().iter().flat_map(|path| picture::judge(path)).collect();
    assert!(faults.is_empty(), "\n\n{}\n", faults.join("\n\n"));
}

#[test]
fn every_page_of_the_manual_is_in_its_table_of_contents() {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs");
    let faults = book::judge(&docs, &pages());
    assert!(faults.is_empty(), "\n\n{}\n", faults.join("\n"));
}

#[test]
fn every_message_that_is_explained_is_one_of_the_program() {
    let top = Path::new(env!("CARGO_MANIFEST_DIR"));
    let faults = messages::judge(&top.join("docs/troubleshooting.md"), &top.join("src"));
    assert!(faults.is_empty(), "\n\n{}\n", faults.join("\n"));
}

#[test]
fn the_first_page_is_short() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
    let lines = std::fs::read_to_string(page).expect("it is there").lines().count();
    assert!(lines <= 250, "README.md has {lines} lines: what is more than 250 belongs in `docs`");
}

/// The pages: those at the top, and all below `docs`.
fn pages() -> Vec<PathBuf> {
    let top = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut pages = ["README.md", "CONTRIBUTING.md", "CHANGELOG.md", "examples/README.md"]
        .map(|name| top.join(name))
        .to_vec();
    let mut directories = vec![top.join("docs")];
    while let Some(directory) = directories.pop() {
        for entry in std::fs::read_dir(&directory).expect("the documentation is there") {
            let path = entry.expect("the directory can be read").path();
            if path.is_dir() {
                directories.push(path);
            } else if path.extension().is_some_and(|extension| extension == "md") {
                pages.push(path);
            }
        }
    }
    pages.sort();
    pages
}

/// Judges the blocks of one page in the order of the page: a command sees the files above it.
fn judge(page: &Page) -> Faults {
    let place = Place::new();
    let mut faults = Faults::new();
    let mut manifest = None;
    for block in &page.blocks {
        if let Some(file) = block.file.as_ref().filter(|_| block.language == "toml") {
            manifest = Some(&file.name);
        }
        let fault = match block.language.as_str() {
            "toml" => fragment::judge(block, &place),
            "console" => console::judge(block, &place),
            "sh" => shell(block, &place),
            "json" => json(block),
            "mermaid" => match manifest {
                Some(manifest) => console::draws(block, manifest, &place),
                None => Err("a diagram follows the manifest that it is of".to_owned()),
            },
            "text" => {
                if let Some(file) = &block.file {
                    place.write(&file.name, &block.text);
                }
                Ok(())
            }
            "" => {
                Err("a block without a language; write ```text if it is not to be run".to_owned())
            }
            other => Err(format!("no rule says what to do with ```{other}")),
        };
        if let Err(fault) = fault {
            faults.push(format!("{}:{}: {fault}", page.path.display(), block.line));
        }
    }
    faults
}

/// A shell script: it becomes the file that it is named after, and must parse.
fn shell(block: &Block, place: &Place) -> Result<(), String> {
    if let Some(file) = &block.file {
        place.write(&file.name, &block.text);
    }
    place::parses(&block.text)
}

fn json(block: &Block) -> Result<(), String> {
    let value: Result<serde_json::Value, _> = serde_json::from_str(&block.text);
    value.map(|_| ()).map_err(|error| format!("this is not JSON: {error}"))
}

/// The rules find what they are there to find.
mod rules {
    use super::*;

    fn faults(text: &str) -> String {
        match Page::parse(Path::new("page.md"), text) {
            Ok(page) => judge(&page).join("\n"),
            Err(fault) => fault,
        }
    }

    #[test]
    fn a_page_without_faults_has_none() {
        let page = "\
<!-- file: a.toml -->
```toml
manifest = 1
[[layer]]
name = \"os\"
template = \"builtin:busybox\"
```
```toml
[[layer.file]]
path = \"/etc/x\"
source = \"files/x\"
```
```toml
check = { script = \"check.sh\" }
```
```console
$ layered-template validate a.toml
1 manifest: 0 errors, ... warnings
$ layered-template validate no.toml
...
$ echo $?
1
$ lxc-create -t layered-template -n web1 -- --manifest a.toml
whatever it says
```
```sh
make test
```
```text
anything
```
<!-- file: layers/l.toml -->
```toml
[vars]
n = { required = true, type = \"integer\" }
[layer]
config = { lxc.start.order = \"{{ n }}\" }
```
<!-- file: v.toml -->
```toml
n = 7
```
<!-- file: u.toml -->
```toml
manifest = 1
[vars]
n = { required = true, type = \"integer\" }
[[layer]]
name = \"os\"
template = \"builtin:busybox\"
[[layer]]
use = \"l\"
with = { n = \"{{ n }}\" }
```
```console
$ layered-template validate u.toml --vars-file v.toml
1 manifest: 0 errors, 0 warnings
```
<!-- file: d.toml -->
```toml
manifest = 1
[[layer]]
name = \"os\"
template = \"builtin:busybox\"
```
```mermaid
flowchart TB
  subgraph l0[\"layer os\"]
    direction TB
    n1([\"template builtin:busybox\"])
  end
```
";
        assert_eq!(faults(page), "");
    }

    #[test]
    fn no_block_is_passed_over() {
        let table = [
            ("```\nx\n```\n", "without a language"),
            ("```bash\nx\n```\n", "no rule"),
            ("  ```sh\nx\n```\n", "column"),
            ("~~~sh\nx\n~~~\n", "backticks"),
            ("```sh\nx\n", "no end"),
            ("```sh\nif\n```\n", "does not parse"),
            ("```toml\nmanifest = 2\n```\n", "neither"),
            ("```toml\nmanifest = 1\n```\n", "at least one"),
            ("```toml\nfrobnicate = 1\n```\n", "neither"),
            ("```toml\n[[layer]]\n```\n", "needs a `name`"),
            ("```toml\na = \n```\n", "not TOML"),
            ("```toml\npre = \"x\"\npsot = \"x\"\n```\n", "neither"),
            ("```console\nlayered-template plan\n```\n", "before the first"),
            ("```console\n$ rm -rf x\n```\n", "no rule"),
            ("```console\n$ layered-template validate no.toml\n...\n```\n", "echo $?"),
            ("```console\n$ layered-template --version\nlayered-template 9\n```\n", "expected"),
            ("```json\n{\n```\n", "not JSON"),
            ("```mermaid\nflowchart TB\n```\n", "follows the manifest"),
            (
                "<!-- file: a.toml -->\n```toml\nmanifest = 1\n[[layer]]\nname = \"os\"\n\
                 template = \"builtin:busybox\"\n```\n```mermaid\nflowchart LR\n```\n",
                "expected",
            ),
            ("<!-- file: layers/l.toml -->\n```toml\n[layer]\nx = 1\n```\n", "unknown key `x`"),
            ("<!-- file: a -->\n\ntext\n", "no block"),
            ("<!-- needs: a -->\n\ntext\n", "no block"),
            ("<!-- file: a.toml, with errors -->\n```toml\n[[layer]]\n```\n", "no command"),
        ];
        for (text, part) in table {
            let found = faults(text);
            assert!(found.contains(part), "{text}\n{found}");
        }
    }

    #[test]
    fn pictures_are_of_a_block_of_their_page() {
        let picture = "<svg xmlns=\"http://www.w3.org/2000/svg\"><desc>a --&gt; b\n</desc></svg>";
        let linked = picture.replace("</svg>", "<image href=\"https://example.org/x\"/></svg>");
        let table = [
            (picture, "a --> b\n", None),
            (picture, "a --> c\n", Some("no block")),
            ("<svg/>", "a --> b\n", Some("says no text")),
            (&linked, "a --> b\n", Some("other places")),
        ];
        for (picture, diagram, expected) in table {
            let found = picture::fault(picture, &[diagram]);
            assert_eq!(found.is_some(), expected.is_some(), "{found:?}");
            assert!(found.unwrap_or_default().contains(expected.unwrap_or_default()));
        }
    }

    #[test]
    fn a_table_of_contents_names_each_page_once() {
        let table = [
            ("- [A](a.md)\n  - [B](b/c.md)\n", ""),
            ("- [A](a.md)\n", "`b/c.md` is missing"),
            ("- [A](a.md)\n- [B](b/c.md)\n- [A](a.md)\n", "`a.md` stands there 2 times"),
        ];
        for (summary, expected) in table {
            let pages = ["a.md", "b/c.md"];
            assert_eq!(book::of_text(summary, pages.into_iter()).join("\n"), expected);
        }
    }

    #[test]
    fn messages_are_found_in_the_sources() {
        let page = "### ``no `...` in ... it``\n### ``gone``\n### ``\"x\" is ``\n";
        let sources = "    say(\"no `{name}` \\\n        in {place}: it\");\n  \"\\\"x\\\" is\"\n";
        assert_eq!(messages::of_text(page, sources), ["nothing says `gone`"]);
    }

    #[test]
    fn links_are_followed() {
        let page = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md"));
        let table = [
            ("[a](Cargo.toml) [b](https://example.org/x) [c](src/)", 0),
            ("[a](no.md)", 1),
            ("# One two\n[a](#one-two) [b](#three)", 1),
            ("`[a](no.md)`\n```text\n[a](no.md)\n```\n", 0),
        ];
        for (text, count) in table {
            assert_eq!(links::of_text(page, text).len(), count, "{text}");
        }
    }
}
