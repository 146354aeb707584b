//! Reads what a listener shows, and whom it believes.

use super::settings::KeyPair;
use crate::wire::x509;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio_rustls::rustls::crypto::CryptoProvider;
use tokio_rustls::rustls::pki_types::pem::{Error as PemError, PemObject};
use tokio_rustls::rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};
use tokio_rustls::rustls::server::VerifierBuilderError;
use tokio_rustls::rustls::sign::CertifiedKey;
use tokio_rustls::rustls::{Error as RustlsError, RootCertStore};

/// A file that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsFileError {
    /// It cannot be read, or is no PEM.
    #[error("cannot read {what} from {}", path.display())]
    Unreadable {
        /// What was wanted of it.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: PemError,
    },
    /// It has nothing of the kind.
    #[error("{} has no {what}; expected \"-----BEGIN {label}-----\"", path.display())]
    Empty {
        /// What was wanted of it.
        what: &'static str,
        /// How that begins.
        label: &'static str,
        /// The file.
        path: PathBuf,
    },
    /// Certificate and key do not belong together, or are of a kind that is not known.
    #[error("the certificate in {} and the key in {} cannot be used together", cert.display(), key.display())]
    Pair {
        /// The file of the certificate.
        cert: PathBuf,
        /// The file of the key.
        key: PathBuf,
        /// Why.
        #[source]
        source: RustlsError,
    },
    /// A certificate that says nothing that can be read.
    #[error("the certificate in {} cannot be understood", .0.display())]
    NoCertificate(PathBuf),
    /// An authority that cannot be believed.
    #[error("certificate {number} in {} cannot be an authority", path.display())]
    Authority {
        /// The file.
        path: PathBuf,
        /// Which one, from 1.
        number: usize,
        /// Why.
        #[source]
        source: RustlsError,
    },
    /// The lists of revoked certificates cannot be used with these authorities.
    #[error("cannot check clients' certificates with {}", .0.display())]
    Verifier(PathBuf, #[source] VerifierBuilderError),
    /// What was asked for cannot be had together.
    #[error("cannot set up TLS")]
    Setup(#[source] RustlsError),
}

/// A certificate with its key, ready to be shown.
#[derive(Debug)]
pub struct Loaded {
    /// What rustls shows.
    pub key: Arc<CertifiedKey>,
    /// What stands in it.
    pub(super) facts: x509::Certificate,
    path: PathBuf,
}

/// A certificate that we show.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    /// The file.
    pub path: PathBuf,
    /// The subject, or the first name that it is for.
    pub subject: String,
    /// It is good until then, in seconds since 1970.
    pub not_after: i64,
}

impl Loaded {
    /// What is worth telling of it.
    pub fn shown(&self) -> Shown {
        let subject = match (&self.facts.dn, self.facts.dns_names.first()) {
            (dn, Some(name)) if dn.is_empty() => name.clone(),
            (dn, _) => dn.clone(),
        };
        Shown { path: self.path.clone(), subject, not_after: self.facts.not_after }
    }
}

/// Reads a certificate and its key.
///
/// # Errors
/// They cannot be read, or not be used together.
pub fn key_pair(files: &KeyPair, provider: &CryptoProvider) -> Result<Loaded, TlsFileError> {
    let KeyPair { cert, key } = files;
    let chain: Vec<CertificateDer<'static>> = all(CERTIFICATES, cert)?;
    let facts = chain.first().and_then(|leaf| x509::read(leaf));
    let facts = facts.ok_or_else(|| TlsFileError::NoCertificate(cert.clone()))?;
    let private = PrivateKeyDer::from_pem_file(key).map_err(|source| match source {
        PemError::NoItemsFound => {
            TlsFileError::Empty { what: "private key", label: "PRIVATE KEY", path: key.clone() }
        }
        source => TlsFileError::Unreadable { what: "a private key", path: key.clone(), source },
    })?;
    let pair = |source| TlsFileError::Pair { cert: cert.clone(), key: key.clone(), source };
    let private = provider.key_provider.load_private_key(private).map_err(pair)?;
    let certified = CertifiedKey::new(chain, private);
    match certified.keys_match() {
        // A key that cannot tell its public half is tried as it is.
        Ok(()) | Err(RustlsError::InconsistentKeys(tokio_rustls::rustls::InconsistentKeys::Unknown)) => {}
        Err(source) => return Err(pair(source)),
    }
    Ok(Loaded { key: Arc::new(certified), facts, path: cert.clone() })
}

pub(super) fn authorities(path: &Path) -> Result<RootCertStore, TlsFileError> {
    let mut roots = RootCertStore::empty();
    for (index, authority) in all(CERTIFICATES, path)?.into_iter().enumerate() {
        let bad = |source| TlsFileError::Authority { path: path.to_owned(), number: index + 1, source };
        roots.add(authority).map_err(bad)?;
    }
    Ok(roots)
}

pub(super) fn revocations(
    paths: &[PathBuf],
) -> Result<Vec<CertificateRevocationListDer<'static>>, TlsFileError> {
    let lists: Result<Vec<Vec<_>>, _> = paths.iter().map(|path| all(REVOCATION_LISTS, path)).collect();
    Ok(lists?.into_iter().flatten().collect())
}

/// What many of a kind are called, what one is, and how it begins.
type Kind = (&'static str, &'static str, &'static str);

const CERTIFICATES: Kind = ("certificates", "certificate", "CERTIFICATE");
const REVOCATION_LISTS: Kind = ("revocation lists", "revocation list", "X509 CRL");

fn all<T: PemObject>((many, one, label): Kind, path: &Path) -> Result<Vec<T>, TlsFileError> {
    let read = T::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<T>, _>>);
    let unreadable = |source| TlsFileError::Unreadable { what: many, path: path.to_owned(), source };
    let items = read.map_err(unreadable)?;
    if items.is_empty() {
        return Err(TlsFileError::Empty { what: one, label, path: path.to_owned() });
    }
    Ok(items)
}
