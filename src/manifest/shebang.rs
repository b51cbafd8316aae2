//! The first line that makes a manifest a template: the kernel hands the file to this program.

/// The line, as `init` writes it.
pub(crate) const LINE: &str = "#!/usr/bin/env layered-template";

/// How much of a file the kernel looks at for its first line, in bytes.
pub(crate) const LONGEST: u64 = 256;

/// The names that the program is called by.
const PROGRAMS: [&str; 2] = ["layered-template", "lxc-layered-template"];

/// Tells whether a file, by its first bytes, is one that the kernel hands to this program.
pub(crate) fn is_of_this_program(bytes: &[u8]) -> bool {
    let words = interpreter(bytes);
    let mut words = words.iter().flat_map(|word| word.split_ascii_whitespace());
    words.any(|word| word.rsplit('/').next().is_some_and(|name| PROGRAMS.contains(&name)))
}

/// Returns the interpreter of a script and, as one word, what stands behind it.
pub(crate) fn interpreter(bytes: &[u8]) -> Vec<String> {
    let line = bytes.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let Some(line) = line.strip_prefix(b"#!").and_then(|line| str::from_utf8(line).ok()) else {
        return Vec::new();
    };
    let line = line.trim();
    match line.split_once([' ', '\t']) {
        Some((program, argument)) => vec![program.to_owned(), argument.trim().to_owned()],
        None if line.is_empty() => Vec::new(),
        None => vec![line.to_owned()],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interpreters_are_read_as_the_kernel_reads_them() {
        let table: [(&[u8], &[&str]); 6] = [
            (b"#!/bin/sh\necho", &["/bin/sh"]),
            (b"#!/bin/sh -eu\n", &["/bin/sh", "-eu"]),
            (b"#! /usr/bin/env -S bash -x\r\n", &["/usr/bin/env", "-S bash -x"]),
            (b"echo\n", &[]),
            (b"#!\n", &[]),
            (b"", &[]),
        ];
        for (text, words) in table {
            assert_eq!(interpreter(text), words, "{}", String::from_utf8_lossy(text));
        }
    }

    #[test]
    fn a_manifest_is_a_template_by_its_first_line() {
        for (text, expected) in [
            (LINE, true),
            ("#!/usr/local/bin/layered-template\nmanifest = 1\n", true),
            ("#! /usr/bin/env -S layered-template\n", true),
            ("#!/home/ann/lxc-layered-template\n", true),
            ("#!/bin/sh\n# layered-template\n", false),
            ("#!/bin/sh layered-templates\n", false),
            ("manifest = 1\n#!/usr/bin/env layered-template\n", false),
            ("\u{feff}#!/usr/bin/env layered-template\n", false),
        ] {
            assert_eq!(is_of_this_program(text.as_bytes()), expected, "{text}");
        }
    }
}
