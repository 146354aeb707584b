//! Calls about keys, as EMQX has them.

use super::accounts::AccountsError;
use super::api::Admin;
use super::auth::Person;
use super::body::Json;
use super::extract::Path;
use super::fault::{Fault, FaultBody};
use super::users::read_role;
use crate::accounts::{AccountError, ApiKey, KeyEdit, KeyName, NewKey};
use crate::admission::{Timestamp, Until};
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub(super) fn calls() -> OpenApiRouter<Admin> {
    OpenApiRouter::new().routes(routes!(keys, add_key)).routes(routes!(key, edit_key, remove_key))
}

/// A key.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct KeyBody {
    /// Its name.
    pub name: String,
    /// What stands before the colon of `Authorization: Basic`.
    pub api_key: String,
    /// What stands after it. Told when the key is made, and never again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api_secret: Option<String>,
    /// `administrator` or `viewer`.
    pub role: String,
    /// Whether it is switched on.
    pub enable: bool,
    /// RFC 3339, or `infinity`.
    pub expired_at: String,
    /// Whether that is over.
    pub expired: bool,
    /// For people.
    pub desc: String,
    /// When it was made; for one of a file, when that was read.
    pub created_at: String,
}

/// A key that is to be made.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewKeyBody {
    /// A letter, then letters, digits, `-` and `_`.
    pub(super) name: String,
    /// `administrator`, the default, or `viewer`.
    pub(super) role: Option<String>,
    /// Switched on is the default.
    pub(super) enable: Option<bool>,
    /// RFC 3339, epoch seconds, `infinity` or null, the default.
    pub(super) expired_at: Option<Moment>,
    /// For people.
    #[serde(alias = "description")]
    pub(super) desc: Option<String>,
}

/// What is to be changed of a key. What is left out stays.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ChangedKey {
    /// `administrator` or `viewer`.
    role: Option<String>,
    /// Switched on or off.
    enable: Option<bool>,
    /// RFC 3339, epoch seconds, or `infinity`.
    expired_at: Option<Moment>,
    /// For people.
    #[serde(alias = "description")]
    desc: Option<String>,
}

/// A moment as EMQX takes it.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(untagged)]
pub(super) enum Moment {
    /// Epoch seconds.
    Seconds(i64),
    /// RFC 3339, or `infinity`.
    Text(String),
}

impl Moment {
    fn read(self) -> Result<Until, Fault> {
        match self {
            Moment::Seconds(seconds) => Timestamp::from_seconds(seconds)
                .map(Until::Moment)
                .map_err(|error| Fault::bad_request(&format!("expired_at {seconds} {error}"))),
            Moment::Text(text) => {
                text.parse().map_err(|error| Fault::bad_request(&format!("expired_at {text:?} {error}")))
            }
        }
    }
}

impl NewKeyBody {
    pub(super) fn new(name: &str, role: &str, expired_at: &str, description: &str) -> NewKeyBody {
        NewKeyBody {
            name: name.to_owned(),
            role: Some(role.to_owned()),
            enable: None,
            expired_at: Some(Moment::Text(expired_at.to_owned())),
            desc: Some(description.to_owned()),
        }
    }
}

impl KeyBody {
    /// A key, as it is told.
    pub fn new(key: &ApiKey, now: Timestamp) -> KeyBody {
        KeyBody {
            name: key.name.to_string(),
            api_key: key.key.to_string(),
            api_secret: None,
            role: key.role.to_string(),
            enable: key.enabled,
            expired_at: key.expired_at.to_string(),
            expired: !key.expired_at.is_after(now),
            desc: key.description.to_string(),
            created_at: key.created_at.to_string(),
        }
    }
}

/// All keys, by name; those of `[admin] api_key_file` last.
#[utoipa::path(
    get,
    path = "/api/v5/api_key",
    tag = "accounts",
    responses(
        (status = OK, description = "the keys", body = Vec<KeyBody>),
        (status = UNAUTHORIZED, description = "`API_KEY_NOT_ALLOW`", body = FaultBody),
    )
)]
async fn keys(State(admin): State<Admin>, _: Person) -> axum::Json<Vec<KeyBody>> {
    let now = admin.bouncer.clock().now();
    axum::Json(admin.accounts.book().keys().map(|key| KeyBody::new(key, now)).collect())
}

