//! MQTT 5 properties: every identifier of section 2.2.2.2, read in place and checked once.

use super::connect::Violation;
use super::cursor::{Cursor, Field, Flaw};
use std::fmt;

/// A property identifier of MQTT 5, section 2.2.2.2. All are below 64.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct PropertyId(pub u8);

#[expect(missing_docs, reason = "the names are those of the specification")]
impl PropertyId {
    pub const PAYLOAD_FORMAT_INDICATOR: PropertyId = PropertyId(1);
    pub const MESSAGE_EXPIRY_INTERVAL: PropertyId = PropertyId(2);
    pub const CONTENT_TYPE: PropertyId = PropertyId(3);
    pub const RESPONSE_TOPIC: PropertyId = PropertyId(8);
    pub const CORRELATION_DATA: PropertyId = PropertyId(9);
    pub const SUBSCRIPTION_IDENTIFIER: PropertyId = PropertyId(11);
    pub const SESSION_EXPIRY_INTERVAL: PropertyId = PropertyId(17);
    pub const ASSIGNED_CLIENT_IDENTIFIER: PropertyId = PropertyId(18);
    pub const SERVER_KEEP_ALIVE: PropertyId = PropertyId(19);
    pub const AUTHENTICATION_METHOD: PropertyId = PropertyId(21);
    pub const AUTHENTICATION_DATA: PropertyId = PropertyId(22);
    pub const REQUEST_PROBLEM_INFORMATION: PropertyId = PropertyId(23);
    pub const WILL_DELAY_INTERVAL: PropertyId = PropertyId(24);
    pub const REQUEST_RESPONSE_INFORMATION: PropertyId = PropertyId(25);
    pub const RESPONSE_INFORMATION: PropertyId = PropertyId(26);
    pub const SERVER_REFERENCE: PropertyId = PropertyId(28);
    pub const REASON_STRING: PropertyId = PropertyId(31);
    pub const RECEIVE_MAXIMUM: PropertyId = PropertyId(33);
    pub const TOPIC_ALIAS_MAXIMUM: PropertyId = PropertyId(34);
    pub const TOPIC_ALIAS: PropertyId = PropertyId(35);
    pub const MAXIMUM_QOS: PropertyId = PropertyId(36);
    pub const RETAIN_AVAILABLE: PropertyId = PropertyId(37);
    pub const USER_PROPERTY: PropertyId = PropertyId(38);
    pub const MAXIMUM_PACKET_SIZE: PropertyId = PropertyId(39);
    pub const WILDCARD_SUBSCRIPTION_AVAILABLE: PropertyId = PropertyId(40);
    pub const SUBSCRIPTION_IDENTIFIER_AVAILABLE: PropertyId = PropertyId(41);
    pub const SHARED_SUBSCRIPTION_AVAILABLE: PropertyId = PropertyId(42);

    const fn bit(self) -> u64 {
        if self.0 < 64 { 1 << self.0 } else { 0 }
    }
}

impl fmt::Debug for PropertyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#04x}", self.0)
    }
}

/// A property's value, borrowed from the packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Value<'a> {
    /// One byte.
    Byte(u8),
    /// Two bytes, big-endian.
    TwoBytes(u16),
    /// Four bytes, big-endian.
    FourBytes(u32),
    /// A variable byte integer.
    VarInt(u32),
    /// A UTF-8 encoded string.
    Text(&'a str),
    /// A UTF-8 string pair: name and value.
    Pair(&'a str, &'a str),
    /// Binary data.
    Binary(&'a [u8]),
}

impl<'a> Value<'a> {
    /// Reads the value that `id` has by the table of section 2.2.2.2; `None` for an identifier that is not in it.
    fn read(id: PropertyId, cursor: &mut Cursor<'a>) -> Result<Option<Value<'a>>, Flaw> {
        Ok(Some(match id.0 {
            1 | 23 | 25 | 36 | 37 | 40 | 41 | 42 => Value::Byte(cursor.u8()?),
            19 | 33 | 34 | 35 => Value::TwoBytes(cursor.u16()?),
            2 | 17 | 24 | 39 => Value::FourBytes(cursor.u32()?),
            11 => Value::VarInt(cursor.var_int()?),
            3 | 8 | 18 | 21 | 26 | 28 | 31 => Value::Text(cursor.text()?),
            9 | 22 => Value::Binary(cursor.binary()?),
            38 => Value::Pair(cursor.text()?, cursor.text()?),
            _ => return Ok(None),
        }))
    }
}

/// One property of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Property<'a> {
    /// Which property it is.
    pub id: PropertyId,
    /// What it says.
    pub value: Value<'a>,
}

/// A block of properties that was checked when the packet was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Properties<'a> {
    block: &'a [u8],
}

