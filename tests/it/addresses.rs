//! Listeners that listen on several addresses.

use crate::harness::*;
use crate::reload::free;
use mqtt_bouncer::metrics::Outcome;
use std::net::SocketAddr;

/// A config with one listener on these addresses.
fn on(broker: &Broker, addresses: &[&str], more: &str) -> String {
    let servers = broker.addr;
    format!(
        "[[listener]]\nname = \"mqtt\"\nbind = {addresses:?}\n{more}\n[upstream]\nservers = [\"{servers}\"]\n"
    )
}

async fn enter(broker: &Broker, addr: SocketAddr, client_id: &str) -> (Client, Client) {
    let mut client = Client::connect(addr).await;
    client.send(&connect_v5(client_id)).await;
    let mut inside = broker.accept().await;
    inside.receive(&connect_v5(client_id)).await;
    (client, inside)
}

async fn still_talk((client, inside): &mut (Client, Client)) {
    client.send(b"\xc0\x00").await;
    inside.receive(b"\xc0\x00").await;
    inside.send(b"\xd0\x00").await;
    client.receive(b"\xd0\x00").await;
}

fn addrs(proxy: &Proxy) -> Vec<SocketAddr> {
    proxy.app.local("mqtt").iter().filter_map(mqtt_bouncer::net::address::Address::tcp).collect()
}

#[tokio::test]
async fn a_listener_listens_on_all_its_addresses_and_counts_them_together() {
    let broker = Broker::start().await;
    let proxy = Proxy::start(&on(&broker, &["127.0.0.1:0", "[::1]:0", "127.0.0.2:0"], ""));
    let mut inside = Vec::new();
    for (number, addr) in addrs(&proxy).into_iter().enumerate() {
        inside.push(enter(&broker, addr, &format!("device-{number}")).await);
    }
    assert_eq!(inside.len(), 3);
    let listeners: Vec<_> =
        proxy.app.sessions().walk().flatten().map(|live| live.listener().to_string()).collect();
    assert_eq!(listeners, ["mqtt", "mqtt", "mqtt"]);
    proxy.until_counted(Outcome::Admitted, 3).await;
}

/// Both addresses stand in front of one place: whoever comes by the one must not have to wait for somebody at the other.
#[tokio::test]
async fn addresses_share_the_places_of_their_listener() {
    let broker = Broker::start().await;
    let proxy = Proxy::start(&on(&broker, &["127.0.0.1:0", "127.0.0.2:0"], "max_connections = 1"));
    let [one, two] = addrs(&proxy)[..] else { panic!("two addresses") };
    for addr in [one, one, two, two, one, two] {
        let (client, inside) = enter(&broker, addr, "dev").await;
        // Nobody else gets in meanwhile, by either address.
        let mut waiting = [Client::connect(one).await, Client::connect(two).await];
        for client in &mut waiting {
            client.send(&connect_v5("waits")).await;
        }
        drop((client, inside));
        for _ in waiting {
            let mut next = broker.accept().await;
            assert!(!broker.was_called());
            next.receive(&connect_v5("waits")).await;
        }
        until("all are gone", || proxy.app.metrics().live_connections() == 0).await;
    }
}

#[tokio::test]
async fn a_reload_adds_and_removes_single_addresses_and_drops_nobody() {
    let broker = Broker::start().await;
    let [kept, goes, comes] = ["127.0.0.1", "127.0.0.2", "127.0.0.3"].map(free);
    let folder = tempfile::tempdir().expect("a folder");
    let socket = format!("unix:{}/s", folder.path().display());
    let mut proxy = Proxy::start(&on(&broker, &[&kept, &goes], ""));
    let addr = |text: &str| text.parse::<SocketAddr>().expect("an address");
    let mut at_kept = enter(&broker, addr(&kept), "kept").await;
    let mut at_goes = enter(&broker, addr(&goes), "goes").await;
    // It waits in a queue that is about to go.
    let mut waits = Client::connect(addr(&goes)).await;

    let orders =
        proxy.app.reload(parse(&on(&broker, &[&comes, &kept, &socket], ""))).expect("free addresses");
    assert!(orders.open.is_empty() && orders.close.is_empty());
    still_talk(&mut at_kept).await;
    still_talk(&mut at_goes).await;
    waits.send(&connect_v5("waits")).await;
    broker.accept().await.receive(&connect_v5("waits")).await;
    until("the old address is closed", || std::net::TcpStream::connect(addr(&goes)).is_err()).await;
    for there in [&kept, &comes] {
        still_talk(&mut enter(&broker, addr(there), "new").await).await;
    }
    let mut local = Client::connect_to(&folder.path().join("s")).await;
    local.send(&connect_v5("local")).await;
    broker.accept().await.receive(&connect_v5("local")).await;

    // One address as a plain string, and what is in use already elsewhere changes nothing.
    let taken = broker.addr.to_string();
    proxy.app.reload(parse(&on(&broker, &[&kept, &taken], ""))).expect_err("taken");
    assert!(folder.path().join("s").exists());
    let single = on(&broker, &[&kept], "").replace(['[', ']'], "").replacen("listener", "[[listener]]", 1);
    let single = single.replace("upstream", "[upstream]").replace("servers = ", "servers = [") + "]";
    proxy.app.reload(parse(&single)).expect("one address");
    until("the file goes with its socket", || !folder.path().join("s").exists()).await;
    still_talk(&mut at_kept).await;
    assert_eq!(addrs(&proxy), [addr(&kept)]);
}

