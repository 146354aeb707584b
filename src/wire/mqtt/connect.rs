//! Reads a CONNECT packet in place, strictly where it decides who the client is.
//!
//! What is read here must be what the broker behind the door reads: an identity that two parsers read differently is
//! a way around every ban. So framing, UTF-8, flags and lengths are held to the letter of the specification, and a
//! packet that a lenient parser could understand in a second way is refused. What does not bear on identity or
//! framing (an empty client identifier, a topic's wildcards, a short keep alive) is left to the broker.

use super::cursor::{Cursor, Flaw, VarInt, decode_var_int};
use super::property::{Allowed, Properties, PropertyId};
use super::{PacketType, Reading, Version};

pub use super::cursor::Field;

/// A CONNECT packet, borrowed from the bytes that it was read from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Connect<'a> {
    /// The MQTT version that the client speaks.
    pub version: Version,
    /// True when the client says that it is a bridge between brokers (the high bit of the protocol level, which
    /// mosquitto and EMQX understand).
    pub bridge: bool,
    /// Clean Session (3.x) or Clean Start (5): the client does not want an earlier session back.
    pub clean_start: bool,
    /// The Keep Alive in seconds; 0 turns it off.
    pub keep_alive: u16,
    /// The CONNECT properties; empty before MQTT 5.
    pub properties: Properties<'a>,
    /// The client identifier as sent. It may be empty: whether that is allowed is the broker's to say.
    pub client_id: &'a str,
    /// The message to publish when the connection is lost.
    pub will: Option<Will<'a>>,
    /// The user name. `Some("")` is a user name too.
    pub username: Option<&'a str>,
    /// The password: any bytes.
    pub password: Option<&'a [u8]>,
    /// The size of the whole packet in bytes. What follows in the buffer belongs to later packets.
    pub size: usize,
}

/// The will message of a CONNECT.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Will<'a> {
    /// The topic to publish it to.
    pub topic: &'a str,
    /// Its payload: any bytes.
    pub message: &'a [u8],
    /// Its quality of service: 0, 1 or 2.
    pub qos: u8,
    /// True when it is to be retained.
    pub retain: bool,
    /// The will properties; empty before MQTT 5.
    pub properties: Properties<'a>,
}

/// A packet that is not an acceptable CONNECT.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{violation}")]
pub struct ConnectError {
    /// What is wrong with it.
    pub violation: Violation,
    /// The version in which an answer would be understood, where the packet got far enough to tell. Without one the
    /// peer may not even speak MQTT, and is owed no answer.
    pub version: Option<Version>,
}

