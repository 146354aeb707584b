//! Sessions that are ended from here: what the client and its broker hear of it, and when.

use crate::harness::*;
use crate::pki::Pki;
use mqtt_bouncer::admission::As;
use mqtt_bouncer::wire::websocket::frame::{Header, Opcode};
use rcgen::PKCS_ECDSA_P256_SHA256;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const CONNACK: &[u8] = b"\x20\x02\x00\x00";
const CONNACK_V5: &[u8] = b"\x20\x03\x00\x00\x00";
/// What a client says that wants no will published, and one that wants it.
const NORMAL: &[u8] = b"\xe0\x00";
const WITH_WILL: &[u8] = b"\xe0\x02\x04\x00";
const KICKED: &[u8] = b"\xe0\x02\x98\x00";
const SHUTTING_DOWN: &[u8] = b"\xe0\x02\x8b\x00";

/// A client that the broker has accepted, and its broker's end.
async fn accepted(proxy: &Proxy, broker: &Broker, connect: &[u8], connack: &[u8]) -> (Client, Client) {
    let mut client = proxy.connect().await;
    client.send(connect).await;
    let mut inside = broker.accept().await;
    inside.receive(connect).await;
    inside.send(connack).await;
    client.receive(connack).await;
    (client, inside)
}

async fn accepted_v5(proxy: &Proxy, broker: &Broker) -> (Client, Client) {
    accepted(proxy, broker, &connect_v5("dev"), CONNACK_V5).await
}

async fn accepted_v311(proxy: &Proxy, broker: &Broker) -> (Client, Client) {
    accepted(proxy, broker, &connect_v311("dev"), CONNACK).await
}

fn kick(proxy: &Proxy) {
    let sessions = proxy.app.sessions().of_client_id("dev");
    assert_eq!(sessions.filter(|live| live.kick()).count(), 1);
}

#[tokio::test]
async fn a_kicked_client_has_its_will_discarded_in_every_version() {
    let broker = Broker::start().await;
    let proxy = Proxy::start(&config(broker.addr, "", ""));
    for (connect, connack, told) in [
        (connect_v31("dev"), CONNACK, &b""[..]),
        (connect_v311("dev"), CONNACK, b""),
        (connect_v5("dev"), CONNACK_V5, KICKED),
    ] {
        let (mut client, mut inside) = accepted(&proxy, &broker, &connect, connack).await;
        kick(&proxy);
        assert_eq!(inside.rest().await, NORMAL);
        drop(inside);
        assert_eq!(client.rest().await, told);
    }
}

#[tokio::test]
async fn a_ban_discards_the_will_as_a_kick_does() {
    let broker = Broker::start().await;
    let proxy = Proxy::start(&config(broker.addr, "", ""));
    let (mut client, mut inside) = accepted_v5(&proxy, &broker).await;
    proxy.ban(As::ClientId, "dev");
    assert_eq!(inside.rest().await, NORMAL);
    assert_eq!(client.rest().await, KICKED);
}

/// Whoever comes back while its broker has not heard of its end has its session taken over, and its will published.
#[tokio::test]
async fn a_broker_hears_of_the_end_before_its_client_does() {
    let broker = Broker::start().await;
    let proxy = Proxy::start(&config(broker.addr, "", ""));
    for round in 0..20 {
        let (mut client, inside) = accepted_v5(&proxy, &broker).await;
        kick(&proxy);
        // The broker has not read yet; what it will read is there when the client hears.
        client.receive(KICKED).await;
        let mut there = [0; 3];
        assert_eq!(inside.0.try_read(&mut there).expect("something is there"), 2, "round {round}");
        assert_eq!(there[..2], *NORMAL);
    }
}

#[tokio::test]
async fn the_will_of_a_kicked_client_is_published_where_the_file_says_so_from_then_on() {
    let broker = Broker::start().await;
    let text = |sections| config(broker.addr, "", sections);
    let mut proxy = Proxy::start(&text(""));
    let (_old, mut old_inside) = accepted_v311(&proxy, &broker).await;
    let (mut new, mut new_inside) = accepted(&proxy, &broker, &connect_v5("new"), CONNACK_V5).await;
    proxy.app.reload(parse(&text("[kick]\nwill = \"publish\""))).expect("a good config");
    proxy.ban(As::ClientId, "dev");
    proxy.ban(As::ClientId, "new");
    assert_eq!(old_inside.rest().await, b"", "3.1.1 has no word for it but none");
    assert_eq!(new_inside.rest().await, WITH_WILL);
    assert_eq!(new.rest().await, KICKED);
}

