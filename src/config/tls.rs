//! `[listener.tls]`: what a listener shows, and whom it believes.

use super::document::Section;
use super::file::{FilePath, MILLISECOND};
use crate::net::tls::{
    CertField, CipherSuiteName, ClientAuth, KeyPair, MinVersion, TlsSettings, UnknownName,
};
use crate::proxy::PeerCertAs;
use std::num::NonZeroUsize;
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

/// What was read of a table that only some listeners have.
pub(super) struct Tls {
    pub(super) settings: Option<Arc<TlsSettings>>,
}

/// Reads the table of a listener of this type; `label` is the listener's own in settings.
pub(super) fn read(
    listener: &Section<'_, '_>,
    (is_tls, is_websocket): (bool, bool),
    label: Option<String>,
    folder: &Path,
) -> Option<Tls> {
    let is_there = listener.has("tls");
    let mut section = listener.section("tls");
    section.label(label.map(|label| format!("{label}.tls")));
    if !is_tls {
        if is_there {
            listener.mistake(
                "tls",
                "stands at a listener that speaks no TLS; expected type = \"tls\" or \"wss\"",
            );
        }
        return Some(Tls { settings: None });
    }
    if !is_there {
        listener.mistake("tls", "is missing; expected { cert = \"server.pem\", key = \"server.key\" }");
        return None;
    }
    let first = read_pair(&section, folder);
    let more: Option<Vec<KeyPair>> = section
        .sections("more")
        .into_iter()
        .map(|mut pair| {
            pair.label(None);
            let read = read_pair(&pair, folder);
            pair.finish();
            read
        })
        .collect::<Vec<_>>()
        .into_iter()
        .collect();
    let unknown_name = section.choice(
        "unknown_name",
        "\"first\"",
        &[("first", UnknownName::First), ("refuse", UnknownName::Refuse)],
    );
    let min_version =
        section.choice("min_version", "\"1.2\"", &[("1.2", MinVersion::V12), ("1.3", MinVersion::V13)]);
    let cipher_suites = read_suites(&section, min_version);
    // A WebSocket begins as HTTP/1.1.
    let (text, protocol) = if is_websocket { ("[\"http/1.1\"]", "http/1.1") } else { ("[\"mqtt\"]", "mqtt") };
    let alpn: Vec<Protocol> =
        section.list_or("alpn", (text, vec![Protocol(protocol.to_owned())]), "names of protocols");
    let resumption = section.switch("resumption", "true");
    let session_cache = section.number("session_cache", "1000", 0..1_000_001);
    let client = read_client(&section, folder);
    let handshake_timeout = section.duration("handshake_timeout", "\"10s\"", MILLISECOND);
    let max_handshakes = section.number("max_handshakes", "0", 0..100_001);
    let expiry_warning = section.duration("expiry_warning", "\"2w\"", Duration::ZERO);
    section.finish();

    let (client_auth, client_ca, client_crl) = client?;
    let settings = TlsSettings {
        certificates: std::iter::once(first?).chain(more?).collect(),
        unknown_name: unknown_name?,
        min_version: min_version?,
        cipher_suites,
        alpn: alpn.into_iter().map(|protocol| protocol.0).collect(),
        resumption: resumption?,
        session_cache: usize::try_from(session_cache?).ok()?,
        client_auth,
        client_ca,
        client_crl,
        handshake_timeout: handshake_timeout?,
        max_handshakes: NonZeroUsize::new(usize::try_from(max_handshakes?).ok()?),
        expiry_warning: expiry_warning?,
    };
    Some(Tls { settings: Some(Arc::new(settings)) })
}

fn read_pair(section: &Section<'_, '_>, folder: &Path) -> Option<KeyPair> {
    let cert: Option<FilePath> =
        section.required("cert", "a file with the certificate (PEM), e.g. \"server.pem\"");
    let key: Option<FilePath> =
        section.required("key", "a file with its private key (PEM), e.g. \"server.key\"");
    Some(KeyPair { cert: folder.join(cert?.0), key: folder.join(key?.0) })
}

