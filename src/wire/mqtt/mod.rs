//! The few MQTT packets that a door must understand: CONNECT strictly, CONNACK both ways, and packet borders.
//!
//! Sources: MQTT 3.1 (IBM/Eurotech 2010), MQTT 3.1.1 (OASIS 2014) and MQTT 5.0 (OASIS 2019). Statement ids such
//! as `[MQTT-3.1.0-1]` are those of the OASIS texts.

pub mod connack;
pub mod connect;
mod cursor;
pub mod frame;
pub mod ping;
pub mod property;
pub mod session;

pub use super::Reading;

use std::fmt;

/// The MQTT version that a client speaks, as its CONNECT names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Version {
    /// MQTT 3.1: protocol name `MQIsdp`, level 3.
    V31,
    /// MQTT 3.1.1: protocol name `MQTT`, level 4.
    V311,
    /// MQTT 5.0: protocol name `MQTT`, level 5.
    V5,
}

impl Version {
    /// Every version, oldest first.
    pub const ALL: [Version; 3] = [Version::V31, Version::V311, Version::V5];

    /// The version number as people write it: `3.1`, `3.1.1` or `5`.
    pub fn as_str(self) -> &'static str {
        match self {
            Version::V31 => "3.1",
            Version::V311 => "3.1.1",
            Version::V5 => "5",
        }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The type of an MQTT control packet: the upper half of its first byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PacketType(u8);

impl PacketType {
    /// A client asks for a session.
    pub const CONNECT: PacketType = PacketType(1);
    /// The server's answer to CONNECT.
    pub const CONNACK: PacketType = PacketType(2);
    /// A polite end (both ways in MQTT 5, from the client only before).
    pub const DISCONNECT: PacketType = PacketType(14);
    /// MQTT 5 enhanced authentication; may come before CONNACK.
    pub const AUTH: PacketType = PacketType(15);

    /// Takes the packet type out of a packet's first byte.
    pub fn of(first_byte: u8) -> PacketType {
        PacketType(first_byte >> 4)
    }
}

/// The largest remaining length that four bytes can say: 268,435,455. \[MQTT-2.2.3\]
pub const MAX_REMAINING_LENGTH: u32 = 268_435_455;
