//! Which lines of one sequence are those of another, in the same order.

use std::collections::BTreeMap;

/// How many comparisons are made at most; beyond that each line is taken for the next that is like it.
const MOST: usize = 1 << 22;

/// Returns the pairs of a longest common subsequence, by their places in both.
pub(crate) fn align<T: Ord>(one: &[T], other: &[T]) -> Vec<(usize, usize)> {
    let common =
        |pairs: &mut dyn Iterator<Item = (&T, &T)>| pairs.take_while(|(a, b)| a == b).count();
    let front = common(&mut one.iter().zip(other));
    let (one, other) = (&one[front..], &other[front..]);
    let back = common(&mut one.iter().rev().zip(other.iter().rev()));
    let (ends, tails) = ((one.len() - back, other.len() - back), 0..back);
    let between = between(&one[..ends.0], &other[..ends.1]);
    let between = between.into_iter().map(|(a, b)| (front + a, front + b));
    let front_pairs = (0..front).map(|at| (at, at));
    front_pairs
        .chain(between)
        .chain(tails.map(|at| (front + ends.0 + at, front + ends.1 + at)))
        .collect()
}

fn between<T: Ord>(one: &[T], other: &[T]) -> Vec<(usize, usize)> {
    let width = other.len() + 1;
    if one.len().saturating_mul(other.len()) > MOST {
        return next_alike(one, other);
    }
    // How long the longest one is of what is in front of a place of each.
    let mut lengths = vec![0_u32; (one.len() + 1) * width];
    for (a, line) in one.iter().enumerate() {
        for (b, like) in other.iter().enumerate() {
            lengths[(a + 1) * width + b + 1] = match line == like {
                true => lengths[a * width + b] + 1,
                false => lengths[a * width + b + 1].max(lengths[(a + 1) * width + b]),
            };
        }
    }
    let (mut a, mut b) = (one.len(), other.len());
    let mut pairs = Vec::new();
    while a > 0 && b > 0 {
        if one[a - 1] == other[b - 1] {
            (a, b) = (a - 1, b - 1);
            pairs.push((a, b));
        } else if lengths[(a - 1) * width + b] >= lengths[a * width + b - 1] {
            a -= 1;
        } else {
            b -= 1;
        }
    }
    pairs.reverse();
    pairs
}

/// Takes each line for the next that is like it.
fn next_alike<T: Ord>(one: &[T], other: &[T]) -> Vec<(usize, usize)> {
    let mut places: BTreeMap<&T, Vec<usize>> = BTreeMap::new();
    for (at, line) in other.iter().enumerate() {
        places.entry(line).or_default().push(at);
    }
    let (mut pairs, mut from) = (Vec::new(), 0);
    for (at, line) in one.iter().enumerate() {
        let Some(all) = places.get(line) else { continue };
        if let Some(found) = all.get(all.partition_point(|place| *place < from)) {
            pairs.push((at, *found));
            from = found + 1;
        }
    }
    pairs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_common_lines_are_found() {
        let table = [
            ("", "a", &[][..]),
            ("abc", "abc", &[(0, 0), (1, 1), (2, 2)]),
            ("abc", "axc", &[(0, 0), (2, 2)]),
            ("abcd", "dabc", &[(0, 1), (1, 2), (2, 3)]),
            ("aa", "a", &[(0, 0)]),
            ("xab", "aby", &[(1, 0), (2, 1)]),
        ];
        for (one, other, expected) in table {
            assert_eq!(align(one.as_bytes(), other.as_bytes()), expected, "{one} {other}");
        }
    }

    #[test]
    fn long_ones_are_compared_in_one_pass() {
        let one: Vec<_> = (0..100_000).collect();
        let other: Vec<_> = (0..100_000).map(|at| if at % 2 == 0 { at } else { -at }).collect();
        let pairs = align(&one, &other);
        assert_eq!(pairs.len(), 50_000);
        assert!(pairs.iter().all(|(a, b)| a == b));
    }
}
