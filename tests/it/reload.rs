use crate::harness::*;
use mqtt_bouncer::admission::{As, Client as Claimed, List, Verdict};

/// A config with these listeners (name and address) and this at the end.
fn listening(broker: &Broker, listeners: &[(&str, &str)], rest: &str) -> String {
    let listener =
        |(name, bind): &(&str, &str)| format!("[[listener]]\nname = \"{name}\"\nbind = \"{bind}\"\n");
    let listeners: String = listeners.iter().map(listener).collect();
    format!("{listeners}[upstream]\nservers = [\"{}\"]\n{rest}\n", broker.addr)
}

/// A free port of this address.
pub(crate) fn free(ip: &str) -> String {
    std::net::TcpListener::bind(format!("{ip}:0"))
        .expect("a free port")
        .local_addr()
        .expect("bound")
        .to_string()
}

async fn admitted(proxy: &Proxy, broker: &Broker, listener: &str) -> (Client, Client) {
    let mut client = Client::connect(proxy.app.local_addr(listener).expect("listens")).await;
    client.send(&connect_v5("dev")).await;
    let mut inside = broker.accept().await;
    inside.receive(&connect_v5("dev")).await;
    (client, inside)
}

async fn still_talk((client, inside): &mut (Client, Client)) {
    client.send(b"\xc0\x00").await;
    inside.receive(b"\xc0\x00").await;
    inside.send(b"\xd0\x00").await;
    client.receive(b"\xd0\x00").await;
}

#[tokio::test]
async fn a_good_reload_drops_no_kept_session() {
    let broker = Broker::start().await;
    let mut proxy =
        Proxy::start(&listening(&broker, &[("stays", "127.0.0.1:0"), ("goes", "127.0.0.1:0")], ""));
    let mut stays = admitted(&proxy, &broker, "stays").await;
    let mut goes = admitted(&proxy, &broker, "goes").await;
    let old = proxy.app.local_addr("goes").expect("listens");
    let kept = proxy.app.local_addr("stays");

    let text = listening(
        &broker,
        &[("comes", "127.0.0.1:0"), ("stays", "127.0.0.1:0")],
        "[node]\ndrain_timeout = \"7s\"",
    );
    proxy.app.reload(parse(&text)).expect("a good config");

    still_talk(&mut stays).await;
    still_talk(&mut goes).await;
    assert_eq!(proxy.app.local_addr("stays"), kept);
    until("the old port is closed", || std::net::TcpStream::connect(old).is_err()).await;
    still_talk(&mut admitted(&proxy, &broker, "comes").await).await;
}

#[tokio::test]
async fn a_listener_moves_to_an_address_that_overlaps_its_own() {
    let broker = Broker::start().await;
    let everywhere = free("0.0.0.0");
    let loopback = everywhere.replace("0.0.0.0", "127.0.0.1");
    let mut proxy = Proxy::start(&listening(&broker, &[("mqtt", &everywhere)], ""));
    let mut session = admitted_at(&broker, &loopback).await;
    proxy.app.reload(parse(&listening(&broker, &[("mqtt", &loopback)], ""))).expect("a good config");
    assert_eq!(proxy.addr().to_string(), loopback);
    still_talk(&mut session).await;
    still_talk(&mut admitted_at(&broker, &loopback).await).await;
    proxy.app.reload(parse(&listening(&broker, &[("mqtt", &everywhere)], ""))).expect("and back");
    still_talk(&mut admitted_at(&broker, &loopback).await).await;
    still_talk(&mut session).await;
}

async fn admitted_at(broker: &Broker, addr: &str) -> (Client, Client) {
    let mut client = Client::connect(addr.parse().expect("an address")).await;
    client.send(&connect_v5("dev")).await;
    let mut inside = broker.accept().await;
    inside.receive(&connect_v5("dev")).await;
    (client, inside)
}

