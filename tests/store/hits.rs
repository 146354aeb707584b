//! How often a ban has refused somebody.

use super::*;
use mqtt_bouncer::bouncer::Hit;
use mqtt_bouncer::store::{Change, Selection, Sort};

fn hit(name: &str, count: u64, last: i64) -> Change {
    Change::Hit(Hit { who: client(name), count, last: Timestamp::from_millis(last) })
}

/// Name, hits and last hit of what is on disk, the most hit first.
fn hits(home: &Home) -> Vec<(String, u64, Option<i64>)> {
    let reader = home.reader();
    let selection = Selection { sort: Some(Sort::Hits), is_descending: true, ..Selection::default() };
    let page = reader.view(&[]).expect("a view").page(List::Bans, &selection).expect("readable");
    let of =
        |entry: mqtt_bouncer::store::Entry| (entry.who, entry.hits, entry.last_hit.map(Timestamp::as_millis));
    page.entries.into_iter().map(of).collect()
}

#[test]
fn hits_add_up_and_outlive_the_store() {
    let home = Home::new();
    let (store, _, _) = home.open();
    let put = |name| Change::Put(List::Bans, forever(name));
    store.change_blocking(vec![put("a"), put("b"), hit("a", 2, 7), hit("nobody", 1, 1)]).expect("made");
    store.change_blocking(vec![hit("a", 3, 5), hit("b", 1, 9)]).expect("made");
    store.close();
    drop(home.open());
    assert_eq!(hits(&home), [("a".to_owned(), 5, Some(7)), ("b".to_owned(), 1, Some(9))]);
}

#[test]
fn a_ban_that_is_changed_keeps_its_hits_and_one_that_is_new_has_none() {
    let home = Home::new();
    let (store, _, _) = home.open();
    let ending = |until| {
        let mut ban = forever("a");
        ban.terms.until = Until::Moment(Timestamp::from_millis(until));
        ban
    };
    let change = |changes| store.change_blocking(changes).expect("made");
    change(vec![Change::Put(List::Bans, ending(5)), hit("a", 1, 1)]);
    change(vec![Change::Put(List::Bans, ending(6))]);
    assert_eq!(hits(&home), [("a".to_owned(), 1, Some(1))]);
    change(vec![Change::Add(List::Bans, ending(9), Timestamp::from_millis(8))]);
    assert_eq!(hits(&home), [("a".to_owned(), 0, None)]);
    change(vec![hit("a", 1, 1), Change::Remove(List::Bans, client("a")), Change::Put(List::Bans, ending(9))]);
    assert_eq!(hits(&home), [("a".to_owned(), 0, None)]);
}
