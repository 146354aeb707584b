//! Reads a ClientHello: strictly where it is framed, leniently where only rustls has to understand it.

use super::cursor::Cursor;
use super::is_grease;
use super::record::first_message;
use crate::wire::Reading;
use std::borrow::Cow;

/// The largest ClientHello that is read, in bytes. One with post-quantum keys has some 1,500; none that is meant well
/// has more than a few times that.
pub const MAX_HELLO: usize = 16 * 1024;

/// Bytes that begin no ClientHello, or one that is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotHello {
    /// The first byte of a record is none that TLS knows.
    #[error("{}", describe(*.0))]
    NotTls(u8),
    /// It begins with an alert.
    #[error("a TLS alert where a ClientHello was expected")]
    Alert,
    /// A record that nobody may send.
    #[error("a TLS record of {size} bytes where a ClientHello was expected")]
    BadRecord {
        /// What it says its length is.
        size: usize,
    },
    /// Another handshake message.
    #[error("TLS handshake message {0} where a ClientHello was expected")]
    OtherMessage(u8),
    /// It is larger than what is read.
    #[error("ClientHello of {size} bytes; expected at most {MAX_HELLO}")]
    TooLarge {
        /// What it says its length is, in bytes.
        size: usize,
    },
    /// A part of it is cut off, or runs on.
    #[error("malformed ClientHello: its {0} does not fit")]
    Malformed(&'static str),
}

fn describe(first: u8) -> Cow<'static, str> {
    Cow::Borrowed(match first {
        0x10 => "plain MQTT on a TLS listener",
        0x80..=0xFF => "no TLS, or SSL 2.0, on a TLS listener",
        b'P' => "plain HTTP, or a PROXY header, on a TLS listener",
        b'A'..=b'Z' => "plain HTTP on a TLS listener",
        0x0D => "a PROXY header where TLS was expected",
        _ => return Cow::Owned(format!("no TLS: begins with byte {first:#04x}")),
    })
}

/// What a client offers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hello<'a> {
    /// The version that clients say here since 1.3 has another place for it: 1.2.
    pub legacy_version: u16,
    ciphers: &'a [u8],
    extensions: &'a [u8],
}

/// Reads the ClientHello that `bytes` begin with, which may span records. What it says is in the buffer, so that it
/// can be taken apart with [`Hello::parse`].
///
/// # Errors
/// They begin no ClientHello, or one that is too large; this shows at the first byte that cannot belong to one.
pub fn read(bytes: &[u8]) -> Result<Reading<Cow<'_, [u8]>>, NotHello> {
    let read = first_message(bytes)?;
    // Records may be as small as a byte; what they are wrapped in counts, too.
    match read {
        Reading::NeedMore(_) if bytes.len() > 2 * MAX_HELLO => Err(NotHello::TooLarge { size: bytes.len() }),
        read => Ok(read),
    }
}

impl<'a> Hello<'a> {
    /// Takes a ClientHello apart that [`read`] has put together. \[RFC 8446, section 4.1.2\]
    ///
    /// # Errors
    /// Its parts do not fit into it.
    pub fn parse(message: &'a [u8]) -> Result<Hello<'a>, NotHello> {
        let mut cursor = Cursor::new(message);
        let cut = |part| move || NotHello::Malformed(part);
        let legacy_version = cursor.u16().ok_or_else(cut("version"))?;
        cursor.take(32).ok_or_else(cut("random"))?;
        cursor.piece8().filter(|id| id.len() <= 32).ok_or_else(cut("session id"))?;
        let ciphers =
            cursor.piece16().filter(|list| list.len() % 2 == 0).ok_or_else(cut("list of cipher suites"))?;
        cursor.piece8().filter(|list| !list.is_empty()).ok_or_else(cut("list of compression methods"))?;
        // Until 1.2, extensions may be missing altogether. [RFC 5246, section 7.4.1.2]
        let extensions =
            if cursor.is_empty() { &[] } else { cursor.piece16().ok_or_else(cut("list of extensions"))? };
        if !cursor.is_empty() {
            return Err(NotHello::Malformed("end"));
        }
        let hello = Hello { legacy_version, ciphers, extensions };
        let mut walk = Cursor::new(extensions);
        while !walk.is_empty() {
            walk.u16().and_then(|_| walk.piece16()).ok_or_else(cut("extension"))?;
        }
        Ok(hello)
    }

    /// The cipher suites, in the order of the client, made-up ones included.
    pub fn ciphers(&self) -> impl Iterator<Item = u16> + use<'a> {
        numbers(self.ciphers)
    }

    /// The extensions, in the order of the client, made-up ones included: number and content.
    pub fn extensions(&self) -> impl Iterator<Item = (u16, &'a [u8])> + use<'a> {
        let mut cursor = Cursor::new(self.extensions);
        std::iter::from_fn(move || Some((cursor.u16()?, cursor.piece16()?)))
    }

    /// What an extension holds, where the client sent it.
    pub fn extension(&self, number: u16) -> Option<&'a [u8]> {
        self.extensions().find(|(other, _)| *other == number).map(|(_, content)| content)
    }

    /// The versions that the client speaks since 1.3, in its order; nothing where it does not say.
    pub fn versions(&self) -> impl Iterator<Item = u16> + use<'a> {
        let list = self.extension(SUPPORTED_VERSIONS).and_then(|content| Cursor::new(content).piece8());
        numbers(list.unwrap_or_default())
    }

    /// The newest version that the client speaks; `None` where it names none. What it makes up does not count.
    pub fn newest_version(&self) -> Option<u16> {
        if self.extension(SUPPORTED_VERSIONS).is_some() {
            self.versions().filter(|version| !is_grease(*version)).max()
        } else {
            Some(self.legacy_version)
        }
    }

    /// The signature algorithms, in the order of the client.
    pub fn signature_algorithms(&self) -> impl Iterator<Item = u16> + use<'a> {
        let list = self.extension(SIGNATURE_ALGORITHMS).and_then(|content| Cursor::new(content).piece16());
        numbers(list.unwrap_or_default())
    }

    /// The protocols that the client wants to speak, in its order. \[RFC 7301, section 3.1\]
    pub fn alpn(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let list = self.extension(ALPN).and_then(|content| Cursor::new(content).piece16());
        let mut cursor = Cursor::new(list.unwrap_or_default());
        std::iter::from_fn(move || cursor.piece8())
    }

    /// The name of the server that the client wants, as it wrote it. \[RFC 6066, section 3\]
    pub fn server_name(&self) -> Option<&'a str> {
        const HOST_NAME: u8 = 0;
        let list = Cursor::new(self.extension(SERVER_NAME)?).piece16()?;
        let mut cursor = Cursor::new(list);
        while let (Some(kind), Some(name)) = (cursor.u8(), cursor.piece16()) {
            if kind == HOST_NAME {
                return std::str::from_utf8(name).ok().filter(|name| name.is_ascii());
            }
        }
        None
    }
}

pub(super) const SERVER_NAME: u16 = 0x0000;
const SIGNATURE_ALGORITHMS: u16 = 0x000D;
pub(super) const ALPN: u16 = 0x0010;
const SUPPORTED_VERSIONS: u16 = 0x002B;

fn numbers(list: &[u8]) -> impl Iterator<Item = u16> + use<'_> {
    list.as_chunks().0.iter().map(|pair| u16::from_be_bytes(*pair))
}

#[cfg(test)]
pub(super) mod tests;
