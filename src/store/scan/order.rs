//! The first rows of an order, without bringing all of them into it.

use super::bits::Bits;
use super::table::Table;
use crate::store::selection::{Key, Place, Selection, Sort};
use std::borrow::Cow;
use std::cmp::Ordering;

/// Where a row is in an order: whatever the order is by, then its place among equals. Twice as much as it is, so that
/// there is room between two rows.
type Rank = (i64, i64);

/// What an order is by.
struct Ranks<'t> {
    /// None where the order is that of the rows.
    keys: Option<Cow<'t, [i64]>>,
}

impl Ranks<'_> {
    fn of(&self, row: usize) -> Rank {
        let key = self.keys.as_ref().map_or(0, |keys| keys.get(row).copied().unwrap_or(0));
        (key, twice(row) + 1)
    }
}

fn twice(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX / 2).saturating_mul(2)
}

/// The first of these rows that come after the selection's place, `most` at most, in the selection's order. Of those
/// the first `skip` are left out.
pub(super) fn first(
    table: &Table,
    rows: &Bits,
    selection: &Selection,
    skip: usize,
    most: usize,
) -> Vec<usize> {
    let sort = selection.order();
    let ranks = ranks(table, sort);
    let after = selection.after.as_ref().and_then(|place| rank_of(table, place, selection));
    let is_down = is_down(selection);
    let is_beyond = |rank: Rank| match after {
        None => true,
        Some(after) if is_down => rank < after,
        Some(after) => rank > after,
    };
    if ranks.keys.is_none() {
        let wanted = rows.iter().filter(|row| is_beyond(ranks.of(*row)));
        if !is_down {
            return wanted.skip(skip).take(most).collect();
        }
        let wanted: Vec<_> = wanted.collect();
        return wanted.into_iter().rev().skip(skip).take(most).collect();
    }
    let mut best = Best { kept: Vec::new(), most: skip.saturating_add(most), limit: None };
    for row in rows.iter() {
        let rank = ranks.of(row);
        if is_beyond(rank) {
            // Upside down, what comes last comes first.
            best.offer(if is_down { (!rank.0, !rank.1) } else { rank }, row);
        }
    }
    best.finish(skip)
}

/// The best of those that were offered.
struct Best {
    kept: Vec<(Rank, usize)>,
    most: usize,
    /// Nothing from here on is among the best.
    limit: Option<Rank>,
}

impl Best {
    fn offer(&mut self, rank: Rank, row: usize) {
        if self.limit.is_some_and(|limit| rank >= limit) {
            return;
        }
        self.kept.push((rank, row));
        if self.kept.len() >= self.most.saturating_mul(2).max(ROOM) {
            self.trim();
        }
    }

    fn trim(&mut self) {
        if self.most > 0 && self.kept.len() > self.most {
            let (_, last, _) = self.kept.select_nth_unstable(self.most - 1);
            self.limit = Some((last.0.0, last.0.1.saturating_add(1)));
        }
        self.kept.truncate(self.most);
    }

    /// In order, without the first ones.
    fn finish(mut self, skip: usize) -> Vec<usize> {
        self.trim();
        if skip >= self.kept.len() {
            return Vec::new();
        }
        if skip > 0 {
            self.kept.select_nth_unstable(skip);
            self.kept.drain(..skip);
        }
        self.kept.sort_unstable();
        self.kept.into_iter().map(|(_, row)| row).collect()
    }
}

/// How many are kept before the best of them are looked for.
const ROOM: usize = 1_024;

/// True when the columns go down: what ends late is active, and so comes first by status.
fn is_down(selection: &Selection) -> bool {
    selection.is_descending != (selection.order() == Sort::Status)
}

