//! Listeners that speak TLS.

use crate::harness::{Broker, Client, Proxy, config, connect_v5, connect_v311, parse, soon, until};
use crate::pki::{Pki, Tls, enter};
use mqtt_bouncer::admission::{As, List};
use mqtt_bouncer::metrics::Outcome;
use rcgen::{PKCS_ECDSA_P256_SHA256, PKCS_RSA_SHA256, date_time_ymd};
use tokio::io::AsyncWriteExt;
use tokio_rustls::rustls::{HandshakeKind, ProtocolVersion, version};

const DISCONNECT: &[u8] = b"\xe0\x00";

/// An authority with a certificate for `localhost`.
fn pki() -> Pki {
    let pki = Pki::new();
    pki.server("server", &["localhost"], &PKCS_ECDSA_P256_SHA256);
    pki
}

/// How often a handshake ended so.
fn handshakes(proxy: &Proxy, result: &str) -> u64 {
    let listener = proxy.app.metrics().listeners.of("mqtt");
    let found = listener.tls.handshakes().find(|(name, _)| *name == result);
    found.expect("a known result").1
}

/// Why a client could not enter.
async fn refusal(outcome: std::io::Result<Tls>) -> String {
    match outcome {
        Ok(client) => client.refusal().await,
        Err(error) => error.to_string(),
    }
}

#[tokio::test]
async fn bytes_pass_both_ways_in_every_version() {
    let (pki, broker) = (pki(), Broker::start().await);
    let proxy = Proxy::start(&config(broker.addr, &pki.listener(""), ""));
    for (offered, agreed) in
        [(&version::TLS12, ProtocolVersion::TLSv1_2), (&version::TLS13, ProtocolVersion::TLSv1_3)]
    {
        let mut dialler = pki.dialler();
        dialler.versions = vec![offered];
        let mut client = dialler.dial(proxy.addr()).await.expect("in common");
        assert_eq!(client.0.get_ref().1.protocol_version(), Some(agreed));
        assert_eq!(client.0.get_ref().1.alpn_protocol(), Some(&b"mqtt"[..]));
        let mut inside = enter(&mut client, &broker, &connect_v311("dev")).await;
        let large = crate::harness::frame(0x30, &vec![7; 300_000]);
        let (mut to_client, mut to_broker) = (vec![0; large.len()], vec![0; large.len()]);
        let (mut reading, mut writing) = tokio::io::split(client.0);
        let (mut broker_reading, mut broker_writing) = inside.0.split();
        soon("both ways", async {
            use tokio::io::AsyncReadExt;
            let down = async {
                tokio::try_join!(broker_writing.write_all(&large), reading.read_exact(&mut to_client))
                    .map(drop)
            };
            let up = async {
                tokio::try_join!(
                    async {
                        writing.write_all(&large).await?;
                        writing.flush().await
                    },
                    broker_reading.read_exact(&mut to_broker)
                )
                .map(drop)
            };
            tokio::try_join!(down, up).expect("relayed");
        })
        .await;
        assert!(to_client == large && to_broker == large);
    }
    assert_eq!(handshakes(&proxy, "full"), 2);
}

#[tokio::test]
async fn a_banned_client_reads_why_and_that_it_is_over() {
    let (pki, broker) = (pki(), Broker::start().await);
    let proxy = Proxy::start(&config(broker.addr, &pki.listener(""), ""));
    proxy.ban(As::ClientId, "bad");
    for versions in [[&version::TLS12], [&version::TLS13]] {
        let mut dialler = pki.dialler();
        dialler.versions = versions.to_vec();
        let mut client = dialler.dial(proxy.addr()).await.expect("in common");
        // What it sends on after its CONNECT must not cost it the answer.
        client.send(&[connect_v5("bad"), vec![0x30; 50_000]].concat()).await;
        assert_eq!(client.rest().await, b"\x20\x03\x00\x8a\x00");
    }
    assert!(!broker.was_called());
}

