//! What a handshake tells of a client.

use super::settings::name_of;
use crate::wire::tls::Ja4;
use crate::wire::x509;
use aws_lc_rs::digest::{SHA256, digest};
use compact_str::CompactString;
use std::fmt::Write;
use tokio_rustls::rustls::{CommonState, HandshakeKind, ProtocolVersion};

/// What a handshake tells of a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFacts {
    /// `1.2` or `1.3`.
    pub version: &'static str,
    /// The cipher suite, as IANA names it.
    pub cipher: CompactString,
    /// The name of the server that it asked for.
    pub server_name: Option<CompactString>,
    /// The protocol that was agreed upon.
    pub alpn: Option<CompactString>,
    /// What its first message looks like.
    pub ja4: Ja4,
    /// It has been here before, and showed a ticket for it.
    pub is_resumed: bool,
    /// The certificate that it showed.
    pub cert: Option<CertFacts>,
}

/// What a client's certificate says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertFacts {
    /// The common name, where it has one.
    pub cn: Option<CompactString>,
    /// The subject: `CN=dev-1,O=Example,C=DE`.
    pub dn: CompactString,
    /// The serial number in hexadecimal: `0A1B2C`.
    pub serial: CompactString,
    /// The SHA-256 of the certificate, in 64 digits of hexadecimal.
    pub sha256: CompactString,
    /// It is good until then, in seconds since 1970.
    pub not_after: i64,
}

/// A part of a certificate that can name its holder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CertField {
    /// The common name.
    Cn,
    /// The subject.
    Dn,
    /// The serial number.
    Serial,
    /// The SHA-256 of the certificate.
    Sha256,
}

impl TlsFacts {
    pub(super) fn new(connection: &CommonState, ja4: Ja4, server_name: Option<CompactString>) -> TlsFacts {
        let leaf = connection.peer_certificates().and_then(<[_]>::first);
        TlsFacts {
            version: match connection.protocol_version() {
                Some(ProtocolVersion::TLSv1_3) => "1.3",
                _ => "1.2",
            },
            cipher: connection
                .negotiated_cipher_suite()
                .map(|suite| name_of(suite.suite()).into())
                .unwrap_or_default(),
            server_name,
            alpn: connection.alpn_protocol().map(|name| String::from_utf8_lossy(name).into()),
            ja4,
            is_resumed: connection.handshake_kind() == Some(HandshakeKind::Resumed),
            cert: leaf.and_then(|leaf| CertFacts::read(leaf)),
        }
    }
}

impl CertFacts {
    /// What this part says; `None` where it says nothing.
    pub fn field(&self, field: CertField) -> Option<&str> {
        let said = match field {
            CertField::Cn => self.cn.as_deref()?,
            CertField::Dn => &self.dn,
            CertField::Serial => &self.serial,
            CertField::Sha256 => &self.sha256,
        };
        Some(said).filter(|said| !said.is_empty())
    }

    /// `None` where it cannot be understood.
    pub(super) fn read(der: &[u8]) -> Option<CertFacts> {
        let x509::Certificate { cn, dn, serial, not_after, .. } = x509::read(der)?;
        let mut sha256 = CompactString::with_capacity(64);
        for byte in digest(&SHA256, der).as_ref() {
            // Writing to a string does not fail.
            let _ = write!(sha256, "{byte:02x}");
        }
        Some(CertFacts { cn: cn.map(Into::into), dn: dn.into(), serial: serial.into(), sha256, not_after })
    }
}
