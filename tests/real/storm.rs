//! Many come at once, or too often: who is let in, in which order, and who is told that it is too much.

use crate::harness::{
    Broker, Client, PATIENCE, Pki, Process, Proxy, Version, await_close, config, connect, dial, eventually,
};
use socket2::{Domain, Socket, Type};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};

/// A connection from this address of the machine.
fn dial_from(last: u8, addr: SocketAddr) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    let from = SocketAddr::from((Ipv4Addr::new(127, 0, 0, last), 0));
    socket.bind(&from.into()).expect("an address of this machine");
    socket.connect(&addr.into()).expect("somebody listens");
    socket.set_read_timeout(Some(PATIENCE)).expect("open");
    socket.into()
}

/// Sends a CONNECT and waits for nothing.
fn knock(last: u8, addr: SocketAddr, client_id: &str) -> TcpStream {
    let mut stream = dial_from(last, addr);
    stream.write_all(&connect(Version::V311, client_id)).expect("connected");
    stream
}

fn assert_admitted(stream: &mut TcpStream, client_id: &str) {
    let mut connack = [0; 4];
    stream.read_exact(&mut connack).expect(client_id);
    assert_eq!(connack, *b"\x20\x02\x00\x00", "{client_id}");
}

fn numbers(proxy: &Proxy) -> serde_json::Value {
    serde_json::from_str(&proxy.command(&["top", "--once", "--json"])).expect("JSON")
}

/// The clients that the broker has let in, in the order in which they came to it.
fn admitted(broker: &Broker) -> Vec<String> {
    let name = |line: &String| Some(line.split(" as ").nth(1)?.split(' ').next()?.to_owned());
    broker.log().lines_with(&["New client connected"]).iter().filter_map(name).collect()
}

const KNOWN: usize = 40;
const NOISY: usize = 20;

#[test]
fn after_an_outage_all_devices_are_let_in_one_by_one_and_those_first_who_are_known() {
    let broker = Broker::start();
    let paced = |rate: &str| {
        let limits = format!("[node]\ndata_dir = \"data\"\n[limits]\nrate = \"{rate}\"\nmax_wait = \"1m\"\n");
        config(broker.addr, "", &limits)
    };
    let proxy = Proxy::start(&paced("1000/s"));
    let name = |number| format!("known-{number}");
    let before: Vec<_> = (0..KNOWN).map(|n| Client::enter(proxy.addr, Version::V311, &name(n))).collect();
    proxy.reload(&paced("10/s, burst 1"), "config file is in use");
    let addr = broker.addr;
    broker.kill();
    before.into_iter().for_each(Client::await_end);
    let broker = Broker::start_at(addr);

    // Strangers are there first, most of them from one address.
    let mut all: Vec<_> = (0..NOISY)
        .map(|number| (2, format!("noisy-{number}")))
        .chain([(3, "quiet-3".to_owned()), (4, "quiet-4".to_owned())])
        .chain((0..KNOWN).map(|number| (1, name(number))))
        .map(|(from, name)| (knock(from, proxy.addr, &name), name))
        .collect();
    eventually("all of them to wait or to be inside", || {
        // Who goes in between the two looks is counted in none.
        let inside = admitted(&broker).len();
        let waiting = numbers(&proxy)["listeners"]["mqtt"]["waiting"].as_u64().expect("a number");
        inside + usize::try_from(waiting).expect("few") == all.len()
    });
    let early = admitted(&broker).len();
    let status = proxy.command(&["status"]);
    assert!(status.contains("clients wait for their turn"), "{status}");
    assert!(numbers(&proxy)["listeners"]["mqtt"]["longest_wait_seconds"].as_f64() > Some(0.0));

    for (stream, name) in &mut all {
        assert_admitted(stream, name);
    }
    let order = admitted(&broker);
    assert_eq!(order.len(), all.len(), "{order:?}");
    let queued = &order[early..];
    let is_known = |name: &&String| name.starts_with("known-");
    let known = queued.iter().filter(is_known).count();
    assert!(known >= KNOWN / 2, "the storm was over before it began: {order:?}");
    let last = queued.iter().rposition(|name| is_known(&name)).expect("some are known");
    let ahead = queued[..last].iter().filter(|name| !is_known(name)).count();
    assert!(ahead <= known / 4 + 1, "{ahead} strangers before the last who is known: {order:?}");
    // Addresses take turns: who is the only one of its own does not wait for all of another.
    let strangers: Vec<_> = order.iter().filter(|name| !is_known(name)).collect();
    let allowed = early + 3;
    for quiet in ["quiet-3", "quiet-4"] {
        let place = strangers.iter().position(|name| *name == quiet).expect("it is inside");
        assert!(place < allowed, "{quiet} is stranger {place}: {order:?}");
    }
    assert_eq!(numbers(&proxy)["listeners"]["mqtt"]["waiting"], 0);
    assert_eq!(proxy.log().count("outcome=rate_limited"), 0);
}

