//! What texts begin with: most of a stream is passed over by that.

use aho_corasick::Anchored;
use aho_corasick::automaton::{Automaton, StateID};
use aho_corasick::nfa::contiguous::NFA;

/// How many bytes a beginning is looked for by.
const WINDOW: usize = 4;

/// How many bits the hash of a beginning has.
const BITS: u32 = 14;

/// What texts begin with: most output is passed over by that, without the automaton.
pub(super) struct Beginnings {
    /// Which of a beginning's bytes all texts have.
    mask: u32,
    /// The hashes of the texts' beginnings.
    hashes: Box<[bool]>,
    /// By state, how many bytes lead to it, and one; `None` if they are a whole beginning.
    lengths: Vec<u8>,
}

impl Beginnings {
    /// Learns what texts begin with; none of them is empty.
    pub(super) fn new(automaton: &NFA, start: StateID, needles: &[&str]) -> Self {
        let shortest = needles.iter().map(|needle| needle.len()).min().unwrap_or_default();
        let known = shortest.min(WINDOW);
        let mut bytes = [0; WINDOW];
        bytes[..known].fill(u8::MAX);
        let mut beginnings = Self {
            mask: u32::from_le_bytes(bytes),
            hashes: vec![false; 1 << BITS].into(),
            lengths: Vec::new(),
        };
        beginnings.note(start, 0);
        for needle in needles {
            let mut window = [0; WINDOW];
            window[..known].copy_from_slice(&needle.as_bytes()[..known]);
            let hash = beginnings.hash(window);
            beginnings.hashes[hash] = true;
            let mut state = start;
            for (length, byte) in (1..).zip(needle.bytes().take(known - 1)) {
                state = automaton.next_state(Anchored::No, state, byte);
                beginnings.note(state, length);
            }
        }
        beginnings
    }

    fn note(&mut self, state: StateID, length: u8) {
        if self.lengths.len() <= state.as_usize() {
            self.lengths.resize(state.as_usize() + 1, 0);
        }
        self.lengths[state.as_usize()] = length + 1;
    }

    fn hash(&self, window: [u8; WINDOW]) -> usize {
        let bytes = u32::from_le_bytes(window) & self.mask;
        (bytes.wrapping_mul(0x9e37_79b1) >> (u32::BITS - BITS)) as usize
    }

    /// Returns how many bytes lead to a state, where they are less than a beginning.
    pub(super) fn length(&self, state: StateID) -> Option<usize> {
        let length = self.lengths.get(state.as_usize()).copied().unwrap_or_default();
        usize::from(length).checked_sub(1)
    }

    /// Returns how many bytes come before one where a text may begin, which is the last one where
    /// nothing is known.
    pub(super) fn skip(&self, bytes: &[u8]) -> usize {
        let begins = |window: &[u8]| {
            window.first_chunk().is_some_and(|window| self.hashes[self.hash(*window)])
        };
        bytes
            .windows(WINDOW)
            .position(begins)
            .unwrap_or_else(|| bytes.len().saturating_sub(WINDOW - 1).min(bytes.len() - 1))
    }
}
