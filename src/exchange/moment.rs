//! Moments and ends of bans as text, to the millisecond, so that they are read back as what they were.

use crate::admission::{Timestamp, Until};
use jiff::tz::Offset;

/// RFC 3339 in UTC, with milliseconds where there are any. `None` for moments that cannot be read back: before the year
/// 0, or after 9999.
pub(super) fn moment(at: Timestamp) -> Option<String> {
    let Ok(moment) = jiff::Timestamp::from_millisecond(at.as_millis()) else {
        // The last hours of the year 9999.
        let seconds = at.as_millis() / 1000;
        return (Timestamp::from_seconds(seconds) == Ok(at)).then(|| seconds.to_string());
    };
    let time = Offset::UTC.to_datetime(moment);
    let year = u16::try_from(time.year()).ok()?;
    let (month, day, hour, minute, second) =
        (time.month(), time.day(), time.hour(), time.minute(), time.second());
    let date = format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}");
    Some(match time.millisecond() {
        0 => date + "+00:00",
        millis => format!("{date}.{millis:03}+00:00"),
    })
}

/// The same, or `infinity`.
pub(super) fn end(until: Until) -> Option<String> {
    match until {
        Until::Moment(at) => moment(at),
        Until::Infinity => Some("infinity".to_owned()),
    }
}

/// Why [`moment`] and [`end`] have no text.
pub(super) const NO_MOMENT: &str = "a moment is outside of the years 0 to 9999";

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn moments_keep_their_milliseconds() {
        for (millis, text) in [
            (0, "1970-01-01T00:00:00+00:00"),
            (-1, "1969-12-31T23:59:59.999+00:00"),
            (1_920_594_240_007, "2030-11-11T02:24:00.007+00:00"),
            (253_402_214_400_000, "253402214400"),
        ] {
            assert_eq!(moment(Timestamp::from_millis(millis)).as_deref(), Some(text));
        }
        for millis in [i64::MIN, i64::MAX, 253_402_214_400_001, -62_167_219_200_001] {
            assert_eq!(moment(Timestamp::from_millis(millis)), None, "{millis}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(millis in prop_oneof![
            any::<i64>(), -62_167_219_200_000_i64..253_402_300_800_000, 253_402_207_000_000..253_402_300_800_000_i64
        ]) {
            let at = Timestamp::from_millis(millis);
            if let Some(text) = moment(at) {
                prop_assert_eq!(text.parse(), Ok(at), "{}", text);
            }
        }
    }
}
