//! What `env` is called for behind `#!`: which program it looks for, and where.
//!
//! Source: the manual of `env` in GNU coreutils 9, and that of its `-S`.

use std::path::{Path, PathBuf};

/// How deep `-S` may stand in what another `-S` says.
const DEEPEST: usize = 8;

/// The options that take a word, and need it: short and long.
const WITH_WORD: [(char, &str); 3] = [('u', "unset"), ('C', "chdir"), ('a', "argv0")];

/// What `env` starts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct EnvCall {
    /// The program, as it is written.
    pub program: String,
    /// What it is called with.
    pub arguments: Vec<String>,
    /// Where it is looked for, should that be set.
    pub path: Option<String>,
    /// The directory that it is started in, should that be another.
    pub directory: Option<PathBuf>,
}

impl EnvCall {
    /// Reads the one word that the kernel hands over behind the interpreter; `None` where `env` starts nothing. `variable`
    /// is its environment.
    pub(crate) fn parse(argument: &str, variable: &dyn Fn(&str) -> Option<String>) -> Option<Self> {
        Self::default().parse_words(vec![argument.to_owned()], variable)
    }

    /// Reads what the program is called with as another `env` would that is started by this one.
    pub(crate) fn parse_next(self, variable: &dyn Fn(&str) -> Option<String>) -> Option<Self> {
        let Self { arguments, path, directory, .. } = self;
        Self { path, directory, ..Self::default() }.parse_words(arguments, variable)
    }

    fn parse_words(
        self,
        mut words: Vec<String>,
        variable: &dyn Fn(&str) -> Option<String>,
    ) -> Option<Self> {
        let mut call = self;
        let mut splits = 0;
        while !words.is_empty() {
            let word = words.remove(0);
            let mut rest = match word.strip_prefix('-') {
                None => match word.split_once('=') {
                    Some(("PATH", path)) => {
                        call.path = Some(path.to_owned());
                        continue;
                    }
                    Some(_) => continue,
                    None => return Some(Self { program: word, arguments: words, ..call }),
                },
                Some("") => continue,
                Some(rest) => rest,
            };
            if rest == "-" {
                // Variables may still be set behind it.
                continue;
            }
            if let Some(long) = rest.strip_prefix('-') {
                let (name, value) = match long.split_once('=') {
                    Some((name, value)) => (name, Some(value.to_owned())),
                    None => (long, None),
                };
                let is = |full: &str| !name.is_empty() && full.starts_with(name);
                if is("split-string") {
                    splits += 1;
                    let value = value.or_else(|| take(&mut words))?;
                    words.splice(..0, split(&value, variable));
                } else if let Some((short, _)) = WITH_WORD.iter().find(|(_, full)| is(full)) {
                    let value = value.or_else(|| take(&mut words))?;
                    call.set(*short, &value);
                }
            }
            while !rest.starts_with('-')
                && let Some(option) = rest.chars().next()
            {
                rest = &rest[option.len_utf8()..];
                let takes_word =
                    option == 'S' || WITH_WORD.iter().any(|(short, _)| *short == option);
                if !takes_word {
                    continue;
                }
                let value = if rest.is_empty() { take(&mut words)? } else { rest.to_owned() };
                if option == 'S' {
                    splits += 1;
                    words.splice(..0, split(&value, variable));
                }
                call.set(option, &value);
                break;
            }
            if splits > DEEPEST {
                return None;
            }
        }
        None
    }

    fn set(&mut self, option: char, value: &str) {
        if option == 'C' {
            self.directory = Some(self.directory.take().unwrap_or_default().join(Path::new(value)));
        }
    }
}

fn take(words: &mut Vec<String>) -> Option<String> {
    if words.is_empty() { None } else { Some(words.remove(0)) }
}

/// Splits a text as `-S` does: quotes, escapes, variables, and a comment at the end.
fn split(text: &str, variable: &dyn Fn(&str) -> Option<String>) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut letters = text.chars().peekable();
    while let Some(letter) = letters.next() {
        match (letter, quote) {
            ('\'' | '"', None) => {
                quote = Some(letter);
                word.get_or_insert_default();
            }
            (letter, Some(open)) if letter == open => quote = None,
            ('\\', _) => match (letters.next(), quote) {
                (Some('c'), None) => break,
                (Some('_'), None) => words.extend(word.take()),
                (Some('_'), Some('"')) => word.get_or_insert_default().push(' '),
                (Some(next @ ('\\' | '\'')), Some('\'')) => word.get_or_insert_default().push(next),
                (Some(next), Some('\'')) => word.get_or_insert_default().extend(['\\', next]),
                (Some(next), _) => {
                    let meant = match next {
                        'n' => '\n',
                        't' => '\t',
                        'r' => '\r',
                        'f' => '\x0c',
                        'v' => '\x0b',
                        next => next,
                    };
                    word.get_or_insert_default().push(meant);
                }
                (None, _) => {}
            },
            ('$', None | Some('"')) if letters.peek() == Some(&'{') => {
                let name: String =
                    letters.by_ref().skip(1).take_while(|letter| *letter != '}').collect();
                word.get_or_insert_default().push_str(&variable(&name).unwrap_or_default());
            }
            ('#', None) if word.is_none() => break,
            (letter, None) if letter.is_ascii_whitespace() || letter == '\x0b' => {
                words.extend(word.take());
            }
            (letter, _) => word.get_or_insert_default().push(letter),
        }
    }
    words.extend(word);
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_program_is_found_behind_what_env_takes_itself() {
        let home = |name: &str| (name == "HOME").then(|| "/h".to_owned());
        let found = |argument: &str| {
            EnvCall::parse(argument, &home).map(|call| {
                let directory = call.directory.map(|path| path.display().to_string());
                (call.program, call.path, directory)
            })
        };
        let plain = |program: &str| Some((program.to_owned(), None, None));
        for argument in [
            "sh",
            "-S sh",
            "-vS sh -e",
            "-Ssh",
            "-S A=1 sh",
            "-S -u FOO sh",
            "-S -uFOO sh",
            "-uFOO",
            "--split-string=sh x",
            "--split=sh",
            "--split-string sh",
            "-S 'sh'",
            "-S \"s\"h",
            "-S \\_sh",
            "-S -i -- A=1 sh",
            "-S - sh",
            "-S -vu FOO sh",
            "-S --unset FOO sh",
            "-S --unset=FOO sh",
            "-S -a name sh",
            "-S --argv0=name sh",
            "-S -S'sh -x'",
            "-S --ignore-signal=INT sh",
            "-S \ts\\h",
        ] {
            let expected = if argument == "-uFOO" { None } else { plain("sh") };
            // The kernel hands over a single word, so that only `-S` splits it.
            let expected = if argument == "--split-string sh" { None } else { expected };
            assert_eq!(found(argument), expected, "{argument}");
        }
        assert_eq!(found("-S ${HOME}/sh"), plain("/h/sh"));
        assert_eq!(found("-S '${HOME}'"), plain("${HOME}"));
        assert_eq!(found("-S A=1 # sh"), None);
        assert_eq!(found("A=1"), None);
        assert_eq!(found(""), plain(""));
        let path = ("sh".to_owned(), Some("/a:/b".to_owned()), None);
        assert_eq!(found("-S -i PATH=/a:/b sh"), Some(path));
        for argument in
            ["-S -C /d ./sh", "-S -C/d ./sh", "-S --chdir=/d ./sh", "-S --chdir /d ./sh"]
        {
            let expected = ("./sh".to_owned(), None, Some("/d".to_owned()));
            assert_eq!(found(argument), Some(expected), "{argument}");
        }
    }
}
