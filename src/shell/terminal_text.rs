//! What others print, as a terminal may have it: text and colours, and nothing that drives it.

use std::borrow::Cow;

/// The longest sequence that is taken for a colour, in bytes.
const LONGEST: usize = 64;

/// What begins a control sequence.
const ESCAPE: u8 = 0x1b;

/// What leads one column to the left.
const BACKSPACE: u8 = 0x08;

/// Ends every colour, and what else such a sequence has set.
const RESET: &str = "\x1b[0m";

/// A stream of bytes that a terminal is to show. However it is cut, the same comes out.
///
/// Text, tabs, line feeds, carriage returns, backspaces and colours pass as soon as they come, but for backspaces
/// that lead out of the text of a line. Every other control character is shown, so that no sequence of another kind
/// can begin.
#[derive(Debug, Default)]
pub(crate) struct TerminalText {
    /// The beginning of a sequence or of a character, whose end has not come yet.
    held: Vec<u8>,
    /// Whether a colour was set that nothing has ended.
    is_coloured: bool,
    /// How many columns to the left there is text of the stream for certain: how wide other characters than those
    /// of ASCII are, terminals decide.
    column: usize,
}

/// What stands at the beginning of some bytes, with its length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Piece {
    Text(usize),
    Colour(usize),
    /// A control character.
    Control(char),
    /// Bytes that are no character.
    Foreign(usize),
    /// What comes next decides it.
    Open,
}

impl TerminalText {
    /// Returns what can be shown of these bytes and of what was held.
    pub(crate) fn push<'a>(&mut self, bytes: &'a [u8]) -> Cow<'a, [u8]> {
        let passes = |byte: &u8| is_plain(*byte) && *byte != BACKSPACE;
        if self.held.is_empty() && bytes.iter().all(passes) {
            self.column = bytes.iter().fold(self.column, |column, byte| after(column, *byte));
            return Cow::Borrowed(bytes);
        }
        self.held.extend_from_slice(bytes);
        let mut shown = Vec::with_capacity(self.held.len() + 16);
        let held = std::mem::take(&mut self.held);
        let mut rest = &held[..];
        while !rest.is_empty() {
            let length = match piece(rest) {
                Piece::Open => break,
                piece => self.show(piece, rest, &mut shown),
            };
            rest = &rest[length..];
        }
        self.held.extend_from_slice(rest);
        Cow::Owned(shown)
    }

    /// Returns what is shown of what is still held.
    pub(crate) fn end(&mut self) -> Vec<u8> {
        let mut shown = Vec::new();
        let held = std::mem::take(&mut self.held);
        let mut rest = &held[..];
        while !rest.is_empty() {
            let piece = match piece(rest) {
                Piece::Open if rest[0] == ESCAPE => Piece::Control(ESCAPE.into()),
                Piece::Open => Piece::Foreign(rest.len()),
                piece => piece,
            };
            let length = self.show(piece, rest, &mut shown);
            rest = &rest[length..];
        }
        shown
    }

    /// Returns what ends the colours that are set; `None` where none is.
    pub(crate) fn reset(&mut self) -> Option<&'static str> {
        std::mem::take(&mut self.is_coloured).then_some(RESET)
    }

    /// Adds what is shown of a piece at the beginning of `bytes`, and returns its length.
    fn show(&mut self, piece: Piece, bytes: &[u8], shown: &mut Vec<u8>) -> usize {
        match piece {
            Piece::Text(length) => {
                for byte in &bytes[..length] {
                    if *byte != BACKSPACE || self.column > 0 {
                        shown.push(*byte);
                    }
                    self.column = after(self.column, *byte);
                }
                length
            }
            Piece::Colour(length) => {
                let colour = &bytes[..length];
                shown.extend_from_slice(colour);
                self.is_coloured = colour[2..length - 1].iter().any(|byte| *byte != b'0');
                length
            }
            Piece::Control(character) => {
                shown.extend(character.escape_unicode().to_string().bytes());
                character.len_utf8()
            }
            Piece::Foreign(length) => {
                let bytes = &bytes[..length];
                shown.extend(bytes.iter().flat_map(|byte| format!("\\x{byte:02x}").into_bytes()));
                length
            }
            Piece::Open => 0,
        }
    }
}

/// Tells whether a byte is one of text, and not of a sequence or of a longer character.
fn is_plain(byte: u8) -> bool {
    matches!(byte, b' '..=b'~' | b'\t' | b'\n' | b'\r' | BACKSPACE)
}

