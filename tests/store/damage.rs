//! Files that are not what they should be. None of them is ever taken for an empty list.

use super::*;
use mqtt_bouncer::store::{Change, ChangeError, OpenError};
use rusqlite::Connection;
use std::fs;
use std::path::Path;

const ROWS: usize = 300;

fn filled() -> Home {
    let home = Home::new();
    let (store, _, _) = home.open();
    let bans = (0..ROWS).map(|n| until(&format!("client-{n:04}"), 1_000 + i64::try_from(n).expect("small")));
    let offences = (0..ROWS).map(|n| offence(client(&format!("client-{n:04}")), 1, 1_000));
    let changes = bans.map(|ban| Change::Put(List::Bans, ban)).chain(offences.map(Change::Offend));
    store.change_blocking(changes.collect()).expect("written");
    store.close();
    home
}

fn sql(home: &Home, text: &str) {
    Connection::open(home.path()).expect("a database").execute_batch(text).expect("changed");
}

/// Opens in every way; each has to fail.
fn refused(path: &Path) -> OpenError {
    let error = Store::open(path, Some(Bouncer::default())).expect_err("a writer with lists");
    Store::open(path, None).expect_err("a writer without lists");
    Reader::open(path).expect_err("a reader");
    assert!(error.to_string().contains(&path.display().to_string()), "{error} names the file");
    error
}

fn beside(home: &Home, suffix: &str) -> PathBuf {
    let mut name = home.path().into_os_string();
    name.push(suffix);
    name.into()
}

#[test]
fn something_else_is_named_and_left_alone() {
    let home = filled();
    fs::write(home.path(), "clientid,c\nusername,u\n".repeat(500)).expect("written");
    let error = refused(&home.path()).to_string();
    assert!(
        error.contains("is not a file of bans: it is not a SQLite database; restore a backup, or move it"),
        "{error}"
    );
    assert!(fs::read_to_string(home.path()).expect("there").starts_with("clientid,c"));
}

#[test]
fn another_programs_database_is_named() {
    let home = filled();
    sql(&home, "PRAGMA application_id = 4711");
    let error = refused(&home.path());
    assert!(matches!(error, OpenError::NotOurs { .. }), "{error}");
    assert!(error.to_string().contains("another program's database (application_id 4711)"), "{error}");
}

#[test]
fn a_newer_file_is_refused() {
    let home = filled();
    sql(&home, "PRAGMA user_version = 99");
    let error = refused(&home.path());
    assert!(matches!(error, OpenError::Newer { found: 99, known: 4, .. }), "{error}");
}

#[test]
fn a_file_of_another_shape_is_refused() {
    let home = filled();
    sql(&home, "ALTER TABLE bans RENAME COLUMN reason TO why");
    let error = Store::open(home.path(), Some(Bouncer::default())).expect_err("no such column");
    assert!(matches!(error, OpenError::Disk { .. }), "{error}");
    let error = Store::open(home.path(), None).expect_err("no such column");
    assert!(matches!(error, OpenError::Disk { .. }), "{error}");
}

#[test]
fn a_file_that_was_cut_off_is_damaged() {
    let home = filled();
    let whole = fs::read(home.path()).expect("readable");
    for length in [0, 1, 99, 100, 4_096, whole.len() / 2, whole.len() - 4_096, whole.len() - 1] {
        fs::write(home.path(), &whole[..length]).expect("written");
        let error = refused(&home.path());
        assert!(matches!(error, OpenError::Damaged { .. } | OpenError::NotOurs { .. }), "{length}: {error}");
        assert!(error.to_string().contains("restore a backup"), "{error}");
    }
}

#[test]
fn an_empty_file_is_no_empty_list() {
    let home = filled();
    fs::write(home.path(), "").expect("written");
    let error = refused(&home.path());
    assert!(error.to_string().contains("is damaged: it is empty; restore a backup"), "{error}");
}

#[test]
fn a_log_without_its_file_is_no_empty_list() {
    let home = filled();
    fs::remove_file(home.path()).expect("removed");
    fs::write(beside(&home, "-wal"), "the last changes").expect("written");
    let error = refused(&home.path());
    assert!(error.to_string().contains("it is missing, and its -wal file is there"), "{error}");
}

#[test]
fn a_page_that_is_overwritten_is_found_at_the_start() {
    let home = filled();
    let whole = fs::read(home.path()).expect("readable");
    for page in 0..whole.len() / 4_096 {
        let mut damaged = whole.clone();
        damaged[page * 4_096..][..4_096].fill(0xa5);
        fs::write(home.path(), &damaged).expect("written");
        let error = Store::open(home.path(), Some(Bouncer::default())).expect_err("a damaged page");
        assert!(matches!(error, OpenError::Damaged { .. } | OpenError::NotOurs { .. }), "{page}: {error}");
    }
}

#[test]
fn a_flipped_bit_is_an_error_or_one_text_that_reads_otherwise() {
    let home = filled();
    let whole = fs::read(home.path()).expect("readable");
    let mut rng = fastrand::Rng::with_seed(11);
    for _ in 0..150 {
        let (at, bit) = (rng.usize(..whole.len()), 1 << rng.u8(..8));
        let mut damaged = whole.clone();
        damaged[at] ^= bit;
        fs::write(home.path(), &damaged).expect("written");
        if let Ok((store, loaded)) = Store::open(home.path(), Some(Bouncer::default())) {
            assert_eq!(loaded.bans + loaded.exemptions, ROWS, "byte {at}, bit {bit:#x}");
            store.close();
        }
    }
}

