//! What a scanner of TLS would try. After each try the listener serves.

use crate::harness::{Broker, Pki, Proxy, SilentBroker, await_close, config, dial, eventually, text};
use rcgen::{ExtendedKeyUsagePurpose, PKCS_RSA_SHA256, date_time_ymd};
use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::process::{Command, Stdio};

/// All that openssl has, however weak.
const ANY: &str = "ALL:COMPLEMENTOFALL:@SECLEVEL=0";

/// Who shows an ECDSA and an RSA certificate.
fn both(pki: &Pki, more: &str) -> String {
    pki.sign("rsa", &["localhost"], &PKCS_RSA_SHA256, |_| {});
    let file = |name| pki.path(name).display().to_string();
    pki.listener(&format!(
        "more = [{{ cert = \"{}\", key = \"{}\" }}]\n{more}",
        file("rsa.pem"),
        file("rsa.key")
    ))
}

/// The suites of a version that openssl has.
fn suites(version: &str) -> BTreeSet<String> {
    let output = Command::new("openssl").args(["ciphers", "-s", version, ANY]).output().expect("openssl");
    let list = String::from_utf8(output.stdout).expect("text");
    list.trim().split(':').filter(|name| !name.starts_with("TLS_")).map(str::to_owned).collect()
}

#[test]
fn of_all_cipher_suites_of_openssl_the_safe_ones_alone_are_spoken() {
    const SAFE: [&str; 6] = [
        "ECDHE-ECDSA-AES128-GCM-SHA256",
        "ECDHE-ECDSA-AES256-GCM-SHA384",
        "ECDHE-ECDSA-CHACHA20-POLY1305",
        "ECDHE-RSA-AES128-GCM-SHA256",
        "ECDHE-RSA-AES256-GCM-SHA384",
        "ECDHE-RSA-CHACHA20-POLY1305",
    ];
    let (pki, broker) = (Pki::new(), Broker::start());
    let proxy = Proxy::start(&config(broker.addr, &both(&pki, ""), ""));
    let all = suites("-tls1_2");
    // Weak ones of each kind that there is left: no encryption, nobody's key, no secrecy in the future, CBC, short tags.
    for weak in ["ECDHE-RSA-NULL-SHA", "ADH-AES256-GCM-SHA384", "AES128-GCM-SHA256", "ECDHE-RSA-AES128-SHA"] {
        assert!(all.contains(weak), "this openssl does not have {weak}");
    }
    let mark = proxy.log().mark();
    let mut refused = 0;
    for suite in &all {
        let told = text(&pki.openssl(proxy.addr, &["-tls1_2", "-cipher", &format!("{suite}:@SECLEVEL=0")]));
        let is_spoken =
            told.contains(&format!("Cipher is {suite}")) && told.contains("Verify return code: 0 (ok)");
        assert_eq!(is_spoken, SAFE.contains(&suite.as_str()), "{suite}: {told}");
        refused += usize::from(!is_spoken);
    }
    eventually("a line for each that was refused", || {
        proxy.log().lines_with(&["refused", "outcome=tls_failed", "no common cipher suite"]).len() == refused
    });
    for (suite, is_spoken) in [
        ("TLS_AES_128_GCM_SHA256", true),
        ("TLS_AES_256_GCM_SHA384", true),
        ("TLS_CHACHA20_POLY1305_SHA256", true),
        ("TLS_AES_128_CCM_SHA256", false),
        ("TLS_AES_128_CCM_8_SHA256", false),
    ] {
        let told = text(&pki.openssl(proxy.addr, &["-tls1_3", "-ciphersuites", suite]));
        assert_eq!(told.contains(&format!("Cipher is {suite}")), is_spoken, "{suite}: {told}");
    }
    assert!(proxy.log().lines_with(&["tls_failed"]).len() >= refused + 2, "since {mark}");
    drop(pki.enter(proxy.addr, "after"));
}