/// Returns the column behind a byte of text.
fn after(column: usize, byte: u8) -> usize {
    match byte {
        b'\n' | b'\r' => 0,
        BACKSPACE => column.saturating_sub(1),
        _ if byte.is_ascii() => column + 1,
        _ => column,
    }
}

fn piece(bytes: &[u8]) -> Piece {
    match bytes[0] {
        byte if is_plain(byte) => {
            Piece::Text(bytes.iter().position(|byte| !is_plain(*byte)).unwrap_or(bytes.len()))
        }
        ESCAPE => sequence(bytes),
        byte if byte.is_ascii() => Piece::Control(byte.into()),
        _ => character(bytes),
    }
}

/// Judges what begins with an escape. With other parameters than numbers it can mean something else than a colour.
fn sequence(bytes: &[u8]) -> Piece {
    let no_colour = Piece::Control(ESCAPE.into());
    match bytes.get(1) {
        None => return Piece::Open,
        Some(b'[') => {}
        Some(_) => return no_colour,
    }
    let is_parameter = |byte: &u8| matches!(byte, b'0'..=b'9' | b';' | b':');
    let parameters = bytes[2..].iter().take_while(|byte| is_parameter(byte)).count();
    match bytes.get(2 + parameters) {
        _ if parameters > LONGEST => no_colour,
        None => Piece::Open,
        Some(b'm') => Piece::Colour(parameters + 3),
        Some(_) => no_colour,
    }
}

