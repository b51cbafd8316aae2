//! The digest of a file's content, for which long zeros cost nothing.
//!
//! A file may be a hole of terabytes. So a block of a mebibyte that is all zeros is not digested, but
//! counted. Whether it is a hole or was written makes no difference: a copy may have other holes than
//! its source. The digest of a file without such a block is that of its bytes.

use super::{Digest, Hasher};

/// How many bytes a block has. It begins at a multiple of that.
const BLOCK: u64 = 1 << 20;

/// What begins the text whose digest is that of a file with such blocks.
const MARK: &[u8] = b"layered-template content with blocks of zeros 1\0";

/// Zeros to digest, where they are no whole block.
const ZEROS: [u8; 4096] = [0; 4096];

/// Digests the content of a file that arrives in pieces, from its beginning on.
#[derive(Debug, Default)]
pub struct ContentHasher {
    length: u64,
    /// How many zeros at the end are not digested yet: if they fill their block, they are left out.
    held: u64,
    /// All bytes but those that are left out.
    bytes: Hasher,
    /// The blocks that are left out: where they begin, and how many follow each other.
    left_out: Hasher,
    /// The last of them.
    last: Option<(u64, u64)>,
}

impl ContentHasher {
    /// Adds bytes.
    pub fn update(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let rest = usize::try_from(BLOCK - self.length % BLOCK).unwrap_or(usize::MAX);
            let (piece, after) = bytes.split_at(rest.min(bytes.len()));
            bytes = after;
            if self.is_zero_so_far() && are_zeros(piece) {
                self.hold(piece.len() as u64);
            } else {
                self.release();
                self.bytes.update(piece);
                self.length += piece.len() as u64;
            }
        }
    }

    /// Adds so many zeros.
    pub fn skip(&mut self, mut zeros: u64) {
        while zeros > 0 {
            let begun = self.length % BLOCK;
            let step = if begun == 0 && zeros >= BLOCK {
                let blocks = zeros / BLOCK;
                self.leave_out(blocks);
                blocks * BLOCK
            } else {
                let step = zeros.min(BLOCK - begun);
                if self.is_zero_so_far() {
                    self.hold(step);
                } else {
                    self.add_zeros(step);
                    self.length += step;
                }
                step
            };
            zeros -= step;
        }
    }

    /// Returns the digest, and how long the content is.
    pub fn finish(mut self) -> (Digest, u64) {
        self.release();
        let Some(last) = self.last else { return (self.bytes.finish(), self.length) };
        self.note(last);
        let mut hasher = Hasher::default();
        hasher.update(MARK);
        hasher.update(&self.length.to_le_bytes());
        hasher.update(&self.left_out.finish().0);
        hasher.update(&self.bytes.finish().0);
        (hasher.finish(), self.length)
    }

    /// Tells whether the block that is not complete has nothing but zeros.
    fn is_zero_so_far(&self) -> bool {
        self.held == self.length % BLOCK
    }

    /// Adds zeros that end with their block at the latest.
    fn hold(&mut self, zeros: u64) {
        self.held += zeros;
        self.length += zeros;
        if self.held == BLOCK {
            self.held = 0;
            self.length -= BLOCK;
            self.leave_out(1);
        }
    }

    /// Digests the zeros that were held.
    fn release(&mut self) {
        let held = std::mem::take(&mut self.held);
        self.add_zeros(held);
    }

    fn add_zeros(&mut self, mut zeros: u64) {
        while zeros > 0 {
            let length = usize::try_from(zeros).map_or(ZEROS.len(), |zeros| zeros.min(ZEROS.len()));
            self.bytes.update(&ZEROS[..length]);
            zeros -= length as u64;
        }
    }

    fn leave_out(&mut self, blocks: u64) {
        let first = self.length / BLOCK;
        self.length += blocks * BLOCK;
        self.last = Some(match self.last {
            Some((begin, count)) if begin + count == first => (begin, count + blocks),
            Some(last) => {
                self.note(last);
                (first, blocks)
            }
            None => (first, blocks),
        });
    }

    fn note(&mut self, (first, count): (u64, u64)) {
        self.left_out.update(&first.to_le_bytes());
        self.left_out.update(&count.to_le_bytes());
    }
}

