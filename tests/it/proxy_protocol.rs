use crate::harness::*;
use mqtt_bouncer::admission::As;
use mqtt_bouncer::metrics::Outcome;
use mqtt_bouncer::net::peer::Peer;
use mqtt_bouncer::wire::Reading;
use mqtt_bouncer::wire::proxy_protocol::{self, Announcement, LOCAL, Origin, Tls, Tlvs};
use std::net::SocketAddr;
use tokio::io::AsyncWriteExt;

const REQUIRED: &str = "proxy_protocol = \"required\"\ntrusted = [\"127.0.0.0/8\"]";
const OPTIONAL: &str = "proxy_protocol = \"optional\"\ntrusted = [\"127.0.0.0/8\"]";
const DISTRUSTING: &str = "proxy_protocol = \"optional\"\ntrusted = [\"10.0.0.0/8\", \"2001:db8::/32\"]";
const BANNED: &[u8] = b"\x20\x03\x00\x8a\x00";

fn addr(text: &str) -> SocketAddr {
    text.parse().expect("an address")
}

fn announcement(source: &str) -> Announcement<'static> {
    announcement_of(source, "dev-17")
}

fn announcement_of<'a>(source: &str, common_name: &'a str) -> Announcement<'a> {
    let secured = Tls {
        certificate_in_session: true,
        version: Some("TLSv1.3"),
        common_name: Some(common_name),
        ..Tls::default()
    };
    let tlvs = Tlvs { alpn: Some(b"mqtt"), authority: Some("broker.example"), tls: Some(secured) };
    Announcement { source: addr(source), destination: addr("198.51.100.1:8883"), tlvs }
}

fn v1(source: &str) -> Vec<u8> {
    announcement(source).v1()
}

fn v2(source: &str) -> Vec<u8> {
    announcement(source).v2(usize::MAX)
}

fn v2_of(source: &str, common_name: &str) -> Vec<u8> {
    announcement_of(source, common_name).v2(usize::MAX)
}

/// A client behind a load balancer that says this of it.
async fn behind(proxy: &Proxy, header: &[u8], connect: &[u8]) -> Client {
    let mut client = proxy.connect().await;
    client.send(&[header, connect].concat()).await;
    client
}

/// Where the one session comes from, and through which load balancer.
async fn only_session(proxy: &Proxy) -> (SocketAddr, Option<SocketAddr>, bool) {
    until("it is inside", || proxy.app.sessions().len() == 1).await;
    let live = proxy.app.sessions().after(0, 10).pop().expect("one");
    (live.peer().addr().expect("an address"), live.via().and_then(Peer::addr), live.is_tls())
}

#[tokio::test]
async fn a_client_behind_a_load_balancer_is_known_by_its_own_address() {
    let broker = Broker::start().await;
    for more in [REQUIRED, OPTIONAL] {
        let proxy = Proxy::start(&config(broker.addr, more, ""));
        proxy.ban(As::PeerHost, "192.0.2.66");
        for header in [v1("192.0.2.66:4711"), v2("192.0.2.66:4711"), v2("[::ffff:192.0.2.66]:4711")] {
            assert_eq!(behind(&proxy, &header, &connect_v5("dev")).await.rest().await, BANNED);
        }
        for (header, is_tls) in [(v1("192.0.2.7:4711"), false), (v2("192.0.2.7:4711"), true)] {
            let client = behind(&proxy, &header, &connect_v5("dev")).await;
            // Not one byte of the header reaches the broker.
            broker.accept().await.receive(&connect_v5("dev")).await;
            let via = client.0.local_addr().expect("connected");
            assert_eq!(only_session(&proxy).await, (addr("192.0.2.7:4711"), Some(via), is_tls));
            drop(client);
            until("it has gone", || proxy.app.sessions().is_empty()).await;
        }
        let refused = proxy.app.refused().pick(NOW, |_| true);
        assert!(refused.iter().all(|row| row.origin.text() == "192.0.2.66"), "{refused:?}");
    }
}

