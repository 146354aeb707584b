use crate::harness::*;
use mqtt_bouncer::admission::{As, Timestamp};
use mqtt_bouncer::metrics::Outcome;

const V3_BANNED: &[u8] = b"\x20\x02\x00\x05";
const V5_BANNED: &[u8] = b"\x20\x03\x00\x8a\x00";

/// What a client that sends this is told before the proxy ends the connection.
async fn told(proxy: &Proxy, connect: &[u8]) -> Vec<u8> {
    let mut client = proxy.connect().await;
    client.send(connect).await;
    client.rest().await
}

#[tokio::test]
async fn banned_clients_are_told_in_their_own_version_and_the_broker_is_not_called() {
    let broker = Broker::start().await;
    let proxy = Proxy::start(&config(broker.addr, "", ""));
    proxy.ban(As::ClientId, "bad");
    proxy.ban(As::Username, "eve");
    assert_eq!(told(&proxy, &connect_v31("bad")).await, V3_BANNED);
    assert_eq!(told(&proxy, &connect_v311("bad")).await, V3_BANNED);
    assert_eq!(told(&proxy, &connect_v5("bad")).await, V5_BANNED);
    assert_eq!(told(&proxy, &connect_as("good", "eve")).await, V3_BANNED);
    proxy.ban(As::PeerHost, "127.0.0.1");
    assert_eq!(told(&proxy, &connect_v5("good")).await, V5_BANNED);
    proxy.until_counted(Outcome::Banned, 5).await;
    assert!(!broker.was_called());
}

#[tokio::test]
async fn a_banned_client_that_has_sent_more_still_reads_its_connack() {
    let broker = Broker::start().await;
    let proxy = Proxy::start(&config(broker.addr, "", ""));
    proxy.ban(As::ClientId, "bad");
    let publish = frame(0x30, &[b"\x00\x01a", &vec![7; 100_000][..]].concat());
    assert_eq!(told(&proxy, &[connect_v311("bad"), publish].concat()).await, V3_BANNED);
}

#[tokio::test]
async fn the_wording_of_a_ban_follows_the_config() {
    let broker = Broker::start().await;
    let rest = "[banned]\nv3_return_code = 4\ntell_reason = true";
    let proxy = Proxy::start(&config(broker.addr, "", rest));
    proxy.ban(As::ClientId, "bad");
    assert_eq!(told(&proxy, &connect_v311("bad")).await, b"\x20\x02\x00\x04");
    assert_eq!(told(&proxy, &connect_v5("bad")).await, b"\x20\x0d\x00\x8a\x0a\x1f\x00\x07testing");
}

#[tokio::test]
async fn networks_and_patterns_refuse_and_exemptions_win() {
    let broker = Broker::start().await;
    let rules = r#"
        [[ban]]
        as = "peerhost_net"
        who = "127.0.0.0/8"
        [[exempt]]
        as = "clientid_re"
        who = '^gateway-\d+$'
        match = "full"
    "#;
    let proxy = Proxy::start(&config(broker.addr, "", rules));
    assert_eq!(told(&proxy, &connect_v311("sensor")).await, V3_BANNED);
    let mut client = proxy.connect().await;
    client.send(&connect_v311("gateway-7")).await;
    broker.accept().await.receive(&connect_v311("gateway-7")).await;
    assert_eq!(told(&proxy, &connect_v311("gateway-7x")).await, V3_BANNED);
}

#[tokio::test]
async fn a_ban_ends_when_its_time_has_come() {
    let broker = Broker::start().await;
    let until = Timestamp::from_millis(NOW.as_millis() + 60_000);
    let ban = format!("[[ban]]\nas = \"clientid\"\nwho = \"bad\"\nuntil = {}", until.as_millis() / 1000);
    let proxy = Proxy::start(&config(broker.addr, "", &ban));
    proxy.clock.set(Timestamp::from_millis(until.as_millis() - 1));
    assert_eq!(told(&proxy, &connect_v311("bad")).await, V3_BANNED);
    proxy.clock.set(until);
    let mut client = proxy.connect().await;
    client.send(&connect_v311("bad")).await;
    broker.accept().await.receive(&connect_v311("bad")).await;
}

#[tokio::test]
async fn a_banned_address_can_be_cut_off_before_it_says_a_word() {
    let broker = Broker::start().await;
    for (setting, is_reset) in [("close", false), ("reset", true)] {
        let proxy = Proxy::start(&config(broker.addr, &format!("on_banned_peer = \"{setting}\""), ""));
        proxy.ban(As::PeerHost, "127.0.0.1");
        let mut client = proxy.connect().await;
        let mut byte = [0];
        let end = soon("end", tokio::io::AsyncReadExt::read(&mut client.0, &mut byte)).await;
        assert_eq!(end.is_err(), is_reset, "{setting}: {end:?}");
        proxy.until_counted(Outcome::Banned, 1).await;
    }
}

#[tokio::test]
async fn a_broker_that_is_down_is_told_as_server_unavailable() {
    let broker = Broker::start().await;
    let proxy = Proxy::start(&config(broker.addr, "", ""));
    drop(broker);
    until("the broker is down", || {
        std::net::TcpStream::connect(proxy.app.config().upstream.servers[0].server.as_str()).is_err()
    })
    .await;
    assert_eq!(told(&proxy, &connect_v311("good")).await, b"\x20\x02\x00\x03");
    assert_eq!(told(&proxy, &connect_v5("good")).await, b"\x20\x03\x00\x88\x00");
    proxy.until_counted(Outcome::UpstreamUnavailable, 2).await;
}

#[tokio::test]
async fn versions_that_do_not_exist_are_told() {
    let broker = Broker::start().await;
    let proxy = Proxy::start(&config(broker.addr, "", ""));
    assert_eq!(told(&proxy, b"\x10\x0c\x00\x04MQTT\x06\x02\x00\x3c\x00\x00").await, b"\x20\x03\x00\x84\x00");
    assert_eq!(told(&proxy, b"\x10\x0c\x00\x04MQTT\x02\x02\x00\x3c\x00\x00").await, b"\x20\x02\x00\x01");
    proxy.until_counted(Outcome::UnsupportedVersion, 2).await;
}

#[tokio::test]
async fn routes_take_each_version_to_its_broker() {
    let (old, new) = (Broker::start().await, Broker::start().await);
    let rest = format!(
        "[upstreams.new]\nservers = [\"{}\"]\n[[route]]\nprotocol = [\"5\"]\nupstream = \"new\"",
        new.addr
    );
    let proxy = Proxy::start(&config(old.addr, "", &rest));
    let (mut v3, mut v5) = (proxy.connect().await, proxy.connect().await);
    v3.send(&connect_v311("a")).await;
    v5.send(&connect_v5("b")).await;
    old.accept().await.receive(&connect_v311("a")).await;
    new.accept().await.receive(&connect_v5("b")).await;
}