#[tokio::test]
async fn addresses_change_hands_between_listeners_and_nobody_in_their_queues_is_lost() {
    let broker = Broker::start().await;
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("s");
    let (one, two) = (free("127.0.0.1"), format!("unix:{}", path.display()));
    let both = |a: &str, b: &str| {
        let first = on(&broker, &[a], "");
        format!("[[listener]]\nname = \"other\"\nbind = \"{b}\"\n{first}")
    };
    let mut proxy = Proxy::start(&both(&one, &two));
    for round in 0..10 {
        let mut by_tcp = Client::connect(one.parse().expect("an address")).await;
        let mut by_unix = Client::connect_to(&path).await;
        let config = if round % 2 == 0 { both(&two, &one) } else { both(&one, &two) };
        proxy.app.reload(parse(&config)).expect("a good config");
        by_tcp.send(&connect_v5("tcp")).await;
        broker.accept().await.receive(&connect_v5("tcp")).await;
        by_unix.send(&connect_v5("unix")).await;
        broker.accept().await.receive(&connect_v5("unix")).await;
    }
}

/// How many wait at a socket that listens, as proc(5) shows it.
fn queue_at(addr: SocketAddr) -> Option<u32> {
    let SocketAddr::V4(v4) = addr else { panic!("an IPv4 address") };
    let local = format!("{:08X}:{:04X}", v4.ip().to_bits().swap_bytes(), v4.port());
    let sockets = std::fs::read_to_string("/proc/net/tcp").expect("proc");
    let listening = sockets.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let own = listening.into_iter().find(|fields| fields[1] == local && fields[3] == "0A")?;
    u32::from_str_radix(own[4].rsplit_once(':')?.1, 16).ok()
}

/// A door that is full holds one connection of each address; neither that nor the address may be lost.
#[tokio::test]
async fn an_address_of_a_full_listener_can_go_and_come_back_and_whoever_waited_is_served() {
    let broker = Broker::start().await;
    let [kept, goes] = ["127.0.0.1", "127.0.0.2"].map(free);
    let (one, both) =
        (on(&broker, &[&kept], "max_connections = 1"), on(&broker, &[&kept, &goes], "max_connections = 1"));
    let addr = |text: &str| text.parse::<SocketAddr>().expect("an address");
    let mut proxy = Proxy::start(&both);
    let inside = enter(&broker, addr(&kept), "inside").await;
    let mut waits = Client::connect(addr(&goes)).await;
    waits.send(&connect_v5("waits")).await;
    until("the door has taken it off the queue", || queue_at(addr(&goes)) == Some(0)).await;
    for _ in 0..3 {
        proxy.app.reload(parse(&one)).expect("a good config");
        until("the address is free", || std::net::TcpStream::connect(addr(&goes)).is_err()).await;
        proxy.app.reload(parse(&both)).expect("it can be had again");
    }
    drop(inside);
    broker.accept().await.receive(&connect_v5("waits")).await;
}

/// Whom the door holds while it is full has been accepted: it hears that the proxy is about to stop, although nobody else
/// is left. Which thread is the first to see that is chance, so it is tried several times.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_a_full_listener_holds_is_refused_in_words_while_it_drains() {
    for _ in 0..10 {
        let broker = Broker::start().await;
        let address = free("127.0.0.1");
        let more = "max_connections = 1\n[node]\ndrain_timeout = \"1h\"";
        let proxy = Proxy::start(&on(&broker, &[&address], more));
        let addr: SocketAddr = address.parse().expect("an address");
        let inside = enter(&broker, addr, "inside").await;
        let mut waits = Client::connect(addr).await;
        until("the door has taken it off the queue", || queue_at(addr) == Some(0)).await;
        let sessions = proxy.app.sessions().clone();
        let draining = tokio::spawn(proxy.app.drain(std::future::pending()));
        until("the address is free", || std::net::TcpStream::connect(addr).is_err()).await;
        drop(inside);
        until("nobody is inside", || sessions.is_empty()).await;
        waits.send(&connect_v5("waits")).await;
        assert_eq!(waits.rest().await, b"\x20\x03\x00\x88\x00");
        drop(waits);
        soon("drained", draining).await.expect("no panic");
    }
}
