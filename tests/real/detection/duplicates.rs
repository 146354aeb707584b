//! Two devices with one client identifier, between which a real broker decides.

use super::{AT_ONCE, BANNED, Caller, await_ban};
use crate::harness::{Broker, Proxy, Version, await_close, config};
use std::thread::sleep;

const TOLD: &str = "several clients use one client identifier";
const FLAPPING: &str = "[flapping_detect]\nenable = true\nmax_count = 5\n[flapping_detect.by_peerhost]\nmax_count = 5\nper_client = 5\n";

/// Each comes back as soon as the other has displaced it, so many times, or until one is refused.
fn fight(proxy: &Proxy, version: Version, times: usize) -> Option<u8> {
    let name = format!("twin-{version:?}");
    let twins = [2, 3].map(|last| Caller::new(proxy.addr, &name).from(last).speaking(version));
    let mut inside = twins[0].enter();
    for twin in twins.iter().cycle().skip(1).take(times) {
        let super::caller::Answer::Inside(taker) = twin.call() else { return twin.refusal() };
        await_close(&mut inside);
        inside = taker;
    }
    None
}

#[test]
fn two_clients_that_fight_over_one_identifier_are_told_of_once_and_not_banned() {
    let broker = Broker::start();
    let proxy = Proxy::start(&config(broker.addr, "", &format!("{AT_ONCE}{FLAPPING}")));
    for version in Version::BOTH {
        assert_eq!(fight(&proxy, version, 30), None);
        let line = proxy.log().wait_for(0, &["WARN", TOLD, &format!("who=twin-{version:?}")]);
        assert!(line.contains("127.0.0.2") && line.contains("127.0.0.3"), "{line}");
    }
    sleep(super::DOUBT);
    assert_eq!(proxy.log().count(TOLD), 2);
    super::assert_nobody_was_banned(proxy);
}

#[test]
fn duplicates_are_banned_where_the_operator_wants_it() {
    let broker = Broker::start();
    let sections = format!("{AT_ONCE}{FLAPPING}[detection.duplicates]\naction = \"ban\"\n");
    let proxy = Proxy::start(&config(broker.addr, "", &sections));
    for (version, code) in [(Version::V311, 5), (Version::V5, 0x8a)] {
        assert_eq!(fight(&proxy, version, 30), Some(code));
        let line = await_ban(&proxy, &format!("twin-{version:?}"));
        assert!(line.contains("detector=duplicates as=clientid"), "{line}");
        assert!(line.contains("127.0.0.2") && line.contains("127.0.0.3"), "{line}");
    }
    assert_eq!(proxy.log().count(BANNED), 2);
    let refused = proxy.log().wait_for(0, &["refused", "who=twin-V5", "is used by several clients"]);
    assert!(refused.contains("127.0.0.2") && refused.contains("127.0.0.3"), "{refused}");
}
