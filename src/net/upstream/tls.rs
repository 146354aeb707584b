//! TLS to a broker: who is believed to be it, and who we say that we are.

use super::server::Server;
use crate::net::stream::Stream;
use crate::net::tls::{KeyPair, Loaded, Shown, TlsFileError, TlsStream, WatchedFiles, key_pair};
use crate::net::trust::{TrustError, authorities, system_authorities};
use arc_swap::ArcSwap;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio_rustls::rustls::client::UnbufferedClientConnection;
use tokio_rustls::rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use tokio_rustls::rustls::crypto::{
    CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature,
};
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use tokio_rustls::rustls::sign::SingleCertAndKey;
use tokio_rustls::rustls::{ClientConfig, DigitallySignedStruct, Error as RustlsError, SignatureScheme};

/// How TLS is spoken with the servers of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsSettings {
    /// The authorities that may vouch for them, and no others; `None` for the system's.
    pub ca: Option<PathBuf>,
    /// Our certificate, with those between it and the authority, and its key.
    pub identity: Option<KeyPair>,
    /// The name that their certificates must have; `None` for the one that is dialled.
    pub server_name: Option<ServerName<'static>>,
    /// Whether they must have a certificate of that name from one of the authorities.
    pub verify: bool,
    /// The protocols that we offer, the one that we like best first.
    pub alpn: Vec<String>,
    /// How long before its end our certificate is warned about.
    pub expiry_warning: Duration,
}

/// TLS cannot be spoken with a group.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// Nobody can be believed.
    #[error(transparent)]
    Trust(#[from] TrustError),
    /// Our certificate cannot be shown.
    #[error(transparent)]
    Identity(#[from] TlsFileError),
    /// A server's host is no name that a certificate can have.
    #[error("{0} is no name that a certificate can have; expected server_name")]
    Name(Server),
    /// TLS cannot be set up.
    #[error("cannot set up TLS")]
    Setup(#[source] RustlsError),
}

/// Speaks TLS with the servers of one group.
pub(super) struct Tls {
    settings: TlsSettings,
    current: ArcSwap<Current>,
    files: WatchedFiles,
}

/// What the files say.
struct Current {
    config: Arc<ClientConfig>,
    shown: Option<Shown>,
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tls").field("settings", &self.settings).finish_non_exhaustive()
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
        let identity = settings.identity.iter().flat_map(|files| [&files.cert, &files.key]);
        let files = WatchedFiles::new(settings.ca.iter().chain(identity));
        let current = ArcSwap::from_pointee(Current::load(settings)?);
        Ok(Tls { settings: settings.clone(), current, files })
    }

    /// Reads the files again where one has changed; `None` where none has. Files that cannot be used change nothing.
    pub(super) fn refresh(&self) -> Option<Result<(), TlsError>> {
        let changed = self.files.take_change().then(|| Current::load(&self.settings))?;
        Some(changed.map(|current| self.current.store(Arc::new(current))))
    }

    /// Our certificate, where we have one.
    pub(super) fn shown(&self) -> Option<Shown> {
        self.current.load().shown.clone()
    }

    /// The handshake.
    pub(super) async fn connect(&self, server: &Server, stream: Stream) -> io::Result<Stream> {
        let name = self.settings.server_name.clone().or_else(|| name_of(server));
        let name = name.ok_or(io::ErrorKind::InvalidInput)?;
        let config = Arc::clone(&self.current.load().config);
        let end = UnbufferedClientConnection::new(config, name).map_err(io::Error::other)?;
        let mut stream = TlsStream::new(stream, end, Vec::new());
        loop {
            let advanced = stream.advance();
            // Words, an alert, or both. A broker that has gone needs no alert.
            let sent = stream.send().await;
            advanced.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
            sent?;
            if !stream.state().is_handshaking() {
                return Ok(Stream::TlsToBroker(Box::new(stream)));
            }
            if !stream.read_more().await? {
                return Err(io::Error::new(
                    io::ErrorKind::UnexpectedEof,
                    "the broker closed within the handshake",
                ));
            }
        }
    }
}

impl Current {
    fn load(settings: &TlsSettings) -> Result<Current, TlsError> {
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
            builder
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(BelieveAnybody(Arc::clone(&provider))))
        };
        let identity = settings.identity.as_ref().map(|files| key_pair(files, &provider)).transpose()?;
        let shown = identity.as_ref().map(Loaded::shown);
        let mut config = match identity {
            None => builder.with_no_client_auth(),
            Some(loaded) => builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(loaded.key))),
        };
        config.alpn_protocols = settings.alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        Ok(Current { config: Arc::new(config), shown })
    }
}

fn name_of(server: &Server) -> Option<ServerName<'static>> {
    ServerName::try_from(server.host().to_owned()).ok()
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
