//! The events of one key within its window: a row of the times between them.
//!
//! Up to 15 events stand in the row itself. A longer row has memory of its own: always [`FLOOR`] gaps, whose number is
//! bounded by that of the rows; and twice as many again and again, up to [`MAX_GAPS`], as long as the [`Purse`] of all
//! rows gives it. A row that may not grow is thinned out to every second, fourth, … event, so what an attacker with very
//! many keys takes away is precision: nobody is forgotten for it, and nobody escapes.

use super::moment::{Moment, micros};
use super::table::Slot;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// Threads pass moments a little out of order; by more than this, time has jumped back.
const MAX_DISORDER: Duration = Duration::from_secs(1);

pub(super) fn is_jump(last: Moment, now: Moment) -> bool {
    last.since(now) > MAX_DISORDER
}

/// The events of a key within the window before its newest, as the times between them. 64 bytes.
#[derive(Debug, Default)]
pub(super) struct Row {
    key: u64,
    newest: Moment,
    /// Holds the gaps once there are more than fit inline.
    pub(super) spill: Option<Box<Spill>>,
    /// Of all gaps: from the first event to the newest, in ticks; always less than a window.
    span: u32,
    /// When the newest event leaves the window, in seconds since the fixed moment, rounded up.
    until: u32,
    inline: [u16; INLINE],
    len: u8,
}

/// The gaps of 15 events, EMQX's default.
const INLINE: usize = 14;

#[derive(Debug)]
pub(super) struct Spill {
    /// Never longer than its capacity, which is what was taken from the purse.
    pub(super) gaps: VecDeque<u16>,
    /// Each gap stands for two to the power of this many events.
    thinned: u8,
    /// Events since the newest gap.
    since: u32,
    purse: Arc<Purse>,
}

/// The gaps that every row may have beside those inline.
const FLOOR: usize = 32;
/// The most gaps of a row.
const MAX_GAPS: usize = 4096;

/// What all rows take beside their table.
#[derive(Debug)]
pub(super) struct Purse {
    /// In bytes. While more is held, no row gets more than its floor.
    max: usize,
    held: AtomicUsize,
}

impl Purse {
    pub(super) fn new(max: usize) -> Purse {
        Purse { max, held: AtomicUsize::new(0) }
    }

    /// Bytes.
    pub(super) fn held(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }

    /// Gives so many bytes if there are so many left.
    fn ask(&self, bytes: usize) -> bool {
        let give = |held: usize| held.checked_add(bytes).filter(|held| *held <= self.max);
        self.held.fetch_update(Ordering::Relaxed, Ordering::Relaxed, give).is_ok()
    }
}

impl Row {
    pub(super) fn new(key: u64, first: Moment, window: Duration) -> Row {
        Row { key, newest: first, until: until(first, window), ..Row::default() }
    }

    /// Adds an event, and returns how many are in the window.
    pub(super) fn push(&mut self, now: Moment, window: Duration, purse: &Arc<Purse>) -> u32 {
        let ticks = Ticks::of(window);
        if is_jump(self.newest, now) {
            *self = Row::new(self.key, now, window);
            return 1;
        }
        let now = now.max(self.newest);
        let gap = ticks.number(now) - ticks.number(self.newest);
        let Some(gap) = u16::try_from(gap).ok().filter(|gap| u32::from(*gap) < ticks.window) else {
            *self = Row::new(self.key, now, window);
            return 1;
        };
        self.until = until(now, window);
        if let Some(spill) = &mut self.spill {
            if !spill.is_between() && spill.gaps.len() >= spill.gaps.capacity() {
                spill.make_room();
            }
            if spill.is_between() {
                // The gap grows until it stands for as many events as the others.
                spill.since += 1;
                return self.events();
            }
        }
        self.newest = now;
        self.append(gap, purse);
        while self.span >= ticks.window {
            self.drop_oldest();
        }
        self.events()
    }

    fn append(&mut self, gap: u16, purse: &Arc<Purse>) {
        self.span += u32::from(gap);
        if let Some(spill) = &mut self.spill {
            spill.gaps.push_back(gap);
            spill.since = 0;
            return;
        }
        if let Some(place) = self.inline.get_mut(usize::from(self.len)) {
            *place = gap;
            self.len += 1;
            return;
        }
        self.spill = Some(Box::new(Spill::new(self.inline.iter().copied().chain([gap]), purse)));
    }

    fn drop_oldest(&mut self) {
        let oldest = match &mut self.spill {
            Some(spill) => spill.gaps.pop_front(),
            None if self.len == 0 => None,
            None => {
                self.inline.rotate_left(1);
                self.len -= 1;
                self.inline.last().copied()
            }
        };
        self.span = oldest.map_or(0, |gap| self.span.saturating_sub(gap.into()));
        if self.spill.as_ref().is_some_and(|spill| spill.gaps.is_empty()) {
            self.spill = None;
            self.len = 0;
        }
    }

