use crate::harness::*;
use mqtt_bouncer::metrics::Outcome;
use std::time::Duration;
use tokio::time::timeout;

const V5_LIMITED: &[u8] = b"\x20\x03\x00\x9f\x00";
const V3_LIMITED: &[u8] = b"\x20\x02\x00\x03";
const ACCEPTED: &[u8] = b"\x20\x03\x00\x00\x00";

/// A client that was let in, and its broker's end.
async fn admitted(proxy: &Proxy, broker: &Broker, connect: &[u8]) -> (Client, Client) {
    let mut client = proxy.connect().await;
    client.send(connect).await;
    let mut inside = broker.accept().await;
    inside.receive(connect).await;
    (client, inside)
}

async fn told(proxy: &Proxy, connect: &[u8]) -> Vec<u8> {
    let mut client = proxy.connect().await;
    client.send(connect).await;
    client.rest().await
}

#[tokio::test]
async fn an_address_that_comes_too_often_is_told_in_its_own_version() {
    let broker = Broker::start().await;
    for (more, rest) in [
        ("limits = { per_address = \"1/h, burst 2\" }", ""),
        ("", "[limits]\nper_address = \"1/h, burst 2\""),
        ("", "[limits]\nper_network = \"1/h, burst 2\""),
    ] {
        let proxy = Proxy::start(&config(broker.addr, more, rest));
        let _sessions = (
            admitted(&proxy, &broker, &connect_v5("a")).await,
            admitted(&proxy, &broker, &connect_v5("b")).await,
        );
        assert_eq!(told(&proxy, &connect_v5("c")).await, V5_LIMITED);
        assert_eq!(told(&proxy, &connect_v311("c")).await, V3_LIMITED);
        assert_eq!(told(&proxy, &connect_v31("c")).await, V3_LIMITED);
        proxy.until_counted(Outcome::RateLimited, 3).await;
        let rows = proxy.app.refused().pick(NOW, |_| true);
        assert!(rows.iter().all(|row| row.reason.as_str() == "rate_limited"), "{rows:?}");
    }
    assert!(!broker.was_called());
}

#[tokio::test]
async fn who_is_over_a_limit_is_closed_unheard_where_the_listener_is_set_to() {
    let broker = Broker::start().await;
    let more = "on_rate_limited = \"close\"\nlimits = { per_address = \"1/h\" }";
    let proxy = Proxy::start(&config(broker.addr, more, ""));
    let _session = admitted(&proxy, &broker, &connect_v5("a")).await;
    proxy.connect().await.ended().await;
    proxy.until_counted(Outcome::RateLimited, 1).await;
}

#[tokio::test]
async fn exempt_clients_have_no_limits_of_their_own() {
    let broker = Broker::start().await;
    let limits = "[limits]\nper_address = \"1/h\"\nconnections_per_address = 1\nsessions_per_username = 1";
    let by_name = format!("{limits}\n[[exempt]]\nas = \"clientid_re\"\nwho = \"^gateway\"");
    let proxy = Proxy::start(&config(broker.addr, "", &by_name));
    let _first = admitted(&proxy, &broker, &connect_as("sensor", "fleet")).await;
    let _gateway = admitted(&proxy, &broker, &connect_as("gateway-1", "fleet")).await;
    assert_eq!(told(&proxy, &connect_as("sensor-2", "fleet")).await, V3_LIMITED);

    let by_address = format!("{limits}\n[[exempt]]\nas = \"peerhost\"\nwho = \"127.0.0.1\"");
    let proxy = Proxy::start(&config(broker.addr, "on_rate_limited = \"close\"", &by_address));
    for id in ["a", "b", "c"] {
        drop(admitted(&proxy, &broker, &connect_v5(id)).await);
    }
}

#[tokio::test]
async fn an_address_has_so_many_connections_at_once_and_one_that_ends_makes_room() {
    let broker = Broker::start().await;
    let proxy = Proxy::start(&config(broker.addr, "limits = { connections_per_address = 2 }", ""));
    let (first, _second) = (
        admitted(&proxy, &broker, &connect_v5("1")).await,
        admitted(&proxy, &broker, &connect_v5("2")).await,
    );
    assert_eq!(told(&proxy, &connect_v5("3")).await, V5_LIMITED);
    until("the refused one has gone", || proxy.app.metrics().live_connections() == 2).await;
    drop(first);
    until("there is room", || proxy.app.metrics().live_connections() == 1).await;
    let _third = admitted(&proxy, &broker, &connect_v5("3")).await;
}

#[tokio::test]
async fn a_user_name_has_so_many_sessions_at_once_wherever_they_come_in() {
    let broker = Broker::start().await;
    let proxy = Proxy::start(&config(broker.addr, "", "[limits]\nsessions_per_username = 1"));
    let eve = admitted(&proxy, &broker, &connect_as("1", "eve")).await;
    assert_eq!(told(&proxy, &connect_as("2", "eve")).await, V3_LIMITED);
    let _other = admitted(&proxy, &broker, &connect_as("3", "mallory")).await;
    let _nameless = admitted(&proxy, &broker, &connect_v5("4")).await;
    drop(eve);
    until("there is room", || proxy.app.sessions().len() == 2).await;
    until("its place is free", || proxy.app.metrics().live_connections() == 2).await;
    let _eve = admitted(&proxy, &broker, &connect_as("5", "eve")).await;
}

