//! A rate, as people write it.

use std::fmt;
use std::num::NonZeroU32;
use std::str::FromStr;
use std::time::Duration;

/// So many in so much time, and so many at once: `20/s`, `100/m, burst 50`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    count: NonZeroU32,
    unit: Unit,
    burst: NonZeroU32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Unit {
    Second,
    Minute,
    Hour,
}

/// A text that is no rate.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("is not a rate; expected e.g. \"20/s\", \"100/m, burst 50\", with at most {MAX} of each")]
pub struct RateError;

/// The most that a rate may have.
const MAX: u32 = 10_000_000;

impl Rate {
    /// How many in a [`period`](Rate::period).
    pub fn count(self) -> NonZeroU32 {
        self.count
    }

    /// A second, a minute or an hour.
    pub fn period(self) -> Duration {
        Duration::from_secs(match self.unit {
            Unit::Second => 1,
            Unit::Minute => 60,
            Unit::Hour => 3600,
        })
    }

    /// How many may come at once when none has come for a while.
    pub fn burst(self) -> NonZeroU32 {
        self.burst
    }
}

impl FromStr for Rate {
    type Err = RateError;

    /// Without a burst, as many may come at once as in a period.
    fn from_str(text: &str) -> Result<Rate, RateError> {
        let (rate, burst) = match text.split_once(',') {
            Some((rate, burst)) => (rate, Some(burst.trim().strip_prefix("burst ").ok_or(RateError)?)),
            None => (text, None),
        };
        let (count, unit) = rate.trim().split_once('/').ok_or(RateError)?;
        let number = |text: &str| {
            let is_plain = text.bytes().all(|byte| byte.is_ascii_digit());
            text.parse().ok().filter(|number: &NonZeroU32| is_plain && number.get() <= MAX).ok_or(RateError)
        };
        let count = number(count)?;
        let unit = match unit {
            "s" => Unit::Second,
            "m" => Unit::Minute,
            "h" => Unit::Hour,
            _ => return Err(RateError),
        };
        Ok(Rate { count, unit, burst: burst.map_or(Ok(count), |burst| number(burst.trim()))? })
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = match self.unit {
            Unit::Second => 's',
            Unit::Minute => 'm',
            Unit::Hour => 'h',
        };
        write!(f, "{}/{unit}, burst {}", self.count, self.burst)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_read_as_people_write_them() {
        for (text, shown) in [
            ("20/s", "20/s, burst 20"),
            ("100/m, burst 50", "100/m, burst 50"),
            ("1/h,burst 7", "1/h, burst 7"),
        ] {
            assert_eq!(text.parse::<Rate>().map(|rate| rate.to_string()).as_deref(), Ok(shown));
        }
        for text in [
            "",
            "20",
            "0/s",
            "20/d",
            "-1/s",
            "+1/s",
            "20/s, 50",
            "20/s, burst 0",
            "20/s burst 5",
            "10000001/s",
        ] {
            assert_eq!(text.parse::<Rate>(), Err(RateError), "{text}");
        }
    }
}
