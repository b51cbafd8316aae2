//! What manual pages take from the documentation: its tables.

use clap_mangen::roff::{Inline, bold, roman};

/// Returns the rows of the first table after a heading, without its titles, each with two cells.
pub(super) fn rows<'a>(page: &'a str, heading: &str) -> Vec<(&'a str, &'a str)> {
    let after = page.split_once(&format!("# {heading}\n")).map_or("", |(_, after)| after);
    let lines = after.lines().skip_while(|line| !line.starts_with('|'));
    let table = lines.take_while(|line| line.starts_with('|')).skip(2);
    table.filter_map(|line| line.trim_matches(['|', ' ']).split_once(" | ")).collect()
}

/// Returns a text as a page shows it: code is bold, and of links there are the words.
pub(super) fn inlines(text: &str) -> Vec<Inline> {
    let mut plain = String::new();
    let mut rest = text;
    while let Some((before, link)) = rest.split_once('[') {
        plain.push_str(before);
        match link.split_once("](").and_then(|(words, to)| Some((words, to.split_once(')')?.1))) {
            Some((words, after)) if !words.contains('`') => {
                plain.push_str(words);
                rest = after;
            }
            _ => {
                plain.push('[');
                rest = link;
            }
        }
    }
    plain.push_str(rest);
    let parts = plain.split('`').enumerate();
    parts
        .filter(|(_, part)| !part.is_empty())
        .map(|(number, part)| if number % 2 == 1 { bold(part) } else { roman(part) })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap_mangen::roff::Roff;

    #[test]
    fn tables_are_found_and_links_are_words() {
        let page =
            "# A\n\n| x | y |\n|---|---|\n| `a` | see [the b](c.md#d) or [e] |\n\n| no | no |\n";
        let rows = rows(page, "A");
        assert_eq!(rows, [("`a`", "see [the b](c.md#d) or [e]")]);
        let mut roff = Roff::new();
        roff.text(inlines(rows[0].0)).text(inlines(rows[0].1));
        assert_eq!(roff.to_roff(), "\\fBa\\fR\nsee the b or [e]\n");
    }
}
