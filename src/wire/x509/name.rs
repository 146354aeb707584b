//! Distinguished names. \[RFC 5280, section 4.1.2.4; RFC 4514\]

use super::der::{Der, Tag};
use std::fmt::{self, Write};

/// A name: sets of attributes, the most general first.
#[derive(Debug)]
pub(super) struct Name<'a>(Vec<Vec<Attribute<'a>>>);

#[derive(Debug)]
struct Attribute<'a> {
    kind: &'a [u8],
    tag: Tag,
    value: &'a [u8],
}

/// The attributes that have a short name. \[RFC 4514, section 3\]
const SHORT_NAMES: [(&[u8], &str); 9] = [
    (COMMON_NAME, "CN"),
    (&[0x55, 0x04, 0x07], "L"),
    (&[0x55, 0x04, 0x08], "ST"),
    (&[0x55, 0x04, 0x0A], "O"),
    (&[0x55, 0x04, 0x0B], "OU"),
    (&[0x55, 0x04, 0x06], "C"),
    (&[0x55, 0x04, 0x09], "STREET"),
    (&[0x09, 0x92, 0x26, 0x89, 0x93, 0xF2, 0x2C, 0x64, 0x01, 0x19], "DC"),
    (&[0x09, 0x92, 0x26, 0x89, 0x93, 0xF2, 0x2C, 0x64, 0x01, 0x01], "UID"),
];
const COMMON_NAME: &[u8] = &[0x55, 0x04, 0x03];

pub(super) fn read(sequence: &[u8]) -> Option<Name<'_>> {
    let (mut sets, mut rest) = (Vec::new(), Der::new(sequence));
    while let Some((tag, set)) = rest.next() {
        let (mut attributes, mut set) = (Vec::new(), Der::new(set));
        while let Some((Tag::SEQUENCE, attribute)) = set.next() {
            let mut attribute = Der::new(attribute);
            let kind = attribute.expect(Tag::OBJECT_IDENTIFIER)?;
            let (tag, value) = attribute.next()?;
            attributes.push(Attribute { kind, tag, value });
        }
        if tag != Tag::SET {
            return None;
        }
        sets.push(attributes);
    }
    Some(Name(sets))
}

impl Name<'_> {
    /// The first common name, as mosquitto and OpenSSL take it.
    pub(super) fn common_name(&self) -> Option<String> {
        let found = self.0.iter().flatten().find(|attribute| attribute.kind == COMMON_NAME)?;
        found.text().filter(|name| !name.is_empty())
    }
}

impl Attribute<'_> {
    /// The value, where it is a text. \[RFC 5280, section 4.1.2.4\]
    fn text(&self) -> Option<String> {
        match self.tag.0 {
            // UTF8String, NumericString, PrintableString, IA5String
            0x0C | 0x12 | 0x13 | 0x16 => str::from_utf8(self.value).ok().map(str::to_owned),
            // TeletexString, which everybody has filled with Latin-1.
            0x14 => Some(self.value.iter().copied().map(char::from).collect()),
            // BMPString
            0x1E => {
                let (units, []) = self.value.as_chunks() else { return None };
                char::decode_utf16(units.iter().map(|unit| u16::from_be_bytes(*unit)))
                    .collect::<Result<_, _>>()
                    .ok()
            }
            _ => None,
        }
    }
}

/// The most special first, as RFC 4514 writes names, and EMQX with it.
impl fmt::Display for Name<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, set) in self.0.iter().rev().enumerate() {
            f.write_str(if index == 0 { "" } else { "," })?;
            for (index, attribute) in set.iter().enumerate() {
                f.write_str(if index == 0 { "" } else { "+" })?;
                attribute.fmt(f)?;
            }
        }
        Ok(())
    }
}

impl fmt::Display for Attribute<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let short = SHORT_NAMES.into_iter().find(|(kind, _)| *kind == self.kind);
        if let (Some((_, name)), Some(text)) = (short, self.text()) {
            f.write_str(name)?;
            f.write_char('=')?;
            return escape(&text, f);
        }
        match short {
            Some((_, name)) => f.write_str(name)?,
            None => write_numbers(self.kind, f)?,
        }
        // "the AttributeValue is encoded as an octothorpe character followed by the hexadecimal" of its BER
        write!(f, "=#{:02x}", self.tag.0)?;
        match self.value.len() {
            length @ ..0x80 => write!(f, "{length:02x}")?,
            length @ ..0x100 => write!(f, "81{length:02x}")?,
            length => write!(f, "82{length:04x}")?,
        }
        self.value.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// An object identifier in numbers. \[X.690, section 8.19\]
fn write_numbers(identifier: &[u8], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let (mut number, mut is_first) = (0_u64, true);
    for byte in identifier {
        number = number.wrapping_shl(7) | u64::from(byte & 0x7F);
        if byte & 0x80 != 0 {
            continue;
        }
        if is_first {
            let top = (number / 40).min(2);
            write!(f, "{top}.{}", number - top * 40)?;
        } else {
            write!(f, ".{number}")?;
        }
        (number, is_first) = (0, false);
    }
    Ok(())
}

/// \[RFC 4514, section 2.4\]
fn escape(text: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let last = text.chars().count().saturating_sub(1);
    for (index, character) in text.chars().enumerate() {
        match character {
            '\0' => f.write_str("\\00")?,
            '"' | '+' | ',' | ';' | '<' | '>' | '\\' => write!(f, "\\{character}")?,
            ' ' | '#' if index == 0 => write!(f, "\\{character}")?,
            ' ' if index == last => f.write_str("\\ ")?,
            _ => f.write_char(character)?,
        }
    }
    Ok(())
}
