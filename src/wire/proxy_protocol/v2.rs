//! Version 2: a binary block. Section 2.2.

use super::{Header, HeaderError, Origin, Reading, Tlvs, crc32c, tlv};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

pub(super) const FIRST_BYTE: u8 = 0x0D;

/// How a header begins. It can be no text, and no beginning of another protocol.
pub(super) const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";

/// Signature, version and command, family, length.
pub(super) const FIXED: usize = 16;

/// The largest header that is taken, in bytes. Addresses and names take a few hundred; there is room for a client's
/// certificate, which some proxies send along.
pub const MAX_SIZE: usize = 8 * 1024;

pub(super) const LOCAL: u8 = 0;
pub(super) const PROXY: u8 = 1;

pub(super) const UNSPECIFIED: u8 = 0x00;
pub(super) const TCP4: u8 = 0x11;
pub(super) const TCP6: u8 = 0x21;
const UNIX_STREAM: u8 = 0x31;
/// How many bytes the two paths of [`UNIX_STREAM`] take.
const UNIX_SIZE: usize = 216;

pub(super) fn read(bytes: &[u8]) -> Result<Reading<Header<'_>>, HeaderError> {
    let have = bytes.len().min(SIGNATURE.len());
    if bytes.get(..have) != SIGNATURE.get(..have) {
        return Err(HeaderError::Signature);
    }
    if let Some(&byte) = bytes.get(12)
        && byte >> 4 != 2
    {
        return Err(HeaderError::Version(byte >> 4));
    }
    let Some(&[.., command, family, high, low]) = bytes.first_chunk::<FIXED>() else {
        return Ok(Reading::NeedMore(FIXED - bytes.len()));
    };
    let size = FIXED + usize::from(u16::from_be_bytes([high, low]));
    if size > MAX_SIZE {
        return Err(HeaderError::TooLarge { found: size });
    }
    let Some(header) = bytes.get(..size) else {
        return Ok(Reading::NeedMore(size - bytes.len()));
    };
    let (origin, tlvs) = match command & 0x0F {
        // "The receiver must ... use the real connection endpoints and discard the protocol block including the family."
        LOCAL => (Origin::Local, Tlvs::default()),
        PROXY => proxied(family, header)?,
        command => return Err(HeaderError::Command(command)),
    };
    Ok(Reading::Complete(Header { origin, tlvs, size }))
}

fn proxied(family: u8, header: &[u8]) -> Result<(Origin, Tlvs<'_>), HeaderError> {
    let block = header.get(FIXED..).unwrap_or_default();
    let (origin, extensions) = match family {
        // Nothing of the block can be relied on, not even where its extensions begin.
        UNSPECIFIED => return Ok((Origin::Unknown, Tlvs::default())),
        TCP4 => {
            let (addresses, rest) = split::<12>(block)?;
            let (source, destination, ports) = fields(addresses);
            (client(Ipv4Addr::from(source).into(), Ipv4Addr::from(destination).into(), ports), rest)
        }
        TCP6 => {
            let (addresses, rest) = split::<36>(block)?;
            let (source, destination, ports) = fields(addresses);
            (client(Ipv6Addr::from(source).into(), Ipv6Addr::from(destination).into(), ports), rest)
        }
        // Whoever comes by a path is on the proxy's machine.
        UNIX_STREAM => (Origin::Unknown, split::<UNIX_SIZE>(block)?.1),
        family => return Err(HeaderError::Family(family)),
    };
    let (tlvs, checksum) = tlv::read(extensions)?;
    if let Some(expected) = checksum {
        let at = header.len() - extensions.len() + expected.offset;
        if crc32c::of_header(header, at) != expected.value {
            return Err(HeaderError::Checksum);
        }
    }
    Ok((origin, tlvs))
}

fn client(source: IpAddr, destination: IpAddr, ports: [u8; 4]) -> Origin {
    let [a, b, c, d] = ports;
    Origin::Client {
        source: SocketAddr::new(source, u16::from_be_bytes([a, b])),
        destination: SocketAddr::new(destination, u16::from_be_bytes([c, d])),
    }
}

fn split<const N: usize>(block: &[u8]) -> Result<(&[u8], &[u8]), HeaderError> {
    block.split_at_checked(N).ok_or(HeaderError::Short { found: block.len(), expected: N })
}

/// Two addresses of `N` bytes, and two ports.
fn fields<const N: usize>(bytes: &[u8]) -> ([u8; N], [u8; N], [u8; 4]) {
    let (mut source, mut destination, mut ports) = ([0; N], [0; N], [0; 4]);
    let fields = source.iter_mut().chain(&mut destination).chain(&mut ports);
    for (field, byte) in fields.zip(bytes) {
        *field = *byte;
    }
    (source, destination, ports)
}
