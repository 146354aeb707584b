//! A key: what a program shows in the place of a user and a password.

use super::role::Role;
use super::secret::Digest;
use crate::admission::{Timestamp, Until};
use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// A key with a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiKey {
    /// The name; no two keys have the same.
    pub name: KeyName,
    /// The key itself, which is no secret; no two are the same.
    pub key: Arc<str>,
    /// What is kept of the secret.
    pub secret: Digest,
    /// What it may do.
    pub role: Role,
    /// A key that is switched off is as good as none.
    pub enabled: bool,
    /// From when on it is as good as none.
    pub expired_at: Until,
    /// For people.
    pub description: Arc<str>,
    /// When it was made.
    pub created_at: Timestamp,
}

/// The name of a key: a letter, then letters, digits, `-` and `_`, 64 at most. Keys of a file are called
/// `file:KEY`, which no other name can be.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyName(Arc<str>);

/// A text that is no name of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("is not a name for a key; expected a letter, then letters, digits, \"-\" and \"_\", 64 at most")]
pub struct KeyNameError;

impl KeyName {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub(super) fn of_file(key: &str) -> KeyName {
        KeyName(format!("{OF_FILE}{key}").into())
    }

    /// True for a key that stands in a file.
    pub fn is_of_file(&self) -> bool {
        self.0.starts_with(OF_FILE)
    }
}

const OF_FILE: &str = "file:";

impl FromStr for KeyName {
    type Err = KeyNameError;

    fn from_str(text: &str) -> Result<KeyName, KeyNameError> {
        let begins_well = text.bytes().next().is_some_and(|byte| byte.is_ascii_alphabetic());
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
        if begins_well && text.len() <= 64 && text.bytes().all(is_plain) {
            Ok(KeyName(text.into()))
        } else {
            Err(KeyNameError)
        }
    }
}

impl fmt::Display for KeyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Borrow<str> for KeyName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl ApiKey {
    /// Whether it opens anything now.
    pub fn is_valid(&self, now: Timestamp) -> bool {
        self.enabled && self.expired_at.is_after(now)
    }
}
