//! Logging in and out with a browser.

use crate::admin::api::Admin;
use crate::admin::auth::{self, Kind, Origin, Principal};
use crate::admin::body::Json;
use crate::admin::fault::Fault;
use crate::admin::login::{self, Credentials};
use crate::admin::server::Line;
use crate::admin::{api, cookie};
use axum::extract::{Extension, State};
use axum::http::header::SET_COOKIE;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

/// Who is logged in.
#[derive(Debug, Serialize)]
struct Session {
    /// The user, or the key.
    name: String,
    /// `user`, `api_key` or `local`.
    kind: &'static str,
    /// `administrator` or `viewer`.
    role: String,
    /// What calls that change something show.
    csrf: String,
    /// `[node] name`.
    node: String,
    /// The program's version.
    version: &'static str,
}

impl Session {
    fn of(admin: &api::Admin, caller: &Principal, token: Option<&str>) -> Session {
        let kind = match caller.kind {
            Kind::Local => "local",
            Kind::User => "user",
            Kind::Key => "api_key",
        };
        Session {
            name: caller.name.clone(),
            kind,
            role: caller.role.to_string(),
            csrf: token.map(cookie::word).unwrap_or_default(),
            node: admin.node.to_string(),
            version: env!("CARGO_PKG_VERSION"),
        }
    }
}

/// Who is logged in; nothing where nobody is.
pub(super) async fn show(
    State(admin): State<Admin>,
    origin: Origin,
    headers: HeaderMap,
) -> Result<Response, Fault> {
    match auth::who(&admin, origin, &headers) {
        Ok(caller) => Ok(axum::Json(Session::of(&admin, &caller, cookie::token(&headers))).into_response()),
        Err(fault) if fault.is_unauthorized() => Ok(StatusCode::NO_CONTENT.into_response()),
        Err(fault) => Err(fault),
    }
}

/// Gives the browser a token that no script can read.
pub(super) async fn log_in(
    State(admin): State<Admin>,
    Extension(line): Extension<Line>,
    origin: Origin,
    headers: HeaderMap,
    Json(credentials): Json<Credentials>,
) -> Result<Response, Fault> {
    let (caller, token) = login::enter(&admin, origin, credentials).await?;
    // Whoever logs in anew has no use for the token before.
    if let Some(before) = cookie::token(&headers) {
        admin.accounts.log_out(before);
    }
    let cookie = cookie::set(&headers, line.is_tls, token.expose());
    let cookie = cookie.ok_or_else(|| Fault::bad_request(&"the Host header is not text"))?;
    let session = Session::of(&admin, &caller, Some(token.expose()));
    let mut response = ([(SET_COOKIE, cookie)], axum::Json(session)).into_response();
    response.extensions_mut().insert(caller);
    Ok(response)
}

/// Takes the token back.
pub(super) async fn log_out(
    State(admin): State<Admin>,
    Extension(line): Extension<Line>,
    origin: Origin,
    headers: HeaderMap,
) -> Result<Response, Fault> {
    let caller = auth::who(&admin, origin, &headers)?;
    if let Some(token) = cookie::token(&headers) {
        if !cookie::is_from_page(&headers, token) {
            return Err(auth::not_from_page());
        }
        admin.accounts.log_out(token);
    }
    let mut response = StatusCode::NO_CONTENT.into_response();
    response.headers_mut().extend(cookie::forget(&headers, line.is_tls).map(|cookie| (SET_COOKIE, cookie)));
    response.extensions_mut().insert(caller);
    Ok(response)
}