#[tokio::test]
async fn packets_that_are_under_way_pass_whole_and_nothing_after_them() {
    let broker = Broker::start().await;
    let proxy = Proxy::start(&config(broker.addr, "", "[kick]\nwait = \"1m\""));
    let (mut client, mut inside) = accepted_v5(&proxy, &broker).await;
    let up = frame(0x30, &vec![b'u'; 1 << 20]);
    let down = frame(0x30, &vec![b'd'; 1 << 20]);
    let next = frame(0x30, b"\x00\x01n");
    client.send(&up[..100]).await;
    inside.receive(&up[..100]).await;
    inside.send(&down[..100]).await;
    client.receive(&down[..100]).await;
    kick(&proxy);
    let (mut reads, mut writes) = client.0.into_split();
    let (mut broker_reads, mut broker_writes) = inside.0.into_split();
    let (mut at_broker, mut at_client) = (Vec::new(), Vec::new());
    let client_sends = async {
        writes.write_all(&up[100..]).await.expect("still relayed");
        // Nobody listens any more.
        let _ = writes.write_all(&next.repeat(1000)).await;
    };
    let broker_sends = async {
        broker_writes.write_all(&down[100..]).await.expect("still relayed");
        let _ = broker_writes.write_all(&next.repeat(1000)).await;
        let _ = broker_writes.shutdown().await;
    };
    soon("the end", async {
        tokio::join!(
            client_sends,
            broker_sends,
            async { broker_reads.read_to_end(&mut at_broker).await.expect("no reset") },
            async { reads.read_to_end(&mut at_client).await.expect("no reset") },
        );
    })
    .await;
    assert!(at_broker == [&up[100..], NORMAL].concat(), "{} bytes", at_broker.len());
    assert!(at_client == [&down[100..], KICKED].concat(), "{} bytes", at_client.len());
}

#[tokio::test]
async fn a_packet_that_does_not_end_in_time_is_cut_off_without_a_word_after_it() {
    let broker = Broker::start().await;
    let proxy = Proxy::start(&config(broker.addr, "", "[kick]\nwait = \"50ms\""));
    let (mut client, mut inside) = accepted_v5(&proxy, &broker).await;
    client.send(b"\x30\x05\x00").await;
    inside.receive(b"\x30\x05\x00").await;
    kick(&proxy);
    assert_eq!(inside.rest().await, b"");
    assert_eq!(client.rest().await, KICKED);

    let (mut client, mut inside) = accepted_v5(&proxy, &broker).await;
    inside.send(b"\x30\x05\x00").await;
    client.receive(b"\x30\x05\x00").await;
    kick(&proxy);
    assert_eq!(inside.rest().await, NORMAL);
    assert_eq!(client.rest().await, b"");
}

#[tokio::test]
async fn a_kick_ends_sessions_whose_other_side_does_not_read() {
    let broker = Broker::start().await;
    let proxy = Proxy::start(&config(broker.addr, "", "[kick]\nwait = \"50ms\""));
    let publish = frame(0x30, &vec![0; 60_000]);
    // A broker that does not read: its client is told all the same.
    let (mut client, inside) = accepted_v5(&proxy, &broker).await;
    fill(&mut client, &publish).await;
    kick(&proxy);
    assert_eq!(client.rest().await, KICKED);
    drop(inside);
    // A client that does not read: its broker is.
    let (client, mut inside) = accepted_v5(&proxy, &broker).await;
    fill(&mut inside, &publish).await;
    kick(&proxy);
    assert_eq!(inside.rest().await, NORMAL);
    drop(inside);
    until("both have gone", || proxy.app.metrics().live_connections() == 0).await;
    drop(client);
}

/// Sends until nobody takes any more.
async fn fill(sender: &mut Client, packet: &[u8]) {
    let patience = std::time::Duration::from_millis(300);
    while tokio::time::timeout(patience, sender.0.write_all(packet)).await.is_ok() {}
}

#[tokio::test]
async fn a_client_that_the_broker_has_not_answered_is_not_told_and_its_broker_is() {
    let broker = Broker::start().await;
    let proxy = Proxy::start(&config(broker.addr, "", ""));
    for connect in [connect_v311("dev"), connect_v5("dev")] {
        let mut client = proxy.connect().await;
        client.send(&connect).await;
        let mut inside = broker.accept().await;
        inside.receive(&connect).await;
        kick(&proxy);
        assert_eq!(inside.rest().await, NORMAL);
        drop(inside);
        assert_eq!(client.rest().await, b"");
    }
}

