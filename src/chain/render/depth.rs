//! How deep a template goes.

use super::RenderError;

/// The longest tag of a template, in bytes.
const LONGEST_TAG: usize = 1024;

/// How many times a template may say `elif`.
const MOST_ELIFS: usize = 200;

/// Refuses what would take the engine too deep: it walks an expression and a chain of `elif` by
/// recursion, without a bound of its own.
pub(super) fn check(text: &str) -> Result<(), RenderError> {
    let mut chained = 0;
    let mut rest = text;
    while let Some(open) = rest.find('{') {
        let tag = &rest[open + 1..];
        let close = match tag.as_bytes().first() {
            Some(b'{') => "}}",
            Some(b'%') => "%}",
            Some(b'#') => {
                rest = tag.split_once("#}").map_or("", |(_, behind)| behind);
                continue;
            }
            _ => {
                rest = tag;
                continue;
            }
        };
        let length = tag_length(&tag[1..], close);
        let inside = &tag[1..=length];
        chained +=
            usize::from(inside.trim_start_matches(['-', '+']).trim_start().starts_with("elif"));
        if length > LONGEST_TAG || chained > MOST_ELIFS {
            let lines = text[..text.len() - rest.len() + open].matches('\n').count();
            return Err(RenderError {
                line: Some(lines + 1),
                message: if length > LONGEST_TAG {
                    format!("a tag is longer than {LONGEST_TAG} bytes")
                } else {
                    format!("more than {MOST_ELIFS} times `elif`")
                },
                help: Some("what is that long belongs in a step".to_owned()),
                undefined: false,
            });
        }
        rest = &tag[1 + length..];
    }
    Ok(())
}

/// Returns how long a tag is up to its close, which does not count within quotes.
fn tag_length(tag: &str, close: &str) -> usize {
    let mut quote = None;
    let mut escaped = false;
    for (index, byte) in tag.bytes().enumerate() {
        match quote {
            Some(_) if escaped => escaped = false,
            Some(_) if byte == b'\\' => escaped = true,
            Some(open) if byte == open => quote = None,
            None if tag.as_bytes()[index..].starts_with(close.as_bytes()) => return index,
            None if matches!(byte, b'"' | b'\'') => quote = Some(byte),
            _ => {}
        }
    }
    tag.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_measured_to_their_close() {
        let table = [
            (" a }} b", "}}", 3),
            (" '}}' }}", "}}", 6),
            (r#" "\"}}" }}"#, "}}", 8),
            (" open", "}}", 5),
            (" if 1 %}", "%}", 6),
        ];
        for (text, close, length) in table {
            assert_eq!(tag_length(text, close), length, "{text}");
        }
    }

    #[test]
    fn what_goes_too_deep_is_refused() {
        let sum = "+1".repeat(1000);
        let table = [
            (format!("{{{{ 1{sum} }}}}"), false),
            (format!("{{{{ '}}}}' ~ 1{sum} }}}}"), false),
            (format!("{{% if 1 %}}{}{{% endif %}}", "{%- elif 1 %}".repeat(1000)), false),
            (format!("{{ a }} {{# {sum} #}} {sum}"), true),
            ("{{ a }}".repeat(1000), true),
        ];
        for (text, passes) in table {
            assert_eq!(check(&text).is_ok(), passes, "{text:.60}");
        }
    }
}
