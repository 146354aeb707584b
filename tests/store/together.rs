//! Many who ask at once, a second writer, and the end.

use super::*;
use mqtt_bouncer::store::{Change, ChangeError, Changed, OpenError};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_is_answered_is_on_disk_and_in_force() {
    let home = Home::new();
    let (store, bouncer, _) = home.open();
    let mut tasks = tokio::task::JoinSet::new();
    for task in 0..32 {
        let store = store.clone();
        tasks.spawn(async move {
            let mut acknowledged = Vec::new();
            for number in 0..20 {
                let ban = forever(&format!("{task}-{number}"));
                // Every fifth is refused: it exists already.
                let who = if number % 5 == 4 { forever(&format!("{task}-0")) } else { ban };
                match store.change(vec![Change::Add(List::Bans, who.clone(), NOW)]).await {
                    Ok(changed) => {
                        assert_eq!(changed, Changed { added: 1, ..Changed::default() });
                        acknowledged.push(who);
                    }
                    Err(error) => assert!(matches!(error, ChangeError::Exists(_)), "{error}"),
                }
            }
            acknowledged
        });
    }
    let acknowledged = tasks.join_all().await.concat();
    assert_eq!(acknowledged.len(), 32 * 16);
    let reader = home.reader();
    for ban in &acknowledged {
        assert_eq!(reader.get(List::Bans, &ban.who).expect("readable").as_ref(), Some(ban));
        assert_eq!(bouncer.admission().list(List::Bans).get(&ban.who).as_ref(), Some(ban));
    }
    assert_eq!(reader.count(List::Bans, &Filter::default()).expect("readable"), acknowledged.len());
}

#[test]
fn a_second_writer_is_told_who_the_first_is() {
    let home = Home::new();
    let (store, _, _) = home.open();
    let error = Store::open(home.path(), None).expect_err("in use");
    assert!(matches!(error, OpenError::InUse { pid: Some(pid), .. } if pid == std::process::id()), "{error}");
    let pid = std::process::id();
    let path = home.path();
    assert_eq!(
        error.to_string(),
        format!("{} is in use by process {pid}; expected one writer at a time", path.display())
    );
    store.close();
    Store::open(home.path(), None).expect("free").0.close();
}

#[test]
fn a_closed_store_takes_no_changes_and_leaves_one_file() {
    let home = Home::new();
    let (store, _, _) = home.open();
    let other = store.clone();
    store.change_blocking(vec![Change::Put(List::Bans, forever("c"))]).expect("written");
    store.close();
    let error = other.change_blocking(vec![Change::Put(List::Bans, forever("d"))]).expect_err("closed");
    assert!(matches!(error, ChangeError::Closed), "{error}");
    other.close();
    let folder = home.path().parent().expect("a folder").read_dir().expect("readable");
    let mut files: Vec<_> = folder.map(|entry| entry.expect("readable").file_name()).collect();
    files.sort();
    assert_eq!(files, ["bans.db", "bans.db.lock"]);
    assert_eq!(names(&home.stored(List::Bans)), ["c"]);
}

#[test]
fn the_writer_ends_with_its_last_handle() {
    let home = Home::new();
    let (store, _, _) = home.open();
    store.change_blocking(vec![Change::Put(List::Bans, forever("c"))]).expect("written");
    drop(store.clone());
    store.change_blocking(vec![Change::Put(List::Bans, forever("d"))]).expect("one handle is left");
    drop(store);
    // The lock is let go of last. Waiting for it is waiting for the writer.
    let mut lock = home.path().into_os_string();
    lock.push(".lock");
    std::fs::File::open(lock).expect("a lock").lock().expect("let go of");
    assert_eq!(names(&home.stored(List::Bans)), ["c", "d"]);
}

#[test]
fn whoever_stops_waiting_is_served_all_the_same() {
    let home = Home::new();
    let (store, bouncer, _) = home.open();
    let mut change = Box::pin(store.change(vec![Change::Put(List::Bans, forever("c"))]));
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    let _ = change.as_mut().poll(&mut context);
    drop(change);
    store.change_blocking(vec![]).expect("after it");
    assert_eq!(bouncer.count(List::Bans, As::ClientId), 1);
    assert_eq!(names(&home.stored(List::Bans)), ["c"]);
}

#[test]
fn a_huge_import_leaves_a_whole_file_taken_back_or_not() {
    let home = Home::new();
    let (store, bouncer, _) = home.open();
    let bans = |last: &str| -> Vec<Change> {
        let names = (0..50_000).map(|number| format!("c{number}")).chain([last.to_owned()]);
        names.map(|name| Change::Put(List::Bans, forever(&name))).collect()
    };
    let mut refused = bans("x");
    refused.push(Change::Add(List::Bans, forever("c7"), NOW));
    store.change_blocking(refused).expect_err("c7 is there");
    assert_eq!(bouncer.count(List::Bans, As::ClientId), 0);
    store.change_blocking(bans("x")).expect("made");
    store.change_blocking(bans("y")).expect("made again");
    store.close();
    // The start compares the indexes with the table.
    let (_store, bouncer, loaded) = home.open();
    assert_eq!((loaded.bans, bouncer.count(List::Bans, As::ClientId)), (50_002, 50_002));
}
