//! Clients that come by Unix sockets, and brokers that listen on one.

use crate::harness::*;
use mqtt_bouncer::admission::As;
use mqtt_bouncer::metrics::Outcome;
use mqtt_bouncer::net::peer::Peer;
use std::path::{Path, PathBuf};
use tempfile::TempDir;
use tokio::net::{UnixListener, UnixStream};

/// A config with one listener on a Unix socket, and where that is.
fn on_socket(broker: &str, more: &str, rest: &str) -> (TempDir, PathBuf, String) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("mqtt.sock");
    let text = format!(
        "[[listener]]\nname = \"mqtt\"\nbind = \"unix:{}\"\n{more}\n[upstream]\nservers = [\"{broker}\"]\n{rest}\n",
        path.display()
    );
    (folder, path, text)
}

const BANNED: &[u8] = b"\x20\x03\x00\x8a\x00";
/// Every address there is.
const ANYWHERE: [(As, &str); 3] =
    [(As::PeerHostNet, "0.0.0.0/0"), (As::PeerHostNet, "::/0"), (As::PeerHostRe, ".*")];

#[tokio::test]
async fn a_client_without_an_address_is_named_by_no_ban_of_addresses_and_by_all_others() {
    let broker = Broker::start().await;
    let limits =
        "limits = { per_address = \"1/h\", connections_per_address = 1 }\non_banned_peer = \"close\"";
    let detectors = "[flapping_detect]\nenable = true\n[flapping_detect.by_peerhost]\nmax_count = 1\nper_client = 1\n[detection]\nlearning = \"0s\"\n[detection.malformed]\nmax_count = 1\nban_time = \"10m\"";
    let (_folder, path, text) = on_socket(&broker.addr.to_string(), limits, detectors);
    let proxy = Proxy::start(&text);
    for (kind, who) in ANYWHERE {
        proxy.ban(kind, who);
    }
    proxy.ban(As::ClientId, "bot");
    for _ in 0..3 {
        let mut client = Client::connect_to(&path).await;
        client.send(&connect_v5("dev")).await;
        broker.accept().await.receive(&connect_v5("dev")).await;
        let live = proxy.app.sessions().after(0, 1).pop().expect("inside");
        assert_eq!((live.peer(), live.via()), (Peer::Unix, None));
        drop(client);
        until("it has gone", || proxy.app.sessions().is_empty()).await;
    }
    // Garbage counts against no address, for there is none.
    for _ in 0..3 {
        let mut client = Client::connect_to(&path).await;
        client.send(b"GET / HTTP/1.1\r\n\r\n").await;
        client.ended().await;
    }
    proxy.until_counted(Outcome::NotMqtt, 3).await;
    let mut client = Client::connect_to(&path).await;
    client.send(&connect_v5("bot")).await;
    assert_eq!(client.rest().await, BANNED);
    assert_eq!(proxy.app.bouncer().count(mqtt_bouncer::admission::List::Bans, As::PeerHost), 0);
    let refused = proxy.app.refused().pick(NOW, |row| row.client_id.as_deref() == Some("bot"));
    assert_eq!(refused[0].origin.text(), "unix");
}

#[tokio::test]
async fn flapping_counts_by_client_identifier_where_there_is_no_address() {
    let broker = Broker::start().await;
    let detectors = "[flapping_detect]\nenable = true\nmax_count = 3\n[flapping_detect.by_clientid]\n[flapping_detect.by_peerhost]\n[flapping_detect.by_network]\n[detection]\nlearning = \"0s\"\npatience = \"0s\"";
    let (_folder, path, text) = on_socket(&broker.addr.to_string(), "", detectors);
    let proxy = Proxy::start(&text);
    for _ in 0..3 {
        let mut client = Client::connect_to(&path).await;
        client.send(&connect_v5("flaps")).await;
        let mut inside = broker.accept().await;
        inside.receive(&connect_v5("flaps")).await;
        inside.send(b"\x20\x03\x00\x00\x00").await;
        client.receive(b"\x20\x03\x00\x00\x00").await;
        drop(client);
        inside.ended().await;
        drop(inside);
        until("it has gone", || proxy.app.sessions().is_empty()).await;
    }
    until("it is banned", || {
        proxy.clock.advance(std::time::Duration::from_secs(1));
        proxy.app.bouncer().tick();
        proxy.app.bouncer().count(mqtt_bouncer::admission::List::Bans, As::ClientId) == 1
    })
    .await;
    let mut client = Client::connect_to(&path).await;
    client.send(&connect_v5("flaps")).await;
    assert_eq!(client.rest().await, BANNED);
}

