//! The programs that a script of the host is run by: the one behind `#!`, what `env` finds, and those of either that is
//! a script again.

use std::env;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use crate::host::program;
use crate::manifest::env_call::EnvCall;
use crate::manifest::shebang;

/// How many scripts may be run by each other. Source: `exec_binprm` in Linux's `fs/exec.c`.
const DEEPEST: usize = 5;

/// Returns the programs that a script is run by, as far as their paths are known.
pub(super) fn of(script: &Path, bytes: &[u8]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    add(script, bytes, DEEPEST, &mut found);
    found
}

fn add(script: &Path, bytes: &[u8], depth: usize, found: &mut Vec<PathBuf>) {
    let words = shebang::interpreter(bytes);
    let Some(first) = words.first().map(PathBuf::from) else { return };
    let argument = words.get(1).map(String::as_str).unwrap_or_default();
    let second = if first.ends_with("env") { found_by_env(script, argument) } else { None };
    for program in [Some(first), second].into_iter().flatten().filter(|path| path.is_absolute()) {
        if found.contains(&program) {
            continue;
        }
        let head = head_of(&program);
        found.push(program.clone());
        if let Some(head) = head.filter(|_| depth > 0) {
            add(&program, &head, depth - 1, found);
        }
    }
}

/// Returns what `env` starts, by the environment of the caller.
fn found_by_env(script: &Path, argument: &str) -> Option<PathBuf> {
    let call = EnvCall::parse(argument, &|name| env::var(name).ok())?;
    if call.program.contains('/') {
        let directory = call.directory.as_deref().or_else(|| script.parent());
        return Some(directory.unwrap_or(Path::new("/")).join(call.program));
    }
    match call.path {
        Some(path) => program::find_in(path.as_ref(), &call.program),
        None => program::find(&call.program),
    }
}

/// Reads what the kernel looks at of a program.
fn head_of(program: &Path) -> Option<Vec<u8>> {
    // Nobody waits for a fifo.
    if !fs::metadata(program).ok()?.is_file() {
        return None;
    }
    let mut head = Vec::new();
    File::open(program).ok()?.take(shebang::LONGEST).read_to_end(&mut head).ok()?;
    Some(head)
}
