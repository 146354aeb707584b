//! What the config file says of detection, and what changes when it says something else.

use super::{
    AT_ONCE, BANNED, Caller, DOUBT, WOULD_BE_BANNED, assert_nobody_was_banned, await_ban, await_ends, flap,
};
use crate::harness::{Broker, Proxy, Version, config, free_port, listener};
use std::net::TcpStream;
use std::thread::sleep;

const IN_USE: &str = "config file is in use";
const BY_PEERHOST: &str = "[flapping_detect.by_peerhost]\nmax_count = 5\n";

/// Five clients of one address.
fn crowd(proxy: &Proxy, name: &str) -> Vec<TcpStream> {
    (0..5).map(|number| Caller::new(proxy.addr, &format!("{name}-{number}")).from(2).enter()).collect()
}

#[test]
fn detection_is_switched_on_and_off_for_those_who_are_inside_too() {
    let broker = Broker::start();
    let off = config(broker.addr, "", AT_ONCE);
    let on = config(broker.addr, "", &format!("{AT_ONCE}{BY_PEERHOST}"));
    let proxy = Proxy::start(&off);
    flap(&proxy, 6, |number| Caller::new(proxy.addr, &format!("early-{number}")).from(2));
    let inside = crowd(&proxy, "came-while-off");
    proxy.reload(&on, IN_USE);
    proxy.log().wait_for(0, &["config changed", "by_peerhost"]);
    assert_eq!(proxy.log().count(BANNED), 0);
    drop(inside);
    await_ban(&proxy, "127.0.0.2");

    let inside =
        (0..5).map(|number| Caller::new(proxy.addr, &format!("came-while-on-{number}")).from(3).enter());
    let inside: Vec<_> = inside.collect();
    proxy.reload(&off, IN_USE);
    assert_eq!(Caller::new(proxy.addr, "late").from(2).refusal(), Some(0x8a), "a ban outlives its detector");
    drop(inside);
    (0..5).for_each(|number| await_ends(&proxy, &format!("came-while-on-{number}"), 1));
    flap(&proxy, 6, |number| Caller::new(proxy.addr, &format!("late-{number}")).from(3));
    assert_eq!(proxy.log().count(BANNED), 1);

    proxy.reload(&on, IN_USE);
    flap(&proxy, 4, |number| Caller::new(proxy.addr, &format!("again-{number}")).from(3));
    assert_eq!(proxy.log().count(BANNED), 1, "only what was while it was on has counted");
    drop(Caller::new(proxy.addr, "again-4").from(3).enter());
    await_ban(&proxy, "127.0.0.3");
}

#[test]
fn a_zone_that_goes_takes_its_detectors_with_it_and_leaves_its_clients_alone() {
    let broker = Broker::start();
    let zone = "[zones.outside.flapping_detect.by_peerhost]\nmax_count = 5\n";
    let proxy = Proxy::start(&config(broker.addr, "zone = \"outside\"", &format!("{AT_ONCE}{zone}")));
    let (inside, stays) = (crowd(&proxy, "visitor"), Caller::new(proxy.addr, "stays").enter());
    proxy.reload(&config(broker.addr, "", AT_ONCE), IN_USE);
    drop(inside);
    (0..5).for_each(|number| await_ends(&proxy, &format!("visitor-{number}"), 1));
    flap(&proxy, 6, |number| Caller::new(proxy.addr, &format!("late-{number}")).from(2));
    assert_eq!(proxy.log().lines_with(&["session ended", "client_id=stays"]), Vec::<String>::new());
    drop(stays);
    assert_nobody_was_banned(proxy);
}

/// Sessions of a listener that has gone kept the policy that it had had.
#[test]
fn sessions_of_a_listener_that_has_gone_follow_their_zone() {
    let broker = Broker::start();
    let second = format!("{}zone = \"outside\"\n", listener("second", free_port()));
    let zone = "[zones.outside.flapping_detect.by_peerhost]\nmax_count = 5\n";
    let proxy = Proxy::start(&config(broker.addr, "", &format!("{second}{AT_ONCE}{zone}")));
    let door = proxy.listening_since(0, "second");
    let crowd = |name: &str| -> Vec<_> {
        (0..5).map(|number| Caller::new(door, &format!("{name}-{number}")).from(2).enter()).collect()
    };
    let inside = crowd("visitor");
    proxy.reload(&config(broker.addr, "", &format!("{AT_ONCE}{zone}")), IN_USE);
    proxy.reload(&config(broker.addr, "", AT_ONCE), IN_USE);
    drop(inside);
    (0..5).for_each(|number| await_ends(&proxy, &format!("visitor-{number}"), 1));
    assert_nobody_was_banned(proxy);
}

#[test]
fn zones_count_each_for_itself() {
    let broker = Broker::start();
    let second = format!("{}zone = \"inside\"\n", listener("second", free_port()));
    let sections = format!(
        "{second}[flapping_detect]\nenable = true\nmax_count = 4\n[zones.inside.flapping_detect]\nmax_count = 2\n"
    );
    let proxy = Proxy::start(&config(broker.addr, "", &sections));
    let door = proxy.listening_since(0, "second");
    flap(&proxy, 3, |_| Caller::new(proxy.addr, "traveller"));
    flap(&proxy, 1, |_| Caller::new(door, "traveller"));
    assert_eq!(proxy.log().count(BANNED), 0);
    drop(Caller::new(door, "traveller").enter());
    let line = await_ban(&proxy, "traveller");
    assert!(line.contains("zone=inside") && line.contains("count=2 limit=2"), "{line}");
}

