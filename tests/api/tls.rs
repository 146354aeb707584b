//! The API over TLS.

use crate::harness::{Running, Site, basic};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use std::process::Command;

const SECTIONS: &str = "[admin]\nbind = \"0.0.0.0:0\"\napi_key_file = \"keys\"\n[admin.tls]\ncert = \"cert.pem\"\nkey = \"key.pem\"\n";

/// Writes a certificate of a new authority, and the authority's own.
fn certify(site: &Site) {
    let mut params = CertificateParams::new(Vec::new()).expect("no names");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority =
        CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("signed");
    let key = KeyPair::generate().expect("a key");
    let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
    let cert = CertificateParams::new(names).expect("names").signed_by(&key, &authority).expect("signed");
    site.write("ca.pem", authority.pem());
    site.write("cert.pem", cert.pem());
    site.write("key.pem", key.serialize_pem());
    site.write("client.key", "file-key:file-secret\n");
}

fn status(site: &Site, proxy: &Running) -> (bool, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_mqtt-bouncer"))
        .args(["status", "--api", &format!("https://localhost:{}", proxy.api.port()), "--json"])
        .arg("--ca")
        .arg(site.path("ca.pem"))
        .arg("--api-key-file")
        .arg(site.path("client.key"))
        .output()
        .expect("the binary runs");
    (output.status.success(), String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
}

#[test]
fn a_public_address_is_served_over_tls_and_in_no_other_way() {
    let site = Site::new(SECTIONS);
    certify(&site);
    let proxy = site.serve();
    let (is_good, text) = status(&site, &proxy);
    assert!(is_good && text.contains("uptime_seconds"), "{text}");
    let plain = format!("GET /api/v5/status HTTP/1.1\r\nHost: x\r\n{}\r\n", basic("file-key", "file-secret"));
    assert!(!proxy.raw(plain.as_bytes()).contains("HTTP/1.1"));
}

#[test]
fn a_new_certificate_is_shown_after_a_reload_and_a_broken_one_keeps_the_old() {
    let site = Site::new(SECTIONS);
    certify(&site);
    let proxy = site.serve();
    assert!(status(&site, &proxy).0);
    site.write("key.pem", "no key");
    let (code, _, stderr) = site.run(&["reload"], "");
    assert_eq!(code, Some(1));
    assert!(stderr.contains("[admin.tls]: SITE/key.pem has no private key"), "{stderr}");
    assert!(status(&site, &proxy).0, "the old one is still shown");
    // A key of somebody else.
    site.write("key.pem", KeyPair::generate().expect("a key").serialize_pem());
    assert!(site.run(&["reload"], "").2.contains("cannot be used together"));
    certify(&site);
    assert!(!status(&site, &proxy).0, "of another authority");
    assert_eq!(site.run(&["reload"], "").0, Some(0));
    assert!(status(&site, &proxy).0);
}

#[test]
fn a_handshake_that_does_not_come_is_given_up() {
    let site = Site::new(
        &SECTIONS.replace("[admin.tls]", "header_timeout = \"3s\"\nmax_connections = 1\n[admin.tls]"),
    );
    certify(&site);
    let proxy = site.serve();
    let silent = proxy.connect();
    assert!(status(&site, &proxy).0, "whoever waits behind it gets in");
    drop(silent);
}
