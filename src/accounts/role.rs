//! What somebody may do.

use std::fmt;
use std::str::FromStr;

/// What a user or a key may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Role {
    /// Everything.
    #[default]
    Administrator,
    /// Look, and change nothing.
    Viewer,
}

/// A word that is no role.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UnknownRole {
    /// EMQX's third role, for keys that publish messages.
    #[error("is a role for publishing messages, which a proxy does not do; expected administrator or viewer")]
    Publisher,
    /// Any other word.
    #[error("is not a role; expected administrator or viewer")]
    Unknown,
}

impl Role {
    /// Every role.
    pub const ALL: [Role; 2] = [Role::Administrator, Role::Viewer];

    /// EMQX's word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Role::Administrator => "administrator",
            Role::Viewer => "viewer",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Role {
    type Err = UnknownRole;

    fn from_str(text: &str) -> Result<Role, UnknownRole> {
        let unknown = if text == "publisher" { UnknownRole::Publisher } else { UnknownRole::Unknown };
        Role::ALL.into_iter().find(|role| role.as_str() == text).ok_or(unknown)
    }
}
