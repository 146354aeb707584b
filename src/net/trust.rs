//! Which servers are believed to be who they say.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::{self, ClientConfig, RootCertStore};

/// Nobody can be believed.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// The file of authorities cannot be read, or is no PEM.
    #[error("cannot read certificates from {}", path.display())]
    CaFile {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: rustls::pki_types::pem::Error,
    },
    /// The file of authorities has none.
    #[error("{} has no certificate; expected \"-----BEGIN CERTIFICATE-----\"", path.display())]
    NoCertificate {
        /// The file.
        path: PathBuf,
    },
    /// A certificate in the file of authorities is none.
    #[error("certificate {number} in {} cannot be used", path.display())]
    BadCertificate {
        /// The file.
        path: PathBuf,
        /// Which one, from 1.
        number: usize,
        /// Why.
        #[source]
        source: rustls::Error,
    },
    /// Nobody is trusted, so no server could be.
    #[error(
        "the system has no root certificates, which TLS needs; install them or name a file of authorities"
    )]
    NoRoots(#[source] Option<rustls_native_certs::Error>),
    /// TLS cannot be set up.
    #[error("cannot set up TLS")]
    Tls(#[source] rustls::Error),
}

/// Speaks TLS with whoever has a certificate from an authority of the system or of this file.
pub fn connector(ca_file: Option<&Path>) -> Result<TlsConnector, TrustError> {
    let (mut roots, problem) = system();
    if let Some(path) = ca_file {
        add_file(&mut roots, path)?;
    }
    if roots.is_empty() {
        return Err(TrustError::NoRoots(problem));
    }
    // The provider is named, since a process that has two could not choose.
    let mut config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(TrustError::Tls)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config).into())
}

/// The authorities of this file alone.
pub(super) fn authorities(path: &Path) -> Result<RootCertStore, TrustError> {
    let mut roots = RootCertStore::empty();
    add_file(&mut roots, path)?;
    Ok(roots)
}

/// The authorities of the system.
pub(super) fn system_authorities() -> Result<RootCertStore, TrustError> {
    let (roots, problem) = system();
    if roots.is_empty() { Err(TrustError::NoRoots(problem)) } else { Ok(roots) }
}

fn system() -> (RootCertStore, Option<rustls_native_certs::Error>) {
    let mut roots = RootCertStore::empty();
    let system = rustls_native_certs::load_native_certs();
    // A system may trust certificates in forms that are too old for TLS; they vouch for nobody then.
    let _ = roots.add_parsable_certificates(system.certs);
    (roots, system.errors.into_iter().next())
}

fn add_file(roots: &mut RootCertStore, path: &Path) -> Result<(), TrustError> {
    let unreadable = |source| TrustError::CaFile { path: path.to_owned(), source };
    let mut number = 0;
    for certificate in CertificateDer::pem_file_iter(path).map_err(unreadable)? {
        number += 1;
        let bad = |source| TrustError::BadCertificate { path: path.to_owned(), number, source };
        roots.add(certificate.map_err(unreadable)?).map_err(bad)?;
    }
    if number == 0 { Err(TrustError::NoCertificate { path: path.to_owned() }) } else { Ok(()) }
}
