//! Completions and manual pages, made from the command line's own definition.

mod format;
mod markdown;
mod page;

use std::path::Path;

use clap::Command;
use clap_complete::env::Shells;

use super::arguments::{CompletionArguments, ManArguments};
use super::{command, complete, output};
use page::Page;

/// The name that completions and pages are for.
const NAME: &str = "layered-template";

/// The name of the page of the manifest.
const MANIFEST: &str = "layered-template.toml";

/// Where the script for bash asks what completes the words of a line.
const BEFORE_REPLY: &str = "    COMPREPLY=( $( \\\n";

/// Bash makes a word of each `=`. The value of an option is a word behind it too, and that of a variable is
/// nobody's to complete.
const EQUALS_SIGNS: &str = r#"    if [[ "${COMP_LINE:0:COMP_POINT}" =~ [[:space:]][^-[:space:]][^[:space:]]*=[^[:space:]]*$ ]]; then
        return
    fi
    local index
    for index in "${!COMP_WORDS[@]}"; do
        if [[ ${COMP_WORDS[index]} == "=" && ${COMP_WORDS[index - 1]} == --* ]] && (( index < COMP_CWORD )); then
            unset "words[index]"
            _CLAP_COMPLETE_INDEX=$(( _CLAP_COMPLETE_INDEX - 1 ))
        fi
    done
"#;

pub(super) fn completions(arguments: &CompletionArguments) -> u8 {
    let (shells, name) = (Shells::builtins(), arguments.shell.to_string());
    let Some(shell) = shells.completer(&name) else {
        output::error(&format!("there are no completions for {name}"), None);
        return 1;
    };
    output::printed_data(0, |to| {
        let mut script = Vec::new();
        shell.write_registration(complete::VARIABLE, NAME, NAME, NAME, &mut script)?;
        let script = String::from_utf8_lossy(&script);
        to.write_all(
            script.replacen(BEFORE_REPLY, &format!("{EQUALS_SIGNS}{BEFORE_REPLY}"), 1).as_bytes(),
        )
    })
}

pub(super) fn main(arguments: &ManArguments) -> u8 {
    let pages = pages();
    let Some(directory) = &arguments.output else {
        return output::printed_data(0, |to| to.write_all(pages[0].text.as_bytes()));
    };
    if directory.exists() && !directory.is_dir() {
        let hint = "`--output` names a directory for one page per subcommand; without it the page is printed";
        output::error(&format!("`{}` is not a directory", directory.display()), Some(hint));
        return 1;
    }
    let made = std::fs::create_dir_all(directory);
    match made.and_then(|()| pages.iter().try_for_each(|page| write(page, directory))) {
        Ok(()) => 0,
        Err(error) => {
            output::error(&format!("`{}`: {error}", directory.display()), None);
            1
        }
    }
}

fn write(page: &Page, directory: &Path) -> std::io::Result<()> {
    std::fs::write(directory.join(&page.file), &page.text)
}

/// Returns all pages: that of the program first.
fn pages() -> Vec<Page> {
    let mut command = command::command().disable_help_subcommand(true);
    command.build();
    let mut pages = Vec::new();
    add(&command, &mut pages);
    pages.push(format::page());
    pages
}

fn add(command: &Command, pages: &mut Vec<Page>) {
    pages.push(page::of(command));
    command.get_subcommands().for_each(|inner| add(inner, pages));
}
