//! What scans find is what SQLite finds, whatever is asked and whatever has changed since the table was read.

use super::*;
use crate::admission::{As, Ban, Pattern, Terms, Timestamp, Until, Who};
use crate::bouncer::Hit;
use crate::clock::Clock;
use crate::store::{Change, Ends, Key, Place, Selection, Sort};
use proptest::prelude::*;

const KINDS: [As; 5] = [As::ClientId, As::Username, As::ClientIdRe, As::PeerHost, As::PeerHostNet];

fn any_name() -> impl Strategy<Value = Who> {
    let text = prop::sample::select(vec!["a", "B", "ab", "ba", "A", "é", "Éa", "a\n", "b%_", "long"]);
    prop_oneof![
        3 => text.clone().prop_map(|text| Who::new(As::ClientId, text, None).expect("a name")),
        2 => text.clone().prop_map(|text| Who::new(As::Username, text, None).expect("a name")),
        2 => (text, any::<bool>()).prop_map(|(text, is_full)| {
            let matching = if is_full { Match::Full } else { Match::Search };
            Who::new(As::ClientIdRe, text, Some(matching)).expect("a pattern")
        }),
        1 => (0..4_u8).prop_map(|last| Who::new(As::PeerHost, &format!("10.0.0.{last}"), None).expect("an address")),
        1 => (0..3_u8).prop_map(|net| Who::new(As::PeerHostNet, &format!("10.{net}.0.0/16"), None).expect("a network")),
        1 => (1_020..1_030_usize).prop_map(|length| Who::new(As::ClientId, &"ab".repeat(length / 2), None).expect("a name")),
    ]
}

fn any_moment() -> impl Strategy<Value = Timestamp> {
    (0_i64..6).prop_map(Timestamp::from_millis)
}

fn any_ban() -> impl Strategy<Value = Ban> {
    let text = || prop::sample::select(vec!["", "x", "Xy", "y"]);
    (any_name(), text(), text(), any_moment(), prop::option::of(any_moment())).prop_map(
        |(who, by, reason, at, end)| {
            let until = end.map_or(Until::Infinity, Until::Moment);
            Ban { who, terms: Terms { by: by.into(), reason: reason.into(), at, until } }
        },
    )
}

fn any_change() -> impl Strategy<Value = Change> {
    prop_oneof![
        6 => any_ban().prop_map(|ban| Change::Put(List::Bans, ban)),
        3 => any_name().prop_map(|who| Change::Remove(List::Bans, who)),
        3 => (any_name(), 1_u64..3, any_moment()).prop_map(|(who, count, last)| Change::Hit(Hit { who, count, last })),
        1 => any_moment().prop_map(|by| Change::RemoveEnded { list: List::Bans, by, limit: 2 }),
    ]
}

fn any_pattern() -> impl Strategy<Value = Pattern> {
    let sources = vec![
        "a", "^a", "a$", "^$", "b|é", "(?i)AB", "[ab]{2}", ".", "long|B", "(?<!b)a", "10\\.0", "x", "(ab)+$",
    ];
    prop::sample::select(sources).prop_map(|source| Pattern::parse(source, Match::Search).expect("a pattern"))
}

