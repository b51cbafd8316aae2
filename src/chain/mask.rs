//! Replaces secrets in a stream of bytes, however it is cut.
//!
//! Every occurrence of a text is found, those that overlap others too, and what they cover is
//! replaced. Held back is the longest end of the stream with which a text may begin, and nothing
//! else: whatever is found later begins there.

mod beginnings;

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::Arc;

use aho_corasick::Anchored;
use aho_corasick::automaton::{Automaton, StateID};
use aho_corasick::nfa::contiguous::NFA;

use beginnings::Beginnings;

/// What to look for: the texts of secrets, and the name that stands for each.
#[derive(Clone, Default)]
pub(super) struct Mask(Option<Arc<Needles>>);

struct Needles {
    automaton: NFA,
    start: StateID,
    beginnings: Beginnings,
    /// How many of the bytes that lead to a state may be the beginning of a text yet to come.
    depths: HashMap<StateID, usize>,
    /// The name that stands for each text.
    names: Vec<String>,
}

impl Mask {
    /// Looks for texts, each with its name; of several names for a text the first one counts. None
    /// of them is empty.
    ///
    /// # Errors
    ///
    /// Where there is too much to look for.
    pub(super) fn new<'a>(
        texts: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Result<Self, aho_corasick::BuildError> {
        let mut known = HashSet::new();
        let mut names = Vec::new();
        let mut needles = Vec::new();
        for (text, name) in texts {
            if known.insert(text) {
                needles.push(text);
                names.push(name.to_owned());
            }
        }
        if needles.is_empty() {
            return Ok(Self(None));
        }
        let automaton = NFA::builder().prefilter(false).build(&needles)?;
        let start = automaton
            .start_state(Anchored::No)
            .expect("this automaton has a start for what is not anchored");
        let beginnings = Beginnings::new(&automaton, start, &needles);
        let depths = depths(&automaton, start, &mut needles);
        Ok(Self(Some(Arc::new(Needles { automaton, start, beginnings, depths, names }))))
    }

    /// Begins with a stream.
    pub(super) fn stream(&self) -> MaskedStream {
        MaskedStream {
            state: self.0.as_deref().map_or(StateID::default(), |needles| needles.start),
            needles: self.0.clone(),
            position: 0,
            held: Vec::new(),
            found: Vec::new(),
            covered: (0, Vec::new()),
        }
    }

    /// Replaces secrets in a text.
    pub(super) fn text<'a>(&self, text: &'a str) -> Cow<'a, str> {
        let mut stream = self.stream();
        let mut masked = stream.push(text.as_bytes()).into_owned();
        masked.extend(stream.end());
        if masked == text.as_bytes() {
            return Cow::Borrowed(text);
        }
        // An occurrence begins and ends between characters, as the text of a secret does.
        Cow::Owned(String::from_utf8_lossy(&masked).into_owned())
    }
}

/// An automaton's states spell what it looks for.
impl fmt::Debug for Mask {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.0.as_deref().map(|needles| needles.names.as_slice()).unwrap_or_default();
        formatter.debug_tuple("Mask").field(&names).finish()
    }
}

/// Returns how many bytes of the texts lead to each state, less where no text goes on from there:
/// then another one may only begin in what leads there.
fn depths(automaton: &NFA, start: StateID, needles: &mut [&str]) -> HashMap<StateID, usize> {
    let step = |state, byte| automaton.next_state(Anchored::No, state, byte);
    let mut depths = HashMap::from([(start, 0)]);
    let mut ends = Vec::new();
    // What begins within a text is shorter than it, and so is known by then.
    needles.sort_by_key(|needle| needle.len());
    for needle in needles.iter() {
        let mut state = start;
        for (index, byte) in needle.bytes().enumerate() {
            depths.insert(state, index);
            state = step(state, byte);
        }
        ends.push((state, needle));
    }
    for (end, needle) in ends {
        if !depths.contains_key(&end) {
            let within = needle.bytes().skip(1).fold(start, step);
            let depth = depths.get(&within).copied().unwrap_or_default();
            depths.insert(end, depth);
        }
    }
    depths
}

/// A stream of bytes in which secrets are replaced by their names, as `[secret token]`.
pub struct MaskedStream {
    needles: Option<Arc<Needles>>,
    state: StateID,
    /// Where in the stream the bytes that are held back begin.
    position: u64,
    held: Vec<u8>,
    /// What was found in those, in order; none lies within another.
    found: Vec<Match>,
    /// Where what was replaced last ends, and what was found there.
    covered: (u64, Vec<usize>),
}

/// An occurrence of a text in a stream.
struct Match {
    start: u64,
    end: u64,
    /// The text, as the automaton numbers it.
    text: usize,
}

