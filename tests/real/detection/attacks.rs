//! Flapping: a client, an address. And what nobody can do: have somebody else banned.

use super::{AT_ONCE, BANNED, Caller, RESIDENCE, assert_nobody_was_banned, await_ban, await_ends, flap};
use crate::harness::{Broker, Proxy, Version, config, eventually};
use std::thread::sleep;

#[test]
fn a_client_that_comes_and_goes_is_banned_at_the_last_end_that_is_allowed_and_not_before() {
    let broker = Broker::start();
    let folder = tempfile::tempdir().expect("a folder");
    let sections = format!(
        "[node]\ndata_dir = \"{}\"\n[flapping_detect]\nenable = true\nmax_count = 5\n",
        folder.path().display()
    );
    let proxy = Proxy::start(&config(broker.addr, "", &sections));
    let flapper = Caller::new(proxy.addr, "flapper");
    flap(&proxy, 4, |_| flapper.clone());
    let fifth = flapper.enter();
    assert_eq!(proxy.log().count(BANNED), 0);
    drop(fifth);

    let line = await_ban(&proxy, "flapper");
    let blame = "blame=\"client 3, broker 0, operator 0, unknown 0\"";
    for fact in
        ["detector=by_clientid", "as=clientid", "seconds=300 offence=1 count=5 limit=5 window=60", blame]
    {
        assert!(line.contains(fact), "{fact} in {line}");
    }
    assert!(line.contains("addresses=\"127.0.0.1\""), "{line}");
    assert_eq!(flapper.refusal(), Some(0x8a));
    assert_eq!(flapper.clone().speaking(Version::V311).refusal(), Some(5));
    Caller::new(proxy.addr, "another").enter();

    // It is in force before it is kept.
    let listed = || proxy.command(&["bans", "list"]);
    eventually("the ban to be kept", || listed().contains("flapper"));
    let list = listed();
    let line = list.lines().find(|line| line.contains("flapper")).expect("listed");
    for fact in ["clientid", "flapping detector", "flapping is detected", "active"] {
        assert!(line.contains(fact), "{fact} in {line}");
    }
}

#[test]
fn polite_and_impolite_ends_count_alike_in_both_versions() {
    let broker = Broker::start();
    let proxy = Proxy::start(&config(broker.addr, "", "[flapping_detect]\nenable = true\nmax_count = 2\n"));
    for (version, name) in [(Version::V311, "old"), (Version::V5, "new")] {
        let caller = Caller::new(proxy.addr, name).speaking(version);
        caller.leave();
        await_ends(&proxy, name, 1);
        drop(caller.enter());
        await_ban(&proxy, name);
        assert!(caller.is_banned());
    }
}

#[test]
fn ever_new_client_identifiers_have_their_address_banned_and_no_other() {
    let broker = Broker::start();
    let sections = format!("{AT_ONCE}[flapping_detect.by_peerhost]\nmax_count = 5\n");
    let proxy = Proxy::start(&config(broker.addr, "", &sections));
    let stranger = |number: usize| Caller::new(proxy.addr, &format!("stranger-{number}"));
    flap(&proxy, 4, |number| stranger(number).from(2));
    let fifth = stranger(4).from(2).enter();
    assert_eq!(proxy.log().count(BANNED), 0);
    drop(fifth);

    let line = await_ban(&proxy, "127.0.0.2");
    assert!(line.contains("detector=by_peerhost as=peerhost") && line.contains("count=5 limit=5"), "{line}");
    assert_eq!(stranger(5).from(2).refusal(), Some(0x8a));
    stranger(5).from(3).enter();
    stranger(0).enter();
}

#[test]
fn ever_new_client_identifiers_from_a_whole_network_have_the_network_banned() {
    let broker = Broker::start();
    let sections = format!("{AT_ONCE}[flapping_detect.by_network]\nmax_count = 8\n");
    let proxy = Proxy::start(&config(broker.addr, "", &sections));
    let stranger = |number: usize| {
        let last = u8::try_from(2 + number % 4).expect("small");
        Caller::new(proxy.addr, &format!("stranger-{number}")).from(last)
    };
    flap(&proxy, 8, stranger);
    let line = await_ban(&proxy, "127.0.0.0/24");
    assert!(line.contains("detector=by_network as=peerhost_net"), "{line}");
    assert_eq!(Caller::new(proxy.addr, "neighbour").from(99).refusal(), Some(0x8a));
}

#[test]
fn whoever_has_no_password_cannot_have_a_victim_banned() {
    let broker = Broker::start_with_accounts(&[("victim", "right")]);
    let sections = format!(
        "{AT_ONCE}[flapping_detect]\nenable = true\nmax_count = 3\n[flapping_detect.by_username]\nmax_count = 3\n"
    );
    let proxy = Proxy::start(&config(broker.addr, "", &sections));
    let victim = Caller::new(proxy.addr, "meter-7").with("victim", "right");
    let inside = victim.enter();
    for version in Version::BOTH {
        let liar = Caller::new(proxy.addr, "meter-7").from(66).speaking(version);
        for number in 0..10 {
            let refusal = liar.clone().with("victim", &format!("wrong-{number}")).refusal();
            assert_eq!(refusal, Some(if version == Version::V5 { 0x87 } else { 5 }));
        }
        // Not even without a user name.
        assert!(liar.refusal().is_some());
    }
    drop((victim.enter(), inside));
    assert_nobody_was_banned(proxy);
}

#[test]
fn whoever_takes_a_residents_client_identifier_with_another_account_answers_for_it_alone() {
    let broker = Broker::start_with_accounts(&[("victim", "right"), ("mallory", "own")]);
    let sections = format!(
        "{AT_ONCE}[flapping_detect]\nenable = true\nmax_count = 3\n[flapping_detect.by_peerhost]\nmax_count = 5\nper_client = 2\n"
    );
    let proxy = Proxy::start(&config(broker.addr, "", &sections));
    let victim = Caller::new(proxy.addr, "meter-7").with("victim", "right").from(7);
    let inside = victim.enter();
    sleep(RESIDENCE);
    let mallory = Caller::new(proxy.addr, "meter-7").with("mallory", "own").from(66);
    // The broker ends the victim's session, and it is known from then on who stayed for long.
    drop((mallory.enter(), inside));
    await_ends(&proxy, "meter-7", 2);
    let mut visits = 1;
    while !mallory.is_banned() {
        visits += 1;
        assert!(visits < 20, "mallory is not banned");
    }
    await_ban(&proxy, "127.0.0.66");
    victim.enter();
    assert_eq!(proxy.log().lines_with(&[BANNED, "who=meter-7"]), Vec::<String>::new());
}
