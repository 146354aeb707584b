//! Which rows a selection wants.

use super::bits::{Bits, ones};
use super::table::{ENDLESS, Table};
use crate::admission::{As, EXACT_LEN, Finder, Pattern, PatternIndex, Timestamp, Until};
use crate::store::selection::Selection;
use std::thread;

/// The rows that the selection wants, wherever in its order they are, but for the `gone` ones.
pub(super) fn wanted(table: &Table, selection: &Selection, gone: &[usize]) -> Bits {
    let mut rows = Bits::none(table.len());
    let kinds =
        || As::ALL.into_iter().filter(|kind| selection.kinds.is_empty() || selection.kinds.contains(kind));
    for kind in kinds() {
        rows.set_all(table.rows_of(kind));
    }
    for row in gone {
        rows.clear(*row);
    }
    let millis = |moment: Option<Timestamp>| moment.map(Timestamp::as_millis);
    if let Some(from) = millis(selection.made_from) {
        rows.retain(&table.at, |at| at >= from);
    }
    if let Some(to) = millis(selection.made_to) {
        rows.retain(&table.at, |at| at <= to);
    }
    match selection.ends.from {
        None => {}
        Some(Until::Infinity) => rows.retain(&table.until, |until| until == ENDLESS),
        Some(Until::Moment(from)) => rows.retain(&table.until, |until| until >= from.as_millis()),
    }
    if let Some(to) = millis(selection.ends.to) {
        rows.retain(&table.until, |until| until <= to && until != ENDLESS);
    }
    if let Some(by) = &selection.by {
        match table.authors.find(by).ok().and_then(|id| u32::try_from(id).ok()) {
            Some(wanted) => rows.retain(&table.by, |id| id == wanted),
            None => return Bits::none(table.len()),
        }
    }
    if let Some(reason) = &selection.reason {
        let reason = reason.to_ascii_lowercase();
        let wanted = table.reasons.which(|text| text.to_ascii_lowercase().contains(&reason));
        rows.retain(&table.reason, |id| wanted.get(id as usize).copied().unwrap_or(false));
    }
    if let Some(text) = &selection.text {
        let text = text.to_ascii_lowercase();
        let mut found = Bits::none(table.len());
        for kind in kinds() {
            table.texts.containing(text.as_bytes(), table.rows_of(kind), &mut found);
        }
        rows.keep(&found);
    }
    if let Some(pattern) = &selection.like {
        like(table, pattern, &mut rows);
    }
    rows
}

/// Takes out the rows in whose text the pattern is not found.
fn like(table: &Table, pattern: &Pattern, rows: &mut Bits) {
    if let Some(needles) = pattern.needles() {
        let mut found = table.texts.longer_than(EXACT_LEN);
        for needle in needles {
            table.texts.containing(&needle, 0..table.len(), &mut found);
        }
        rows.keep(&found);
    }
    let index = PatternIndex::new();
    // An empty index has room for any.
    let _ = index.insert(pattern.clone(), ());
    let like = Like { index, finder: pattern.finder() };
    let threads = if rows.count() > MANY { THREADS } else { 1 };
    let share = rows.words().len().div_ceil(threads).max(1);
    let like = &like;
    thread::scope(|scope| {
        let mut shares = rows.words_mut().chunks_mut(share).enumerate();
        // The first one is ours.
        let ours = shares.next();
        for (number, words) in shares {
            scope.spawn(move || keep_like(table, like, words, number * share));
        }
        if let Some((_, words)) = ours {
            keep_like(table, like, words, 0);
        }
    });
}

/// A pattern, in the form that is exact, and in the one that is fast.
struct Like {
    index: PatternIndex<()>,
    finder: Option<Finder>,
}

impl Like {
    fn is_match(&self, text: &[u8]) -> bool {
        let found = self.finder.as_ref().and_then(|finder| finder.is_match(text));
        found.unwrap_or_else(|| self.index.is_match(text))
    }
}

fn keep_like(table: &Table, like: &Like, words: &mut [u64], first: usize) {
    for (word, at) in words.iter_mut().zip(first..) {
        for bit in ones(*word) {
            if !like.is_match(table.texts.bytes(at * 64 + bit)) {
                *word &= !(1 << bit);
            }
        }
    }
}

/// From how many texts on a pattern is looked for by several threads at once.
const MANY: usize = 50_000;
const THREADS: usize = 2;
