//! Time as windows measure it: since some fixed moment, never set by anybody.

use std::time::Duration;

/// A moment of monotonic time, in microseconds since any fixed moment before the process's first use of it.
///
/// Windows are held to this and bans to [`Timestamp`](crate::admission::Timestamp), so setting the system's clock
/// neither bans nor frees anybody. Threads may pass moments a little out of order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Moment(u64);

impl Moment {
    /// The moment so many microseconds after the fixed one.
    pub const fn from_micros(micros: u64) -> Moment {
        Moment(micros)
    }

    /// The moment so many milliseconds after the fixed one.
    pub const fn from_millis(millis: u64) -> Moment {
        Moment(millis.saturating_mul(1000))
    }

    /// Microseconds since the fixed moment.
    pub const fn as_micros(self) -> u64 {
        self.0
    }

    /// This moment and so much later; stops at the end of time.
    #[must_use]
    pub fn after(self, duration: Duration) -> Moment {
        Moment(self.0.saturating_add(micros(duration)))
    }

    /// How long ago `earlier` was; nothing when it is still to come.
    pub fn since(self, earlier: Moment) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }
}

/// A duration in whole microseconds; stops at the end of time.
pub(super) fn micros(duration: Duration) -> u64 {
    duration.as_secs().saturating_mul(1_000_000).saturating_add(duration.subsec_micros().into())
}
