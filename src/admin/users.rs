//! Calls about users, as EMQX has them.

use super::accounts::AccountsError;
use super::api::Admin;
use super::auth::{Kind, Origin, Person};
use super::body::Json;
use super::extract::Path;
use super::fault::{Fault, FaultBody};
use super::{auth, strangers};
use crate::accounts::{AccountError, Password, Role, User, UserEdit, UserName};
use crate::store::ChangeError;
use crate::telemetry::Chain;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub(super) fn calls() -> OpenApiRouter<Admin> {
    OpenApiRouter::new()
        .routes(routes!(users, add_user))
        .routes(routes!(edit_user, remove_user))
        .routes(routes!(change_password))
}

/// A user.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct UserBody {
    /// The name.
    pub username: String,
    /// `administrator` or `viewer`.
    pub role: String,
    /// For people.
    pub description: String,
    /// `local`: EMQX has others.
    pub backend: String,
    /// When the user was made.
    pub created_at: String,
}

/// A user that is to be made.
#[derive(Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewUser {
    /// 1 to 64 letters, digits, `-`, `_`, `.` and `@`.
    pub(super) username: String,
    /// 8 to 256 characters.
    pub(super) password: String,
    /// `administrator`, the default, or `viewer`.
    pub(super) role: Option<String>,
    /// For people.
    pub(super) description: Option<String>,
}

/// What is to be changed of a user.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ChangedUser {
    /// `administrator` or `viewer`; it stays when it is left out.
    pub(super) role: Option<String>,
    /// For people; it stays when it is left out.
    pub(super) description: Option<String>,
}

/// A password that is to be changed.
#[derive(Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Passwords {
    /// The one so far. May be left out only through the socket.
    pub(super) old_pwd: Option<String>,
    /// 8 to 256 characters.
    pub(super) new_pwd: String,
}

impl From<&User> for UserBody {
    fn from(user: &User) -> UserBody {
        UserBody {
            username: user.name.to_string(),
            role: user.role.to_string(),
            description: user.description.to_string(),
            backend: "local".to_owned(),
            created_at: user.created_at.to_string(),
        }
    }
}

/// All users, by name.
#[utoipa::path(
    get,
    path = "/api/v5/users",
    tag = "accounts",
    responses(
        (status = OK, description = "the users", body = Vec<UserBody>),
        (status = UNAUTHORIZED, description = "`API_KEY_NOT_ALLOW`", body = FaultBody),
    )
)]
async fn users(State(admin): State<Admin>, _: Person) -> axum::Json<Vec<UserBody>> {
    axum::Json(admin.accounts.book().users().map(UserBody::from).collect())
}

/// Makes a user.
#[utoipa::path(
    post,
    path = "/api/v5/users",
    tag = "accounts",
    request_body = NewUser,
    responses(
        (status = OK, description = "the user", body = UserBody),
        (status = BAD_REQUEST, description = "nothing has changed", body = FaultBody),
        (status = UNAUTHORIZED, description = "`API_KEY_NOT_ALLOW`", body = FaultBody),
    )
)]
async fn add_user(
    State(admin): State<Admin>,
    _: Person,
    Json(new): Json<NewUser>,
) -> Result<axum::Json<UserBody>, Fault> {
    let NewUser { username, password, role, description } = new;
    let name: UserName =
        username.parse().map_err(|error| Fault::bad_request(&format!("username {error}")))?;
    let password = read_password("password", &password)?;
    let role = read_role(role)?.unwrap_or_default();
    let now = admin.bouncer.clock().now();
    let added = admin.accounts.add_user(name, &password, role, description.unwrap_or_default(), now).await?;
    Ok(axum::Json(UserBody::from(&added)))
}

/// Changes a user's role or description.
#[utoipa::path(
    put,
    path = "/api/v5/users/{name}",
    tag = "accounts",
    params(("name" = String, Path, description = "the user")),
    request_body = ChangedUser,
    responses(
        (status = OK, description = "the user as it is now", body = UserBody),
        (status = BAD_REQUEST, description = "nothing has changed", body = FaultBody),
        (status = UNAUTHORIZED, description = "`API_KEY_NOT_ALLOW`", body = FaultBody),
        (status = NOT_FOUND, description = "`USER_NOT_FOUND`", body = FaultBody),
    )
)]
async fn edit_user(
    State(admin): State<Admin>,
    _: Person,
    Path(name): Path<String>,
    Json(changed): Json<ChangedUser>,
) -> Result<axum::Json<UserBody>, Fault> {
    let ChangedUser { role, description } = changed;
    let edit = UserEdit { role: read_role(role)?, description, password: None };
    let user =
        admin.accounts.edit_user(&name, edit).await?.ok_or(AccountsError::from(AccountError::NoUser))?;
    Ok(axum::Json(UserBody::from(&user)))
}