fn read_suites(section: &Section<'_, '_>, min_version: Option<MinVersion>) -> Vec<CipherSuiteName> {
    let suites: Vec<CipherSuiteName> = section.list_or(
        "cipher_suites",
        ("[]", Vec::new()),
        "names of cipher suites, e.g. \"TLS_AES_128_GCM_SHA256\"",
    );
    let has = |is_tls13| suites.iter().any(|suite| suite.is_tls13() == is_tls13);
    if !suites.is_empty() && !has(true) && min_version == Some(MinVersion::V13) {
        section.mistake("cipher_suites", "has none of TLS 1.3; expected one, or min_version = \"1.2\"");
    }
    suites
}

type Client = (ClientAuth, Option<std::path::PathBuf>, Vec<std::path::PathBuf>);

fn read_client(section: &Section<'_, '_>, folder: &Path) -> Option<Client> {
    let auth = section.choice(
        "client_auth",
        "\"off\"",
        &[("off", ClientAuth::Off), ("optional", ClientAuth::Optional), ("required", ClientAuth::Required)],
    );
    let ca = section.optional::<FilePath>("client_ca").map(|path| folder.join(path.0));
    let crl: Vec<FilePath> =
        section.optional_list("client_crl", "files of revocation lists (PEM)").unwrap_or_default();
    match auth {
        Some(ClientAuth::Off) if section.has("client_ca") => {
            section
                .mistake("client_ca", "has no effect; expected client_auth = \"optional\" or \"required\"");
        }
        Some(ClientAuth::Optional | ClientAuth::Required) if !section.has("client_ca") => {
            section.mistake("client_ca", "is missing; expected a file with the authorities of clients (PEM)");
        }
        _ => {}
    }
    if ca.is_none() && !crl.is_empty() {
        section.mistake("client_crl", "has no effect without client_ca");
    }
    Some((auth?, ca, crl.into_iter().map(|path| folder.join(path.0)).collect()))
}

/// `peer_cert_as_username` and `peer_cert_as_clientid` of a listener, as EMQX has them.
pub(super) fn read_identity(
    listener: &Section<'_, '_>,
    tls: Option<&Tls>,
    is_announced: bool,
) -> Option<PeerCertAs> {
    const FIELDS: [(&str, Option<CertField>); 5] = [
        ("disabled", None),
        ("cn", Some(CertField::Cn)),
        ("dn", Some(CertField::Dn)),
        ("serial", Some(CertField::Serial)),
        ("sha256", Some(CertField::Sha256)),
    ];
    let read = |key| {
        let field = listener.choice(key, "\"disabled\"", &FIELDS);
        let settings = tls.and_then(|tls| tls.settings.as_ref());
        // A load balancer may say what the certificate says.
        let is_asked =
            is_announced || settings.is_some_and(|settings| settings.client_auth != ClientAuth::Off);
        if tls.is_some() && !is_asked && field.flatten().is_some() {
            listener.mistake(
                key,
                "has no certificate to take it from; expected tls.client_auth = \"optional\" or \"required\"",
            );
        }
        field
    };
    let (username, client_id) = (read("peer_cert_as_username"), read("peer_cert_as_clientid"));
    Some(PeerCertAs { username: username?, client_id: client_id? })
}

/// The name of a protocol as ALPN carries it. \[RFC 7301, section 3.1\]
struct Protocol(String);

impl FromStr for Protocol {
    type Err = &'static str;

    fn from_str(name: &str) -> Result<Protocol, &'static str> {
        if (1..=255).contains(&name.len()) {
            Ok(Protocol(name.to_owned()))
        } else {
            Err("is no name of a protocol; expected 1 to 255 bytes, e.g. \"mqtt\"")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, ListenerConfig};