#[tokio::test]
async fn a_kicked_client_reads_why_and_that_it_is_over() {
    let (pki, broker) = (pki(), Broker::start().await);
    let proxy = Proxy::start(&config(broker.addr, &pki.listener(""), ""));
    let mut client = pki.dialler().dial(proxy.addr()).await.expect("in common");
    client.send(&connect_v5("dev")).await;
    let mut inside = broker.accept().await;
    inside.send(b"\x20\x03\x00\x00\x00").await;
    client.receive(b"\x20\x03\x00\x00\x00").await;
    proxy.ban(As::ClientId, "dev");
    assert_eq!(client.rest().await, b"\xe0\x02\x98\x00");
}

#[tokio::test]
async fn a_client_that_closes_without_a_word_has_closed() {
    let (pki, broker) = (pki(), Broker::start().await);
    let proxy = Proxy::start(&config(broker.addr, &pki.listener(""), ""));
    let mut client = pki.dialler().dial(proxy.addr()).await.expect("in common");
    let mut inside = enter(&mut client, &broker, &connect_v311("dev")).await;
    client.send(DISCONNECT).await;
    drop(client);
    assert_eq!(inside.rest().await, DISCONNECT);
}

#[tokio::test]
async fn who_asks_for_a_name_is_shown_its_certificate() {
    let (pki, broker) = (pki(), Broker::start().await);
    pki.server("rsa", &["localhost", "rsa.example"], &PKCS_RSA_SHA256);
    pki.server("wild", &["*.wild.example"], &PKCS_ECDSA_P256_SHA256);
    let pair = |name: &str| {
        format!(
            "{{ cert = \"{}\", key = \"{}\" }}",
            pki.path(&format!("{name}.pem")).display(),
            pki.path(&format!("{name}.key")).display()
        )
    };
    let tls = format!("more = [{}, {}]\nunknown_name = \"refuse\"", pair("rsa"), pair("wild"));
    let proxy = Proxy::start(&config(broker.addr, &pki.listener(&tls), ""));
    for name in ["localhost", "rsa.example", "a.wild.example"] {
        let mut dialler = pki.dialler();
        dialler.name = name;
        dialler.dial(proxy.addr()).await.unwrap_or_else(|error| panic!("{name}: {error}"));
    }
    let mut dialler = pki.dialler();
    dialler.name = "other.example";
    let refused = refusal(dialler.dial(proxy.addr()).await).await;
    assert!(refused.contains("UnrecognisedName"), "{refused}");
    until("unknown name", || handshakes(&proxy, "unknown_name") == 1).await;
    proxy.until_counted(Outcome::TlsFailed, 1).await;
}

#[tokio::test]
async fn protocols_must_have_mqtt_among_them_or_be_none() {
    let (pki, broker) = (pki(), Broker::start().await);
    let proxy = Proxy::start(&config(broker.addr, &pki.listener(""), ""));
    for alpn in [vec![], vec![b"h2".to_vec(), b"mqtt".to_vec()]] {
        let mut dialler = pki.dialler();
        dialler.alpn = alpn;
        dialler.dial(proxy.addr()).await.expect("let in");
    }
    let mut dialler = pki.dialler();
    dialler.alpn = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let refused = refusal(dialler.dial(proxy.addr()).await).await;
    assert!(refused.contains("NoApplicationProtocol"), "{refused}");
    until("no protocol", || handshakes(&proxy, "no_protocol") == 1).await;
}

#[tokio::test]
async fn an_old_version_is_refused_where_a_newer_one_is_asked_for() {
    let (pki, broker) = (pki(), Broker::start().await);
    let proxy = Proxy::start(&config(broker.addr, &pki.listener("min_version = \"1.3\""), ""));
    let mut dialler = pki.dialler();
    dialler.versions = vec![&version::TLS12];
    let refused = refusal(dialler.dial(proxy.addr()).await).await;
    assert!(refused.contains("ProtocolVersion"), "{refused}");
    pki.dialler().dial(proxy.addr()).await.expect("in common");
    until("in common", || handshakes(&proxy, "full") == 1).await;
    assert_eq!(handshakes(&proxy, "no_version"), 1);
}

#[tokio::test]
async fn a_cipher_suite_that_is_not_chosen_is_refused() {
    let (pki, broker) = (pki(), Broker::start().await);
    let suites = "cipher_suites = [\"TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256\"]";
    let proxy = Proxy::start(&config(broker.addr, &pki.listener(suites), ""));
    // The certificate is ECDSA, so there is no suite in common.
    let mut dialler = pki.dialler();
    dialler.versions = vec![&version::TLS12];
    let refused = refusal(dialler.dial(proxy.addr()).await).await;
    assert!(refused.contains("AccessDenied"), "{refused}");
    until("no cipher", || handshakes(&proxy, "no_cipher") == 1).await;
}

