//! Completions and manual pages, made from the command line's own definition.

use clap::CommandFactory;

use super::arguments::{Cli, CompletionArguments, ManArguments};
use super::output;

/// The name that completions and pages are for.
const NAME: &str = "layered-template";

pub(super) fn completions(arguments: &CompletionArguments) -> u8 {
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut Cli::command(), NAME, &mut script);
    output::printed_data(0, |to| to.write_all(&script))
}

pub(super) fn main(arguments: &ManArguments) -> u8 {
    let command = Cli::command();
    let Some(directory) = &arguments.output else {
        return output::printed_data(0, |to| clap_mangen::Man::new(command).render(to));
    };
    if !directory.is_dir() {
        let what = if directory.exists() { "is not a directory" } else { "does not exist" };
        let hint = "`--output` names a directory for one page per subcommand; without it the page is printed";
        output::error(&format!("`{}` {what}", directory.display()), Some(hint));
        return 1;
    }
    match clap_mangen::generate_to(command, directory) {
        Ok(()) => 0,
        Err(error) => {
            output::error(&format!("`{}`: {error}", directory.display()), None);
            1
        }
    }
}