/// Judges what does not begin with a character of ASCII.
fn character(bytes: &[u8]) -> Piece {
    let window = &bytes[..bytes.len().min(4)];
    let valid = match str::from_utf8(window) {
        Ok(text) => text,
        Err(error) if error.valid_up_to() > 0 => {
            str::from_utf8(&window[..error.valid_up_to()]).unwrap_or_default()
        }
        Err(error) => return error.error_len().map_or(Piece::Open, Piece::Foreign),
    };
    match valid.chars().next() {
        Some(character) if character.is_control() => Piece::Control(character),
        first => Piece::Text(first.map_or(1, char::len_utf8)),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn shown(pieces: &[&[u8]]) -> String {
        let mut text = TerminalText::default();
        let mut shown: Vec<u8> =
            pieces.iter().flat_map(|piece| text.push(piece).into_owned()).collect();
        shown.extend(text.end());
        shown.extend(text.reset().unwrap_or_default().bytes());
        String::from_utf8(shown).unwrap()
    }

    #[test]
    fn text_and_colours_pass_and_nothing_else_drives_a_terminal() {
        let table: [(&[u8], &str); 29] = [
            (b"", ""),
            (b"a\tb\r\n 1%\x08\x082%", "a\tb\r\n 1%\x08\x082%"),
            // Not into what stands in front of the text.
            (b"\x08a\x08\x08b\x08\x1b[31m\x08\n\x08c", "a\x08b\x08\x1b[31m\nc\x1b[0m"),
            (b"ab\r\x08c", "ab\rc"),
            ("é 日本語 👩‍🚀 \u{202e}".as_bytes(), "é 日本語 👩‍🚀 \u{202e}"),
            (b"\x1b[31mred\x1b[0m \x1b[m", "\x1b[31mred\x1b[0m \x1b[m"),
            (b"\x1b[1;38;5;208mx\x1b[4:3my", "\x1b[1;38;5;208mx\x1b[4:3my\x1b[0m"),
            // The title, the clipboard, a link.
            (b"\x1b]0;root@host\x07$", "\\u{1b}]0;root@host\\u{7}$"),
            (b"\x1b]52;c;cm0=\x1b\\", "\\u{1b}]52;c;cm0=\\u{1b}\\"),
            (b"\x1b]8;;http://a\x1b\\b", "\\u{1b}]8;;http://a\\u{1b}\\b"),
            // The cursor, the screen, what the terminal answers or sends for keys.
            (b"\x1b[2J\x1b[1;1H", "\\u{1b}[2J\\u{1b}[1;1H"),
            (b"\x1b[6n\x1b[c", "\\u{1b}[6n\\u{1b}[c"),
            (b"\x1b[?1049h", "\\u{1b}[?1049h"),
            (b"\x1b[>4;2m\x1b[?4m", "\\u{1b}[>4;2m\\u{1b}[?4m"),
            (b"\x1b[1 m\x1b[1$m", "\\u{1b}[1 m\\u{1b}[1$m"),
            (b"\x1bc\x1b7\x1b(0q", "\\u{1b}c\\u{1b}7\\u{1b}(0q"),
            (b"\x1bP1$r0m\x1b\\", "\\u{1b}P1$r0m\\u{1b}\\"),
            // A sequence within a sequence.
            (b"\x1b[3\x1b[31mx", "\\u{1b}[3\x1b[31mx\x1b[0m"),
            (b"\x1b\x1b[0m", "\\u{1b}\x1b[0m"),
            (b"\x1b[31\n", "\\u{1b}[31\n"),
            // Other controls, of one byte and of two.
            (
                b"\x00\x05\x07\x0b\x0c\x0e\x0f\x7f",
                "\\u{0}\\u{5}\\u{7}\\u{b}\\u{c}\\u{e}\\u{f}\\u{7f}",
            ),
            ("\u{9b}31m\u{9d}0;t\u{9c}\u{85}".as_bytes(), "\\u{9b}31m\\u{9d}0;t\\u{9c}\\u{85}"),
            (b"\x9b31m", "\\x9b31m"),
            // No characters, or the beginnings of some.
            (b"caf\xe9 \xc2", "caf\\xe9 \\xc2"),
            (b"\xe2\x82", "\\xe2\\x82"),
            (b"\xc2\x1b[2J", "\\xc2\\u{1b}[2J"),
            (b"\xed\xa0\x80", "\\xed\\xa0\\x80"),
            (b"\x1b", "\\u{1b}"),
            (b"\x1b[38;5", "\\u{1b}[38;5"),
        ];
        for (bytes, expected) in table {
            assert_eq!(shown(&[bytes]), expected, "{bytes:?}");
        }
        let long = format!("\x1b[{}m", "1".repeat(LONGEST + 1));
        assert_eq!(shown(&[long.as_bytes()]), long.replace('\x1b', "\\u{1b}"));
    }

    #[test]
    fn what_has_no_end_yet_waits_and_nothing_else_does() {
        let mut text = TerminalText::default();
        assert_eq!(&*text.push(b"Password: "), b"Password: ");
        assert_eq!(&*text.push(b"a\x1b[3"), b"a");
        assert_eq!(&*text.push(b"1mb\xe2\x82"), b"\x1b[31mb");
        assert_eq!(&*text.push(b"\xac"), "€".as_bytes());
        assert_eq!((text.end(), text.reset()), (vec![], Some(RESET)));
        assert_eq!((text.end(), text.reset()), (vec![], None));
    }

    /// Bytes that make up sequences more often than chance does.
    fn bytes() -> impl Strategy<Value = Vec<u8>> {
        let some = prop_oneof![
            any::<u8>().prop_map(|byte| vec![byte]),
            prop::sample::select(b"\x1b[]m;:?0123hJ\x07\x9b\xc2\xe2\x82\xac\n".to_vec())
                .prop_map(|byte| vec![byte]),
            Just(b"\x1b[31m".to_vec()),
            Just("é\u{9b}".as_bytes().to_vec()),
        ];
        prop::collection::vec(some, 0..40).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #[test]
        fn however_it_is_cut_the_same_comes_out(
            bytes in bytes(),
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
        ) {
            let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
            cuts.extend([0, bytes.len()]);
            cuts.sort_unstable();
            let pieces: Vec<_> = cuts.windows(2).map(|cut| &bytes[cut[0]..cut[1]]).collect();
            prop_assert_eq!(shown(&pieces), shown(&[&bytes]));
        }

        /// Without its colours, the rest has no control character that a terminal acts on.
        #[test]
        fn nothing_but_colours_is_left(bytes in bytes()) {
            let shown = shown(&[&bytes]);
            let mut parts = shown.split('\x1b');
            let mut rest = parts.next().unwrap().to_owned();
            for part in parts {
                let (colour, after) = part.split_once('m').expect("a colour has an end");
                let parameters = colour.strip_prefix('[').expect("it is a control sequence");
                prop_assert!(parameters.chars().all(|c| c.is_ascii_digit() || ";:".contains(c)));
                rest.push_str(after);
            }
            prop_assert!(!rest.contains(|c: char| c.is_control() && !"\t\n\r\x08".contains(c)));
        }
    }
}
