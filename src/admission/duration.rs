//! Durations as people write them in EMQX's files.

use std::time::Duration;

/// The longest duration that an option may have: a year and a day.
const MAX_DURATION: Duration = Duration::from_hours(8784);

/// Reads a duration: numbers with units, largest unit first or not, e.g. `1m`, `1h30m`, `1.5h`, `500ms`. Units are
/// `ms s m h d w` and `f` (a fortnight), in either case. A number without a unit is refused: EMQX takes it for
/// milliseconds, most people for seconds.
///
/// # Errors
/// What is wrong with it, to be read after the text.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let fault = || "is not a duration; expected e.g. \"500ms\", \"10s\", \"1h30m\" or \"1w\"".to_owned();
    let mut rest = text;
    let mut total = Duration::ZERO;
    while !rest.is_empty() {
        let (number, after) = split_where(rest, |byte| !byte.is_ascii_digit() && byte != b'.');
        let (unit, after) = split_where(after, |byte| !byte.is_ascii_alphabetic());
        rest = after;
        let seconds_in_unit = match unit.to_ascii_lowercase().as_str() {
            "ms" => 0.001,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            "d" => 86_400.0,
            "w" => 604_800.0,
            "f" => 1_209_600.0,
            _ => return Err(fault()),
        };
        let number: f64 = number.parse().map_err(|_| fault())?;
        let part = Duration::try_from_secs_f64(number * seconds_in_unit).map_err(|_| fault())?;
        total = total.saturating_add(part);
    }
    if text.is_empty() {
        return Err(fault());
    }
    if total > MAX_DURATION {
        return Err("is too long; expected at most \"366d\"".to_owned());
    }
    // What was written in fractions of a unit is meant in whole milliseconds.
    Ok(Duration::from_millis(
        u64::try_from((total + Duration::from_micros(500)).as_millis()).unwrap_or(u64::MAX),
    ))
}

fn split_where(text: &str, is_border: impl Fn(u8) -> bool) -> (&str, &str) {
    let border = text.bytes().position(is_border).unwrap_or(text.len());
    text.split_at_checked(border).unwrap_or((text, ""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_emqx_writes_them() {
        for (text, millis) in [
            ("500ms", 500),
            ("10s", 10_000),
            ("1m", 60_000),
            ("1h30m", 5_400_000),
            ("1.5h", 5_400_000),
            ("1H30M", 5_400_000),
            ("2d", 172_800_000),
            ("1w", 604_800_000),
            ("1f", 1_209_600_000),
            ("0s", 0),
            ("0.1s", 100),
            ("1m500ms", 60_500),
            ("366d", 31_622_400_000),
        ] {
            assert_eq!(parse_duration(text), Ok(Duration::from_millis(millis)), "{text}");
        }
    }

    #[test]
    fn what_is_no_duration_is_refused() {
        for text in [
            "",
            "10",
            "s",
            "1x",
            "1 m",
            "-1s",
            "1..5h",
            "m1",
            "1h30",
            "١s",
            "1é",
            "367d",
            "99999999999999999999d",
            ".",
        ] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
    }
}
