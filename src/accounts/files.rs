//! The files that accounts come from: the first user's password, and EMQX's file of keys.

use super::api_key::{ApiKey, KeyName};
use super::password::{BadPassword, Password};
use super::role::{Role, UnknownRole};
use super::secret::Digest;
use super::user::{UserName, UserNameError};
use crate::admission::{Timestamp, Until};
use std::collections::HashSet;

/// The user of the first start.
#[derive(Debug, Clone)]
pub struct FirstUser {
    /// The name: `admin` where the file has none.
    pub name: UserName,
    /// The password.
    pub password: Password,
}

/// What is wrong with the text of such a file. Never says what stands there, which may be a secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FileError {
    /// It is no user name.
    #[error("line 1: the user name {0}")]
    Name(#[from] UserNameError),
    /// It is no password.
    #[error("line 1: the password {0}")]
    Password(#[from] BadPassword),
    /// The line is no key.
    #[error("line {0}: is not a key; expected KEY:SECRET or KEY:SECRET:ROLE")]
    NotAKey(usize),
    /// The role is none, or none of ours.
    #[error("line {line}: the role {problem}")]
    Role {
        /// The line, from 1.
        line: usize,
        /// What is wrong with it.
        problem: UnknownRole,
    },
    /// EMQX's list of scopes stands there.
    #[error("line {0}: has scopes, which are not known here; expected KEY:SECRET or KEY:SECRET:ROLE")]
    Scopes(usize),
    /// The key stands in an earlier line, too.
    #[error("line {0}: has a key that stands in an earlier line; expected each key once")]
    Twice(usize),
    /// There are too many.
    #[error("has more than {MAX_KEYS} keys")]
    TooMany,
}

/// How many keys a file may have.
const MAX_KEYS: usize = 1_000;

/// Reads the password of the first user: `PASSWORD` or `USER:PASSWORD`, on the first line. A password with a colon in it
/// needs the user before it.
pub fn read_first_user(text: &str) -> Result<FirstUser, FileError> {
    let line = text.lines().next().unwrap_or_default();
    let Some((name, password)) = line.split_once(':') else {
        return Ok(FirstUser { name: UserName::first(), password: line.parse()? });
    };
    Ok(FirstUser { name: name.parse()?, password: password.parse()? })
}

/// Reads EMQX's file of keys: `KEY:SECRET[:ROLE]`, one a line. Blank lines and those that begin with `#` are passed
/// over. The keys count as made at `now`.
pub fn read_api_keys(text: &str, now: Timestamp) -> Result<Vec<ApiKey>, FileError> {
    let lines = text.lines().map(str::trim).enumerate().map(|(index, line)| (index + 1, line));
    let mut seen = HashSet::new();
    let mut keys = Vec::new();
    for (number, line) in lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#')) {
        let key = read_key(number, line, now)?;
        if !seen.insert(key.key.clone()) {
            return Err(FileError::Twice(number));
        }
        keys.push(key);
    }
    if keys.len() > MAX_KEYS { Err(FileError::TooMany) } else { Ok(keys) }
}

fn read_key(number: usize, line: &str, now: Timestamp) -> Result<ApiKey, FileError> {
    let mut parts = line.split(':');
    let (key, secret) = parts.next().zip(parts.next()).unwrap_or_default();
    let is_plain = key.bytes().all(|byte| byte.is_ascii_graphic());
    if key.is_empty() || secret.is_empty() || key.len() > 256 || !is_plain {
        return Err(FileError::NotAKey(number));
    }
    let role = parts.next().map_or(Ok(Role::Administrator), str::parse);
    let role = role.map_err(|problem| FileError::Role { line: number, problem })?;
    if parts.next().is_some() {
        return Err(FileError::Scopes(number));
    }
    Ok(ApiKey {
        name: KeyName::of_file(key),
        key: key.into(),
        secret: Digest::of(secret),
        role,
        enabled: true,
        expired_at: Until::Infinity,
        description: "of [admin] api_key_file".into(),
        created_at: now,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(0);

    #[test]
    fn the_first_user_is_admin_unless_the_file_says_otherwise() {
        for (text, name, password) in [
            ("correct horse\n", "admin", "correct horse"),
            ("eve:correct:horse\nmore", "eve", "correct:horse"),
            ("eve: correct horse", "eve", " correct horse"),
        ] {
            let user = read_first_user(text).expect(text);
            assert_eq!((user.name.as_str(), user.password.expose()), (name, password));
        }
        for text in ["", "\n", "short", "eve:short", ":correct horse", "e ve:correct horse"] {
            let error = read_first_user(text).expect_err(text).to_string();
            assert!(error.starts_with("line 1: "), "{error}");
        }
    }

    #[test]
    fn emqx_files_of_keys_are_read() {
        let text = "# keys\n\nkey-1:secret1\r\n key-2:secret2:viewer \nkey-3:secret3:administrator";
        let keys = read_api_keys(text, NOW).expect("keys");
        let read: Vec<_> = keys.iter().map(|key| (key.name.as_str(), &*key.key, key.role)).collect();
        assert_eq!(
            read,
            [
                ("file:key-1", "key-1", Role::Administrator),
                ("file:key-2", "key-2", Role::Viewer),
                ("file:key-3", "key-3", Role::Administrator)
            ]
        );
        assert!(keys[1].secret.is_of("secret2"));
    }

    #[test]
    fn a_line_that_is_wrong_is_named_and_not_shown() {
        for (text, expected) in [
            ("a:hunter2\nb", "line 2: is not a key"),
            (":hunter2", "line 1: is not a key"),
            ("a:", "line 1: is not a key"),
            ("a:hunter2:publisher", "line 1: the role is a role for publishing messages"),
            ("a:hunter2:root", "line 1: the role is not a role"),
            ("a:hunter2:viewer:connections", "line 1: has scopes"),
            ("a:hunter2\n#\na:hunter3", "line 3: has a key that stands in an earlier line"),
        ] {
            let error = read_api_keys(text, NOW).expect_err(text).to_string();
            assert!(error.starts_with(expected) && !error.contains("hunter"), "{error}");
        }
    }
}
