//! Commands and foreign text, as people see them.

mod terminal_text;

use std::borrow::Cow;
use std::ffi::OsStr;
use std::fmt::Write;
use std::io;
use std::os::unix::ffi::OsStrExt;

pub(crate) use terminal_text::TerminalText;

/// Returns `text` with every control character but the line feed and the tab shown as an escape,
/// so that nothing from a file or a program can drive the terminal.
pub(crate) fn printable(text: &str) -> Cow<'_, str> {
    if !has_hostile(text) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 16);
    for character in text.chars() {
        if is_hostile(character) {
            shown.extend(character.escape_unicode());
        } else {
            shown.push(character);
        }
    }
    Cow::Owned(shown)
}

/// Returns why something failed without the number that the standard library puts behind what the system calls an
/// error: ` (os error 2)`.
pub(crate) fn reason(text: &str) -> Cow<'_, str> {
    const BEFORE: &str = " (os error ";
    let mut found = text.match_indices(BEFORE).peekable();
    if found.peek().is_none() {
        return Cow::Borrowed(text);
    }
    let (mut told, mut rest) = (String::with_capacity(text.len()), 0);
    for (at, _) in found {
        let behind = &text[at + BEFORE.len()..];
        let digits = behind.bytes().take_while(u8::is_ascii_digit).count();
        if digits > 0 && behind[digits..].starts_with(')') {
            told.push_str(&text[rest..at]);
            rest = at + BEFORE.len() + digits + 1;
        }
    }
    told.push_str(&text[rest..]);
    Cow::Owned(told)
}

/// Returns a JSON text in which each such character is an escape of JSON's: what it says is the same.
pub(crate) fn json(text: &str) -> Cow<'_, str> {
    if !has_hostile(text) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 16);
    for character in text.chars() {
        if is_hostile(character) {
            // Beyond the first plane JSON has two escapes for one character.
            for unit in character.encode_utf16(&mut [0; 2]) {
                let _ = write!(shown, "\\u{unit:04x}");
            }
        } else {
            shown.push(character);
        }
    }
    Cow::Owned(shown)
}

/// Returns a value as JSON in which each such character is an escape.
pub(crate) fn to_json(value: &impl serde::Serialize) -> serde_json::Result<Vec<u8>> {
    let text = serde_json::to_string(value)?;
    Ok(json(&text).into_owned().into_bytes())
}

/// Returns `text` on one line: as [`printable`], with line feeds and tabs escaped too.
pub(crate) fn one_line(text: &str) -> String {
    printable(text).replace('\n', "\\n").replace('\t', "\\t")
}

/// Returns one word as a shell would need it written, on one line and printable: a POSIX shell, or
/// for line feeds and other control characters one that knows `$'...'`.
pub(crate) fn word(word: impl AsRef<OsStr>) -> String {
    let bytes = word.as_ref().as_bytes();
    let Ok(text) = str::from_utf8(bytes) else {
        // What is no text is written by its bytes.
        let written = |chunk: std::str::Utf8Chunk<'_>| {
            let rest = chunk.invalid().iter().map(|byte| format!("\\{byte:03o}"));
            escape(chunk.valid()) + &rest.collect::<String>()
        };
        let written: String = bytes.utf8_chunks().map(written).collect();
        return format!("$'{}'", one_line(&written));
    };
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-+=:,./@%^".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        return text.to_owned();
    }
    if text.chars().any(|c| c.is_control() || is_hostile(c)) {
        return format!("$'{}'", one_line(&escape(text)));
    }
    match shlex::try_quote(text) {
        Ok(quoted) => one_line(&quoted),
        Err(_) => one_line(text),
    }
}

/// Escapes control characters and what would end a `$'...'`.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len() + 16);
    for character in text.chars() {
        match character {
            '\n' => escaped.push_str("\\n"),
            '\t' => escaped.push_str("\\t"),
            '\\' | '\'' => escaped.extend(['\\', character]),
            _ if character.is_control() || is_hostile(character) => {
                for byte in character.encode_utf8(&mut [0; 4]).bytes() {
                    let _ = write!(escaped, "\\{byte:03o}");
                }
            }
            _ => escaped.push(character),
        }
    }
    escaped
}

/// Returns a command line that can be copied into a shell.
pub(crate) fn command<W: AsRef<OsStr>>(words: impl IntoIterator<Item = W>) -> String {
    words.into_iter().map(word).collect::<Vec<_>>().join(" ")
}

/// Returns texts as a sentence has them: `a, b and c`.
pub(crate) fn listed<T: AsRef<str>>(texts: &[T]) -> String {
    let texts: Vec<&str> = texts.iter().map(AsRef::as_ref).collect();
    match texts[..] {
        [] => String::new(),
        [only] => only.to_owned(),
        [ref firsts @ .., last] => format!("{} and {last}", firsts.join(", ")),
    }
}

