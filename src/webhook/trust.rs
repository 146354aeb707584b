//! Which receivers are believed to be who they say.

use super::WebhookError;
use std::path::Path;
use std::sync::Arc;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

/// Speaks TLS with whoever has a certificate from an authority of the system or of this file.
pub(super) fn connector(ca_file: Option<&Path>) -> Result<TlsConnector, WebhookError> {
    let mut roots = RootCertStore::empty();
    let system = rustls_native_certs::load_native_certs();
    // A system may trust certificates in forms that are too old for TLS; they vouch for nobody then.
    let _ = roots.add_parsable_certificates(system.certs);
    if let Some(path) = ca_file {
        add_file(&mut roots, path)?;
    }
    if roots.is_empty() {
        return Err(WebhookError::NoRoots(system.errors.into_iter().next()));
    }
    // The provider is named, since a process that has two could not choose.
    let mut config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(WebhookError::Tls)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config).into())
}

fn add_file(roots: &mut RootCertStore, path: &Path) -> Result<(), WebhookError> {
    let unreadable = |source| WebhookError::CaFile { path: path.to_owned(), source };
    let mut number = 0;
    for certificate in CertificateDer::pem_file_iter(path).map_err(unreadable)? {
        number += 1;
        let bad = |source| WebhookError::BadCertificate { path: path.to_owned(), number, source };
        roots.add(certificate.map_err(unreadable)?).map_err(bad)?;
    }
    if number == 0 { Err(WebhookError::NoCertificate { path: path.to_owned() }) } else { Ok(()) }
}
