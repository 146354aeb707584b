//! The tables of those who may use the API: users, and keys.

use super::row;
use crate::accounts::{AccountChange, ApiKey, Digest, PasswordHash, User};
use crate::admission::{Timestamp, Until};
use rusqlite::{Connection, Row};
use std::path::Path;
use tracing::warn;

/// Makes the tables. Of a password its argon2id hash is kept, of a key's secret its SHA-256; `expired_at` is null for
/// infinity.
pub(super) const STEP: &str = "
    CREATE TABLE users (
        name        TEXT    NOT NULL PRIMARY KEY,
        role        TEXT    NOT NULL,
        password    TEXT    NOT NULL,
        description TEXT    NOT NULL,
        created_at  INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE api_keys (
        name        TEXT    NOT NULL PRIMARY KEY,
        key         TEXT    NOT NULL,
        secret      BLOB    NOT NULL,
        role        TEXT    NOT NULL,
        enabled     INTEGER NOT NULL,
        expired_at  INTEGER,
        description TEXT    NOT NULL,
        created_at  INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
";

/// Those who were found in the file.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Accounts {
    /// The users, by name.
    pub users: Vec<User>,
    /// The keys, by name.
    pub keys: Vec<ApiKey>,
}

/// Writes one change. Such changes are rare, so their statements are not kept.
pub(super) fn write(conn: &Connection, change: &AccountChange) -> rusqlite::Result<()> {
    match change {
        AccountChange::PutUser(User { name, role, password, description, created_at }) => conn.execute(
            "INSERT OR REPLACE INTO users (name, role, password, description, created_at) VALUES (?1, ?2, ?3, ?4, ?5)",
            (name.as_str(), role.as_str(), password.as_str(), &**description, created_at.as_millis()),
        ),
        AccountChange::RemoveUser(name) => {
            conn.execute("DELETE FROM users WHERE name = ?1", [name.as_str()])
        }
        AccountChange::PutKey(key) => conn.execute(
            "INSERT OR REPLACE INTO api_keys (name, key, secret, role, enabled, expired_at, description, created_at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
            (
                key.name.as_str(),
                &*key.key,
                key.secret.as_bytes(),
                key.role.as_str(),
                key.enabled,
                row::until_of(key.expired_at),
                &*key.description,
                key.created_at.as_millis(),
            ),
        ),
        AccountChange::RemoveKey(name) => {
            conn.execute("DELETE FROM api_keys WHERE name = ?1", [name.as_str()])
        }
    }
    .map(drop)
}

/// All of them. Rows that are no accounts are passed over: nobody gets in by them.
pub(super) fn load(conn: &Connection, path: &Path) -> rusqlite::Result<Accounts> {
    let users = read(conn, path, "SELECT name, role, password, description, created_at FROM users", user)?;
    let query = "SELECT name, key, secret, role, enabled, expired_at, description, created_at FROM api_keys";
    Ok(Accounts { users, keys: read(conn, path, query, key)? })
}

fn read<T>(
    conn: &Connection,
    path: &Path,
    query: &str,
    parse: impl Fn(&Row<'_>) -> Result<T, String>,
) -> rusqlite::Result<Vec<T>> {
    let mut statement = conn.prepare(query)?;
    let mut rows = statement.query([])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        match parse(row) {
            Ok(account) => found.push(account),
            Err(problem) => {
                let name = row::shown(row, 0);
                warn!(file = %path.display(), name, problem, "an account cannot be read and is passed over");
            }
        }
    }
    Ok(found)
}

fn user(row: &Row<'_>) -> Result<User, String> {
    Ok(User {
        name: row::text(row, 0, "name")?.parse().map_err(|error| format!("name {error}"))?,
        role: row::text(row, 1, "role")?.parse().map_err(|error| format!("role {error}"))?,
        password: PasswordHash::stored(row::text(row, 2, "password")?),
        description: row::text(row, 3, "description")?.into(),
        created_at: moment(row, 4, "created_at")?,
    })
}

fn key(row: &Row<'_>) -> Result<ApiKey, String> {
    let get = |error: rusqlite::Error| error.to_string();
    let expired_at: Option<i64> = row.get(5).map_err(get)?;
    Ok(ApiKey {
        name: row::text(row, 0, "name")?.parse().map_err(|error| format!("name {error}"))?,
        key: row::text(row, 1, "key")?.into(),
        secret: Digest::stored(row.get(2).map_err(get)?),
        role: row::text(row, 3, "role")?.parse().map_err(|error| format!("role {error}"))?,
        enabled: row.get(4).map_err(get)?,
        expired_at: expired_at.map_or(Until::Infinity, |end| Until::Moment(Timestamp::from_millis(end))),
        description: row::text(row, 6, "description")?.into(),
        created_at: moment(row, 7, "created_at")?,
    })
}

fn moment(row: &Row<'_>, index: usize, column: &str) -> Result<Timestamp, String> {
    row.get(index).map(Timestamp::from_millis).map_err(|error| format!("{column}: {error}"))
}
