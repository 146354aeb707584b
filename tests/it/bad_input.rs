use crate::harness::*;
use mqtt_bouncer::metrics::Outcome;
use std::time::Duration;
use tokio::io::AsyncWriteExt;

#[tokio::test]
async fn every_kind_of_bad_input_ends_in_a_refusal_or_a_close() {
    let broker = Broker::start().await;
    let proxy = Proxy::start(&config(broker.addr, "connect_timeout = \"10s\"", ""));
    let huge = [&b"\x10\xff\xff\xff\x7f\x00\x04MQTT\x05"[..], &vec![0; 10_000]].concat();
    let two = [connect_v5("a"), connect_v5("b")].concat();
    for (input, outcome, answer) in [
        (&b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"[..], Outcome::NotMqtt, &b""[..]),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", Outcome::NotMqtt, b""),
        (b"SSH-2.0-OpenSSH_9.2\r\n", Outcome::NotMqtt, b""),
        (b"\x00\x00\x00\x00", Outcome::NotMqtt, b""),
        (b"\x30\x05\x00\x01aHi", Outcome::NotMqtt, b""),
        (b"\x10\x20\x00\x04HTTP/1.1", Outcome::NotMqtt, b""),
        (b"\x10\xff\xff\xff\xff\x01", Outcome::Malformed, b""),
        (&huge, Outcome::TooLarge, b"\x20\x03\x00\x95\x00"),
        (b"\x10\x0c\x00\x04MQTT\x04\x03\x00\x3c\x00\x00", Outcome::Malformed, b""),
        (b"\x10\x0d\x00\x04MQTT\x05\x03\x00\x3c\x00\x00\x00", Outcome::Malformed, b"\x20\x03\x00\x81\x00"),
        (&two, Outcome::ProtocolError, b"\x20\x03\x00\x82\x00"),
    ] {
        let before = proxy.count(outcome);
        let mut client = proxy.connect().await;
        client.send(input).await;
        if answer.is_empty() {
            client.ended().await;
        } else {
            assert_eq!(client.rest().await, answer, "{input:02x?}");
        }
        proxy.until_counted(outcome, before + 1).await;
    }
    until("all have gone", || proxy.app.metrics().live_connections() == 0).await;
    assert!(!broker.was_called());
}

#[tokio::test]
async fn a_client_that_says_nothing_is_closed_at_the_connect_timeout() {
    let broker = Broker::start().await;
    let proxy = Proxy::start(&config(broker.addr, "connect_timeout = \"50ms\"", ""));
    let (mut silent, mut half) = (proxy.connect().await, proxy.connect().await);
    half.send(b"\x10\x20\x00\x04MQTT").await;
    silent.ended().await;
    half.ended().await;
    proxy.until_counted(Outcome::ConnectTimeout, 2).await;
}

#[tokio::test]
async fn a_probe_is_counted_and_held_against_nobody() {
    let broker = Broker::start().await;
    let proxy = Proxy::start(&config(broker.addr, "", ""));
    drop(proxy.connect().await);
    proxy.until_counted(Outcome::Probe, 1).await;
    let resetting = proxy.connect().await;
    resetting.0.set_zero_linger().expect("connected");
    drop(resetting);
    proxy.until_counted(Outcome::Probe, 2).await;
    let mut half = proxy.connect().await;
    half.send(b"\x10").await;
    drop(half);
    proxy.until_counted(Outcome::ClosedEarly, 1).await;
}

#[tokio::test]
async fn a_connect_that_drips_reaches_the_broker_whole() {
    let broker = Broker::start().await;
    let proxy = Proxy::start(&config(broker.addr, "", ""));
    let mut client = proxy.connect().await;
    for byte in connect_v5("dripping") {
        client.send(&[byte]).await;
        tokio::task::yield_now().await;
    }
    broker.accept().await.receive(&connect_v5("dripping")).await;
}

#[tokio::test]
async fn packets_in_one_segment_reach_the_broker_in_order() {
    let broker = Broker::start().await;
    let proxy = Proxy::start(&config(broker.addr, "", ""));
    let subscribe = b"\x82\x06\x00\x01\x00\x01a\x00";
    let publish = frame(0x30, &[b"\x00\x01a", &vec![9; 50_000][..]].concat());
    let segment = [&connect_v311("eager")[..], subscribe, &publish].concat();
    let mut client = proxy.connect().await;
    client.send(&segment).await;
    broker.accept().await.receive(&segment).await;
}

#[tokio::test]
async fn a_flood_of_strangers_leaves_nothing_behind() {
    let broker = Broker::start().await;
    let proxy = Proxy::start(&config(broker.addr, "max_connections = 50", ""));
    let strangers = (0..500_u32).map(|n| {
        let addr = proxy.addr();
        tokio::spawn(async move {
            let mut client = Client::connect(addr).await;
            let noise = n.wrapping_mul(2_654_435_761).to_be_bytes();
            let _ = client.0.write_all(&noise).await;
            let _ = client.0.shutdown().await;
            client.ended().await;
        })
    });
    for stranger in strangers.collect::<Vec<_>>() {
        soon("a stranger is served", stranger).await.expect("no panic");
    }
    until("all have gone", || proxy.app.metrics().live_connections() == 0).await;
    assert_eq!(proxy.app.metrics().connections(), 500);
    let mut client = proxy.connect().await;
    client.send(&connect_v311("good")).await;
    broker.accept().await.receive(&connect_v311("good")).await;
    drop(client);
    tokio::time::timeout(Duration::from_secs(20), async {}).await.expect("alive");
}