impl MaskedStream {
    /// Takes a piece of the stream, and returns what can be handed on by now.
    pub fn push<'a>(&mut self, bytes: &'a [u8]) -> Cow<'a, [u8]> {
        let Some(needles) = self.needles.clone() else { return Cow::Borrowed(bytes) };
        let before = self.position + self.held.len() as u64;
        let mut index = 0;
        // Where it is first worth to look for a beginning: the automaton has seen what is before.
        let mut first = 0;
        while index < bytes.len() {
            let restart = needles.beginnings.length(self.state).and_then(|n| index.checked_sub(n));
            if let Some(restart) = restart.filter(|restart| *restart >= first) {
                index = restart + needles.beginnings.skip(&bytes[restart..]);
                first = index + 1;
                self.state = needles.start;
            }
            self.state = needles.automaton.next_state(Anchored::No, self.state, bytes[index]);
            index += 1;
            if needles.automaton.is_match(self.state) {
                self.find(&needles.automaton, before + index as u64);
            }
        }
        let open = needles.depths.get(&self.state).copied().unwrap_or_default();
        if self.held.is_empty() && self.found.is_empty() && self.covered.0 <= self.position {
            let (done, open) = bytes.split_at(bytes.len() - open);
            self.position += done.len() as u64;
            self.held.extend_from_slice(open);
            return Cow::Borrowed(done);
        }
        self.held.extend_from_slice(bytes);
        Cow::Owned(self.release(&needles, self.held.len() - open))
    }

    /// Ends the stream, and returns what was held back: no secret has come of it.
    pub fn end(&mut self) -> Vec<u8> {
        let Some(needles) = self.needles.clone() else { return Vec::new() };
        self.state = needles.start;
        self.release(&needles, self.held.len())
    }

    /// Notes the longest text that ends here; the others that do lie within it.
    fn find(&mut self, automaton: &NFA, end: u64) {
        let patterns = 0..automaton.match_len(self.state);
        let longest = patterns
            .map(|index| automaton.match_pattern(self.state, index))
            .max_by_key(|pattern| automaton.pattern_len(*pattern));
        let Some(text) = longest else { return };
        let start = end - automaton.pattern_len(text) as u64;
        while self.found.last().is_some_and(|last| last.start >= start) {
            self.found.pop();
        }
        self.found.push(Match { start, end, text: text.as_usize() });
    }

    /// Takes the first `count` bytes of what is held back: whatever is found later begins behind
    /// them.
    fn release(&mut self, needles: &Needles, count: usize) -> Vec<u8> {
        let begin = self.position;
        let end = begin + count as u64;
        let mut masked = Vec::with_capacity(count);
        let held = &self.held;
        let clear = |from: u64, to: u64, masked: &mut Vec<u8>| {
            let index = |place: u64| usize::try_from(place - begin).unwrap_or(usize::MAX);
            if from < to {
                masked.extend_from_slice(&held[index(from)..index(to)]);
            }
        };
        let settled = self.found.partition_point(|found| found.start < end);
        for Match { start, end, text } in self.found.drain(..settled) {
            let (covered, texts) = &mut self.covered;
            if *covered <= start {
                clear(self.position.max(*covered), start, &mut masked);
                texts.clear();
            }
            let name = &needles.names[text];
            if !texts.iter().any(|text| needles.names[*text] == *name) {
                masked.extend_from_slice(format!("[secret {name}]").as_bytes());
                texts.push(text);
            }
            *covered = end;
        }
        clear(self.position.max(self.covered.0), end, &mut masked);
        self.position = end;
        self.held.drain(..count);
        masked
    }
}

