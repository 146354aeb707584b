//! The JA4 fingerprint of a TLS client: what it offers, in 36 characters. Whoever changes name and address rarely
//! changes the TLS library.
//!
//! As in "JA4: TLS Client Fingerprinting" by FoxIO (`technical_details/JA4.md` of github.com/FoxIO-LLC/ja4), which is
//! free to use under BSD-3. Only JA4 itself is: the other methods of the family have another licence.

use super::hello::{ALPN, Hello, SERVER_NAME};
use super::is_grease;
use aws_lc_rs::digest::{SHA256, digest};
use std::fmt::{self, Write};

/// A fingerprint, e.g. `t13d1516h2_8daaf6152771_e5627efa2ab1`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Ja4([u8; 36]);

impl Ja4 {
    /// The fingerprint as everybody writes it.
    pub fn as_str(&self) -> &str {
        // It was made of ASCII.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl fmt::Display for Ja4 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Ja4 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Hello<'_> {
    /// The fingerprint of whoever sent it, over TCP.
    pub fn ja4(&self) -> Ja4 {
        let mut ciphers: Vec<u16> = self.ciphers().filter(|cipher| !is_grease(*cipher)).collect();
        let mut extensions: Vec<u16> =
            self.extensions().map(|(number, _)| number).filter(|number| !is_grease(*number)).collect();
        let (first, last) = self.alpn().next().map_or(('0', '0'), ends);
        let mut text = String::with_capacity(64);
        // Writing to a String does not fail.
        let _ = write!(
            text,
            "t{}{}{:02}{:02}{first}{last}",
            version(self.newest_version()),
            if extensions.contains(&SERVER_NAME) { 'd' } else { 'i' },
            ciphers.len().min(99),
            extensions.len().min(99),
        );
        ciphers.sort_unstable();
        text.push('_');
        push_hash(&mut text, &hex_list(&ciphers));
        extensions.retain(|number| !matches!(*number, SERVER_NAME | ALPN));
        extensions.sort_unstable();
        let mut told = hex_list(&extensions);
        let algorithms: Vec<u16> = self.signature_algorithms().filter(|number| !is_grease(*number)).collect();
        if !told.is_empty() && !algorithms.is_empty() {
            told.push('_');
            told.push_str(&hex_list(&algorithms));
        }
        text.push('_');
        push_hash(&mut text, &told);
        Ja4(std::array::from_fn(|index| text.as_bytes().get(index).copied().unwrap_or(b'0')))
    }
}

/// "TLS and DTLS Version": the highest that the client says it speaks.
fn version(newest: Option<u16>) -> &'static str {
    match newest {
        Some(0x0304) => "13",
        Some(0x0303) => "12",
        Some(0x0302) => "11",
        Some(0x0301) => "10",
        Some(0x0300) => "s3",
        Some(0x0002) => "s2",
        _ => "00",
    }
}

/// "ALPN Extension Value": the first and the last character, of the name itself or else of its bytes in hexadecimal.
fn ends(name: &[u8]) -> (char, char) {
    let (Some(&first), Some(&last)) = (name.first(), name.last()) else { return ('0', '0') };
    if first.is_ascii_alphanumeric() && last.is_ascii_alphanumeric() {
        return (first.into(), last.into());
    }
    let digit = |half: u8| char::from_digit(half.into(), 16).unwrap_or('0');
    (digit(first >> 4), digit(last & 0x0F))
}

fn hex_list(numbers: &[u16]) -> String {
    let mut list = String::with_capacity(numbers.len() * 5);
    for number in numbers {
        let comma = if list.is_empty() { "" } else { "," };
        let _ = write!(list, "{comma}{number:04x}");
    }
    list
}

/// Appends the first 12 digits of the SHA-256 of a list, and zeros for an empty one.
fn push_hash(text: &mut String, list: &str) {
    if list.is_empty() {
        text.push_str("000000000000");
        return;
    }
    for byte in digest(&SHA256, list.as_bytes()).as_ref().iter().take(6) {
        let _ = write!(text, "{byte:02x}");
    }
}

#[cfg(test)]
mod tests {
    use super::super::hello::tests::{Draft, list16, piece16};
    use super::*;

    /// The example of the specification: its cipher suites, extensions and signature algorithms, in the order of
    /// JA4_ro.
    fn example() -> Draft {
        let ciphers = [
            0x1301, 0x1302, 0x1303, 0xC02B, 0xC02F, 0xC02C, 0xC030, 0xCCA9, 0xCCA8, 0xC013, 0xC014, 0x009C,
            0x009D, 0x002F, 0x0035,
        ];
        let extensions = [
            0x001B, 0x0000, 0x0033, 0x0010, 0x4469, 0x0017, 0x002D, 0x000D, 0x0005, 0x0023, 0x0012, 0x002B,
            0xFF01, 0x000B, 0x000A, 0x0015,
        ];
        let content = |number| match number {
            0x0010 => piece16(b"\x02h2\x08http/1.1"),
            0x000D => list16(&[0x0403, 0x0804, 0x0401, 0x0503, 0x0805, 0x0501, 0x0806, 0x0601]),
            0x002B => vec![4, 0x03, 0x04, 0x03, 0x03],
            _ => Vec::new(),
        };
        Draft {
            version: 0x0303,
            ciphers: ciphers.to_vec(),
            extensions: extensions.map(|number| (number, content(number))).to_vec(),
        }
    }

