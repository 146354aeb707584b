//! Those who may use the API, whoever has them: nobody, then this command opens the store; or a proxy, then it is asked.

use super::site::{Site, runtime};
use crate::accounts::{KeyName, NewKey, Password, Role, UserEdit};
use crate::admin::{Accounts, AccountsError, Caller, KeyBody, UserBody};
use crate::admission::{Timestamp, Until};
use crate::app::STORE_FILE;
use crate::config::Config;
use crate::store::{OpenError, Store};
use std::error::Error;
use tokio::runtime::Runtime;

/// Who has the accounts.
pub(super) struct Staff {
    keeper: Keeper,
    runtime: Runtime,
    now: Timestamp,
}

enum Keeper {
    Stopped(Accounts),
    Running(Caller),
}

type Done<T> = Result<T, Box<dyn Error>>;

impl Staff {
    pub(super) fn open(site: &Site, now: Timestamp) -> Done<Staff> {
        let keeper = if let Some(caller) = site.elsewhere()? {
            Keeper::Running(caller)
        } else {
            let folder = site.data_dir(&Config::load(&site.file.config)?)?;
            match Store::open(folder.join(STORE_FILE), None) {
                Ok((store, loaded)) => Keeper::Stopped(Accounts::new(store, loaded.accounts)),
                Err(OpenError::InUse { .. }) => Keeper::Running(site.caller()?),
                Err(error) => return Err(error.into()),
            }
        };
        Ok(Staff { keeper, runtime: runtime()?, now })
    }

    pub(super) fn users(&self) -> Done<Vec<UserBody>> {
        match &self.keeper {
            Keeper::Stopped(accounts) => Ok(accounts.book().users().map(UserBody::from).collect()),
            Keeper::Running(caller) => Ok(self.runtime.block_on(caller.users())?),
        }
    }

    pub(super) fn add_user(
        &self,
        name: &str,
        password: &Password,
        role: Role,
        description: String,
    ) -> Done<()> {
        match &self.keeper {
            Keeper::Stopped(accounts) => {
                let name = name.parse().map_err(|error| format!("{name:?} {error}"))?;
                let adding = accounts.add_user(name, password, role, description, self.now);
                self.run(adding).map(drop)
            }
            Keeper::Running(caller) => {
                let adding = caller.add_user(name, password.expose(), role.as_str(), &description);
                Ok(self.runtime.block_on(adding)?)
            }
        }
    }

    /// A proxy elsewhere wants to be shown the old password.
    pub(super) fn change_password(&self, name: &str, old: Option<&str>, password: &Password) -> Done<()> {
        match &self.keeper {
            Keeper::Stopped(accounts) => self.run(accounts.change_password(name, password)),
            Keeper::Running(caller) => {
                Ok(self.runtime.block_on(caller.change_password(name, old, password.expose()))?)
            }
        }
    }

    pub(super) fn change_role(&self, name: &str, role: Role) -> Done<()> {
        match &self.keeper {
            Keeper::Stopped(accounts) => {
                let edit = UserEdit { role: Some(role), ..UserEdit::default() };
                self.run(accounts.edit_user(name, edit)).map(drop)
            }
            Keeper::Running(caller) => Ok(self.runtime.block_on(caller.change_role(name, role.as_str()))?),
        }
    }

    pub(super) fn remove_user(&self, name: &str) -> Done<()> {
        match &self.keeper {
            Keeper::Stopped(accounts) => self.run(accounts.remove_user(name)),
            Keeper::Running(caller) => Ok(self.runtime.block_on(caller.remove_user(name))?),
        }
    }

    pub(super) fn keys(&self) -> Done<Vec<KeyBody>> {
        match &self.keeper {
            Keeper::Stopped(accounts) => {
                Ok(accounts.book().keys().map(|key| KeyBody::new(key, self.now)).collect())
            }
            Keeper::Running(caller) => Ok(self.runtime.block_on(caller.keys())?),
        }
    }

    /// The key, with its secret.
    pub(super) fn add_key(
        &self,
        name: &str,
        role: Role,
        expired_at: Until,
        description: String,
    ) -> Done<KeyBody> {
        match &self.keeper {
            Keeper::Stopped(accounts) => {
                let name: KeyName = name.parse().map_err(|error| format!("{name:?} {error}"))?;
                let new = NewKey { name, role, enabled: true, expired_at, description };
                let (key, secret) = self.run(accounts.add_key(new, self.now))?;
                let api_secret = Some(secret.expose().to_owned());
                Ok(KeyBody { api_secret, ..KeyBody::new(&key, self.now) })
            }
            Keeper::Running(caller) => {
                let expired_at = expired_at.to_string();
                let adding = caller.add_key(name, role.as_str(), &expired_at, &description);
                Ok(self.runtime.block_on(adding)?)
            }
        }
    }

    pub(super) fn remove_key(&self, name: &str) -> Done<()> {
        match &self.keeper {
            Keeper::Stopped(accounts) => self.run(accounts.remove_key(name)),
            Keeper::Running(caller) => Ok(self.runtime.block_on(caller.remove_key(name))?),
        }
    }

    fn run<T>(&self, change: impl Future<Output = Result<T, AccountsError>>) -> Done<T> {
        Ok(self.runtime.block_on(change)?)
    }
}