    fn parse(listener: &str) -> Result<ListenerConfig, Vec<String>> {
        let text = format!(
            "[upstream]\nservers = [\"127.0.0.1:1884\"]\n[[listener]]\nname = \"tls\"\nbind = \"0.0.0.0:8883\"\n{listener}"
        );
        let config = Config::parse("/etc/x/test.toml", &text);
        config
            .map(|config| config.listeners[0].clone())
            .map_err(|found| found.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn a_certificate_and_its_key_are_enough() {
        let listener = parse("type = \"tls\"\ntls = { cert = \"s.pem\", key = \"/k/s.key\" }").expect("good");
        let tls = listener.door.tls.expect("TLS");
        let first = KeyPair { cert: "/etc/x/s.pem".into(), key: "/k/s.key".into() };
        assert_eq!((&tls.certificates[..], &tls.alpn[..]), (&[first][..], &["mqtt".to_owned()][..]));
        assert_eq!(
            (tls.min_version, tls.client_auth, tls.max_handshakes),
            (MinVersion::V12, ClientAuth::Off, None)
        );
    }

    #[test]
    fn everything_can_be_said() {
        let listener = parse(
            "type = \"tls\"\npeer_cert_as_username = \"cn\"\npeer_cert_as_clientid = \"sha256\"\n[listener.tls]\n\
             cert = \"a.pem\"\nkey = \"a.key\"\nmore = [{ cert = \"b.pem\", key = \"b.key\" }]\n\
             unknown_name = \"refuse\"\nmin_version = \"1.3\"\ncipher_suites = [\"TLS_AES_128_GCM_SHA256\"]\nalpn = []\n\
             client_auth = \"required\"\nclient_ca = \"ca.pem\"\nclient_crl = [\"crl.pem\"]\nmax_handshakes = 3",
        );
        let door = listener.expect("good").door;
        let tls = door.tls.expect("TLS");
        assert_eq!((tls.certificates.len(), tls.cipher_suites.len(), tls.client_crl.len()), (2, 1, 1));
        let identity = PeerCertAs { username: Some(CertField::Cn), client_id: Some(CertField::Sha256) };
        assert_eq!(door.peer_cert_as, identity);
    }

    #[test]
    fn every_mistake_is_found() {
        for (listener, expected) in [
            ("type = \"tls\"", "listener[0].tls: is missing; expected { cert"),
            ("tls = { cert = \"a\", key = \"b\" }", "stands at a listener that speaks no TLS"),
            ("type = \"tls\"\ntls = { cert = \"a\" }", "listener[0].tls.key: is missing"),
            (
                "type = \"tls\"\ntls = { cert = \"a\", key = \"b\", min_version = \"1.1\" }",
                "expected one of \"1.2\", \"1.3\"",
            ),
            (
                "type = \"tls\"\ntls = { cert = \"a\", key = \"b\", client_auth = \"required\" }",
                "client_ca: is missing",
            ),
            (
                "type = \"tls\"\ntls = { cert = \"a\", key = \"b\", client_ca = \"c\" }",
                "client_ca: has no effect",
            ),
            (
                "type = \"tls\"\ntls = { cert = \"a\", key = \"b\", client_crl = [\"c\"] }",
                "client_crl: has no effect",
            ),
            (
                "type = \"tls\"\ntls = { cert = \"a\", key = \"b\", cipher_suites = [\"RC4\"] }",
                "is no cipher suite that is safe",
            ),
            (
                "type = \"tls\"\ntls = { cert = \"a\", key = \"b\", min_version = \"1.3\", cipher_suites = [\"TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256\"] }",
                "has none of TLS 1.3",
            ),
            (
                "type = \"tls\"\npeer_cert_as_username = \"cn\"\ntls = { cert = \"a\", key = \"b\" }",
                "peer_cert_as_username: has no certificate to take it from",
            ),
            (
                "type = \"tls\"\ntls = { cert = \"a\", key = \"b\", more = [{ cert = \"c\" }] }",
                "more[0].key: is missing",
            ),
            ("type = \"tls\"\ntls = { cert = \"a\", key = \"b\", sni = 1 }", "is not an option"),
        ] {
            let found = parse(listener).expect_err(listener);
            assert!(found.iter().any(|mistake| mistake.contains(expected)), "{listener}: {found:?}");
        }
    }
}