#[test]
fn weak_keys_and_signatures_are_refused_in_words_and_old_versions_whatever_they_offer() {
    let (pki, broker) = (Pki::new(), Broker::start());
    let proxy = Proxy::start(&config(broker.addr, &both(&pki, ""), ""));
    for (options, words) in [
        (&["-tls1", "-cipher", ANY][..], "the client speaks up to TLS 1.0"),
        (&["-tls1_1", "-cipher", ANY], "the client speaks up to TLS 1.1"),
        (&["-no_tls1_2", "-no_tls1_3", "-cipher", ANY], "the client speaks up to TLS 1.1"),
        (&["-tls1_3", "-groups", "X448"], "no common group for the key exchange"),
        (&["-tls1_2", "-groups", "X448"], "no common group for the key exchange"),
        (&["-tls1_3", "-groups", "ffdhe2048"], "no common group for the key exchange"),
        (&["-tls1_2", "-sigalgs", "RSA+SHA1:ECDSA+SHA1", "-cipher", ANY], "certificate"),
        (&["-tls1_3", "-sigalgs", "ed25519"], "certificate"),
    ] {
        let mark = proxy.log().mark();
        let output = pki.openssl(proxy.addr, options);
        assert!(text(&output).contains("Cipher is (NONE)"), "{options:?}: {}", text(&output));
        let line = proxy.log().wait_for(mark, &["refused", "outcome=tls_failed"]);
        assert!(line.contains(words), "{options:?}: {line}");
        drop(pki.enter(proxy.addr, "after"));
    }
    // A client that has both is not talked into the old one.
    let told = text(&pki.openssl(proxy.addr, &["-cipher", ANY]));
    assert!(told.contains("New, TLSv1.3"), "{told}");
    let told = text(&pki.openssl(proxy.addr, &["-no_tls1_3", "-cipher", ANY]));
    assert!(told.contains("New, TLSv1.2") && told.contains("Compression: NONE"), "{told}");
}

/// A ClientHello of a version, with these suites and kinds of compression.
pub(crate) fn hello(version: u16, suites: &[u16], compressions: &[u8]) -> Vec<u8> {
    let prefixed = |bytes: &[u8]| [&u16::try_from(bytes.len()).expect("short").to_be_bytes(), bytes].concat();
    let extension = |kind: u16, body: &[u8]| [&kind.to_be_bytes()[..], &prefixed(body)].concat();
    let suites: Vec<u8> = suites.iter().flat_map(|suite| suite.to_be_bytes()).collect();
    let extensions = [
        // X25519 and P-256, plain points, ECDSA and RSA with SHA-256, an extended master secret.
        extension(10, b"\x00\x04\x00\x1d\x00\x17"),
        extension(11, b"\x01\x00"),
        extension(13, b"\x00\x06\x04\x03\x08\x04\x04\x01"),
        extension(23, b""),
    ];
    let body = [
        &version.to_be_bytes()[..],
        &[7; 32],
        b"\x00",
        &prefixed(&suites),
        &[u8::try_from(compressions.len()).expect("few")],
        compressions,
        &prefixed(&extensions.concat()),
    ];
    record(&message(&body.concat()))
}

pub(crate) fn message(body: &[u8]) -> Vec<u8> {
    let [_, length @ ..] = u32::try_from(body.len()).expect("short").to_be_bytes();
    [&[1], &length[..], body].concat()
}

pub(crate) fn record(fragment: &[u8]) -> Vec<u8> {
    let length = u16::try_from(fragment.len()).expect("short").to_be_bytes();
    [b"\x16\x03\x01", &length[..], fragment].concat()
}

pub(crate) const GOOD: u16 = 0xC02B;
pub(crate) const TLS12: u16 = 0x0303;

/// The code of the alert that a stranger reads before the end; `None` where nothing comes.
pub(crate) fn alert(proxy: &Proxy, bytes: &[u8]) -> Option<u8> {
    let mut stream = dial(proxy.addr);
    // Who is refused at its first bytes may hear of it before it has sent the last.
    let _ = stream.write_all(bytes);
    let answer = await_close(&mut stream);
    match answer[..] {
        [] => None,
        [21, 3, _, 0, 2, 2, code] => Some(code),
        _ => panic!("no alert: {}", answer.escape_ascii()),
    }
}

