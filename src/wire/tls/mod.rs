//! The first thing that a TLS client says, and what it tells of the client.
//!
//! The handshake itself is rustls's. Its reader keeps the list of extensions to itself, which the JA4 fingerprint is
//! made of; so the bytes are read here first, and the same bytes are then given to rustls.
//!
//! Sources: RFC 8446 (TLS 1.3), RFC 5246 (TLS 1.2), RFC 8701 (GREASE), RFC 7301 (ALPN), RFC 6066 section 3 (SNI).

mod cursor;
pub mod hello;
pub mod ja4;
mod record;

pub use hello::{Hello, MAX_HELLO, NotHello, read};
pub use ja4::Ja4;

/// A version as people write it.
pub fn version_name(version: Option<u16>) -> &'static str {
    match version {
        Some(0x0304) => "TLS 1.3",
        Some(0x0303) => "TLS 1.2",
        Some(0x0302) => "TLS 1.1",
        Some(0x0301) => "TLS 1.0",
        Some(0x0300) => "SSL 3.0",
        _ => "a version that does not exist",
    }
}

/// A number that clients make up so that servers learn to pass over what they do not know: `0x?a?a` with both bytes
/// the same. \[RFC 8701, section 2\]
fn is_grease(number: u16) -> bool {
    let [high, low] = number.to_be_bytes();
    high == low && low & 0x0F == 0x0A
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sixteen_numbers_are_grease() {
        let grease: Vec<u16> = (0..=u16::MAX).filter(|number| is_grease(*number)).collect();
        assert_eq!((grease.len(), grease[0], grease[1], grease[15]), (16, 0x0A0A, 0x1A1A, 0xFAFA));
    }
}
