//! The extensions of version 2: type, length, value. Section 2.2.1 and after.

use super::HeaderError;

/// What a header says beside the addresses. What is not here was not said, or is nothing that we understand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tlvs<'a> {
    /// The protocol that client and proxy have agreed on by ALPN.
    pub alpn: Option<&'a [u8]>,
    /// The host name that the client asked for (SNI).
    pub authority: Option<&'a str>,
    /// The client's TLS; `None` where the client did not speak TLS with the proxy.
    pub tls: Option<Tls<'a>>,
}

/// The TLS that a client speaks with the proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tls<'a> {
    /// The client has shown a certificate over this connection.
    pub certificate_now: bool,
    /// The client has shown a certificate at least once in the TLS session that this connection belongs to.
    pub certificate_in_session: bool,
    /// 0 when the certificate was found to be good; also where there is none.
    pub verify: u32,
    /// As the proxy writes it: `TLSv1.3`.
    pub version: Option<&'a str>,
    /// The common name of the certificate's subject.
    pub common_name: Option<&'a str>,
}

impl Tls<'_> {
    /// True when the client has shown a certificate, and it is a good one.
    pub fn is_verified(&self) -> bool {
        (self.certificate_now || self.certificate_in_session) && self.verify == 0
    }
}

/// What the header says that its checksum is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Checksum {
    /// Where it stands among the extensions.
    pub(super) offset: usize,
    pub(super) value: u32,
}

pub(super) const ALPN: u8 = 0x01;
pub(super) const AUTHORITY: u8 = 0x02;
pub(super) const CRC32C: u8 = 0x03;
const UNIQUE_ID: u8 = 0x05;
pub(super) const SSL: u8 = 0x20;
pub(super) const SSL_VERSION: u8 = 0x21;
pub(super) const SSL_CN: u8 = 0x22;

/// Bits of the first byte of [`SSL`]: the client connected over TLS, and the two of [`Tls`].
pub(super) const CLIENT_SSL: u8 = 0x01;
pub(super) const CLIENT_CERT_CONN: u8 = 0x02;
pub(super) const CLIENT_CERT_SESS: u8 = 0x04;

/// Reads all extensions.
pub(super) fn read(extensions: &[u8]) -> Result<(Tlvs<'_>, Option<Checksum>), HeaderError> {
    let (mut tlvs, mut checksum, mut has_tls) = (Tlvs::default(), None, false);
    let mut rest = extensions;
    while let Some((kind, value)) = next(&mut rest)? {
        match kind {
            ALPN if tlvs.alpn.is_some() => return Err(HeaderError::Twice(kind)),
            ALPN => tlvs.alpn = Some(value),
            AUTHORITY if tlvs.authority.is_some() => return Err(HeaderError::Twice(kind)),
            AUTHORITY => tlvs.authority = Some(text(kind, value)?),
            SSL if has_tls => return Err(HeaderError::Twice(kind)),
            SSL => (tlvs.tls, has_tls) = (tls(value)?, true),
            CRC32C if checksum.is_some() => return Err(HeaderError::Twice(kind)),
            CRC32C => {
                let value = u32::from_be_bytes(value.try_into().map_err(|_| HeaderError::Size(kind))?);
                checksum = Some(Checksum { offset: extensions.len() - rest.len() - 4, value });
            }
            // "The maximum length is 128 bytes."
            UNIQUE_ID if value.len() > 128 => return Err(HeaderError::Size(kind)),
            // Whatever is unknown is to be ignored: padding, name spaces, the operator's own.
            _ => {}
        }
    }
    Ok((tlvs, checksum))
}

/// Takes the next extension off `rest`.
fn next<'a>(rest: &mut &'a [u8]) -> Result<Option<(u8, &'a [u8])>, HeaderError> {
    let Some((&kind, tail)) = rest.split_first() else { return Ok(None) };
    let (length, tail) = tail.split_first_chunk::<2>().ok_or(HeaderError::Truncated(kind))?;
    let length = usize::from(u16::from_be_bytes(*length));
    let (value, tail) = tail.split_at_checked(length).ok_or(HeaderError::Truncated(kind))?;
    *rest = tail;
    Ok(Some((kind, value)))
}

/// `None` where it says that there is no TLS.
fn tls(value: &[u8]) -> Result<Option<Tls<'_>>, HeaderError> {
    let (&[flags, a, b, c, d], mut rest) = value.split_first_chunk::<5>().ok_or(HeaderError::Size(SSL))?;
    let mut tls = Tls {
        certificate_now: flags & CLIENT_CERT_CONN != 0,
        certificate_in_session: flags & CLIENT_CERT_SESS != 0,
        verify: u32::from_be_bytes([a, b, c, d]),
        ..Tls::default()
    };
    while let Some((kind, value)) = next(&mut rest)? {
        let known = match kind {
            SSL_VERSION => &mut tls.version,
            SSL_CN => &mut tls.common_name,
            _ => continue,
        };
        if known.replace(text(kind, value)?).is_some() {
            return Err(HeaderError::Twice(kind));
        }
    }
    Ok((flags & CLIENT_SSL != 0).then_some(tls))
}

/// Names end up in logs and bans, where a control character would make two of one.
fn text(kind: u8, value: &[u8]) -> Result<&str, HeaderError> {
    let text = std::str::from_utf8(value).map_err(|_| HeaderError::Text(kind))?;
    if text.chars().any(char::is_control) { Err(HeaderError::Text(kind)) } else { Ok(text) }
}
