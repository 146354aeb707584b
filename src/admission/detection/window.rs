//! Sliding windows: says when somebody has caused `limit` events within any span of `window_time`.
//!
//! Truly sliding: the first of the last `limit` events lies less than `window_time` back, or nothing is said. A window
//! that begins with its first event, as EMQX has it, lets nearly twice as many through.
//!
//! Whoever has caused one event costs 16 bytes, whoever has caused more 64, as long as there are no more than 15
//! events within the window; from there on some 100 more, and more of that while there is some left of four bytes for
//! each key that there may be. See [`Row`].
//!
//! Precision: the times between events are kept in ticks, at most 65,535 to a window, of 1 µs, 10 µs, …: windows of up
//! to 65 s are exact to the millisecond, longer ones to 1/6,553 of their length at worst. Beyond 4,096 events, counts
//! are exact to 1/2,048; where memory is short, beyond 33 events to 1/16.

use super::moment::{Moment, micros};
use super::row::{Purse, Row, is_jump};
use super::table::{Compact, Part, Slot, Table};
use std::sync::Arc;
use std::time::Duration;

/// The windows of all keys. A key stands for a detector with its policy, so all events of a key have the same window.
#[derive(Debug)]
pub(super) struct Windows {
    /// Who caused one event, and who has a row: the others are not looked up there, which would cost most.
    singles: Table<Single>,
    /// Who caused more.
    rows: Table<Row>,
    /// What long rows may take beside the table.
    purse: Arc<Purse>,
}

impl Windows {
    /// Windows for at most so many keys with one event, and a quarter of them with more.
    pub(super) fn new(max: usize) -> Windows {
        Windows {
            singles: Table::new(max),
            rows: Table::new(max / 4),
            purse: Arc::new(Purse::new(max.saturating_mul(4))),
        }
    }

    /// Counts an event. Returns how many there are in the window now, this one among them, and how many make a ban:
    /// `limit` and `allowance`, which is asked for only when there are others in the window. When there are so many,
    /// the key is forgotten, and the next event is its first.
    pub(super) fn count(
        &self,
        key: u64,
        limit: u32,
        allowance: impl FnOnce() -> u32,
        window: Duration,
        now: Moment,
    ) -> (u32, u32) {
        let before = self.singles.part(key).note(key, window, now);
        let (count, limit) = self.count_after(before, key, limit, allowance, window, now);
        if count >= limit {
            self.singles.remove(key);
        }
        (count, limit)
    }

    /// Has the memory bring what is about to be counted.
    pub(super) fn prefetch(&self, key: u64) {
        self.singles.part(key).prefetch(key);
    }

    /// As [`Windows::count`] for a key whose single events are kept elsewhere, and to whom nothing more is allowed.
    pub(super) fn count_beside(
        &self,
        singles: &mut Part<Single>,
        key: u64,
        limit: u32,
        window: Duration,
        now: Moment,
    ) -> (u32, u32) {
        let before = singles.note(key, window, now);
        let (count, limit) = self.count_after(before, key, limit, || 0, window, now);
        if count >= limit {
            singles.remove(key);
        }
        (count, limit)
    }

    fn count_after(
        &self,
        before: Option<(Moment, bool)>,
        key: u64,
        limit: u32,
        allowance: impl FnOnce() -> u32,
        window: Duration,
        now: Moment,
    ) -> (u32, u32) {
        let limit = limit.max(1);
        let count = match before {
            None => 1,
            Some((last, has_row)) => self.rows.with(key, now, |row, is_known| {
                if !(is_known && has_row) {
                    *row = Row::new(key, last, window);
                }
                row.push(now, window, &self.purse)
            }),
        };
        if count < limit {
            return (count, limit);
        }
        let limit = limit.saturating_add(allowance());
        if count >= limit {
            self.rows.remove(key);
        }
        (count, limit)
    }

    pub(super) fn tidy(&self, turn: usize, now: Moment) {
        self.singles.tidy(turn, now);
        self.rows.tidy(turn, now);
    }

    /// Keys and bytes.
    pub(super) fn usage(&self) -> (usize, usize) {
        let (singles, rows) = (self.singles.usage(), self.rows.usage());
        (singles.0 + rows.0, singles.1 + rows.1 + self.purse.held())
    }
}