#[test]
fn what_openssl_has_forgotten_is_refused_too() {
    let (pki, broker) = (Pki::new(), SilentBroker::start());
    let proxy = Proxy::start(&config(broker.addr(), &both(&pki, ""), ""));
    // Handshake failure and protocol version. [RFC 8446, section 6]
    let (no_suite, no_version) = (Some(40), Some(70));
    let weak = [
        ("nothing at all", 0x0000),
        ("no encryption, MD5", 0x0001),
        ("export, RC4", 0x0003),
        ("RC4, MD5", 0x0004),
        ("RC4", 0x0005),
        ("IDEA", 0x0007),
        ("export, DES", 0x0008),
        ("DES", 0x0009),
        ("3DES", 0x000A),
        ("nobody's key, RC4", 0x0018),
        ("nobody's key, 3DES", 0x001B),
        ("export over Diffie-Hellman", 0x0014),
        ("RSA key exchange, CBC", 0x002F),
        ("SEED", 0x0096),
        ("ECDHE, RC4", 0xC011),
        ("ECDHE, 3DES", 0xC008),
        ("a suite of TLS 1.3 in TLS 1.2", 0x1301),
        ("a suite that does not exist", 0xFFFE),
    ];
    for (name, suite) in weak {
        assert_eq!(alert(&proxy, &hello(TLS12, &[suite], &[0])), no_suite, "{name}");
    }
    let all: Vec<u16> = weak.iter().map(|(_, suite)| *suite).collect();
    assert_eq!(alert(&proxy, &hello(TLS12, &all, &[0])), no_suite, "all of them");
    for version in [0x0000, 0x0002, 0x0300, 0x0301, 0x0302] {
        assert_eq!(alert(&proxy, &hello(version, &[GOOD], &[0])), no_version, "{version:#06x}");
    }
    // SSL 2.0 has other records, which nobody answers.
    let ssl2 = b"\x80\x2e\x01\x00\x02\x00\x15\x00\x00\x00\x10\x01\x00\x80\x03\x00\x80\x07\x00\xc0";
    assert_eq!(alert(&proxy, ssl2), None);

    // The suite that is left is spoken, and nothing is compressed, whatever the client likes better.
    for compressions in [&[0][..], &[1, 0], &[0, 1, 64]] {
        let mut stream = dial(proxy.addr);
        stream.write_all(&hello(TLS12, &[0x000A, GOOD], compressions)).expect("connected");
        let mut answer = [0; 5 + 4 + 2 + 32];
        stream.read_exact(&mut answer).expect("a ServerHello");
        assert_eq!((answer[0], answer[5]), (22, 2), "{compressions:?}");
        let mut size = [0];
        stream.read_exact(&mut size).expect("the size of a session identifier");
        let mut chosen = vec![0; usize::from(size[0]) + 3];
        stream.read_exact(&mut chosen).expect("suite and compression");
        assert_eq!(chosen[size[0].into()..], [0xC0, 0x2B, 0], "{compressions:?}");
    }
    assert!(alert(&proxy, &hello(TLS12, &[GOOD], &[1])).is_some(), "compression alone");
    broker.assert_untouched();
    let counts = proxy.stop();
    let of = |words: &str| counts.iter().filter(|line| line.contains(words)).count();
    assert_eq!(of("no common cipher suite"), weak.len() + 1);
    assert_eq!(of("no common TLS version"), 5);
}

/// openssl in a handshake that is over, to be told what to do.
fn talk(pki: &Pki, addr: SocketAddr, options: &[&str], say: &[u8], until: &str) -> String {
    let mut child = Command::new("openssl")
        .args(["s_client", "-connect", &addr.to_string(), "-CAfile"])
        .arg(pki.path("ca.pem"))
        .args(options)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("openssl");
    let mut stdin = child.stdin.take().expect("piped");
    stdin.write_all(say).expect("it reads");
    // Its end is ours to make, or that of the connection.
    let (mut told, mut stdout) = (Vec::new(), child.stdout.take().expect("piped"));
    while !String::from_utf8_lossy(&told).contains(until) {
        let mut more = [0; 4096];
        match stdout.read(&mut more).expect("open") {
            0 => break,
            count => told.extend_from_slice(&more[..count]),
        }
    }
    drop((stdin, stdout));
    let _ = child.kill();
    let left = child.wait_with_output().expect("our child");
    String::from_utf8_lossy(&[told, left.stderr].concat()).into_owned()
}

#[test]
fn nobody_negotiates_anew_or_sends_data_early() {
    let (pki, broker) = (Pki::new(), SilentBroker::start());
    let listener = format!("connect_timeout = \"500ms\"\n{}", pki.listener(""));
    let proxy = Proxy::start(&config(broker.addr(), &listener, ""));
    for legacy in [&["-tls1_2"][..], &["-tls1_2", "-legacy_renegotiation"]] {
        let told = talk(&pki, proxy.addr, legacy, b"R\n", "never");
        assert!(told.contains("RENEGOTIATING") && told.contains(":error:"), "{told}");
        // Two lines for each handshake that is done.
        assert_eq!(told.matches("verify return:1").count(), 2, "{told}");
        assert!(told.contains("Secure Renegotiation IS supported"), "{told}");
        drop(pki.handshake(dial(proxy.addr)).expect("it serves"));
    }
    // What it may send early stands in its ticket, and that comes with the answer to its CONNECT.
    let ban = "[[ban]]\nas = \"clientid\"\nwho = \"c\"";
    let proxy = Proxy::start(&config(broker.addr(), &pki.listener(""), ban));
    let connect = b"\x10\x0d\0\x04MQTT\x04\x02\0\0\0\x01c";
    let told = talk(&pki, proxy.addr, &["-tls1_3"], connect, "Max Early Data");
    assert!(told.contains("Max Early Data: 0"), "{told}");
    broker.assert_untouched();
}

