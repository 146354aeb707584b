//! A cursor over a packet's body that can only fail by naming the field that is wrong.

use std::fmt;

/// A part of a packet, named in errors as the specification names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Field {
    /// Variable header: the protocol name and level.
    Protocol,
    /// Variable header: the connect flags.
    ConnectFlags,
    /// Variable header: the keep alive.
    KeepAlive,
    /// Variable header: the CONNECT properties (MQTT 5).
    Properties,
    /// Payload: the client identifier.
    ClientId,
    /// Payload: the will properties (MQTT 5).
    WillProperties,
    /// Payload: the will topic.
    WillTopic,
    /// Payload: the will message.
    WillMessage,
    /// Payload: the user name.
    Username,
    /// Payload: the password.
    Password,
    /// Variable header of a CONNACK: flags and reason code.
    Connack,
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Field::Protocol => "protocol name and level",
            Field::ConnectFlags => "connect flags",
            Field::KeepAlive => "keep alive",
            Field::Properties => "properties",
            Field::ClientId => "client identifier",
            Field::WillProperties => "will properties",
            Field::WillTopic => "will topic",
            Field::WillMessage => "will message",
            Field::Username => "user name",
            Field::Password => "password",
            Field::Connack => "acknowledge flags and reason code",
        })
    }
}

/// Why a field could not be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flaw {
    /// The packet ends inside it.
    Truncated,
    /// Its bytes are not well-formed UTF-8 (overlong forms and surrogates included).
    IllFormedUtf8,
    /// It holds U+0000.
    Nul,
    /// A variable byte integer runs on past its fourth byte, or is padded.
    VarInt,
}

/// Reads the fields of one packet in order. Never reads past the slice that it was given.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cursor<'a> {
    rest: &'a [u8],
}

impl<'a> Cursor<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Cursor { rest: bytes }
    }

    pub(super) fn len(&self) -> usize {
        self.rest.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    pub(super) fn take(&mut self, count: usize) -> Result<&'a [u8], Flaw> {
        let (taken, rest) = self.rest.split_at_checked(count).ok_or(Flaw::Truncated)?;
        self.rest = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Flaw> {
        let (taken, rest) = self.rest.split_first_chunk::<N>().ok_or(Flaw::Truncated)?;
        self.rest = rest;
        Ok(*taken)
    }

    pub(super) fn u8(&mut self) -> Result<u8, Flaw> {
        self.array::<1>().map(|[byte]| byte)
    }

    pub(super) fn u16(&mut self) -> Result<u16, Flaw> {
        self.array().map(u16::from_be_bytes)
    }

    pub(super) fn u32(&mut self) -> Result<u32, Flaw> {
        self.array().map(u32::from_be_bytes)
    }

    /// A two-byte length and that many bytes.
    pub(super) fn binary(&mut self) -> Result<&'a [u8], Flaw> {
        let length = self.u16()?;
        self.take(usize::from(length))
    }

    /// A UTF-8 encoded string. Ill-formed UTF-8 and U+0000 are refused \[MQTT-1.5.4-1\] \[MQTT-1.5.4-2\]; a byte order
    /// mark is kept as it came \[MQTT-1.5.4-3\].
    pub(super) fn text(&mut self) -> Result<&'a str, Flaw> {
        let text = std::str::from_utf8(self.binary()?).map_err(|_| Flaw::IllFormedUtf8)?;
        if text.as_bytes().contains(&0) { Err(Flaw::Nul) } else { Ok(text) }
    }

    /// A variable byte integer in its shortest form. \[MQTT-1.5.5-1\]
    pub(super) fn var_int(&mut self) -> Result<u32, Flaw> {
        match decode_var_int(self.rest) {
            VarInt::Value { value, width, minimal: true } => {
                self.take(width)?;
                Ok(value)
            }
            VarInt::Partial => Err(Flaw::Truncated),
            VarInt::Value { minimal: false, .. } | VarInt::Overlong => Err(Flaw::VarInt),
        }
    }
}

/// What the start of a slice says as a variable byte integer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum VarInt {
    Value { value: u32, width: usize, minimal: bool },
    Partial,
    Overlong,
}

/// Decodes the variable byte integer at the start of `bytes` (one to four bytes, seven bits each, lowest first).
pub(super) fn decode_var_int(bytes: &[u8]) -> VarInt {
    let mut value = 0;
    for (index, &byte) in bytes.iter().take(4).enumerate() {
        value |= u32::from(byte & 0x7F) << (7 * index);
        if byte & 0x80 == 0 {
            return VarInt::Value { value, width: index + 1, minimal: index == 0 || byte != 0 };
        }
    }
    if bytes.len() < 4 { VarInt::Partial } else { VarInt::Overlong }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variable_byte_integers_decode_at_every_border() {
        let value = |value, width| VarInt::Value { value, width, minimal: true };
        assert_eq!(decode_var_int(&[0x00]), value(0, 1));
        assert_eq!(decode_var_int(&[0x7F]), value(127, 1));
        assert_eq!(decode_var_int(&[0x80, 0x01]), value(128, 2));
        assert_eq!(decode_var_int(&[0xFF, 0x7F]), value(16_383, 2));
        assert_eq!(decode_var_int(&[0x80, 0x80, 0x01]), value(16_384, 3));
        assert_eq!(decode_var_int(&[0xFF, 0xFF, 0x7F]), value(2_097_151, 3));
        assert_eq!(decode_var_int(&[0x80, 0x80, 0x80, 0x01]), value(2_097_152, 4));
        assert_eq!(
            decode_var_int(&[0xFF, 0xFF, 0xFF, 0x7F]),
            value(crate::wire::mqtt::MAX_REMAINING_LENGTH, 4)
        );
    }

    #[test]
    fn variable_byte_integers_that_are_cut_padded_or_overlong_are_told_apart() {
        assert_eq!(decode_var_int(&[]), VarInt::Partial);
        assert_eq!(decode_var_int(&[0xFF, 0xFF, 0xFF]), VarInt::Partial);
        assert_eq!(decode_var_int(&[0x80, 0x00]), VarInt::Value { value: 0, width: 2, minimal: false });
        assert_eq!(decode_var_int(&[0xFF, 0xFF, 0xFF, 0xFF, 0x01]), VarInt::Overlong);
        assert_eq!(decode_var_int(&[0x80, 0x80, 0x80, 0x80]), VarInt::Overlong);
    }

    #[test]
    fn text_keeps_a_byte_order_mark() {
        let mut cursor = Cursor::new(b"\x00\x04\xEF\xBB\xBFa");
        assert_eq!(cursor.text(), Ok("\u{FEFF}a"));
        assert!(cursor.is_empty());
    }
}