#[tokio::test]
async fn a_load_balancer_at_a_unix_socket_says_whom_it_speaks_for_where_it_is_trusted() {
    let broker = Broker::start().await;
    let header = |from: &str| format!("PROXY TCP4 {from} 198.51.100.1 4711 8883\r\n").into_bytes();
    for mode in ["required", "optional"] {
        let more = format!("proxy_protocol = \"{mode}\"\ntrusted = [\"unix\"]");
        let (_folder, path, text) = on_socket(&broker.addr.to_string(), &more, "");
        let proxy = Proxy::start(&text);
        proxy.ban(As::PeerHost, "192.0.2.66");
        let mut client = Client::connect_to(&path).await;
        client.send(&[header("192.0.2.66"), connect_v5("dev")].concat()).await;
        assert_eq!(client.rest().await, BANNED);

        let mut client = Client::connect_to(&path).await;
        client.send(&[header("192.0.2.7"), connect_v5("dev")].concat()).await;
        broker.accept().await.receive(&connect_v5("dev")).await;
        let live = proxy.app.sessions().after(0, 1).pop().expect("inside");
        assert_eq!(live.peer().to_string(), "192.0.2.7:4711");
        assert_eq!(live.via(), Some(Peer::Unix));

        // One who speaks for nobody has no address.
        let mut client = Client::connect_to(&path).await;
        client.send(&[&b"PROXY UNKNOWN\r\n"[..], &connect_v5("nobody")].concat()).await;
        broker.accept().await.receive(&connect_v5("nobody")).await;
    }
    for (mode, refused) in [("required", Outcome::UntrustedProxy), ("optional", Outcome::UntrustedProxy)] {
        let more = format!("proxy_protocol = \"{mode}\"\ntrusted = [\"0.0.0.0/0\", \"::/0\"]");
        let (_folder, path, text) = on_socket(&broker.addr.to_string(), &more, "");
        let proxy = Proxy::start(&text);
        let mut client = Client::connect_to(&path).await;
        client.send(&[header("192.0.2.7"), connect_v5("dev")].concat()).await;
        client.ended().await;
        proxy.until_counted(refused, 1).await;
        assert!(!broker.was_called());
    }
}

#[tokio::test]
async fn a_broker_is_told_of_a_client_without_an_address_as_of_ourselves() {
    let broker = Broker::start().await;
    let told = broker.addr.to_string();
    for version in ["v1", "v2"] {
        let (_folder, path, mut text) = on_socket(&told, "", "");
        text = text.replace("[upstream]\n", &format!("[upstream]\nproxy_protocol = \"{version}\"\n"));
        let _proxy = Proxy::start(&text);
        let mut client = Client::connect_to(&path).await;
        client.send(&connect_v5("dev")).await;
        let mut inside = broker.accept().await;
        let (from, to) = (inside.0.peer_addr().expect("connected"), broker.addr);
        let expected = mqtt_bouncer::wire::proxy_protocol::Announcement {
            source: from,
            destination: to,
            tlvs: mqtt_bouncer::wire::proxy_protocol::Tlvs::default(),
        };
        let header = if version == "v1" { expected.v1() } else { expected.v2(500) };
        inside.receive(&header).await;
        inside.receive(&connect_v5("dev")).await;
    }
}

/// A broker on a Unix socket.
fn local_broker(path: &Path) -> UnixListener {
    UnixListener::bind(path).expect("a free path")
}

async fn next(broker: &UnixListener) -> Client<UnixStream> {
    Client(soon("a connection to the broker", broker.accept()).await.expect("accepts").0)
}

