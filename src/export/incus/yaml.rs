//! Writes the little YAML that Incus reads.

use std::fmt::Write;

/// A document, and how deep the line to come is.
#[derive(Debug, Default)]
pub(super) struct Yaml {
    text: String,
    depth: usize,
}

impl Yaml {
    /// Adds a key and a text.
    pub(super) fn pair(&mut self, key: &str, value: &str) {
        self.line(key, &quoted(value));
    }

    /// Adds a key and a number.
    pub(super) fn number(&mut self, key: &str, value: i64) {
        self.line(key, &value.to_string());
    }

    /// Adds a key and a list of texts.
    pub(super) fn list(&mut self, key: &str, values: &[&str]) {
        let values: Vec<_> = values.iter().map(|value| quoted(value)).collect();
        self.line(key, &format!("[{}]", values.join(", ")));
    }

    /// Adds a key and what `fill` adds below it.
    pub(super) fn map(&mut self, key: &str, fill: impl FnOnce(&mut Self)) {
        let before = self.text.len();
        self.line(key, "");
        let (begun, length) = (before, self.text.len());
        self.depth += 1;
        fill(self);
        self.depth -= 1;
        if self.text.len() == length {
            self.text.truncate(begun);
            self.line(key, "{}");
        }
    }

    /// Adds a key and lines that stay lines.
    pub(super) fn block(&mut self, key: &str, lines: &[String]) {
        // What is no plain text is one quoted line.
        let is_plain = |line: &String| {
            !line.starts_with([' ', '\t']) && line.chars().all(|letter| !letter.is_control())
        };
        if !lines.iter().all(is_plain) {
            return self.pair(key, &(lines.join("\n") + "\n"));
        }
        self.line(key, "|");
        for line in lines {
            let _ = writeln!(self.text, "{:1$}{line}", "", 2 * self.depth + 2);
        }
    }

    /// Returns the document.
    pub(super) fn into_text(self) -> String {
        self.text
    }

    fn line(&mut self, key: &str, value: &str) {
        let is_word = |letter: char| letter.is_ascii_alphanumeric() || "._-/".contains(letter);
        let is_bare = key.starts_with(|first: char| first.is_ascii_alphabetic() || first == '/')
            && key.chars().all(is_word);
        let key = if is_bare { key.to_owned() } else { quoted(key) };
        let blank = if value.is_empty() { "" } else { " " };
        let _ = writeln!(self.text, "{:1$}{key}:{blank}{value}", "", 2 * self.depth);
    }
}

/// Returns a text in quotes, with all escaped that a line cannot hold.
fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for letter in text.chars() {
        match letter {
            '"' | '\\' => quoted.extend(['\\', letter]),
            '\n' => quoted.push_str("\\n"),
            '\t' => quoted.push_str("\\t"),
            // The ends of lines that are no control characters, and the mark of a byte order.
            '\u{2028}' | '\u{2029}' | '\u{feff}' => {
                let _ = write!(quoted, "\\u{:04x}", u32::from(letter));
            }
            _ if letter.is_control() => {
                let _ = write!(quoted, "\\x{:02x}", u32::from(letter));
            }
            _ => quoted.push(letter),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_is_written() {
        let mut yaml = Yaml::default();
        yaml.number("n", 7);
        yaml.map("m", |yaml| {
            yaml.pair("environment.A", "a\n\"b\"\\\u{7f}\u{2028}\u{e4}: #");
            yaml.pair("no: key", "");
            yaml.list("l", &["x", "y"]);
            yaml.block("b", &["one = 1".to_owned(), "two: # 2".to_owned()]);
        });
        yaml.map("empty", |_| {});
        let expected = "n: 7\nm:\n  environment.A: \"a\\n\\\"b\\\"\\\\\\x7f\\u2028\u{e4}: #\"\n  \
                        \"no: key\": \"\"\n  l: [\"x\", \"y\"]\n  b: |\n    one = 1\n    two: # 2\nempty: {}\n";
        assert_eq!(yaml.into_text(), expected);
    }
}
