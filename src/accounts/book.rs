//! All users and keys, and the rules for changing them. A change is first decided here, then written, then made.

use super::api_key::{ApiKey, KeyName};
use super::password::PasswordHash;
use super::role::Role;
use super::secret::{Digest, Secret};
use super::user::{User, UserName};
use crate::admission::{Timestamp, Until};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// All users and keys.
#[derive(Debug, Clone, Default)]
pub struct Book {
    users: BTreeMap<UserName, User>,
    /// Those that were made at run time.
    keys: BTreeMap<KeyName, ApiKey>,
    /// Those of the file; they change with it alone.
    file_keys: BTreeMap<KeyName, ApiKey>,
    /// Names by key, of both. The file wins.
    by_key: HashMap<Arc<str>, KeyName>,
}

/// One change, as it is written.
#[derive(Debug, Clone)]
pub enum AccountChange {
    /// Adds a user, or changes the one of that name.
    PutUser(User),
    /// Removes a user.
    RemoveUser(UserName),
    /// Adds a key, or changes the one of that name.
    PutKey(ApiKey),
    /// Removes a key.
    RemoveKey(KeyName),
}

/// What is to be changed of a user; `None` leaves it.
#[derive(Debug, Clone, Default)]
pub struct UserEdit {
    /// What the user may do.
    pub role: Option<Role>,
    /// For people.
    pub description: Option<String>,
    /// The new password.
    pub password: Option<PasswordHash>,
}

/// A key that is to be made.
#[derive(Debug, Clone)]
pub struct NewKey {
    /// Its name.
    pub name: KeyName,
    /// What it may do.
    pub role: Role,
    /// Whether it is switched on.
    pub enabled: bool,
    /// From when on it opens nothing.
    pub expired_at: Until,
    /// For people.
    pub description: String,
}

/// What is to be changed of a key; `None` leaves it.
#[derive(Debug, Clone, Default)]
pub struct KeyEdit {
    /// What it may do.
    pub role: Option<Role>,
    /// Whether it is switched on.
    pub enabled: Option<bool>,
    /// From when on it opens nothing.
    pub expired_at: Option<Until>,
    /// For people.
    pub description: Option<String>,
}

/// A change that cannot be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AccountError {
    /// There is no user of that name.
    #[error("there is no user of that name")]
    NoUser,
    /// There is no key of that name.
    #[error("there is no key of that name")]
    NoKey,
    /// There is a user of that name.
    #[error("there is a user of that name already")]
    UserExists,
    /// There is a key of that name.
    #[error("there is a key of that name already")]
    KeyExists,
    /// Nobody would be left who may change anything.
    #[error("is the last administrator, who can be neither removed nor made a viewer")]
    LastAdministrator,
    /// The key stands in a file.
    #[error("the key stands in [admin] api_key_file; change that file and reload")]
    OfFile,
    /// A text is too long.
    #[error("the description has {0} bytes; expected at most {MAX_DESCRIPTION}")]
    Description(usize),
    /// There are as many as there may be.
    #[error("there are {MAX_ACCOUNTS} already, which is the most")]
    Full,
}

/// How many users there may be, and how many keys.
const MAX_ACCOUNTS: usize = 1_000;

/// How long a description may be, in bytes.
const MAX_DESCRIPTION: usize = 1_000;

impl Book {
    /// A book of those that were kept.
    pub fn new(users: impl IntoIterator<Item = User>, keys: impl IntoIterator<Item = ApiKey>) -> Book {
        let mut book = Book {
            users: users.into_iter().map(|user| (user.name.clone(), user)).collect(),
            keys: keys.into_iter().map(|key| (key.name.clone(), key)).collect(),
            ..Book::default()
        };
        book.index();
        book
    }

    /// The users, by name.
    pub fn users(&self) -> impl Iterator<Item = &User> {
        self.users.values()
    }

    /// One user.
    pub fn user(&self, name: &str) -> Option<&User> {
        self.users.get(name)
    }

    /// The keys, those of the file last.
    pub fn keys(&self) -> impl Iterator<Item = &ApiKey> {
        self.keys.values().chain(self.file_keys.values())
    }

    /// One key, by its name.
    pub fn key(&self, name: &str) -> Option<&ApiKey> {
        self.keys.get(name).or_else(|| self.file_keys.get(name))
    }

