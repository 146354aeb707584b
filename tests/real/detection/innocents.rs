//! Whoever suffers from what others do is not banned for it.

use super::swarm::Swarm;
use super::{AT_ONCE, Caller, RESIDENCE, assert_nobody_was_banned};
use crate::harness::{Broker, Proxy, Version, config, eventually, free_port};
use std::net::SocketAddr;
use std::thread::sleep;

/// Every detector of flapping, with next to no patience.
const STRICT: &str = "[flapping_detect]\nenable = true\nmax_count = 3\n\
    [flapping_detect.by_username]\nmax_count = 10\nper_client = 2\nresidents_per_count = 0\n\
    [flapping_detect.by_peerhost]\nmax_count = 10\nper_client = 2\nresidents_per_count = 0\n\
    [flapping_detect.by_network]\nmax_count = 10\nper_client = 2\nresidents_per_count = 0\n";

/// Clients of both versions and some addresses.
fn fleet(door: SocketAddr, count: usize) -> impl Iterator<Item = Caller> {
    (0..count).map(move |number| {
        let last = u8::try_from(2 + number % 5).expect("small");
        let caller = Caller::new(door, &format!("device-{number}")).from(last);
        caller.speaking(Version::BOTH[number / 5 % 2]).with("fleet", "password")
    })
}

#[test]
fn a_broker_that_crashes_and_stops_and_comes_back_has_nobody_banned() {
    let mut broker = Broker::start();
    let addr = broker.addr;
    let proxy = Proxy::start(&config(addr, "", &format!("{AT_ONCE}{STRICT}")));
    let swarm = Swarm::new(fleet(proxy.addr, 50));
    swarm.await_everybody();
    sleep(RESIDENCE);
    for round in 1..=5 {
        if round % 2 == 1 {
            broker.kill()
        } else {
            broker.stop()
        };
        swarm.await_ends(round);
        broker = Broker::start_at(addr);
        swarm.await_everybody();
        // The third and the fifth time, nobody has been inside for long.
        if round % 2 == 1 {
            sleep(RESIDENCE);
        }
    }
    sleep(super::DOUBT);
    let refusals = swarm.end();
    assert!(!refusals.contains_key(&0x8a) && !refusals.contains_key(&5), "{refusals:?}");
    assert_nobody_was_banned(proxy);
}

/// Nobody has ever been inside for long, so nobody's end says anything of the broker: that it cannot be reached does.
#[test]
fn a_broker_that_crashes_before_anybody_was_inside_for_long_has_nobody_banned() {
    let mut broker = Broker::start();
    let addr = broker.addr;
    let proxy = Proxy::start(&config(addr, "", &format!("{AT_ONCE}{STRICT}").replace("1s", "1h")));
    let swarm = Swarm::new(fleet(proxy.addr, 50));
    for round in 1..=4 {
        swarm.await_everybody();
        let mark = proxy.log().mark();
        broker.kill();
        proxy.log().wait_for(mark, &["no broker"]);
        swarm.await_ends(round);
        broker = Broker::start_at(addr);
    }
    swarm.await_everybody();
    sleep(super::DOUBT);
    assert_eq!(proxy.log().lines_with(&[super::BANNED]), Vec::<String>::new());
    let refusals = swarm.end();
    assert!(!refusals.contains_key(&0x8a) && !refusals.contains_key(&5), "{refusals:?}");
}

#[test]
fn three_hundred_devices_behind_one_address_may_all_reconnect_at_once() {
    let broker = Broker::start();
    let proxy = Proxy::start(&config(broker.addr, "", &format!("{AT_ONCE}{STRICT}")));
    let devices: Vec<_> = (0..300)
        .map(|number| Caller::new(proxy.addr, &format!("device-{number}")).from(9).with("fleet", "password"))
        .collect();
    let mut inside: Vec<_> = devices.iter().map(Caller::enter).collect();
    sleep(RESIDENCE);
    for round in 1..=3 {
        inside.clear();
        eventually("all to be gone", || proxy.log().count("session ended") == 300 * round);
        inside.extend(devices.iter().map(Caller::enter));
    }
    drop(inside);
    assert_nobody_was_banned(proxy);
}

#[test]
fn our_own_restart_has_nobody_banned() {
    let broker = Broker::start();
    let folder = tempfile::tempdir().expect("a folder");
    let door = SocketAddr::new(broker.addr.ip(), free_port());
    let node = format!("[node]\ndrain_timeout = \"300ms\"\ndata_dir = \"{}\"\n", folder.path().display());
    let sections = format!("{node}{AT_ONCE}{STRICT}");
    let config = config(broker.addr, "", &sections).replace("127.0.0.1:0", &door.to_string());
    let swarm = Swarm::new(fleet(door, 50));
    for round in 1..=3 {
        let proxy = Proxy::start(&config);
        swarm.await_everybody();
        if round == 2 {
            sleep(RESIDENCE);
        }
        proxy.terminate();
        let log = proxy.ended();
        let banned: Vec<_> = log.iter().filter(|line| line.contains(super::BANNED)).collect();
        assert!(banned.is_empty(), "{banned:#?}");
        swarm.await_ends(round);
    }
    let proxy = Proxy::start(&config);
    swarm.await_everybody();
    sleep(super::DOUBT);
    let refusals = swarm.end();
    assert!(!refusals.contains_key(&0x8a) && !refusals.contains_key(&5), "{refusals:?}");
    assert_nobody_was_banned(proxy);
}
