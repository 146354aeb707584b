//! CONNACK both ways: the refusals that the door writes, and the few facts that it reads from the broker's.
//!
//! The writer is mqttbytes; what it would get wrong is kept from it here (a v5 packet without property length, a
//! string longer than its length field).

use super::Version;
use super::cursor::{Cursor, VarInt, decode_var_int};
use super::property::{Allowed, Properties, PropertyId, Value};
use bytes::BytesMut;
use mqttbytes::{v4, v5};

/// The return codes of MQTT 3.1 and 3.1.1, section 3.2.2.3.
pub use mqttbytes::v4::ConnectReturnCode as ReturnCode;
/// The reason codes of MQTT 5, section 3.2.2.2.
pub use mqttbytes::v5::ConnectReturnCode as ReasonCode;

/// A CONNACK that refuses, in one of the two forms that clients read.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Refuse<'a> {
    /// For MQTT 3.1 and 3.1.1.
    V3(ReturnCode),
    /// For MQTT 5.
    V5 {
        /// Why.
        code: ReasonCode,
        /// A text for the person behind the client, if it is to be told more than the code. Cut at
        /// [`MAX_REASON_STRING`] bytes.
        reason: Option<&'a str>,
        /// The client's Maximum Packet Size, in bytes. The reason is left out when it would not fit.
        /// \[MQTT-3.2.2-19\]
        max_packet_size: Option<u32>,
    },
}

/// The longest reason string that is sent, in bytes.
pub const MAX_REASON_STRING: usize = 1024;

impl Refuse<'_> {
    /// The packet's bytes.
    pub fn encode(self) -> BytesMut {
        match self {
            Refuse::V3(code) => {
                let mut packet = BytesMut::with_capacity(4);
                // Writing fails only for a packet of more than 256 MB.
                let _ = v4::ConnAck::new(code, false).write(&mut packet);
                packet
            }
            Refuse::V5 { code, reason: None, .. } => encode_v5(code, None),
            Refuse::V5 { code, reason: Some(reason), max_packet_size } => {
                let packet = encode_v5(code, Some(cut(reason, MAX_REASON_STRING)));
                let fits =
                    max_packet_size.is_none_or(|max| u32::try_from(packet.len()).is_ok_and(|len| len <= max));
                if fits { packet } else { encode_v5(code, None) }
            }
        }
    }
}

fn encode_v5(code: ReasonCode, reason: Option<&str>) -> BytesMut {
    let properties =
        v5::ConnAckProperties { reason_string: reason.map(str::to_owned), ..v5::ConnAckProperties::new() };
    let connack = v5::ConnAck { session_present: false, code, properties: Some(properties) };
    let mut packet = BytesMut::with_capacity(8 + reason.map_or(0, str::len));
    // Writing fails only for a packet of more than 256 MB.
    let _ = connack.write(&mut packet);
    packet
}

/// The longest prefix of at most `max` bytes that ends at a character's border.
fn cut(text: &str, max: usize) -> &str {
    text.get(..text.floor_char_boundary(max)).unwrap_or(text)
}

/// What the door wants to know of the broker's CONNACK.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Connack<'a> {
    /// The broker has kept an earlier session of this client.
    pub session_present: bool,
    /// The return code (3.x) or reason code (5); 0 is success.
    pub code: u8,
    /// The client identifier that the broker chose for a client that named none (5).
    pub assigned_client_id: Option<&'a str>,
    /// The Keep Alive, in seconds, that holds instead of the client's (5). \[MQTT-3.2.2-21\]
    pub server_keep_alive: Option<u16>,
}

impl Connack<'_> {
    /// True when the broker has accepted the client.
    pub fn is_accepted(&self) -> bool {
        self.code == 0
    }
}

/// Reads a whole CONNACK packet; `None` when it is not one that can be understood. (What the broker sends reaches the
/// client all the same.)
pub fn read(packet: &[u8], version: Version) -> Option<Connack<'_>> {
    let VarInt::Value { width, .. } = decode_var_int(packet.get(1..)?) else { return None };
    let mut body = Cursor::new(packet.get(1 + width..)?);
    let session_present = body.u8().ok()? & 0x01 != 0;
    let code = body.u8().ok()?;
    let properties = if version == Version::V5 && !body.is_empty() {
        Allowed::IN_CONNACK.read(&mut body).ok()?
    } else {
        Properties::default()
    };
    let assigned_client_id = match properties.get(PropertyId::ASSIGNED_CLIENT_IDENTIFIER) {
        Some(Value::Text(id)) => Some(id),
        _ => None,
    };
    let server_keep_alive = match properties.get(PropertyId::SERVER_KEEP_ALIVE) {
        Some(Value::TwoBytes(seconds)) => Some(seconds),
        _ => None,
    };
    Some(Connack { session_present, code, assigned_client_id, server_keep_alive })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn v5(code: ReasonCode, reason: Option<&str>, max_packet_size: Option<u32>) -> BytesMut {
        Refuse::V5 { code, reason, max_packet_size }.encode()
    }

    #[test]
    fn refusals_have_the_bytes_of_the_specification() {
        assert_eq!(&Refuse::V3(ReturnCode::NotAuthorized).encode()[..], b"\x20\x02\x00\x05");
        assert_eq!(&Refuse::V3(ReturnCode::ServiceUnavailable).encode()[..], b"\x20\x02\x00\x03");
        assert_eq!(&v5(ReasonCode::Banned, None, None)[..], b"\x20\x03\x00\x8a\x00");
        assert_eq!(
            &v5(ReasonCode::Banned, Some("banned"), None)[..],
            b"\x20\x0c\x00\x8a\x09\x1f\x00\x06banned"
        );
    }

    #[test]
    fn a_reason_that_exceeds_the_clients_packet_size_is_left_out() {
        assert_eq!(v5(ReasonCode::Banned, Some("banned"), Some(14)).len(), 14);
        assert_eq!(&v5(ReasonCode::Banned, Some("banned"), Some(13))[..], b"\x20\x03\x00\x8a\x00");
    }

    #[test]
    fn a_long_reason_is_cut_between_characters() {
        let packet = v5(ReasonCode::Banned, Some(&"ä".repeat(40_000)), None);
        let text = &packet[packet.len() - MAX_REASON_STRING..];
        assert_eq!(std::str::from_utf8(text).map(|text| text.chars().count()), Ok(MAX_REASON_STRING / 2));
        assert_eq!(cut("aä", 2), "a");
    }

    #[test]
    fn the_facts_of_a_v5_connack_are_read() {
        let packet = b"\x20\x0c\x01\x00\x09\x12\x00\x03abc\x13\x00\x1e";
        let connack = read(packet, Version::V5).expect("well-formed");
        assert!(connack.is_accepted() && connack.session_present);
        assert_eq!(connack.assigned_client_id, Some("abc"));
        assert_eq!(connack.server_keep_alive, Some(30));
    }

    #[test]
    fn a_connack_of_3_1_1_has_a_code_only() {
        let refused =
            Connack { session_present: false, code: 5, assigned_client_id: None, server_keep_alive: None };
        assert_eq!(read(b"\x20\x02\x00\x05", Version::V311), Some(refused));
    }

    #[test]
    fn a_broken_connack_is_not_understood() {
        for packet in [&b""[..], b"\x20", b"\x20\x00", b"\x20\x01\x00", b"\x20\x04\x00\x00\x05\x12"] {
            assert_eq!(read(packet, Version::V5), None, "{packet:?}");
        }
    }
}
