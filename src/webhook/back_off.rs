//! How long to wait before the next attempt. Pure.

use std::time::Duration;

/// Waits double from `first` to `most`.
#[derive(Debug, Clone, Copy)]
pub(super) struct BackOff {
    pub(super) first: Duration,
    pub(super) most: Duration,
}

impl Default for BackOff {
    fn default() -> BackOff {
        BackOff { first: Duration::from_secs(1), most: Duration::from_mins(1) }
    }
}

impl BackOff {
    /// How long to wait after this many failed attempts, from 1: at least half a step and less than a whole one, so
    /// that many proxies do not come back at the same moment, and no less than the receiver asked for, up to `most`.
    pub(super) fn wait(self, failed: u32, asked: Option<Duration>, dice: u64) -> Duration {
        let doublings = 2_u32.saturating_pow(failed.saturating_sub(1));
        let half = self.first.saturating_mul(doublings).min(self.most) / 2;
        let nanos = u64::try_from(half.as_nanos()).unwrap_or(u64::MAX).max(1);
        let wait = half + Duration::from_nanos(dice % nanos);
        wait.max(asked.unwrap_or_default().min(self.most))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn waits_double_up_to_a_minute() {
        for (failed, step) in [(1, 1), (2, 2), (3, 4), (6, 32), (7, 60), (8, 60), (33, 60), (u32::MAX, 60)] {
            for dice in [0, 1, 123_456_789_012_345, u64::MAX] {
                let wait = BackOff::default().wait(failed, None, dice);
                assert!(wait >= step * SECOND / 2 && wait < step * SECOND, "{failed} {dice} {wait:?}");
            }
        }
    }

    #[test]
    fn the_dice_decide_within_a_step() {
        let waits =
            [0, 250_000_000, 499_999_999].map(|dice| BackOff::default().wait(1, None, dice).as_millis());
        assert_eq!(waits, [500, 750, 999]);
    }

    #[test]
    fn the_receiver_may_ask_for_more_but_not_for_less() {
        let wait = |asked| BackOff::default().wait(1, Some(asked), 0);
        assert_eq!(wait(20 * SECOND), 20 * SECOND);
        assert_eq!(wait(61 * SECOND), 60 * SECOND);
        assert_eq!(wait(Duration::MAX), 60 * SECOND);
        assert_eq!(wait(Duration::ZERO), SECOND / 2);
    }
}
