//! Reading beside a writer and without one.

use super::*;
use mqtt_bouncer::store::{Change, OpenError};

fn filled(home: &Home) -> Store {
    let (store, _, _) = home.open();
    let mut other = ban(who(As::Username, "u"), Until::Infinity);
    other.terms.by = "somebody".into();
    let bans = [
        ban(who(As::PeerHostRe, "^10"), Until::Infinity),
        ban(who(As::PeerHost, "10.0.0.1"), Until::Infinity),
        ban(who(As::PeerHostNet, "10.0.0.0/8"), Until::Infinity),
        other,
        until("c", 30),
        until("b_%", 20),
        until("a", 10),
    ];
    let changes = bans.into_iter().map(|ban| Change::Put(List::Bans, ban));
    store.change_blocking(changes.collect()).expect("written");
    store
}

#[test]
fn bans_come_in_the_order_of_evaluation() {
    let home = Home::new();
    let _store = filled(&home);
    let expected = ["a", "b_%", "c", "u", "10.0.0.1", "10.0.0.0/8", "^10"];
    assert_eq!(names(&home.stored(List::Bans)), expected);
    assert!(home.stored(List::Exemptions).is_empty());
}

#[test]
fn filters_choose_and_pages_go_on() {
    let home = Home::new();
    filled(&home).close();
    let reader = home.reader();
    let at = |millis| Some(Timestamp::from_millis(millis));
    let all = Filter::default();
    for (filter, expected) in [
        (Filter { kind: Some(As::Username), ..all.clone() }, &["u"][..]),
        (Filter { by: Some("somebody".into()), ..all.clone() }, &["u"]),
        (Filter { by: Some("some".into()), ..all.clone() }, &[]),
        (Filter { text: Some("10".into()), ..all.clone() }, &["10.0.0.1", "10.0.0.0/8", "^10"]),
        (Filter { text: Some("_%".into()), ..all.clone() }, &["b_%"]),
        (Filter { text: Some("A".into()), ..all.clone() }, &[]),
        (Filter { ended_at: at(20), ..all.clone() }, &["a", "b_%"]),
        (Filter { active_at: at(20), kind: Some(As::ClientId), ..all.clone() }, &["c"]),
        (Filter { active_at: at(10), ended_at: at(20), ..all.clone() }, &["b_%"]),
    ] {
        assert_eq!(names(&read(&reader, List::Bans, &filter)), expected, "{filter:?}");
        assert_eq!(reader.count(List::Bans, &filter).expect("readable"), expected.len(), "{filter:?}");
    }
    let page = Filter { skip: 2, limit: Some(3), ..all.clone() };
    assert_eq!(names(&read(&reader, List::Bans, &page)), ["c", "u", "10.0.0.1"]);
    assert_eq!(reader.count(List::Bans, &page).expect("readable"), 7, "of all pages");
    assert!(read(&reader, List::Bans, &Filter { limit: Some(0), ..all.clone() }).is_empty());
    let mut seen = 0;
    let first = |_| {
        seen += 1;
        ControlFlow::Break(())
    };
    reader.for_each(List::Bans, &all, first).expect("readable");
    assert_eq!(seen, 1);
}

#[test]
fn a_reader_sees_one_moment_while_the_writer_goes_on() {
    let home = Home::new();
    let store = filled(&home);
    let reader = home.reader();
    let mut seen = Vec::new();
    let look = |ban: Ban| {
        if seen.is_empty() {
            store.change_blocking(vec![Change::Clear(List::Bans)]).expect("written meanwhile");
        }
        seen.push(ban);
        ControlFlow::Continue(())
    };
    reader.for_each(List::Bans, &Filter::default(), look).expect("readable");
    assert_eq!(seen.len(), 7);
    assert_eq!(reader.count(List::Bans, &Filter::default()).expect("readable"), 0);
    drop(reader);
    store.close();
}

#[test]
fn a_file_that_is_not_there_is_not_made() {
    let home = Home::new();
    let error = Reader::open(home.path()).expect_err("nothing there");
    assert!(matches!(error, OpenError::Missing { .. }), "{error}");
    assert!(!home.path().exists());
}
