//! A ban: who, by whom, why, since when, until when.

use super::time::{Timestamp, TimestampError};
use super::who::Who;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

/// A ban. Its key in the list is `who`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ban {
    /// Whom it names.
    pub who: Who,
    /// All the rest.
    pub terms: Terms,
}

/// What a ban says besides whom it names. Texts are shared, since a thousand bans are often made for one reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Terms {
    /// Who made it.
    pub by: Arc<str>,
    /// Why; may be empty.
    pub reason: Arc<str>,
    /// When it was made. Informative: a ban holds from the moment it is in the list.
    pub at: Timestamp,
    /// When it ends.
    pub until: Until,
}

/// Where a ban stands between its end and its removal, as TBMQ shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Status {
    /// It holds.
    Active,
    /// It has ended.
    Expired,
    /// It has ended, and half of the time that it is kept after that is over.
    DeletingSoon,
}

impl Status {
    /// The status's name on the command line and in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Status::Active => "active",
            Status::Expired => "expired",
            Status::DeletingSoon => "deleting soon",
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Terms {
    /// Where the ban stands at `now`, when bans are kept for `ttl` after their end.
    pub fn status(&self, now: Timestamp, ttl: Duration) -> Status {
        match self.until {
            Until::Moment(end) if end.after(ttl / 2) <= now => Status::DeletingSoon,
            Until::Moment(end) if end <= now => Status::Expired,
            Until::Moment(_) | Until::Infinity => Status::Active,
        }
    }

    /// True while the ban holds: strictly before `until`.
    pub fn is_active(&self, now: Timestamp) -> bool {
        self.until.is_after(now)
    }
}

/// The end of a ban.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Until {
    /// It ends at this moment.
    Moment(Timestamp),
    /// It does not end.
    Infinity,
}

/// A text that is no end of a ban.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "is not an end; expected \"infinity\", RFC 3339, e.g. \"2030-01-01T00:00:00+00:00\", or epoch seconds"
)]
pub struct UntilError;

impl Until {
    /// True when the end is still to come at `now`.
    pub fn is_after(self, now: Timestamp) -> bool {
        match self {
            Until::Moment(end) => end > now,
            Until::Infinity => true,
        }
    }
}

impl fmt::Display for Until {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Until::Moment(end) => end.fmt(f),
            Until::Infinity => f.write_str("infinity"),
        }
    }
}

impl FromStr for Until {
    type Err = UntilError;

    fn from_str(text: &str) -> Result<Until, UntilError> {
        if text == "infinity" {
            return Ok(Until::Infinity);
        }
        text.parse().map(Until::Moment).map_err(|TimestampError| UntilError)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ban_holds_strictly_before_its_end() {
        let until = Until::Moment(Timestamp::from_millis(1000));
        assert!(until.is_after(Timestamp::from_millis(999)));
        assert!(!until.is_after(Timestamp::from_millis(1000)));
        assert!(Until::Infinity.is_after(Timestamp::from_millis(i64::MAX)));
    }

    #[test]
    fn a_ban_that_has_ended_is_expired_and_then_about_to_go() {
        let at = Timestamp::from_millis;
        let terms = Terms { by: "".into(), reason: "".into(), at: at(0), until: Until::Moment(at(1000)) };
        let status = |now| terms.status(at(now), Duration::from_millis(100));
        assert_eq!(
            [999, 1000, 1049, 1050].map(status),
            [Status::Active, Status::Expired, Status::Expired, Status::DeletingSoon]
        );
        // Where nothing is kept, a ban goes from active to about to go.
        assert_eq!(terms.status(at(1000), Duration::ZERO), Status::DeletingSoon);
    }

    #[test]
    fn ends_are_read_and_written_alike() {
        for text in ["infinity", "2030-01-01T00:00:00+00:00"] {
            assert_eq!(text.parse::<Until>().map(|until| until.to_string()), Ok(text.to_owned()));
        }
        assert_eq!("never".parse::<Until>(), Err(UntilError));
    }
}