    /// The key that these open, now. As slow for a key that nobody has as for a wrong secret.
    pub fn open(&self, key: &str, secret: &str, now: Timestamp) -> Option<&ApiKey> {
        let found = self.by_key.get(key).and_then(|name| self.key(name.as_str()));
        let digest = found.map_or(Digest::stored([0; 32]), |found| found.secret);
        let is_right = digest.is_of(secret);
        found.filter(|found| is_right && found.is_valid(now))
    }

    /// The change that adds a user.
    pub fn add_user(&self, user: User) -> Result<AccountChange, AccountError> {
        check_description(&user.description)?;
        match self.users.len() {
            _ if self.users.contains_key(&user.name) => Err(AccountError::UserExists),
            MAX_ACCOUNTS.. => Err(AccountError::Full),
            _ => Ok(AccountChange::PutUser(user)),
        }
    }

    /// The change of a user.
    pub fn edit_user(&self, name: &str, edit: UserEdit) -> Result<AccountChange, AccountError> {
        let UserEdit { role, description, password } = edit;
        let mut user = self.users.get(name).cloned().ok_or(AccountError::NoUser)?;
        if role == Some(Role::Viewer) && self.is_last_administrator(&user) {
            return Err(AccountError::LastAdministrator);
        }
        if let Some(description) = description {
            check_description(&description)?;
            user.description = description.into();
        }
        user.role = role.unwrap_or(user.role);
        user.password = password.unwrap_or(user.password);
        Ok(AccountChange::PutUser(user))
    }

    /// The change that removes a user.
    pub fn remove_user(&self, name: &str) -> Result<AccountChange, AccountError> {
        let user = self.users.get(name).ok_or(AccountError::NoUser)?;
        if self.is_last_administrator(user) {
            return Err(AccountError::LastAdministrator);
        }
        Ok(AccountChange::RemoveUser(user.name.clone()))
    }

    fn is_last_administrator(&self, user: &User) -> bool {
        let administrators = self.users.values().filter(|user| user.role == Role::Administrator);
        user.role == Role::Administrator && administrators.count() == 1
    }

    /// A new key with this secret, and the change that adds it. `key` is 64 random bits.
    pub fn add_key(
        &self,
        new: NewKey,
        key: u64,
        secret: &Secret,
        now: Timestamp,
    ) -> Result<(ApiKey, AccountChange), AccountError> {
        let NewKey { name, role, enabled, expired_at, description } = new;
        check_description(&description)?;
        if self.keys.contains_key(&name) {
            return Err(AccountError::KeyExists);
        }
        if self.keys.len() >= MAX_ACCOUNTS {
            return Err(AccountError::Full);
        }
        let key = ApiKey {
            name,
            key: format!("{key:016x}").into(),
            secret: secret.digest(),
            role,
            enabled,
            expired_at,
            description: description.into(),
            created_at: now,
        };
        Ok((key.clone(), AccountChange::PutKey(key)))
    }

    /// The change of a key.
    pub fn edit_key(&self, name: &str, edit: KeyEdit) -> Result<AccountChange, AccountError> {
        let KeyEdit { role, enabled, expired_at, description } = edit;
        let mut key = self.own_key(name)?.clone();
        if let Some(description) = description {
            check_description(&description)?;
            key.description = description.into();
        }
        key.role = role.unwrap_or(key.role);
        key.enabled = enabled.unwrap_or(key.enabled);
        key.expired_at = expired_at.unwrap_or(key.expired_at);
        Ok(AccountChange::PutKey(key))
    }

    /// The change that removes a key.
    pub fn remove_key(&self, name: &str) -> Result<AccountChange, AccountError> {
        Ok(AccountChange::RemoveKey(self.own_key(name)?.name.clone()))
    }

    fn own_key(&self, name: &str) -> Result<&ApiKey, AccountError> {
        let missing =
            if self.file_keys.contains_key(name) { AccountError::OfFile } else { AccountError::NoKey };
        self.keys.get(name).ok_or(missing)
    }

    /// Makes a change that was decided and written.
    pub fn make(&mut self, change: AccountChange) {
        match change {
            AccountChange::PutUser(user) => drop(self.users.insert(user.name.clone(), user)),
            AccountChange::RemoveUser(name) => drop(self.users.remove(&name)),
            AccountChange::PutKey(key) => drop(self.keys.insert(key.name.clone(), key)),
            AccountChange::RemoveKey(name) => drop(self.keys.remove(&name)),
        }
        self.index();
    }