fn any_selection() -> impl Strategy<Value = Selection> {
    let texts = vec!["a", "X", "é", "B", "ab", "nobody", "a\0b", "%", "\n"];
    let text =
        move || prop::option::weighted(0.2, prop::sample::select(texts.clone()).prop_map(str::to_owned));
    let author = prop::option::weighted(
        0.2,
        prop::sample::select(vec![String::new(), "x".to_owned(), "z".to_owned()]),
    );
    let end = prop_oneof![4 => any_moment().prop_map(Until::Moment), 1 => Just(Until::Infinity)];
    let ends = (prop::option::weighted(0.2, end), prop::option::weighted(0.2, any_moment()));
    let made = (prop::option::weighted(0.2, any_moment()), prop::option::weighted(0.2, any_moment()));
    let source = prop::option::weighted(0.2, prop::sample::select(vec![Source::File, Source::RunTime]));
    let sort = (prop::option::weighted(0.9, prop::sample::select(Sort::ALL.to_vec())), any::<bool>());
    let kinds = prop_oneof![2 => Just(Vec::new()), 1 => prop::sample::subsequence(KINDS.to_vec(), 0..=5)];
    let like = prop::option::weighted(0.2, any_pattern());
    (kinds, (text(), text(), like), author, ends, made, source, sort, (0_usize..4, 1_usize..6)).prop_map(
        |(
            kinds,
            (text, reason, like),
            by,
            (from, to),
            (made_from, made_to),
            source,
            (sort, is_descending),
            (skip, limit),
        )| {
            let (ends, limit) = (Ends { from, to }, Some(limit));
            let rest = Selection::default();
            Selection {
                kinds,
                like,
                text,
                by,
                reason,
                ends,
                made_from,
                made_to,
                source,
                sort,
                is_descending,
                skip,
                limit,
                ..rest
            }
        },
    )
}

/// A place that need not be that of any ban.
fn any_place(selection: &Selection) -> impl Strategy<Value = Place> + use<> {
    let sort = selection.order();
    let place = move |(ban, hits, has_key): (Ban, i64, bool)| {
        let Terms { by, reason, at, until } = &ban.terms;
        let number = |number: i64| if has_key { Key::Number(number) } else { Key::None };
        let key = match (sort, until) {
            (Sort::As | Sort::Who, _) | (Sort::Until | Sort::Status, Until::Infinity) => Key::None,
            (Sort::By, _) => Key::Text((**by).to_owned()),
            (Sort::Reason, _) => Key::Text((**reason).to_owned()),
            (Sort::At, _) => Key::Number(at.as_millis()),
            (Sort::Until | Sort::Status, Until::Moment(end)) => Key::Number(end.as_millis()),
            (Sort::Hits, _) => number(hits),
            (Sort::LastHit, _) => number(hits - 1),
        };
        Place { key, kind: ban.who.kind(), who: row_key(&ban.who) }
    };
    (any_ban(), 1_i64..4, any::<bool>()).prop_map(place)
}

fn row_key(who: &Who) -> String {
    super::super::row::key(who).into_owned()
}

fn any_question() -> impl Strategy<Value = Selection> {
    any_selection().prop_flat_map(|selection| {
        let place = prop::option::weighted(0.3, any_place(&selection));
        place.prop_map(move |after| Selection { after, ..selection.clone() })
    })
}

/// Has the table of bans read, as the first question of its kind does.
async fn read_table(store: &Store) {
    let scans = &store.0.scans;
    if scans.watch.ask(List::Bans, Instant::now()) {
        let reading = Arc::clone(&store.0).read_table(List::Bans);
        tokio::spawn(reading);
    }
    while store.0.scans.watch.table(List::Bans).is_none() || store.0.scans.watch.is_reading(List::Bans) {
        tokio::task::yield_now().await;
    }
}

/// What scans answer, and what SQLite does.
async fn both(store: &Store, bouncer: &Bouncer, selection: &Selection) -> (Page, Page) {
    let (scans, asked, bouncer) = (Arc::clone(&store.0.scans), selection.clone(), bouncer.clone());
    let scanned = store.look(move |view| {
        let page = scans.page(view.conn(), List::Bans, &asked, &bouncer);
        page.map_err(|error| ReadError::of_disk(view.path(), error))
    });
    let scanned = scanned.await.expect("readable").expect("there is a table");
    let asked = selection.clone();
    (scanned, store.look(move |view| view.page(List::Bans, &asked)).await.expect("readable"))
}