#[test]
fn rows_that_are_no_bans_are_counted_and_named() {
    for (columns, expected) in [
        ("'bans', 'ip', 'x', NULL", r#"list "bans", as "ip", who "x": as is"#),
        ("'bananas', 'clientid', 'x', NULL", r#"list "bananas", as "clientid", who "x": list is not a list"#),
        ("'bans', 'peerhost', '10.0.0.300', NULL", "who is not an IP address"),
        ("'bans', 'peerhost_net', '10.0.0.1/8', NULL", r#"expected "10.0.0.0/8""#),
        ("'bans', 'clientid', 'x', 'full'", r#"has a "match", which only patterns have"#),
        ("'bans', 'clientid_re', 'x', NULL", "matching is null"),
        ("'bans', 'clientid_re', 'x', 'some'", r#"matching is "some"; expected search or full"#),
        ("'bans', 'clientid_re', 'x(', 'full'", "is not a usable pattern"),
        ("'bans', 'clientid', '', NULL", "is empty"),
        ("'bans', 'username', CAST(x'ff' AS TEXT), NULL", "who is no text"),
    ] {
        let home = filled();
        sql(
            &home,
            &format!(
                "INSERT INTO bans (list, \"as\", who, matching, \"by\", reason, at, until) VALUES ({columns}, 'me', 'by hand', 0, NULL)"
            ),
        );
        sql(
            &home,
            "INSERT INTO bans (list, \"as\", who, matching, \"by\", reason, at, until) VALUES ('exemptions', 'zzz', 'x', NULL, 'me', 'by hand', 0, NULL)",
        );
        let error = Store::open(home.path(), Some(Bouncer::default())).expect_err("a gap");
        assert!(matches!(error, OpenError::Rows { count: 2, .. }), "{columns}: {error}");
        assert!(error.to_string().contains(expected), "{columns}: {error}");
        assert!(error.to_string().contains("bans.db has rows that are no bans: 2, the first: "), "{error}");
    }
}

#[test]
fn too_many_patterns_written_by_hand_are_not_dropped() {
    let home = filled();
    sql(
        &home,
        "WITH RECURSIVE n(n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM n WHERE n < 256)
         INSERT INTO bans (list, \"as\", who, matching, \"by\", reason, at, until) SELECT 'bans', 'clientid_re', '(?=a)b' || n, 'search', '', '', 0, NULL FROM n",
    );
    let error = Store::open(home.path(), Some(Bouncer::default())).expect_err("too many");
    assert!(matches!(error, OpenError::TooMany { .. }), "{error}");
    let (store, _) = Store::open(home.path(), None).expect("they can be removed beside a stopped proxy");
    store.change_blocking(vec![Change::Remove(List::Bans, who(As::ClientIdRe, "(?=a)b7"))]).expect("removed");
    store.close();
    Store::open(home.path(), Some(Bouncer::default())).expect("room");
}

#[test]
fn a_row_that_went_bad_is_named_when_it_is_asked_for() {
    let home = filled();
    let (store, _, _) = home.open();
    sql(
        &home,
        "INSERT INTO bans (list, \"as\", who, matching, \"by\", reason, at, until) VALUES ('bans', 'clientid_re', 'a', 'some', '', '', 0, NULL)",
    );
    let pattern = who(As::ClientIdRe, "a");
    let ban = Ban { who: pattern.clone(), ..forever("a") };
    let error = store.change_blocking(vec![Change::Add(List::Bans, ban, NOW)]).expect_err("bad");
    assert!(matches!(error, ChangeError::Row(_)), "{error}");
    home.reader().get(List::Bans, &pattern).expect_err("bad");
    let removed = store.change_blocking(vec![Change::Remove(List::Bans, pattern)]).expect("removed");
    assert_eq!(removed.removed, 1);
}

#[test]
fn a_folder_that_cannot_be_made_is_named() {
    let home = filled();
    let error = Store::open(home.path().join("bans.db"), None).expect_err("below a file");
    assert!(matches!(error, OpenError::Files { action: "create the folder", .. }), "{error}");
    let error = Store::open("/proc/nowhere/bans.db", None).expect_err("not for writing");
    assert_eq!(error.to_string(), "cannot create the folder /proc/nowhere");
}

#[test]
fn a_folder_in_the_files_place_is_named() {
    let home = Home::new();
    fs::create_dir_all(home.path()).expect("a folder");
    let error = refused(&home.path());
    assert!(error.to_string().contains("it is not a file"), "{error}");
}

#[test]
fn a_folder_without_permission_is_named() {
    let home = filled();
    let folder = home.path().parent().expect("a folder").to_owned();
    let only_read = std::os::unix::fs::PermissionsExt::from_mode(0o500);
    fs::set_permissions(&folder, only_read).expect("changed");
    let is_root = fs::write(folder.join("probe"), "").is_ok();
    let result = Store::open(folder.join("other.db"), None);
    fs::set_permissions(&folder, std::os::unix::fs::PermissionsExt::from_mode(0o700)).expect("changed");
    if !is_root {
        let error = result.expect_err("only for reading");
        assert!(error.to_string().starts_with("cannot open "), "{error}");
    }
}
