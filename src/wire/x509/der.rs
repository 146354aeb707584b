//! The little of DER that certificates are made of. \[X.690, section 8 and 10\]

/// What kind of value follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Tag(pub(super) u8);

impl Tag {
    pub(super) const BOOLEAN: Tag = Tag(0x01);
    pub(super) const INTEGER: Tag = Tag(0x02);
    pub(super) const OCTET_STRING: Tag = Tag(0x04);
    pub(super) const OBJECT_IDENTIFIER: Tag = Tag(0x06);
    const UTC_TIME: Tag = Tag(0x17);
    const GENERALIZED_TIME: Tag = Tag(0x18);
    pub(super) const SEQUENCE: Tag = Tag(0x30);
    pub(super) const SET: Tag = Tag(0x31);
    pub(super) const CONTEXT_0: Tag = Tag(0xA0);
    pub(super) const CONTEXT_1: Tag = Tag(0x81);
    pub(super) const CONTEXT_2: Tag = Tag(0x82);
    pub(super) const CONTEXT_3: Tag = Tag(0xA3);
    /// A `dNSName` among the alternative names.
    pub(super) const DNS_NAME: Tag = Tag(0x82);
}

/// Reads values in order. Whatever does not fit ends it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Der<'a>(&'a [u8]);

impl<'a> Der<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Der<'a> {
        Der(bytes)
    }

    /// The next value and its kind.
    pub(super) fn next(&mut self) -> Option<(Tag, &'a [u8])> {
        let (&[tag, length], rest) = self.0.split_first_chunk()?;
        let (length, rest) = match length {
            0..=0x7F => (usize::from(length), rest),
            0x81 => {
                let (&[length], rest) = rest.split_first_chunk()?;
                (usize::from(length), rest)
            }
            0x82 => {
                let (length, rest) = rest.split_first_chunk()?;
                (usize::from(u16::from_be_bytes(*length)), rest)
            }
            // TLS has no room for a certificate with more than 24 bits of length.
            0x83 => {
                let (&[high, middle, low], rest) = rest.split_first_chunk()?;
                (usize::try_from(u32::from_be_bytes([0, high, middle, low])).ok()?, rest)
            }
            _ => return None,
        };
        let (value, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        Some((Tag(tag), value))
    }

    /// The next value, which must be of this kind.
    pub(super) fn expect(&mut self, tag: Tag) -> Option<&'a [u8]> {
        self.next().filter(|(found, _)| *found == tag).map(|(_, value)| value)
    }

    /// Passes over the next value where it is of this kind.
    pub(super) fn skip_if(&mut self, tag: Tag) {
        let mut after = *self;
        if after.expect(tag).is_some() {
            *self = after;
        }
    }

    /// A moment, in seconds since 1970. \[RFC 5280, section 4.1.2.5\]
    pub(super) fn time(&mut self) -> Option<i64> {
        let (tag, text) = self.next()?;
        let digits = str::from_utf8(text).ok()?.strip_suffix('Z')?;
        let (year, rest) = match tag {
            Tag::UTC_TIME => {
                let year = number(digits, 0, 2)?;
                (if year < 50 { 2000 + year } else { 1900 + year }, digits.get(2..)?)
            }
            Tag::GENERALIZED_TIME => (number(digits, 0, 4)?, digits.get(4..)?),
            _ => return None,
        };
        let part = |index: usize| number(rest, 2 * index, 2);
        let (month, day, hour, minute, second) = (part(0)?, part(1)?, part(2)?, part(3)?, part(4)?);
        let fits = rest.len() == 10
            && (1..=12).contains(&month)
            && (1..=31).contains(&day)
            && hour < 24
            && minute < 60
            && second < 61;
        fits.then(|| days(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second)
    }
}

fn number(text: &str, from: usize, count: usize) -> Option<i64> {
    let digits = text.get(from..from + count)?;
    digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())?
}

/// Days from 1970-01-01 to this day of the Gregorian calendar. The year is taken to begin in March, so that the day
/// that some years have more is its last.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let leap_days = year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    year * 365 + leap_days + (month * 153 + 2) / 5 + day - 1 - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    fn time(tag: u8, text: &str) -> Option<i64> {
        let length = u8::try_from(text.len()).expect("short");
        Der::new(&[&[tag, length][..], text.as_bytes()].concat()).time()
    }

    #[test]
    fn both_kinds_of_time_are_read() {
        assert_eq!(time(0x17, "700101000000Z"), Some(0));
        assert_eq!(time(0x17, "491231235959Z"), Some(2_524_607_999));
        assert_eq!(time(0x17, "500101000000Z"), Some(-631_152_000));
        assert_eq!(time(0x18, "20240229123456Z"), Some(1_709_210_096));
        assert_eq!(time(0x18, "99991231235959Z"), Some(253_402_300_799));
        for bad in [
            "",
            "Z",
            "7001010000Z",
            "701301000000Z",
            "700132000000Z",
            "700101240000Z",
            "70010100000aZ",
            "700101000000",
        ] {
            assert_eq!(time(0x17, bad), None, "{bad}");
        }
    }

    #[test]
    fn lengths_of_every_size_are_read_and_none_reads_on() {
        for length in [0_usize, 0x7F, 0x80, 0xFF, 0x100, 0xFFFF, 0x10000] {
            let bytes = length.to_be_bytes();
            let head = match length {
                0..=0x7F => vec![4, bytes[7]],
                0x80..=0xFF => vec![4, 0x81, bytes[7]],
                0x100..=0xFFFF => [&[4, 0x82], &bytes[6..]].concat(),
                _ => [&[4, 0x83], &bytes[5..]].concat(),
            };
            let whole = [&head[..], &vec![9; length]].concat();
            assert_eq!(Der::new(&whole).expect(Tag::OCTET_STRING).map(<[u8]>::len), Some(length));
            assert_eq!(Der::new(&whole[..whole.len() - 1]).next(), None);
        }
        assert_eq!(Der::new(&[4, 0x80, 0, 0]).next(), None);
    }
}
