//! Who may use the API: users with passwords, programs with keys, what each may do, and how guessing is stopped. Pure:
//! no I/O, no clock; callers pass `now`, and the random bytes of keys and tokens.
//!
//! Passwords are chosen by people and hashed with argon2id, which is slow on purpose. The secrets of keys and tokens are
//! 256 random bits, which nobody guesses, so that a plain SHA-256 of them is kept: a call with a key costs
//! microseconds, where argon2 would cost 20 ms and 19 MiB each.

mod api_key;
mod book;
mod files;
mod lockout;
mod password;
mod role;
mod secret;
mod tokens;
mod user;

pub use api_key::{ApiKey, KeyName, KeyNameError};
pub use book::{AccountChange, AccountError, Book, KeyEdit, NewKey, UserEdit};
pub use files::{FileError, FirstUser, read_api_keys, read_first_user};
pub use lockout::{Lockout, place};
pub use password::{BadPassword, Password, PasswordHash};
pub use role::{Role, UnknownRole};
pub use secret::{Digest, Secret};
pub use tokens::{TokenError, Tokens};
pub use user::{User, UserName, UserNameError};