#[tokio::test]
async fn a_client_that_has_said_its_last_word_is_not_spoken_for() {
    let broker = Broker::start().await;
    let proxy = Proxy::start(&config(broker.addr, "", ""));
    let (mut client, mut inside) = accepted_v5(&proxy, &broker).await;
    client.send(WITH_WILL).await;
    inside.receive(WITH_WILL).await;
    kick(&proxy);
    assert_eq!(inside.rest().await, b"");
    assert_eq!(client.rest().await, KICKED);
}

#[tokio::test]
async fn the_last_words_are_said_in_frames_where_a_listener_speaks_websocket() {
    // A mask of zeros changes nothing.
    const MASK: [u8; 4] = [0; 4];
    let broker = Broker::start().await;
    let proxy = Proxy::start(&config(broker.addr, "type = \"ws\"", ""));
    let mut client = proxy.connect().await;
    client
        .send(
            b"GET /mqtt HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
              Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: mqtt\r\n\
              Sec-WebSocket-Version: 13\r\n\r\n",
        )
        .await;
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        soon("an answer", client.0.read_exact(&mut byte)).await.expect("open");
        answer.extend(byte);
    }
    // A packet in two frames, of which one has come when the kick does.
    let send = |payload: &[u8]| {
        let mut bytes = Header::new(Opcode::Binary, payload.len(), Some(MASK)).as_bytes().to_vec();
        bytes.extend_from_slice(payload);
        bytes
    };
    client.send(&send(&connect_v5("dev"))).await;
    let mut inside = broker.accept().await;
    inside.receive(&connect_v5("dev")).await;
    inside.send(CONNACK_V5).await;
    client.receive(&[b"\x82\x05", CONNACK_V5].concat()).await;
    client.send(&send(b"\x30\x05\x00\x01")).await;
    inside.receive(b"\x30\x05\x00\x01").await;
    kick(&proxy);
    client.send(&[send(b"abc\x30\x03"), send(b"\x00\x01n")].concat()).await;
    assert_eq!(inside.rest().await, [b"abc", NORMAL].concat());
    drop(inside);
    assert_eq!(client.rest().await, [b"\x82\x04", KICKED, b"\x88\x02\x03\xe8"].concat());
}

#[tokio::test]
async fn the_last_words_are_said_inside_tls_which_is_closed_as_it_should_be() {
    let pki = Pki::new();
    pki.server("server", &["localhost"], &PKCS_ECDSA_P256_SHA256);
    let broker = Broker::start().await;
    let proxy = Proxy::start(&config(broker.addr, &pki.listener(""), ""));
    let mut client = pki.dialler().dial(proxy.addr()).await.expect("in common");
    client.send(&connect_v5("dev")).await;
    let mut inside = broker.accept().await;
    inside.receive(&connect_v5("dev")).await;
    let down = frame(0x30, &vec![b'd'; 300_000]);
    inside.send(&[CONNACK_V5, &down[..1000]].concat()).await;
    client.receive(CONNACK_V5).await;
    client.receive(&down[..1000]).await;
    kick(&proxy);
    inside.send(&down[1000..]).await;
    let broker_side = tokio::spawn(async move { inside.rest().await });
    let told = client.rest().await;
    assert!(told == [&down[1000..], KICKED].concat(), "{} bytes", told.len());
    assert_eq!(broker_side.await.expect("no panic"), NORMAL);
}

#[tokio::test]
async fn whoever_is_inside_when_the_process_ends_is_told_and_its_will_is_what_the_file_says() {
    let broker = Broker::start().await;
    for (option, v311, v5) in [("", &b""[..], WITH_WILL), ("drain_will = \"discard\"", NORMAL, NORMAL)] {
        let sections = format!("[node]\ndrain_timeout = \"0s\"\n{option}");
        let proxy = Proxy::start(&config(broker.addr, "", &sections));
        let (mut old, mut old_inside) = accepted(&proxy, &broker, &connect_v311("old"), CONNACK).await;
        let (mut new, mut new_inside) = accepted_v5(&proxy, &broker).await;
        let draining = tokio::spawn(proxy.app.drain(std::future::pending()));
        assert_eq!(old_inside.rest().await, v311);
        assert_eq!(new_inside.rest().await, v5);
        assert_eq!(new.rest().await, SHUTTING_DOWN);
        assert_eq!(old.rest().await, b"");
        drop((old, old_inside, new, new_inside));
        soon("drained", draining).await.expect("no panic");
    }
}
