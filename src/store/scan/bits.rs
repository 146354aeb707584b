//! A set of rows: a bit for each.

use std::ops::Range;

/// A set of rows.
#[derive(Debug, Clone)]
pub(super) struct Bits(Vec<u64>);

impl Bits {
    /// Room for so many rows, none of which is in it.
    pub(super) fn none(rows: usize) -> Bits {
        Bits(vec![0; rows.div_ceil(64)])
    }

    pub(super) fn set(&mut self, row: usize) {
        if let Some(word) = self.0.get_mut(row / 64) {
            *word |= 1 << (row % 64);
        }
    }

    pub(super) fn clear(&mut self, row: usize) {
        if let Some(word) = self.0.get_mut(row / 64) {
            *word &= !(1 << (row % 64));
        }
    }

    pub(super) fn set_all(&mut self, rows: Range<usize>) {
        for row in rows {
            self.set(row);
        }
    }

    /// Takes out whatever is not in the other one.
    pub(super) fn keep(&mut self, other: &Bits) {
        for (word, other) in self.0.iter_mut().zip(&other.0) {
            *word &= other;
        }
    }

    /// Takes out the rows of which `test` says no.
    pub(super) fn retain<T: Copy>(&mut self, column: &[T], test: impl Fn(T) -> bool) {
        for (word, values) in self.0.iter_mut().zip(column.chunks(64)) {
            if *word == 0 {
                continue;
            }
            let mut passed = 0;
            for (bit, value) in values.iter().enumerate() {
                passed |= u64::from(test(*value)) << bit;
            }
            *word &= passed;
        }
    }

    pub(super) fn count(&self) -> usize {
        self.0.iter().map(|word| word.count_ones() as usize).sum()
    }

    /// The rows, in their order.
    pub(super) fn iter(&self) -> impl Iterator<Item = usize> {
        self.words().iter().enumerate().flat_map(|(at, word)| ones(*word).map(move |bit| at * 64 + bit))
    }

    pub(super) fn words(&self) -> &[u64] {
        &self.0
    }

    pub(super) fn words_mut(&mut self) -> &mut [u64] {
        &mut self.0
    }
}

/// The bits of a word that are set, from the least.
pub(super) fn ones(mut word: u64) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        if word == 0 {
            return None;
        }
        let bit = word.trailing_zeros() as usize;
        word &= word - 1;
        Some(bit)
    })
}
