//! Durations and sizes as people write them in EMQX's files.

pub use crate::admission::parse_duration as duration;

/// Reads a size in bytes: a number with an optional unit `B`, `KB`, `MB` or `GB` (of 1024), in either case.
pub(super) fn size(text: &str) -> Result<u64, String> {
    let fault = || "is not a size; expected e.g. 65536, \"64KB\" or \"1MB\"".to_owned();
    let (number, unit) = split_where(text, |byte| !byte.is_ascii_digit());
    let unit: u64 = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "kb" => 1 << 10,
        "mb" => 1 << 20,
        "gb" => 1 << 30,
        _ => return Err(fault()),
    };
    number.parse().ok().and_then(|number: u64| number.checked_mul(unit)).ok_or_else(fault)
}

fn split_where(text: &str, is_border: impl Fn(u8) -> bool) -> (&str, &str) {
    let border = text.bytes().position(is_border).unwrap_or(text.len());
    text.split_at_checked(border).unwrap_or((text, ""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read() {
        for (text, bytes) in
            [("0", 0), ("65536", 65_536), ("64KB", 65_536), ("1mb", 1 << 20), ("1GB", 1 << 30), ("7B", 7)]
        {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }
        for text in ["", "KB", "1.5KB", "-1", "1 KB", "64K", "99999999999GB", "1é"] {
            assert!(size(text).is_err(), "{text}");
        }
    }
}