#[tokio::test]
async fn a_banned_address_behind_a_load_balancer_is_closed_before_its_connect_is_read() {
    let broker = Broker::start().await;
    let proxy = Proxy::start(&config(broker.addr, &format!("{REQUIRED}\non_banned_peer = \"close\""), ""));
    proxy.ban(As::PeerHostNet, "2001:db8:66::/48");
    let mut client = behind(&proxy, &v2("[2001:db8:66::1]:4711"), b"").await;
    client.ended().await;
    proxy.until_counted(Outcome::Banned, 1).await;
}

#[tokio::test]
async fn a_header_from_somebody_who_is_not_trusted_is_refused_and_believed_by_nobody() {
    let broker = Broker::start().await;
    let proxy = Proxy::start(&config(broker.addr, DISTRUSTING, ""));
    proxy.ban(As::PeerHost, "127.0.0.1");
    let rest = "[[exempt]]\nas = \"peerhost\"\nwho = \"192.0.2.7\"";
    let exempting = Proxy::start(&config(broker.addr, DISTRUSTING, rest));
    for (nth, header) in [v1("192.0.2.7:1"), v2("192.0.2.7:1"), LOCAL.to_vec()].into_iter().enumerate() {
        for proxy in [&proxy, &exempting] {
            behind(proxy, &header, &connect_v5("dev")).await.ended().await;
            proxy.until_counted(Outcome::UntrustedProxy, nth as u64 + 1).await;
        }
    }
    assert_eq!(behind(&proxy, b"", &connect_v5("dev")).await.rest().await, BANNED);
    let rows = proxy.app.refused().pick(NOW, |_| true);
    assert!(rows.iter().any(|row| row.reason.as_str() == "untrusted_proxy"), "{rows:?}");
    assert!(!broker.was_called());
}

#[tokio::test]
async fn who_is_not_trusted_is_turned_away_unheard_where_everybody_needs_a_header() {
    let broker = Broker::start().await;
    let more = "proxy_protocol = \"required\"\ntrusted = [\"10.0.0.0/8\"]";
    let proxy = Proxy::start(&config(broker.addr, more, ""));
    proxy.connect().await.ended().await;
    proxy.until_counted(Outcome::UntrustedProxy, 1).await;
    assert!(!broker.was_called());
}

#[tokio::test]
async fn clients_without_a_header_come_in_where_one_is_optional_and_nowhere_else() {
    let broker = Broker::start().await;
    for more in [OPTIONAL, DISTRUSTING] {
        let proxy = Proxy::start(&config(broker.addr, more, ""));
        let client = behind(&proxy, b"", &connect_v311("direct")).await;
        broker.accept().await.receive(&connect_v311("direct")).await;
        let peer = client.0.local_addr().expect("connected");
        assert_eq!(only_session(&proxy).await, (peer, None, false));
    }
    let proxy = Proxy::start(&config(broker.addr, REQUIRED, ""));
    behind(&proxy, b"", &connect_v311("direct")).await.ended().await;
    proxy.until_counted(Outcome::BadProxyHeader, 1).await;
    assert!(!broker.was_called());
}

#[tokio::test]
async fn headers_that_cannot_be_used_end_the_connection_and_are_held_against_nobody() {
    let broker = Broker::start().await;
    let rest = "[detection.malformed]\nmax_count = 1\n[detection.connection_rate]\nmax_count = 1";
    let proxy = Proxy::start(&config(broker.addr, REQUIRED, rest));
    let endless = [&b"PROXY UNKNOWN "[..], &[b'x'; 200]].concat();
    let huge = [&b"\r\n\r\n\0\r\nQUIT\n\x21\x11\xFF\xFF"[..], &[0; 5000]].concat();
    let mut strange = v2("192.0.2.7:1");
    strange[13] = 0x55;
    let headers: [&[u8]; 9] = [
        b"PROXY TCP4 192.0.2.7 198.51.100.1 4711\r\n",
        b"PROXY TCP4 192.0.2.777 198.51.100.1 1 2\r\n",
        b"PROXY TCP4 192.0.2.7 198.51.100.1 1 2\n",
        b"PROXY\r\n",
        b"POST / HTTP/1.1\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00",
        &endless,
        &huge,
        &strange,
    ];
    for (nth, header) in headers.into_iter().enumerate() {
        behind(&proxy, header, &connect_v5("dev")).await.ended().await;
        proxy.until_counted(Outcome::BadProxyHeader, nth as u64 + 1).await;
    }
    let rows = proxy.app.refused().pick(NOW, |_| true);
    assert!(rows.iter().all(|row| row.reason.as_str() == "bad_proxy_header" && row.count == 9), "{rows:?}");
    assert!(!broker.was_called());
    // The load balancer is not banned for it.
    let _client = behind(&proxy, &v1("192.0.2.7:1"), &connect_v5("dev")).await;
    broker.accept().await.receive(&connect_v5("dev")).await;
}

