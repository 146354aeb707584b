//! One client: how it connects, and what it says of itself.

use super::broker::{Wish, say};
use super::site::Certificate;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::client::Resumption;
use tokio_rustls::rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use tokio_rustls::rustls::crypto::{CryptoProvider, SupportedKxGroup, aws_lc_rs as provider};
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use tokio_rustls::rustls::version::{TLS12, TLS13};
use tokio_rustls::rustls::{
    ClientConfig, DigitallySignedStruct, Error, HandshakeKind, NamedGroup, ServerConfig, SignatureScheme,
};

/// How clients speak to whoever they call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    Plain,
    /// A handshake for each connection.
    Tls,
    /// Each connection but the first resumes the one before.
    Resumed,
    /// The same two in TLS 1.2.
    Tls12,
    Resumed12,
}

impl Way {
    pub(crate) fn is_tls(self) -> bool {
        self != Way::Plain
    }

    fn is_resumed(self) -> bool {
        matches!(self, Way::Resumed | Way::Resumed12)
    }
}

/// A connection that somebody said yes or no on.
pub(crate) enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// What clients can do on either.
pub(crate) trait Io: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Io for S {}

impl Stream {
    pub(crate) fn io(&mut self) -> &mut dyn Io {
        match self {
            Stream::Plain(socket) => socket,
            Stream::Tls(tls) => tls,
        }
    }

    /// Closes, without waiting for what the other side says to that.
    pub(crate) async fn leave(mut self) -> io::Result<()> {
        match &mut self {
            Stream::Plain(_) => Ok(()),
            // Whoever has closed already need not be told.
            Stream::Tls(tls) => tls.shutdown().await.or(Ok(())),
        }
    }
}

/// Clients of one kind, that remember the sessions of each other.
#[derive(Clone)]
pub(crate) struct Clients {
    pub(crate) addr: SocketAddr,
    way: Way,
    config: Option<Arc<ClientConfig>>,
}

impl Clients {
    pub(crate) fn new(addr: SocketAddr, way: Way) -> Clients {
        Clients { addr, way, config: way.is_tls().then(|| client_config(way)) }
    }

    /// Connects, says `connect`, and is answered with what begins with `connack`.
    pub(crate) async fn enter(&self, connect: &[u8], connack: &[u8]) -> io::Result<Stream> {
        self.call(connect, connack, self.way.is_resumed()).await
    }

    /// Comes once, so that the next can resume.
    pub(crate) async fn prepare(&self) -> io::Result<()> {
        if self.way.is_resumed() {
            self.call(&connect_packet(&name(Wish::Echo), 4), ACCEPTED, false).await?.leave().await?;
        }
        Ok(())
    }

    async fn call(&self, connect: &[u8], connack: &[u8], is_resumed: bool) -> io::Result<Stream> {
        let socket = TcpStream::connect(self.addr).await?;
        socket.set_nodelay(true)?;
        let mut stream = match &self.config {
            None => Stream::Plain(socket),
            Some(config) => {
                let name = ServerName::try_from("localhost").expect("a name");
                let tls = TlsConnector::from(Arc::clone(config)).connect(name, socket).await?;
                Stream::Tls(Box::new(tls))
            }
        };
        say(stream.io(), connect).await?;
        let mut answer = [0; 5];
        let answer = &mut answer[..connack.len()];
        stream.io().read_exact(answer).await?;
        if answer != connack {
            return Err(io::Error::other(format!("answered {answer:02x?}")));
        }
        if let Stream::Tls(tls) = &stream {
            let connection = tls.get_ref().1;
            let wanted = if is_resumed { HandshakeKind::Resumed } else { HandshakeKind::Full };
            let group = connection.negotiated_key_exchange_group().map(SupportedKxGroup::name);
            if connection.handshake_kind() != Some(wanted)
                || !matches!(group, None | Some(NamedGroup::X25519))
            {
                let kind = connection.handshake_kind();
                return Err(io::Error::other(format!("handshake {kind:?} with {group:?}")));
            }
        }
        Ok(stream)
    }
}

pub(crate) const ACCEPTED: &[u8] = b"\x20\x02\0\0";
pub(crate) const BANNED: &[u8] = b"\x20\x03\0\x8a\0";

/// A client identifier of 24 characters that nobody has had.
pub(crate) fn name(wish: Wish) -> String {
    format!("{}-{:016x}-fleet", wish.letter(), fastrand::u64(..))
}

/// CONNECT of this client, version 4 or 5, with a user name and a password.
pub(crate) fn connect_packet(client_id: &str, version: u8) -> Vec<u8> {
    let username = format!("user-{:08x}", fastrand::u32(..));
    let mut body = b"\0\x04MQTT".to_vec();
    body.extend_from_slice(&[version, 0xc2, 0, 60]);
    if version == 5 {
        body.push(0);
    }
    for text in [client_id, &username, "correct horse"] {
        body.extend_from_slice(&u16::try_from(text.len()).expect("short").to_be_bytes());
        body.extend_from_slice(text.as_bytes());
    }
    let mut packet = vec![0x10, u8::try_from(body.len()).expect("less than 128 bytes")];
    packet.append(&mut body);
    packet
}

/// One suite and one group, so that all compute the same.
fn crypto() -> Arc<CryptoProvider> {
    Arc::new(CryptoProvider {
        cipher_suites: vec![
            provider::cipher_suite::TLS13_AES_128_GCM_SHA256,
            provider::cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
        ],
        // OpenSSL wants the one of its certificate to be among them. [RFC 8422, section 5.1]
        kx_groups: vec![provider::kx_group::X25519, provider::kx_group::SECP256R1],
        ..provider::default_provider()
    })
}

fn client_config(way: Way) -> Arc<ClientConfig> {
    let version = if matches!(way, Way::Tls12 | Way::Resumed12) { &TLS12 } else { &TLS13 };
    let mut config = ClientConfig::builder_with_provider(crypto())
        .with_protocol_versions(&[version])
        .expect("suites for it")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Credulous))
        .with_no_client_auth();
    if !way.is_resumed() {
        config.resumption = Resumption::disabled();
    }
    Arc::new(config)
}

/// As the broker speaks TLS.
pub(crate) fn server_config(certificate: &Certificate) -> Arc<ServerConfig> {
    let chain = CertificateDer::pem_slice_iter(certificate.cert.as_bytes()).collect::<Result<_, _>>();
    let key = PrivateKeyDer::from_pem_slice(certificate.key.as_bytes()).expect("a key");
    let mut config = ServerConfig::builder_with_provider(crypto())
        .with_safe_default_protocol_versions()
        .expect("suites for them")
        .with_no_client_auth()
        .with_single_cert(chain.expect("a certificate"), key)
        .expect("a pair");
    config.ticketer = provider::Ticketer::new().expect("randomness");
    config.send_tls13_tickets = 1;
    Arc::new(config)
}

/// Believes whoever answers.
#[derive(Debug)]
struct Credulous;

impl ServerCertVerifier for Credulous {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ECDSA_NISTP256_SHA256]
    }
}