fn ranks(table: &Table, sort: Sort) -> Ranks<'_> {
    let of_ids = |ids: &[u32]| Cow::Owned(ids.iter().map(|id| i64::from(*id) * 2 + 1).collect());
    let keys = match sort {
        Sort::As => None,
        Sort::Who => table.places().map(of_ids),
        Sort::By => Some(of_ids(&table.by)),
        Sort::Reason => Some(of_ids(&table.reason)),
        Sort::At => Some(Cow::Borrowed(table.at.as_slice())),
        Sort::Until | Sort::Status => Some(Cow::Borrowed(table.until.as_slice())),
        Sort::Hits => Some(of_hits(table, 0, |hits, _| signed(hits))),
        Sort::LastHit => Some(of_hits(table, i64::MIN, |_, last| last.unwrap_or(i64::MIN))),
    };
    Ranks { keys }
}

fn of_hits(table: &Table, none: i64, key: impl Fn(u64, Option<i64>) -> i64) -> Cow<'_, [i64]> {
    let mut keys = vec![none; table.len()];
    for (row, hits, last) in table.all_hits() {
        if let Some(slot) = keys.get_mut(*row) {
            *slot = key(*hits, *last);
        }
    }
    Cow::Owned(keys)
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// Where a place would be; none where the selection's order has no such place, and so begins at its beginning.
fn rank_of(table: &Table, place: &Place, selection: &Selection) -> Option<Rank> {
    let row = match table.place_of(place.kind, &place.who) {
        Ok(row) => twice(row) + 1,
        Err(row) => twice(row),
    };
    let of_text = |found: Result<usize, usize>| match found {
        Ok(id) => twice(id) + 1,
        Err(id) => twice(id),
    };
    match (selection.order(), &place.key) {
        (Sort::As, Key::None) if selection.kinds.is_empty() || selection.kinds.contains(&place.kind) => {
            Some((0, row))
        }
        (Sort::Who, Key::None) => {
            let (before, is_there) = table.place_by_text(place.kind, &place.who);
            let place = twice(before) + i64::from(is_there);
            Some(if table.places().is_some() { (place, row) } else { (0, place) })
        }
        (Sort::By, Key::Text(text)) => Some((of_text(table.authors.find(text)), row)),
        (Sort::Reason, Key::Text(text)) => Some((of_text(table.reasons.find(text)), row)),
        (Sort::At, Key::Number(at)) => Some((*at, row)),
        (Sort::Until | Sort::Status, Key::Number(end)) if selection.ends.has_ending() => Some((*end, row)),
        (Sort::Until | Sort::Status, Key::None) if selection.ends.has_endless() => {
            Some((super::table::ENDLESS, row))
        }
        (Sort::Hits, Key::Number(hits)) => Some((*hits, row)),
        (Sort::Hits, Key::None) => Some((0, row)),
        (Sort::LastHit, Key::Number(last)) => Some((*last, row)),
        (Sort::LastHit, Key::None) => Some((i64::MIN, row)),
        _ => None,
    }
}

/// Which of two rows of different tables comes first.
pub(super) fn compare(
    (one, row): (&Table, usize),
    (other, at): (&Table, usize),
    selection: &Selection,
) -> Ordering {
    let number = |column: fn(&Table) -> &[i64]| column(one).get(row).cmp(&column(other).get(at));
    let by_key = match selection.order() {
        Sort::As => Ordering::Equal,
        Sort::Who => one.texts.bytes(row).cmp(other.texts.bytes(at)),
        Sort::By => one.author(row).cmp(other.author(at)),
        Sort::Reason => one.reason_of(row).cmp(other.reason_of(at)),
        Sort::At => number(|table| &table.at),
        Sort::Until | Sort::Status => number(|table| &table.until),
        Sort::Hits => one.hits(row).0.cmp(&other.hits(at).0),
        Sort::LastHit => one.hits(row).1.cmp(&other.hits(at).1),
    };
    let ordering = by_key.then_with(|| one.compare_keys(row, other, at));
    if is_down(selection) { ordering.reverse() } else { ordering }
}