#[tokio::test]
async fn listeners_change_places_and_nobody_in_their_queues_is_lost() {
    let broker = Broker::start().await;
    let (one, two) = (free("127.0.0.1"), free("127.0.0.1"));
    let mut proxy = Proxy::start(&listening(&broker, &[("a", &one), ("b", &two)], ""));
    for round in 0..20 {
        let (a, b) = if round % 2 == 0 { (&two, &one) } else { (&one, &two) };
        let mut clients = Vec::new();
        for addr in [&one, &two, &one, &two] {
            clients.push(Client::connect(addr.parse().expect("an address")).await);
        }
        proxy.app.reload(parse(&listening(&broker, &[("a", a), ("b", b)], ""))).expect("a good config");
        for client in &mut clients {
            client.send(&connect_v5("dev")).await;
            let mut inside = broker.accept().await;
            inside.receive(&connect_v5("dev")).await;
        }
    }
}

#[tokio::test]
async fn whoever_waits_in_the_queue_of_a_listener_that_goes_is_served() {
    let broker = Broker::start().await;
    let mut proxy =
        Proxy::start(&listening(&broker, &[("stays", "127.0.0.1:0"), ("goes", "127.0.0.1:0")], ""));
    let addr = proxy.app.local_addr("goes").expect("listens");
    let mut clients = Vec::new();
    for _ in 0..20 {
        clients.push(Client::connect(addr).await);
    }
    proxy.app.reload(parse(&listening(&broker, &[("stays", "127.0.0.1:0")], ""))).expect("a good config");
    for client in &mut clients {
        client.send(&connect_v5("dev")).await;
        broker.accept().await.receive(&connect_v5("dev")).await;
    }
}

#[tokio::test]
async fn a_failed_reload_changes_nothing() {
    let broker = Broker::start().await;
    let mut proxy = Proxy::start(&listening(&broker, &[("mqtt", "127.0.0.1:0")], ""));
    let before = proxy.app.config().clone();
    let mut session = admitted(&proxy, &broker, "mqtt").await;
    // The second listener wants an address that is taken: the first must not be opened either, nor the ban kept.
    let taken = broker.addr.to_string();
    let text = listening(
        &broker,
        &[("new", "127.0.0.1:0"), ("taken", &taken)],
        "[[ban]]\nas = \"clientid\"\nwho = \"dev\"",
    );
    let error = proxy.app.reload(parse(&text)).expect_err("taken");
    assert!(error.to_string().ends_with("(listener \"taken\")"), "{error}");
    assert_eq!(proxy.app.config(), &before);
    assert_eq!(proxy.app.local_addr("new"), None);
    assert_eq!(proxy.app.bouncer().count(List::Bans, As::ClientId), 0);
    still_talk(&mut session).await;
    still_talk(&mut admitted(&proxy, &broker, "mqtt").await).await;
}

#[tokio::test]
async fn bans_limits_and_upstreams_change_for_those_who_come_later() {
    let (old, new) = (Broker::start().await, Broker::start().await);
    let ban = |who: &str| format!("[[ban]]\nas = \"clientid\"\nwho = \"{who}\"");
    let mut proxy = Proxy::start(&config(old.addr, "", &ban("first")));
    let mut session = admitted(&proxy, &old, "mqtt").await;

    proxy
        .app
        .reload(parse(&config(new.addr, "max_connect_size = 64", &ban("second"))))
        .expect("a good config");
    let verdict =
        |id| proxy.app.bouncer().check(&Claimed::new(std::net::IpAddr::from([127, 0, 0, 1]), id, None));
    assert_eq!(verdict("first"), Verdict::Admit);
    assert!(matches!(verdict("second"), Verdict::Refuse(_)));
    still_talk(&mut session).await;
    still_talk(&mut admitted(&proxy, &new, "mqtt").await).await;
    let mut large = proxy.connect().await;
    large.send(&connect_v5(&"x".repeat(100))).await;
    assert_eq!(large.rest().await, b"\x20\x03\x00\x95\x00");
}