/// A client of mosquitto that listens, from this address.
fn subscriber(last: u8, addr: SocketAddr, client_id: &str, username: &str) -> Process {
    let (port, from) = (addr.port().to_string(), format!("127.0.0.{last}"));
    let words = ["mosquitto_sub", "-h", "127.0.0.1", "-p", &port, "-A", &from, "-V", "5", "-t", "t"];
    Process::start(100, words.into_iter().chain(["-i", client_id, "-u", username]))
}

#[test]
fn an_address_and_a_user_name_have_so_many_clients_at_once_and_one_that_goes_makes_room() {
    let broker = Broker::start();
    let limits =
        "[node]\ndata_dir = \"data\"\n[limits]\nconnections_per_address = 2\nsessions_per_username = 3\n";
    let proxy = Proxy::start(&config(broker.addr, "", limits));
    let enter = |last, client_id: &str, username| {
        let process = subscriber(last, proxy.addr, client_id, username);
        eventually("a client to be inside", || admitted(&broker).iter().any(|name| name == client_id));
        process
    };
    let refused = |last, client_id: &str, username, words: &str| {
        let mut process = subscriber(last, proxy.addr, client_id, username);
        assert!(!process.wait().success(), "{client_id}");
        let line = proxy.log().wait_for(0, &["refused", &format!("client_id={client_id} ")]);
        assert!(line.contains("outcome=rate_limited") && line.contains(words), "{line}");
    };
    let mut first = enter(2, "a-1", "fleet");
    let _others = [enter(2, "a-2", "fleet"), enter(3, "b-1", "fleet")];
    refused(2, "a-3", "other", "too many connections from this address");
    refused(4, "c-1", "fleet", "too many sessions of this user name");
    let _more = enter(4, "c-2", "other");
    first.kill();
    proxy.log().wait_for(0, &["session ended", "client_id=a-1 "]);
    eventually("the place to be free", || {
        proxy.command(&["clients", "list", "--json"]).matches("\"a-1\"").count() == 0
    });
    let _last = enter(2, "a-4", "fleet");
}

#[test]
fn who_comes_too_often_is_closed_before_tls_where_the_listener_is_set_to() {
    let (pki, broker) = (Pki::new(), Broker::start());
    let options = format!(
        "limits = {{ per_address = \"1/h, burst 2\" }}\non_rate_limited = \"close\"\n{}",
        pki.listener("")
    );
    let proxy = Proxy::start(&config(broker.addr, &options, "[node]\ndata_dir = \"data\"\n"));
    let _inside = [pki.enter(proxy.addr, "first"), pki.enter(proxy.addr, "second")];
    for _ in 0..5 {
        // It has said nothing, and nothing is awaited.
        let mut stream = dial(proxy.addr);
        assert_eq!(await_close(&mut stream), b"");
        let peer = format!("peer={} ", stream.local_addr().expect("bound"));
        proxy.log().wait_for(
            0,
            &["refused", &peer, "outcome=rate_limited", "too many new connections from this address"],
        );
    }
    drop(pki.handshake(dial_from(2, proxy.addr)).expect("another address is served"));
    eventually("its end", || numbers(&proxy)["listeners"]["mqtt"]["live_connections"] == 2);
    let handshakes = &numbers(&proxy)["listeners"]["mqtt"]["tls_handshakes"];
    let count: u64 =
        handshakes.as_object().expect("by result").values().filter_map(serde_json::Value::as_u64).sum();
    assert_eq!((&handshakes["full"], count), (&3.into(), 3), "{handshakes}");
}
