//! What is remembered of those who were banned automatically, the store in memory, and who is told of lifts.

use super::*;
use mqtt_bouncer::store::{Change, ChangeError, Changed, MAX_EVIDENCE, MAX_OFFENCES, OpenError, ReadError};
use rusqlite::Connection;
use std::sync::{Arc, Mutex};

/// As version 1 made it.
const VERSION_1: &str = r#"
    PRAGMA application_id = 0x6d717462;
    PRAGMA user_version = 1;
    CREATE TABLE bans (
        list     TEXT    NOT NULL,
        "as"     TEXT    NOT NULL,
        who      TEXT    NOT NULL,
        matching TEXT,
        "by"     TEXT    NOT NULL,
        reason   TEXT    NOT NULL,
        at       INTEGER NOT NULL,
        until    INTEGER,
        PRIMARY KEY (list, "as", who)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX bans_by_end ON bans (list, until) WHERE until IS NOT NULL;
    INSERT INTO bans VALUES ('bans', 'clientid', 'old', NULL, 'test', 'tested', 1000000, NULL);
"#;

fn sql(home: &Home, text: &str) {
    Connection::open(home.path()).expect("a database").execute_batch(text).expect("changed");
}

fn change(store: &Store, changes: impl Into<Vec<Change>>) -> Changed {
    store.change_blocking(changes.into()).expect("written")
}

/// An automatic ban: the ban and its offence.
fn banned(name: &str) -> [Change; 2] {
    [Change::Put(List::Bans, forever(name)), Change::Offend(offence(client(name), 1, 10))]
}

fn remembered(home: &Home, name: &str) -> Option<Offence> {
    home.reader().offence(&client(name)).expect("readable")
}

fn forgotten(forgotten: usize) -> Changed {
    Changed { forgotten, ..Changed::default() }
}

/// The names that the hook was told.
fn told(store: &Store) -> Arc<Mutex<Vec<String>>> {
    let told = Arc::<Mutex<Vec<String>>>::default();
    let names = Arc::clone(&told);
    store.on_lift(move |who| names.lock().expect("not poisoned").push(who.to_string()));
    told
}

fn taken(told: &Mutex<Vec<String>>) -> Vec<String> {
    std::mem::take(&mut told.lock().expect("not poisoned"))
}

#[test]
fn a_file_of_version_1_keeps_its_bans_and_takes_offences() {
    let home = Home::new();
    std::fs::create_dir_all(home.path().parent().expect("a folder")).expect("made");
    sql(&home, VERSION_1);
    let error = Reader::open(home.path()).expect_err("a reader changes nothing");
    assert!(matches!(error, OpenError::Older { found: 1, known: 4, .. }), "{error}");
    let (store, bouncer, loaded) = home.open();
    assert_eq!(loaded, Loaded { bans: 1, ..Loaded::default() });
    assert_eq!(bouncer.admission().list(List::Bans).get(&client("old")), Some(forever("old")));
    change(&store, banned("new"));
    store.close();
    assert_eq!(names(&home.stored(List::Bans)), ["new", "old"]);
    assert!(remembered(&home, "new").is_some());
}

#[test]
fn offences_come_back_as_they_were() {
    let home = Home::new();
    let (store, _, _) = home.open();
    let mut last = offence(who(As::PeerHostNet, "2001:db8::/64"), u32::MAX, i64::MAX);
    last.ban_time = Duration::from_millis(i64::MAX.unsigned_abs());
    let mut silent = offence(client("caf\u{e9} 'quoted\" \u{1f980}"), 0, -1);
    (silent.evidence, silent.ban_time) = (String::new(), Duration::ZERO);
    let offences = [last, offence(who(As::PeerHost, "::ffff:10.0.0.1"), 3, 7), silent];
    assert_eq!(change(&store, offences.clone().map(Change::Offend)), Changed::default());
    store.close();
    let (_store, bouncer, loaded) = home.open();
    assert_eq!(loaded.offences, offences.clone().map(without_evidence));
    assert_eq!(As::ALL.map(|kind| bouncer.count(List::Bans, kind)), [0; As::ALL.len()], "they ban nobody");
    for offence in offences {
        assert_eq!(home.reader().offence(&offence.who).expect("readable"), Some(offence));
    }
    assert_eq!(remembered(&home, "nobody"), None);
}

#[tokio::test]
async fn whoever_asks_the_store_gets_the_last_that_was_acknowledged() {
    let home = Home::new();
    let (store, _, _) = home.open();
    assert_eq!(store.path(), Some(&*home.path()));
    for count in [1, 2] {
        let offence = offence(client("c"), count, 10);
        store.change(vec![Change::Offend(offence.clone())]).await.expect("written");
        assert_eq!(store.offence(client("c")).await.expect("readable"), Some(offence));
    }
    store.change(vec![Change::Absolve(client("c"))]).await.expect("written");
    assert_eq!(store.offence(client("c")).await.expect("readable"), None);
}

#[test]
fn a_ban_and_its_offence_are_written_together_or_not_at_all() {
    let home = Home::new();
    let (store, _, _) = home.open();
    change(&store, [Change::Put(List::Bans, forever("old"))]);
    let offend = |evidence: usize| {
        Change::Offend(Offence { evidence: "x".repeat(evidence), ..offence(client("c"), 1, 10) })
    };
    let ban = |name| Change::Add(List::Bans, forever(name), NOW);
    let error = store.change_blocking(vec![offend(1), ban("c"), ban("old")]).expect_err("it exists");
    assert!(matches!(error, ChangeError::Exists(_)), "{error}");
    let error = store.change_blocking(vec![ban("c"), offend(MAX_EVIDENCE + 1)]).expect_err("too long");
    assert!(matches!(error, ChangeError::TooLong { .. }), "{error}");
    assert_eq!(error.to_string(), "evidence has 65537 bytes; expected at most 65536");
    assert_eq!((names(&home.stored(List::Bans)), remembered(&home, "c")), (vec!["old".to_owned()], None));
    assert_eq!(change(&store, [ban("c"), offend(MAX_EVIDENCE)]), Changed { added: 1, ..Changed::default() });
    assert_eq!(remembered(&home, "c").expect("there").evidence.len(), MAX_EVIDENCE);
}

#[test]
fn a_lift_by_hand_forgives_and_an_end_does_not() {
    for is_followed in [true, false] {
        let home = Home::new();
        let bouncer = is_followed.then(|| Bouncer::new(Clock::manual(NOW)));
        let (store, _) = Store::open(home.path(), bouncer).expect("a store");
        change(&store, ["a", "b", "c"].map(banned).concat());
        change(&store, [Change::Put(List::Exemptions, forever("a")), Change::Put(List::Bans, until("a", 5))]);
        assert!(remembered(&home, "a").is_some(), "a ban by hand leaves it");
        change(&store, [Change::Remove(List::Exemptions, client("a")), Change::Clear(List::Exemptions)]);
        assert!(remembered(&home, "a").is_some(), "exemptions are none of its business");
        let by = Timestamp::from_millis(5);
        let ended = change(&store, [Change::RemoveEnded { list: List::Bans, by, limit: 9 }]);
        assert_eq!(ended, Changed { removed: 1, ..Changed::default() });
        assert!(remembered(&home, "a").is_some(), "it ended");
        assert_eq!(change(&store, [Change::Remove(List::Bans, client("a"))]), Changed::default());
        assert!(remembered(&home, "a").is_some(), "nothing was lifted");

        let lifted = Changed { removed: 1, forgotten: 1, ..Changed::default() };
        assert_eq!(change(&store, [Change::Remove(List::Bans, client("b"))]), lifted);
        assert_eq!(change(&store, [Change::Clear(List::Bans)]), lifted);
        assert_eq!(["a", "b", "c"].map(|name| remembered(&home, name).is_some()), [true, false, false]);
        assert_eq!(change(&store, [Change::Absolve(client("a"))]), forgotten(1));
        assert_eq!(change(&store, [Change::Absolve(client("a"))]), forgotten(0));
    }
}

#[test]
fn old_offences_are_forgotten_the_oldest_first() {
    let home = Home::new();
    let (store, _, _) = home.open();
    let offences = [("d", 40), ("b", 20), ("a", 30), ("c", 10)];
    change(&store, offences.map(|(name, until)| Change::Offend(offence(client(name), 1, until))));
    let forget =
        |by, limit| change(&store, [Change::ForgetOffences { by: Timestamp::from_millis(by), limit }]);
    assert_eq!(forget(9, usize::MAX), forgotten(0));
    assert_eq!(forget(30, 2), forgotten(2));
    assert_eq!(
        ["a", "b", "c", "d"].map(|name| remembered(&home, name).is_some()),
        [true, false, false, true]
    );
    assert_eq!(forget(30, 2), forgotten(1));
    store.close();
    assert_eq!(home.open().2.offences, [without_evidence(offence(client("d"), 1, 40))]);
}

#[test]
fn there_are_never_more_than_so_many() {
    let home = Home::new();
    home.open().0.close();
    sql(
        &home,
        &format!(
            "WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < {})
             INSERT INTO offences SELECT 'clientid', 'c' || n, 1, n, 1, '' FROM n",
            MAX_OFFENCES + 1
        ),
    );
    let (store, _, loaded) = home.open();
    assert_eq!(loaded.offences.len(), MAX_OFFENCES);
    assert_eq!(loaded.offences.last().map(|offence| offence.until), Some(Timestamp::from_millis(2)));
    let offend = |number| Change::Offend(offence(client(&format!("new-{number}")), 1, i64::MAX));
    let count = || {
        let conn = Connection::open(home.path()).expect("a database");
        conn.query_row("SELECT count(*), min(until) FROM offences", [], |row| {
            Ok((row.get::<_, isize>(0)?.unsigned_abs(), row.get::<_, i64>(1)?))
        })
    };
    change(&store, [offend(0)]);
    assert_eq!(count().expect("counted"), (MAX_OFFENCES - 1_000, 1_003), "room is made at once for a while");
    change(&store, (1..1_000).map(offend).collect::<Vec<_>>());
    assert_eq!(count().expect("counted"), (MAX_OFFENCES - 1, 1_003));
    change(&store, (1_000..3_000).map(offend).collect::<Vec<_>>());
    assert_eq!(count().expect("counted"), (MAX_OFFENCES - 1_000, 4_002));
}

#[test]
fn a_row_that_is_no_offence_is_passed_over_and_named_when_it_is_asked_for() {
    let home = Home::new();
    let (store, _, _) = home.open();
    change(&store, banned("good"));
    store.close();
    for (row, expected) in [
        ("'clientid', 'bad', -1, 0, 0, ''", "count: "),
        ("'clientid', 'bad', 1, 0, -1, ''", "ban_time is -1; expected 0 or more"),
        ("'clientid', 'bad', 1, 0, 0, CAST(x'ff' AS TEXT)", "evidence is no text"),
    ] {
        sql(&home, &format!("REPLACE INTO offences VALUES ({row})"));
        let error = home.reader().offence(&client("bad")).expect_err("bad");
        assert!(matches!(error, ReadError::Offence { .. }), "{error}");
        let named = r#"has a row that is no offence: list "offences", as "clientid", who "bad": "#;
        assert!(error.to_string().contains(named) && error.to_string().contains(expected), "{error}");
    }
    sql(&home, "REPLACE INTO offences VALUES ('clientid', 'bad', -1, 0, 0, ''), ('ip', 'x', 1, 0, 0, '')");
    let (store, _, loaded) = home.open();
    assert_eq!(loaded.offences, [without_evidence(offence(client("good"), 1, 10))]);
    change(&store, [Change::Offend(offence(client("bad"), 1, 10))]);
    assert!(remembered(&home, "bad").is_some());
}

#[test]
fn lifts_by_hand_are_told_when_they_are_in_force() {
    let home = Home::new();
    let (store, bouncer, _) = home.open();
    change(&store, ["a", "b", "c", "d"].map(banned).concat());
    let listed = Arc::<Mutex<Vec<bool>>>::default();
    let seen = Arc::clone(&listed);
    store.on_lift(move |who| {
        seen.lock().expect("not poisoned").push(bouncer.admission().list(List::Bans).get(who).is_some());
    });
    change(&store, [Change::Remove(List::Bans, client("d"))]);
    assert_eq!(*listed.lock().expect("not poisoned"), [false]);

    let told = told(&store);
    change(&store, [Change::Put(List::Bans, until("c", 5)), Change::Put(List::Exemptions, forever("a"))]);
    change(&store, [Change::RemoveEnded { list: List::Bans, by: NOW, limit: 9 }]);
    change(&store, [Change::Remove(List::Bans, client("c")), Change::Clear(List::Exemptions)]);
    let refused = vec![Change::Remove(List::Bans, client("a")), Change::Add(List::Bans, forever("b"), NOW)];
    store.change_blocking(refused).expect_err("it exists");
    assert!(taken(&told).is_empty(), "nothing was lifted by hand");
    change(&store, [Change::Remove(List::Bans, client("a"))]);
    assert_eq!(taken(&told), ["a"]);
    change(&store, [Change::Clear(List::Bans)]);
    assert_eq!(taken(&told), ["b"]);
}

#[tokio::test]
async fn a_store_without_a_file_does_the_same_until_it_ends() {
    let bouncer = Bouncer::new(Clock::manual(NOW));
    let store = Store::in_memory(bouncer.clone()).expect("a store");
    assert_eq!(store.path(), None);
    let told = told(&store);
    let changed = store.change(["a", "b"].map(banned).concat()).await.expect("written");
    assert_eq!(changed, Changed { added: 2, ..Changed::default() });
    let refused =
        vec![Change::Clear(List::Bans), Change::Put(List::Bans, forever("c")), banned("c")[1].clone()];
    let refused = [refused, vec![Change::Add(List::Bans, forever("c"), NOW)]].concat();
    store.change(refused).await.expect_err("it exists");
    assert_eq!(bouncer.count(List::Bans, As::ClientId), 2);
    assert_eq!(store.offence(client("a")).await.expect("readable"), Some(offence(client("a"), 1, 10)));
    store.change(vec![Change::Remove(List::Bans, client("a"))]).await.expect("written");
    assert_eq!(store.offence(client("a")).await.expect("readable"), None);
    assert_eq!((bouncer.count(List::Bans, As::ClientId), taken(&told)), (1, vec!["a".to_owned()]));

    let other = store.clone();
    tokio::task::spawn_blocking(move || store.close()).await.expect("closed");
    let error = other.offence(client("b")).await.expect_err("closed");
    assert!(matches!(error, ReadError::Closed), "{error}");
    let again = Store::in_memory(Bouncer::default()).expect("a store");
    assert_eq!(again.offence(client("b")).await.expect("readable"), None);
}

#[tokio::test]
async fn a_file_that_has_gone_is_named_to_whoever_asks() {
    let home = Home::new();
    let (store, _, _) = home.open();
    std::fs::remove_dir_all(home.path().parent().expect("a folder")).expect("removed");
    let error = store.offence(client("c")).await.expect_err("gone");
    assert!(matches!(error, ReadError::Open(_)), "{error}");
    assert!(error.to_string().contains("bans.db"), "{error}");
}
