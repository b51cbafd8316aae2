//! Looks for a name in bytes, and for what may be left of it where somebody has taken it apart.

use std::io;

use aho_corasick::{AhoCorasick, AhoCorasickBuilder};

/// A name that is looked for in a tree.
#[derive(Debug, Clone)]
pub(crate) struct Search {
    whole: Vec<u8>,
    /// Finds its words, in capital letters or not. `None` where nothing is looked for.
    words: Option<AhoCorasick>,
    /// The length of its longest word, in bytes.
    longest: usize,
}

/// What there is of a name in some bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Holds {
    /// Nothing.
    Nothing,
    /// The whole name, and no part of it elsewhere.
    Whole,
    /// A part of it.
    Part,
}

impl Search {
    /// Looks for nothing.
    pub(crate) const NOTHING: Self = Self { whole: Vec::new(), words: None, longest: 0 };

    /// Looks for a name whose words, between dashes, are ones that nothing holds by chance.
    ///
    /// # Errors
    ///
    /// Where the words make no finder, since one that finds nothing would let every tree pass.
    pub(crate) fn new(name: &str) -> io::Result<Self> {
        let words: Vec<&str> = name.split('-').collect();
        let longest = words.iter().map(|word| word.len()).max().unwrap_or_default();
        let finder = AhoCorasickBuilder::new().ascii_case_insensitive(true).build(&words);
        let finder = finder.map_err(io::Error::other)?;
        Ok(Self { whole: name.as_bytes().to_vec(), words: Some(finder), longest })
    }

    pub(super) fn longest(&self) -> usize {
        self.longest
    }

    /// Tells whether anything of the name is in some bytes.
    pub(crate) fn is_in(&self, bytes: &[u8]) -> bool {
        self.words.as_ref().is_some_and(|words| words.is_match(bytes))
    }

    /// Tells whether some bytes hold a part of the name alone, or the name in capital letters.
    pub(crate) fn is_taken_apart_in(&self, bytes: &[u8]) -> bool {
        self.judge(bytes) == Holds::Part
    }

    /// Tells what of the name is in some bytes.
    pub(super) fn judge(&self, bytes: &[u8]) -> Holds {
        let Some(words) = &self.words else { return Holds::Nothing };
        let mut holds = Holds::Nothing;
        let mut from = 0;
        while let Some(found) = words.find(&bytes[from..]) {
            let at = from + found.start();
            // The name begins with its first word.
            if !bytes[at..].starts_with(&self.whole) {
                return Holds::Part;
            }
            holds = Holds::Whole;
            from = at + self.whole.len();
        }
        holds
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_told_from_the_whole() {
        let search = Search::new("first-second-third").unwrap();
        let table = [
            ("", Holds::Nothing),
            ("firs tsecon d", Holds::Nothing),
            ("a first-second-third b", Holds::Whole),
            ("first-second-thirdfirst-second-third", Holds::Whole),
            ("first-second-third first", Holds::Part),
            ("FIRST-SECOND-THIRD", Holds::Part),
            ("node=third", Holds::Part),
            ("xfirst-second", Holds::Part),
        ];
        for (text, expected) in table {
            assert_eq!(search.judge(text.as_bytes()), expected, "{text}");
            assert_eq!(search.is_in(text.as_bytes()), expected != Holds::Nothing, "{text}");
        }
        assert!(!Search::NOTHING.is_in(b"first"));
    }
}