#[tokio::test]
async fn a_broker_may_listen_on_a_unix_socket() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = folder.path().join("broker.sock");
    let broker = local_broker(&at);
    let text = format!(
        "[[listener]]\nname = \"mqtt\"\nbind = \"127.0.0.1:0\"\n[upstream]\nservers = [\"unix:{}\"]\n",
        at.display()
    );
    let proxy = Proxy::start(&text);
    let mut client = proxy.connect().await;
    client.send(&connect_v5("dev")).await;
    let mut inside = next(&broker).await;
    inside.receive(&connect_v5("dev")).await;
    inside.send(b"\x20\x03\x00\x00\x00").await;
    client.receive(b"\x20\x03\x00\x00\x00").await;
    let live = proxy.app.sessions().after(0, 1).pop().expect("inside");
    assert_eq!(live.upstream(), format!("unix:{}", at.display()));
    drop(client);
    inside.ended().await;

    // Nobody there: the client is told, and it is tried again.
    drop(broker);
    let mut client = proxy.connect().await;
    client.send(&connect_v5("dev")).await;
    assert_eq!(client.rest().await, b"\x20\x03\x00\x88\x00");
    std::fs::remove_file(&at).expect("left behind");
    let broker = local_broker(&at);
    let mut client = proxy.connect().await;
    client.send(&connect_v5("dev")).await;
    next(&broker).await.receive(&connect_v5("dev")).await;
}

#[tokio::test]
async fn a_broker_on_a_unix_socket_is_told_of_clients_that_have_an_address() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = folder.path().join("broker.sock");
    let broker = local_broker(&at);
    let own = folder.path().join("mqtt.sock");
    let text = format!(
        "[[listener]]\nname = \"mqtt\"\nbind = [\"127.0.0.1:0\", \"unix:{}\"]\n[upstream]\nservers = [\"unix:{}\"]\nproxy_protocol = \"v1\"\n",
        own.display(),
        at.display()
    );
    let proxy = Proxy::start(&text);
    let mut client = proxy.connect().await;
    client.send(&connect_v5("dev")).await;
    let (from, to) = (client.0.local_addr().expect("connected"), proxy.addr());
    let header = format!("PROXY TCP4 {} {} {} {}\r\n", from.ip(), to.ip(), from.port(), to.port());
    next(&broker).await.receive(&[header.as_bytes(), &connect_v5("dev")].concat()).await;
    let mut client = Client::connect_to(&own).await;
    client.send(&connect_v5("dev")).await;
    next(&broker).await.receive(&[&b"PROXY UNKNOWN\r\n"[..], &connect_v5("dev")].concat()).await;
}

#[tokio::test]
async fn a_socket_goes_with_its_listener_and_is_not_taken_from_another_process() {
    let broker = Broker::start().await;
    let (folder, path, text) = on_socket(&broker.addr.to_string(), "unix_mode = \"0600\"", "");
    let proxy = Proxy::start(&text);
    let mode = std::os::unix::fs::MetadataExt::mode(&std::fs::metadata(&path).expect("there"));
    assert_eq!(mode & 0o777, 0o600);
    let again = mqtt_bouncer::app::App::start(
        parse(&text),
        proxy.clock.clone(),
        mqtt_bouncer::telemetry::Telemetry::new(parse(&text).log),
    );
    let error = again.map(drop).expect_err("it listens there");
    assert_eq!(error.to_string(), format!("cannot listen on unix:{} (listener \"mqtt\")", path.display()));
    let cause = std::error::Error::source(&error).expect("a cause").to_string();
    assert_eq!(cause, "another process listens there");
    soon("drained", proxy.app.drain(std::future::pending())).await;
    assert!(!path.exists());
    // What a process leaves that is killed.
    drop(local_broker(&path));
    let proxy = Proxy::start(&text);
    let mut client = Client::connect_to(&path).await;
    client.send(&connect_v5("dev")).await;
    broker.accept().await.receive(&connect_v5("dev")).await;
    drop((proxy, folder));
}
