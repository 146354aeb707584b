//! Reads what a listener shows, and whom it believes.

use super::settings::KeyPair;
use crate::wire::x509;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;
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
pub(super) struct Loaded {
    pub(super) key: Arc<CertifiedKey>,
    pub(super) facts: x509::Certificate,
}

pub(super) fn key_pair(files: &KeyPair, provider: &CryptoProvider) -> Result<Loaded, TlsFileError> {
    let KeyPair { cert, key } = files;
    let chain: Vec<CertificateDer<'static>> = all("certificate", "CERTIFICATE", cert)?;
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
    Ok(Loaded { key: Arc::new(certified), facts })
}

pub(super) fn authorities(path: &Path) -> Result<RootCertStore, TlsFileError> {
    let mut roots = RootCertStore::empty();
    for (index, authority) in all("certificate", "CERTIFICATE", path)?.into_iter().enumerate() {
        let bad = |source| TlsFileError::Authority { path: path.to_owned(), number: index + 1, source };
        roots.add(authority).map_err(bad)?;
    }
    Ok(roots)
}

pub(super) fn revocations(
    paths: &[PathBuf],
) -> Result<Vec<CertificateRevocationListDer<'static>>, TlsFileError> {
    let lists: Result<Vec<Vec<_>>, _> =
        paths.iter().map(|path| all("revocation list", "X509 CRL", path)).collect();
    Ok(lists?.into_iter().flatten().collect())
}

fn all<T: PemObject>(what: &'static str, label: &'static str, path: &Path) -> Result<Vec<T>, TlsFileError> {
    let read = T::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<T>, _>>);
    let items = read.map_err(|source| TlsFileError::Unreadable { what, path: path.to_owned(), source })?;
    if items.is_empty() { Err(TlsFileError::Empty { what, label, path: path.to_owned() }) } else { Ok(items) }
}

/// By what it is seen that a file is another one, or has changed. A link that now leads elsewhere is another file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stamp {
    modified: Option<SystemTime>,
    size: u64,
    inode: u64,
}

/// The stamp of a file that is there.
pub(super) fn stamp(path: &Path) -> Option<Stamp> {
    let seen = |metadata: fs::Metadata| Stamp {
        modified: metadata.modified().ok(),
        size: metadata.len(),
        inode: metadata.ino(),
    };
    let metadata: io::Result<_> = fs::metadata(path);
    metadata.ok().map(seen)
}
