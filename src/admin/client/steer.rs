//! Calls about the process itself, and about those who may use the API.

use super::{Body, CallError, Caller, empty, json};
use crate::admin::api_keys::{KeyBody, NewKeyBody};
use crate::admin::explanation::BadExplanation;
use crate::admin::steering::{NotReloaded, Reloaded, Status};
use crate::admin::upstreams::{ServerBody, UpstreamsBody};
use crate::admin::users::{ChangedUser, NewUser, Passwords, UserBody};
use hyper::Method;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::de::DeserializeOwned;

impl Caller {
    /// How the process is.
    pub async fn status(&self) -> Result<Status, CallError> {
        self.ask(Method::GET, "status", empty()).await
    }

    /// Has the config file read again.
    ///
    /// # Errors
    /// The file cannot be used: [`CallError::NotReloaded`].
    pub async fn reload(&self) -> Result<Reloaded, CallError> {
        self.ask(Method::POST, "reload", empty()).await
    }

    /// The brokers and how they are.
    pub async fn upstreams(&self) -> Result<UpstreamsBody, CallError> {
        self.ask(Method::GET, "upstreams", empty()).await
    }

    /// Takes no new clients to a broker, or takes them there again; how it is then.
    pub async fn drain_server(
        &self,
        group: &str,
        server: &str,
        is_drained: bool,
    ) -> Result<ServerBody, CallError> {
        let word = if is_drained { "drain" } else { "resume" };
        let path = format!("upstreams/{}/{}/{word}", encoded(group), encoded(server));
        self.ask(Method::POST, &path, empty()).await
    }

    /// All users.
    pub async fn users(&self) -> Result<Vec<UserBody>, CallError> {
        self.ask(Method::GET, "users", empty()).await
    }

    /// Makes a user.
    pub async fn add_user(
        &self,
        name: &str,
        password: &str,
        role: &str,
        description: &str,
    ) -> Result<(), CallError> {
        let new = NewUser {
            username: name.to_owned(),
            password: password.to_owned(),
            role: Some(role.to_owned()),
            description: Some(description.to_owned()),
        };
        self.call(Method::POST, "users", json(&new)).await.map(drop)
    }

    /// Changes a user's password. Who is not at the socket has to show the old one.
    pub async fn change_password(
        &self,
        name: &str,
        old: Option<&str>,
        password: &str,
    ) -> Result<(), CallError> {
        let passwords = Passwords { old_pwd: old.map(str::to_owned), new_pwd: password.to_owned() };
        let path = format!("users/{}/change_pwd", encoded(name));
        self.call(Method::POST, &path, json(&passwords)).await.map(drop)
    }

    /// Changes what a user may do.
    pub async fn change_role(&self, name: &str, role: &str) -> Result<(), CallError> {
        let changed = ChangedUser { role: Some(role.to_owned()), description: None };
        self.call(Method::PUT, &format!("users/{}", encoded(name)), json(&changed)).await.map(drop)
    }

    /// Removes a user.
    pub async fn remove_user(&self, name: &str) -> Result<(), CallError> {
        self.call(Method::DELETE, &format!("users/{}", encoded(name)), empty()).await.map(drop)
    }

    /// All keys, without their secrets.
    pub async fn keys(&self) -> Result<Vec<KeyBody>, CallError> {
        self.ask(Method::GET, "api_key", empty()).await
    }

    /// Makes a key. The answer has its secret.
    pub async fn add_key(
        &self,
        name: &str,
        role: &str,
        expired_at: &str,
        description: &str,
    ) -> Result<KeyBody, CallError> {
        let new = NewKeyBody::new(name, role, expired_at, description);
        self.ask(Method::POST, "api_key", json(&new)).await
    }

    /// Removes a key.
    pub async fn remove_key(&self, name: &str) -> Result<(), CallError> {
        self.call(Method::DELETE, &format!("api_key/{}", encoded(name)), empty()).await.map(drop)
    }

    async fn ask<T: DeserializeOwned>(&self, method: Method, path: &str, body: Body) -> Result<T, CallError> {
        let answer = self.call(method, path, body).await?;
        serde_json::from_slice(&answer).map_err(|error| BadExplanation::new(&error).into())
    }
}

fn encoded(name: &str) -> String {
    utf8_percent_encode(name, NON_ALPHANUMERIC).to_string()
}

/// What the body of a refusal says of the config file, if it is about that.
pub(super) fn not_reloaded(body: &[u8]) -> Option<NotReloaded> {
    let found: serde_json::Value = serde_json::from_slice(body).ok()?;
    let is_config = found.get("code").is_some_and(|code| code == "BAD_CONFIG");
    is_config.then(|| serde_json::from_value(found).ok()).flatten()
}
