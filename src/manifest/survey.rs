//! A look at a text before its tree is built: the tree of a mebibyte of brackets takes half a
//! gigabyte, and so do the faults of a mebibyte of equals signs.

use toml_parser::decoder::Encoding;
use toml_parser::parser::{EventReceiver, RecursionGuard, parse_document};
use toml_parser::{ErrorSink, ParseError, Source, Span};

/// How deep lists and tables may nest: what the parser of the tree allows.
const DEEPEST: u32 = 80;

/// How much memory what a text says may take, in bytes, by the estimates below.
const BUDGET: usize = 48 * 1024 * 1024;

/// What a table takes: its smallest node has room for eleven entries.
const TABLE: usize = 1200;

/// What the first dots of a key take: the tables that they stand for are mostly shared.
const SHARED_TABLE: usize = 500;

/// How many dots of a key count as those.
const SHARED_DOTS: usize = 2;

/// What a key takes in the tree, and in what is made of it.
const KEY: usize = 700;

/// What a value takes likewise.
const VALUE: usize = 450;

/// How many faults of syntax are looked at.
const MOST_FAULTS: usize = 200;

/// What is to be done with a text.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Survey {
    /// Its tree can be built.
    Sound,
    /// It has too many faults: what stands before this offset has enough of them.
    Faulty(usize),
    /// It says too much, from this offset on.
    Excessive(usize),
}

/// Looks at a text.
pub(super) fn survey(text: &str) -> Survey {
    let tokens = Source::new(text).lex().into_vec();
    let mut weight = Weight::default();
    let mut faults = 0;
    let mut last = None;
    let mut sink = |error: ParseError| {
        faults += 1;
        // What nests too deep is of no use from there on.
        let enough = faults == MOST_FAULTS || error.description().contains("recurs");
        if enough && last.is_none() {
            let span = error.unexpected().or(error.context());
            last = Some(span.map_or(text.len(), |span| span.end()));
        }
    };
    parse_document(&tokens, &mut RecursionGuard::new(&mut weight, DEEPEST), &mut sink);
    match (last, weight.excess) {
        (Some(end), _) => {
            let end = (end..=text.len()).find(|end| text.is_char_boundary(*end));
            Survey::Faulty(end.unwrap_or(text.len()))
        }
        (None, Some(start)) => Survey::Excessive(start.min(text.len())),
        (None, None) => Survey::Sound,
    }
}

/// Adds up what a text says.
#[derive(Debug, Default)]
struct Weight {
    bytes: usize,
    /// How many dots the key has so far.
    dots: usize,
    in_header: bool,
    /// Where the budget is spent.
    excess: Option<usize>,
}

impl Weight {
    fn add(&mut self, bytes: usize, span: Span) {
        self.bytes += bytes;
        if self.bytes > BUDGET && self.excess.is_none() {
            self.excess = Some(span.start());
        }
    }

    fn header(&mut self, span: Span) {
        self.in_header = true;
        self.dots = 0;
        self.add(TABLE, span);
    }
}

impl EventReceiver for Weight {
    fn std_table_open(&mut self, span: Span, _: &mut dyn ErrorSink) {
        self.header(span);
    }

    fn std_table_close(&mut self, _: Span, _: &mut dyn ErrorSink) {
        self.in_header = false;
    }

    fn array_table_open(&mut self, span: Span, _: &mut dyn ErrorSink) {
        self.header(span);
    }

    fn array_table_close(&mut self, _: Span, _: &mut dyn ErrorSink) {
        self.in_header = false;
    }

    fn inline_table_open(&mut self, span: Span, _: &mut dyn ErrorSink) -> bool {
        self.dots = 0;
        self.add(TABLE, span);
        true
    }

    fn array_open(&mut self, span: Span, _: &mut dyn ErrorSink) -> bool {
        self.add(VALUE, span);
        true
    }

    fn simple_key(&mut self, span: Span, _: Option<Encoding>, _: &mut dyn ErrorSink) {
        if !self.in_header && self.dots == 0 {
            self.add(KEY, span);
        }
    }

    fn key_sep(&mut self, span: Span, _: &mut dyn ErrorSink) {
        self.dots += 1;
        self.add(if self.dots > SHARED_DOTS { TABLE } else { SHARED_TABLE }, span);
    }

    fn key_val_sep(&mut self, _: Span, _: &mut dyn ErrorSink) {
        self.dots = 0;
    }

    fn scalar(&mut self, span: Span, _: Option<Encoding>, _: &mut dyn ErrorSink) {
        self.add(VALUE, span);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_surveyed() {
        let files = "[[layer.file]]\npath = '/a'\ncontent = ''\n".repeat(10_000);
        let table = [("a = 1", Survey::Sound), ("a = ", Survey::Sound), (&files, Survey::Sound)];
        for (text, expected) in table {
            assert_eq!(survey(text), expected, "{text:.40}");
        }
        for faulty in ["a b\n".repeat(1000), format!("x = {}", "[".repeat(1000))] {
            let found = survey(&faulty);
            assert!(matches!(found, Survey::Faulty(end) if end < 1000), "{found:?} {faulty:.40}");
        }
        assert!(matches!(survey(&"a.a.a.a.a.a=1\n".repeat(70_000)), Survey::Excessive(_)));
        assert!(matches!(survey(&format!("a=[{}]", "1,".repeat(400_000))), Survey::Excessive(_)));
    }
}