    fn len(&self) -> usize {
        self.spill.as_ref().map_or(usize::from(self.len), |spill| spill.gaps.len())
    }

    fn events(&self) -> u32 {
        let gaps = u32::try_from(self.len()).unwrap_or(u32::MAX);
        match &self.spill {
            Some(spill) => (gaps << spill.thinned).saturating_add(spill.since).saturating_add(1),
            None => gaps + 1,
        }
    }
}

impl Spill {
    fn new(first: impl Iterator<Item = u16>, purse: &Arc<Purse>) -> Spill {
        let mut gaps = VecDeque::with_capacity(FLOOR);
        gaps.extend(first);
        let spill = Spill { gaps, thinned: 0, since: 0, purse: Arc::clone(purse) };
        purse.held.fetch_add(spill.bytes(), Ordering::Relaxed);
        spill
    }

    /// True when the next event does not complete a gap yet.
    fn is_between(&self) -> bool {
        self.since + 1 < 1 << self.thinned
    }

    /// Makes room for one gap more at least, whether or not there is memory.
    fn make_room(&mut self) {
        let more = self.gaps.capacity();
        if more < MAX_GAPS && self.purse.ask(more * size_of::<u16>()) {
            self.gaps.reserve_exact(more);
        } else if self.thinned < 18 {
            self.thin_out();
        } else {
            self.gaps.pop_front();
        }
    }

    /// Makes one gap of every two, in place.
    fn thin_out(&mut self) {
        for _ in 0..self.gaps.len() / 2 {
            // A gap never exceeds the window, so neither does the sum of two that lie in one.
            let pair = [self.gaps.pop_front(), self.gaps.pop_front()];
            self.gaps.push_back(pair.into_iter().flatten().fold(0, u16::saturating_add));
        }
        self.thinned += 1;
    }

    fn bytes(&self) -> usize {
        size_of::<Spill>() + self.gaps.capacity() * size_of::<u16>()
    }
}

impl Drop for Spill {
    fn drop(&mut self) {
        self.purse.held.fetch_sub(self.bytes(), Ordering::Relaxed);
    }
}

impl Slot for Row {
    fn key(&self) -> u64 {
        self.key
    }

    fn is_idle(&self, now: Moment) -> bool {
        u64::from(self.until) * 1_000_000 <= now.as_micros()
    }

    /// The fewest events go first, then who has been silent longest.
    fn worth(&self) -> (u32, u64) {
        (self.events(), self.newest.as_micros())
    }
}

fn until(event: Moment, window: Duration) -> u32 {
    u32::try_from(event.after(window).as_micros().div_ceil(1_000_000)).unwrap_or(u32::MAX)
}

/// The unit of a window's times.
#[derive(Debug, Clone, Copy)]
struct Ticks {
    micros: u64,
    /// The length of the window.
    window: u32,
}

impl Ticks {
    fn of(window: Duration) -> Ticks {
        let window = micros(window);
        let mut tick = 1_u64;
        while window.div_ceil(tick) > u64::from(u16::MAX) {
            tick = tick.saturating_mul(10);
        }
        Ticks { micros: tick, window: u32::try_from(window.div_ceil(tick)).unwrap_or(u32::MAX) }
    }

    fn number(self, moment: Moment) -> u64 {
        moment.as_micros() / self.micros
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_mins(1);

    /// How many events, 10 ms apart, a row of this purse counts.
    fn count(row: &mut Row, events: u64, purse: &Arc<Purse>) -> u32 {
        *row = Row::new(1, Moment::default(), MINUTE);
        (1..events).map(|i| row.push(Moment::from_millis(i * 10), MINUTE, purse)).last().unwrap_or(1)
    }

    #[test]
    fn a_row_that_may_not_grow_counts_on_less_precisely() {
        let purse = Arc::new(Purse::new(0));
        let mut row = Row::default();
        for events in [15, 16, 46, 100, 1000, 5000] {
            let counted = u64::from(count(&mut row, events, &purse));
            assert!(counted.abs_diff(events) <= events / 16, "{counted} of {events}");
            assert!(purse.held() <= size_of::<Spill>() + FLOOR * 2, "{}", purse.held());
        }
    }

    #[test]
    fn what_long_rows_take_is_bounded_and_given_back() {
        let purse = Arc::new(Purse::new(100_000));
        let mut rows: Vec<Row> = (0..200).map(|_| Row::default()).collect();
        for row in &mut rows {
            assert!(count(row, 3000, &purse) > 2800);
        }
        let floors = 200 * (size_of::<Spill>() + FLOOR * 2);
        assert!((90_000..100_000 + floors).contains(&purse.held()), "{}", purse.held());
        drop(rows);
        assert_eq!(purse.held(), 0);
    }
}
