//! The certificate that the API shows.

use crate::net::tls::{KeyPair, TlsFileError, key_pair};
use std::sync::Arc;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::sign::SingleCertAndKey;

/// Reads the files.
pub(super) fn server_config(files: &KeyPair) -> Result<Arc<ServerConfig>, TlsFileError> {
    // The provider is named, since a process that has two could not choose.
    let provider = Arc::new(aws_lc_rs::default_provider());
    let key = key_pair(files, &provider)?.key;
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(TlsFileError::Setup)?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(key)));
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}
