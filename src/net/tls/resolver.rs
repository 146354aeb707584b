//! Which certificate a client is shown.

use super::files::Loaded;
use super::settings::UnknownName;
use std::collections::HashMap;
use std::sync::Arc;
use tokio_rustls::rustls::SignatureScheme;
use tokio_rustls::rustls::server::{ClientHello, ResolvesServerCert};
use tokio_rustls::rustls::sign::CertifiedKey;

/// Certificates by the names that they are for.
#[derive(Debug)]
pub(super) struct ByName {
    /// In the order of preference.
    keys: Vec<Arc<CertifiedKey>>,
    /// The positions of those that are for a name; `*.example.org` is one.
    names: HashMap<String, Vec<usize>>,
    unknown: UnknownName,
}

impl ByName {
    pub(super) fn new(loaded: &[Loaded], unknown: UnknownName) -> ByName {
        let mut names: HashMap<String, Vec<usize>> = HashMap::new();
        for (index, one) in loaded.iter().enumerate() {
            for name in &one.facts.dns_names {
                names.entry(name.clone()).or_default().push(index);
            }
        }
        ByName { keys: loaded.iter().map(|one| Arc::clone(&one.key)).collect(), names, unknown }
    }

    /// The certificates for a name. A star stands for one label, the first. \[RFC 6125, section 6.4.3\]
    fn named(&self, name: &str) -> Option<&[usize]> {
        let name = name.to_ascii_lowercase();
        let exact = self.names.get(name.as_str());
        let of_star = || self.names.get(&format!("*.{}", name.split_once('.')?.1));
        exact.or_else(of_star).map(Vec::as_slice)
    }

    /// True when a client that asks for this name is refused.
    pub(super) fn refuses(&self, name: Option<&str>) -> bool {
        self.unknown == UnknownName::Refuse && name.is_some_and(|name| self.named(name).is_none())
    }

    fn choose(&self, name: Option<&str>, schemes: &[SignatureScheme]) -> Option<&Arc<CertifiedKey>> {
        let is_usable = |key: &&Arc<CertifiedKey>| key.key.choose_scheme(schemes).is_some();
        let named = name.and_then(|name| self.named(name)).unwrap_or_default();
        // A client that cannot check the one for its name is better off with another that it can.
        named
            .iter()
            .filter_map(|index| self.keys.get(*index))
            .find(is_usable)
            .or_else(|| self.keys.iter().find(is_usable))
    }
}

impl ResolvesServerCert for ByName {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.choose(hello.server_name(), hello.signature_schemes()).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::super::files::key_pair;
    use super::super::settings::KeyPair;
    use super::*;
    use rcgen::{CertificateParams, PKCS_ECDSA_P256_SHA256, PKCS_RSA_SHA256, SignatureAlgorithm};
    use tokio_rustls::rustls::crypto::aws_lc_rs;

    fn loaded(folder: &std::path::Path, names: &[&str], algorithm: &'static SignatureAlgorithm) -> Loaded {
        let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
        let key = rcgen::KeyPair::generate_for(algorithm).expect("a key");
        let cert = CertificateParams::new(names).expect("names").self_signed(&key).expect("signed");
        let files = KeyPair { cert: folder.join("cert.pem"), key: folder.join("key.pem") };
        std::fs::write(&files.cert, cert.pem()).expect("written");
        std::fs::write(&files.key, key.serialize_pem()).expect("written");
        key_pair(&files, &aws_lc_rs::default_provider()).expect("a pair")
    }

    #[test]
    fn a_client_is_shown_what_it_asks_for_and_can_check() {
        let folder = tempfile::tempdir().expect("a folder");
        let of = |names: &[&str], algorithm| loaded(folder.path(), names, algorithm);
        let all = [
            of(&["first.example"], &PKCS_ECDSA_P256_SHA256),
            of(&["*.wild.example", "broker.example"], &PKCS_ECDSA_P256_SHA256),
            of(&["broker.example"], &PKCS_RSA_SHA256),
        ];
        let by_name = ByName::new(&all, UnknownName::First);
        let (ecdsa, rsa) = ([SignatureScheme::ECDSA_NISTP256_SHA256], [SignatureScheme::RSA_PSS_SHA256]);
        let position = |name, schemes: &[SignatureScheme]| {
            let chosen = by_name.choose(name, schemes)?;
            by_name.keys.iter().position(|key| Arc::ptr_eq(key, chosen))
        };
        for (name, schemes, expected) in [
            (None, &ecdsa[..], Some(0)),
            (Some("first.example"), &ecdsa, Some(0)),
            (Some("BROKER.example"), &ecdsa, Some(1)),
            (Some("broker.example"), &rsa, Some(2)),
            (Some("a.wild.example"), &ecdsa, Some(1)),
            (Some("a.b.wild.example"), &ecdsa, Some(0)),
            (Some("wild.example"), &ecdsa, Some(0)),
            (Some("first.example"), &rsa, Some(2)),
            (None, &[SignatureScheme::ED25519], None),
        ] {
            assert_eq!(position(name, schemes), expected, "{name:?} {schemes:?}");
        }
        assert!(!by_name.refuses(Some("other.example")));
        let strict = ByName::new(&all, UnknownName::Refuse);
        assert!(strict.refuses(Some("other.example")) && !strict.refuses(None));
        assert!(!strict.refuses(Some("x.wild.example")));
    }
}