#[tokio::test]
async fn what_speaks_no_tls_is_closed_at_its_first_byte() {
    let (pki, broker) = (pki(), Broker::start().await);
    let proxy = Proxy::start(&config(broker.addr, &pki.listener(""), ""));
    for bytes in [
        &connect_v311("dev")[..],
        b"GET / HTTP/1.1\r\n\r\n",
        b"\x80\x2e\x01\x03\x01",
        b"\x15\x03\x01\x00\x02\x02\x00",
    ] {
        let mut client = proxy.connect().await;
        client.send(bytes).await;
        assert_eq!(client.rest().await, b"");
    }
    until("no TLS", || handshakes(&proxy, "not_tls") == 4).await;
    assert_eq!(proxy.count(Outcome::TlsFailed), 4);
}

#[tokio::test]
async fn a_hello_that_is_huge_or_broken_is_told_so_and_closed() {
    let (pki, broker) = (pki(), Broker::start().await);
    let proxy = Proxy::start(&config(broker.addr, &pki.listener(""), ""));
    let cut = [&b"\x16\x03\x01\x00\x0a\x01\x00\x00\x06\x03\x03"[..], &[0; 4]].concat();
    for bytes in [&b"\x16\x03\x01\x40\x00\x01\x00\x40\x01\x03\x03"[..], &cut] {
        let mut client = proxy.connect().await;
        client.send(bytes).await;
        // A fatal alert: decode_error.
        assert_eq!(client.rest().await, b"\x15\x03\x03\x00\x02\x02\x32");
    }
    until("malformed", || handshakes(&proxy, "malformed") == 2).await;
}

#[tokio::test]
async fn health_checks_and_clients_that_go_early_are_told_apart() {
    let (pki, broker) = (pki(), Broker::start().await);
    let proxy = Proxy::start(&config(broker.addr, &pki.listener(""), ""));
    drop(proxy.connect().await);
    proxy.until_counted(Outcome::Probe, 1).await;
    let mut client = proxy.connect().await;
    client.send(b"\x16\x03\x01\x02\x00\x01").await;
    drop(client);
    proxy.until_counted(Outcome::ClosedEarly, 1).await;
    assert_eq!((handshakes(&proxy, "closed"), proxy.count(Outcome::TlsFailed)), (1, 0));
}

#[tokio::test]
async fn a_handshake_that_drips_or_stops_is_given_up() {
    let (pki, broker) = (pki(), Broker::start().await);
    let proxy = Proxy::start(&config(broker.addr, &pki.listener("handshake_timeout = \"50ms\""), ""));
    let mut dripping = proxy.connect().await;
    dripping.send(b"\x16\x03").await;
    dripping.ended().await;
    proxy.until_counted(Outcome::ConnectTimeout, 1).await;
    assert_eq!(handshakes(&proxy, "timeout"), 1);
}

#[tokio::test]
async fn tls_on_a_plain_listener_is_no_mqtt() {
    let (pki, broker) = (pki(), Broker::start().await);
    let proxy = Proxy::start(&config(broker.addr, "", ""));
    pki.dialler().dial(proxy.addr()).await.expect_err("no TLS there");
    proxy.until_counted(Outcome::NotMqtt, 1).await;
}

#[tokio::test]
async fn a_client_that_comes_back_resumes_in_every_version() {
    let (pki, broker) = (pki(), Broker::start().await);
    let proxy = Proxy::start(&config(broker.addr, &pki.listener(""), ""));
    for (number, offered) in [&version::TLS12, &version::TLS13].into_iter().enumerate() {
        let mut dialler = pki.dialler();
        dialler.versions = vec![offered];
        let connector = dialler.build();
        for (kind, index) in [(HandshakeKind::Full, 0), (HandshakeKind::Resumed, 1)] {
            let mut client = connector.dial(proxy.addr()).await.expect("in common");
            enter(&mut client, &broker, &connect_v311(&format!("dev{index}"))).await;
            assert_eq!(client.0.get_ref().1.handshake_kind(), Some(kind), "{number}");
        }
    }
    assert_eq!((handshakes(&proxy, "full"), handshakes(&proxy, "resumed")), (2, 2));
}