/// Removes a user, who is logged out.
#[utoipa::path(
    delete,
    path = "/api/v5/users/{name}",
    tag = "accounts",
    params(("name" = String, Path, description = "the user")),
    responses(
        (status = NO_CONTENT, description = "removed"),
        (status = BAD_REQUEST, description = "it is the last administrator", body = FaultBody),
        (status = UNAUTHORIZED, description = "`API_KEY_NOT_ALLOW`", body = FaultBody),
        (status = NOT_FOUND, description = "`USER_NOT_FOUND`", body = FaultBody),
    )
)]
async fn remove_user(
    State(admin): State<Admin>,
    _: Person,
    Path(name): Path<String>,
) -> Result<StatusCode, Fault> {
    admin.accounts.remove_user(&name).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Changes a user's password. Whoever is logged in as that user is logged out.
#[utoipa::path(
    post,
    path = "/api/v5/users/{name}/change_pwd",
    tag = "accounts",
    params(("name" = String, Path, description = "the user")),
    request_body = Passwords,
    responses(
        (status = NO_CONTENT, description = "changed"),
        (status = BAD_REQUEST, description = "`ERROR_PWD_NOT_MATCH`, or the new one is none", body = FaultBody),
        (status = UNAUTHORIZED, description = "`API_KEY_NOT_ALLOW`", body = FaultBody),
        (status = NOT_FOUND, description = "`USER_NOT_FOUND`", body = FaultBody),
        (status = TOO_MANY_REQUESTS, description = "too many attempts from this address, or too many that failed", body = FaultBody),
    )
)]
async fn change_password(
    State(admin): State<Admin>,
    Person(caller): Person,
    origin: Origin,
    Path(name): Path<String>,
    Json(Passwords { old_pwd, new_pwd }): Json<Passwords>,
) -> Result<StatusCode, Fault> {
    let new = read_password("new_pwd", &new_pwd)?;
    if admin.accounts.book().user(&name).is_none() {
        return Err(AccountsError::from(AccountError::NoUser).into());
    }
    match old_pwd {
        None if caller.kind == Kind::Local => {}
        None => return Err(Fault::bad_request(&"old_pwd is missing")),
        Some(old) => {
            let locked = auth::begin_attempt(&admin, origin)?;
            let is_right = admin.accounts.user_with(&name, &old).await.is_some();
            if let Origin::Peer(peer) = origin {
                if is_right {
                    admin.accounts.lockout().succeeded(peer.ip(), locked);
                } else {
                    auth::tell_lock(peer.ip(), locked);
                }
            }
            if !is_right {
                strangers::login_failed(origin, &name);
                let message = "Old password not match";
                return Err(Fault::new(StatusCode::BAD_REQUEST, "ERROR_PWD_NOT_MATCH", &message));
            }
        }
    }
    admin.accounts.change_password(&name, &new).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn read_password(field: &str, text: &str) -> Result<Password, Fault> {
    text.parse().map_err(|error| Fault::bad_request(&format!("{field} {error}")))
}

pub(super) fn read_role(role: Option<String>) -> Result<Option<Role>, Fault> {
    let read =
        |text: String| text.parse().map_err(|error| Fault::bad_request(&format!("role {text:?} {error}")));
    role.map(read).transpose()
}

impl From<AccountsError> for Fault {
    fn from(error: AccountsError) -> Fault {
        let message = Chain(&error).to_string();
        match error {
            AccountsError::Account(AccountError::NoUser) => {
                Fault::new(StatusCode::NOT_FOUND, "USER_NOT_FOUND", &"User not found")
            }
            AccountsError::Account(AccountError::NoKey) => Fault::not_found(&"Name NOT FOUND"),
            AccountsError::Account(AccountError::UserExists | AccountError::KeyExists) => {
                Fault::new(StatusCode::BAD_REQUEST, "ALREADY_EXISTS", &message)
            }
            AccountsError::Account(_) => Fault::bad_request(&message),
            AccountsError::Change(ChangeError::Closed) => {
                Fault::new(StatusCode::SERVICE_UNAVAILABLE, "SERVICE_UNAVAILABLE", &message)
            }
            AccountsError::Change(_) | AccountsError::Password(_) | AccountsError::Random => {
                Fault::internal(&message)
            }
        }
    }
}
