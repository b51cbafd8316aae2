//! The checksum of a frame of zstd: XXH64, of bytes as they go by.
//!
//! Source: the specification of xxHash, 0.1.1.

/// How many bytes are taken in at once.
const STRIPE: usize = 32;

const PRIMES: [u64; 5] = [
    0x9E37_79B1_85EB_CA87,
    0xC2B2_AE3D_27D4_EB4F,
    0x1656_67B1_9E37_79F9,
    0x85EB_CA77_C2B2_AE63,
    0x27D4_EB2F_1656_67C5,
];

/// The checksum of what was taken in so far.
#[derive(Debug, Clone)]
pub(super) struct Xxh64 {
    lanes: [u64; 4],
    /// What is no whole stripe yet.
    rest: Vec<u8>,
    length: u64,
}

impl Default for Xxh64 {
    fn default() -> Self {
        let [first, second, ..] = PRIMES;
        let lanes = [first.wrapping_add(second), second, 0, first.wrapping_neg()];
        Self { lanes, rest: Vec::with_capacity(STRIPE), length: 0 }
    }
}

impl Xxh64 {
    /// Takes in more bytes.
    pub(super) fn update(&mut self, mut bytes: &[u8]) {
        self.length += bytes.len() as u64;
        if !self.rest.is_empty() {
            let (begin, end) = bytes.split_at(bytes.len().min(STRIPE - self.rest.len()));
            self.rest.extend_from_slice(begin);
            bytes = end;
            if self.rest.len() < STRIPE {
                return;
            }
            let stripe = std::mem::take(&mut self.rest);
            self.stripe(&stripe);
        }
        let mut stripes = bytes.chunks_exact(STRIPE);
        for stripe in &mut stripes {
            self.stripe(stripe);
        }
        self.rest.extend_from_slice(stripes.remainder());
    }

    fn stripe(&mut self, stripe: &[u8]) {
        for (lane, bytes) in self.lanes.iter_mut().zip(stripe.chunks_exact(8)) {
            *lane = round(*lane, number(bytes));
        }
    }

    /// Returns how many bytes were taken in.
    pub(super) fn length(&self) -> u64 {
        self.length
    }

    /// Returns the checksum.
    pub(super) fn finish(&self) -> u64 {
        let [first, second, third, fourth, fifth] = PRIMES;
        let [one, two, three, four] = self.lanes;
        let mut sum = if self.length < STRIPE as u64 {
            fifth
        } else {
            let joined = one
                .rotate_left(1)
                .wrapping_add(two.rotate_left(7))
                .wrapping_add(three.rotate_left(12))
                .wrapping_add(four.rotate_left(18));
            self.lanes.iter().fold(joined, |sum, lane| {
                (sum ^ round(0, *lane)).wrapping_mul(first).wrapping_add(fourth)
            })
        };
        sum = sum.wrapping_add(self.length);
        let mut words = self.rest.chunks_exact(8);
        for word in &mut words {
            sum ^= round(0, number(word));
            sum = sum.rotate_left(27).wrapping_mul(first).wrapping_add(fourth);
        }
        let mut halves = words.remainder().chunks_exact(4);
        for half in &mut halves {
            sum ^= number(half).wrapping_mul(first);
            sum = sum.rotate_left(23).wrapping_mul(second).wrapping_add(third);
        }
        for byte in halves.remainder() {
            sum ^= u64::from(*byte).wrapping_mul(fifth);
            sum = sum.rotate_left(11).wrapping_mul(first);
        }
        sum = (sum ^ sum >> 33).wrapping_mul(second);
        sum = (sum ^ sum >> 29).wrapping_mul(third);
        sum ^ sum >> 32
    }
}

fn round(lane: u64, word: u64) -> u64 {
    let [first, second, ..] = PRIMES;
    lane.wrapping_add(word.wrapping_mul(second)).rotate_left(31).wrapping_mul(first)
}

/// Reads up to eight bytes, the lowest first.
fn number(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checksum_is_that_of_the_specification_however_the_bytes_come() {
        let bytes: Vec<u8> = (0..1000_u32).map(|number| (number * 7 % 251) as u8).collect();
        // By `xxhsum -H64`.
        for (text, expected) in [
            (&b""[..], 0xEF46_DB37_51D8_E999),
            (b"a", 0xD24E_C4F1_A98C_6E5B),
            (b"abc", 0x44BC_2CF5_AD77_0999),
            (b"Nobody inspects the spammish repetition", 0xFBCE_A83C_8A37_8BF1),
        ] {
            let mut sum = Xxh64::default();
            sum.update(text);
            assert_eq!(sum.finish(), expected, "{text:?}");
        }
        let mut whole = Xxh64::default();
        whole.update(&bytes);
        for piece in [1, 7, 31, 32, 33, 500] {
            let mut sum = Xxh64::default();
            bytes.chunks(piece).for_each(|piece| sum.update(piece));
            assert_eq!((sum.finish(), sum.length()), (whole.finish(), 1000), "{piece}");
        }
    }
}