#[tokio::test]
async fn nobody_resumes_where_that_is_off() {
    let (pki, broker) = (pki(), Broker::start().await);
    let proxy = Proxy::start(&config(broker.addr, &pki.listener("resumption = false"), ""));
    for offered in [&version::TLS12, &version::TLS13] {
        let mut dialler = pki.dialler();
        dialler.versions = vec![offered];
        let connector = dialler.build();
        for _ in 0..2 {
            let mut client = connector.dial(proxy.addr()).await.expect("in common");
            enter(&mut client, &broker, &connect_v311("dev")).await;
            assert_eq!(client.0.get_ref().1.handshake_kind(), Some(HandshakeKind::Full));
        }
    }
}

fn mutual(pki: &Pki, auth: &str) -> String {
    let ca = pki.path("ca.pem");
    pki.listener(&format!("client_auth = \"{auth}\"\nclient_ca = \"{}\"", ca.display()))
}

#[tokio::test]
async fn client_certificates_are_asked_for_and_checked() {
    let (pki, broker, stranger) = (pki(), Broker::start().await, Pki::new());
    pki.client("good", 1, |_| {});
    pki.client("expired", 2, |params| params.not_after = date_time_ymd(2020, 1, 1));
    pki.client("early", 3, |params| params.not_before = date_time_ymd(2090, 1, 1));
    pki.client("server-only", 4, |params| {
        params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ServerAuth];
    });
    stranger.client("foreign", 1, |_| {});
    let required = Proxy::start(&config(broker.addr, &mutual(&pki, "required"), ""));
    let optional = Proxy::start(&config(broker.addr, &mutual(&pki, "optional"), ""));
    for proxy in [&required, &optional] {
        let mut client = pki.dialler_as("good").dial(proxy.addr()).await.expect("believed");
        enter(&mut client, &broker, &connect_v311("dev")).await;
        let foreign = {
            let mut dialler = stranger.dialler_as("foreign");
            dialler.roots = pki.dialler().roots;
            dialler
        };
        for (dialler, alert) in [
            (pki.dialler_as("expired"), "CertificateExpired"),
            (pki.dialler_as("early"), "CertificateExpired"),
            (pki.dialler_as("server-only"), "UnsupportedCertificate"),
            (foreign, "UnknownCA"),
        ] {
            for versions in [[&version::TLS12], [&version::TLS13]] {
                let mut dialler = dialler.clone();
                dialler.versions = versions.to_vec();
                let refused = refusal(dialler.dial(proxy.addr()).await).await;
                assert!(refused.contains(alert), "{alert}: {refused}");
            }
        }
        assert_eq!(handshakes(proxy, "bad_certificate"), 8);
    }
    let refused = refusal(pki.dialler().dial(required.addr()).await).await;
    assert!(refused.contains("CertificateRequired"), "{refused}");
    assert_eq!(handshakes(&required, "no_certificate"), 1);
    let mut nobody = pki.dialler().dial(optional.addr()).await.expect("let in");
    enter(&mut nobody, &broker, &connect_v311("dev")).await;
}

#[tokio::test]
async fn a_revoked_certificate_is_refused_even_if_it_resumes() {
    let (pki, broker) = (pki(), Broker::start().await);
    pki.client("dev", 7, |_| {});
    pki.revoke(&[9]);
    let listener =
        mutual(&pki, "required") + &format!("\nclient_crl = [\"{}\"]", pki.path("crl.pem").display());
    let text = config(broker.addr, &listener, "");
    let mut proxy = Proxy::start(&text);
    let addr = proxy.addr();
    let connector = pki.dialler_as("dev").build();
    let mut client = connector.dial(addr).await.expect("believed");
    let mut inside = enter(&mut client, &broker, &connect_v311("dev")).await;
    pki.revoke(&[9, 7]);
    proxy.app.reload(parse(&text)).expect("good");
    let refused = refusal(connector.dial(addr).await).await;
    assert!(refused.contains("CertificateRevoked"), "{refused}");
    // Whoever is inside stays.
    client.send(DISCONNECT).await;
    inside.receive(DISCONNECT).await;
}

