//! What a health check says to a broker, and how it reads the answers: CONNECT, PINGREQ, DISCONNECT.

use super::{PacketType, Version};

/// Who a health check says it is.
#[derive(Debug, Clone, Copy)]
pub struct Caller<'a> {
    /// The version that it speaks.
    pub version: Version,
    /// Its client identifier; empty lets the broker choose.
    pub client_id: &'a str,
    /// Its user name.
    pub username: Option<&'a str>,
    /// Its password.
    pub password: Option<&'a [u8]>,
}

/// "Are you there?" \[MQTT 5, section 3.12\]
pub const PINGREQ: [u8; 2] = [0xC0, 0];
/// "I am." \[MQTT 5, section 3.13\]
pub const PINGRESP: [u8; 2] = [0xD0, 0];
/// A polite end; without reason code and properties it is the same in all versions. \[MQTT 5, section 3.14.2.1\]
pub const DISCONNECT: [u8; 2] = [0xE0, 0];

/// Longer strings cannot be written.
const MAX_STRING: usize = 65_535;

impl Caller<'_> {
    /// Its CONNECT: a clean session without Keep Alive. `None` when a name is longer than MQTT can say.
    pub fn connect(&self) -> Option<Vec<u8>> {
        // Clean session, and what follows the client identifier. [MQTT-3.1.2]
        let mut flags = 0x02;
        let mut payload = string(self.client_id.as_bytes())?;
        if let Some(username) = self.username {
            flags |= 0x80;
            payload.extend(string(username.as_bytes())?);
        }
        if let Some(password) = self.password {
            flags |= 0x40;
            payload.extend(string(password)?);
        }
        let (name, level): (&[u8], u8) = match self.version {
            Version::V31 => (b"MQIsdp", 3),
            Version::V311 => (b"MQTT", 4),
            Version::V5 => (b"MQTT", 5),
        };
        let mut body = string(name)?;
        body.extend([level, flags, 0, 0]);
        if self.version == Version::V5 {
            body.push(0);
        }
        body.extend(payload);
        let mut packet = vec![0x10];
        let mut rest = body.len();
        loop {
            let byte = u8::try_from(rest & 0x7F).unwrap_or_default();
            rest >>= 7;
            packet.push(if rest > 0 { byte | 0x80 } else { byte });
            if rest == 0 {
                break;
            }
        }
        packet.extend(body);
        Some(packet)
    }
}

fn string(bytes: &[u8]) -> Option<Vec<u8>> {
    let length = u16::try_from(bytes.len()).ok().filter(|_| bytes.len() <= MAX_STRING)?;
    Some([&length.to_be_bytes()[..], bytes].concat())
}

/// A packet from a broker, as far as it has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// At least so many bytes are missing.
    NeedMore(usize),
    /// CONNACK with this return or reason code; so long is the packet.
    Connack(u8, usize),
    /// PINGRESP; so long is the packet.
    Pingresp(usize),
    /// Something else, which begins with this byte.
    Other(u8),
}

/// The longest CONNACK that a check reads, in bytes.
const MAX_CONNACK: usize = 4096;

/// Reads the packet at the beginning of `bytes`.
pub fn read(bytes: &[u8]) -> Answer {
    let [first, rest @ ..] = bytes else { return Answer::NeedMore(2) };
    if bytes.len() >= 2 && bytes.starts_with(&PINGRESP) {
        return Answer::Pingresp(PINGRESP.len());
    }
    let is_connack = PacketType::of(*first) == PacketType::CONNACK;
    if !is_connack && *first != PINGRESP[0] {
        return Answer::Other(*first);
    }
    let mut length = 0_usize;
    for (index, byte) in rest.iter().enumerate().take(4) {
        length |= usize::from(byte & 0x7F) << (7 * index);
        if byte & 0x80 == 0 {
            let size = 2 + index + length;
            // Flags, then the code. [MQTT 5, section 3.2.2]
            return match rest.get(index + 2) {
                _ if !is_connack || length < 2 || size > MAX_CONNACK => Answer::Other(*first),
                Some(code) if bytes.len() >= size => Answer::Connack(*code, size),
                _ => Answer::NeedMore(size.saturating_sub(bytes.len())),
            };
        }
    }
    if rest.len() >= 4 { Answer::Other(*first) } else { Answer::NeedMore(1) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::mqtt::Reading;
    use crate::wire::mqtt::connect;

    #[test]
    fn our_own_reader_reads_the_connect_in_every_version() {
        for version in Version::ALL {
            for (username, password) in [
                (None, None),
                (Some("u"), None),
                (Some("u"), Some(&b"\xff\0"[..])),
                (Some("x"), Some(&b""[..])),
            ] {
                let long = "i".repeat(200);
                let packet =
                    Caller { version, client_id: &long, username, password }.connect().expect("short enough");
                let Ok(Reading::Complete(read)) = connect::read(&packet, 65_536) else {
                    panic!("{version}: {packet:?}")
                };
                assert_eq!((read.version, read.client_id, read.size), (version, &long[..], packet.len()));
                assert_eq!((read.username, read.password), (username, password));
                assert!(read.clean_start && read.keep_alive == 0);
            }
        }
    }

    #[test]
    fn a_name_that_mqtt_cannot_say_is_no_connect() {
        let client_id = "x".repeat(65_536);
        let caller = Caller { version: Version::V5, client_id: &client_id, username: None, password: None };
        assert_eq!(caller.connect(), None);
    }

    #[test]
    fn answers_are_read_however_they_come() {
        let connacks: [(&[u8], u8); 3] =
            [(b"\x20\x02\x00\x00", 0), (b"\x20\x02\x00\x05", 5), (b"\x20\x06\x00\x87\x03\x22\x00\x0a", 0x87)];
        for (packet, code) in connacks {
            for end in 0..packet.len() {
                assert!(matches!(read(&packet[..end]), Answer::NeedMore(1..)), "{:?}", &packet[..end]);
            }
            assert_eq!(read(packet), Answer::Connack(code, packet.len()));
        }
        assert_eq!(read(&PINGRESP), Answer::Pingresp(2));
        assert_eq!(read(b"\xd0"), Answer::NeedMore(1));
        for other in [
            &b"HTTP/1.1 400"[..],
            b"\x30\x02",
            b"\x20\x01\x00",
            b"\x20\xff\xff\xff\x7f",
            b"\xd0\x01",
            b"\x20\xff\xff\xff\xff\x01",
        ] {
            assert_eq!(read(other), Answer::Other(other[0]), "{other:?}");
        }
    }
}
