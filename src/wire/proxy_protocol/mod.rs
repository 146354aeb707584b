//! The PROXY protocol, versions 1 and 2: how a load balancer tells whom it speaks for, in front of everything else.
//!
//! Source: "The PROXY protocol, Versions 1 & 2", <https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt>; section
//! numbers are those of that text. The reader is strict, because a header that two readers understand differently is a
//! client with two addresses; it says how many bytes are missing at least, so that whoever reads exactly so many takes
//! no byte of what follows.

mod crc32c;
mod tlv;
mod v1;
mod v2;
mod write;

pub use tlv::{Tls, Tlvs};
pub use v2::MAX_SIZE;
pub use write::{Announcement, LOCAL, Version, header, header_without_addresses};

use super::Reading;
use std::net::SocketAddr;

/// A header that was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header<'a> {
    /// Whom the connection is for.
    pub origin: Origin,
    /// What else it says; nothing in version 1.
    pub tlvs: Tlvs<'a>,
    /// How many bytes it takes.
    pub size: usize,
}

/// Whom a connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// For the proxy itself, as a rule to see whether we live. The connection's own addresses hold.
    Local,
    /// For somebody of whom the proxy has no address that we could use. The connection's own addresses hold.
    Unknown,
    /// For this client, which had called that address.
    Client {
        /// Where the client comes from.
        source: SocketAddr,
        /// Where it had connected to.
        destination: SocketAddr,
    },
}

/// Why bytes are no header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// They begin otherwise.
    #[error("does not begin like a PROXY header")]
    Signature,
    /// A line of version 1 that does not end.
    #[error("a line of more than {} bytes; a PROXY header of version 1 is shorter", v1::MAX_SIZE)]
    Endless,
    /// A line of version 1 with one half of its end.
    #[error("a line that does not end with CR LF")]
    LineEnd,
    /// A line of version 1 about something else.
    #[error("a transport that is none of TCP4, TCP6 and UNKNOWN")]
    Transport,
    /// A line of version 1 with too many words, or too few.
    #[error("not two addresses and two ports, each after one space")]
    Words,
    /// An address that is none, or of the other family.
    #[error("an address that is none of its family")]
    Address,
    /// A port that is none.
    #[error("a port that is no number from 0 to 65535 without leading zeros")]
    Port,
    /// A version that does not exist.
    #[error("version {0} of the PROXY protocol; expected 1 or 2")]
    Version(u8),
    /// A command that does not exist.
    #[error("command {0}; expected 0 (LOCAL) or 1 (PROXY)")]
    Command(u8),
    /// Addresses of a family that does not exist, or are not those of a connection.
    #[error("address family and transport {0:#04x}; expected those of a TCP or Unix stream")]
    Family(u8),
    /// A header of version 2 without room for its addresses.
    #[error("{found} bytes of addresses; its family has {expected}")]
    Short {
        /// How many there are.
        found: usize,
        /// How many there must be.
        expected: usize,
    },
    /// A header of version 2 that is larger than we take.
    #[error("{found} bytes; expected at most {MAX_SIZE}")]
    TooLarge {
        /// How many it has.
        found: usize,
    },
    /// An extension that runs on past the end.
    #[error("extension {0:#04x} runs on past the end of the header")]
    Truncated(u8),
    /// An extension that comes twice, so that nobody knows which of them holds.
    #[error("extension {0:#04x} comes twice")]
    Twice(u8),
    /// A name that is no text, or one with control characters.
    #[error("extension {0:#04x} is no text")]
    Text(u8),
    /// An extension of the wrong size.
    #[error("extension {0:#04x} has a wrong size")]
    Size(u8),
    /// The checksum is another one.
    #[error("the checksum is wrong")]
    Checksum,
}

/// Looks at the beginning of a connection.
///
/// # Errors
/// No header begins like this; says so at the first byte that shows it.
pub fn read(bytes: &[u8]) -> Result<Reading<Header<'_>>, HeaderError> {
    match bytes.first() {
        None => Ok(Reading::NeedMore(v1::MIN_SIZE)),
        Some(&first) if first == v2::FIRST_BYTE => v2::read(bytes),
        Some(&first) if first == v1::FIRST_BYTE => v1::read(bytes),
        Some(_) => Err(HeaderError::Signature),
    }
}

/// True when a connection that begins with this byte has a header. No MQTT packet that opens a connection, and no TLS
/// record, begins so.
pub fn begins_with(first_byte: u8) -> bool {
    first_byte == v1::FIRST_BYTE || first_byte == v2::FIRST_BYTE
}

#[cfg(test)]
mod tests;
