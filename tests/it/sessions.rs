use crate::harness::*;
use mqtt_bouncer::admission::As;
use mqtt_bouncer::metrics::Outcome;
use tokio::io::AsyncWriteExt;

/// A client that was let in, and its broker's end.
async fn admitted(proxy: &Proxy, broker: &Broker, client_id: &str) -> (Client, Client) {
    let mut client = proxy.connect().await;
    client.send(&connect_v5(client_id)).await;
    let mut inside = broker.accept().await;
    inside.receive(&connect_v5(client_id)).await;
    (client, inside)
}

#[tokio::test]
async fn a_half_closed_client_still_receives_and_its_broker_reads_the_end() {
    let broker = Broker::start().await;
    let proxy = Proxy::start(&config(broker.addr, "", ""));
    let (mut client, mut inside) = admitted(&proxy, &broker, "half").await;
    client.send(b"\xe0\x00").await;
    client.0.shutdown().await.expect("connected");
    assert_eq!(inside.rest().await, b"\xe0\x00");
    inside.send(b"\x20\x03\x00\x00\x00").await;
    drop(inside);
    assert_eq!(client.rest().await, b"\x20\x03\x00\x00\x00");
    until("the session has ended", || proxy.app.metrics().live_sessions() == 0).await;
    assert_eq!(proxy.app.metrics().bytes_to_client(), 5);
}

#[tokio::test]
async fn a_reset_ends_the_other_side_too() {
    let broker = Broker::start().await;
    let proxy = Proxy::start(&config(broker.addr, "half_close_timeout = \"50ms\"", ""));
    let (client, mut inside) = admitted(&proxy, &broker, "a").await;
    client.0.set_zero_linger().expect("connected");
    drop(client);
    inside.ended().await;
    let (mut client, inside) = admitted(&proxy, &broker, "b").await;
    inside.0.set_zero_linger().expect("connected");
    drop(inside);
    client.ended().await;
    until("both sessions have ended", || proxy.app.metrics().live_sessions() == 0).await;
}

#[tokio::test]
async fn a_silent_session_ends_at_its_idle_timeout() {
    let broker = Broker::start().await;
    let proxy = Proxy::start(&config(broker.addr, "idle_timeout = \"50ms\"", ""));
    let (mut client, mut inside) = admitted(&proxy, &broker, "idle").await;
    client.ended().await;
    inside.ended().await;
}

#[tokio::test]
async fn draining_lets_sessions_go_on_and_refuses_new_clients() {
    let broker = Broker::start().await;
    let proxy = Proxy::start(&config(broker.addr, "", "[node]\ndrain_timeout = \"1h\""));
    let (mut client, mut inside) = admitted(&proxy, &broker, "stays").await;
    let mut undecided = proxy.connect().await;
    until("it is accepted", || proxy.app.metrics().live_connections() == 2).await;
    let addr = proxy.addr();
    let (enough, impatience) = tokio::sync::oneshot::channel::<()>();
    let draining = tokio::spawn(proxy.app.drain(async move { drop(impatience.await) }));

    until("the port is closed", || std::net::TcpStream::connect(addr).is_err()).await;
    undecided.send(&connect_v5("late")).await;
    assert_eq!(undecided.rest().await, b"\x20\x03\x00\x88\x00");
    client.send(b"\xc0\x00").await;
    inside.receive(b"\xc0\x00").await;
    inside.send(b"\xd0\x00").await;
    client.receive(b"\xd0\x00").await;

    enough.send(()).expect("still draining");
    client.ended().await;
    inside.ended().await;
    soon("drained", draining).await.expect("no panic");
}

#[tokio::test]
async fn draining_ends_by_itself_when_everybody_has_left() {
    let broker = Broker::start().await;
    let proxy = Proxy::start(&config(broker.addr, "", "[node]\ndrain_timeout = \"1h\""));
    let (client, inside) = admitted(&proxy, &broker, "leaves").await;
    let draining = tokio::spawn(proxy.app.drain(std::future::pending()));
    drop((client, inside));
    soon("drained", draining).await.expect("no panic");
}

/// A CONNACK of MQTT 5 that says yes and assigns a client identifier.
fn assigning(client_id: &str) -> Vec<u8> {
    let length = u8::try_from(client_id.len()).expect("short");
    [&[0x20, length + 6, 0, 0, length + 3, 0x12, 0, length][..], client_id.as_bytes()].concat()
}

/// Whoever names itself is held against the list at the door. Whom the broker names is not known there, and a ban that
/// was made before that found nobody inside.
#[tokio::test]
async fn an_identifier_that_the_broker_assigns_is_held_against_the_list() {
    let broker = Broker::start().await;
    for (kind, who) in [(As::ClientId, "auto-7"), (As::ClientIdRe, "^auto-")] {
        let proxy = Proxy::start(&config(broker.addr, "", ""));
        proxy.ban(kind, who);
        let (mut client, mut inside) = admitted(&proxy, &broker, "").await;
        inside.send(&assigning("auto-7")).await;
        let told = [assigning("auto-7"), b"\xe0\x02\x98\x00".to_vec()].concat();
        assert_eq!(client.rest().await, told, "{kind}");
        inside.ended().await;
        let (mut client, mut inside) = admitted(&proxy, &broker, "").await;
        inside.send(&assigning("other")).await;
        client.receive(&assigning("other")).await;
    }
}

#[tokio::test]
async fn a_ban_of_an_assigned_identifier_ends_its_session() {
    let broker = Broker::start().await;
    let proxy = Proxy::start(&config(broker.addr, "", ""));
    let (mut client, mut inside) = admitted(&proxy, &broker, "").await;
    inside.send(&assigning("auto-7")).await;
    client.receive(&assigning("auto-7")).await;
    proxy.ban(As::ClientId, "auto-7");
    assert_eq!(client.rest().await, b"\xe0\x02\x98\x00");
}

#[tokio::test]
async fn a_session_whose_broker_refuses_it_is_passed_through() {
    let broker = Broker::start().await;
    let proxy = Proxy::start(&config(broker.addr, "", ""));
    let (mut client, mut inside) = admitted(&proxy, &broker, "a").await;
    inside.send(b"\x20\x03\x00\x87\x00").await;
    drop(inside);
    assert_eq!(client.rest().await, b"\x20\x03\x00\x87\x00");
    assert_eq!(proxy.count(Outcome::Admitted), 1);
}
