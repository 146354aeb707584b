//! Longer bans for those who come back, across restarts, and how they are forgiven.

use super::{BANNED, Caller, flap};
use crate::harness::{Broker, Proxy, Version, config, eventually};
use std::path::Path;

/// One second, then an hour, then a day.
fn sections(folder: &Path) -> String {
    format!(
        "[node]\ndata_dir = \"{}\"\n[flapping_detect]\nenable = true\nmax_count = 3\nban_time = \"1s\"\n\
         [detection.escalation]\nfactor = 3600\njitter_percent = 0\n",
        folder.display()
    )
}

/// Flaps until it is banned; returns what the log says of it.
fn offend(proxy: &Proxy) -> String {
    let mark = proxy.log().mark();
    flap(proxy, 3, |_| Caller::new(proxy.addr, "flapper"));
    proxy.log().wait_for(mark, &[BANNED, "who=flapper"])
}

fn await_freedom(proxy: &Proxy) {
    let flapper = Caller::new(proxy.addr, "flapper").speaking(Version::V311);
    // It comes in once when it is free, and that end counts.
    eventually("the end of the ban", || !flapper.is_banned());
}

#[test]
fn offences_and_bans_survive_a_restart_and_are_forgotten_when_a_ban_is_lifted_by_hand() {
    let broker = Broker::start();
    let folder = tempfile::tempdir().expect("a folder");
    let config = config(broker.addr, "", &sections(folder.path()));
    let proxy = Proxy::start(&config);
    let line = offend(&proxy);
    assert!(line.contains("seconds=1 offence=1"), "{line}");
    await_freedom(&proxy);
    proxy.stop();

    let proxy = Proxy::start(&config);
    proxy.log().wait_for(0, &["store is open", "offences=1"]);
    let line = offend(&proxy);
    assert!(line.contains("seconds=3600 offence=2"), "{line}");
    proxy.stop();

    let proxy = Proxy::start(&config);
    let flapper = Caller::new(proxy.addr, "flapper");
    assert_eq!(flapper.refusal(), Some(0x8a));
    proxy.command(&["bans", "remove", "clientid", "flapper"]);
    drop(flapper.enter());
    super::await_ends(&proxy, "flapper", 1);
    let mark = proxy.log().mark();
    flap(&proxy, 2, |_| flapper.clone());
    let line = proxy.log().wait_for(mark, &[BANNED, "who=flapper"]);
    assert!(line.contains("seconds=1 offence=1 count=3"), "{line}");
}

#[test]
fn the_second_ban_is_longer_and_a_ban_that_is_over_leaves_a_clean_window() {
    let broker = Broker::start();
    let folder = tempfile::tempdir().expect("a folder");
    let proxy = Proxy::start(&config(broker.addr, "", &sections(folder.path()).replace("3600", "2")));
    let line = offend(&proxy);
    assert!(line.contains("seconds=1 offence=1 count=3"), "{line}");
    await_freedom(&proxy);
    // Coming in was the first of three.
    let mark = proxy.log().mark();
    flap(&proxy, 2, |_| Caller::new(proxy.addr, "flapper"));
    let line = proxy.log().wait_for(mark, &[BANNED, "who=flapper"]);
    assert!(line.contains("seconds=2 offence=2 count=3"), "{line}");
}

/// A proxy that crashes has lost nothing that it told of.
#[test]
fn a_ban_that_was_logged_survives_kill_9() {
    let broker = Broker::start();
    let folder = tempfile::tempdir().expect("a folder");
    let config = config(broker.addr, "", &sections(folder.path()).replace("\"1s\"", "\"1h\""));
    let proxy = Proxy::start(&config);
    offend(&proxy);
    eventually("the ban to be on disk", || proxy.command(&["bans", "list"]).contains("flapper"));
    proxy.crash();
    let proxy = Proxy::start(&config);
    assert_eq!(Caller::new(proxy.addr, "flapper").refusal(), Some(0x8a));
}
