//! Lines for people, broken at words where a terminal would break them anywhere. What stands in backquotes is one word:
//! it is there to be copied.

use std::borrow::Cow;

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// What the lines begin with that are words from there on.
const TITLES: [&str; 7] =
    ["error: ", "warning: ", "hint: ", "note: ", "= help: ", "= note: ", "built on: "];

/// The least room for words that is worth a break, in characters.
const LEAST: usize = 20;

/// Breaks the lines of a text for the terminal that standard error is. Anywhere else they stay whole.
pub(super) fn wrapped(text: &str) -> Cow<'_, str> {
    let size = rustix::termios::tcgetwinsize(rustix::stdio::stderr());
    let columns = size.map_or(0, |size| usize::from(size.ws_col));
    wrapped_to(text, Some(columns).filter(|columns| *columns > 0))
}

/// Does the same for sentences: a line without a title goes on below its second letter.
pub(super) fn wrapped_sentences(text: &str) -> Cow<'_, str> {
    let size = rustix::termios::tcgetwinsize(rustix::stdio::stderr());
    match size.map_or(0, |size| usize::from(size.ws_col)) {
        0 => Cow::Borrowed(text),
        columns => Cow::Owned(sentences(text, columns)),
    }
}

fn sentences(text: &str, columns: usize) -> String {
    let broken = |line: &str| match line.starts_with([' ', '\n']) || has_title(line) {
        true => broken(line, columns),
        false => broken_below(line, columns, SENTENCE),
    };
    text.split_inclusive('\n').map(broken).collect()
}

/// Where a sentence without a title goes on.
const SENTENCE: usize = 2;

fn has_title(line: &str) -> bool {
    TITLES.iter().any(|title| line.starts_with(title))
}

/// Breaks them for so many columns, where there is a number of them.
pub(super) fn wrapped_to(text: &str, columns: Option<usize>) -> Cow<'_, str> {
    let Some(columns) = columns else { return Cow::Borrowed(text) };
    Cow::Owned(text.split_inclusive('\n').map(|line| broken(line, columns)).collect())
}

/// Returns how many columns a text without colours takes.
pub(super) fn width(text: &str) -> usize {
    text.width()
}

/// Returns a text that takes so many columns at the most: of a longer one the beginning, and three dots.
pub(super) fn cut(text: &str, columns: usize) -> Cow<'_, str> {
    if text.width() <= columns {
        return Cow::Borrowed(text);
    }
    let dots = &"..."[..columns.min(3)];
    let mut room = columns - dots.len();
    let fits = |letter: &char| {
        let width = letter.width().unwrap_or(0);
        let fits = width <= room;
        room -= if fits { width } else { room };
        fits
    };
    let mut kept: String = text.chars().take_while(fits).collect();
    kept.push_str(dots);
    Cow::Owned(kept)
}

/// Breaks one line of words. Lines of other kinds, such as those of a file, stay whole.
fn broken(line: &str, columns: usize) -> String {
    let shown: String = visible(line.trim_end()).collect();
    let start = shown.len() - shown.trim_start().len();
    let title = TITLES.iter().find(|title| shown[start..].starts_with(**title));
    match title {
        Some(title) => broken_below(line, columns, start + title.len()),
        None => line.to_owned(),
    }
}

/// Breaks one line of words, which goes on with so many blanks.
fn broken_below(line: &str, columns: usize, indent: usize) -> String {
    let shown: String = visible(line.trim_end()).collect();
    if shown.width() <= columns || indent + LEAST > columns {
        return line.to_owned();
    }
    let mut text = String::with_capacity(line.len() + indent);
    let mut column = 0;
    for (index, word) in words(line).enumerate() {
        let width =
            visible(word.trim_end()).map(|letter| letter.width().unwrap_or(0)).sum::<usize>();
        if index > 0 && column > indent && column + 1 + width > columns {
            text.push('\n');
            text.extend(std::iter::repeat_n(' ', indent));
            column = indent;
        } else if index > 0 {
            text.push(' ');
            column += 1;
        }
        text.push_str(word);
        column += width;
    }
    text
}

/// Splits a line at its spaces, but for those in backquotes that are closed in it.
pub(super) fn words(line: &str) -> impl Iterator<Item = &str> {
    let mut rest = Some(line);
    std::iter::from_fn(move || {
        let from = rest?;
        let mut at = 0;
        while let Some(found) = from[at..].find([' ', '`']) {
            at += found;
            let close = from[at..].strip_prefix('`').map(|quoted| quoted.find('`'));
            at += match close {
                None => {
                    rest = Some(&from[at + 1..]);
                    return Some(&from[..at]);
                }
                Some(None) => 1,
                Some(Some(length)) => length + 2,
            };
        }
        rest = None;
        Some(from)
    })
}

