//! The promises that everything else rests on; each test has the name of the promise.

use crate::harness::*;
use mqtt_bouncer::admission::As;
use mqtt_bouncer::metrics::Outcome;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

#[tokio::test]
async fn no_byte_reaches_the_broker_before_admit() {
    let broker = Broker::start().await;
    let proxy = Proxy::start(&config(broker.addr, "", ""));
    proxy.ban(As::ClientId, "bad");
    let connect = connect_v5("bad");
    for length in 0..connect.len() {
        let mut client = proxy.connect().await;
        client.send(&connect[..length]).await;
        client.0.shutdown().await.expect("connected");
        client.ended().await;
    }
    let mut client = proxy.connect().await;
    client.send(&connect).await;
    assert_eq!(client.rest().await, b"\x20\x03\x00\x8a\x00");
    until("all have gone", || proxy.app.metrics().live_connections() == 0).await;
    assert!(!broker.was_called());
    assert_eq!(proxy.count(Outcome::Admitted), 0);
}

#[tokio::test]
async fn relayed_bytes_equal_received_bytes() {
    let broker = Broker::start().await;
    let proxy = Proxy::start(&config(broker.addr, "", ""));
    let payload: Vec<u8> =
        (0..8_000_000_u32).map(|n| n.wrapping_mul(2_654_435_761).to_be_bytes()[0]).collect();
    let publish = frame(0x30, &[b"\x00\x01a", &payload[..]].concat());
    let up = [connect_v5("mirror"), publish.clone(), b"\xe0\x00".to_vec()].concat();
    let down = [&b"\x20\x03\x00\x00\x00"[..], &publish].concat();

    let client = proxy.connect().await;
    let (mut from_client, mut to_client) = client.0.into_split();
    let (sent_up, sent_down) = (up.clone(), down.clone());
    let sending = tokio::spawn(async move {
        to_client.write_all(&sent_up).await.expect("relayed");
        to_client.shutdown().await.expect("relayed");
    });
    let (mut from_broker, mut to_broker) = broker.accept().await.0.into_split();
    let answering = tokio::spawn(async move {
        to_broker.write_all(&sent_down).await.expect("relayed");
        to_broker.shutdown().await.expect("relayed");
    });
    let (mut got_up, mut got_down) = (Vec::new(), Vec::new());
    let (a, b) = tokio::join!(from_broker.read_to_end(&mut got_up), from_client.read_to_end(&mut got_down));
    a.and(b).expect("relayed");
    sending.await.expect("no panic");
    answering.await.expect("no panic");
    assert!(got_up == up, "up: {} of {} bytes", got_up.len(), up.len());
    assert!(got_down == down, "down: {} of {} bytes", got_down.len(), down.len());
}

/// Nobody gets in after the ban returned: not the one who knocked before it and is waiting for the broker, and not the
/// one who knocks later.
#[tokio::test]
async fn when_ban_returns_nobody_of_that_who_is_admitted() {
    // A broker whose queue is full: dialling it takes until the queue is emptied.
    let busy = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("a socket");
    let any: std::net::SocketAddr = ([127, 0, 0, 1], 0).into();
    busy.bind(&any.into()).and_then(|()| busy.listen(0)).expect("a free port");
    let busy: std::net::TcpListener = busy.into();
    let addr = busy.local_addr().expect("bound");
    let filler = std::net::TcpStream::connect(addr).expect("room for one");

    let proxy = Proxy::start(&config(addr, "", ""));
    let mut waiting = proxy.connect().await;
    waiting.send(&connect_v5("racer")).await;
    until("the proxy dials", || dials(addr) > 0).await;
    proxy.ban(As::ClientId, "racer");
    let mut late = proxy.connect().await;
    late.send(&connect_v5("racer")).await;
    assert_eq!(late.rest().await, b"\x20\x03\x00\x8a\x00");

    drop(busy.accept().expect("the filler"));
    assert_eq!(waiting.rest().await, b"\x20\x03\x00\x8a\x00");
    assert_eq!(proxy.count(Outcome::Admitted), 0);
    drop(filler);
}

/// A ban lands at any moment of a client's way in: whoever is not refused any more is kicked.
#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn whoever_is_on_the_way_in_when_a_ban_lands_is_refused_or_kicked() {
    let broker = Broker::start().await;
    let proxy = Proxy::start(&config(broker.addr, "", ""));
    let accepting = tokio::spawn(async move {
        loop {
            let mut inside = broker.accept().await;
            tokio::spawn(async move { inside.ended().await });
        }
    });
    for round in 0..2000 {
        let client_id = format!("racer-{round}");
        let mut client = proxy.connect().await;
        client.send(&connect_v311(&client_id)).await;
        (0..round % 250 * 100).for_each(|_| std::hint::spin_loop());
        proxy.ban(As::ClientId, &client_id);
        client.ended().await;
    }
    until("the last of them has left", || proxy.app.sessions().is_empty()).await;
    accepting.abort();
}

/// How many connections to this address are being made and not answered yet (state 02, SYN_SENT).
fn dials(addr: std::net::SocketAddr) -> usize {
    let remote = format!("0100007F:{:04X} 02 ", addr.port());
    let table = std::fs::read_to_string("/proc/net/tcp").expect("Linux");
    table.lines().filter(|line| line.contains(&remote)).count()
}

#[tokio::test]
async fn a_peer_cannot_cause_a_panic_or_an_unbounded_buffer_or_table() {
    let broker = Broker::start().await;
    let proxy = Proxy::start(&config(broker.addr, "", ""));
    // A broker that never reads: the client is slowed down, and the proxy holds one read at most.
    let mut client = proxy.connect().await;
    client.send(&connect_v5("writer")).await;
    let inside = broker.accept().await;
    let chunk = frame(0x30, &vec![0; 65_536]);
    let mut sent = 0;
    while tokio::time::timeout(std::time::Duration::from_millis(300), client.0.write_all(&chunk))
        .await
        .is_ok()
    {
        sent += chunk.len();
        assert!(sent < 100 << 20, "{sent} bytes went somewhere");
    }
    drop((client, inside));
    until("it has gone", || proxy.app.metrics().live_connections() == 0).await;
}
