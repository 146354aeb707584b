use crate::harness::*;
use crate::pki::Pki;
use mqtt_bouncer::metrics::Outcome;
use mqtt_bouncer::net::upstream::Condition;
use rcgen::PKCS_ECDSA_P256_SHA256;
use std::net::SocketAddr;

/// A config whose clients share these brokers.
fn sharing(brokers: &[SocketAddr], more: &str) -> String {
    let servers: Vec<_> = brokers.iter().map(|addr| format!("\"{addr}\"")).collect();
    format!(
        "[[listener]]\nname = \"mqtt\"\nbind = \"127.0.0.1:0\"\n[upstream]\nservers = [{}]\n{more}\n",
        servers.join(", ")
    )
}

/// A client that is inside, and its broker's end.
async fn enter(proxy: &Proxy, broker: &Broker, client_id: &str) -> (Client, Client) {
    let mut client = proxy.connect().await;
    client.send(&connect_v5(client_id)).await;
    let mut inside = broker.accept().await;
    inside.receive(&connect_v5(client_id)).await;
    (client, inside)
}

#[tokio::test]
async fn no_client_notices_a_broker_that_is_down() {
    let (alive, dead) = (Broker::start().await, Broker::start().await);
    let proxy = Proxy::start(&sharing(&[dead.addr, alive.addr], ""));
    let addr = dead.addr;
    drop(dead);
    until("the broker is down", || std::net::TcpStream::connect(addr).is_err()).await;
    let mut inside = Vec::new();
    for number in 0..20 {
        inside.push(enter(&proxy, &alive, &format!("device-{number}")).await);
    }
    proxy.until_counted(Outcome::Admitted, 20).await;
    // Left alone after three failures in a row.
    assert_eq!(proxy.app.metrics().servers.of(&addr.to_string()).failed.value(), 3);
}

#[tokio::test]
async fn with_a_hash_clients_return_to_their_broker() {
    let brokers = [Broker::start().await, Broker::start().await, Broker::start().await];
    let proxy = Proxy::start(&sharing(&brokers.each_ref().map(|one| one.addr), "balance = \"hash\""));
    let mut homes = std::collections::HashSet::new();
    for number in 0..40 {
        let connect = connect_v5(&format!("device-{number}"));
        let mut home = None;
        for _ in 0..2 {
            let mut client = proxy.connect().await;
            client.send(&connect).await;
            until("a broker is called", || brokers.iter().any(Broker::was_called)).await;
            let called = brokers.iter().position(Broker::was_called).expect("one");
            brokers[called].accept().await.receive(&connect).await;
            assert_eq!(*home.get_or_insert(called), called);
            homes.insert(called);
        }
    }
    assert_eq!(homes.len(), 3);
}

#[tokio::test]
async fn a_server_that_the_file_drains_gets_nobody_new_and_keeps_who_is_there() {
    let (stays, goes) = (Broker::start().await, Broker::start().await);
    let mut proxy = Proxy::start(&sharing(&[goes.addr], ""));
    let (mut client, mut inside) = enter(&proxy, &goes, "here").await;
    let drained = format!("{{ address = \"{}\", state = \"drain\" }}", goes.addr);
    let text = sharing(&[goes.addr, stays.addr], "").replace(&format!("\"{}\"", goes.addr), &drained);
    proxy.app.reload(parse(&text)).expect("a good config");
    for number in 0..4 {
        enter(&proxy, &stays, &format!("device-{number}")).await;
    }
    assert!(!goes.was_called());
    client.send(b"\xc0\x00").await;
    inside.receive(b"\xc0\x00").await;
}

#[tokio::test]
async fn a_broker_that_does_not_speak_mqtt_is_found_out_before_a_client_comes() {
    let (speaks, hums) = (Broker::start().await, Broker::start().await);
    let check = "[upstream.health_check]\ntype = \"mqtt\"\ninterval = \"100ms\"\ntimeout = \"5s\"\nfall = 2\nrise = 1";
    let proxy = Proxy::start(&sharing(&[hums.addr, speaks.addr], check));
    let connect = b"\x10\x0c\x00\x04MQTT\x04\x02\x00\x00\x00\x00";
    // The good one answers every check, the other one hangs up.
    let well = |mut check: Client| async move {
        check.receive(connect).await;
        check.send(b"\x20\x02\x00\x00").await;
        check.receive(b"\xc0\x00").await;
        check.send(b"\xd0\x00").await;
        check.receive(b"\xe0\x00").await;
    };
    well(speaks.accept().await).await;
    for _ in 0..2 {
        drop(hums.accept().await);
    }
    let is_down = || {
        let routes = proxy.app.routes();
        let group = routes.groups.get("default").expect("it is there");
        group.members()[0].condition(tokio::time::Instant::now(), std::time::Duration::ZERO)
            == Condition::Down
    };
    until("the bad one is down", is_down).await;
    let mut client = proxy.connect().await;
    client.send(&connect_v5("device")).await;
    loop {
        let mut next = speaks.accept().await;
        let mut first = [0; 4];
        soon("a packet", tokio::io::AsyncReadExt::read_exact(&mut next.0, &mut first)).await.expect("open");
        // A check is two bytes shorter than the client.
        if first[1] != 0x0c {
            break;
        }
    }
}

