//! Logging in and out.

use super::api::Admin;
use super::auth::{self, Kind, Origin, Person, Principal};
use super::body::Json;
use super::cookie;
use super::fault::{Fault, FaultBody};
use super::strangers;
use crate::accounts::Secret;
use crate::telemetry::Chain;
use axum::extract::State;
use axum::http::header::AUTHORIZATION;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub(super) fn calls() -> OpenApiRouter<Admin> {
    OpenApiRouter::new().routes(routes!(login)).routes(routes!(logout))
}

/// A name and a password.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Credentials {
    /// The user's name.
    username: String,
    /// The user's password.
    password: String,
}

/// A token.
#[derive(Debug, Serialize, ToSchema)]
struct LoggedIn {
    /// For `Authorization: Bearer`.
    token: String,
    /// This program's version.
    version: String,
    /// As EMQX has it.
    license: License,
    /// `administrator` or `viewer`.
    role: String,
    /// When the token ends unless it is used; each use puts it off.
    expired_at: String,
}

#[derive(Debug, Serialize, ToSchema)]
struct License {
    /// `opensource`.
    edition: &'static str,
}

/// Gives a token to whoever knows a user's password.
#[utoipa::path(
    post,
    path = "/api/v5/login",
    tag = "accounts",
    request_body = Credentials,
    responses(
        (status = OK, description = "a token", body = LoggedIn),
        (status = BAD_REQUEST, description = "the body is wrong", body = FaultBody),
        (status = UNAUTHORIZED, description = "`BAD_USERNAME_OR_PWD`", body = FaultBody),
        (status = TOO_MANY_REQUESTS, description = "too many attempts from this address, or too many that failed", body = FaultBody),
    )
)]
async fn login(
    State(admin): State<Admin>,
    origin: Origin,
    Json(credentials): Json<Credentials>,
) -> Result<Response, Fault> {
    let (caller, token) = enter(&admin, origin, credentials).await?;
    let body = LoggedIn {
        token: token.expose().to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        license: License { edition: "opensource" },
        role: caller.role.to_string(),
        expired_at: admin.bouncer.clock().now().after(admin.accounts.token_ttl()).to_string(),
    };
    let mut response = axum::Json(body).into_response();
    response.extensions_mut().insert(caller);
    Ok(response)
}

/// A token for whoever knows a user's password.
pub(super) async fn enter(
    admin: &Admin,
    origin: Origin,
    Credentials { username, password }: Credentials,
) -> Result<(Principal, Secret), Fault> {
    let clock = admin.bouncer.clock();
    let locked = auth::begin_attempt(admin, origin)?;
    let user = admin.accounts.user_with(&username, &password).await;
    let token = user.as_ref().map(|user| admin.accounts.log_in(user, clock.moment())).transpose();
    let token = token.map_err(|error| Fault::internal(&Chain(&error)))?.flatten();
    let Some((user, token)) = user.zip(token) else {
        strangers::login_failed(origin, &username);
        if let Origin::Peer(peer) = origin {
            auth::tell_lock(peer.ip(), locked);
        }
        return Err(Fault::unauthorized("BAD_USERNAME_OR_PWD", &"Auth failed"));
    };
    if let Origin::Peer(peer) = origin {
        admin.accounts.lockout().succeeded(peer.ip(), locked);
    }
    let caller = Principal { kind: Kind::User, name: user.name.to_string(), role: user.role };
    Ok((caller, token))
}

/// Takes the token back that the call was made with.
#[utoipa::path(
    post,
    path = "/api/v5/logout",
    tag = "accounts",
    responses(
        (status = NO_CONTENT, description = "the token opens nothing any more"),
        (status = UNAUTHORIZED, description = "nobody is logged in", body = FaultBody),
    )
)]
async fn logout(State(admin): State<Admin>, _: Person, headers: HeaderMap) -> StatusCode {
    let header = headers.get(AUTHORIZATION).and_then(|header| header.to_str().ok());
    let token = header.and_then(|header| Some(header.trim().split_once(' ')?.1.trim()));
    if let Some(token) = token.or_else(|| cookie::token(&headers)) {
        admin.accounts.log_out(token);
    }
    StatusCode::NO_CONTENT
}