#[tokio::test]
async fn a_header_may_drip_but_not_for_longer_than_it_may_take() {
    let broker = Broker::start().await;
    let proxy = Proxy::start(&config(broker.addr, REQUIRED, ""));
    for header in [v1("192.0.2.7:4711"), v2("192.0.2.7:4711")] {
        let mut client = proxy.connect().await;
        for byte in [header, connect_v5("dripping")].concat() {
            client.send(&[byte]).await;
            tokio::task::yield_now().await;
        }
        broker.accept().await.receive(&connect_v5("dripping")).await;
    }
    let hasty = format!("{REQUIRED}\nproxy_protocol_timeout = \"50ms\"\nconnect_timeout = \"1h\"");
    let proxy = Proxy::start(&config(broker.addr, &hasty, ""));
    behind(&proxy, b"PROXY TCP4", b"").await.ended().await;
    proxy.connect().await.ended().await;
    proxy.until_counted(Outcome::ConnectTimeout, 2).await;
    let mut half = behind(&proxy, b"\r\n\r\n", b"").await;
    half.0.shutdown().await.expect("connected");
    half.ended().await;
    proxy.until_counted(Outcome::ClosedEarly, 1).await;
}

#[tokio::test]
async fn a_direct_client_that_says_nothing_has_its_connect_timeout_and_no_more() {
    let broker = Broker::start().await;
    let proxy = Proxy::start(&config(broker.addr, &format!("{OPTIONAL}\nconnect_timeout = \"50ms\""), ""));
    proxy.connect().await.ended().await;
    proxy.until_counted(Outcome::ConnectTimeout, 1).await;
    drop(proxy.connect().await);
    proxy.until_counted(Outcome::Probe, 1).await;
}

#[tokio::test]
async fn what_a_load_balancer_does_on_its_own_account_is_held_against_nobody() {
    let broker = Broker::start().await;
    let rest = "[detection.malformed]\nmax_count = 1\n[detection.connection_rate]\nmax_count = 1\n\
                [flapping_detect.by_peerhost]\nmax_count = 1\n[flapping_detect.by_clientid]\nmax_count = 1";
    let proxy = Proxy::start(&config(broker.addr, REQUIRED, rest));
    for _ in 0..3 {
        drop(behind(&proxy, &LOCAL, b"").await);
        drop(behind(&proxy, b"PROXY UNKNOWN\r\n", b"").await);
        // HAProxy's own checks name HAProxy.
        drop(behind(&proxy, &v1("127.0.0.1:4711"), b"").await);
        behind(&proxy, &LOCAL, b"GET / HTTP/1.0\r\n\r\n").await.ended().await;
        let mut check = behind(&proxy, &LOCAL, &connect_v5("check")).await;
        let mut inside = broker.accept().await;
        inside.receive(&connect_v5("check")).await;
        inside.send(b"\x20\x03\x00\x00\x00").await;
        check.receive(b"\x20\x03\x00\x00\x00").await;
        let peer = check.0.local_addr().expect("connected");
        assert_eq!(only_session(&proxy).await, (peer, None, false));
        check.send(b"\xe0\x00").await;
        drop((check, inside));
        until("it has gone", || proxy.app.sessions().is_empty()).await;
        drop(proxy.connect().await);
    }
    proxy.until_counted(Outcome::Probe, 12).await;
    assert_eq!(proxy.count(Outcome::Banned), 0);
    // A client of the load balancer that does the same is found out.
    for _ in 0..2 {
        behind(&proxy, &v1("192.0.2.7:1"), b"GET / HTTP/1.0\r\n\r\n").await.ended().await;
    }
    behind(&proxy, &v1("192.0.2.7:1"), &connect_v5("dev")).await.ended().await;
    until("it is banned", || proxy.count(Outcome::Banned) > 0).await;
    let _other = behind(&proxy, &v1("192.0.2.8:1"), &connect_v5("dev")).await;
    broker.accept().await.receive(&connect_v5("dev")).await;
}

