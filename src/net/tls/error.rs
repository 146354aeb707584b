//! Why a handshake came to nothing, in words.

use crate::wire::tls::NotHello;
use std::fmt;
use std::io;
use tokio_rustls::rustls::{AlertDescription, CertificateError, Error, PeerIncompatible};

/// How a connection ended that did not come to speak TLS.
#[derive(Debug, thiserror::Error)]
pub enum Ended {
    /// It closed before its first byte: a load balancer's health check does that.
    #[error("closed without a byte")]
    Probe,
    /// It closed in the middle.
    #[error("closed in the TLS handshake, after {0} bytes")]
    ClosedEarly(usize),
    /// The connection broke.
    #[error("connection broke in the TLS handshake")]
    Broke(#[source] io::Error),
    /// It took too long.
    #[error("no TLS handshake in time")]
    TimedOut,
    /// It speaks no TLS, or none that we do, or may not speak it with us.
    #[error("TLS handshake failed: {0}")]
    Refused(Refused),
}

/// Why a handshake was refused, by us or by the client.
#[derive(Debug, Clone, PartialEq)]
pub enum Refused {
    /// What it sent is no ClientHello.
    NotHello(NotHello),
    /// There is no certificate for the name that it asks for.
    UnknownName(String),
    /// It offers none of our protocols; these are the first that it offers.
    NoProtocol(String),
    /// Its newest version is too old.
    NoVersion(&'static str),
    /// It offers none of our cipher suites.
    NoCipher,
    /// rustls found a reason.
    Tls(Error),
}

impl Refused {
    /// The reason in one word, for metrics: there are few.
    pub fn as_str(&self) -> &'static str {
        match self {
            Refused::NotHello(
                NotHello::Malformed(_) | NotHello::TooLarge { .. } | NotHello::BadRecord { .. },
            ) => "malformed",
            Refused::NotHello(_) => "not_tls",
            Refused::UnknownName(_) => "unknown_name",
            Refused::NoProtocol(_) => "no_protocol",
            Refused::NoVersion(_) => "no_version",
            Refused::NoCipher => "no_cipher",
            Refused::Tls(error) => match error {
                // rustls says so where no certificate goes with what the client can check.
                Error::PeerIncompatible(_) | Error::General(_) => "no_cipher",
                Error::NoCertificatesPresented => "no_certificate",
                Error::InvalidCertificate(_) => "bad_certificate",
                Error::AlertReceived(_) => "refused_by_client",
                _ => "malformed",
            },
        }
    }

    /// Every word of [`as_str`](Refused::as_str).
    pub const ALL: [&'static str; 9] = [
        "not_tls",
        "malformed",
        "unknown_name",
        "no_protocol",
        "no_version",
        "no_cipher",
        "no_certificate",
        "bad_certificate",
        "refused_by_client",
    ];

    /// True when it was the client that did not want us.
    pub fn is_by_client(&self) -> bool {
        matches!(self, Refused::Tls(Error::AlertReceived(_)))
    }

    /// True when what the client sent breaks the protocol, and is not just something that we do not speak or believe.
    pub fn is_malformed(&self) -> bool {
        matches!(self.as_str(), "malformed" | "not_tls")
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refused::NotHello(error) => error.fmt(f),
            Refused::UnknownName(name) => write!(f, "no certificate for the server name {name:?}"),
            Refused::NoProtocol(offered) => write!(f, "no common ALPN protocol; the client offers {offered}"),
            Refused::NoVersion(newest) => {
                write!(f, "no common TLS version; the client speaks up to {newest}")
            }
            Refused::NoCipher => f.write_str("no common cipher suite"),
            Refused::Tls(error) => tell(error, f),
        }
    }
}

/// True where the client has said that it does not go on.
pub fn is_alert(error: &io::Error) -> bool {
    let tls = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>());
    matches!(tls, Some(Error::AlertReceived(_)))
}

fn tell(error: &Error, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    match error {
        Error::PeerIncompatible(what) => f.write_str(incompatible(what)),
        Error::NoCertificatesPresented => f.write_str("the client showed no certificate"),
        Error::InvalidCertificate(what) => match certificate(what) {
            Some(words) => write!(f, "the client's certificate {words}"),
            None => write!(f, "the client's certificate is not believed: {what}"),
        },
        Error::AlertReceived(alert) => write!(f, "the client refused us: {}", told(*alert)),
        Error::General(_) => f.write_str("the client can check none of our certificates"),
        Error::NoApplicationProtocol => f.write_str("no common ALPN protocol"),
        other => write!(f, "{other}"),
    }
}

fn incompatible(what: &PeerIncompatible) -> &'static str {
    match what {
        PeerIncompatible::NoCipherSuitesInCommon => "no common cipher suite",
        PeerIncompatible::NoKxGroupsInCommon
        | PeerIncompatible::NamedGroupsExtensionRequired
        | PeerIncompatible::KeyShareExtensionRequired => "no common group for the key exchange",
        PeerIncompatible::NoSignatureSchemesInCommon
        | PeerIncompatible::SignatureAlgorithmsExtensionRequired
        | PeerIncompatible::NoCertificateRequestSignatureSchemesInCommon => "no common signature scheme",
        PeerIncompatible::Tls12NotOffered
        | PeerIncompatible::Tls12NotOfferedOrEnabled
        | PeerIncompatible::SupportedVersionsExtensionRequired => "no common TLS version",
        PeerIncompatible::ExtendedMasterSecretExtensionRequired => {
            "the client cannot bind its keys to the handshake (extended master secret)"
        }
        _ => "the client and we speak nothing in common",
    }
}

fn certificate(what: &CertificateError) -> Option<&'static str> {
    Some(match what {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => "has expired",
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => "is not valid yet",
        CertificateError::Revoked => "is revoked",
        CertificateError::UnknownIssuer => "is from an unknown authority",
        CertificateError::BadSignature => "has a signature that does not fit",
        CertificateError::BadEncoding => "cannot be read",
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            "is not for clients (extended key usage)"
        }
        CertificateError::UnhandledCriticalExtension => "has a critical extension that is not understood",
        CertificateError::UnknownRevocationStatus => "may be revoked: no list says whether it is",
        _ => return None,
    })
}

/// An alert, as people who run brokers know it.
fn told(alert: AlertDescription) -> String {
    let words = match alert {
        AlertDescription::UnknownCA => "it does not know the authority of our certificate",
        AlertDescription::BadCertificate | AlertDescription::CertificateUnknown => {
            "it does not believe our certificate"
        }
        AlertDescription::CertificateExpired => "it finds our certificate expired",
        AlertDescription::CertificateRevoked => "it finds our certificate revoked",
        AlertDescription::UnsupportedCertificate => "it cannot use our certificate",
        AlertDescription::HandshakeFailure | AlertDescription::InsufficientSecurity => {
            "it speaks nothing that we do"
        }
        AlertDescription::ProtocolVersion => "it speaks none of our TLS versions",
        AlertDescription::UserCanceled | AlertDescription::CloseNotify => "it gave up",
        other => {
            return other
                .as_str()
                .map_or_else(|| format!("alert {}", u8::from(other)), |name| format!("alert {name}"));
        }
    };
    words.to_owned()
}
