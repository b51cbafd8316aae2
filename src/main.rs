//! The `layered-template` program: everything lives in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    layered_template::cli::main()
}
