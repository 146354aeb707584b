//! Passwords: who guesses, and who only has a wrong one.

use super::{AT_ONCE, BANNED, Caller, assert_nobody_was_banned, await_ban};
use crate::harness::{Broker, Proxy, Version, config, eventually};

/// Five guesses make a ban; four different passwords put an account under siege.
const GUESSES: &str = "[detection.auth_failures]\nmax_count = 5\nsiege_count = 4\nsiege_max_count = 2\n";

#[test]
fn whoever_guesses_passwords_is_banned_by_address_and_the_accounts_owner_is_let_in() {
    let broker = Broker::start_with_accounts(&[("owner", "right")]);
    let sections = format!("{AT_ONCE}{GUESSES}").replace("siege_count = 4", "siege_count = 0");
    let proxy = Proxy::start(&config(broker.addr, "", &sections));
    let guess =
        |number: usize| Caller::new(proxy.addr, "").from(66).with("owner", &format!("guess-{number}"));
    for number in 0..5 {
        let caller = guess(number).speaking(Version::BOTH[number % 2]);
        assert_eq!(proxy.log().count(BANNED), 0);
        assert_eq!(caller.refusal(), Some(if number % 2 == 1 { 0x87 } else { 5 }));
        eventually("its end", || proxy.log().count("session ended") == number + 1);
    }
    let line = await_ban(&proxy, "127.0.0.66");
    assert!(line.contains("detector=auth_failures as=peerhost"), "{line}");
    assert!(line.contains("count=5 limit=5") && line.contains("seconds=1800"), "{line}");

    assert_eq!(guess(5).refusal(), Some(0x8a));
    let owner = Caller::new(proxy.addr, "owners").with("owner", "right");
    assert_eq!(owner.clone().from(66).refusal(), Some(0x8a), "the address is banned, whoever uses it");
    owner.from(7).enter();
}

#[test]
fn one_wrong_password_a_hundred_times_is_no_guess() {
    let broker = Broker::start_with_accounts(&[("owner", "right")]);
    let sections = format!(
        "{AT_ONCE}{GUESSES}[flapping_detect]\nenable = true\nmax_count = 5\n[flapping_detect.by_peerhost]\nmax_count = 5\n\
         [flapping_detect.by_network]\nmax_count = 5\n[detection.connection_rate]\nmax_count = 5\n"
    );
    let proxy = Proxy::start(&config(broker.addr, "", &sections));
    // Many devices have a new client identifier each time.
    for number in 0..50 {
        for client_id in ["meter-7", &format!("meter-{number}")] {
            assert_eq!(Caller::new(proxy.addr, client_id).with("owner", "wrong").refusal(), Some(0x87));
        }
    }
    Caller::new(proxy.addr, "meter-7").with("owner", "right").enter();
    assert_nobody_was_banned(proxy);
}

#[test]
fn an_account_under_siege_keeps_its_name_and_its_owner() {
    let broker = Broker::start_with_accounts(&[("owner", "right")]);
    let sections = format!("{AT_ONCE}{GUESSES}[flapping_detect.by_username]\nmax_count = 3\n");
    let proxy = Proxy::start(&config(broker.addr, "", &sections));
    let guess = |last: u8, password: &str| {
        let ended = proxy.log().count("session ended");
        let refusal = Caller::new(proxy.addr, "").from(last).with("owner", password).refusal();
        eventually("its end", || proxy.log().count("session ended") > ended || refusal == Some(0x8a));
        refusal
    };
    for last in 20..24 {
        assert_eq!(guess(last, &format!("first of {last}")), Some(0x87));
    }
    // From here on, the account is under siege.
    for last in 20..24 {
        assert_eq!(guess(last, &format!("second of {last}")), Some(0x87));
        assert_eq!(guess(last, &format!("third of {last}")), Some(0x87));
        let line = await_ban(&proxy, &format!("127.0.0.{last}"));
        assert!(line.contains("detector=auth_failures") && line.contains("count=2 limit=2"), "{line}");
    }
    // The owner mistypes once, and is let in.
    assert_eq!(guess(7, "rigth"), Some(0x87));
    Caller::new(proxy.addr, "owners").from(7).with("owner", "right").enter();
    assert_eq!(proxy.log().lines_with(&[BANNED, "who=owner "]), Vec::<String>::new());
}