    fn ja4(draft: &Draft) -> String {
        let message = draft.message();
        Hello::parse(&message).expect("whole").ja4().to_string()
    }

    /// The part before the first underscore.
    fn part_a(draft: &Draft) -> String {
        ja4(draft)[..10].to_owned()
    }

    #[test]
    fn the_example_of_the_specification_has_its_fingerprint() {
        assert_eq!(ja4(&example()), "t13d1516h2_8daaf6152771_e5627efa2ab1");
    }

    #[test]
    fn without_signature_algorithms_the_list_of_extensions_stands_alone() {
        let mut draft = example();
        draft.extensions[7].1.clear();
        assert_eq!(ja4(&draft), "t13d1516h2_8daaf6152771_6d807ffa2a79");
    }

    #[test]
    fn made_up_numbers_change_nothing() {
        let mut draft = example();
        draft.ciphers.insert(0, 0x3A3A);
        draft.extensions.insert(0, (0xBABA, vec![0]));
        draft.extensions.push((0x0A0A, Vec::new()));
        draft.extensions[12].1 = vec![6, 0xFA, 0xFA, 0x03, 0x04, 0x03, 0x03];
        draft.extensions[8].1 =
            list16(&[0x1A1A, 0x0403, 0x0804, 0x0401, 0x0503, 0x0805, 0x0501, 0x0806, 0x0601, 0x2A2A]);
        assert_eq!(ja4(&draft), ja4(&example()));
    }

    #[test]
    fn the_order_of_ciphers_and_extensions_changes_nothing() {
        let mut draft = example();
        draft.ciphers.reverse();
        draft.extensions.reverse();
        assert_eq!(ja4(&draft), ja4(&example()));
    }

    /// The vectors of "ALPN Extension Value".
    #[test]
    fn the_ends_of_the_first_protocol_are_told() {
        for (name, told) in [
            (&b"h2"[..], "h2"),
            (b"http/1.1", "h1"),
            (b"mqtt", "mt"),
            (b"x", "xx"),
            (b"\xab", "ab"),
            (b"\xab\xcd", "ad"),
            (b"\x30\xab", "3b"),
            (b"\x30\x31\xab\xcd", "3d"),
            (b"\x30\xab\xcd\x31", "01"),
            (b"", "00"),
        ] {
            let mut draft = example();
            let length = u8::try_from(name.len()).expect("short");
            draft.extensions[3].1 = piece16(&[&[length][..], name].concat());
            assert_eq!(part_a(&draft), format!("t13d1516{told}"));
        }
        let mut draft = example();
        draft.extensions[3].1.clear();
        assert_eq!(part_a(&draft), "t13d151600");
        draft.extensions.remove(3);
        assert_eq!(part_a(&draft), "t13d151500");
    }

    #[test]
    fn the_version_is_the_highest_that_is_offered() {
        for (version, told) in [
            (0x0304, "13"),
            (0x0303, "12"),
            (0x0302, "11"),
            (0x0301, "10"),
            (0x0300, "s3"),
            (0x0002, "s2"),
            (0x9999, "00"),
        ] {
            let mut draft = example();
            draft.extensions.remove(11);
            draft.version = version;
            assert_eq!(part_a(&draft), format!("t{told}d1515h2"));
        }
        let mut draft = example();
        draft.extensions[11].1.clear();
        assert_eq!(part_a(&draft), "t00d1516h2");
    }

    #[test]
    fn who_offers_nothing_has_zeros_and_who_offers_too_much_is_not_counted_to_the_end() {
        let nobody = Draft { version: 0x0303, ciphers: Vec::new(), extensions: Vec::new() };
        assert_eq!(ja4(&nobody), "t12i000000_000000000000_000000000000");
        let only_named = Draft { extensions: vec![(0, Vec::new()), (0x10, Vec::new())], ..nobody.clone() };
        assert_eq!(ja4(&only_named), "t12d000200_000000000000_000000000000");
        let many = (1..=150).collect::<Vec<u16>>();
        let extensions = many.iter().map(|number| (number + 0x100, Vec::new())).collect();
        assert_eq!(part_a(&Draft { version: 0x0303, ciphers: many, extensions }), "t12i999900");
    }
}
