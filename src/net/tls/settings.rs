//! What can be set for a TLS listener.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;
use tokio_rustls::rustls::crypto::aws_lc_rs::ALL_CIPHER_SUITES;
use tokio_rustls::rustls::{CipherSuite, SupportedCipherSuite};

/// How a listener speaks TLS. Files are named here and read by [`TlsServer::load`](super::TlsServer::load).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsSettings {
    /// What it shows, in the order of preference; at least one. The first is for whoever asks for no name.
    pub certificates: Vec<KeyPair>,
    /// What happens to a client that asks for a name for which there is no certificate.
    pub unknown_name: UnknownName,
    /// The oldest version that is spoken.
    pub min_version: MinVersion,
    /// The cipher suites that are spoken; all that are known where none is named.
    pub cipher_suites: Vec<CipherSuiteName>,
    /// The protocols of which a client that offers any must offer one; none where that does not matter.
    pub alpn: Vec<String>,
    /// Clients that come back may skip most of the handshake.
    pub resumption: bool,
    /// How many sessions are kept for clients of TLS 1.2 that take no tickets.
    pub session_cache: usize,
    /// Whether clients show a certificate.
    pub client_auth: ClientAuth,
    /// The authorities that clients' certificates come from.
    pub client_ca: Option<PathBuf>,
    /// Lists of certificates that those authorities have revoked.
    pub client_crl: Vec<PathBuf>,
    /// How long the whole handshake may take.
    pub handshake_timeout: Duration,
    /// How many handshakes are computed at once; one for each processor where it is not said.
    pub max_handshakes: Option<NonZeroUsize>,
    /// How long before its end a certificate is warned about.
    pub expiry_warning: Duration,
}

/// A certificate and its private key, as PEM files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyPair {
    /// The certificate, and behind it those that lead to its authority.
    pub cert: PathBuf,
    /// The private key.
    pub key: PathBuf,
}

/// What happens to a client that asks for a name for which there is no certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnknownName {
    /// It is shown the first certificate.
    First,
    /// It is refused.
    Refuse,
}

/// The oldest version of TLS that is spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MinVersion {
    /// TLS 1.2.
    V12,
    /// TLS 1.3.
    V13,
}

/// Whether clients show a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientAuth {
    /// They are not asked.
    Off,
    /// They are asked; whoever has none may enter, whoever shows a bad one may not.
    Optional,
    /// They must.
    Required,
}

/// A cipher suite that we can speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CipherSuiteName(CipherSuite);

impl CipherSuiteName {
    /// The suite, where the provider has it.
    pub(super) fn suite(self) -> Option<SupportedCipherSuite> {
        ALL_CIPHER_SUITES.iter().find(|suite| suite.suite() == self.0).copied()
    }

    /// True for suites of TLS 1.3.
    pub fn is_tls13(self) -> bool {
        self.suite().is_some_and(|suite| suite.tls13().is_some())
    }
}

/// The name as IANA has it: `TLS_AES_128_GCM_SHA256`, `TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256`.
pub(super) fn name_of(suite: CipherSuite) -> String {
    let name = suite.as_str().unwrap_or("unknown");
    name.replacen("TLS13_", "TLS_", 1)
}

impl FromStr for CipherSuiteName {
    type Err = String;

    fn from_str(name: &str) -> Result<CipherSuiteName, String> {
        let known = || ALL_CIPHER_SUITES.iter().map(SupportedCipherSuite::suite);
        known().find(|suite| name_of(*suite) == name).map(CipherSuiteName).ok_or_else(|| {
            let names: Vec<_> = known().map(name_of).collect();
            format!("is no cipher suite that is safe to speak; expected some of {}", names.join(", "))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cipher_suites_have_the_names_of_iana_and_weak_ones_are_not_known() {
        for (name, is_tls13) in [
            ("TLS_AES_256_GCM_SHA384", true),
            ("TLS_CHACHA20_POLY1305_SHA256", true),
            ("TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256", false),
        ] {
            assert_eq!(name.parse().map(CipherSuiteName::is_tls13), Ok(is_tls13), "{name}");
        }
        for name in
            ["TLS_RSA_WITH_AES_128_CBC_SHA", "TLS_RSA_WITH_RC4_128_MD5", "ECDHE-RSA-AES128-GCM-SHA256", ""]
        {
            let refused = name.parse::<CipherSuiteName>().expect_err("weak or unknown");
            assert!(refused.contains("TLS_AES_128_GCM_SHA256, "), "{refused}");
        }
    }
}
