//! Variables that put a directory of the program elsewhere, and are of no use.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::output;
use crate::host::caller::Caller;
use crate::host::{cache, state};
use crate::{shell, store};

/// Warns of variables that are to put a directory elsewhere, and are ignored.
pub(super) fn warn_of_variables() {
    type Directory = fn(&Caller) -> Option<PathBuf>;
    let directories: [(&str, Directory); 3] = [
        (store::VARIABLE, store::directory),
        (state::VARIABLE, state::directory),
        (cache::VARIABLE, cache::directory),
    ];
    for (variable, directory) in directories {
        let is_ignored = |path: &OsString| !path.is_empty() && !Path::new(path).is_absolute();
        if !env::var_os(variable).as_ref().is_some_and(is_ignored) {
            continue;
        }
        let instead = match directory(&Caller::observe()) {
            Some(top) => format!("{} is used instead", shell::word(&top)),
            None => "it is ignored".to_owned(),
        };
        output::say(&format!("warning: `{variable}` must be an absolute path; {instead}"));
    }
}
