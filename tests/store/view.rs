//! Random selections of random lists, some of them from a config file, against a loop over all of them.

use super::*;
use mqtt_bouncer::bouncer::FileBan;
use mqtt_bouncer::store::{Change, Ends, Entry, Key, Selection, Sort, Source};
use proptest::prelude::*;
use std::cmp::Ordering;
use std::collections::BTreeMap;

fn any_name() -> impl Strategy<Value = Who> {
    let text = prop::sample::select(vec!["a", "B", "ab", "ba", "A", "é"]);
    prop_oneof![
        text.clone().prop_map(client),
        text.clone().prop_map(|text| who(As::Username, text)),
        (text, any::<bool>()).prop_map(|(text, is_full)| {
            let matching = if is_full { Match::Full } else { Match::Search };
            Who::new(As::ClientIdRe, text, Some(matching)).expect("a pattern")
        }),
        (0..4_u8).prop_map(|last| who(As::PeerHost, &format!("10.0.0.{last}"))),
    ]
}

fn any_moment() -> impl Strategy<Value = Timestamp> {
    (0_i64..6).prop_map(Timestamp::from_millis)
}

fn any_ban() -> impl Strategy<Value = Ban> {
    let text = || prop::sample::select(vec!["", "x", "Xy"]);
    (any_name(), text(), text(), any_moment(), prop::option::of(any_moment())).prop_map(
        |(who, by, reason, at, end)| {
            let until = end.map_or(Until::Infinity, Until::Moment);
            Ban { who, terms: Terms { by: by.into(), reason: reason.into(), at, until } }
        },
    )
}

fn any_selection() -> impl Strategy<Value = Selection> {
    let kinds =
        prop::sample::subsequence(vec![As::ClientId, As::Username, As::ClientIdRe, As::PeerHost], 0..=4);
    let text = || {
        prop::option::weighted(
            0.2,
            prop::sample::select(vec!["a".to_owned(), "X".to_owned(), "é".to_owned()]),
        )
    };
    let author = prop::option::weighted(0.3, prop::sample::select(vec![String::new(), "x".to_owned()]));
    let end = prop_oneof![4 => any_moment().prop_map(Until::Moment), 1 => Just(Until::Infinity)];
    let ends = (prop::option::weighted(0.2, end), prop::option::weighted(0.2, any_moment()));
    let made = (prop::option::weighted(0.2, any_moment()), prop::option::weighted(0.2, any_moment()));
    let source = prop::option::weighted(0.2, prop::sample::select(vec![Source::File, Source::RunTime]));
    let sort = prop::option::weighted(0.8, prop::sample::select(Sort::ALL.to_vec()));
    (kinds, text(), text(), author, ends, made, source, sort, any::<bool>()).prop_map(
        |(kinds, text, reason, by, ends, made, source, sort, is_descending)| Selection {
            kinds,
            text,
            reason,
            by,
            ends: Ends { from: ends.0, to: ends.1 },
            made_from: made.0,
            made_to: made.1,
            source,
            sort,
            is_descending,
            ..Selection::default()
        },
    )
}

/// A ban, its source, and how often it was hit.
type Row = (Ban, Source, u64);

/// What is in force, each name once.
fn merged(stored: &[(Ban, u64)], file: &[FileBan]) -> Vec<Row> {
    let mut rows: Vec<Row> = Vec::new();
    for (ban, hits) in stored {
        let there = file.iter().find(|there| there.ban.who == ban.who);
        if there.is_none_or(|there| !file_wins(&there.ban, ban)) {
            rows.push((ban.clone(), Source::RunTime, *hits));
        }
    }
    for there in file {
        let run_time = stored.iter().find(|(ban, _)| ban.who == there.ban.who);
        if run_time.is_none_or(|(ban, _)| file_wins(&there.ban, ban)) {
            rows.push((there.ban.clone(), Source::File, there.hits));
        }
    }
    rows
}

