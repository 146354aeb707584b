//! SIGTERM: nobody is admitted any more, and sessions have time to end.

use crate::harness::{Broker, Client, Proxy, Version, await_closed_door, config};
use std::time::{Duration, Instant};

#[test]
fn sigterm_admits_nobody_and_lets_sessions_go_on_until_the_drain_timeout() {
    let broker = Broker::start();
    let proxy = draining_for("2s", &broker);
    let mut inside = Client::enter(proxy.addr, Version::V5, "inside");
    let mut elsewhere = Client::enter(broker.addr, Version::V5, "elsewhere");

    let terminated = Instant::now();
    terminate(&proxy);
    await_closed_door(proxy.addr);
    elsewhere.publish("inside", "news");
    assert_eq!(inside.hear(), "news");
    inside.assert_alive();
    // MQTT 5: server shutting down.
    inside.await_end_after(b"\xe0\x02\x8b\x00");
    assert!(terminated.elapsed() >= Duration::from_secs(2), "{:?}", terminated.elapsed());
    assert_stopped(proxy, 1);
}

#[test]
fn draining_is_over_when_the_last_session_ends() {
    let broker = Broker::start();
    let proxy = draining_for("1h", &broker);
    let inside = Client::enter(proxy.addr, Version::V311, "inside");
    terminate(&proxy);
    drop(inside);
    assert_stopped(proxy, 0);
}

#[test]
fn a_second_sigterm_ends_at_once() {
    let broker = Broker::start();
    let proxy = draining_for("1h", &broker);
    let mut inside = Client::enter(proxy.addr, Version::V311, "inside");
    terminate(&proxy);
    inside.assert_alive();
    proxy.terminate();
    inside.await_end();
    assert_stopped(proxy, 1);
}

fn draining_for(timeout: &str, broker: &Broker) -> Proxy {
    Proxy::start(&config(broker.addr, "", &format!("[node]\ndrain_timeout = \"{timeout}\"\n")))
}

/// Once it says that it drains, a second signal is a second one.
fn terminate(proxy: &Proxy) {
    proxy.terminate();
    proxy.log().wait_for(0, &[" draining "]);
}

fn assert_stopped(proxy: Proxy, cut_off: usize) {
    let log = proxy.ended();
    let last = log.last().expect("a log");
    assert!(last.contains(&format!("stopped cut_off={cut_off}")), "{last}");
}
