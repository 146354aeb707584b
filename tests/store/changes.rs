//! What each change does on disk and in the lists, and that a request is made whole or not at all.

use super::*;
use mqtt_bouncer::admission::{Class, MAX_WHO};
use mqtt_bouncer::store::{Amendment, Change, ChangeError, Changed};
use std::os::unix::fs::PermissionsExt;

fn added(added: usize) -> Changed {
    Changed { added, ..Changed::default() }
}

fn listed(bouncer: &Bouncer, who: &Who) -> Option<Ban> {
    bouncer.admission().list(List::Bans).get(who)
}

/// Lookaround patterns: 256 of a kind and list are taken.
fn lookaround(number: usize) -> Ban {
    ban(who(As::ClientIdRe, &format!("(?=a)b{number}")), Until::Infinity)
}

#[test]
fn a_new_file_is_open_to_nobody_else() {
    let home = Home::new();
    let (store, _, loaded) = home.open();
    assert_eq!(loaded, Loaded { is_new: true, ..Loaded::default() });
    store.change_blocking(vec![Change::Put(List::Bans, forever("c"))]).expect("written");
    let mode = |path: &std::path::Path| path.metadata().expect("there").permissions().mode() & 0o777;
    assert_eq!(mode(home.path().parent().expect("a folder")), 0o700);
    for suffix in ["", "-wal", "-shm", ".lock"] {
        let mut name = home.path().into_os_string();
        name.push(suffix);
        assert_eq!(mode(name.as_ref()), 0o600, "{suffix}");
    }
}

#[test]
fn every_kind_comes_back_as_it_was() {
    let home = Home::new();
    let names = [
        client("caf\u{e9} 'quoted\" %_\\ \u{1f980}"),
        client(&"x".repeat(MAX_WHO)),
        who(As::Username, "u"),
        who(As::PeerHost, "::ffff:10.0.0.1"),
        who(As::PeerHost, "2001:DB8::7"),
        who(As::PeerHostNet, "192.168.0.77/24"),
        who(As::PeerHostNet, "2001:db8::/32"),
        full(As::ClientIdRe, r"^bot-\d+$"),
        who(As::UsernameRe, "(?i)admin|a\0b"),
        full(As::PeerHostRe, r"10\.\d+"),
    ];
    let ends = [Until::Infinity, Until::Moment(Timestamp::from_millis(i64::MAX))];
    let bans: Vec<Ban> =
        names.iter().enumerate().map(|(at, who)| ban(who.clone(), ends[at % ends.len()])).collect();
    let (store, _, _) = home.open();
    let puts = |list| bans.iter().map(move |ban| Change::Put(list, ban.clone()));
    let changed = store.change_blocking(puts(List::Bans).chain(puts(List::Exemptions)).collect());
    assert_eq!(changed.expect("written"), added(20));
    store.close();

    let (_store, bouncer, loaded) = home.open();
    assert_eq!(loaded, Loaded { bans: 10, exemptions: 10, ..Loaded::default() });
    for list in List::ALL {
        for ban in &bans {
            for found in [
                bouncer.admission().list(list).get(&ban.who),
                home.reader().get(list, &ban.who).expect("readable"),
            ] {
                let found = found.expect("there");
                assert_eq!(&found, ban);
                assert_eq!(found.who.matching(), ban.who.matching(), "which is no part of the key");
            }
        }
    }
}

#[test]
fn a_change_is_on_disk_and_in_force_when_it_is_acknowledged() {
    let home = Home::new();
    let (store, bouncer, _) = home.open();
    let put = |ban| store.change_blocking(vec![Change::Put(List::Bans, ban)]).expect("written");
    assert_eq!(put(forever("c")), added(1));
    assert_eq!(put(until("c", 5)), Changed { changed: 1, ..Changed::default() });
    assert_eq!(listed(&bouncer, &client("c")), Some(until("c", 5)));
    assert_eq!(home.stored(List::Bans), [until("c", 5)]);
    assert!(home.stored(List::Exemptions).is_empty());

    let remove = || store.change_blocking(vec![Change::Remove(List::Bans, client("c"))]).expect("written");
    assert_eq!(remove(), Changed { removed: 1, ..Changed::default() });
    assert_eq!(listed(&bouncer, &client("c")), None);
    assert!(home.stored(List::Bans).is_empty());
    assert_eq!(remove(), Changed::default(), "one that is not there is no error");
}

#[test]
fn adding_leaves_alone_what_has_not_ended() {
    let home = Home::new();
    let (store, bouncer, _) = home.open();
    let add = |ban| store.change_blocking(vec![Change::Add(List::Bans, ban, NOW)]);
    let at_now = NOW.as_millis();
    assert_eq!(add(until("c", at_now)).expect("written"), added(1));
    let changed = add(until("c", at_now + 1)).expect("the one before has ended");
    assert_eq!(changed, Changed { changed: 1, ..Changed::default() });
    let error = add(forever("c")).expect_err("it has not ended");
    assert!(matches!(&error, ChangeError::Exists(ban) if **ban == until("c", at_now + 1)), "{error}");
    assert_eq!(error.to_string(), "clientid \"c\" is on the list already, until 1970-01-01T00:16:40+00:00");
    assert_eq!(listed(&bouncer, &client("c")), Some(until("c", at_now + 1)));
    assert_eq!(home.stored(List::Bans), [until("c", at_now + 1)]);
}