#[tokio::test]
async fn a_spare_group_takes_the_clients_while_the_group_is_down() {
    let (main, spare) = (Broker::start().await, Broker::start().await);
    let rest = format!("backup = \"spare\"\n[upstreams.spare]\nservers = [\"{}\"]", spare.addr);
    let proxy = Proxy::start(&sharing(&[main.addr], &rest));
    enter(&proxy, &main, "first").await;
    let addr = main.addr;
    drop(main);
    until("the broker is down", || std::net::TcpStream::connect(addr).is_err()).await;
    for number in 0..4 {
        enter(&proxy, &spare, &format!("device-{number}")).await;
    }
}

#[tokio::test]
async fn the_first_route_that_fits_decides_then_the_listener() {
    let brokers = [Broker::start().await, Broker::start().await, Broker::start().await];
    let [usual, sensors, people] = &brokers;
    let text = format!(
        "[[listener]]\nname = \"mqtt\"\nbind = \"127.0.0.1:0\"\nupstream = \"usual\"\n\
         [upstream]\nservers = [\"127.0.0.1:1\"]\n\
         [upstreams.usual]\nservers = [\"{}\"]\n\
         [upstreams.sensors]\nservers = [\"{}\"]\n\
         [upstreams.people]\nservers = [\"{}\"]\n\
         [[route]]\nclientid_re = [\"^sensor-[0-9]+$\"]\nprotocol = [\"5\"]\nupstream = \"sensors\"\n\
         [[route]]\nusername = [\"ann\"]\nlistener = [\"mqtt\"]\nupstream = \"people\"\n",
        usual.addr, sensors.addr, people.addr
    );
    let proxy = Proxy::start(&text);
    for (connect, broker) in [
        (connect_v5("sensor-7"), sensors),
        (connect_v311("sensor-7"), usual),
        (connect_as("sensor-7", "ann"), people),
        (connect_as("sensor-7", "bob"), usual),
        (connect_v5("sensor-x"), usual),
    ] {
        let mut client = proxy.connect().await;
        client.send(&connect).await;
        broker.accept().await.receive(&connect).await;
    }
}

#[tokio::test]
async fn routes_know_the_server_that_was_asked_for_and_the_certificate() {
    let (usual, by_name, by_certificate) =
        (Broker::start().await, Broker::start().await, Broker::start().await);
    let pki = Pki::new();
    pki.server("server", &["localhost", "eu.example"], &PKCS_ECDSA_P256_SHA256);
    pki.client("pump-7", 1, |_| {});
    let ca = pki.path("ca.pem");
    let tls = format!("client_auth = \"optional\"\nclient_ca = \"{}\"", ca.display());
    let listener = format!("peer_cert_as_clientid = \"serial\"\n{}", pki.listener(&tls));
    let routes = format!(
        "[upstreams.certificate]\nservers = [\"{}\"]\n[upstreams.name]\nservers = [\"{}\"]\n\
         [[route]]\ncert_cn = [\"pump-7\"]\nclientid = [\"dev\"]\nupstream = \"certificate\"\n\
         [[route]]\nsni = [\"*.example\"]\nupstream = \"name\"\n",
        by_certificate.addr, by_name.addr
    );
    let proxy = Proxy::start(&config(usual.addr, &listener, &routes));
    let mut named = pki.dialler();
    named.name = "eu.example";
    for (dialler, broker) in
        [(pki.dialler(), &usual), (named, &by_name), (pki.dialler_as("pump-7"), &by_certificate)]
    {
        let mut client = dialler.dial(proxy.addr()).await.expect("believed");
        client.send(&connect_v5("dev")).await;
        broker.accept().await.receive(&connect_v5("dev")).await;
    }
}

#[tokio::test]
async fn a_reload_that_cannot_read_a_certificate_changes_nothing() {
    let broker = Broker::start().await;
    let mut proxy = Proxy::start(&sharing(&[broker.addr], ""));
    let error = proxy.app.reload(parse(&sharing(&[broker.addr], "tls = { ca = \"/nowhere/ca.pem\" }")));
    let told = mqtt_bouncer::telemetry::Chain(&error.expect_err("no such file")).to_string();
    assert!(
        told.starts_with("upstream \"default\": tls: cannot read certificates from /nowhere/ca.pem"),
        "{told}"
    );
    enter(&proxy, &broker, "device").await;
}