/// One broken rule. `statement` names the rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    /// The first packet is something else, or no MQTT at all.
    #[error("first byte {first_byte:#04x} is no CONNECT{}", hint(*.first_byte))]
    NotConnect {
        /// The byte.
        first_byte: u8,
    },
    /// The lower half of the first byte is reserved.
    #[error("fixed header flags are {flags:#03x}; expected 0x0{}", hint(0x10 | *.flags))]
    FixedHeaderFlags {
        /// The lower half of the first byte.
        flags: u8,
    },
    /// The remaining length runs on past its fourth byte.
    #[error("remaining length is longer than four bytes")]
    RemainingLengthOverlong,
    /// The remaining length is padded, which MQTT 5 forbids.
    #[error("remaining length is not in its shortest form")]
    RemainingLengthPadded,
    /// The packet is larger than the door allows.
    #[error("CONNECT of {size} bytes; expected at most {limit}")]
    TooLarge {
        /// The size that the fixed header announces, in bytes.
        size: usize,
        /// The limit, in bytes.
        limit: usize,
    },
    /// The protocol name is neither `MQTT` nor `MQIsdp`.
    #[error("protocol name is not MQTT")]
    ProtocolName,
    /// The protocol level does not exist, or not under that name.
    #[error("protocol level {level} is not supported")]
    ProtocolLevel {
        /// The level as sent.
        level: u8,
    },
    /// Bit 0 of the connect flags is set.
    #[error("reserved connect flag is set")]
    ReservedConnectFlag,
    /// The will QoS is 3.
    #[error("will QoS is 3")]
    WillQos,
    /// There is a will QoS without a will.
    #[error("will QoS is set without a will")]
    WillQosWithoutWill,
    /// Will retain is set without a will.
    #[error("will retain is set without a will")]
    WillRetainWithoutWill,
    /// There is a password without a user name, which only MQTT 5 allows.
    #[error("password flag is set without user name flag")]
    PasswordWithoutUsername,
    /// The packet ends inside a field.
    #[error("packet ends inside {field}")]
    Truncated {
        /// The field.
        field: Field,
    },
    /// A string is not well-formed UTF-8.
    #[error("{field} is not well-formed UTF-8")]
    IllFormedUtf8 {
        /// The field.
        field: Field,
    },
    /// A string holds U+0000.
    #[error("{field} holds U+0000")]
    NulCharacter {
        /// The field.
        field: Field,
    },
    /// A string holds a control character or a noncharacter where brokers disagree on what that means.
    #[error("{field} holds a control character")]
    DiscouragedCharacter {
        /// The field.
        field: Field,
    },
    /// A variable byte integer inside the packet is overlong or padded.
    #[error("variable byte integer in {field} is overlong or padded")]
    VariableByteInteger {
        /// The field.
        field: Field,
    },
    /// Bytes follow the last field.
    #[error("{count} bytes follow the last field")]
    TrailingBytes {
        /// How many.
        count: usize,
    },
    /// A property identifier does not exist.
    #[error("property {id:#04x} does not exist")]
    UnknownProperty {
        /// The identifier.
        id: u32,
    },
    /// A property belongs to another packet.
    #[error("property {id:?} does not belong in {field}")]
    MisplacedProperty {
        /// The identifier.
        id: PropertyId,
        /// Where it stood.
        field: Field,
    },
    /// A property stands twice that may stand once.
    #[error("property {id:?} stands twice in {field}")]
    DuplicateProperty {
        /// The identifier.
        id: PropertyId,
        /// Where it stood.
        field: Field,
    },
    /// A property has a value that it may not have.
    #[error("property {id:?} is out of range")]
    PropertyOutOfRange {
        /// The identifier.
        id: PropertyId,
    },
    /// There is authentication data, and no method to read it by.
    #[error("authentication data without authentication method")]
    AuthenticationDataWithoutMethod,
    /// A second CONNECT follows the first one.
    #[error("second CONNECT on one connection")]
    SecondConnect,
}

impl Violation {
    pub(super) fn of(flaw: Flaw, field: Field) -> Violation {
        match flaw {
            Flaw::Truncated => Violation::Truncated { field },
            Flaw::IllFormedUtf8 => Violation::IllFormedUtf8 { field },
            Flaw::Nul => Violation::NulCharacter { field },
            Flaw::VarInt => Violation::VariableByteInteger { field },
        }
    }

