//! Wall-clock time as bans use it: milliseconds since 1970, eight bytes each, because there may be millions.

use jiff::tz::TimeZone;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// A moment of wall-clock time, in milliseconds since the Unix epoch.
///
/// Written as RFC 3339 in UTC with whole seconds (`2026-04-22T08:16:31+00:00`), as EMQX writes it. Read from RFC 3339
/// with any offset, or from epoch seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

/// A text that is no moment.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("is not a moment; expected RFC 3339, e.g. \"2030-01-01T00:00:00+00:00\", or epoch seconds")]
pub struct TimestampError;

/// The last second of the year 9999: the latest moment that RFC 3339 can write.
const MAX_SECONDS: i64 = 253_402_214_400;

impl Timestamp {
    /// The moment so many milliseconds after the Unix epoch.
    pub const fn from_millis(millis: i64) -> Timestamp {
        Timestamp(millis)
    }

    /// The moment so many seconds after the Unix epoch.
    ///
    /// # Errors
    /// Before 1970, or after the year 9999.
    pub fn from_seconds(seconds: i64) -> Result<Timestamp, TimestampError> {
        if (0..=MAX_SECONDS).contains(&seconds) { Ok(Timestamp(seconds * 1000)) } else { Err(TimestampError) }
    }

    /// Milliseconds since the Unix epoch.
    pub const fn as_millis(self) -> i64 {
        self.0
    }

    /// This moment and so much earlier; stops at the beginning of time.
    #[must_use]
    pub fn before(self, duration: Duration) -> Timestamp {
        Timestamp(self.0.saturating_sub(i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)))
    }

    /// This moment and so much later; stops at the end of time.
    #[must_use]
    pub fn after(self, duration: Duration) -> Timestamp {
        Timestamp(self.0.saturating_add(i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_millisecond(self.0) {
            Ok(moment) => write!(f, "{}", moment.to_zoned(TimeZone::UTC).strftime("%Y-%m-%dT%H:%M:%S+00:00")),
            Err(_) => write!(f, "{}", self.0.div_euclid(1000)),
        }
    }
}

impl FromStr for Timestamp {
    type Err = TimestampError;

    fn from_str(text: &str) -> Result<Timestamp, TimestampError> {
        if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
            return Timestamp::from_seconds(text.parse().map_err(|_| TimestampError)?);
        }
        let moment: jiff::Timestamp = text.parse().map_err(|_| TimestampError)?;
        Ok(Timestamp(moment.as_millisecond()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_read_with_any_offset_and_written_in_utc() {
        for text in ["2030-11-11T10:24:00+08:00", "2030-11-11T02:24:00Z", "1920594240"] {
            let moment: Timestamp = text.parse().expect("a moment");
            assert_eq!(moment.to_string(), "2030-11-11T02:24:00+00:00", "{text}");
        }
    }

    #[test]
    fn what_is_no_moment_is_refused() {
        for text in [
            "",
            "soon",
            "2030-13-01T00:00:00Z",
            "2030-11-11T10:24:00",
            "-5",
            "253402214401",
            "99999999999999999999",
        ] {
            assert_eq!(text.parse::<Timestamp>(), Err(TimestampError), "{text}");
        }
    }

    #[test]
    fn time_does_not_overflow() {
        assert_eq!(Timestamp::from_millis(i64::MAX).after(Duration::MAX), Timestamp::from_millis(i64::MAX));
        assert_eq!(Timestamp::from_millis(i64::MAX).to_string(), (i64::MAX / 1000).to_string());
    }
}