impl<'a> Properties<'a> {
    /// The properties in the order in which the peer wrote them.
    pub fn iter(&self) -> impl Iterator<Item = Property<'a>> + use<'a> {
        let mut cursor = Cursor::new(self.block);
        // The block was read to its end before; the first thing that does not read is that end.
        std::iter::from_fn(move || {
            let id = PropertyId(u8::try_from(cursor.var_int().ok()?).ok()?);
            let value = Value::read(id, &mut cursor).ok()??;
            Some(Property { id, value })
        })
    }

    /// The value of the first property with this identifier.
    pub fn get(&self, id: PropertyId) -> Option<Value<'a>> {
        self.iter().find(|property| property.id == id).map(|property| property.value)
    }

    /// True when the packet has no properties.
    pub fn is_empty(&self) -> bool {
        self.block.is_empty()
    }
}

/// Every identifier of section 2.2.2.2.
const KNOWN: u64 = 0b111_1111_1110_1001_0111_1110_1110_0000_1011_0000_1110;

/// The properties that one packet, or one part of it, may carry.
#[derive(Debug, Clone, Copy)]
pub(super) struct Allowed {
    ids: u64,
    field: Field,
}

impl Allowed {
    /// Section 3.1.2.11.
    pub(super) const IN_CONNECT: Allowed = Allowed {
        ids: PropertyId::SESSION_EXPIRY_INTERVAL.bit()
            | PropertyId::AUTHENTICATION_METHOD.bit()
            | PropertyId::AUTHENTICATION_DATA.bit()
            | PropertyId::REQUEST_PROBLEM_INFORMATION.bit()
            | PropertyId::REQUEST_RESPONSE_INFORMATION.bit()
            | PropertyId::RECEIVE_MAXIMUM.bit()
            | PropertyId::TOPIC_ALIAS_MAXIMUM.bit()
            | PropertyId::USER_PROPERTY.bit()
            | PropertyId::MAXIMUM_PACKET_SIZE.bit(),
        field: Field::Properties,
    };

    /// Section 3.1.3.2.
    pub(super) const IN_WILL: Allowed = Allowed {
        ids: PropertyId::WILL_DELAY_INTERVAL.bit()
            | PropertyId::PAYLOAD_FORMAT_INDICATOR.bit()
            | PropertyId::MESSAGE_EXPIRY_INTERVAL.bit()
            | PropertyId::CONTENT_TYPE.bit()
            | PropertyId::RESPONSE_TOPIC.bit()
            | PropertyId::CORRELATION_DATA.bit()
            | PropertyId::USER_PROPERTY.bit(),
        field: Field::WillProperties,
    };

    /// Section 3.2.2.3.
    pub(super) const IN_CONNACK: Allowed = Allowed {
        ids: PropertyId::SESSION_EXPIRY_INTERVAL.bit()
            | PropertyId::ASSIGNED_CLIENT_IDENTIFIER.bit()
            | PropertyId::SERVER_KEEP_ALIVE.bit()
            | PropertyId::AUTHENTICATION_METHOD.bit()
            | PropertyId::AUTHENTICATION_DATA.bit()
            | PropertyId::RESPONSE_INFORMATION.bit()
            | PropertyId::SERVER_REFERENCE.bit()
            | PropertyId::REASON_STRING.bit()
            | PropertyId::RECEIVE_MAXIMUM.bit()
            | PropertyId::TOPIC_ALIAS_MAXIMUM.bit()
            | PropertyId::MAXIMUM_QOS.bit()
            | PropertyId::RETAIN_AVAILABLE.bit()
            | PropertyId::USER_PROPERTY.bit()
            | PropertyId::MAXIMUM_PACKET_SIZE.bit()
            | PropertyId::WILDCARD_SUBSCRIPTION_AVAILABLE.bit()
            | PropertyId::SUBSCRIPTION_IDENTIFIER_AVAILABLE.bit()
            | PropertyId::SHARED_SUBSCRIPTION_AVAILABLE.bit(),
        field: Field::Connack,
    };

