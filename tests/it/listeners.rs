use crate::harness::*;
use mqtt_bouncer::app::App;
use mqtt_bouncer::clock::Clock;
use mqtt_bouncer::telemetry::Telemetry;

#[tokio::test]
async fn a_full_listener_makes_others_wait_and_loses_none() {
    let broker = Broker::start().await;
    let proxy = Proxy::start(&config(broker.addr, "max_connections = 2", ""));
    let (mut first, mut second, mut third) =
        (proxy.connect().await, proxy.connect().await, proxy.connect().await);
    for (client, id) in [(&mut first, "1"), (&mut second, "2"), (&mut third, "3")] {
        client.send(&connect_v5(id)).await;
    }
    let (one, two) = (broker.accept().await, broker.accept().await);
    assert_eq!(proxy.app.metrics().live_connections(), 2);
    assert!(!broker.was_called());
    drop((first, one));
    broker.accept().await.receive(&connect_v5("3")).await;
    drop(two);
}

#[tokio::test]
async fn an_address_that_is_taken_is_named_in_the_error() {
    let broker = Broker::start().await;
    let text = config(broker.addr, "", "").replace("127.0.0.1:0", &broker.addr.to_string());
    let config = parse(&text);
    let telemetry = Telemetry::new(config.log);
    let error = App::start(config, Clock::system(), telemetry).expect_err("taken");
    assert_eq!(error.to_string(), format!("cannot listen on {} (listener \"mqtt\")", broker.addr));
}

#[tokio::test]
async fn an_ipv4_client_of_an_ipv6_listener_is_known_by_its_ipv4_address() {
    let broker = Broker::start().await;
    let text = config(broker.addr, "", "[[ban]]\nas = \"peerhost\"\nwho = \"127.0.0.1\"")
        .replace("127.0.0.1:0", "[::]:0");
    let proxy = Proxy::start(&text);
    let mut client = Client::connect(([127, 0, 0, 1], proxy.addr().port()).into()).await;
    client.send(&connect_v5("mapped")).await;
    assert_eq!(client.rest().await, b"\x20\x03\x00\x8a\x00");
}
