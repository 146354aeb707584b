//! Random requests against the naive map, on disk, in the lists, and after the file is opened again.

use super::*;
use mqtt_bouncer::bouncer::Hit;
use mqtt_bouncer::store::{Amendment, Change, ChangeError, Changed, NewEnd};
use proptest::prelude::*;
use std::collections::HashMap;

#[derive(Clone, Default)]
struct Model {
    bans: HashMap<(List, Who), Terms>,
    offences: HashMap<Who, Offence>,
}

impl Model {
    fn lift(&mut self, key: &(List, Who)) {
        if self.bans.remove(key).is_some() && key.0 == List::Bans {
            self.offences.remove(&key.1);
        }
    }
}

/// The same, without disk.
fn make(model: &mut Model, changes: &[Change]) -> Option<Changed> {
    let mut done = Changed::default();
    let mut put = |model: &mut Model, list, ban: &Ban| match model
        .bans
        .insert((list, ban.who.clone()), ban.terms.clone())
    {
        None => done.added += 1,
        Some(_) => done.changed += 1,
    };
    let (mut removed, mut forgotten) = (0, 0);
    for change in changes {
        let (bans, offences) = (model.bans.len(), model.offences.len());
        match change {
            Change::Put(list, ban) => put(model, *list, ban),
            Change::Add(list, ban, now) => {
                if model.bans.get(&(*list, ban.who.clone())).is_some_and(|terms| terms.is_active(*now)) {
                    return None;
                }
                put(model, *list, ban);
            }
            Change::Extend(list, ban) => {
                let there = model.bans.get(&(*list, ban.who.clone()));
                if there.is_none_or(|terms| terms.until < ban.terms.until) {
                    put(model, *list, ban);
                }
            }
            Change::Amend { list, who, amendment, now } => {
                let key = (*list, who.clone());
                if let Some(terms) = model.bans.get(&key) {
                    let ban = amended(Ban { who: who.clone(), terms: terms.clone() }, amendment, *now);
                    if amendment.end.is_some() && !ban.terms.is_active(*now) {
                        return None;
                    }
                    put(model, *list, &ban);
                }
            }
            Change::Hit(_) => {}
            Change::Remove(list, who) => model.lift(&(*list, who.clone())),
            Change::Clear(list) => {
                let keys: Vec<_> = model.bans.keys().filter(|key| key.0 == *list).cloned().collect();
                for key in &keys {
                    model.lift(key);
                }
            }
            Change::RemoveEnded { list, by, limit } => {
                let mut ended: Vec<_> = model
                    .bans
                    .iter()
                    .filter(|(key, terms)| key.0 == *list && terms.until <= Until::Moment(*by))
                    .map(|(key, terms)| (terms.until, key.1.kind().as_str(), key.1.to_string(), key.clone()))
                    .collect();
                ended.sort_by(|a, b| (a.0, a.1, &a.2).cmp(&(b.0, b.1, &b.2)));
                for (.., key) in ended.into_iter().take(*limit) {
                    model.bans.remove(&key);
                }
            }
            Change::Offend(offence) => {
                drop(model.offences.insert(offence.who.clone(), offence.clone()));
            }
            Change::Account(_) => unreachable!("the model has none"),
            Change::Absolve(who) => drop(model.offences.remove(who)),
            Change::ForgetOffences { by, limit } => {
                let mut ended = model.offences.values().filter(|offence| offence.until <= *by).collect();
                sort(&mut ended);
                let ended: Vec<_> =
                    ended.into_iter().take(*limit).map(|offence| offence.who.clone()).collect();
                for who in &ended {
                    model.offences.remove(who);
                }
            }
        }
        removed += bans.saturating_sub(model.bans.len());
        forgotten += offences.saturating_sub(model.offences.len());
    }
    Some(Changed { removed, forgotten, ..done })
}

fn amended(ban: Ban, amendment: &Amendment, now: Timestamp) -> Ban {
    let Ban { who, mut terms } = ban;
    terms.by = amendment.by.clone().unwrap_or(terms.by);
    terms.reason = amendment.reason.clone().unwrap_or(terms.reason);
    terms.at = amendment.at.unwrap_or(terms.at);
    terms.until = match (amendment.end, terms.until) {
        (Some(NewEnd::At(end)), _) => end,
        (Some(NewEnd::Later(time)), Until::Moment(end)) if end > now => Until::Moment(end.after(time)),
        (Some(NewEnd::Later(time)), Until::Moment(_)) => Until::Moment(now.after(time)),
        (_, until) => until,
    };
    Ban { who, terms }
}

/// The oldest first.
fn sort(offences: &mut Vec<&Offence>) {
    offences.sort_by_key(|offence| (offence.until, offence.who.kind().as_str(), offence.who.to_string()));
}

fn sorted(model: &Model, list: List) -> Vec<Ban> {
    let mut bans: Vec<_> = model
        .bans
        .iter()
        .filter(|(key, _)| key.0 == list)
        .map(|(key, terms)| Ban { who: key.1.clone(), terms: terms.clone() })
        .collect();
    bans.sort_by_key(|ban| (ban.who.kind(), ban.who.to_string()));
    bans
}