/// What is held back may be most of a secret.
impl fmt::Debug for MaskedStream {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("MaskedStream")
            .field("held", &self.held.len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn stream(mask: &Mask, pieces: &[&[u8]]) -> Vec<Vec<u8>> {
        let mut stream = mask.stream();
        let mut masked: Vec<_> =
            pieces.iter().map(|piece| stream.push(piece).into_owned()).collect();
        masked.push(stream.end());
        masked
    }

    /// Replaces in all of a text at once, by looking for every text at every place.
    fn reference(texts: &[(&str, &str)], bytes: &[u8]) -> Vec<u8> {
        let mut found: Vec<(usize, usize, &str)> = Vec::new();
        for start in 0..bytes.len() {
            let here = texts.iter().filter(|(text, _)| bytes[start..].starts_with(text.as_bytes()));
            if let Some((text, name)) = here.max_by_key(|(text, _)| text.len()) {
                found.push((start, start + text.len(), name));
            }
        }
        let mut masked = Vec::new();
        let mut position = 0;
        let mut found = found.into_iter().peekable();
        while let Some((start, mut end, name)) = found.next() {
            masked.extend_from_slice(&bytes[position..start]);
            let mut names = vec![name];
            while let Some((_, next, name)) = found.next_if(|(next, _, _)| *next < end) {
                if next > end {
                    end = next;
                    if !names.contains(&name) {
                        names.push(name);
                    }
                }
            }
            for name in names {
                masked.extend_from_slice(format!("[secret {name}]").as_bytes());
            }
            position = end;
        }
        masked.extend_from_slice(&bytes[position..]);
        masked
    }

    #[test]
    fn what_overlaps_is_replaced_as_a_whole() {
        let texts =
            [("aaa", "a"), ("pass", "p"), ("password", "w"), ("wordless", "l"), ("key\nno", "k")];
        let mask = Mask::new(texts).unwrap();
        let table = [
            ("", ""),
            ("aa aaaaa aaa", "aa [secret a] [secret a]"),
            ("passpassword", "[secret p][secret w]"),
            ("passwordless", "[secret w][secret l]"),
            ("key\nkey\nnot", "key\n[secret k]t"),
            ("passwor", "[secret p]wor"),
        ];
        for (text, expected) in table {
            assert_eq!(mask.text(text), expected);
            assert_eq!(reference(&texts, text.as_bytes()), expected.as_bytes());
            let bytes: Vec<_> = text.as_bytes().chunks(1).collect();
            assert_eq!(stream(&mask, &bytes).concat(), expected.as_bytes());
        }
    }

    #[test]
    fn only_what_may_become_a_secret_is_held_back() {
        let mask = Mask::new([("token-1", "t"), ("1\r\nx", "x")]).unwrap();
        let table: [(&[&[u8]], &[&str]); 5] = [
            (&[b"10%\r", b"20%\r"], &["10%\r", "20%\r", ""]),
            (&[b"tok", b"tek"], &["", "toktek", ""]),
            (&[b"a tok", b"en-1 b"], &["a ", "[secret t] b", ""]),
            // Another one may begin within it.
            (&[b"token-1", b"\r\n", b"y"], &["[secret t]", "", "\r\ny", ""]),
            (&[b"token-1\r", b"\nx"], &["[secret t]", "[secret x]", ""]),
        ];
        for (pieces, expected) in table {
            let expected: Vec<_> = expected.iter().map(|text| text.as_bytes().to_vec()).collect();
            assert_eq!(stream(&mask, pieces), expected);
        }
    }

    #[test]
    fn bytes_that_are_no_text_stay_as_they_are() {
        let mask = Mask::new([("é", "e")]).unwrap();
        let pieces: [&[u8]; 4] = [b"\xff\xc3", b"\xa9\x80\xc3", b"\xa8\xc3", b"\xc3\xa9\xc3"];
        let expected = b"\xff[secret e]\x80\xc3\xa8\xc3[secret e]\xc3";
        assert_eq!(stream(&mask, &pieces).concat(), expected);
    }

    #[test]
    fn nothing_shows_what_is_looked_for() {
        let mask = Mask::new([("hunter2", "token")]).unwrap();
        let mut stream = mask.stream();
        assert!(stream.push(b"hunter").is_empty());
        assert_eq!(
            format!("{mask:?} {stream:?}"),
            "Mask([\"token\"]) MaskedStream { held: 6, .. }"
        );
    }

    /// Returns texts over few letters, which overlap each other in every way, and an output that is
    /// full of them and of their halves, with the places where it is cut.
    fn cut_output() -> impl Strategy<Value = (Vec<String>, Vec<u8>, Vec<usize>)> {
        let short = prop::collection::vec("[ab\n]{1,6}|a{1,4}|[aé]{1,3}", 1..5);
        let long = prop::collection::vec("[ab]{4,9}|a{5,6}", 1..5);
        prop_oneof![short, long].prop_flat_map(|texts| {
            let whole = prop::sample::select(texts.clone()).prop_map(String::into_bytes);
            let half = prop::sample::select(texts.clone()).prop_flat_map(|text| {
                (0..=text.len()).prop_map(move |end| text.as_bytes()[..end].to_vec())
            });
            let other = prop::collection::vec(
                prop_oneof![Just(b'a'), Just(b'b'), Just(b'\r'), Just(b'\n'), any::<u8>()],
                0..5,
            );
            let pieces = prop::collection::vec(prop_oneof![whole, half, other], 0..12);
            let cuts = prop::collection::vec(1_usize..8, 1..40);
            (Just(texts), pieces.prop_map(|pieces| pieces.concat()), cuts)
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig {
            cases: 2000,
            failure_persistence: None,
            ..Default::default()
        })]

        #[test]
        fn cuts_make_no_difference((texts, output, cuts) in cut_output()) {
            let names: Vec<_> = (0..texts.len()).map(|number| number.to_string()).collect();
            let mut pairs: Vec<(&str, &str)> = Vec::new();
            for (text, name) in texts.iter().zip(&names) {
                if !pairs.iter().any(|(known, _)| known == text) {
                    pairs.push((text, name));
                }
            }
            let mask = Mask::new(pairs.iter().copied()).unwrap();
            let longest = texts.iter().map(String::len).max().unwrap();
            let mut rest = output.as_slice();
            let mut cuts = cuts.iter().cycle();
            let mut stream = mask.stream();
            let mut masked = Vec::new();
            while !rest.is_empty() {
                let (piece, after) = rest.split_at(rest.len().min(*cuts.next().unwrap()));
                masked.extend_from_slice(&stream.push(piece));
                prop_assert!(stream.held.len() < longest);
                rest = after;
            }
            masked.extend(stream.end());
            prop_assert_eq!(masked, reference(&pairs, &output));
        }
    }
}