#[test]
fn a_request_is_made_whole_or_not_at_all() {
    let home = Home::new();
    let (store, bouncer, _) = home.open();
    store.change_blocking(vec![Change::Put(List::Bans, forever("old"))]).expect("written");
    let error = store.change_blocking(vec![
        Change::Clear(List::Bans),
        Change::Put(List::Bans, forever("new")),
        Change::Put(List::Exemptions, forever("new")),
        Change::Add(List::Bans, forever("new"), NOW),
    ]);
    assert!(matches!(error, Err(ChangeError::Exists(_))));
    assert_eq!(names(&home.stored(List::Bans)), ["old"]);
    assert!(home.stored(List::Exemptions).is_empty());
    assert!(listed(&bouncer, &client("old")).is_some());
    assert!(listed(&bouncer, &client("new")).is_none());
}

#[test]
fn changes_of_a_request_are_made_in_their_order() {
    let home = Home::new();
    let (store, bouncer, _) = home.open();
    let mut changes: Vec<_> =
        (0..3_000).rev().map(|n| Change::Put(List::Bans, forever(&format!("c{n:04}")))).collect();
    changes.push(Change::Put(List::Bans, until("c0007", 7)));
    changes.push(Change::Remove(List::Bans, client("c0008")));
    changes.push(Change::Put(List::Bans, until("c0007", 8)));
    let done = store.change_blocking(changes).expect("written");
    assert_eq!(done, Changed { added: 3_000, changed: 2, removed: 1, forgotten: 0 });
    assert_eq!(store.progress(), 3_003);
    assert_eq!(listed(&bouncer, &client("c0007")), Some(until("c0007", 8)));
    assert_eq!(listed(&bouncer, &client("c0008")), None);
    assert_eq!(home.reader().get(List::Bans, &client("c0007")).expect("readable"), Some(until("c0007", 8)));
    assert_eq!(bouncer.count(List::Bans, As::ClientId), 2_999);
}

#[test]
fn what_has_ended_goes_the_oldest_first() {
    let home = Home::new();
    let (store, bouncer, _) = home.open();
    let bans = [until("d", 40), forever("f"), until("b", 20), until("a", 30), until("c", 10)];
    let mut changes: Vec<_> = bans.into_iter().map(|ban| Change::Put(List::Bans, ban)).collect();
    changes.push(Change::Put(List::Exemptions, until("e", 5)));
    store.change_blocking(changes).expect("written");
    let clean = |millis, limit| {
        let by = Timestamp::from_millis(millis);
        store
            .change_blocking(vec![Change::RemoveEnded { list: List::Bans, by, limit }])
            .expect("written")
            .removed
    };
    assert_eq!(clean(9, usize::MAX), 0);
    assert_eq!(clean(30, 2), 2);
    assert_eq!(names(&home.stored(List::Bans)), ["a", "d", "f"]);
    assert_eq!(clean(30, 2), 1);
    assert_eq!(names(&home.stored(List::Bans)), ["d", "f"]);
    assert_eq!(bouncer.count(List::Bans, As::ClientId), 2);
    assert_eq!(home.stored(List::Exemptions).len(), 1);
}

#[test]
fn clearing_empties_one_list() {
    let home = Home::new();
    let (store, bouncer, _) = home.open();
    let changes = List::ALL.map(|list| Change::Put(list, forever("c")));
    store.change_blocking(changes.into()).expect("written");
    let done = store.change_blocking(vec![Change::Clear(List::Bans)]).expect("written");
    assert_eq!(done.removed, 1);
    assert_eq!(List::ALL.map(|list| home.stored(list).len()), [0, 1]);
    assert_eq!(List::ALL.map(|list| bouncer.count(list, As::ClientId)), [0, 1]);
}

#[test]
fn what_the_config_file_bans_outlasts_what_the_store_takes_off() {
    let home = Home::new();
    let (store, bouncer, _) = home.open();
    let stored = |name: &str| Change::Put(List::Bans, until(name, 10));
    store.change_blocking(vec![stored("a"), stored("b"), stored("c")]).expect("written");
    for name in ["a", "b", "c"] {
        bouncer.put_from_file(List::Bans, forever(name)).expect("room");
    }
    let by = Timestamp::from_millis(10);
    for change in [
        Change::Remove(List::Bans, client("a")),
        Change::RemoveEnded { list: List::Bans, by, limit: 1 },
        Change::Clear(List::Bans),
    ] {
        assert_eq!(store.change_blocking(vec![change]).expect("written").removed, 1);
    }
    assert_eq!(bouncer.count(List::Bans, As::ClientId), 3);
}

