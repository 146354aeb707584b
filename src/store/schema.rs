//! The file: how it is made, recognised, brought up to date and opened.
//!
//! A new file is made under another name and renamed when it is whole. So a file that is there and empty, or not ours,
//! or cut off, is never one that we were making: it is refused, because taking it for an empty list would let
//! everybody in.

use super::accounts;
use super::error::OpenError;
use super::lock::beside;
use rusqlite::{Connection, ErrorCode, OpenFlags};
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;
use std::time::Duration;

/// What makes a database ours: "mqtb".
pub(super) const APPLICATION_ID: i64 = 0x6d71_7462;

/// What each version adds to the one before; the first makes version 1 of an empty database. A version that has been
/// released is never changed.
pub(super) const STEPS: &[&str] = &[
    // `until` is null for infinity. The index holds what ends, by its end, so that clean-up costs what it removes.
    r#"
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
    "#,
    // What is remembered of those who were banned automatically. The index is for forgetting and for the start.
    r#"
    CREATE TABLE offences (
        "as"     TEXT    NOT NULL,
        who      TEXT    NOT NULL,
        count    INTEGER NOT NULL,
        until    INTEGER NOT NULL,
        ban_time INTEGER NOT NULL,
        evidence TEXT    NOT NULL DEFAULT '',
        PRIMARY KEY ("as", who)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX offences_by_end ON offences (until);
    "#,
    accounts::STEP,
    // How often a ban has refused somebody, and when last. The indexes are for the orders in which lists are shown.
    r#"
    ALTER TABLE bans ADD COLUMN hits INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE bans ADD COLUMN last_hit INTEGER;
    CREATE INDEX bans_by_author ON bans (list, "by", "as", who);
    CREATE INDEX bans_by_start ON bans (list, at, "as", who);
    CREATE INDEX bans_by_hits ON bans (list, hits, "as", who) WHERE hits > 0;
    CREATE INDEX bans_by_last_hit ON bans (list, last_hit, "as", who) WHERE last_hit IS NOT NULL;
    "#,
];

/// The indexes that have all bans, without and with: made anew in one go they cost half of what they do row by row.
pub(super) const DROP_ORDERS: &str = "DROP INDEX bans_by_author; DROP INDEX bans_by_start";
pub(super) const MAKE_ORDERS: &str = r#"
    CREATE INDEX bans_by_author ON bans (list, "by", "as", who);
    CREATE INDEX bans_by_start ON bans (list, at, "as", who);"#;

/// Creates the folder of a file, open to nobody else.
pub(super) fn create_folder(path: &Path) -> Result<(), OpenError> {
    let folder = folder_of(path);
    let failed = |source| OpenError::Files { action: "create the folder", path: folder.into(), source };
    DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(failed)
}

/// Opens the file for its one writer, and makes it if there is none. Says whether it did. The caller holds the lock.
pub(super) fn open_to_write(path: &Path, steps: &[&str]) -> Result<(Connection, bool), OpenError> {
    let is_new = is_absent(path)?;
    if is_new {
        create(path, steps)?;
    }
    let conn = connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    let found = version(&conn, path)?;
    let known = known(steps);
    if found > known {
        return Err(OpenError::Newer { path: path.into(), found, known });
    }
    let set_up = || {
        conn.pragma_update(None, "journal_mode", "WAL")?;
        conn.pragma_update(None, "synchronous", "FULL")?;
        conn.pragma_update(None, "journal_size_limit", JOURNAL_BYTES)?;
        migrate(&conn, found, steps)
    };
    set_up().map_err(|error| failed(path, "set up", error))?;
    Ok((conn, is_new))
}

/// Makes a database in memory, which is gone with its connection.
pub(super) fn open_in_memory(path: &Path, steps: &[&str]) -> Result<Connection, OpenError> {
    let make = || {
        let conn = Connection::open_in_memory()?;
        conn.pragma_update(None, "temp_store", "MEMORY")?;
        migrate(&conn, 0, steps)?;
        Ok(conn)
    };
    make().map_err(|error| failed(path, "make", error))
}

/// Opens the file for somebody who only reads, whether it has a writer or not.
pub(super) fn open_to_read(path: &Path) -> Result<Connection, OpenError> {
    if is_absent(path)? {
        return Err(OpenError::Missing { path: path.into() });
    }
    let conn = connect(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    let (found, known) = (version(&conn, path)?, known(STEPS));
    match found {
        _ if found > known => Err(OpenError::Newer { path: path.into(), found, known }),
        _ if found < known => Err(OpenError::Older { path: path.into(), found, known }),
        _ => Ok(conn),
    }
}

/// What an error of SQLite says about the file.
pub(super) fn failed(path: &Path, action: &'static str, source: rusqlite::Error) -> OpenError {
    let path = path.into();
    match source.sqlite_error_code() {
        Some(ErrorCode::NotADatabase) => {
            OpenError::NotOurs { path, found: "it is not a SQLite database".to_owned() }
        }
        Some(ErrorCode::DatabaseCorrupt) => OpenError::Damaged { path, found: source.to_string() },
        _ => OpenError::Disk { action, path, source },
    }
}

/// True when there is no file; what is left of one is an error.
fn is_absent(path: &Path) -> Result<bool, OpenError> {
    let damaged = |found: &str| Err(OpenError::Damaged { path: path.into(), found: found.to_owned() });
    match path.metadata() {
        Ok(meta) if meta.is_file() && meta.len() == 0 => damaged("it is empty"),
        Ok(meta) if meta.is_file() => Ok(false),
        Ok(_) => Err(OpenError::NotOurs { path: path.into(), found: "it is not a file".to_owned() }),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            // SQLite would write what that holds into a new database.
            match beside(path, "-wal").metadata() {
                Ok(wal) if wal.len() > 0 => damaged("it is missing, and its -wal file is there"),
                _ => Ok(true),
            }
        }
        Err(source) => Err(OpenError::Files { action: "read", path: path.into(), source }),
    }
}

fn create(path: &Path, steps: &[&str]) -> Result<(), OpenError> {
    let draft = beside(path, ".new");
    for left_over in [draft.clone(), beside(&draft, "-journal")] {
        match std::fs::remove_file(&left_over) {
            Err(source) if source.kind() != ErrorKind::NotFound => {
                return Err(OpenError::Files { action: "remove", path: left_over, source });
            }
            _ => {}
        }
    }
    let files = |action| move |source| OpenError::Files { action, path: path.into(), source };
    let mut options = OpenOptions::new();
    drop(options.write(true).create_new(true).mode(0o600).open(&draft).map_err(files("create"))?);
    let conn = connect(&draft, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    conn.pragma_update(None, "application_id", APPLICATION_ID)
        .and_then(|()| migrate(&conn, 0, steps))
        .and_then(|()| conn.close().map_err(|(_, error)| error))
        .map_err(|error| failed(path, "create", error))?;
    std::fs::rename(&draft, path).map_err(files("create"))?;
    // A rename outlasts a power cut once its folder is written.
    File::open(folder_of(path)).and_then(|folder| folder.sync_all()).map_err(files("create"))
}

fn connect(path: &Path, access: OpenFlags) -> Result<Connection, OpenError> {
    // SQLite reads a name that begins with "file:" as an address; an absolute one begins with "/".
    let absolute = std::path::absolute(path);
    let absolute =
        absolute.map_err(|source| OpenError::Files { action: "find", path: path.into(), source })?;
    let conn = Connection::open_with_flags(absolute, access | OpenFlags::SQLITE_OPEN_NO_MUTEX)
        .map_err(|error| failed(path, "open", error))?;
    conn.busy_timeout(PATIENCE).map_err(|error| failed(path, "open", error))?;
    Ok(conn)
}

/// The version of a file that is ours.
fn version(conn: &Connection, path: &Path) -> Result<i64, OpenError> {
    let pragma = |name| {
        conn.pragma_query_value(None, name, |row| row.get(0)).map_err(|error| failed(path, "read", error))
    };
    let application: i64 = pragma("application_id")?;
    if application != APPLICATION_ID {
        let found = format!("it is another program's database (application_id {application})");
        return Err(OpenError::NotOurs { path: path.into(), found });
    }
    let page = u64::try_from(pragma("page_size")?).unwrap_or(0);
    let cut_off = path.metadata().is_ok_and(|meta| page > 0 && !meta.len().is_multiple_of(page));
    // With a log beside it, the last page may be written from there.
    if cut_off && !beside(path, "-wal").metadata().is_ok_and(|log| log.len() > 0) {
        return Err(OpenError::Damaged { path: path.into(), found: "its last page is cut off".to_owned() });
    }
    pragma("user_version")
}

fn known(steps: &[&str]) -> i64 {
    i64::try_from(steps.len()).unwrap_or(i64::MAX)
}

/// Takes the steps that a file of version `found` lacks: all of them or none.
fn migrate(conn: &Connection, found: i64, steps: &[&str]) -> rusqlite::Result<()> {
    let missing = steps.iter().skip(usize::try_from(found).unwrap_or(0));
    if missing.len() == 0 {
        return Ok(());
    }
    let transaction = conn.unchecked_transaction()?;
    for step in missing {
        transaction.execute_batch(step)?;
    }
    transaction.pragma_update(None, "user_version", known(steps))?;
    transaction.commit()
}

fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

/// How long to wait for an operator's sqlite3 that writes to the file.
const PATIENCE: Duration = Duration::from_secs(5);

/// What is kept of the write-ahead log after a large change.
const JOURNAL_BYTES: i64 = 16 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    const THREE: &[&str] = &[
        "CREATE TABLE bans (who TEXT)",
        "ALTER TABLE bans ADD COLUMN reason TEXT DEFAULT 'none'",
        "CREATE TABLE more (x)",
    ];

    fn user_version(conn: &Connection) -> i64 {
        conn.pragma_query_value(None, "user_version", |row| row.get(0)).expect("a version")
    }

    #[test]
    fn an_older_file_is_brought_up_to_date_and_keeps_its_rows() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("bans.db");
        let (conn, is_new) = open_to_write(&path, &THREE[..1]).expect("version 1");
        assert!(is_new);
        conn.execute("INSERT INTO bans VALUES ('c')", []).expect("a row");
        drop(conn);
        let (conn, is_new) = open_to_write(&path, THREE).expect("version 3");
        assert!(!is_new);
        assert_eq!(user_version(&conn), 3);
        let row = conn.query_row("SELECT who || reason FROM bans", [], |row| row.get::<_, String>(0));
        assert_eq!(row.expect("the row"), "cnone");
    }

    #[test]
    fn a_file_without_tables_is_brought_up_to_date() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("bans.db");
        drop(open_to_write(&path, &[]).expect("version 0"));
        let (conn, _) = open_to_write(&path, STEPS).expect("the newest version");
        assert_eq!(user_version(&conn), known(STEPS));
    }

    #[test]
    fn a_migration_that_fails_changes_nothing() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("bans.db");
        drop(open_to_write(&path, &THREE[..1]).expect("version 1"));
        let broken = [THREE[0], THREE[1], "CREATE NONSENSE"];
        let error = open_to_write(&path, &broken).expect_err("nonsense");
        assert!(matches!(error, OpenError::Disk { action: "set up", .. }), "{error}");
        let (conn, _) = open_to_write(&path, &THREE[..1]).expect("still version 1");
        assert_eq!(user_version(&conn), 1);
        conn.execute("INSERT INTO bans (who) VALUES ('c')", []).expect("the table of version 1");
    }

    #[test]
    fn a_newer_file_is_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("bans.db");
        drop(open_to_write(&path, THREE).expect("version 3"));
        let error = open_to_write(&path, &THREE[..2]).expect_err("newer");
        assert!(matches!(error, OpenError::Newer { found: 3, known: 2, .. }), "{error}");
    }

    #[test]
    fn what_was_left_of_making_a_file_is_made_anew() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("bans.db");
        std::fs::write(beside(&path, ".new"), "half").expect("a file");
        std::fs::write(beside(&path, ".new-journal"), "half").expect("a file");
        let (conn, is_new) = open_to_write(&path, STEPS).expect("a file");
        assert!(is_new && user_version(&conn) == known(STEPS));
    }

    #[test]
    fn clean_up_goes_by_the_end() {
        let folder = tempfile::tempdir().expect("a folder");
        let (conn, _) = open_to_write(&folder.path().join("bans.db"), STEPS).expect("a file");
        let query = format!("EXPLAIN QUERY PLAN {}", super::super::ledger::ENDED);
        let plan = conn.query_row(&query, ("bans", 1_i64, 1_i64), |row| row.get::<_, String>(3));
        assert_eq!(plan.expect("a plan"), "SEARCH bans USING INDEX bans_by_end (list=? AND until<?)");
        let query = format!("EXPLAIN QUERY PLAN {}", super::super::offence::FORGET);
        let mut plan = conn.prepare(&query).expect("a plan");
        let steps = plan.query_map((1_i64, 1_i64), |row| row.get::<_, String>(3)).expect("a plan");
        let steps = steps.map(|step| step.expect("a step")).collect::<Vec<_>>();
        let by_end = "SEARCH offences USING COVERING INDEX offences_by_end (until<?)".to_owned();
        assert!(steps.contains(&by_end), "{steps:?}");
        assert!(!steps.iter().any(|step| step.contains("SCAN") || step.contains("TEMP")), "{steps:?}");
    }
}
