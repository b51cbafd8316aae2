//! Characters that look like those of TOML, and are others: editors and web pages put them there.

use crate::source::At;

/// Quotes that are none, with the one that was meant.
const QUOTES: [(char, char); 10] = [
    ('\u{201c}', '"'),
    ('\u{201d}', '"'),
    ('\u{201e}', '"'),
    ('\u{201f}', '"'),
    ('\u{ab}', '"'),
    ('\u{bb}', '"'),
    ('\u{2018}', '\''),
    ('\u{2019}', '\''),
    ('\u{201a}', '\''),
    ('\u{201b}', '\''),
];

/// Spaces that are none, by their names.
const SPACES: [(char, &str); 6] = [
    ('\u{a0}', "a no-break space"),
    ('\u{202f}', "a narrow no-break space"),
    ('\u{2007}', "a figure space"),
    ('\u{3000}', "an ideographic space"),
    ('\u{200b}', "a space without a width"),
    ('\u{feff}', "a byte order mark"),
];

/// Says which character at a fault of syntax is another than it seems.
pub(super) fn help(at: &At) -> Option<String> {
    let text = &at.source.text;
    let (lines, _) = at.source.lines_of(&at.span);
    let line = text.get(lines)?;
    let from = text.get(at.span.start..)?;
    // What the parser points at, or else what the value, or the line, begins with.
    let value = line.split_once('=').map(|(_, value)| value.trim_start_matches([' ', '\t']));
    let begins = [Some(from), value, Some(line.trim_start_matches([' ', '\t']))];
    let mut firsts = begins.into_iter().flatten().filter_map(|text| text.chars().next());
    firsts.find_map(named).or_else(|| {
        // A space may stand anywhere outside of quotes.
        line.split(['"', '\'']).step_by(2).flat_map(str::chars).find_map(named)
    })
}

fn named(character: char) -> Option<String> {
    let number = u32::from(character);
    if let Some((_, meant)) = QUOTES.iter().find(|(quote, _)| *quote == character) {
        return Some(format!(
            "`{character}` (U+{number:04X}) is no quote of TOML; write `{meant}`"
        ));
    }
    let (_, name) = SPACES.iter().find(|(space, _)| *space == character)?;
    Some(format!("there is {name} (U+{number:04X}), which is no space of TOML; write a plain one"))
}