fn file_wins(file: &Ban, run_time: &Ban) -> bool {
    match (file.who.matching(), run_time.who.matching()) {
        (Some(Match::Search), Some(Match::Full)) => true,
        (Some(Match::Full), Some(Match::Search)) => false,
        _ => run_time.terms.until <= file.terms.until,
    }
}

fn is_wanted((ban, source, _): &Row, selection: &Selection) -> bool {
    let Terms { by, reason, at, until } = &ban.terms;
    let holds = |text: &str, needle: &Option<String>| {
        needle.as_ref().is_none_or(|needle| text.to_ascii_lowercase().contains(&needle.to_ascii_lowercase()))
    };
    (selection.kinds.is_empty() || selection.kinds.contains(&ban.who.kind()))
        && holds(&ban.who.to_string(), &selection.text)
        && holds(reason, &selection.reason)
        && selection.by.as_deref().is_none_or(|wanted| wanted == &**by)
        && selection.made_from.is_none_or(|from| *at >= from)
        && selection.made_to.is_none_or(|to| *at <= to)
        && selection.ends.from.is_none_or(|from| *until >= from)
        && selection.ends.to.is_none_or(|to| *until <= Until::Moment(to))
        && selection.source.is_none_or(|wanted| wanted == *source)
}

fn order(a: &Row, b: &Row, selection: &Selection) -> Ordering {
    let name = |row: &Row| (row.0.who.kind().as_str(), row.0.who.to_string());
    let by_name = name(a).cmp(&name(b));
    let (one, other) = (&a.0.terms, &b.0.terms);
    let ordering = match selection.order() {
        Sort::Who => a.0.who.to_string().cmp(&b.0.who.to_string()).then(by_name),
        Sort::As => by_name,
        Sort::By => one.by.cmp(&other.by).then(by_name),
        Sort::Reason => one.reason.cmp(&other.reason).then(by_name),
        Sort::At => one.at.cmp(&other.at).then(by_name),
        Sort::Until => one.until.cmp(&other.until).then(by_name),
        Sort::Status => one.until.cmp(&other.until).then(by_name).reverse(),
        Sort::Hits | Sort::LastHit => a.2.cmp(&b.2).then(by_name),
    };
    if selection.is_descending { ordering.reverse() } else { ordering }
}

fn key(entry: &Entry) -> (As, String, Source, u64) {
    (entry.kind, entry.who.clone(), entry.source, entry.hits)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn a_selection_shows_what_a_loop_finds(
        stored in prop::collection::vec((any_ban(), 0_u64..3), 0..20),
        file in prop::collection::vec((any_ban(), 0_u64..3), 0..8),
        selections in prop::collection::vec((any_selection(), 1_usize..5), 1..24),
    ) {
        // One of a name.
        let unique = |bans: Vec<(Ban, u64)>| -> Vec<(Ban, u64)> {
            let by_name = bans.into_iter().map(|(ban, hits)| ((ban.who.kind(), ban.who.to_string()), (ban, hits)));
            by_name.collect::<BTreeMap<_, _>>().into_values().collect()
        };
        let (stored, file) = (unique(stored), unique(file));
        let last = |hits: u64| Timestamp::from_millis(i64::try_from(hits).expect("small"));
        let file: Vec<FileBan> = file
            .into_iter()
            .map(|(ban, hits)| FileBan { list: List::Bans, ban, hits, last_hit: (hits > 0).then(|| last(hits)) })
            .collect();
        let home = Home::new();
        let (store, ..) = home.open();
        let mut changes: Vec<Change> = stored.iter().map(|(ban, _)| Change::Put(List::Bans, ban.clone())).collect();
        changes.extend(stored.iter().filter(|(_, hits)| *hits > 0).map(|(ban, count)| {
            Change::Hit(mqtt_bouncer::bouncer::Hit { who: ban.who.clone(), count: *count, last: last(*count) })
        }));
        // Whatever is on the other list is not shown.
        changes.push(Change::Put(List::Exemptions, forever("other")));
        store.change_blocking(changes).expect("made");

        let reader = home.reader();
        let view = reader.view(&file).expect("a view");
        for (selection, limit) in selections {
            let mut expected: Vec<Row> =
                merged(&stored, &file).into_iter().filter(|row| is_wanted(row, &selection)).collect();
            expected.sort_by(|a, b| order(a, b, &selection));
            let expected: Vec<_> = expected
                .into_iter()
                .map(|(ban, source, hits)| (ban.who.kind(), ban.who.to_string(), source, hits))
                .collect();
            let whole = view.page(List::Bans, &selection).expect("readable");
            prop_assert!(!whole.has_next);
            prop_assert_eq!(whole.entries.iter().map(key).collect::<Vec<_>>(), expected.clone(), "{:?}", selection);

            let (mut by_page, mut by_cursor) = (Vec::new(), Vec::new());
            let mut paged = Selection { limit: Some(limit), ..selection.clone() };
            loop {
                let page = view.page(List::Bans, &paged).expect("readable");
                by_page.extend(page.entries.iter().map(key));
                paged.skip += limit;
                if !page.has_next {
                    break;
                }
            }
            paged.skip = 0;
            loop {
                let page = view.page(List::Bans, &paged).expect("readable");
                by_cursor.extend(page.entries.iter().map(key));
                paged.after = page.entries.last().map(|end| end.place(&paged));
                if !page.has_next {
                    break;
                }
            }
            prop_assert_eq!(&by_page, &expected, "{:?}", selection);
            prop_assert_eq!(&by_cursor, &expected, "{:?}", selection);
        }
    }
}

