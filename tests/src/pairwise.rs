//! Covering arrays: few rows in which every pair of values of two factors stands together at least once.

use std::collections::BTreeSet;

use crate::Random;

/// The values of two factors that stand together: factor and value, twice, the lower factor first.
type Pair = (usize, usize, usize, usize);

/// Rows over factors with so many values each, such that every possible pair of values is in some row. `possible` tells
/// of a row whose later factors may still be open (`None`) whether it can be; it must not turn a possible row that is
/// filled up wholly impossible.
///
/// Greedy, the best of some candidates for each row; the same for the same arguments.
pub fn rows(sizes: &[usize], possible: impl Fn(&[Option<usize>]) -> bool) -> Vec<Vec<usize>> {
    const CANDIDATES: usize = 40;
    let mut missing = pairs(sizes, &possible);
    let mut random = Random::new(0x05EE_D0FA_9A17);
    let mut rows = Vec::new();
    while let Some(first) = missing.first().copied() {
        let best = (0..CANDIDATES)
            .filter_map(|_| candidate(sizes, &possible, &missing, first, &mut random))
            .max_by_key(|row| gain(row, &missing));
        let Some(row) = best else {
            // Possible as a pair, but in no whole row.
            missing.remove(&first);
            continue;
        };
        missing.retain(|pair| !has(&row, pair));
        rows.push(row);
    }
    rows
}

/// The possible pairs that no row has: none for a cover.
pub fn missing(
    sizes: &[usize],
    rows: &[Vec<usize>],
    possible: impl Fn(&[Option<usize>]) -> bool,
) -> Vec<(usize, usize, usize, usize)> {
    pairs(sizes, &possible).into_iter().filter(|pair| !rows.iter().any(|row| has(row, pair))).collect()
}

fn pairs(sizes: &[usize], possible: &impl Fn(&[Option<usize>]) -> bool) -> BTreeSet<Pair> {
    let mut pairs = BTreeSet::new();
    for (first, first_size) in sizes.iter().enumerate() {
        for (second, second_size) in sizes.iter().enumerate().skip(first + 1) {
            for one in 0..*first_size {
                for other in 0..*second_size {
                    let mut row = vec![None; sizes.len()];
                    row[first] = Some(one);
                    row[second] = Some(other);
                    if possible(&row) {
                        pairs.insert((first, one, second, other));
                    }
                }
            }
        }
    }
    pairs
}

/// A row that has this pair, its other factors in random order each with the value that brings most.
fn candidate(
    sizes: &[usize],
    possible: &impl Fn(&[Option<usize>]) -> bool,
    missing: &BTreeSet<Pair>,
    (first, one, second, other): Pair,
    random: &mut Random,
) -> Option<Vec<usize>> {
    let mut row = vec![None; sizes.len()];
    row[first] = Some(one);
    row[second] = Some(other);
    let mut open: Vec<usize> = (0..sizes.len()).filter(|factor| row[*factor].is_none()).collect();
    while !open.is_empty() {
        let factor = open.swap_remove(random.below(open.len() as u64) as usize);
        let start = random.below(sizes[factor] as u64) as usize;
        let mut best = None;
        for step in 0..sizes[factor] {
            let value = (start + step) % sizes[factor];
            row[factor] = Some(value);
            if possible(&row) {
                let brings = (0..sizes.len())
                    .filter(|beside| *beside != factor)
                    .filter_map(|beside| Some(ordered(factor, value, beside, row[beside]?)))
                    .filter(|pair| missing.contains(pair))
                    .count();
                if best.is_none_or(|(most, _)| brings > most) {
                    best = Some((brings, value));
                }
            }
        }
        row[factor] = Some(best?.1);
    }
    row.into_iter().collect()
}

fn ordered(factor: usize, value: usize, beside: usize, other: usize) -> Pair {
    if factor < beside { (factor, value, beside, other) } else { (beside, other, factor, value) }
}

fn has(row: &[usize], (first, one, second, other): &Pair) -> bool {
    row[*first] == *one && row[*second] == *other
}

fn gain(row: &[usize], missing: &BTreeSet<Pair>) -> usize {
    missing.iter().filter(|pair| has(row, pair)).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pair_is_covered_by_few_rows() {
        let sizes = [3, 2, 2, 3, 2, 10, 8, 2, 2, 2, 2, 2, 2, 2];
        let rows = rows(&sizes, |_| true);
        assert!(missing(&sizes, &rows, |_| true).is_empty());
        assert!((80..=100).contains(&rows.len()), "{} rows", rows.len());
    }

    #[test]
    fn what_is_impossible_is_in_no_row() {
        let sizes = [3, 3, 3];
        let possible = |row: &[Option<usize>]| !(row[0] == Some(1) && row[2] == Some(2));
        let rows = rows(&sizes, possible);
        assert!(rows.iter().all(|row| !(row[0] == 1 && row[2] == 2)));
        assert!(missing(&sizes, &rows, possible).is_empty());
        assert_eq!(missing(&sizes, &rows[1..], possible).len(), 3, "each row is needed");
    }
}
