//! Text in which `{{ name }}` stands for a variable's value.

use std::fmt;

use crate::diagnostic::{Diagnostic, Report};
use crate::source::At;

/// Text with the names of variables in it.
#[derive(Debug, Clone)]
pub struct Text {
    /// The pieces, in order.
    pub parts: Vec<TextPart>,
    /// Where the whole stands.
    pub at: At,
}

/// A piece of a text.
#[derive(Debug, Clone)]
pub enum TextPart {
    /// As it is.
    Literal(String),
    /// The value of a variable.
    Variable {
        /// The variable's name.
        name: String,
        /// Where the name stands.
        at: At,
    },
}

impl Text {
    /// Parses a text that stands at `at`, and reports what is wrong with its names.
    pub fn parse(text: &str, at: &At, report: &mut Report) -> Self {
        let mut parts = Vec::new();
        let mut rest = text;
        let inset = if text.contains("{{") { inset(text, at) } else { None };
        while let Some(open) = rest.find("{{") {
            if open > 0 {
                parts.push(TextPart::Literal(rest[..open].to_owned()));
            }
            let inside = &rest[open + 2..];
            let offset = text.len() - rest.len() + open;
            let here = |length: usize| match inset {
                Some(inset) => {
                    let start = at.span.start + inset + offset;
                    At { source: at.source.clone(), span: start..start + length }
                }
                // The whole value is pointed at.
                None => at.clone(),
            };
            let Some(close) = inside.find("}}") else {
                let help = "a variable is written `{{ name }}`";
                report.push(Diagnostic::error(&here(2), "`{{` without `}}`").help(help));
                rest = "";
                break;
            };
            let name = inside[..close].trim();
            let here = here(close + 4);
            if super::is_variable_name(name) || name.starts_with("lxc.") {
                parts.push(TextPart::Variable { name: name.to_owned(), at: here });
            } else {
                let message = format!("`{name}` is not the name of a variable");
                report.push(Diagnostic::error(&here, message).help(
                    "only plain names are replaced here, as in `{{ http_port }}`; for more, use a \
                     file with `render = true`",
                ));
            }
            rest = &inside[close + 2..];
        }
        if !rest.is_empty() {
            parts.push(TextPart::Literal(rest.to_owned()));
        }
        Self { parts, at: at.clone() }
    }
}

/// Shows the text with its names as they are written.
impl fmt::Display for Text {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for part in &self.parts {
            match part {
                TextPart::Literal(literal) => formatter.write_str(literal)?,
                TextPart::Variable { name, .. } => write!(formatter, "{{{{ {name} }}}}")?,
            }
        }
        Ok(())
    }
}

/// Returns how far a text is behind the start of its value in the file: the length of its quotes.
///
/// Where the file spells the text with escapes, offsets do not agree, and there is no such length.
fn inset(text: &str, at: &At) -> Option<usize> {
    let raw = &at.source.text[at.span.clone()];
    [1, 3].into_iter().find(|inset| {
        raw.len() == text.len() + 2 * inset && raw.get(*inset..raw.len() - inset) == Some(text)
    })
}
