use super::*;
use crate::net::tls::KeyPair as KeyFiles;
use crate::net::upstream::Server;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use std::fs;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig};

/// An authority of our own, and its files.
struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    folder: TempDir,
}

impl Authority {
    fn new() -> Authority {
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.distinguished_name.push(DnType::CommonName, "authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer =
            CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("signed");
        let authority = Authority { issuer, folder: TempDir::new().expect("a folder") };
        fs::write(authority.file("ca.pem"), authority.issuer.pem()).expect("written");
        authority
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn sign(&self, name: &str) -> (CertificateDer<'static>, KeyPair) {
        let key = KeyPair::generate().expect("a key");
        let params = CertificateParams::new(vec![name.to_owned()]).expect("a name");
        let certificate = params.signed_by(&key, &self.issuer).expect("signed");
        fs::write(self.file("cert.pem"), certificate.pem()).expect("written");
        fs::write(self.file("key.pem"), key.serialize_pem()).expect("written");
        (certificate.der().clone(), key)
    }

    /// A broker of this name that says what it hears, and wants a certificate of its clients where `clients` is there.
    async fn broker(&self, name: &str, clients: Option<&Authority>) -> TcpListenerAndAcceptor {
        let (certificate, key) = self.sign(name);
        let provider = Arc::new(aws_lc_rs::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .expect("versions");
        let builder = match clients {
            None => builder.with_no_client_auth(),
            Some(authority) => {
                let mut roots = RootCertStore::empty();
                roots.add(authority.issuer.der().clone()).expect("a certificate");
                let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
                builder.with_client_cert_verifier(verifier.build().expect("an authority"))
            }
        };
        let mut config = builder.with_single_cert(vec![certificate], key.into()).expect("a certificate");
        config.alpn_protocols = vec![b"mqtt".to_vec()];
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        TcpListenerAndAcceptor { listener, acceptor: Arc::new(config).into() }
    }
}

struct TcpListenerAndAcceptor {
    listener: TcpListener,
    acceptor: TlsAcceptor,
}

impl TcpListenerAndAcceptor {
    /// What comes of saying something to it, and hearing it again.
    async fn talk(&self, host: &str, settings: &TlsSettings) -> io::Result<Vec<u8>> {
        let addr = self.listener.local_addr().expect("bound");
        let server: Server = format!("{host}:{}", addr.port()).parse().expect("a server");
        self.talk_over(&Tls::load(settings, [&server]).expect("good files"), &server).await
    }

    async fn talk_over(&self, tls: &Tls, server: &Server) -> io::Result<Vec<u8>> {
        let addr = self.listener.local_addr().expect("bound");
        let echo = async {
            let (socket, _) = self.listener.accept().await.expect("a client");
            let Ok(mut stream) = self.acceptor.accept(socket).await else { return };
            let mut heard = [0; 5];
            if stream.read_exact(&mut heard).await.is_ok() {
                stream.write_all(&heard).await.expect("connected");
                stream.shutdown().await.expect("connected");
            }
        };
        let say = async {
            let socket = TcpStream::connect(addr).await.expect("listening");
            let mut stream = tls.connect(server, socket.into()).await?;
            stream.write_all(b"hello").await?;
            stream.flush().await?;
            let mut heard = Vec::new();
            stream.read_to_end(&mut heard).await?;
            Ok(heard)
        };
        tokio::join!(echo, say).1
    }
}

fn trusting(authority: &Authority) -> TlsSettings {
    TlsSettings {
        ca: Some(authority.file("ca.pem")),
        identity: None,
        server_name: None,
        verify: true,
        alpn: vec!["mqtt".to_owned()],
        expiry_warning: Duration::ZERO,
    }
}

#[tokio::test]
async fn a_broker_of_the_right_name_and_authority_is_believed() {
    let authority = Authority::new();
    let broker = authority.broker("localhost", None).await;
    let heard = broker.talk("localhost", &trusting(&authority)).await.expect("believed");
    assert_eq!(heard, b"hello");
    let named = TlsSettings { server_name: ServerName::try_from("localhost").ok(), ..trusting(&authority) };
    assert_eq!(broker.talk("127.0.0.1", &named).await.expect("believed"), b"hello");
}

#[tokio::test]
async fn a_broker_of_another_name_or_authority_is_not_believed_and_the_reason_is_told() {
    let (authority, other) = (Authority::new(), Authority::new());
    let broker = authority.broker("broker.example", None).await;
    let error = broker.talk("localhost", &trusting(&authority)).await.expect_err("another name");
    assert!(error.to_string().contains("not valid for name \"localhost\""), "{error}");
    let broker = authority.broker("localhost", None).await;
    let error = broker.talk("localhost", &trusting(&other)).await.expect_err("another authority");
    assert!(error.to_string().contains("invalid peer certificate"), "{error}");
    let careless = TlsSettings { verify: false, ..trusting(&other) };
    assert_eq!(broker.talk("localhost", &careless).await.expect("anybody is believed"), b"hello");
}

#[tokio::test]
async fn a_broker_that_wants_to_know_us_is_told() {
    let (authority, ours) = (Authority::new(), Authority::new());
    let broker = authority.broker("localhost", Some(&ours)).await;
    assert!(broker.talk("localhost", &trusting(&authority)).await.is_err());
    ours.sign("proxy");
    let identity = Some(KeyFiles { cert: ours.file("cert.pem"), key: ours.file("key.pem") });
    let known = TlsSettings { identity, ..trusting(&authority) };
    assert_eq!(broker.talk("localhost", &known).await.expect("known"), b"hello");
}

#[test]
fn files_that_cannot_be_used_are_named() {
    let (authority, other) = (Authority::new(), Authority::new());
    authority.sign("a");
    other.sign("b");
    let server: Server = "localhost:1".parse().expect("a server");
    let problem =
        |settings: TlsSettings| Tls::load(&settings, [&server]).expect_err("a bad file").to_string();
    let missing = authority.file("missing.pem");
    let told = problem(TlsSettings { ca: Some(missing.clone()), ..trusting(&authority) });
    assert_eq!(told, format!("cannot read certificates from {}", missing.display()));
    let (cert, key) = (authority.file("cert.pem"), other.file("key.pem"));
    let showing = |cert: &PathBuf, key: &PathBuf| {
        let identity = Some(KeyFiles { cert: cert.clone(), key: key.clone() });
        problem(TlsSettings { identity, ..trusting(&authority) })
    };
    let told = showing(&cert, &key);
    let expected = format!("the certificate in {} and the key in {}", cert.display(), key.display());
    assert!(told.starts_with(&expected), "{told}");
    let told = showing(&key, &key);
    assert!(told.starts_with(&format!("{} has no certificate", key.display())), "{told}");
    let told = showing(&cert, &cert);
    assert!(told.starts_with(&format!("{} has no private key", cert.display())), "{told}");
}

#[tokio::test]
async fn files_that_change_count_for_the_next_connection_and_broken_ones_do_not() {
    let (authority, ours) = (Authority::new(), Authority::new());
    let broker = authority.broker("localhost", Some(&ours)).await;
    authority.sign("stranger");
    let files = KeyFiles { cert: authority.file("cert.pem"), key: authority.file("key.pem") };
    let settings = TlsSettings { identity: Some(files.clone()), ..trusting(&authority) };
    let addr = broker.listener.local_addr().expect("bound");
    let server: Server = format!("localhost:{}", addr.port()).parse().expect("a server");
    let tls = Tls::load(&settings, [&server]).expect("good files");
    assert!(broker.talk_over(&tls, &server).await.is_err(), "of another authority");
    assert!(tls.refresh().is_none(), "nothing has changed");

    ours.sign("proxy");
    fs::copy(ours.file("key.pem"), &files.key).expect("copied");
    let half = tls.refresh().expect("a change").expect_err("the key of another certificate");
    assert!(half.to_string().contains("cannot be used together"), "{half}");
    fs::copy(ours.file("cert.pem"), &files.cert).expect("copied");
    tls.refresh().expect("a change").expect("good files");
    assert_eq!(broker.talk_over(&tls, &server).await.expect("known"), b"hello");
    assert_eq!(tls.shown().map(|shown| shown.path), Some(files.cert));

    fs::write(authority.file("ca.pem"), "no certificate").expect("written");
    assert!(tls.refresh().expect("a change").is_err());
    assert_eq!(broker.talk_over(&tls, &server).await.expect("as before"), b"hello");
}

#[test]
fn a_name_that_no_certificate_can_have_is_refused() {
    let authority = Authority::new();
    let server: Server = "bad_name-:1".parse().expect("a server");
    let error = Tls::load(&trusting(&authority), [&server]).expect_err("no name");
    assert_eq!(error.to_string(), "bad_name-:1 is no name that a certificate can have; expected server_name");
}
