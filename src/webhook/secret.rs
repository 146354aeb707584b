//! What events are signed with.

use std::fmt;
use std::str::FromStr;

/// A secret that is shown nowhere.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Box<str>);

/// A text that is no secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("is empty; expected a secret, e.g. what `openssl rand -hex 32` prints")]
pub struct SecretError;

impl FromStr for Secret {
    type Err = SecretError;

    fn from_str(text: &str) -> Result<Secret, SecretError> {
        if text.is_empty() { Err(SecretError) } else { Ok(Secret(text.into())) }
    }
}

impl Secret {
    pub(super) fn expose(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_not_shown() {
        let secret: Secret = "hunter2".parse().expect("a secret");
        assert_eq!(format!("{secret:?}"), "Secret(…)");
        assert_eq!(secret.expose(), b"hunter2");
    }

    #[test]
    fn an_empty_secret_is_none() {
        assert_eq!("".parse::<Secret>(), Err(SecretError));
    }
}