    /// Reads a property length and that many bytes of properties, and checks each of them.
    pub(super) fn read<'a>(self, packet: &mut Cursor<'a>) -> Result<Properties<'a>, Violation> {
        let in_field = |flaw| Violation::of(flaw, self.field);
        let length = packet.var_int().map_err(in_field)?;
        let block = packet.take(usize::try_from(length).unwrap_or(usize::MAX)).map_err(in_field)?;

        let mut cursor = Cursor::new(block);
        let mut seen = 0;
        while !cursor.is_empty() {
            // An identifier is a variable byte integer, yet all of them fit one byte; a longer one is no property.
            let id = cursor.var_int().map_err(in_field)?;
            let id = PropertyId(u8::try_from(id).map_err(|_| Violation::UnknownProperty { id })?);
            if self.ids & id.bit() == 0 {
                return Err(if KNOWN & id.bit() != 0 {
                    Violation::MisplacedProperty { id, field: self.field }
                } else {
                    Violation::UnknownProperty { id: u32::from(id.0) }
                });
            }
            if seen & id.bit() != 0 && id != PropertyId::USER_PROPERTY {
                return Err(Violation::DuplicateProperty { id, field: self.field });
            }
            seen |= id.bit();
            let value = Value::read(id, &mut cursor).map_err(in_field)?;
            // Identifiers outside the table were refused above.
            if value.is_none_or(|value| is_out_of_range(id, value)) {
                return Err(Violation::PropertyOutOfRange { id });
            }
        }
        let authenticates = seen & PropertyId::AUTHENTICATION_METHOD.bit() != 0;
        if seen & PropertyId::AUTHENTICATION_DATA.bit() != 0 && !authenticates {
            return Err(Violation::AuthenticationDataWithoutMethod);
        }
        Ok(Properties { block })
    }
}

/// Values that the specification calls a protocol error: a switch that is neither 0 nor 1, a limit of zero.
fn is_out_of_range(id: PropertyId, value: Value<'_>) -> bool {
    match value {
        Value::Byte(byte) => byte > 1,
        Value::TwoBytes(0) => id == PropertyId::RECEIVE_MAXIMUM,
        Value::FourBytes(0) => id == PropertyId::MAXIMUM_PACKET_SIZE,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_known_identifier_has_a_type_and_no_other_has() {
        let bytes = [0; 8];
        for id in (0..=u8::MAX).map(PropertyId) {
            let value = Value::read(id, &mut Cursor::new(&bytes)).expect("zeroes hold every type");
            assert_eq!(value.is_some(), KNOWN & id.bit() != 0, "{id:?}");
        }
    }

    #[test]
    fn properties_are_read_in_the_order_of_the_packet() {
        let block = b"\x12\x11\x00\x00\x00\x0a\x26\x00\x01a\x00\x01b\x26\x00\x01a\x00\x01c";
        let properties = Allowed::IN_CONNECT.read(&mut Cursor::new(block)).expect_err("cut short");
        assert_eq!(properties, Violation::Truncated { field: Field::Properties });

        let block = b"\x13\x11\x00\x00\x00\x0a\x26\x00\x01a\x00\x01b\x26\x00\x01a\x00\x01c";
        let properties = Allowed::IN_CONNECT.read(&mut Cursor::new(block)).expect("well-formed");
        let values: Vec<_> = properties.iter().map(|property| property.value).collect();
        assert_eq!(values, [Value::FourBytes(10), Value::Pair("a", "b"), Value::Pair("a", "c")]);
        assert_eq!(properties.get(PropertyId::SESSION_EXPIRY_INTERVAL), Some(Value::FourBytes(10)));
        assert_eq!(properties.get(PropertyId::RECEIVE_MAXIMUM), None);
    }
}
