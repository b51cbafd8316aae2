//! The programs that a script of the host is run by: the one behind `#!`, what `env` finds, and those of either that is
//! a script again.

use std::env;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use crate::host::program;
use crate::host::template::executable;
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
    let by_env = if first.ends_with("env") { found_by_env(script, argument) } else { Vec::new() };
    for program in [first].into_iter().chain(by_env).filter(|path| path.is_absolute()) {
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

/// Returns what `env` starts, by the environment of the caller; where that is `env` once more, what that starts too.
fn found_by_env(script: &Path, argument: &str) -> Vec<PathBuf> {
    let variable = |name: &str| env::var(name).ok();
    let mut found = Vec::new();
    let mut next = EnvCall::parse(argument, &variable);
    while let Some(call) = next
        && let Some(program) = started(script, &call)
    {
        let is_env = program.ends_with("env");
        found.push(program);
        next = call.parse_next(&variable).filter(|_| is_env && found.len() < DEEPEST);
    }
    found
}

/// Returns the path of the program that an `env` starts. Steps run in the directory of what defines them.
fn started(script: &Path, call: &EnvCall) -> Option<PathBuf> {
    let mut directory = script.parent().unwrap_or(Path::new("/")).to_path_buf();
    directory.extend(&call.directory);
    if call.program.contains('/') {
        return Some(directory.join(&call.program));
    }
    let path = match &call.path {
        Some(path) => path.into(),
        None => program::search_path(),
    };
    // A part that is empty or relative is looked for there as well.
    let mut programs = env::split_paths(&path).map(|part| directory.join(part).join(&call.program));
    programs.find(|program| executable(program).is_ok())
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