/// Tells whether there are nothing but zeros.
fn are_zeros(bytes: &[u8]) -> bool {
    bytes.chunks(64).all(|chunk| chunk.iter().fold(0, |all, byte| all | byte) == 0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MIB: usize = 1 << 20;

    /// What the digest is to be, found in the plainest way.
    fn plainly(bytes: &[u8]) -> Digest {
        let (mut kept, mut runs) = (Vec::new(), Vec::<(u64, u64)>::new());
        for (number, block) in (0_u64..).zip(bytes.chunks(MIB)) {
            if block.len() < MIB || block.iter().any(|byte| *byte != 0) {
                kept.extend_from_slice(block);
            } else if let Some((first, count)) = runs.last_mut()
                && *first + *count == number
            {
                *count += 1;
            } else {
                runs.push((number, 1));
            }
        }
        if runs.is_empty() {
            return Digest::of(&kept);
        }
        let runs = runs
            .iter()
            .flat_map(|(first, count)| [first.to_le_bytes(), count.to_le_bytes()].concat());
        let runs: Vec<u8> = runs.collect();
        let length = (bytes.len() as u64).to_le_bytes();
        Digest::of(&[MARK, &length, &Digest::of(&runs).0, &Digest::of(&kept).0].concat())
    }

    fn part() -> impl Strategy<Value = (usize, u8, bool)> {
        let length = prop_oneof![1..5000_usize, Just(MIB), MIB - 3..MIB + 3, 2 * MIB..3 * MIB];
        (length, 0..2_u8, any::<bool>())
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..Default::default() })]

        #[test]
        fn it_is_of_the_content_alone(parts in prop::collection::vec(part(), 0..6), step in 1..100_000_usize) {
            let (mut bytes, mut with_holes) = (Vec::new(), ContentHasher::default());
            for (length, byte, is_hole) in parts {
                let part = vec![byte; length];
                bytes.extend_from_slice(&part);
                if byte == 0 && is_hole {
                    with_holes.skip(length as u64);
                } else {
                    part.chunks(step).for_each(|piece| with_holes.update(piece));
                }
            }
            let mut whole = ContentHasher::default();
            whole.update(&bytes);
            let expected = (plainly(&bytes), bytes.len() as u64);
            prop_assert_eq!(whole.finish(), expected);
            prop_assert_eq!(with_holes.finish(), expected);
        }
    }

    #[test]
    fn without_a_block_of_zeros_it_is_that_of_the_bytes() {
        // As long as two blocks, and across the border of them.
        let mut bytes = vec![0; 2 * MIB];
        (bytes[0], bytes[2 * MIB - 1]) = (1, 1);
        for bytes in [&bytes[..], &bytes[..=MIB], b"", b"\0"] {
            let mut content = ContentHasher::default();
            content.update(bytes);
            assert_eq!(content.finish().0, Digest::of(bytes));
        }
    }

    #[test]
    fn zeros_elsewhere_are_another_content() {
        let digest = |parts: &[u64]| {
            let mut content = ContentHasher::default();
            for part in parts {
                content.skip(*part);
                content.update(b"x");
            }
            content.finish()
        };
        let block = BLOCK;
        let all = [
            &[8 << 40, 0][..],
            &[4 << 40, 4 << 40],
            &[0, 8 << 40],
            &[block, block],
            &[2 * block, 0],
        ];
        let digests: std::collections::BTreeSet<_> =
            all.iter().map(|parts| digest(parts)).collect();
        assert_eq!(digests.len(), all.len());
    }
}