#[tokio::test]
async fn a_certificate_names_its_client() {
    let (pki, broker) = (pki(), Broker::start().await);
    pki.client("dev-7", 0xCAFE, |_| {});
    for (fields, kind, who) in [
        ("peer_cert_as_username = \"cn\"", As::Username, "dev-7"),
        ("peer_cert_as_username = \"dn\"", As::Username, "CN=dev-7,O=Example"),
        ("peer_cert_as_clientid = \"serial\"", As::ClientId, "CAFE"),
        ("peer_cert_as_clientid = \"cn\"", As::ClientId, "dev-7"),
    ] {
        let proxy =
            Proxy::start(&config(broker.addr, &format!("{fields}\n{}", mutual(&pki, "optional")), ""));
        proxy.ban(kind, who);
        let mut client = pki.dialler_as("dev-7").dial(proxy.addr()).await.expect("believed");
        client.send(&connect_v311("claimed")).await;
        assert_eq!(client.rest().await, b"\x20\x02\x00\x05", "{fields}");
        // What it claims does not help, and does not harm.
        proxy.ban(As::ClientId, "plain");
        let mut nobody = pki.dialler().dial(proxy.addr()).await.expect("let in");
        nobody.send(&connect_v311("plain")).await;
        assert_eq!(nobody.rest().await, b"\x20\x02\x00\x05", "{fields}");
    }
    // The broker gets what the client sent.
    let proxy = Proxy::start(&config(
        broker.addr,
        &format!("peer_cert_as_clientid = \"cn\"\n{}", mutual(&pki, "optional")),
        "",
    ));
    proxy.ban(As::ClientId, "claimed");
    let mut client = pki.dialler_as("dev-7").dial(proxy.addr()).await.expect("believed");
    enter(&mut client, &broker, &connect_v311("claimed")).await;
}

#[tokio::test]
async fn bans_of_certificates_and_fingerprints_refuse_and_kick() {
    let (pki, broker) = (pki(), Broker::start().await);
    pki.client("dev-7", 7, |_| {});
    let kick = "[banned]\nkick = [\"cert_cn\", \"cert_sha256\", \"tls_ja4\"]";
    for kind in [As::CertCn, As::CertSha256, As::TlsJa4] {
        let proxy = Proxy::start(&config(broker.addr, &mutual(&pki, "optional"), kick));
        let mut client = pki.dialler_as("dev-7").dial(proxy.addr()).await.expect("believed");
        enter(&mut client, &broker, &connect_v311("dev")).await;
        let facts = {
            let live = proxy.app.sessions().of_client_id("dev").next().expect("inside");
            live.tls().expect("TLS").clone()
        };
        let cert = facts.cert.expect("shown");
        let who = match kind {
            As::CertCn => "dev-7".to_owned(),
            As::CertSha256 => cert.sha256.to_string(),
            _ => facts.ja4.to_string(),
        };
        assert_eq!((facts.version, facts.alpn.as_deref()), ("1.3", Some("mqtt")));
        assert_eq!(
            (cert.cn.as_deref(), &cert.dn[..], &cert.serial[..]),
            (Some("dev-7"), "CN=dev-7,O=Example", "07")
        );
        proxy.ban(kind, &who);
        assert_eq!(client.rest().await, b"", "{kind}: kicked");
        let mut again = pki.dialler_as("dev-7").dial(proxy.addr()).await.expect("believed");
        again.send(&connect_v311("other")).await;
        assert_eq!(again.rest().await, b"\x20\x02\x00\x05", "{kind}: refused");
        // Without a certificate only the fingerprint is left.
        let mut nobody = pki.dialler().dial(proxy.addr()).await.expect("let in");
        if kind == As::TlsJa4 {
            nobody.send(&connect_v311("other")).await;
            assert_eq!(nobody.rest().await, b"\x20\x02\x00\x05");
        } else {
            enter(&mut nobody, &broker, &connect_v311("other")).await;
        }
    }
}

