//! Numbers, short enough for a table.

use std::time::Duration;

/// `1,234`, `12.3 M`.
pub(super) fn count(count: u64) -> String {
    if count >= 100_000_000 {
        return scaled(count, &["", "k", "M", "G", "T"], "");
    }
    let digits = count.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `1.2 MB`.
pub(super) fn bytes(count: u64) -> String {
    scaled(count, &["", "k", "M", "G", "T"], "B")
}

fn scaled(count: u64, units: &[&str], what: &str) -> String {
    #[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
    let mut value = count as f64;
    let mut unit = "";
    for larger in units.iter().skip(1) {
        if value < 999.5 {
            break;
        }
        value /= 1000.0;
        unit = larger;
    }
    let places = usize::from(!unit.is_empty() && value < 99.95);
    format!("{value:.places$} {unit}{what}").trim_end().to_owned()
}

/// `12.3`, of something a second.
pub(super) fn rate(rate: f64) -> String {
    if rate < 99.95 {
        format!("{rate:.1}")
    } else {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is at least 99")]
        let whole = rate.round() as u64;
        count(whole)
    }
}

/// `3d 04:12:05`.
pub(super) fn time(time: Duration) -> String {
    let seconds = time.as_secs();
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    let days = if days > 0 { format!("{days}d ") } else { String::new() };
    format!("{days}{hours:02}:{minutes:02}:{:02}", seconds % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_stay_short() {
        assert_eq!([0, 999, 1000, 12_345_678].map(count), ["0", "999", "1,000", "12,345,678"]);
        assert_eq!(count(u64::MAX), "18446744 T");
        assert_eq!(
            [0, 999, 1_000, 123_456, 1_500_000].map(bytes),
            ["0 B", "999 B", "1.0 kB", "123 kB", "1.5 MB"]
        );
        assert_eq!([0.0, 12.34, 99.99, 1234.4].map(rate), ["0.0", "12.3", "100", "1,234"]);
        assert_eq!(time(Duration::from_secs(273_125)), "3d 03:52:05");
        assert_eq!(time(Duration::from_secs(59)), "00:00:59");
    }
}
