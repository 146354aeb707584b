//! What needs the writer in the test's hand: which requests share a transaction, and a disk that is full.

use super::*;
use crate::admission::{As, Ban, Class, List, Terms, Timestamp, Until, Who};
use crate::clock::Clock;
use rusqlite::ErrorCode;
use tempfile::TempDir;

type Answer = oneshot::Receiver<Result<Changed, ChangeError>>;

/// A writer that has not begun to serve.
struct Desk {
    folder: TempDir,
    bouncer: Bouncer,
    writer: Writer,
    orders: mpsc::Sender<Order>,
    waiting: mpsc::Receiver<Order>,
}

impl Desk {
    fn new() -> Desk {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("bans.db");
        let lock = Lock::take(&path).expect("the lock");
        let (conn, _) = schema::open_to_write(&path, schema::STEPS).expect("a file");
        let bouncer = Bouncer::new(Clock::manual(Timestamp::from_millis(0)));
        let (_, crowd) = load::load(&conn, &path, &bouncer).expect("loaded");
        let (orders, waiting) = mpsc::channel(64);
        let bouncer_too = Some(bouncer.clone());
        let (progress, on_lift, lock) = (Arc::default(), OnLift::default(), Some(lock));
        let writer = Writer {
            path,
            conn,
            bouncer: bouncer_too,
            crowd,
            progress,
            tally: Arc::default(),
            watch: Arc::default(),
            on_lift,
            lock,
        };
        Desk { folder, bouncer, writer, orders, waiting }
    }

    fn ask(&self, changes: Vec<Change>) -> Answer {
        let (reply, answer) = oneshot::channel();
        self.orders.try_send(Order::Change(Request { changes, reply })).expect("room");
        answer
    }

    /// Serves all who have asked, in one transaction, and ends.
    fn serve(self) -> (TempDir, Bouncer) {
        drop(self.orders);
        self.writer.run(self.waiting);
        (self.folder, self.bouncer)
    }
}

fn ban(kind: As, who: &str) -> Ban {
    let terms =
        Terms { by: "".into(), reason: "".into(), at: Timestamp::from_millis(0), until: Until::Infinity };
    Ban { who: Who::new(kind, who, None).expect("a name"), terms }
}

fn add(kind: As, who: &str) -> Change {
    Change::Add(List::Bans, ban(kind, who), Timestamp::from_millis(0))
}

fn names(folder: &TempDir) -> Vec<String> {
    let reader = Reader::open(folder.path().join("bans.db")).expect("a reader");
    let mut names = Vec::new();
    let collect = |ban: Ban| {
        names.push(ban.who.to_string());
        std::ops::ControlFlow::Continue(())
    };
    reader.for_each(List::Bans, &Filter::default(), collect).expect("readable");
    names
}

#[test]
fn a_request_that_cannot_be_does_not_spoil_the_others_of_its_group() {
    let desk = Desk::new();
    let client = |name: &str| add(As::ClientId, name);
    let mut answers = [
        desk.ask(vec![client("a"), client("b")]),
        desk.ask(vec![client("c"), client("b"), client("d")]),
        desk.ask(vec![client("a")]),
        desk.ask(vec![client("c")]),
    ];
    let (folder, bouncer) = desk.serve();
    let answers: Vec<_> = answers.iter_mut().map(|answer| answer.try_recv().expect("answered")).collect();
    let added = |added| Changed { added, ..Changed::default() };
    assert!(matches!(answers[0], Ok(changed) if changed == added(2)));
    assert!(matches!(&answers[1], Err(ChangeError::Exists(ban)) if ban.who.to_string() == "b"));
    assert!(matches!(&answers[2], Err(ChangeError::Exists(_))));
    assert!(matches!(answers[3], Ok(changed) if changed == added(1)));
    assert_eq!(names(&folder), ["a", "b", "c"]);
    assert_eq!(bouncer.count(List::Bans, As::ClientId), 3);
}

#[test]
fn requests_of_one_group_share_the_room_for_expensive_patterns() {
    let desk = Desk::new();
    let max = Class::Lookaround.max().expect("a limit");
    let pattern = |number: usize| add(As::ClientIdRe, &format!("(?=a)b{number}"));
    let mut answers = [
        desk.ask((1..max).map(pattern).collect()),
        // Refused as a whole, so it takes no room.
        desk.ask(vec![pattern(max), pattern(max), pattern(0)]),
        desk.ask(vec![pattern(max)]),
        desk.ask(vec![pattern(max + 1)]),
    ];
    let (folder, bouncer) = desk.serve();
    let answers: Vec<_> =
        answers.iter_mut().map(|answer| answer.try_recv().expect("answered").is_ok()).collect();
    assert_eq!(answers, [true, false, true, false]);
    assert_eq!(names(&folder).len(), max);
    assert_eq!(bouncer.count(List::Bans, As::ClientIdRe), max);
}

#[test]
fn when_the_disk_is_full_nobody_of_the_group_is_acknowledged() {
    let desk = Desk::new();
    desk.writer.conn.pragma_update(None, "max_page_count", 20).expect("set");
    let pattern = || add(As::ClientIdRe, "(?=a)b");
    let mut answers = [
        desk.ask(vec![add(As::ClientId, "small"), pattern()]),
        desk.ask(vec![add(As::ClientId, &"x".repeat(60_000)), add(As::Username, &"x".repeat(60_000))]),
    ];
    let (folder, bouncer) = desk.serve();
    for answer in &mut answers {
        let error = answer.try_recv().expect("answered").expect_err("full");
        let ChangeError::Disk { source, path } = &error else { panic!("{error}") };
        assert_eq!(source.sqlite_error_code(), Some(ErrorCode::DiskFull));
        assert_eq!(error.to_string(), format!("cannot write {}", path.display()));
    }
    assert!(names(&folder).is_empty());
    assert_eq!(As::ALL.map(|kind| bouncer.count(List::Bans, kind)), [0; As::ALL.len()]);
}

#[test]
fn when_there_is_room_again_changes_go_on() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("bans.db");
    let lock = Lock::take(&path).expect("the lock");
    let (conn, _) = schema::open_to_write(&path, schema::STEPS).expect("a file");
    conn.pragma_update(None, "max_page_count", 60).expect("set");
    let (store, _) = Store::start(&path, Some(lock), conn, None).expect("a store");
    let large = |name: &str| add(As::ClientId, &name.repeat(30_000));
    store.change_blocking(vec![large("a")]).expect("room for one");
    for _ in 0..3 {
        let error = store.change_blocking(vec![large("b"), large("c")]).expect_err("full");
        assert!(matches!(error, ChangeError::Disk { .. }), "{error}");
    }
    store
        .change_blocking(vec![Change::Remove(List::Bans, ban(As::ClientId, &"a".repeat(30_000)).who)])
        .expect("removed");
    store.change_blocking(vec![large("b")]).expect("room again");
    store.close();
    assert_eq!(names(&folder), ["b".repeat(30_000)]);
}