/// In a file, or in memory.
fn open(folder: Option<&Path>, bouncer: &Bouncer) -> Store {
    match folder {
        Some(folder) => Store::open(folder.join("bans.db"), Some(bouncer.clone())).expect("a store").0,
        None => Store::in_memory(bouncer.clone()).expect("memory"),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn scans_find_what_sqlite_finds(
        has_file in any::<bool>(),
        before in prop::collection::vec(any_change(), 0..40),
        after in prop::collection::vec(any_change(), 0..15),
        file in prop::collection::vec(any_ban(), 0..8),
        more in prop::collection::vec(any_change(), 0..6),
        questions in prop::collection::vec(any_question(), 1..40),
    ) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_time().build().expect("a runtime");
        let outcome: Result<(), TestCaseError> = runtime.block_on(async {
            let bouncer = Bouncer::new(Clock::manual(Timestamp::from_millis(3)));
            let folder = tempfile::tempdir().expect("a folder");
            let store = open(has_file.then(|| folder.path()), &bouncer);
            for ban in file {
                bouncer.put_from_file(List::Bans, ban).expect("room");
            }
            store.change(before).await.expect("made");
            read_table(&store).await;
            store.change(after).await.expect("made");
            for (number, question) in questions.iter().enumerate() {
                if number == questions.len() / 2 {
                    store.change(more.clone()).await.expect("made");
                    // Into the table that was read before.
                    store.0.scans.watch.read_anew(List::Bans);
                    read_table(&store).await;
                }
                let (scanned, plain) = both(&store, &bouncer, question).await;
                prop_assert_eq!(scanned, plain, "{:?}", question);
            }
            Ok(())
        });
        outcome?;
    }
}

fn client(name: &str) -> Ban {
    let terms =
        Terms { by: "ops".into(), reason: "".into(), at: Timestamp::from_millis(1), until: Until::Infinity };
    Ban { who: Who::new(As::ClientId, name, None).expect("a name"), terms }
}

fn with_text(text: &str) -> Selection {
    Selection { text: Some(text.to_owned()), limit: Some(10), ..Selection::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_question_is_answered_too_and_those_after_a_clearance() {
    let bouncer = Bouncer::new(Clock::manual(Timestamp::from_millis(3)));
    let folder = tempfile::tempdir().expect("a folder");
    let store = open(Some(folder.path()), &bouncer);
    let names = async || {
        let page = store.page(List::Bans, &with_text("o")).await.expect("readable");
        page.entries.into_iter().map(|entry| entry.who).collect::<Vec<_>>()
    };
    store
        .change(vec![Change::Put(List::Bans, client("one")), Change::Put(List::Bans, client("six"))])
        .await
        .expect("made");
    assert_eq!(names().await, ["one"]);
    read_table(&store).await;
    store.change(vec![Change::Put(List::Bans, client("two"))]).await.expect("made");
    assert_eq!(names().await, ["one", "two"]);
    store
        .change(vec![Change::Clear(List::Bans), Change::Put(List::Bans, client("four"))])
        .await
        .expect("made");
    assert!(store.0.scans.watch.table(List::Bans).is_none(), "a table of what is gone");
    assert_eq!(names().await, ["four"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_is_given_up_when_too_much_has_changed_and_when_nobody_asks() {
    let bouncer = Bouncer::new(Clock::manual(Timestamp::from_millis(3)));
    let store = open(None, &bouncer);
    store.change(vec![Change::Put(List::Bans, client("one"))]).await.expect("made");
    read_table(&store).await;
    let watch = Arc::clone(&store.0.scans.watch);
    assert!(watch.tidy(Instant::now() - IDLE) && watch.table(List::Bans).is_some());
    assert!(!watch.tidy(Instant::now() + IDLE) && watch.table(List::Bans).is_none());
    read_table(&store).await;
    let many = (0..=watch::MAX_CHANGED).map(|number| Change::Put(List::Bans, client(&format!("c{number}"))));
    store.change(many.collect()).await.expect("made");
    assert!(watch.table(List::Bans).is_none(), "more has changed than is read one by one");
}