#[test]
fn what_the_config_file_says_is_not_lifted_by_the_store() {
    let home = Home::new();
    let (store, bouncer, _) = home.open();
    bouncer.put_from_file(List::Bans, until("c", 10)).expect("room");
    store.change_blocking(vec![Change::Put(List::Bans, forever("c"))]).expect("written");
    assert_eq!(listed(&bouncer, &client("c")), Some(forever("c")));
    store.change_blocking(vec![Change::Clear(List::Bans)]).expect("written");
    assert_eq!(listed(&bouncer, &client("c")), Some(until("c", 10)));
}

#[test]
fn expensive_patterns_are_limited_before_they_are_written() {
    let max = Class::Lookaround.max().expect("a limit");
    for is_followed in [true, false] {
        let home = Home::new();
        let bouncer = Bouncer::new(Clock::manual(NOW));
        let open = || Store::open(home.path(), is_followed.then(|| bouncer.clone())).expect("a store").0;
        let store = open();
        let put = |numbers: std::ops::Range<usize>| -> Vec<Change> {
            numbers.map(|number| Change::Put(List::Bans, lookaround(number))).collect()
        };
        let error = store.change_blocking(put(0..max + 1)).expect_err("one too many");
        assert!(matches!(error, ChangeError::TooMany(_)), "{error}");
        assert!(home.stored(List::Bans).is_empty());
        store.change_blocking(put(0..max)).expect("room");
        store.close();

        let store = open();
        store.change_blocking(put(max..max + 1)).expect_err("full after a restart");
        store.change_blocking(put(0..2)).expect("those that are there already");
        let mut exchange = vec![Change::Remove(List::Bans, lookaround(7).who)];
        exchange.extend(put(max..max + 1));
        store.change_blocking(exchange).expect("one for another");
        store.change_blocking(put(7..8)).expect_err("full again");
        assert_eq!(home.stored(List::Bans).len(), max);
        store.change_blocking(vec![Change::Clear(List::Bans)]).expect("cleared");
        store.change_blocking(put(0..max)).expect("room");
    }
}

#[test]
fn patterns_of_the_config_file_count_too() {
    let max = Class::Lookaround.max().expect("a limit");
    let home = Home::new();
    let (store, bouncer, _) = home.open();
    for number in 2..max {
        bouncer.put(List::Bans, lookaround(number)).expect("room");
    }
    let put = |number| Change::Put(List::Bans, lookaround(number));
    store.change_blocking(vec![put(0), put(1), put(max)]).expect_err("room for two");
    store.change_blocking(vec![put(0), put(1)]).expect("room for two");
    store.change_blocking(vec![put(max)]).expect_err("full");
    assert_eq!(home.stored(List::Bans).len(), 2);
}

#[test]
fn texts_are_bounded() {
    let home = Home::new();
    let (store, _, _) = home.open();
    let mut ban = forever("c");
    ban.terms.reason = "x".repeat(MAX_WHO + 1).into();
    let error = store.change_blocking(vec![Change::Put(List::Bans, ban.clone())]).expect_err("too long");
    assert_eq!(error.to_string(), "reason has 65536 bytes; expected at most 65535");
    ban.terms.reason = "x".repeat(MAX_WHO).into();
    store.change_blocking(vec![Change::Put(List::Bans, ban.clone())]).expect("written");
    assert_eq!(home.stored(List::Bans), [ban]);
}

#[test]
fn shared_texts_are_kept_once() {
    let home = Home::new();
    let (store, _, _) = home.open();
    let changes = ["a", "b"].map(|name| Change::Put(List::Bans, forever(name)));
    store.change_blocking(changes.into()).expect("written");
    store.close();
    let (_store, bouncer, _) = home.open();
    let [a, b] = ["a", "b"].map(|name| listed(&bouncer, &client(name)).expect("there").terms);
    assert!(std::sync::Arc::ptr_eq(&a.reason, &b.reason) && std::sync::Arc::ptr_eq(&a.by, &b.by));
}

/// Two who have seen the same ban and both change it: the second one changed what it had never seen.
#[test]
fn an_amendment_of_a_ban_that_was_changed_meanwhile_changes_nothing() {
    let home = Home::new();
    let (store, bouncer, _) = home.open();
    let seen = forever("c");
    store.change_blocking(vec![Change::Put(List::Bans, seen.clone())]).expect("written");
    let amend = |reason: &str| {
        let amendment = Amendment {
            seen: Some(Box::new(seen.clone())),
            reason: Some(reason.into()),
            ..Amendment::default()
        };
        let (who, amendment) = (seen.who.clone(), Box::new(amendment));
        store.change_blocking(vec![Change::Amend { list: List::Bans, who, amendment, now: NOW }])
    };
    assert_eq!(amend("first").expect("as it was seen").changed, 1);
    let second = amend("second");
    assert!(matches!(second, Err(ChangeError::Changed)), "{second:?}");
    let reasons = home.stored(List::Bans).into_iter().map(|ban| ban.terms.reason.to_string());
    assert_eq!(reasons.collect::<Vec<_>>(), ["first"]);
    assert_eq!(listed(&bouncer, &seen.who).expect("there").terms.reason.as_ref(), "first");
}