/// Returns the characters that a terminal shows: colours take no room.
fn visible(text: &str) -> impl Iterator<Item = char> {
    let mut is_colour = false;
    text.chars().filter(move |letter| {
        let is_shown = !is_colour && *letter != '\u{1b}';
        is_colour = *letter == '\u{1b}' || (is_colour && *letter != 'm');
        is_shown
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_layer_was_built_on_goes_on_below_its_title() {
        let line = "  built on: layer `os`, stored 5 minutes ago; `--rebuild` rebuilds it\n";
        let expected =
            "  built on: layer `os`, stored 5 minutes\n            ago; `--rebuild` rebuilds it\n";
        assert_eq!(wrapped_to(line, Some(44)), expected);
    }

    #[test]
    fn words_are_kept_whole_below_their_title() {
        let hint = "hint: choose another name, or `lxc-destroy -n web1` removes it\n";
        let expected =
            "hint: choose another name, or\n      `lxc-destroy -n web1` removes\n      it\n";
        assert_eq!(broken(hint, 36), expected);
        assert_eq!(broken(hint, 80), hint);
        let help = "  = help: one two three four five six\n";
        assert_eq!(broken(help, 30), "  = help: one two three four\n          five six\n");
        let long = format!("error: {} is a word\n", "x".repeat(40));
        assert_eq!(broken(&long, 30), format!("error: {}\n       is a word\n", "x".repeat(40)));
    }

    #[test]
    fn what_stands_in_backquotes_is_kept_whole() {
        for (line, expected) in [
            (
                "hint: then `lxc-destroy -n internal3` removes it\n",
                "hint: then\n      `lxc-destroy -n internal3`\n      removes it\n",
            ),
            (
                "hint: to look around: `layered-template shell /var/lib/failed/1`\n",
                "hint: to look around:\n      `layered-template shell /var/lib/failed/1`\n",
            ),
            (
                "hint: (`a b c`), (`d e f`), one ` of two\n",
                "hint: (`a b c`), (`d e f`), one\n      ` of two\n",
            ),
        ] {
            assert_eq!(broken(line, 32), expected);
        }
    }

    #[test]
    fn a_text_is_cut_where_it_takes_too_many_columns() {
        for (text, columns, expected) in [
            ("abcdef", 6, "abcdef"),
            ("abcdef", 5, "ab..."),
            ("abcdef", 2, ".."),
            ("abcdef", 0, ""),
            ("\u{65e5}\u{672c}\u{8a9e}", 6, "\u{65e5}\u{672c}\u{8a9e}"),
            ("\u{65e5}\u{672c}\u{8a9e}", 5, "\u{65e5}..."),
            ("a\u{65e5}\u{672c}\u{8a9e}", 5, "a..."),
            ("e\u{301}e\u{301}e\u{301}e\u{301}", 4, "e\u{301}e\u{301}e\u{301}e\u{301}"),
        ] {
            assert_eq!(cut(text, columns), expected, "{text} {columns}");
            assert!(cut(text, columns).width() <= columns);
        }
    }

    #[test]
    fn colours_take_no_room() {
        let plain = "error: one two three four five six";
        let styled = plain.replace("error", "\u{1b}[1;31merror\u{1b}[0m");
        assert_eq!(broken(&styled, plain.len()), styled);
        let shown: String = visible(&broken(&styled, 28)).collect();
        assert_eq!(shown, broken(plain, 28));
        assert_eq!(shown, "error: one two three four\n       five six");
    }

    #[test]
    fn a_sentence_without_a_title_goes_on_too() {
        let text = "web1: back to what it was before its upgrade\n  /a/command --to copy --and more words\n\nhint: x\n";
        let expected = "web1: back to what it was\n  before its upgrade\n  /a/command --to copy --and more words\n\nhint: x\n";
        assert_eq!(sentences(text, 30), expected);
    }

    #[test]
    fn lines_of_a_file_stay_whole() {
        for line in
            ["3 | text = \"a long text of a manifest, with words\"\n", "  log: /a/b c d e f g h\n"]
        {
            assert_eq!(broken(line, 20), line);
        }
        assert_eq!(
            broken("hint: a b c d e f g h i j k l m\n", 16),
            "hint: a b c d e f g h i j k l m\n"
        );
    }
}