#[test]
fn names_and_protocols_are_held_to_the_options() {
    let (pki, broker) = (Pki::new(), Broker::start());
    for (option, is_shown) in [("first", true), ("refuse", false)] {
        let listener = pki.listener(&format!("unknown_name = \"{option}\""));
        let proxy = Proxy::start(&config(broker.addr, &listener, ""));
        let is_good = |options: &[&str]| {
            let told = text(&pki.openssl(proxy.addr, options));
            told.contains("Verify return code: 0 (ok)") && !told.contains("Cipher is (NONE)")
        };
        for version in ["-tls1_2", "-tls1_3"] {
            assert!(is_good(&[version, "-noservername"]), "{option}: none");
            assert!(is_good(&[version, "-servername", "localhost"]), "{option}: ours");
            assert!(is_good(&[version, "-servername", "LocalHost"]), "{option}: ours in other letters");
            assert_eq!(is_good(&[version, "-servername", "other.example"]), is_shown, "{option}: another");
            assert!(is_good(&[version, "-servername", "localhost", "-alpn", "mqtt"]), "{option}: mqtt");
            assert!(
                is_good(&[version, "-servername", "localhost", "-alpn", "h2,mqtt"]),
                "{option}: and mqtt"
            );
            assert!(!is_good(&[version, "-servername", "localhost", "-alpn", "MQTT"]), "{option}: MQTT");
        }
        drop(pki.enter(proxy.addr, "after"));
    }
}

#[test]
fn the_log_says_what_is_wrong_with_a_client_s_certificate() {
    let (pki, stranger, broker) = (Pki::new(), Pki::new(), Broker::start());
    let client = |pki: &Pki, name: &str, change: &dyn Fn(&mut rcgen::CertificateParams)| {
        pki.sign(name, &[], &rcgen::PKCS_ECDSA_P256_SHA256, |params| {
            params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
            change(params);
        });
    };
    client(&pki, "good", &|_| {});
    client(&pki, "expired", &|params| params.not_after = date_time_ymd(2020, 1, 1));
    client(&pki, "early", &|params| params.not_before = date_time_ymd(2090, 1, 1));
    client(&pki, "revoked", &|params| params.serial_number = Some(rcgen::SerialNumber::from(7_u64)));
    client(&pki, "other-use", &|params| {
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    });
    client(&stranger, "foreign", &|_| {});
    pki.revoke(7);
    let file = |name| pki.path(name).display().to_string();
    let listener = pki.listener(&format!(
        "client_auth = \"required\"\nclient_ca = \"{}\"\nclient_crl = [\"{}\"]",
        file("ca.pem"),
        file("crl.pem")
    ));
    let proxy = Proxy::start(&config(broker.addr, &listener, ""));
    let publish = |from: &Pki, name: &str, version: &str| {
        let file = |end: &str| from.path(&format!("{name}.{end}")).display().to_string();
        let (cert, key) = (file("pem"), file("key"));
        let options = ["--cert", &cert, "--key", &key, "--tls-version", version];
        pki.publish(proxy.addr, &options).status.success()
    };
    for version in ["tlsv1.2", "tlsv1.3"] {
        for (from, name, words) in [
            (&pki, "expired", "the client's certificate has expired"),
            (&pki, "early", "the client's certificate is not valid yet"),
            (&pki, "revoked", "the client's certificate is revoked"),
            (&pki, "other-use", "the client's certificate is not for clients"),
            (&stranger, "foreign", "the client's certificate is from an unknown authority"),
        ] {
            let mark = proxy.log().mark();
            assert!(!publish(from, name, version), "{name} over {version}");
            proxy.log().wait_for(mark, &["refused", "outcome=tls_failed", words]);
            assert!(publish(&pki, "good", version), "after {name} over {version}");
        }
    }
}