    /// Takes these keys in the place of those of the file before.
    pub fn take_file_keys(&mut self, keys: impl IntoIterator<Item = ApiKey>) {
        self.file_keys = keys.into_iter().map(|key| (key.name.clone(), key)).collect();
        self.index();
    }

    fn index(&mut self) {
        let keys = self.keys.values().chain(self.file_keys.values());
        self.by_key = keys.map(|key| (Arc::clone(&key.key), key.name.clone())).collect();
    }
}

fn check_description(text: &str) -> Result<(), AccountError> {
    if text.len() > MAX_DESCRIPTION { Err(AccountError::Description(text.len())) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);

    fn user(name: &str, role: Role) -> User {
        let name = name.parse().expect("a name");
        User { name, role, password: PasswordHash::of_nobody(), description: "".into(), created_at: NOW }
    }

    fn role(role: Role) -> UserEdit {
        UserEdit { role: Some(role), ..UserEdit::default() }
    }

    fn with_key(book: &mut Book, name: &str, expired_at: Until) -> (ApiKey, Secret) {
        let secret = Secret::from_random([7; 32]);
        let name = name.parse().expect("a name");
        let new = NewKey { name, role: Role::Viewer, enabled: true, expired_at, description: String::new() };
        let (key, change) = book.add_key(new, 7, &secret, NOW).expect("room");
        book.make(change);
        (key, secret)
    }

    #[test]
    fn the_last_administrator_stays() {
        let mut book = Book::new([user("a", Role::Administrator), user("v", Role::Viewer)], []);
        assert_eq!(book.remove_user("a").unwrap_err(), AccountError::LastAdministrator);
        assert_eq!(book.edit_user("a", role(Role::Viewer)).unwrap_err(), AccountError::LastAdministrator);
        book.make(book.edit_user("v", role(Role::Administrator)).expect("allowed"));
        book.make(book.edit_user("a", role(Role::Viewer)).expect("there is another one"));
        assert_eq!(book.remove_user("v").unwrap_err(), AccountError::LastAdministrator);
        book.make(book.remove_user("a").expect("a viewer"));
        assert_eq!(book.remove_user("a").unwrap_err(), AccountError::NoUser);
    }

    #[test]
    fn nobody_is_added_twice_and_not_too_many() {
        let mut book = Book::new([user("a", Role::Administrator)], []);
        assert_eq!(book.add_user(user("a", Role::Viewer)).unwrap_err(), AccountError::UserExists);
        for number in 1..MAX_ACCOUNTS {
            book.make(book.add_user(user(&format!("u{number}"), Role::Viewer)).expect("room"));
        }
        assert_eq!(book.add_user(user("more", Role::Viewer)).unwrap_err(), AccountError::Full);
    }

    #[test]
    fn a_key_opens_with_its_secret_while_it_is_valid() {
        let mut book = Book::default();
        let end = NOW.after(std::time::Duration::from_mins(1));
        let (key, secret) = with_key(&mut book, "ci", Until::Moment(end));
        let opens = |book: &Book, key: &str, secret: &str, now| book.open(key, secret, now).is_some();
        assert!(opens(&book, &key.key, secret.expose(), NOW));
        assert!(!opens(&book, &key.key, "wrong", NOW));
        assert!(!opens(&book, "wrong", secret.expose(), NOW));
        assert!(!opens(&book, &key.key, secret.expose(), end));
        let off = KeyEdit { enabled: Some(false), ..KeyEdit::default() };
        book.make(book.edit_key("ci", off).expect("there"));
        assert!(!opens(&book, &key.key, secret.expose(), NOW));
        book.make(book.remove_key("ci").expect("there"));
        assert!(book.key("ci").is_none());
    }

    #[test]
    fn keys_of_the_file_change_with_the_file_alone() {
        let mut book = Book::default();
        let key = |key: &str| ApiKey {
            name: KeyName::of_file(key),
            key: key.into(),
            secret: Digest::of("secret"),
            role: Role::Administrator,
            enabled: true,
            expired_at: Until::Infinity,
            description: "".into(),
            created_at: NOW,
        };
        book.take_file_keys([key("a"), key("b")]);
        assert!(book.open("a", "secret", NOW).is_some());
        assert_eq!(book.remove_key("file:a").unwrap_err(), AccountError::OfFile);
        assert_eq!(book.edit_key("file:b", KeyEdit::default()).unwrap_err(), AccountError::OfFile);
        book.take_file_keys([key("b")]);
        assert!(book.open("a", "secret", NOW).is_none() && book.open("b", "secret", NOW).is_some());
    }
}