/// Returns as much of `text` as fits `most` bytes, cut between characters.
pub(crate) fn cut(text: &str, most: usize) -> &str {
    let end = (0..=most.min(text.len())).rev().find(|end| text.is_char_boundary(*end));
    &text[..end.unwrap_or_default()]
}

/// Tells whether `word` holds a byte that is a control character of ASCII.
///
/// LXC prints a template's arguments raw into the container's config, where a line feed would
/// start a live line.
pub(crate) fn has_control(word: impl AsRef<OsStr>) -> bool {
    word.as_ref().as_bytes().iter().any(u8::is_ascii_control)
}

/// C0 and C1 controls, and the marks that reorder or hide text (bidirectional controls, what has no
/// width, line separators, blank letters, tags): a diff or a log must read as what it is.
fn is_hostile(character: char) -> bool {
    match character {
        '\n' | '\t' => false,
        '\u{ad}'
        | '\u{61c}'
        | '\u{115f}'..='\u{1160}'
        | '\u{180e}'
        | '\u{200b}'..='\u{200f}'
        | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}'
        | '\u{3164}'
        | '\u{feff}'
        | '\u{ffa0}'
        | '\u{fff9}'..='\u{fffb}'
        | '\u{1d173}'..='\u{1d17a}'
        | '\u{e0000}'..='\u{e007f}' => true,
        _ => character.is_control(),
    }
}

/// Tells whether a text holds such a character. Most hold nothing but ASCII, which is seen at a glance.
fn has_hostile(text: &str) -> bool {
    let is_plain = |byte: u8| matches!(byte, b' '..=b'~' | b'\n' | b'\t');
    !text.bytes().all(is_plain) && text.chars().any(is_hostile)
}

/// A writer of text for people, which shows as [`printable`] does what is written to it.
#[derive(Debug)]
pub(crate) struct Printable<W>(pub(crate) W);

impl<W: io::Write> io::Write for Printable<W> {
    /// Takes all of `bytes`, which are whole characters.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write_all(printable(&String::from_utf8_lossy(bytes)).as_bytes())?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// A writer of JSON, which shows as [`json`] does what is written to it.
#[derive(Debug)]
pub(crate) struct Json<W>(pub(crate) W);

impl<W: io::Write> io::Write for Json<W> {
    /// Takes all of `bytes`, which are whole characters.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write_all(json(&String::from_utf8_lossy(bytes)).as_bytes())?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_become_visible() {
        assert_eq!(printable("a\tb\n"), "a\tb\n");
        assert_eq!(printable("\u{1b}[31m\u{9b}\u{202e}\r"), "\\u{1b}[31m\\u{9b}\\u{202e}\\u{d}");
        assert_eq!(printable("a\u{61c}\u{e0041}b\u{ad}"), "a\\u{61c}\\u{e0041}b\\u{ad}");
        assert_eq!(one_line("a\nb\t"), "a\\nb\\t");
    }

    #[test]
    fn json_says_the_same_by_escapes() {
        let text = "é\u{9b}\u{202e}\u{7f}\u{e0041}\n\u{1b}";
        let written = serde_json::to_string(text).unwrap();
        let shown = json(&written);
        assert_eq!(shown, r#""é\u009b\u202e\u007f\udb40\udc41\n\u001b""#);
        assert_eq!(serde_json::from_str::<String>(&shown).unwrap(), text);
    }

    #[test]
    fn an_error_of_the_system_has_no_number() {
        for (text, expected) in [
            ("`/a`: No such file or directory (os error 2)", "`/a`: No such file or directory"),
            ("`a`: b (os error 28): and c (os error 5) as well", "`a`: b: and c as well"),
            ("(os error 2", "(os error 2"),
            ("é (os error x) (os error )", "é (os error x) (os error )"),
        ] {
            assert_eq!(reason(text), expected);
        }
    }

    #[test]
    fn texts_are_cut_between_characters() {
        let table = [("abc", 5, "abc"), ("abc", 2, "ab"), ("aé", 2, "a"), ("é", 0, "")];
        for (text, most, expected) in table {
            assert_eq!(cut(text, most), expected, "{text} {most}");
        }
    }

    #[test]
    fn words_are_quoted_for_a_shell() {
        assert_eq!(word("--path=/a,b"), "--path=/a,b");
        assert_eq!(command(["sh", "-c", "echo $x", ""]), "sh -c 'echo $x' ''");
        assert_eq!(word(OsStr::from_bytes(b"a\xff'\n")), r"$'a\377\'\n'");
        assert_eq!(word("a\n\t'\\\x1b"), r"$'a\n\t\'\\\033'");
        assert_eq!(word("a\u{202e}b\u{85}"), r"$'a\342\200\256b\302\205'");
    }
}
