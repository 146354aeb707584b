//! Passwords, and what is kept of them: argon2id with OWASP's parameters (19 MiB, two passes).

use argon2::{Argon2, PasswordHasher, PasswordVerifier};
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// A new password: 8 to 256 characters, whichever they are. Shown nowhere.
#[derive(Clone)]
pub struct Password(Box<str>);

/// A text that is no good password, or a password that could not be hashed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadPassword {
    /// It is too short or too long.
    #[error("has {0} characters; expected 8 to 256")]
    Length(usize),
    /// There was no memory or no randomness to hash it with.
    #[error("cannot be hashed: {0}")]
    Hash(String),
}

impl FromStr for Password {
    type Err = BadPassword;

    fn from_str(text: &str) -> Result<Password, BadPassword> {
        let length = text.chars().count();
        if (8..=256).contains(&length) { Ok(Password(text.into())) } else { Err(BadPassword::Length(length)) }
    }
}

impl Password {
    /// What to keep of it. Takes some 20 ms and 19 MiB.
    ///
    /// # Errors
    /// There is no memory, or no randomness.
    pub fn hash(&self) -> Result<PasswordHash, BadPassword> {
        let hash = Argon2::default().hash_password(self.0.as_bytes());
        hash.map(|hash| PasswordHash(hash.to_string().into()))
            .map_err(|error| BadPassword::Hash(error.to_string()))
    }

    /// The text, for whoever has to be told.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(…)")
    }
}

/// What is kept of a password, in PHC's form (`$argon2id$…`).
#[derive(Clone, PartialEq, Eq)]
pub struct PasswordHash(Arc<str>);

impl PasswordHash {
    /// A hash that no password has. Checking it takes as long as any other, so that whoever guesses names learns
    /// nothing from the time.
    pub fn of_nobody() -> PasswordHash {
        PasswordHash(OF_NOBODY.into())
    }

    /// A hash that was kept.
    pub fn stored(text: &str) -> PasswordHash {
        PasswordHash(text.into())
    }

    /// The text to keep.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether this is the password. Takes some 20 ms and 19 MiB.
    pub fn is_of(&self, password: &str) -> bool {
        Argon2::default().verify_password(password.as_bytes(), &*self.0).is_ok()
    }
}

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PasswordHash(…)")
    }
}

/// With the parameters of [`Argon2::default`], and bytes that were made up.
const OF_NOBODY: &str =
    "$argon2id$v=19$m=19456,t=2,p=1$bm9ib2R5IGhhcyBpdA$TsYGDYGC5OXWFbd8PmQ+5x3vAkl1bmE9rY0wEYuI3Wg";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_known_by_its_hash_and_shown_nowhere() {
        let password: Password = "correct horse".parse().expect("long enough");
        let hash = password.hash().expect("memory");
        assert!(hash.is_of("correct horse") && !hash.is_of("correct horsf"));
        assert!(PasswordHash::stored(hash.as_str()).is_of("correct horse"));
        assert_ne!(password.hash().expect("memory"), hash, "each has a salt of its own");
        assert!(hash.as_str().starts_with("$argon2id$v=19$m=19456,t=2,p=1$"));
        assert_eq!(
            (format!("{password:?}"), format!("{hash:?}")),
            ("Password(…)".into(), "PasswordHash(…)".into())
        );
    }

    #[test]
    fn the_hash_of_nobody_is_well_formed_and_of_the_usual_price() {
        let nobody = argon2::password_hash::phc::PasswordHash::new(OF_NOBODY).expect("PHC");
        let own: Password = "correct horse".parse().expect("long enough");
        let hash = own.hash().expect("memory");
        let own = argon2::password_hash::phc::PasswordHash::new(hash.as_str()).expect("PHC");
        assert_eq!(
            (nobody.algorithm, nobody.version, &nobody.params),
            (own.algorithm, own.version, &own.params)
        );
        assert!(!PasswordHash::of_nobody().is_of("nobody has it"));
    }

    #[test]
    fn what_is_no_hash_lets_nobody_in() {
        for text in
            ["", "plain", "$argon2id$", "$2b$12$xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"]
        {
            assert!(!PasswordHash::stored(text).is_of(text), "{text}");
        }
    }

    #[test]
    fn length_is_counted_in_characters() {
        assert!("ääääääää".parse::<Password>().is_ok());
        assert_eq!("äääääää".parse::<Password>().unwrap_err(), BadPassword::Length(7));
        assert!("ä".repeat(256).parse::<Password>().is_ok());
        assert_eq!("ä".repeat(257).parse::<Password>().unwrap_err(), BadPassword::Length(257));
    }
}
