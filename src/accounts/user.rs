//! A user: somebody with a password.

use super::password::PasswordHash;
use super::role::Role;
use crate::admission::Timestamp;
use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// Somebody with a password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// The name; no two users have the same.
    pub name: UserName,
    /// What the user may do.
    pub role: Role,
    /// What is kept of the password.
    pub password: PasswordHash,
    /// For people.
    pub description: Arc<str>,
    /// When the user was made.
    pub created_at: Timestamp,
}

/// The name of a user: 1 to 64 letters, digits, `-`, `_`, `.` and `@`, the first a letter or a digit. It stands in
/// paths and log lines as it is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UserName(Arc<str>);

/// A text that is no user name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "is not a user name; expected 1 to 64 letters, digits, \"-\", \"_\", \".\" and \"@\", the first a letter or a digit"
)]
pub struct UserNameError;

impl UserName {
    /// The name of the first user, where nobody has said another: `admin`.
    pub fn first() -> UserName {
        UserName("admin".into())
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for UserName {
    type Err = UserNameError;

    fn from_str(text: &str) -> Result<UserName, UserNameError> {
        let begins_well = text.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric());
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.@".contains(&byte);
        if begins_well && text.len() <= 64 && text.bytes().all(is_plain) {
            Ok(UserName(text.into()))
        } else {
            Err(UserNameError)
        }
    }
}

impl fmt::Display for UserName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Borrow<str> for UserName {
    fn borrow(&self) -> &str {
        &self.0
    }
}
