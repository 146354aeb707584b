//! Authorities and certificates in a folder of their own, and clients that speak TLS.

use crate::harness::{Client, soon};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DnType, ExtendedKeyUsagePurpose,
    IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams, SerialNumber, SignatureAlgorithm,
    date_time_ymd,
};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion, version};

/// An authority, and the folder that its certificates are in.
pub(crate) struct Pki {
    pub(crate) folder: TempDir,
    authority: Issuer<'static, KeyPair>,
}

impl Pki {
    pub(crate) fn new() -> Pki {
        let folder = tempfile::tempdir().expect("a folder");
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        // Two authorities of one name would be told apart by their signatures alone.
        let name = format!("authority of {}", folder.path().display());
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().expect("a key");
        let cert = params.self_signed(&key).expect("signed");
        std::fs::write(folder.path().join("ca.pem"), cert.pem()).expect("written");
        Pki { folder, authority: Issuer::new(params, key) }
    }

    pub(crate) fn path(&self, file: &str) -> PathBuf {
        self.folder.path().join(file)
    }

    /// Writes `NAME.pem` and `NAME.key` for a server of these names.
    pub(crate) fn server(&self, name: &str, names: &[&str], algorithm: &'static SignatureAlgorithm) {
        let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
        let params = CertificateParams::new(names).expect("names");
        self.write(name, &params, &KeyPair::generate_for(algorithm).expect("a key"));
    }

    /// Writes `CN.pem` and `CN.key` for a client.
    pub(crate) fn client(&self, cn: &str, serial: u64, change: impl FnOnce(&mut CertificateParams)) {
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::OrganizationName, "Example");
        params.distinguished_name.push(DnType::CommonName, cn);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        params.serial_number = Some(SerialNumber::from(serial));
        change(&mut params);
        self.write(cn, &params, &KeyPair::generate().expect("a key"));
    }

    fn write(&self, name: &str, params: &CertificateParams, key: &KeyPair) {
        let cert = params.signed_by(key, &self.authority).expect("signed");
        std::fs::write(self.path(&format!("{name}.key")), key.serialize_pem()).expect("written");
        std::fs::write(self.path(&format!("{name}.pem")), cert.pem()).expect("written");
    }

    /// Writes `crl.pem`, which revokes certificates of these numbers.
    pub(crate) fn revoke(&self, serials: &[u64]) {
        let revoked = |serial: &u64| RevokedCertParams {
            serial_number: SerialNumber::from(*serial),
            revocation_time: date_time_ymd(2024, 1, 1),
            reason_code: None,
            invalidity_date: None,
        };
        let params = CertificateRevocationListParams {
            this_update: date_time_ymd(2024, 1, 1),
            next_update: date_time_ymd(2060, 1, 1),
            crl_number: SerialNumber::from(1_u64),
            issuing_distribution_point: None,
            revoked_certs: serials.iter().map(revoked).collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        let list = params.signed_by(&self.authority).expect("signed").pem().expect("PEM");
        std::fs::write(self.path("crl.pem"), list).expect("written");
    }

    /// The lines of a TLS listener that shows `server.pem`.
    pub(crate) fn listener(&self, more: &str) -> String {
        let (cert, key) = (self.path("server.pem"), self.path("server.key"));
        format!(
            "type = \"tls\"\n[listener.tls]\ncert = \"{}\"\nkey = \"{}\"\n{more}",
            cert.display(),
            key.display()
        )
    }

    /// A client that believes the authority.
    pub(crate) fn dialler(&self) -> Dialler {
        Dialler {
            roots: roots(&self.path("ca.pem")),
            versions: vec![&version::TLS13, &version::TLS12],
            alpn: vec![b"mqtt".to_vec()],
            identity: None,
            name: "localhost",
        }
    }

    /// One that shows a certificate of a client.
    pub(crate) fn dialler_as(&self, cn: &str) -> Dialler {
        let identity = (self.path(&format!("{cn}.pem")), self.path(&format!("{cn}.key")));
        Dialler { identity: Some(identity), ..self.dialler() }
    }
}

fn roots(path: &Path) -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(path).expect("PEM")).expect("an authority");
    roots
}

/// How a client speaks TLS.
#[derive(Clone)]
pub(crate) struct Dialler {
    pub(crate) roots: RootCertStore,
    pub(crate) versions: Vec<&'static SupportedProtocolVersion>,
    pub(crate) alpn: Vec<Vec<u8>>,
    pub(crate) identity: Option<(PathBuf, PathBuf)>,
    pub(crate) name: &'static str,
}

impl Dialler {
    pub(crate) fn build(&self) -> Connector {
        let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_protocol_versions(&self.versions)
            .expect("versions")
            .with_root_certificates(self.roots.clone());
        let mut config = match &self.identity {
            Some((cert, key)) => {
                let chain = vec![CertificateDer::from_pem_file(cert).expect("PEM")];
                let key = PrivateKeyDer::from_pem_file(key).expect("PEM");
                builder.with_client_auth_cert(chain, key).expect("a pair")
            }
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols.clone_from(&self.alpn);
        Connector { config: Arc::new(config), name: self.name }
    }

    pub(crate) async fn dial(&self, addr: SocketAddr) -> std::io::Result<Tls> {
        self.build().dial(addr).await
    }
}

/// A client that remembers its sessions.
pub(crate) struct Connector {
    config: Arc<ClientConfig>,
    name: &'static str,
}

impl Connector {
    pub(crate) async fn dial(&self, addr: SocketAddr) -> std::io::Result<Tls> {
        self.dial_after(addr, b"").await
    }

    /// The same, after these bytes of a load balancer.
    pub(crate) async fn dial_after(&self, addr: SocketAddr, header: &[u8]) -> std::io::Result<Tls> {
        let mut socket = TcpStream::connect(addr).await.expect("the proxy listens");
        socket.set_nodelay(true).expect("connected");
        socket.write_all(header).await.expect("connected");
        let name = ServerName::try_from(self.name).expect("a name");
        let handshake = TlsConnector::from(Arc::clone(&self.config)).connect(name, socket);
        soon("a handshake", handshake).await.map(Tls)
    }
}

/// A client inside of TLS.
#[derive(Debug)]
pub(crate) struct Tls(pub(crate) TlsStream<TcpStream>);

impl Tls {
    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).await.expect("connected");
        self.0.flush().await.expect("connected");
    }

    pub(crate) async fn receive(&mut self, expected: &[u8]) {
        let mut bytes = vec![0; expected.len()];
        soon("receive", self.0.read_exact(&mut bytes)).await.expect("connected");
        assert_eq!(bytes, expected);
    }

    /// All that comes until the other side says that it is over; without that it is a failure.
    pub(crate) async fn rest(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        soon("end", self.0.read_to_end(&mut bytes)).await.expect("closed as TLS has it");
        bytes
    }

    /// Why the proxy has ended the connection: in TLS 1.3 a client learns that after its own handshake is over.
    pub(crate) async fn refusal(mut self) -> String {
        let mut bytes = Vec::new();
        match soon("end", self.0.read_to_end(&mut bytes)).await {
            Err(error) => error.to_string(),
            Ok(_) => panic!("closed without an alert after {bytes:?}"),
        }
    }
}

/// Sends a CONNECT and relays a CONNACK: the client is inside.
pub(crate) async fn enter(client: &mut Tls, broker: &crate::harness::Broker, connect: &[u8]) -> Client {
    client.send(connect).await;
    let mut inside = broker.accept().await;
    inside.receive(connect).await;
    inside.send(b"\x20\x02\x00\x00").await;
    client.receive(b"\x20\x02\x00\x00").await;
    inside
}
