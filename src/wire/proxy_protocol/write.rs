//! Writes headers.

use super::tlv::{self, Tls, Tlvs};
use super::{crc32c, v2};
use std::net::{IpAddr, SocketAddr};

/// A header of version 2 for a connection that is the proxy's own: a health check.
pub const LOCAL: [u8; 16] = *b"\r\n\r\n\0\r\nQUIT\n\x20\x00\x00\x00";

/// Which of the two versions is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Version {
    /// A line of text with the addresses.
    V1,
    /// A binary block, with what else is known of the client.
    V2,
}

/// A header that brokers take. It goes in front of everything else on the connection, TLS included, in one write:
/// Mosquitto 2.1 wants its first sixteen bytes in one read, and at most 500 behind them.
pub fn header(version: Version, announcement: &Announcement<'_>) -> Vec<u8> {
    match version {
        Version::V1 => announcement.v1(),
        Version::V2 => announcement.v2(BROKERS_LIMIT),
    }
}

/// A header for a connection that has no addresses: `PROXY UNKNOWN`, and in version 2 one of no family. It says nothing
/// else, since readers believe nothing that stands behind a family that they do not know.
pub fn header_without_addresses(version: Version) -> Vec<u8> {
    match version {
        Version::V1 => b"PROXY UNKNOWN\r\n".to_vec(),
        Version::V2 => [&v2::SIGNATURE[..], &[0x20 | v2::PROXY, v2::UNSPECIFIED, 0, 0]].concat(),
    }
}

const BROKERS_LIMIT: usize = 500;

/// What a proxy says of a client when it hands the client's connection on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Announcement<'a> {
    /// Where the client comes from.
    pub source: SocketAddr,
    /// Where it had connected to.
    pub destination: SocketAddr,
    /// What else is known; only version 2 can say it.
    pub tlvs: Tlvs<'a>,
}

impl Announcement<'_> {
    /// A header of version 1.
    pub fn v1(&self) -> Vec<u8> {
        let (source, destination) = self.addresses();
        let transport = if source.is_ipv4() { "TCP4" } else { "TCP6" };
        let (ports, ips) = ((self.source.port(), self.destination.port()), (source, destination));
        format!("PROXY {transport} {} {} {} {}\r\n", ips.0, ips.1, ports.0, ports.1).into_bytes()
    }

    /// A header of version 2 with at most `limit` bytes behind its first sixteen. What finds no place is left out whole,
    /// since half a name is another name: the protocol first, then the host name, the common name, all of TLS.
    pub fn v2(&self, limit: usize) -> Vec<u8> {
        let mut header = self.v2_start();
        let room = (v2::FIXED + limit.min(usize::from(u16::MAX))).saturating_sub(header.len());
        header.extend(extensions(&self.tlvs, room));
        set_length(&mut header);
        header
    }

    /// A header of version 2 with a checksum, as [`v2`](Self::v2) otherwise.
    pub fn v2_with_checksum(&self, limit: usize) -> Vec<u8> {
        let mut header = self.v2(limit.saturating_sub(CHECKSUM_SIZE));
        push(&mut header, tlv::CRC32C, &[0; 4]);
        set_length(&mut header);
        let at = header.len() - 4;
        let checksum = crc32c::of_header(&header, at);
        header.truncate(at);
        header.extend(checksum.to_be_bytes());
        header
    }

    /// The two addresses, of one family: what is IPv4 stays so only when both are.
    fn addresses(&self) -> (IpAddr, IpAddr) {
        match (self.source.ip().to_canonical(), self.destination.ip().to_canonical()) {
            (IpAddr::V4(source), IpAddr::V6(_)) => {
                (source.to_ipv6_mapped().into(), self.destination.ip().to_canonical())
            }
            (source @ IpAddr::V6(_), IpAddr::V4(destination)) => {
                (source, destination.to_ipv6_mapped().into())
            }
            same => same,
        }
    }

    /// Everything up to the extensions, with a length of 0.
    fn v2_start(&self) -> Vec<u8> {
        let addresses = self.addresses();
        let family = if addresses.0.is_ipv4() { v2::TCP4 } else { v2::TCP6 };
        let mut header = v2::SIGNATURE.to_vec();
        header.extend([0x20 | v2::PROXY, family, 0, 0]);
        for ip in [addresses.0, addresses.1] {
            match ip {
                IpAddr::V4(ip) => header.extend(ip.octets()),
                IpAddr::V6(ip) => header.extend(ip.octets()),
            }
        }
        header.extend(self.source.port().to_be_bytes());
        header.extend(self.destination.port().to_be_bytes());
        header
    }
}

const CHECKSUM_SIZE: usize = 7;

/// The extensions that find room, the most important ones first.
fn extensions(tlvs: &Tlvs<'_>, room: usize) -> Vec<u8> {
    let mut written = Vec::new();
    let mut add = |extension: Vec<u8>| {
        let fits = !extension.is_empty() && written.len() + extension.len() <= room;
        if fits {
            written.extend(extension);
        }
        fits
    };
    if let Some(tls) = &tlvs.tls
        && !add(ssl(tls))
    {
        add(ssl(&Tls { common_name: None, ..*tls }));
    }
    if let Some(authority) = tlvs.authority {
        add(extension(tlv::AUTHORITY, authority.as_bytes()));
    }
    if let Some(alpn) = tlvs.alpn {
        add(extension(tlv::ALPN, alpn));
    }
    written
}

fn ssl(tls: &Tls<'_>) -> Vec<u8> {
    let mut flags = tlv::CLIENT_SSL;
    if tls.certificate_now {
        flags |= tlv::CLIENT_CERT_CONN;
    }
    if tls.certificate_in_session {
        flags |= tlv::CLIENT_CERT_SESS;
    }
    let mut value = vec![flags];
    value.extend(tls.verify.to_be_bytes());
    for (kind, name) in [(tlv::SSL_VERSION, tls.version), (tlv::SSL_CN, tls.common_name)] {
        if let Some(name) = name {
            value.extend(extension(kind, name.as_bytes()));
        }
    }
    extension(tlv::SSL, &value)
}

/// Empty where the value is longer than a length can say.
fn extension(kind: u8, value: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    push(&mut bytes, kind, value);
    bytes
}

fn push(bytes: &mut Vec<u8>, kind: u8, value: &[u8]) {
    if let Ok(length) = u16::try_from(value.len()) {
        bytes.push(kind);
        bytes.extend(length.to_be_bytes());
        bytes.extend(value);
    }
}

/// Writes the length that the header has by now; the limit is one that it can say.
fn set_length(header: &mut [u8]) {
    let length = u16::try_from(header.len().saturating_sub(v2::FIXED)).unwrap_or(u16::MAX);
    if let Some(field) = header.get_mut(14..v2::FIXED) {
        field.copy_from_slice(&length.to_be_bytes());
    }
}
