//! Certificates, and who uses them.

use super::{Version, connect, dial};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DnType, ExtendedKeyUsagePurpose,
    IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, RevokedCertParams,
    SerialNumber, SignatureAlgorithm, date_time_ymd,
};
use std::fs;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use tempfile::TempDir;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

/// An authority, and the folder that its certificates are in.
pub(crate) struct Pki {
    folder: TempDir,
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
        fs::write(folder.path().join("ca.pem"), cert.pem()).expect("written");
        let pki = Pki { folder, authority: Issuer::new(params, key) };
        pki.write("server", &["localhost"], ExtendedKeyUsagePurpose::ServerAuth);
        pki
    }

    pub(crate) fn path(&self, file: &str) -> PathBuf {
        self.folder.path().join(file)
    }

    /// Writes `NAME.key`, then `NAME.pem` with this common name.
    pub(crate) fn write(&self, name: &str, names: &[&str], usage: ExtendedKeyUsagePurpose) {
        self.sign(name, names, &PKCS_ECDSA_P256_SHA256, |params| params.extended_key_usages = vec![usage]);
    }

    /// As [`write`](Pki::write), with a key of this kind and other things changed.
    pub(crate) fn sign(
        &self,
        name: &str,
        names: &[&str],
        kind: &'static SignatureAlgorithm,
        change: impl FnOnce(&mut CertificateParams),
    ) {
        let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).expect("names");
        params.distinguished_name.push(DnType::CommonName, name);
        change(&mut params);
        let key = KeyPair::generate_for(kind).expect("a key");
        let cert = params.signed_by(&key, &self.authority).expect("signed");
        fs::write(self.path(&format!("{name}.key")), key.serialize_pem()).expect("written");
        fs::write(self.path(&format!("{name}.pem")), cert.pem()).expect("written");
    }

    /// Writes `crl.pem`, which revokes the certificate of this number.
    pub(crate) fn revoke(&self, serial: u64) {
        let revoked = RevokedCertParams {
            serial_number: SerialNumber::from(serial),
            revocation_time: date_time_ymd(2024, 1, 1),
            reason_code: None,
            invalidity_date: None,
        };
        let params = CertificateRevocationListParams {
            this_update: date_time_ymd(2024, 1, 1),
            next_update: date_time_ymd(2060, 1, 1),
            crl_number: SerialNumber::from(1_u64),
            issuing_distribution_point: None,
            revoked_certs: vec![revoked],
            key_identifier_method: KeyIdMethod::Sha256,
        };
        let list = params.signed_by(&self.authority).expect("signed").pem().expect("PEM");
        fs::write(self.path("crl.pem"), list).expect("written");
    }

    pub(crate) fn listener(&self, more: &str) -> String {
        let (cert, key) = (self.path("server.pem"), self.path("server.key"));
        format!(
            "type = \"tls\"\n[listener.tls]\ncert = \"{}\"\nkey = \"{}\"\n{more}\n",
            cert.display(),
            key.display()
        )
    }

    /// `openssl s_client` against a listener, with its input at the end already.
    pub(crate) fn openssl(&self, addr: SocketAddr, options: &[&str]) -> Output {
        let mut command = Command::new("openssl");
        command.args(["s_client", "-connect", &addr.to_string(), "-CAfile"]).arg(self.path("ca.pem"));
        command.args(options).stdin(Stdio::null()).output().expect("openssl")
    }

    pub(crate) fn publish(&self, addr: SocketAddr, options: &[&str]) -> Output {
        let mut command = Command::new("mosquitto_pub");
        command.args([
            "-h",
            "localhost",
            "-p",
            &addr.port().to_string(),
            "-t",
            "t",
            "-m",
            "m",
            "-q",
            "1",
            "--cafile",
        ]);
        command.arg(self.path("ca.pem")).args(options).output().expect("mosquitto_pub; tests/run installs it")
    }

    /// A client in this process that has been let in over TLS, by its CONNACK.
    pub(crate) fn enter(&self, addr: SocketAddr, client_id: &str) -> TlsClient {
        let mut client = self.handshake(dial(addr)).expect("a handshake");
        client.write_all(&connect(Version::V311, client_id)).expect("connected");
        let mut connack = [0; 4];
        client.read_exact(&mut connack).expect("a CONNACK");
        assert_eq!(connack, *b"\x20\x02\x00\x00");
        client
    }

    /// A whole handshake.
    pub(crate) fn handshake(&self, mut stream: TcpStream) -> io::Result<TlsClient> {
        let mut roots = RootCertStore::empty();
        roots
            .add(CertificateDer::from_pem_file(self.path("ca.pem")).expect("a certificate"))
            .expect("an authority");
        let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        let name = ServerName::try_from("localhost").expect("a name");
        let mut connection = ClientConnection::new(Arc::new(config), name).expect("a good config");
        while connection.is_handshaking() {
            connection.complete_io(&mut stream)?;
        }
        Ok(StreamOwned::new(connection, stream))
    }
}

/// A client that speaks TLS.
pub(crate) type TlsClient = StreamOwned<ClientConnection, TcpStream>;

/// All that a program has said.
pub(crate) fn text(output: &Output) -> String {
    [&output.stdout[..], &output.stderr].map(String::from_utf8_lossy).concat()
}