    /// The conformance statement that is broken, numbered as in the specification of `version` (3.1 has no numbers
    /// of its own and takes those of 3.1.1). `None` where the specification has a rule without a number, or where
    /// the limit is ours.
    pub fn statement(self, version: Option<Version>) -> Option<&'static str> {
        let v5 = version == Some(Version::V5);
        let numbered = |in_v311, in_v5| Some(if v5 { in_v5 } else { in_v311 });
        match self {
            Violation::NotConnect { .. } => Some("MQTT-3.1.0-1"),
            Violation::FixedHeaderFlags { .. } => numbered("MQTT-2.2.2-2", "MQTT-2.1.3-1"),
            Violation::RemainingLengthPadded | Violation::VariableByteInteger { .. } => Some("MQTT-1.5.5-1"),
            Violation::ProtocolName => Some("MQTT-3.1.2-1"),
            Violation::ProtocolLevel { .. } => Some("MQTT-3.1.2-2"),
            Violation::ReservedConnectFlag => Some("MQTT-3.1.2-3"),
            Violation::WillQos => numbered("MQTT-3.1.2-14", "MQTT-3.1.2-12"),
            Violation::WillQosWithoutWill => numbered("MQTT-3.1.2-13", "MQTT-3.1.2-11"),
            Violation::WillRetainWithoutWill => numbered("MQTT-3.1.2-15", "MQTT-3.1.2-13"),
            Violation::PasswordWithoutUsername => Some("MQTT-3.1.2-22"),
            Violation::Truncated { field } => match field {
                Field::ClientId => Some("MQTT-3.1.3-3"),
                Field::WillProperties | Field::WillTopic | Field::WillMessage => Some("MQTT-3.1.2-9"),
                Field::Username => numbered("MQTT-3.1.2-19", "MQTT-3.1.2-17"),
                Field::Password => numbered("MQTT-3.1.2-21", "MQTT-3.1.2-19"),
                _ => None,
            },
            Violation::IllFormedUtf8 { .. } => numbered("MQTT-1.5.3-1", "MQTT-1.5.4-1"),
            Violation::NulCharacter { .. } => numbered("MQTT-1.5.3-2", "MQTT-1.5.4-2"),
            Violation::TrailingBytes { .. } => Some("MQTT-3.1.3-1"),
            Violation::SecondConnect => Some("MQTT-3.1.0-2"),
            Violation::RemainingLengthOverlong
            | Violation::DiscouragedCharacter { .. }
            | Violation::TooLarge { .. }
            | Violation::UnknownProperty { .. }
            | Violation::MisplacedProperty { .. }
            | Violation::DuplicateProperty { .. }
            | Violation::PropertyOutOfRange { .. }
            | Violation::AuthenticationDataWithoutMethod => None,
        }
    }

    /// True for what MQTT 5 calls a Protocol Error (well-formed, but not allowed) rather than a Malformed Packet.
    pub fn is_protocol_error(self) -> bool {
        matches!(
            self,
            Violation::DuplicateProperty { .. }
                | Violation::PropertyOutOfRange { .. }
                | Violation::AuthenticationDataWithoutMethod
                | Violation::SecondConnect
        )
    }
}

/// What a stranger on an MQTT port probably speaks, for the operator who reads the log.
fn hint(first_byte: u8) -> &'static str {
    match first_byte {
        0x16 => " (a TLS ClientHello?)",
        b'A'..=b'Z' => " (an HTTP request or a text protocol?)",
        _ => "",
    }
}

/// The fixed header's first byte and its longest remaining length.
const MAX_FIXED_HEADER: usize = 5;

/// Reads the CONNECT at the start of `bytes`, which may hold less than the packet or more.
///
/// `max_size` limits the whole packet, in bytes. It is enforced as soon as the fixed header is there, so a caller
/// never has to hold more than that. A packet that is hopeless is refused at the first byte that shows it, not when
/// it is complete.
///
/// # Errors
/// The first broken rule, and the version in which the client can be told.
///
/// # Examples
/// ```
/// use mqtt_bouncer::wire::mqtt::{Reading, Version, connect};
///
/// let packet = b"\x10\x0f\x00\x04MQTT\x04\x02\x00\x3c\x00\x03dev";
/// let Ok(Reading::Complete(connect)) = connect::read(packet, 65_536) else { panic!() };
/// assert_eq!((connect.version, connect.client_id, connect.keep_alive), (Version::V311, "dev", 60));
///
/// assert_eq!(connect::read(&packet[..7], 65_536), Ok(Reading::NeedMore(10)));
/// ```
pub fn read(bytes: &[u8], max_size: usize) -> Result<Reading<Connect<'_>>, ConnectError> {
    let header = match FixedHeader::read(bytes)? {
        Reading::Complete(header) => header,
        Reading::NeedMore(count) => return Ok(Reading::NeedMore(count)),
    };
    let body = bytes.get(header.width..).unwrap_or_default();
    if header.size > max_size {
        let violation = Violation::TooLarge { size: header.size, limit: max_size };
        return Err(ConnectError {
            violation,
            version: Protocol::peek(body).ok().flatten().map(|p| p.version),
        });
    }
    let Some(body) = body.get(..header.size - header.width) else {
        Protocol::peek(body)?;
        return Ok(Reading::NeedMore(header.size - bytes.len()));
    };

    let mut body = Cursor::new(body);
    let protocol = Protocol::read(&mut body)?;
    let version = protocol.version;
    if version == Version::V5 && !header.minimal {
        return Err(ConnectError { violation: Violation::RemainingLengthPadded, version: Some(version) });
    }
    read_body(protocol, header.size, body)
        .map(Reading::Complete)
        .map_err(|violation| ConnectError { violation, version: Some(version) })
}