impl Part<Single> {
    /// Notes an event of this key. `None` when there was none in the window before; else when the last was, and whether
    /// there is a row of them.
    fn note(&mut self, key: u64, window: Duration, now: Moment) -> Option<(Moment, bool)> {
        self.with(key, now, |Single(slot), is_known| {
            let last = Moment::from_micros(slot.until().as_micros().saturating_sub(micros(window)));
            let is_recent = is_known && !is_jump(last, now) && slot.until() > now;
            let more = if is_recent { slot.tag().saturating_add(1) } else { 0 };
            let before = is_recent.then_some((last, slot.tag() > 0));
            *slot = Compact::new(key, now.max(if is_recent { last } else { now }).after(window), more);
            before
        })
    }
}

/// A key with its last event. The tag is how many came before that without a pause: with any, there is a row. The
/// fewest go first.
#[derive(Debug, Default)]
pub(super) struct Single(Compact);

impl Slot for Single {
    fn key(&self) -> u64 {
        self.0.key()
    }

    fn is_idle(&self, now: Moment) -> bool {
        self.0.is_idle(now)
    }

    fn worth(&self) -> (u32, u64) {
        (self.0.tag().into(), self.0.until().as_micros())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MINUTE: Duration = Duration::from_mins(1);

    fn ms(millis: u64) -> Moment {
        Moment::from_millis(millis)
    }

    /// As the window is promised: the last `limit` events, this one among them, span less than a window.
    #[derive(Default)]
    struct Naive(Vec<u64>);

    impl Naive {
        fn triggers(&mut self, limit: usize, window: u64, now: u64) -> bool {
            self.0.push(now);
            let first = self.0.len().checked_sub(limit).map(|at| self.0[at]);
            let hit = first.is_some_and(|first| limit == 1 || now - first < window);
            if hit {
                self.0.clear();
            }
            hit
        }
    }

    fn count(windows: &Windows, key: u64, limit: u32, window: Duration, now: Moment) -> u32 {
        windows.count(key, limit, || 0, window, now).0
    }

    #[test]
    fn a_key_costs_no_more_than_promised() {
        assert_eq!((size_of::<Single>(), size_of::<Row>()), (16, 64));
    }

    #[test]
    fn the_fifteenth_event_within_a_minute_triggers_and_the_window_starts_anew() {
        let windows = Windows::new(1000);
        let hit = |i: u64| count(&windows, 1, 15, MINUTE, ms(i * 4000)) >= 15;
        let hits: Vec<u64> = (1..=45).filter(|i| hit(*i)).collect();
        assert_eq!(hits, [15, 30, 45]);
    }

    /// A tumbling window would let 28 through: it begins at the first event and forgets all when it has passed.
    #[test]
    fn a_burst_across_the_edge_of_a_tumbling_window_triggers() {
        let windows = Windows::new(1000);
        assert_eq!(count(&windows, 1, 15, MINUTE, ms(0)), 1);
        let at = |i: u64| ms(59_000 + i * 50);
        let counts: Vec<u32> = (0..15).map(|i| count(&windows, 1, 15, MINUTE, at(i))).collect();
        assert_eq!(counts[13], 15, "{counts:?}");
    }

    #[test]
    fn exactly_a_window_is_too_long() {
        let windows = Windows::new(1000);
        assert_eq!(count(&windows, 1, 2, MINUTE, ms(0)), 1);
        assert_eq!(count(&windows, 1, 2, MINUTE, ms(60_000)), 1);
        assert_eq!(count(&windows, 1, 2, MINUTE, ms(119_999)), 2);
    }

    #[test]
    fn limits_of_0_and_1_trigger_at_once() {
        let windows = Windows::new(1000);
        assert_eq!(count(&windows, 1, 0, MINUTE, ms(0)), 1);
        assert_eq!(count(&windows, 1, 1, Duration::ZERO, ms(0)), 1);
    }

    #[test]
    fn windows_shorter_than_a_millisecond_and_longer_than_a_month_work() {
        let windows = Windows::new(1000);
        let short = Duration::from_micros(300);
        let at = Moment::from_micros;
        assert_eq!(count(&windows, 1, 3, short, at(0)), 1);
        assert_eq!(count(&windows, 1, 3, short, at(299)), 2);
        assert_eq!(count(&windows, 1, 3, short, at(300)), 2);
        assert_eq!(count(&windows, 1, 3, short, at(598)), 3);
        assert_eq!(count(&windows, 2, 2, Duration::ZERO, at(0)), 1);
        assert_eq!(count(&windows, 2, 2, Duration::ZERO, at(0)), 1, "nothing lies within no time");
        let day = 86_400_000;
        let quarter = Duration::from_hours(90 * 24);
        assert_eq!((0..90).map(|i| count(&windows, 3, 90, quarter, ms(i * day))).max(), Some(90));
        assert_eq!(count(&windows, 4, 2, Duration::MAX, ms(0)), 1);
        assert_eq!(count(&windows, 4, 2, Duration::MAX, ms(day)), 2);
    }

    #[test]
    fn time_that_jumps_back_neither_triggers_nor_blinds() {
        let windows = Windows::new(1000);
        for i in 0..10 {
            count(&windows, 1, 15, MINUTE, ms(1_000_000_000 + i));
        }
        // An hour earlier, one event a minute: never 15 within a minute.
        for i in 0..100 {
            assert!(count(&windows, 1, 15, MINUTE, ms(996_400_000 + i * 60_000)) < 15);
        }
        let hit = (0..15).map(|i| count(&windows, 1, 15, MINUTE, ms(500_000_000 + i))).max();
        assert_eq!(hit, Some(15));
        // A single event in the future is no event of now.
        assert_eq!(count(&windows, 2, 2, MINUTE, ms(1_000_000)), 1);
        assert_eq!(count(&windows, 2, 2, MINUTE, ms(0)), 1);
        assert_eq!(count(&windows, 2, 2, MINUTE, ms(1)), 2);
    }

    #[test]
    fn long_rows_are_thinned_out_and_stay_within_their_precision() {
        let (limit, window) = (100_000, Duration::from_secs(10_000));
        let windows = Windows::new(1000);
        let hit = (1..=110_000_u64).find(|i| count(&windows, 1, limit, window, ms(i * 50)) >= limit);
        let hit = hit.expect("triggers");
        assert!((99_950..100_100).contains(&hit), "{hit}");
        // Half as fast never triggers.
        assert!((1..=300_000_u64).all(|i| count(&windows, 2, limit, window, ms(i * 101)) < limit));
        let bytes =
            windows.rows.peek(2, |row| row.spill.as_ref().map_or(0, |spill| spill.gaps.capacity() * 2));
        assert!(bytes.is_some_and(|bytes| bytes <= 16_384), "{bytes:?}");
    }

    #[test]
    fn an_active_offender_outlives_a_flood_of_others() {
        let windows = Windows::new(4096);
        for i in 0..10 {
            count(&windows, 1, 15, MINUTE, ms(i));
        }
        // Each of a million others comes twice, which takes a row.
        for key in 2..1_000_000_u64 {
            let key = key.wrapping_mul(0x9E37_79B9_7F4A_7C15);
            count(&windows, key, 15, MINUTE, ms(10 + key % 1000));
            count(&windows, key, 15, MINUTE, ms(1010));
        }
        assert_eq!(count(&windows, 1, 15, MINUTE, ms(2000)), 11);
        let (_, bytes) = windows.usage();
        assert!(bytes <= 4096 * 16 + 1024 * 64, "{bytes}");
    }

    #[test]
    fn an_offender_that_fell_silent_goes_before_an_active_one() {
        let windows = Windows::new(1);
        let keys: Vec<u64> = (1..2000).map(|i| i << 3).filter(|key| key >> 58 == 0).take(9).collect();
        for (i, key) in keys.iter().take(8).enumerate() {
            // The first is the worst, and it has been silent for longer than a window.
            let (events, begin) = if i == 0 { (12, 0) } else { (3, 100_000) };
            for e in 0..events {
                count(&windows, *key, 15, MINUTE, ms(begin + e));
            }
        }
        for e in 0..3 {
            count(&windows, keys[8], 15, MINUTE, ms(110_000 + e));
        }
        assert!(windows.rows.peek(keys[0], |_| ()).is_none());
        assert!(keys.iter().skip(1).all(|key| windows.rows.peek(*key, |_| ()).is_some()));
    }

    proptest! {
        #[test]
        fn windows_agree_with_a_list_of_times(
            limit in 1_u32..60,
            window in 1_u64..65_000,
            gaps in prop::collection::vec(prop_oneof![0_u64..10, 0_u64..2_000, 0_u64..70_000], 1..400),
        ) {
            let windows = Windows::new(1000);
            let (mut naive, mut now) = (Naive::default(), 0);
            for gap in gaps {
                now += gap;
                let ours = count(&windows, 9, limit, Duration::from_millis(window), ms(now)) >= limit;
                let theirs = naive.triggers(usize::try_from(limit).expect("small"), window, now);
                prop_assert_eq!(ours, theirs, "at {}", now);
            }
        }

        #[test]
        fn nothing_panics_whatever_the_times_and_limits(
            steps in prop::collection::vec((any::<u64>(), any::<u32>(), 0_u64..4, any::<u64>()), 1..200),
        ) {
            let windows = Windows::new(8);
            for (now, limit, key, window) in steps {
                count(&windows, key + 1, limit % 40, Duration::from_micros(window), Moment::from_micros(now));
            }
        }
    }
}
