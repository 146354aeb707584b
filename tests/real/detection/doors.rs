//! Those who never say who they are, and those who know that they are banned.

use super::{AT_ONCE, BANNED, Caller, await_ban};
use crate::harness::{Broker, Proxy, SilentBroker, await_close, ban, config, eventually};
use std::io::Write;

const HTTP: &[u8] = b"GET / HTTP/1.1\r\nHost: broker\r\n\r\n";

#[test]
fn a_flood_of_what_is_no_mqtt_has_its_address_banned() {
    let broker = Broker::start();
    let proxy = Proxy::start(&config(broker.addr, "", "[detection.malformed]\nmax_count = 5\n"));
    let stranger = Caller::new(proxy.addr, "").from(66);
    // The last is what announces more than any CONNECT may have.
    for bytes in [HTTP, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"\x30\x00", HTTP] {
        stranger.say(bytes);
    }
    assert_eq!(proxy.log().count(BANNED), 0);
    stranger.say(b"\x10\xff\xff\xff\x7f\x00\x04MQTT\x05");
    let line = await_ban(&proxy, "127.0.0.66");
    assert!(line.contains("detector=malformed as=peerhost") && line.contains("count=5 limit=5"), "{line}");
    assert_eq!(Caller::new(proxy.addr, "").from(66).refusal(), Some(0x8a));
    Caller::new(proxy.addr, "neighbour").from(67).enter();
}

#[test]
fn a_guest_of_ipv6_is_banned_by_its_64() {
    let broker = Broker::start();
    let sections = "[[listener]]\nname = \"six\"\nbind = \"[::1]:0\"\n[detection.malformed]\nmax_count = 2\n";
    let proxy = Proxy::start(&config(broker.addr, "", sections));
    let six = proxy.listening_since(0, "six");
    (0..2).for_each(|_| drop(Caller::new(six, "").say(HTTP)));
    let line = await_ban(&proxy, "::/64");
    assert!(line.contains("as=peerhost_net"), "{line}");
    assert_eq!(Caller::new(six, "").refusal(), Some(0x8a));
    Caller::new(proxy.addr, "").enter();
}

#[test]
fn connections_that_stay_half_open_have_their_address_banned() {
    let broker = SilentBroker::start();
    let sections = "[detection.connect_timeouts]\nmax_count = 6\n";
    let proxy = Proxy::start(&config(broker.addr(), "connect_timeout = \"300ms\"", sections));
    let loris = Caller::new(proxy.addr, "").from(66);
    let mut held: Vec<_> = (0..6).map(|_| loris.dial()).collect();
    // Half of them drip.
    held.iter_mut().step_by(2).for_each(|stream| stream.write_all(b"\x10\x20\x00").expect("connected"));
    let line = await_ban(&proxy, "127.0.0.66");
    assert!(line.contains("detector=connect_timeouts") && line.contains("count=6 limit=6"), "{line}");
    assert_eq!(loris.refusal(), Some(0x8a));
    broker.assert_untouched();
}

#[test]
fn connections_that_come_to_nothing_have_their_address_banned() {
    let broker = Broker::start();
    let sections = "[detection.connection_rate]\nmax_count = 6\nper_client = 4\n";
    let proxy = Proxy::start(&config(broker.addr, "", sections));
    let prober = Caller::new(proxy.addr, "").from(66);
    for _ in 0..6 {
        drop(prober.dial());
    }
    let line = await_ban(&proxy, "127.0.0.66");
    assert!(line.contains("detector=connection_rate") && line.contains("count=6 limit=6"), "{line}");
    // Four connections are everybody's own; six more are too many.
    let busy = Caller::new(proxy.addr, "busy").from(67);
    super::flap(&proxy, 9, |_| busy.clone());
    assert_eq!(proxy.log().count(BANNED), 1);
    drop(busy.enter());
    await_ban(&proxy, "127.0.0.67");
}

#[test]
fn a_banned_client_that_hammers_is_not_answered_any_more() {
    let broker = SilentBroker::start();
    let sections =
        format!("{}[detection.hammering]\nmax_count = 3\nhush_time = \"1h\"\n", ban("clientid", "bad"));
    let proxy = Proxy::start(&config(broker.addr(), "", &sections));
    let bad = Caller::new(proxy.addr, "bad").from(66);
    assert_eq!(
        [bad.refusal(), bad.refusal(), bad.refusal(), bad.refusal()],
        [Some(0x8a), Some(0x8a), None, None]
    );
    proxy.log().wait_for(0, &["goes on in spite of its ban", "client_id=bad", "seconds=3600"]);
    assert_eq!(bad.refusal(), None);
    assert_eq!(proxy.log().count("goes on in spite of its ban"), 1);
    assert_eq!(bad.from(67).refusal(), Some(0x8a), "who bears the same name elsewhere does not hammer");
    broker.assert_untouched();
}

/// What a banned address says before it says who it is went on being counted: the ban began anew as soon as it was over.
#[test]
fn what_a_banned_address_sends_counts_for_nothing() {
    let broker = Broker::start();
    let sections = "[detection.malformed]\nmax_count = 3\nban_time = \"1s\"\n";
    let proxy = Proxy::start(&config(broker.addr, "", sections));
    let stranger = Caller::new(proxy.addr, "").from(66);
    (0..3).for_each(|_| drop(stranger.say(HTTP)));
    await_ban(&proxy, "127.0.0.66");
    (0..2).for_each(|_| drop(stranger.say(HTTP)));
    eventually("the end of the ban", || !stranger.is_banned());
    (0..2).for_each(|_| drop(stranger.say(HTTP)));
    assert_eq!(proxy.log().count(BANNED), 1);
    stranger.say(HTTP);
    eventually("another ban", || proxy.log().count(BANNED) == 2);
}

/// The same of those who hammer without a name.
#[test]
fn a_banned_address_that_goes_on_without_a_name_is_not_answered_any_more() {
    let broker = SilentBroker::start();
    let sections =
        format!("{AT_ONCE}{}[detection.hammering]\nmax_count = 3\n", ban("peerhost", "127.0.0.66"));
    let proxy = Proxy::start(&config(broker.addr(), "connect_timeout = \"1h\"", &sections));
    let stranger = Caller::new(proxy.addr, "").from(66);
    (0..3).for_each(|_| drop(stranger.say(HTTP)));
    proxy.log().wait_for(0, &["goes on in spite of its ban", "peer=127.0.0.66 "]);
    assert_eq!(stranger.refusal(), None);
    // It cannot take up places by saying nothing, either.
    let mut half_open = stranger.dial();
    assert_eq!(await_close(&mut half_open), b"");
    let words = ["refused", "peer=127.0.0.66:", "outcome=banned"];
    eventually("one line each", || proxy.log().lines_with(&words).len() == 2);
}