#[tokio::test]
async fn a_banned_fingerprint_is_closed_before_anything_is_computed() {
    let (pki, broker) = (pki(), Broker::start().await);
    let listener = format!("on_banned_peer = \"close\"\n{}", pki.listener(""));
    let proxy = Proxy::start(&config(broker.addr, &listener, ""));
    let mut client = pki.dialler().dial(proxy.addr()).await.expect("in common");
    let inside = enter(&mut client, &broker, &connect_v311("dev")).await;
    let ja4 = {
        let live = proxy.app.sessions().of_client_id("dev").next().expect("inside");
        live.tls().expect("TLS").ja4.to_string()
    };
    proxy.ban(As::TlsJa4, &ja4);
    pki.dialler().dial(proxy.addr()).await.expect_err("closed");
    proxy.until_counted(Outcome::Banned, 1).await;
    assert_eq!(handshakes(&proxy, "full"), 1);
    drop((client, inside));
}

/// Whatever became of the handshake: what was heard of a client is what an operator has to go by.
#[tokio::test]
async fn the_list_of_refused_clients_says_what_tls_told() {
    let (pki, broker) = (pki(), Broker::start().await);
    pki.client("dev-1", 1, |_| {});
    let proxy = Proxy::start(&config(broker.addr, &mutual(&pki, "required"), ""));
    let seen = |proxy: &Proxy| {
        let row = proxy.app.refused().pick(crate::harness::NOW, |_| true).pop().expect("a row");
        (row.reason.as_str(), row.is_tls, *row.tls.expect("TLS"))
    };

    // It shows no certificate.
    let refused = refusal(pki.dialler().dial(proxy.addr()).await).await;
    until("it is written down", || !proxy.app.refused().is_empty()).await;
    let (reason, is_tls, told) = seen(&proxy);
    assert_eq!(
        (reason, is_tls, told.server_name.as_deref()),
        ("tls_failed", true, Some("localhost")),
        "{refused}"
    );
    assert_eq!((told.cert_cn, told.cert_sha256), (None, None));
    let ja4 = told.ja4.expect("it has said its first word");
    proxy.app.refused().clear();

    proxy.ban(As::CertCn, "dev-1");
    let mut client = pki.dialler_as("dev-1").dial(proxy.addr()).await.expect("in common");
    client.send(&connect_v5("dev")).await;
    assert_eq!(client.rest().await, b"\x20\x03\x00\x8a\x00");
    let (reason, _, told) = seen(&proxy);
    assert_eq!((reason, told.cert_cn.as_deref(), told.ja4), ("banned", Some("dev-1"), Some(ja4)));
    assert_eq!(
        (told.server_name.as_deref(), told.cert_sha256.map(|digest| digest.len())),
        (Some("localhost"), Some(64))
    );
}

/// Each time another name and another address; the TLS stack stays.
#[tokio::test]
async fn a_stack_that_rotates_all_else_is_found_out_and_refused() {
    let (pki, broker) = (pki(), Broker::start().await);
    let rest = "[detection]\nlearning = \"0s\"\n[flapping_detect.by_ja4]\nmax_count = 3\n";
    let trusted = "proxy_protocol = \"required\"\ntrusted = [\"127.0.0.0/8\"]";
    let proxy = Proxy::start(&config(broker.addr, &format!("{trusted}\n{}", pki.listener("")), rest));
    for nth in 1..=3 {
        let header = format!("PROXY TCP4 192.0.{nth}.9 198.51.100.1 4711 8883\r\n");
        let mut client =
            pki.dialler().build().dial_after(proxy.addr(), header.as_bytes()).await.expect("in common");
        let mut inside = enter(&mut client, &broker, &connect_v311(&format!("bot-{nth}"))).await;
        client.send(DISCONNECT).await;
        drop(client);
        assert_eq!(inside.rest().await, DISCONNECT);
    }
    let banned = || proxy.app.bouncer().count(List::Bans, As::TlsJa4) > 0;
    until("the stack is banned", banned).await;
    let header = b"PROXY TCP4 192.0.4.9 198.51.100.1 4711 8883\r\n";
    let mut client = pki.dialler().build().dial_after(proxy.addr(), header).await.expect("in common");
    client.send(&connect_v5("bot-4")).await;
    assert_eq!(client.rest().await, b"\x20\x03\x00\x8a\x00");
}