#[tokio::test]
async fn a_storm_is_let_through_bit_by_bit_and_nobody_is_refused() {
    let broker = Broker::start().await;
    let proxy =
        Proxy::start(&config(broker.addr, "", "[limits]\nrate = \"50/s, burst 5\"\nmax_wait = \"20s\""));
    let began = tokio::time::Instant::now();
    let mut storm = Vec::new();
    for id in 0..30 {
        let mut client = proxy.connect().await;
        client.send(&connect_v5(&format!("device-{id}"))).await;
        storm.push(client);
    }
    let mut inside = Vec::new();
    for _ in 0..30 {
        inside.push(broker.accept().await);
    }
    // Five at once, the others 20 ms apart.
    assert!(began.elapsed() >= Duration::from_millis(450), "{:?}", began.elapsed());
    assert_eq!(proxy.count(Outcome::RateLimited), 0);
}

#[tokio::test]
async fn a_client_that_the_broker_has_accepted_goes_before_strangers() {
    let broker = Broker::start().await;
    let more = "limits = { rate = \"10/s, burst 1\" }";
    let proxy = Proxy::start(&config(broker.addr, more, "[limits]\nmax_wait = \"20s\""));
    let (mut client, mut inside) = admitted(&proxy, &broker, &connect_v5("known")).await;
    inside.send(ACCEPTED).await;
    client.receive(ACCEPTED).await;
    drop((client, inside));
    let mut waiting = Vec::new();
    for id in ["stranger-1", "stranger-2", "known"] {
        let mut client = proxy.connect().await;
        client.send(&connect_v5(id)).await;
        // The next one comes when this one waits: none of its bytes are answered yet.
        assert!(timeout(Duration::from_millis(5), client.ended()).await.is_err());
        waiting.push(client);
    }
    let mut first = broker.accept().await;
    first.receive(&connect_v5("known")).await;
}

#[tokio::test]
async fn who_has_waited_for_long_enough_is_refused() {
    let broker = Broker::start().await;
    let rest = "[limits]\nrate = \"1/h\"\nmax_wait = \"50ms\"";
    let proxy = Proxy::start(&config(broker.addr, "", rest));
    let _session = admitted(&proxy, &broker, &connect_v5("a")).await;
    assert_eq!(told(&proxy, &connect_v5("b")).await, V5_LIMITED);
    assert_eq!(told(&proxy, &connect_v311("c")).await, V3_LIMITED);
    proxy.until_counted(Outcome::RateLimited, 2).await;
}

#[tokio::test]
async fn a_load_balancer_and_its_checks_are_not_one_client() {
    let broker = Broker::start().await;
    let more = "proxy_protocol = \"required\"\ntrusted = [\"127.0.0.1\"]\n\
                limits = { per_address = \"1/h\", connections_per_address = 1 }";
    let proxy = Proxy::start(&config(broker.addr, more, ""));
    let behind = |source: &str| {
        [format!("PROXY TCP4 {source} 198.51.100.1 1 2\r\n").into_bytes(), connect_v5("dev")].concat()
    };
    let mut inside = Vec::new();
    for source in ["192.0.2.1", "192.0.2.2", "192.0.2.3"] {
        let mut client = proxy.connect().await;
        client.send(&behind(source)).await;
        inside.push((client, broker.accept().await));
        let mut check = proxy.connect().await;
        check.send(b"PROXY UNKNOWN\r\n").await;
    }
    assert_eq!(told(&proxy, &behind("192.0.2.2")).await, V5_LIMITED);
}

#[tokio::test]
async fn limits_that_are_reloaded_hold_at_once_and_those_inside_stay() {
    let broker = Broker::start().await;
    let mut proxy = Proxy::start(&config(broker.addr, "", ""));
    let (mut client, mut inside) = admitted(&proxy, &broker, &connect_v5("inside")).await;
    let text = config(broker.addr, "limits = { per_address = \"1/h\" }", "");
    let orders = proxy.app.reload(parse(&text)).expect("a good config");
    assert!(
        orders.changes.iter().any(|change| change.contains("listener.mqtt.limits.per_address")),
        "{orders:?}"
    );
    client.send(b"\xc0\x00").await;
    inside.receive(b"\xc0\x00").await;
    let _session = admitted(&proxy, &broker, &connect_v5("a")).await;
    assert_eq!(told(&proxy, &connect_v5("b")).await, V5_LIMITED);
    proxy.app.reload(parse(&config(broker.addr, "", ""))).expect("a good config");
    let _other = admitted(&proxy, &broker, &connect_v5("c")).await;
}