#[tokio::test]
async fn a_ban_of_a_certificate_ends_sessions_whose_load_balancer_has_shown_it() {
    let broker = Broker::start().await;
    let proxy = Proxy::start(&config(broker.addr, REQUIRED, "[banned]\nkick = [\"cert_cn\"]"));
    let (of_another, of_nobody) = (v2_of("192.0.2.7:4712", "dev-18"), v1("192.0.2.8:1"));
    let mut named = behind(&proxy, &v2("192.0.2.7:4711"), &connect_v5("named")).await;
    let mut inside = broker.accept().await;
    inside.receive(&connect_v5("named")).await;
    let mut stay = Vec::new();
    for header in [of_another, of_nobody] {
        let client = behind(&proxy, &header, &connect_v5("stays")).await;
        let mut inside = broker.accept().await;
        inside.receive(&connect_v5("stays")).await;
        stay.push((client, inside));
    }
    proxy.ban(As::CertCn, "dev-17");
    named.ended().await;
    inside.ended().await;
    for (client, inside) in &mut stay {
        client.send(b"\xc0\x00").await;
        inside.receive(b"\xc0\x00").await;
    }
}

/// What the broker is sent, up to the end of the header.
async fn announced(broker: &Broker, size: usize) -> (Vec<u8>, Client) {
    let mut inside = broker.accept().await;
    let mut bytes = vec![0; size];
    soon("a header", tokio::io::AsyncReadExt::read_exact(&mut inside.0, &mut bytes)).await.expect("whole");
    (bytes, inside)
}

#[tokio::test]
async fn the_broker_is_told_who_the_client_is_and_where_it_had_connected_to() {
    let broker = Broker::start().await;
    let proxy = Proxy::start(&config(broker.addr, "", "proxy_protocol = \"v1\""));
    let mut client = proxy.connect().await;
    client.send(&connect_v5("dev")).await;
    let (from, to) = (client.0.local_addr().expect("connected"), proxy.addr());
    let line = format!("PROXY TCP4 127.0.0.1 127.0.0.1 {} {}\r\n", from.port(), to.port());
    let opening = [line.as_bytes(), &connect_v5("dev")].concat();
    assert_eq!(announced(&broker, opening.len()).await.0, opening);
}

#[tokio::test]
async fn what_the_load_balancer_says_of_a_client_is_passed_on() {
    let broker = Broker::start().await;
    let proxy = Proxy::start(&config(broker.addr, REQUIRED, "proxy_protocol = \"v2\""));
    let header = v2("192.0.2.7:4711");
    let _client = behind(&proxy, &header, &connect_v5("dev")).await;
    let (bytes, mut inside) = announced(&broker, header.len()).await;
    inside.receive(&connect_v5("dev")).await;
    let Ok(Reading::Complete(read)) = proxy_protocol::read(&bytes) else { panic!("{bytes:?}") };
    let Announcement { source, destination, tlvs } = announcement("192.0.2.7:4711");
    assert_eq!((read.origin, read.tlvs), (Origin::Client { source, destination }, tlvs));
}

#[tokio::test]
async fn a_reload_changes_what_is_made_of_headers_and_touches_no_session() {
    let broker = Broker::start().await;
    let mut proxy = Proxy::start(&config(broker.addr, "", ""));
    let mut client = behind(&proxy, b"", &connect_v5("dev")).await;
    let mut inside = broker.accept().await;
    inside.receive(&connect_v5("dev")).await;
    proxy.app.reload(parse(&config(broker.addr, REQUIRED, ""))).expect("a good config");
    client.send(b"\xc0\x00").await;
    inside.receive(b"\xc0\x00").await;
    behind(&proxy, b"", &connect_v5("late")).await.ended().await;
    proxy.until_counted(Outcome::BadProxyHeader, 1).await;
    let _late = behind(&proxy, &v1("192.0.2.7:1"), &connect_v5("late")).await;
    broker.accept().await.receive(&connect_v5("late")).await;
}
