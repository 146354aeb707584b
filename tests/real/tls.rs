//! TLS with the programs that operators have: openssl and the clients of mosquitto.

use crate::harness::{Broker, Pki, Proxy, ban, config, eventually, text};
use rcgen::ExtendedKeyUsagePurpose;
use std::fs;
use std::net::SocketAddr;
use std::process::{Command, Stdio};

/// All that openssl has, however weak.
const ANY: &str = "ALL:@SECLEVEL=0";

#[test]
fn old_versions_weak_ciphers_and_other_protocols_are_refused_in_words() {
    let (pki, broker) = (Pki::new(), Broker::start());
    let proxy = Proxy::start(&config(broker.addr, &pki.listener("unknown_name = \"refuse\""), ""));
    for (options, words) in [
        (&["-tls1", "-cipher", ANY][..], "the client speaks up to TLS 1.0"),
        (&["-tls1_1", "-cipher", ANY], "the client speaks up to TLS 1.1"),
        (&["-tls1_2", "-cipher", "AES128-SHA:@SECLEVEL=0"], "no common cipher suite"),
        (&["-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-SHA:@SECLEVEL=0"], "no common cipher suite"),
        (&["-tls1_2", "-cipher", "DHE-RSA-AES128-GCM-SHA256:@SECLEVEL=0"], "no common cipher suite"),
        (&["-alpn", "h2,http/1.1"], "the client offers h2, http/1.1"),
        (&["-servername", "other.example"], "no certificate for the server name \\\"other.example\\\""),
    ] {
        let mark = proxy.log().mark();
        let output = pki.openssl(addr(&proxy), options);
        assert!(text(&output).contains("Cipher is (NONE)"), "{options:?}: {}", text(&output));
        let line = proxy.log().wait_for(mark, &["tls_failed"]);
        let plain = line.replace("\\\"", "\"");
        assert!(plain.contains(&words.replace("\\\"", "\"")), "{options:?}: {line}");
    }
    for options in [
        &["-tls1_2", "-servername", "localhost"][..],
        &["-tls1_3", "-alpn", "mqtt", "-servername", "localhost"],
    ] {
        let told = text(&pki.openssl(addr(&proxy), options));
        assert!(told.contains("Verify return code: 0 (ok)"), "{told}");
    }
}

fn addr(proxy: &Proxy) -> SocketAddr {
    proxy.addr
}

#[test]
fn a_session_of_openssl_is_taken_up_again() {
    let (pki, broker) = (Pki::new(), Broker::start());
    let proxy = Proxy::start(&config(broker.addr, &pki.listener(""), ""));
    let file = pki.path("session");
    let file = file.to_str().expect("a path");
    // A client of 1.3 gets its ticket after the handshake, when it reads on; of 1.2, in it.
    let first = text(&pki.openssl(addr(&proxy), &["-tls1_2", "-sess_out", file]));
    assert!(first.contains("New, TLSv1.2"), "{first}");
    let second = text(&pki.openssl(addr(&proxy), &["-tls1_2", "-sess_in", file]));
    assert!(second.contains("Reused, TLSv1.2"), "{second}");
}

#[test]
fn mosquitto_s_clients_enter_with_and_without_a_certificate() {
    let (pki, broker) = (Pki::new(), Broker::start());
    pki.write("device-1", &[], ExtendedKeyUsagePurpose::ClientAuth);
    pki.write("device-2", &[], ExtendedKeyUsagePurpose::ClientAuth);
    let ca = pki.path("ca.pem");
    let required = pki.listener(&format!("client_auth = \"required\"\nclient_ca = \"{}\"", ca.display()));
    let proxy = Proxy::start(&config(broker.addr, &required, &ban("cert_cn", "device-2")));
    let shown = |name: &str| {
        let file = |end: &str| pki.path(&format!("{name}.{end}")).to_str().expect("a path").to_owned();
        ["--cert".to_owned(), file("pem"), "--key".to_owned(), file("key")]
    };
    let publish = |name: &str| {
        let options = shown(name);
        pki.publish(addr(&proxy), &options.each_ref().map(String::as_str))
    };
    assert!(publish("device-1").status.success(), "{}", text(&publish("device-1")));
    let mark = proxy.log().mark();
    assert!(!publish("device-2").status.success());
    proxy.log().wait_for(mark, &["refused", "cert_cn", "device-2"]);
    let mark = proxy.log().mark();
    assert!(!pki.publish(addr(&proxy), &[]).status.success());
    proxy.log().wait_for(mark, &["the client showed no certificate"]);
}

#[test]
fn a_certificate_that_changes_on_disk_is_shown_and_a_broken_one_is_not() {
    let (pki, broker) = (Pki::new(), Broker::start());
    let proxy = Proxy::start(&config(broker.addr, &pki.listener(""), ""));
    let shown = || {
        let told = text(&pki.openssl(addr(&proxy), &["-showcerts"]));
        told.split("-----END CERTIFICATE-----").next().unwrap_or_default().to_owned()
    };
    let before = shown();
    let mark = proxy.log().mark();
    pki.write("server", &["localhost"], ExtendedKeyUsagePurpose::ServerAuth);
    proxy.log().wait_for(mark, &["certificates have changed and are in use"]);
    let after = shown();
    assert!(after.contains("BEGIN CERTIFICATE") && after != before);
    let mark = proxy.log().mark();
    fs::write(pki.path("server.pem"), "-----BEGIN CERTIFICATE-----\nbroken\n").expect("written");
    let line = proxy.log().wait_for(mark, &["changed certificates are not used"]);
    assert!(line.contains("server.pem"), "{line}");
    eventually("the one before is shown", || shown() == after);
}

/// The first message of openssl, fingerprinted by a program of a few lines that shares nothing with ours.
#[test]
fn the_fingerprint_of_openssl_is_what_another_program_finds() {
    let (pki, broker) = (Pki::new(), Broker::start());
    for options in [
        &["-tls1_2", "-servername", "localhost"][..],
        &["-alpn", "mqtt", "-servername", "localhost"],
        &["-noservername"],
    ] {
        let mut python = Command::new("python3");
        python.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/real/ja4.py")).args(options);
        let output = python.output().expect("python3");
        let ja4 = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        assert_eq!(ja4.len(), 36, "{}", text(&output));
        let listener =
            pki.listener("").replace("type = \"tls\"", "type = \"tls\"\non_banned_peer = \"close\"");
        let proxy = Proxy::start(&config(broker.addr, &listener, &ban("tls_ja4", &ja4)));
        let mark = proxy.log().mark();
        let mut client = Command::new("openssl");
        client
            .args(["s_client", "-quiet", "-no_ign_eof", "-connect", &addr(&proxy).to_string()])
            .args(options);
        let mut client = client
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("openssl");
        std::io::Write::write_all(
            client.stdin.as_mut().expect("piped"),
            b"\x10\x0f\x00\x04MQTT\x04\x02\x00\x3c\x00\x03dev",
        )
        .expect("it reads");
        proxy.log().wait_for(mark, &["refused", "tls_ja4", &ja4]);
        let _ = client.kill();
        let _ = client.wait();
    }
}
