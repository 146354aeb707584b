//! TLS to a broker: who is believed to be it, and who we say that we are.

use super::server::Server;
use crate::net::stream::Stream;
use crate::net::trust::{TrustError, authorities, system_authorities};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::client::WantsClientCert;
use tokio_rustls::rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use tokio_rustls::rustls::crypto::{
    CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature,
};
use tokio_rustls::rustls::pki_types::pem::{Error as PemError, PemObject};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use tokio_rustls::rustls::{
    ClientConfig, ConfigBuilder, DigitallySignedStruct, Error as RustlsError, SignatureScheme,
};

/// How TLS is spoken with the servers of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsSettings {
    /// The authorities that may vouch for them, and no others; `None` for the system's.
    pub ca: Option<PathBuf>,
    /// Our certificate, with those between it and the authority, and its key.
    pub identity: Option<(PathBuf, PathBuf)>,
    /// The name that their certificates must have; `None` for the one that is dialled.
    pub server_name: Option<ServerName<'static>>,
    /// Whether they must have a certificate of that name from one of the authorities.
    pub verify: bool,
    /// The protocols that we offer, the one that we like best first.
    pub alpn: Vec<String>,
}

/// TLS cannot be spoken with a group.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// Nobody can be believed.
    #[error(transparent)]
    Trust(#[from] TrustError),
    /// A file cannot be read, or is no PEM.
    #[error("cannot read {what} from {}", path.display())]
    File {
        /// What was wanted of it.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: PemError,
    },
    /// There is no certificate in the file.
    #[error("{} has no certificate; expected \"-----BEGIN CERTIFICATE-----\"", .0.display())]
    NoCertificate(PathBuf),
    /// The two do not belong together, or are of a kind that is not known.
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
    /// A server's host is no name that a certificate can have.
    #[error("{0} is no name that a certificate can have; expected server_name")]
    Name(Server),
    /// TLS cannot be set up.
    #[error("cannot set up TLS")]
    Setup(#[source] RustlsError),
}

/// Speaks TLS with the servers of one group.
#[derive(Clone)]
pub(super) struct Tls {
    connector: TlsConnector,
    name: Option<ServerName<'static>>,
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tls").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Tls {
    /// Reads the files.
    pub(super) fn load<'s>(
        settings: &TlsSettings,
        servers: impl IntoIterator<Item = &'s Server>,
    ) -> Result<Tls, TlsError> {
        if settings.server_name.is_none() {
            for server in servers {
                name_of(server).ok_or_else(|| TlsError::Name(server.clone()))?;
            }
        }
        // The provider is named, since a process that has two could not choose.
        let provider = Arc::new(aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(TlsError::Setup)?;
        let builder = if settings.verify {
            let roots = match &settings.ca {
                Some(path) => authorities(path)?,
                None => system_authorities()?,
            };
            builder.with_root_certificates(roots)
        } else {
            builder.dangerous().with_custom_certificate_verifier(Arc::new(BelieveAnybody(provider)))
        };
        let mut config = with_identity(builder, settings.identity.as_ref())?;
        config.alpn_protocols = settings.alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        Ok(Tls { connector: Arc::new(config).into(), name: settings.server_name.clone() })
    }

    /// The handshake.
    pub(super) async fn connect(&self, server: &Server, stream: Stream) -> io::Result<Stream> {
        let name = self.name.clone().or_else(|| name_of(server)).ok_or(io::ErrorKind::InvalidInput)?;
        let stream = self.connector.connect(name, stream).await?;
        Ok(Stream::TlsToBroker(Box::new(stream)))
    }
}

fn name_of(server: &Server) -> Option<ServerName<'static>> {
    ServerName::try_from(server.host().to_owned()).ok()
}

fn with_identity(
    builder: ConfigBuilder<ClientConfig, WantsClientCert>,
    identity: Option<&(PathBuf, PathBuf)>,
) -> Result<ClientConfig, TlsError> {
    let Some((cert, key)) = identity else { return Ok(builder.with_no_client_auth()) };
    let unreadable = |what, path: &Path| {
        let path = path.to_owned();
        move |source| TlsError::File { what, path, source }
    };
    let chain = CertificateDer::pem_file_iter(cert).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let chain = chain.map_err(unreadable("certificates", cert))?;
    if chain.is_empty() {
        return Err(TlsError::NoCertificate(cert.clone()));
    }
    let private = PrivateKeyDer::from_pem_file(key).map_err(unreadable("a private key", key))?;
    let pair = |source| TlsError::Pair { cert: cert.clone(), key: key.clone(), source };
    builder.with_client_auth_cert(chain, private).map_err(pair)
}

/// Believes whoever answers: for `verify = false`, which the log warns of. Whoever answers must have the key of the
/// certificate that it shows all the same.
#[derive(Debug)]
struct BelieveAnybody(Arc<CryptoProvider>);

impl ServerCertVerifier for BelieveAnybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, RustlsError> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, RustlsError> {
        verify_tls12_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, RustlsError> {
        verify_tls13_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests;