#[tokio::test]
async fn a_changed_certificate_is_shown_and_sessions_go_on() {
    let (pki, broker) = (pki(), Broker::start().await);
    let text = config(broker.addr, &pki.listener(""), "");
    let mut proxy = Proxy::start(&text);
    let mut old = pki.dialler().dial(proxy.addr()).await.expect("in common");
    let before = old.0.get_ref().1.peer_certificates().expect("shown").to_vec();
    let mut inside = enter(&mut old, &broker, &connect_v311("dev")).await;
    pki.server("server", &["localhost"], &PKCS_ECDSA_P256_SHA256);
    proxy.app.reload(parse(&text)).expect("good");
    let new = pki.dialler().dial(proxy.addr()).await.expect("in common");
    assert_ne!(new.0.get_ref().1.peer_certificates().expect("shown"), before);
    old.send(DISCONNECT).await;
    inside.receive(DISCONNECT).await;

    // A key that does not fit changes nothing at all.
    let other = Pki::new();
    other.server("server", &["localhost"], &PKCS_ECDSA_P256_SHA256);
    std::fs::copy(other.path("server.key"), pki.path("server.key")).expect("copied");
    let shown = new.0.get_ref().1.peer_certificates().expect("shown").to_vec();
    let error = proxy.app.reload(parse(&text)).expect_err("does not fit");
    assert_eq!(error.to_string(), "listener \"mqtt\" cannot speak TLS");
    let again = pki.dialler().dial(proxy.addr()).await.expect("in common");
    assert_eq!(again.0.get_ref().1.peer_certificates().expect("shown"), shown);
}

#[tokio::test]
async fn a_listener_may_begin_to_speak_tls_and_cease() {
    let (pki, broker) = (pki(), Broker::start().await);
    let plain = config(broker.addr, "", "");
    let secure = config(broker.addr, &pki.listener(""), "");
    let mut proxy = Proxy::start(&plain);
    let mut old = proxy.connect().await;
    old.send(&connect_v311("plain")).await;
    let mut inside = broker.accept().await;
    inside.receive(&connect_v311("plain")).await;
    proxy.app.reload(parse(&secure)).expect("good");
    let mut client = pki.dialler().dial(proxy.addr()).await.expect("TLS now");
    enter(&mut client, &broker, &connect_v311("dev")).await;
    old.send(DISCONNECT).await;
    inside.receive(DISCONNECT).await;
    proxy.app.reload(parse(&plain)).expect("good");
    let mut client: Client = proxy.connect().await;
    client.send(&connect_v311("again")).await;
    broker.accept().await.receive(&connect_v311("again")).await;
}

#[tokio::test]
async fn a_flood_of_handshakes_leaves_those_inside_alone() {
    let (pki, broker) = (pki(), Broker::start().await);
    let proxy = Proxy::start(&config(broker.addr, &pki.listener("max_handshakes = 1"), ""));
    let mut client = pki.dialler().dial(proxy.addr()).await.expect("in common");
    let mut inside = enter(&mut client, &broker, &connect_v311("dev")).await;
    // They say hello and nothing more: they hold no turn.
    let mut stalled = Vec::new();
    for _ in 0..50 {
        let mut one = proxy.connect().await;
        one.send(&hello()).await;
        stalled.push(one);
    }
    for stalled in &mut stalled {
        // The first bytes of a ServerHello.
        stalled.receive(b"\x16\x03\x03").await;
    }
    client.send(b"\xc0\x00").await;
    inside.receive(b"\xc0\x00").await;
    pki.dialler().dial(proxy.addr()).await.expect("a turn for whoever comes next");
}

/// What a client of TLS 1.3 says first.
fn hello() -> Vec<u8> {
    let provider = std::sync::Arc::new(tokio_rustls::rustls::crypto::aws_lc_rs::default_provider());
    let config = tokio_rustls::rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(tokio_rustls::rustls::RootCertStore::empty())
        .with_no_client_auth();
    let name = "localhost".try_into().expect("a name");
    let mut client = tokio_rustls::rustls::ClientConnection::new(config.into(), name).expect("a client");
    let mut bytes = Vec::new();
    client.write_tls(&mut bytes).expect("memory");
    bytes
}