#[test]
fn shadow_mode_tells_and_lets_in() {
    let broker = Broker::start();
    let sections = format!(
        "{AT_ONCE}shadow = true\n[flapping_detect]\nenable = true\nmax_count = 3\n{BY_PEERHOST}[detection.malformed]\nmax_count = 2\n"
    );
    let proxy = Proxy::start(&config(broker.addr, "", &sections));
    flap(&proxy, 12, |_| Caller::new(proxy.addr, "flapper"));
    let line = proxy.log().wait_for(0, &[WOULD_BE_BANNED, "who=flapper"]);
    assert!(line.contains("detector=by_clientid") && line.contains("count=3 limit=3"), "{line}");
    flap(&proxy, 6, |number| Caller::new(proxy.addr, &format!("stranger-{number}")).from(2));
    proxy.log().wait_for(0, &[WOULD_BE_BANNED, "detector=by_peerhost", "who=127.0.0.2"]);
    (0..3).for_each(|_| drop(Caller::new(proxy.addr, "").from(3).say(b"\0\0")));
    proxy.log().wait_for(0, &[WOULD_BE_BANNED, "detector=malformed", "who=127.0.0.3"]);
    for last in [2, 3] {
        Caller::new(proxy.addr, "flapper").from(last).enter();
    }
    let log = proxy.stop();
    let told: Vec<_> = log.iter().filter(|line| line.contains(BANNED)).collect();
    assert_eq!(told.len(), 3, "once for each ban it would make: {told:#?}");
    assert!(told.iter().all(|line| line.contains(WOULD_BE_BANNED)), "{told:#?}");
}

#[test]
fn with_count_refused_the_last_connect_proceeds_and_the_next_is_banned_as_in_emqx() {
    let broker = Broker::start_with_accounts(&[("owner", "right")]);
    // Else the ban ends the session that makes it.
    let sections =
        "[banned]\nkick = []\n[flapping_detect]\nenable = true\nmax_count = 3\ncount_refused = true\n";
    let proxy = Proxy::start(&config(broker.addr, "", sections));
    // Every CONNECT counts, whatever becomes of it.
    let refused = Caller::new(proxy.addr, "refused").with("owner", "wrong");
    assert_eq!([0; 3].map(|_| refused.refusal()), [Some(0x87); 3]);
    assert_eq!(refused.refusal(), Some(0x8a));
    let line = await_ban(&proxy, "refused");
    assert!(line.contains("count=3 limit=3"), "{line}");

    let busy = Caller::new(proxy.addr, "busy").with("owner", "right").speaking(Version::V311);
    let _first_three = [(); 3].map(|()| busy.enter());
    assert_eq!(busy.refusal(), Some(5));
}

/// EMQX kicks by client identifier, too, whoever has made the ban.
#[test]
fn with_count_refused_the_ban_ends_the_sessions_of_its_client_identifier() {
    let broker = Broker::start();
    let sections = "[flapping_detect]\nenable = true\nmax_count = 3\ncount_refused = true\n";
    let proxy = Proxy::start(&config(broker.addr, "", sections));
    let busy = Caller::new(proxy.addr, "busy").speaking(Version::V311);
    let (_first, _other) = (busy.enter(), Caller::new(proxy.addr, "other").enter());
    // The broker gives the first one's session to the second.
    let _second = busy.enter();
    // The third one makes the ban, and may go before it is answered.
    let _third = busy.call();
    await_ban(&proxy, "busy");
    proxy.log().wait_for(0, &["session ended", "client_id=busy ", "cause=\"kicked\""]);
    assert_eq!(proxy.log().lines_with(&["session ended", "client_id=other "]), Vec::<String>::new());
}

#[test]
fn an_exempt_client_is_never_banned() {
    let broker = Broker::start_with_accounts(&[("owner", "right")]);
    let exempt = "[[exempt]]\nas = \"peerhost\"\nwho = \"127.0.0.2\"\n[[exempt]]\nas = \"clientid\"\nwho = \"health\"\n";
    let detectors: String = ["auth_failures", "malformed", "connect_timeouts", "connection_rate"]
        .map(|name| format!("[detection.{name}]\nmax_count = 2\n"))
        .concat();
    let sections = format!(
        "{exempt}{AT_ONCE}{detectors}[flapping_detect]\nenable = true\nmax_count = 2\n{BY_PEERHOST}[flapping_detect.by_network]\nmax_count = 2\n"
    );
    let proxy = Proxy::start(&config(broker.addr, "connect_timeout = \"300ms\"", &sections));
    let gateway = |name: &str, password: &str| Caller::new(proxy.addr, name).from(2).with("owner", password);
    for number in 0..6 {
        drop(gateway("flapper", "right").enter());
        drop(gateway(&format!("stranger-{number}"), "right").enter());
        assert_eq!(gateway("", &format!("guess-{number}")).refusal(), Some(0x87));
        gateway("", "").say(b"\0\0");
        drop(gateway("", "").dial());
        drop(Caller::new(proxy.addr, "health").with("owner", "right").enter());
    }
    let half_open: Vec<_> = (0..3).map(|_| gateway("", "").dial()).collect();
    sleep(DOUBT);
    drop(half_open);
    assert_nobody_was_banned(proxy);
}