/// Makes a key, and tells its secret.
#[utoipa::path(
    post,
    path = "/api/v5/api_key",
    tag = "accounts",
    request_body = NewKeyBody,
    responses(
        (status = OK, description = "the key with its secret", body = KeyBody),
        (status = BAD_REQUEST, description = "nothing has changed", body = FaultBody),
        (status = UNAUTHORIZED, description = "`API_KEY_NOT_ALLOW`", body = FaultBody),
    )
)]
async fn add_key(
    State(admin): State<Admin>,
    _: Person,
    Json(new): Json<NewKeyBody>,
) -> Result<axum::Json<KeyBody>, Fault> {
    let NewKeyBody { name, role, enable, expired_at, desc } = new;
    let name: KeyName = name.parse().map_err(|error| Fault::bad_request(&format!("name {error}")))?;
    let new = NewKey {
        name,
        role: read_role(role)?.unwrap_or_default(),
        enabled: enable.unwrap_or(true),
        expired_at: expired_at.map_or(Ok(Until::Infinity), Moment::read)?,
        description: desc.unwrap_or_default(),
    };
    let now = admin.bouncer.clock().now();
    let (key, secret) = admin.accounts.add_key(new, now).await?;
    let api_secret = Some(secret.expose().to_owned());
    Ok(axum::Json(KeyBody { api_secret, ..KeyBody::new(&key, now) }))
}

/// One key, without its secret.
#[utoipa::path(
    get,
    path = "/api/v5/api_key/{name}",
    tag = "accounts",
    params(("name" = String, Path, description = "the key's name")),
    responses(
        (status = OK, description = "the key", body = KeyBody),
        (status = UNAUTHORIZED, description = "`API_KEY_NOT_ALLOW`", body = FaultBody),
        (status = NOT_FOUND, description = "there is none", body = FaultBody),
    )
)]
async fn key(
    State(admin): State<Admin>,
    _: Person,
    Path(name): Path<String>,
) -> Result<axum::Json<KeyBody>, Fault> {
    let book = admin.accounts.book();
    let key = book.key(&name).ok_or(AccountsError::from(AccountError::NoKey))?;
    Ok(axum::Json(KeyBody::new(key, admin.bouncer.clock().now())))
}

/// Changes a key.
#[utoipa::path(
    put,
    path = "/api/v5/api_key/{name}",
    tag = "accounts",
    params(("name" = String, Path, description = "the key's name")),
    request_body = ChangedKey,
    responses(
        (status = OK, description = "the key as it is now", body = KeyBody),
        (status = BAD_REQUEST, description = "nothing has changed", body = FaultBody),
        (status = UNAUTHORIZED, description = "`API_KEY_NOT_ALLOW`", body = FaultBody),
        (status = NOT_FOUND, description = "there is none", body = FaultBody),
    )
)]
async fn edit_key(
    State(admin): State<Admin>,
    _: Person,
    Path(name): Path<String>,
    Json(changed): Json<ChangedKey>,
) -> Result<axum::Json<KeyBody>, Fault> {
    let ChangedKey { role, enable, expired_at, desc } = changed;
    let expired_at = expired_at.map(Moment::read).transpose()?;
    let edit = KeyEdit { role: read_role(role)?, enabled: enable, expired_at, description: desc };
    let key = admin.accounts.edit_key(&name, edit).await?.ok_or(AccountsError::from(AccountError::NoKey))?;
    Ok(axum::Json(KeyBody::new(&key, admin.bouncer.clock().now())))
}

/// Removes a key.
#[utoipa::path(
    delete,
    path = "/api/v5/api_key/{name}",
    tag = "accounts",
    params(("name" = String, Path, description = "the key's name")),
    responses(
        (status = NO_CONTENT, description = "removed"),
        (status = BAD_REQUEST, description = "it stands in a file", body = FaultBody),
        (status = UNAUTHORIZED, description = "`API_KEY_NOT_ALLOW`", body = FaultBody),
        (status = NOT_FOUND, description = "there is none", body = FaultBody),
    )
)]
async fn remove_key(
    State(admin): State<Admin>,
    _: Person,
    Path(name): Path<String>,
) -> Result<StatusCode, Fault> {
    admin.accounts.remove_key(&name).await?;
    Ok(StatusCode::NO_CONTENT)
}