#[test]
fn a_place_that_is_gone_is_still_a_place() {
    let home = Home::new();
    let (store, ..) = home.open();
    store
        .change_blocking(["a", "b", "c"].map(|name| Change::Put(List::Bans, forever(name))).into())
        .expect("made");
    let after = mqtt_bouncer::store::Place { key: Key::None, kind: As::ClientId, who: "b".to_owned() };
    store.change_blocking(vec![Change::Remove(List::Bans, client("b"))]).expect("made");
    let selection = Selection { after: Some(after), ..Selection::default() };
    let page = home.reader().view(&[]).expect("a view").page(List::Bans, &selection).expect("readable");
    assert_eq!(page.entries.iter().map(|entry| entry.who.as_str()).collect::<Vec<_>>(), ["c"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_question_that_nobody_waits_for_is_broken_off_and_harms_no_other() {
    let home = Home::new();
    let (store, ..) = home.open();
    let bans = (0..2_000).map(|number| Change::Put(List::Bans, forever(&format!("c{number}")))).collect();
    store.change(bans).await.expect("made");
    for _ in 0..20 {
        let asked = store.clone();
        let question = tokio::spawn(async move {
            asked
                .look(|view| {
                    // Never to its end by itself.
                    loop {
                        view.page(List::Bans, &Selection::default())?;
                    }
                    #[expect(unreachable_code, reason = "it says what the question answers")]
                    Ok(())
                })
                .await
        });
        tokio::task::yield_now().await;
        question.abort();
        let found = store.look(|view| view.get(List::Bans, As::ClientId, "c7")).await;
        assert!(found.expect("not broken off").is_some());
    }
}

#[tokio::test]
async fn a_store_without_a_file_is_looked_at_too() {
    let bouncer = Bouncer::new(Clock::manual(NOW));
    bouncer.put_from_file(List::Bans, forever("file")).expect("room");
    let store = Store::in_memory(bouncer.clone()).expect("memory");
    store.change(vec![Change::Put(List::Bans, forever("a"))]).await.expect("made");
    let names = async || {
        let page = store.look(|view| view.page(List::Bans, &Selection::default())).await.expect("readable");
        page.entries.into_iter().map(|entry| entry.who).collect::<Vec<_>>()
    };
    assert_eq!(names().await, ["a", "file"]);
    bouncer.remove_from_file(List::Bans, &client("file"));
    assert_eq!(names().await, ["a"]);
}
