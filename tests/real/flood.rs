//! Handshakes that nobody finishes, in great number.

use crate::harness::{
    Broker, Client, Pki, Proxy, TlsClient, Version, await_close, config, dial, eventually, listener,
};
use crate::tls_cut::first_flight;
use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

/// The TLS listener `mqtt` with these options, and the listener `plain`.
fn start(broker: &Broker, pki: &Pki, options: &str, tls: &str) -> (Proxy, SocketAddr) {
    let options = format!("{options}\n{}", pki.listener(tls));
    let sections = format!("{}\n[node]\ndata_dir = \"data\"\n", listener("plain", 0));
    let proxy = Proxy::start(&config(broker.addr, &options, &sections));
    let plain = proxy.listening_since(0, "plain");
    (proxy, plain)
}

/// Clients that begin a handshake and leave it at that: some say nothing, some half of their first message, some all of
/// it.
fn stand(addr: SocketAddr, count: usize) -> Vec<TcpStream> {
    let hello = first_flight(&["-tls1_3"]);
    let begin = |number: usize| {
        let mut stream = dial(addr);
        let said = [0, hello.len() / 2, hello.len()][number % 3];
        stream.write_all(&hello[..said]).expect("connected");
        stream
    };
    (0..count).map(begin).collect()
}

/// How many connections the TLS listener has.
fn connections(proxy: &Proxy) -> u64 {
    let status: serde_json::Value =
        serde_json::from_str(&proxy.command(&["status", "--json"])).expect("JSON");
    let listeners = status["listeners"].as_array().expect("listeners");
    let one = listeners.iter().find(|one| one["name"] == "mqtt").expect("it is listed");
    one["connections"].as_u64().expect("a number")
}

const STANDING: usize = 300;
const ROUNDS: usize = 50;

#[test]
fn while_hundreds_of_handshakes_stand_everybody_is_served() {
    let (pki, broker) = (Pki::new(), Broker::start());
    // Who stands holds no turn, or the one that there is would be gone.
    let (proxy, plain) = start(&broker, &pki, "", "handshake_timeout = \"1h\"\nmax_handshakes = 1");
    let mut neighbour = Client::enter(plain, Version::V5, "neighbour");
    let standing = stand(proxy.addr, STANDING);
    eventually("all of them stand", || connections(&proxy) == STANDING as u64);

    let (is_over, handshakes) = (AtomicBool::new(false), AtomicUsize::new(0));
    let mut inside: Vec<TlsClient> = Vec::new();
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !is_over.load(Ordering::Relaxed) {
                    drop(pki.handshake(dial(proxy.addr)).expect("a handshake"));
                    handshakes.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        for round in 0..ROUNDS {
            neighbour.assert_alive();
            Client::enter(plain, Version::V311, &format!("plain-{round}")).assert_alive();
            inside.push(pki.enter(proxy.addr, &format!("tls-{round}")));
        }
        eventually("many handshakes beside them", || handshakes.load(Ordering::Relaxed) >= ROUNDS);
        is_over.store(true, Ordering::Relaxed);
    });
    eventually("those who stand to stand still", || connections(&proxy) == (STANDING + ROUNDS) as u64);
    drop(standing);
    eventually("those who are inside to be alone", || connections(&proxy) == ROUNDS as u64);
    neighbour.assert_alive();
}

#[test]
fn a_listener_that_is_full_of_handshakes_costs_no_other_and_is_free_after_their_time() {
    let (pki, broker) = (Pki::new(), Broker::start());
    let options = "max_connections = 40";
    let (proxy, plain) = start(&broker, &pki, options, "handshake_timeout = \"1s\"");
    let mut neighbour = Client::enter(plain, Version::V5, "neighbour");
    let mut standing = stand(proxy.addr, 60);
    proxy.log().wait_for(0, &["WARN", "listener is full", "listener=mqtt"]);
    for round in 0..10 {
        neighbour.assert_alive();
        Client::enter(plain, Version::V311, &format!("plain-{round}")).assert_alive();
    }
    // It waits behind them, and is served.
    drop(pki.enter(proxy.addr, "late"));
    for stream in &mut standing {
        await_close(stream);
    }
    eventually("a line for each", || {
        proxy.log().lines_with(&["outcome=connect_timeout", "no TLS handshake in time"]).len() == 60
    });
    neighbour.assert_alive();
}