fn check(home: &Home, bouncer: &Bouncer, model: &Model) {
    for list in List::ALL {
        let expected = sorted(model, list);
        assert_eq!(home.stored(list), expected);
        assert_eq!(As::ALL.map(|kind| bouncer.count(list, kind)).iter().sum::<usize>(), expected.len());
        for ban in &expected {
            let found = bouncer.admission().list(list).get(&ban.who).expect("in force");
            assert_eq!(&found, ban);
        }
    }
    let reader = home.reader();
    for who in all_who() {
        assert_eq!(reader.offence(&who).expect("readable").as_ref(), model.offences.get(&who));
    }
}

fn any_list() -> impl Strategy<Value = List> {
    prop::sample::select(List::ALL.to_vec())
}

fn any_who() -> impl Strategy<Value = Who> {
    prop::sample::select(all_who())
}

fn all_who() -> Vec<Who> {
    vec![
        client("a"),
        client("b"),
        client("A"),
        who(As::Username, "a"),
        who(As::PeerHost, "10.0.0.1"),
        who(As::PeerHost, "2001:db8::1"),
        who(As::PeerHostNet, "10.0.0.0/8"),
        who(As::ClientIdRe, "^a"),
        full(As::ClientIdRe, "^a"),
        who(As::ClientIdRe, "[a-z]"),
        who(As::UsernameRe, "(?=a)b"),
        full(As::PeerHostRe, "10.*"),
    ]
}

fn any_moment() -> impl Strategy<Value = Timestamp> {
    (0_i64..20).prop_map(Timestamp::from_millis)
}

fn any_ban() -> impl Strategy<Value = Ban> {
    let end = prop::option::of(any_moment());
    (any_who(), "[a-c]?", "[\\PC]{0,3}", any_moment(), end).prop_map(|(who, by, reason, at, end)| {
        let until = end.map_or(Until::Infinity, Until::Moment);
        Ban { who, terms: Terms { by: by.into(), reason: reason.into(), at, until } }
    })
}

fn any_offence() -> impl Strategy<Value = Offence> {
    (any_who(), any::<u32>(), 0_i64..20).prop_map(|(who, count, until)| offence(who, count, until))
}

fn any_amendment() -> impl Strategy<Value = Amendment> {
    let end = prop_oneof![
        any_moment().prop_map(|end| NewEnd::At(Until::Moment(end))),
        Just(NewEnd::At(Until::Infinity)),
        (0_u64..9).prop_map(|time| NewEnd::Later(Duration::from_millis(time))),
    ];
    let text = prop::option::of("[a-c]?");
    (text.clone(), text, prop::option::of(any_moment()), prop::option::of(end)).prop_map(
        |(by, reason, at, end)| Amendment {
            seen: None,
            who: None,
            by: by.map(Into::into),
            reason: reason.map(Into::into),
            at,
            end,
        },
    )
}

fn any_change() -> impl Strategy<Value = Change> {
    prop_oneof![
        5 => (any_list(), any_ban()).prop_map(|(list, ban)| Change::Put(list, ban)),
        2 => (any_list(), any_ban()).prop_map(|(list, ban)| Change::Extend(list, ban)),
        4 => (any_list(), any_ban(), any_moment()).prop_map(|(list, ban, now)| Change::Add(list, ban, now)),
        3 => (any_list(), any_who(), any_amendment(), any_moment()).prop_map(|(list, who, amendment, now)| {
            Change::Amend { list, who, amendment: Box::new(amendment), now }
        }),
        2 => (any_who(), any_moment()).prop_map(|(who, last)| Change::Hit(Hit { who, count: 1, last })),
        4 => (any_list(), any_who()).prop_map(|(list, who)| Change::Remove(list, who)),
        1 => any_list().prop_map(Change::Clear),
        2 => (any_list(), any_moment(), 0_usize..4)
            .prop_map(|(list, by, limit)| Change::RemoveEnded { list, by, limit }),
        5 => any_offence().prop_map(Change::Offend),
        1 => any_who().prop_map(Change::Absolve),
        1 => (any_moment(), 0_usize..4).prop_map(|(by, limit)| Change::ForgetOffences { by, limit }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

    #[test]
    fn the_store_does_what_a_map_does(
        requests in prop::collection::vec(prop::collection::vec(any_change(), 0..6), 1..12),
        later in prop::collection::vec(any_change(), 1..6),
    ) {
        let home = Home::new();
        let mut model = Model::default();
        let (store, bouncer, _) = home.open();
        for changes in requests {
            make_both(&store, &mut model, changes);
            check(&home, &bouncer, &model);
        }
        store.close();
        let (store, bouncer, loaded) = home.open();
        prop_assert_eq!(loaded.bans + loaded.exemptions, model.bans.len());
        let mut offences = model.offences.values().collect();
        sort(&mut offences);
        let latest_first = offences.into_iter().rev().cloned().map(without_evidence);
        prop_assert_eq!(loaded.offences, latest_first.collect::<Vec<_>>());
        check(&home, &bouncer, &model);
        make_both(&store, &mut model, later);
        check(&home, &bouncer, &model);
    }
}

fn make_both(store: &Store, model: &mut Model, changes: Vec<Change>) {
    let mut copy = model.clone();
    let expected = make(&mut copy, &changes);
    match (store.change_blocking(changes), expected) {
        (Ok(done), Some(expected)) => {
            assert_eq!(done, expected);
            *model = copy;
        }
        (Err(ChangeError::Exists(_) | ChangeError::Ended(_)), None) => {}
        (found, expected) => panic!("found {found:?}, expected {expected:?}"),
    }
}