/// The first byte and the remaining length.
struct FixedHeader {
    width: usize,
    /// Of the whole packet, this header included.
    size: usize,
    minimal: bool,
}

impl FixedHeader {
    fn read(bytes: &[u8]) -> Result<Reading<FixedHeader>, ConnectError> {
        let anonymous = |violation| ConnectError { violation, version: None };
        let Some((&first_byte, rest)) = bytes.split_first() else {
            return Ok(Reading::NeedMore(MIN_SIZE));
        };
        if PacketType::of(first_byte) != PacketType::CONNECT {
            return Err(anonymous(Violation::NotConnect { first_byte }));
        }
        if first_byte & 0x0F != 0 {
            return Err(anonymous(Violation::FixedHeaderFlags { flags: first_byte & 0x0F }));
        }
        match decode_var_int(rest) {
            VarInt::Value { value, width, minimal } => {
                let width = 1 + width;
                let length = usize::try_from(value).unwrap_or(usize::MAX - MAX_FIXED_HEADER);
                Ok(Reading::Complete(FixedHeader { width, size: width + length, minimal }))
            }
            VarInt::Partial => Ok(Reading::NeedMore(MIN_SIZE.saturating_sub(bytes.len()).max(1))),
            VarInt::Overlong => Err(anonymous(Violation::RemainingLengthOverlong)),
        }
    }
}

/// The smallest CONNECT there is: 3.1.1 with an empty client identifier.
const MIN_SIZE: usize = 14;

/// The protocol name and level, taken together.
#[derive(Debug, Clone, Copy)]
struct Protocol {
    version: Version,
    bridge: bool,
}

impl Protocol {
    const NAME_V31: &'static [u8] = b"\x00\x06MQIsdp";
    const NAME: &'static [u8] = b"\x00\x04MQTT";
    const BRIDGE: u8 = 0x80;

    fn read(body: &mut Cursor<'_>) -> Result<Protocol, ConnectError> {
        let mut ahead = *body;
        let head = ahead.take(ahead.len()).unwrap_or_default();
        let Some(protocol) = Protocol::peek(head)? else {
            let violation = Violation::Truncated { field: Field::Protocol };
            return Err(ConnectError { violation, version: None });
        };
        let name = if protocol.version == Version::V31 { Self::NAME_V31 } else { Self::NAME };
        // `peek` saw the name and the level.
        let _ = body.take(name.len() + 1);
        Ok(protocol)
    }

    /// Recognises the protocol as soon as enough of the body is there; `None` while it could still become one.
    fn peek(body: &[u8]) -> Result<Option<Protocol>, ConnectError> {
        let (name, is_v31) =
            if body.get(1) == Some(&6) { (Self::NAME_V31, true) } else { (Self::NAME, false) };
        if !body.iter().zip(name).all(|(found, expected)| found == expected) {
            return Err(ConnectError { violation: Violation::ProtocolName, version: None });
        }
        let Some(&level) = body.get(name.len()) else {
            return Ok(None);
        };
        let version = match (is_v31, level & !Self::BRIDGE) {
            (true, 3) => Version::V31,
            (false, 4) => Version::V311,
            (false, 5) => Version::V5,
            // MQTT 5 [MQTT-3.1.2-2]: the server may answer with 0x84. Whoever comes from beyond 5 reads that form;
            // the others read the older one.
            (_, unknown) => {
                let version = if unknown > 5 { Version::V5 } else { Version::V311 };
                return Err(ConnectError {
                    violation: Violation::ProtocolLevel { level },
                    version: Some(version),
                });
            }
        };
        Ok(Some(Protocol { version, bridge: level & Self::BRIDGE != 0 }))
    }
}

/// The connect flags, checked against each other.
#[derive(Debug, Clone, Copy)]
struct Flags(u8);

