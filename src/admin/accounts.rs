//! Those who may use the API, in memory and on disk: on disk first, then in force, then acknowledged.

use super::pace::Pace;
use crate::accounts::{
    AccountChange, AccountError, ApiKey, BadPassword, Book, FirstUser, KeyEdit, Lockout, NewKey, Password,
    PasswordHash, Role, Secret, TokenError, Tokens, User, UserEdit, UserName,
};
use crate::admission::Timestamp;
use crate::admission::detection::Moment;
use crate::store::{Change, ChangeError, Store};
use arc_swap::ArcSwap;
use aws_lc_rs::rand;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, available_parallelism};
use std::time::Duration;
use tokio::sync::{Mutex as AsyncMutex, Semaphore, oneshot};

/// Those who may use the API. Clones share them.
#[derive(Debug, Clone)]
pub struct Accounts(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    book: ArcSwap<Book>,
    store: Store,
    /// Held from a decision until it is in force, so that two changes do not each leave the other's administrator.
    changing: AsyncMutex<()>,
    tokens: Mutex<Tokens>,
    lockout: Mutex<Lockout>,
    pace: Pace,
    /// How many passwords are hashed at once: 20 ms and 19 MiB each.
    hashing: Arc<Semaphore>,
}

/// A change of accounts that was not made.
#[derive(Debug, thiserror::Error)]
pub enum AccountsError {
    /// It cannot be.
    #[error(transparent)]
    Account(#[from] AccountError),
    /// It could not be written.
    #[error(transparent)]
    Change(#[from] ChangeError),
    /// The password could not be hashed.
    #[error("the password {0}")]
    Password(#[from] BadPassword),
    /// The system has no randomness, or is about to stop.
    #[error("the system has no randomness")]
    Random,
}

/// How long a token holds where nobody has said it.
const TOKEN_TTL: Duration = Duration::from_hours(1);

impl Accounts {
    /// Those that `store` has kept.
    pub fn new(store: Store, kept: crate::store::Accounts) -> Accounts {
        // A flood of logins has a quarter of the processors at most, and at least one.
        let hashing = available_parallelism().map_or(1, NonZeroUsize::get).div_ceil(4);
        Accounts(Arc::new(Shared {
            book: ArcSwap::from_pointee(Book::new(kept.users, kept.keys)),
            store,
            changing: AsyncMutex::new(()),
            tokens: Mutex::new(Tokens::new(TOKEN_TTL)),
            lockout: Mutex::default(),
            pace: Pace::default(),
            hashing: Arc::new(Semaphore::new(hashing)),
        }))
    }

    /// All of them, as they are now.
    pub fn book(&self) -> Arc<Book> {
        self.0.book.load_full()
    }

    /// Changes how long tokens hold, and takes these keys in the place of those of the file before.
    pub fn adjust(&self, token_ttl: Duration, file_keys: &[ApiKey]) {
        self.tokens().adjust(token_ttl);
        self.0.book.rcu(|book| {
            let mut book = Book::clone(book);
            book.take_file_keys(file_keys.iter().cloned());
            book
        });
    }

    /// Adds a user.
    pub async fn add_user(
        &self,
        name: UserName,
        password: &Password,
        role: Role,
        description: String,
        now: Timestamp,
    ) -> Result<User, AccountsError> {
        let password = self.hash(password).await?;
        let user = User { name, role, password, description: description.into(), created_at: now };
        let added = user.clone();
        self.change(move |book| book.add_user(user)).await?;
        Ok(added)
    }

    /// Changes a user, and the user as it is then.
    pub async fn edit_user(&self, name: &str, edit: UserEdit) -> Result<Option<User>, AccountsError> {
        let owned = name.to_owned();
        self.change(move |book| book.edit_user(&owned, edit)).await?;
        Ok(self.book().user(name).cloned())
    }

    /// Changes a user's password. Whoever is logged in as that user is logged out.
    pub async fn change_password(&self, name: &str, new: &Password) -> Result<(), AccountsError> {
        let password = Some(self.hash(new).await?);
        self.edit_user(name, UserEdit { password, ..UserEdit::default() }).await?;
        self.tokens().take_back_all(name);
        Ok(())
    }

    /// Removes a user, who is logged out.
    pub async fn remove_user(&self, name: &str) -> Result<(), AccountsError> {
        let owned = name.to_owned();
        self.change(move |book| book.remove_user(&owned)).await?;
        self.tokens().take_back_all(name);
        Ok(())
    }

    /// Makes a key. The secret is told here and nowhere else.
    pub async fn add_key(&self, new: NewKey, now: Timestamp) -> Result<(ApiKey, Secret), AccountsError> {
        let (key, secret) = (u64::from_ne_bytes(random()?), Secret::from_random(random()?));
        let name = new.name.clone();
        let told = secret.clone();
        self.change(move |book| book.add_key(new, key, &secret, now).map(|(_, change)| change)).await?;
        let made = self.book().key(name.as_str()).cloned().ok_or(AccountError::NoKey)?;
        Ok((made, told))
    }

    /// Changes a key, and the key as it is then.
    pub async fn edit_key(&self, name: &str, edit: KeyEdit) -> Result<Option<ApiKey>, AccountsError> {
        let owned = name.to_owned();
        self.change(move |book| book.edit_key(&owned, edit)).await?;
        Ok(self.book().key(name).cloned())
    }

    /// Removes a key.
    pub async fn remove_key(&self, name: &str) -> Result<(), AccountsError> {
        let name = name.to_owned();
        self.change(move |book| book.remove_key(&name)).await
    }

    /// Decides on a change, writes it and makes it. It is made even if the caller stops waiting.
    async fn change(
        &self,
        decide: impl FnOnce(&Book) -> Result<AccountChange, AccountError> + Send + 'static,
    ) -> Result<(), AccountsError> {
        let accounts = self.clone();
        let change = async move {
            let Shared { book, store, changing, .. } = &*accounts.0;
            let _turn = changing.lock().await;
            let change = decide(&book.load())?;
            store.change(vec![Change::Account(change.clone())]).await?;
            book.rcu(|book| {
                let mut book = Book::clone(book);
                book.make(change.clone());
                book
            });
            Ok(())
        };
        tokio::spawn(change).await.map_err(|_| ChangeError::Closed)?
    }

    /// Makes the first user, if there is none. Says what the password is where it was made up. Blocks; it must not be
    /// called from async code.
    pub fn begin(&self, first: Option<FirstUser>, now: Timestamp) -> Result<Option<Password>, AccountsError> {
        if self.book().users().next().is_some() {
            return Ok(None);
        }
        let (made_up, FirstUser { name, password }) = if let Some(first) = first {
            (None, first)
        } else {
            let password: Password = Secret::from_random(random()?).expose().parse()?;
            (Some(password.clone()), FirstUser { name: UserName::first(), password })
        };
        let (role, description) = (Role::Administrator, "made at the first start".into());
        let user = User { name, role, password: password.hash()?, description, created_at: now };
        let change = self.book().add_user(user)?;
        self.0.store.change_blocking(vec![Change::Account(change.clone())])?;
        self.0.book.rcu(|book| {
            let mut book = Book::clone(book);
            book.make(change.clone());
            book
        });
        Ok(made_up)
    }

    /// The user, when this is the password. Takes as long for a user that there is not.
    pub(super) async fn user_with(&self, name: &str, password: &str) -> Option<User> {
        let book = self.book();
        let user = book.user(name);
        let hash = user.map_or_else(PasswordHash::of_nobody, |user| user.password.clone());
        let password = password.to_owned();
        let is_right = self.in_turn(move || hash.is_of(&password)).await.unwrap_or(false);
        user.filter(|_| is_right).cloned()
    }

    async fn hash(&self, password: &Password) -> Result<PasswordHash, AccountsError> {
        let password = password.clone();
        Ok(self.in_turn(move || password.hash()).await.ok_or(AccountsError::Random)??)
    }

    /// Hashes when it is its turn; `None` when the system has no thread for it.
    ///
    /// The turn lasts as long as the work, also when the caller has gone: else whoever calls and hangs up would have any
    /// number of passwords hashed at once. Each has a thread of its own, since the memory allocator keeps what a thread
    /// has freed for the next one of the same arena, and a pool's threads would each keep 19 MiB.
    async fn in_turn<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
        let turn = Arc::clone(&self.0.hashing).acquire_owned().await.ok()?;
        let (tell, told) = oneshot::channel();
        let work = move || {
            let done = work();
            drop(turn);
            // Whoever asked may have gone.
            let _ = tell.send(done);
        };
        thread::Builder::new().name("password".to_owned()).spawn(work).ok()?;
        told.await.ok()
    }

    /// Gives a token to a user, as it was when the password was checked; `None` when the password has changed since.
    pub(super) fn log_in(&self, user: &User, now: Moment) -> Result<Option<Secret>, AccountsError> {
        let token = Secret::from_random(random()?);
        self.tokens().give(user.name.clone(), token.digest(), now);
        // Whoever changes the password first changes it and then takes the tokens back: one of us sees the other.
        let is_still_right =
            self.book().user(user.name.as_str()).is_some_and(|there| there.password == user.password);
        if !is_still_right {
            self.tokens().take_back(&token.digest());
        }
        Ok(is_still_right.then_some(token))
    }

    /// Who is logged in with this token.
    pub(super) fn logged_in(&self, token: &str, now: Moment) -> Result<UserName, TokenError> {
        self.tokens().check(&crate::accounts::Digest::of(token), now)
    }

    pub(super) fn log_out(&self, token: &str) {
        self.tokens().take_back(&crate::accounts::Digest::of(token));
    }

    pub(super) fn token_ttl(&self) -> Duration {
        self.tokens().ttl()
    }

    pub(super) fn lockout(&self) -> MutexGuard<'_, Lockout> {
        self.0.lockout.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn pace(&self) -> &Pace {
        &self.0.pace
    }

    fn tokens(&self) -> MutexGuard<'_, Tokens> {
        self.0.tokens.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn random<const N: usize>() -> Result<[u8; N], AccountsError> {
    let mut bytes = [0; N];
    rand::fill(&mut bytes).map_err(|_| AccountsError::Random)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bouncer::Bouncer;
    use crate::store;
    use tokio::task::yield_now;

    fn accounts() -> Accounts {
        let store = Store::in_memory(Bouncer::default()).expect("memory");
        Accounts::new(store, store::Accounts::default())
    }

    /// The turn went with the caller, and whoever hung up at once had any number of passwords hashed at once.
    #[tokio::test]
    async fn a_caller_who_hangs_up_does_not_give_the_next_one_the_turn() {
        let accounts = accounts();
        let turns = accounts.0.hashing.available_permits();
        for _ in 0..turns {
            tokio::select! {
                biased;
                _ = accounts.user_with("nobody", "a password") => panic!("that was too quick"),
                () = yield_now() => {}
            }
        }
        assert_eq!(accounts.0.hashing.available_permits(), 0, "they are still at it");
        accounts.user_with("nobody", "a password").await;
        let all = u32::try_from(turns).expect("few");
        assert!(accounts.0.hashing.acquire_many(all).await.is_ok(), "every turn comes back");
    }

    #[tokio::test]
    async fn two_changes_at_once_do_not_remove_both_administrators() {
        let accounts = accounts();
        let password: Password = "a password".parse().expect("long enough");
        let now = Timestamp::from_millis(0);
        for name in ["a", "b"] {
            let name = name.parse().expect("a name");
            accounts.add_user(name, &password, Role::Administrator, String::new(), now).await.expect("room");
        }
        let (a, b) = tokio::join!(accounts.remove_user("a"), accounts.remove_user("b"));
        assert!(a.is_ok() != b.is_ok(), "{a:?} {b:?}");
        assert_eq!(accounts.book().users().count(), 1);
    }

    #[tokio::test]
    async fn a_login_whose_password_changes_meanwhile_gives_no_token() {
        let accounts = accounts();
        let [old, new] =
            ["password-1", "password-2"].map(|text| text.parse::<Password>().expect("long enough"));
        let name: UserName = "eve".parse().expect("a name");
        let now = Timestamp::from_millis(0);
        accounts.add_user(name, &old, Role::Viewer, String::new(), now).await.expect("room");
        let user = accounts.user_with("eve", old.expose()).await.expect("right");
        accounts.change_password("eve", &new).await.expect("there");
        assert!(accounts.log_in(&user, Moment::default()).expect("randomness").is_none());
    }
}
