//! SIGHUP: what is in the file holds from now on, and nobody who is inside notices.

use crate::harness::{
    Broker, Client, Proxy, Version, await_close, await_closed_door, ban, config, dial, free_port, listener,
};

const IN_USE: &str = "config file is in use";

#[test]
fn reload_bans_and_lifts_without_dropping_a_session() {
    let broker = Broker::start();
    // A ban keeps out; it throws out where it is told to.
    let kick_nobody = "[banned]\nkick = []\n";
    let proxy = Proxy::start(&config(broker.addr, "", kick_nobody));
    let mut inside = Client::enter(proxy.addr, Version::V5, "inside");
    let mut bad = Client::enter(proxy.addr, Version::V5, "bad");

    let line = proxy.reload(&config(broker.addr, "", &(ban("clientid", "bad") + kick_nobody)), IN_USE);
    assert!(line.contains("put=1 removed=0"), "{line}");
    assert_eq!(Client::knock(proxy.addr, Version::V5, "bad").err(), Some(0x8a));
    assert_eq!(Client::knock(proxy.addr, Version::V311, "bad").err(), Some(5));
    inside.assert_alive();
    bad.assert_alive();

    let line = proxy.reload(&config(broker.addr, "", kick_nobody), IN_USE);
    assert!(line.contains("put=0 removed=1"), "{line}");
    Client::enter(proxy.addr, Version::V5, "bad").assert_alive();
    inside.assert_alive();
}

#[test]
fn reload_changes_timeouts_for_those_who_come_later() {
    let broker = Broker::start();
    let proxy = Proxy::start(&config(broker.addr, "connect_timeout = \"1h\"", ""));
    let mut inside = Client::enter(proxy.addr, Version::V311, "inside");

    proxy.reload(&config(broker.addr, "connect_timeout = \"300ms\"", ""), IN_USE);
    proxy.log().wait_for(0, &["config changed", "listener.mqtt.connect_timeout"]);
    let mut mute = dial(proxy.addr);
    assert_eq!(await_close(&mut mute), b"");
    inside.assert_alive();
}

#[test]
fn reload_adds_moves_and_removes_a_listener_and_its_sessions_live_on() {
    let broker = Broker::start();
    let proxy = Proxy::start(&config(broker.addr, "", ""));
    let mut first = Client::enter(proxy.addr, Version::V5, "first");
    let with_second = |port| config(broker.addr, "", &listener("second", port));

    let mark = proxy.log().mark();
    proxy.reload(&with_second(free_port()), IN_USE);
    let old = proxy.listening_since(mark, "second");
    let mut second = Client::enter(old, Version::V311, "second");

    let mark = proxy.log().mark();
    proxy.reload(&with_second(free_port()), IN_USE);
    let new = proxy.listening_since(mark, "second");
    let mut moved = Client::enter(new, Version::V5, "moved");
    await_closed_door(old);

    proxy.reload(&config(broker.addr, "", ""), IN_USE);
    await_closed_door(new);
    for client in [&mut first, &mut second, &mut moved] {
        client.assert_alive();
    }
    Client::enter(proxy.addr, Version::V5, "late").assert_alive();
}

#[test]
fn reload_with_a_bad_file_changes_nothing_and_says_where() {
    let broker = Broker::start();
    let bans = ban("clientid", "bad");
    let proxy = Proxy::start(&config(broker.addr, "", &bans));
    let mut inside = Client::enter(proxy.addr, Version::V5, "inside");

    let bad =
        config(broker.addr, "", &format!("{}{}", listener("second", free_port()), ban("shoe_size", "46")));
    let number = bad.lines().position(|line| line.contains("shoe_size")).expect("a line") + 1;
    let line = proxy.reload(&bad, "config file is not used");
    assert!(line.contains(&format!("{}:{number}: ", proxy.file().display())), "{line}");
    assert_eq!(proxy.log().count("listener=second"), 0);
    assert_eq!(Client::knock(proxy.addr, Version::V5, "bad").err(), Some(0x8a));
    inside.assert_alive();

    let line = proxy.reload("this is no TOML", "config file is not used");
    assert!(line.contains(&format!("{}:1: ", proxy.file().display())), "{line}");
    inside.assert_alive();
}

#[test]
fn reload_that_cannot_listen_changes_nothing() {
    let broker = Broker::start();
    let proxy = Proxy::start(&config(broker.addr, "", ""));
    let mut inside = Client::enter(proxy.addr, Version::V5, "inside");

    let taken = listener("second", broker.addr.port()) + &ban("clientid", "bad");
    let line = proxy.reload(&config(broker.addr, "", &taken), "config file is not used");
    assert!(line.contains(&format!("cannot listen on {} (listener \"second\")", broker.addr)), "{line}");
    Client::enter(proxy.addr, Version::V5, "bad").assert_alive();
    inside.assert_alive();
}