impl Flags {
    fn read(bits: u8, version: Version) -> Result<Flags, Violation> {
        let flags = Flags(bits);
        // 3.1 calls bit 0 unused and says nothing of its value.
        if bits & 0x01 != 0 && version != Version::V31 {
            return Err(Violation::ReservedConnectFlag);
        }
        if flags.will_qos() == 3 {
            return Err(Violation::WillQos);
        }
        if !flags.will() && flags.will_qos() != 0 {
            return Err(Violation::WillQosWithoutWill);
        }
        if !flags.will() && flags.will_retain() {
            return Err(Violation::WillRetainWithoutWill);
        }
        if flags.password() && !flags.username() && version != Version::V5 {
            return Err(Violation::PasswordWithoutUsername);
        }
        Ok(flags)
    }

    fn clean_start(self) -> bool {
        self.0 & 0x02 != 0
    }

    fn will(self) -> bool {
        self.0 & 0x04 != 0
    }

    fn will_qos(self) -> u8 {
        (self.0 >> 3) & 0x03
    }

    fn will_retain(self) -> bool {
        self.0 & 0x20 != 0
    }

    fn password(self) -> bool {
        self.0 & 0x40 != 0
    }

    fn username(self) -> bool {
        self.0 & 0x80 != 0
    }
}

fn read_body(protocol: Protocol, size: usize, mut body: Cursor<'_>) -> Result<Connect<'_>, Violation> {
    let version = protocol.version;
    let in_field = |field| move |flaw| Violation::of(flaw, field);

    let flags = Flags::read(body.u8().map_err(in_field(Field::ConnectFlags))?, version)?;
    let keep_alive = body.u16().map_err(in_field(Field::KeepAlive))?;
    let properties =
        if version == Version::V5 { Allowed::IN_CONNECT.read(&mut body)? } else { Properties::default() };

    let client_id = body.text().map_err(in_field(Field::ClientId))?;
    let will = if flags.will() { Some(read_will(version, flags, &mut body)?) } else { None };

    // 3.1, section 3.1: "the Remaining Length field … takes precedence over the User Name flag": a flag without its
    // string is valid there, and means that there is none.
    let absent = |body: &Cursor<'_>| version == Version::V31 && body.is_empty();
    let username = if flags.username() && !absent(&body) {
        Some(body.text().map_err(in_field(Field::Username))?)
    } else {
        None
    };
    // Such a user name is legal where it is only discouraged; but of a 3.1 client mosquitto takes it for none, and what
    // one reads as a name and the other as nobody must not pass.
    if version == Version::V31 && username.is_some_and(|name| name.chars().any(is_discouraged)) {
        return Err(Violation::DiscouragedCharacter { field: Field::Username });
    }
    let password = if flags.password() && !absent(&body) {
        Some(body.binary().map_err(in_field(Field::Password))?)
    } else {
        None
    };
    if !body.is_empty() {
        return Err(Violation::TrailingBytes { count: body.len() });
    }

    Ok(Connect {
        version,
        bridge: protocol.bridge,
        clean_start: flags.clean_start(),
        keep_alive,
        properties,
        client_id,
        will,
        username,
        password,
        size,
    })
}

/// Control characters and Unicode's noncharacters, which section 1.5.3 of 3.1.1 says a string should not hold.
fn is_discouraged(character: char) -> bool {
    let code = u32::from(character);
    character.is_control() || (0xFDD0..=0xFDEF).contains(&code) || code & 0xFFFE == 0xFFFE
}

fn read_will<'a>(version: Version, flags: Flags, body: &mut Cursor<'a>) -> Result<Will<'a>, Violation> {
    let properties =
        if version == Version::V5 { Allowed::IN_WILL.read(body)? } else { Properties::default() };
    let topic = body.text().map_err(|flaw| Violation::of(flaw, Field::WillTopic))?;
    let message = body.binary().map_err(|flaw| Violation::of(flaw, Field::WillMessage))?;
    Ok(Will { topic, message, qos: flags.will_qos(), retain: flags.will_retain(), properties })
}

#[cfg(test)]
mod tests;
