//! Whom a webhook trusts.

use super::receiver::Receiver;
use super::{AT, delivered, failed, sent, settings};
use crate::telemetry::Chain;
use crate::webhook::worker::Post;
use crate::webhook::{Event, Webhook, WebhookSettings};
use bytes::Bytes;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use tempfile::TempDir;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::aws_lc_rs;

/// An authority of our own, with its certificate in a file.
struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    folder: TempDir,
}

impl Authority {
    fn new(name: &str) -> Authority {
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer =
            CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("signed");
        let authority = Authority { issuer, folder: TempDir::new().expect("a folder") };
        fs::write(authority.file(), authority.issuer.pem()).expect("written");
        authority
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    /// A receiver that this authority says has this name.
    async fn receiver(&self, name: &str) -> Receiver {
        let key = KeyPair::generate().expect("a key");
        let params = CertificateParams::new(vec![name.to_owned()]).expect("a name");
        let certificate = params.signed_by(&key, &self.issuer).expect("signed");
        let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key.into())
            .expect("a certificate");
        Receiver::start_tls(TlsAcceptor::from(Arc::new(config))).await
    }
}

fn to(receiver: &Receiver, ca_file: Option<PathBuf>) -> WebhookSettings {
    let url = format!("https://localhost:{}/hook", receiver.addr().port());
    WebhookSettings { ca_file, ..settings(&url) }
}

/// What the log says of an attempt.
async fn refusal(settings: WebhookSettings) -> String {
    let receiver = crate::webhook::receiver::Receiver::new(settings).expect("started");
    let event = Event { body: Bytes::from_static(b"a"), at_epoch_seconds: AT };
    Chain(&receiver.post(&event).await.expect_err("refused")).to_string()
}

#[tokio::test]
async fn a_receiver_that_ca_file_vouches_for_is_told() {
    let authority = Authority::new("ours");
    let receiver = authority.receiver("localhost").await;
    assert_eq!(sent(to(&receiver, Some(authority.file())), &["a"]).await, delivered(1));
    assert_eq!(receiver.told()[0].body, "a");

    let receiver = authority.receiver("127.0.0.1").await;
    let url = format!("https://{}/hook", receiver.addr());
    let settings = WebhookSettings { ca_file: Some(authority.file()), ..settings(&url) };
    assert_eq!(sent(settings, &["a"]).await, delivered(1));
}

#[tokio::test]
async fn a_receiver_that_nobody_vouches_for_is_told_nothing() {
    let authority = Authority::new("ours");
    for name in ["theirs", "ours"] {
        let receiver = Authority::new(name).receiver("localhost").await;
        let settings = to(&receiver, Some(authority.file()));
        let refusal = refusal(settings.clone()).await;
        assert_eq!(refusal, "its certificate is from no authority that the system or ca_file knows");
        assert_eq!(sent(settings, &["a"]).await, failed(1));
        assert!(receiver.told().is_empty());
    }
}

#[tokio::test]
async fn a_receiver_of_another_name_is_told_nothing() {
    let authority = Authority::new("ours");
    let receiver = authority.receiver("elsewhere.example").await;
    let settings = to(&receiver, Some(authority.file()));
    let refusal = refusal(settings.clone()).await;
    assert!(refusal.starts_with("cannot speak TLS with it: invalid peer certificate"), "{refusal}");
    assert!(refusal.contains("localhost") && refusal.contains("elsewhere.example"), "{refusal}");
    assert_eq!(sent(settings, &["a"]).await, failed(1));
    assert!(receiver.told().is_empty());
}

#[tokio::test]
async fn a_receiver_that_speaks_no_tls_is_told_nothing() {
    let authority = Authority::new("ours");
    let receiver = Receiver::start([]).await;
    let refusal = refusal(to(&receiver, Some(authority.file()))).await;
    assert!(refusal.starts_with("cannot speak TLS with it: "), "{refusal}");
    assert!(receiver.told().is_empty());
}

#[tokio::test]
async fn a_ca_file_that_cannot_be_used_is_named() {
    let folder = TempDir::new().expect("a folder");
    let file = folder.path().join("ca.pem");
    let problem = |content: Option<&str>| {
        if let Some(content) = content {
            fs::write(&file, content).expect("written");
        }
        let settings = settings("https://localhost/");
        let settings = WebhookSettings { ca_file: Some(file.clone()), ..settings };
        Chain(&Webhook::start(settings).expect_err("refused")).to_string()
    };
    let name = file.display();
    let missing = problem(None);
    assert!(missing.starts_with(&format!("cannot read certificates from {name}: ")), "{missing}");
    let empty = problem(Some("no PEM at all"));
    assert!(empty.starts_with(&format!("{name} has no certificate; expected")), "{empty}");
    let bad = problem(Some("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"));
    assert!(bad.starts_with(&format!("certificate 1 in {name} cannot be used: ")), "{bad}");
    let torn = problem(Some("-----BEGIN CERTIFICATE-----\nAAAA\n"));
    assert!(torn.starts_with(&format!("cannot read certificates from {name}: ")), "{torn}");
}
