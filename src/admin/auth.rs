//! Who calls, and whether they may. Every call passes here.
//!
//! As EMQX has it: `Authorization: Basic` with a key and its secret, or `Bearer` with a token of `POST /api/v5/login`. The
//! dashboard has its token in a cookie instead (`cookie`).
//! Whoever comes through the socket has no need to say who they are: the file's permissions let only its owner and root
//! open it.

use super::api::Admin;
use super::fault::Fault;
use super::settings::Limits;
use super::{body, cookie, dashboard};
use crate::accounts::{Role, TokenError};
use crate::telemetry::Shown;
use axum::extract::{FromRequestParts, Request, State};
use axum::http::header::{AUTHORIZATION, CACHE_CONTROL, HOST, WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Version};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;
use tracing::info;

/// Where a call comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    /// The socket in the data directory.
    Socket,
    /// The listener.
    Peer(SocketAddr),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Socket => f.write_str("socket"),
            Origin::Peer(peer) => peer.fmt(f),
        }
    }
}

/// Who calls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Principal {
    pub(super) kind: Kind,
    pub(super) name: String,
    pub(super) role: Role,
}

/// How somebody has said who they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Through the socket.
    Local,
    /// With a token.
    User,
    /// With a key.
    Key,
}

impl fmt::Display for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            Kind::Local => return f.write_str("local"),
            Kind::User => "user",
            Kind::Key => "api_key",
        };
        write!(f, "{kind}:{}", Shown(&self.name))
    }
}

/// Calls that need no login.
fn is_open(method: &Method, path: &str, limits: &Limits) -> bool {
    match path {
        "/livez" | "/readyz" => is_look(method),
        "/metrics" => is_look(method) && limits.open_metrics,
        LOGIN => *method == Method::POST,
        _ => dashboard::is_open(is_look(method), path),
    }
}

/// Calls that a viewer may make although they are no GET.
fn is_for_viewers(path: &str, viewer: &Principal) -> bool {
    match path {
        "/api/v5/explain" | "/api/v5/detections/what-if" | "/api/v5/logout" => true,
        // One's own password.
        _ => {
            let name = path.strip_prefix("/api/v5/users/").and_then(|rest| rest.strip_suffix("/change_pwd"));
            viewer.kind == Kind::User && name == Some(viewer.name.as_str())
        }
    }
}

fn is_look(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS)
}

pub(super) const LOGIN: &str = "/api/v5/login";

/// Lets a call through to its handler when its caller may make it, and writes down what was changed.
pub(super) async fn admit(State(admin): State<Admin>, request: Request, next: Next) -> Response {
    let origin = *request.extensions().get().unwrap_or(&Origin::Peer(SocketAddr::new(NOWHERE, 0)));
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let limits = admin.limits.load_full();
    let is_for_page = dashboard::is_for_page(&path) || request.headers().contains_key(cookie::WORD);
    let (caller, mut response) = match judge(&admin, &limits, &request, origin) {
        Ok(caller) => {
            let response = pass(request, &limits, caller.clone(), next).await;
            let logged_in = response.extensions().get().cloned();
            (caller.or(logged_in), response)
        }
        Err(Refusal { caller, fault }) => {
            if caller.is_none() {
                super::strangers::refused(origin, &method, &path, fault.code());
            }
            (caller, fault.into_response())
        }
    };
    if let Some(caller) = caller.filter(|_| !is_look(&method)) {
        let (role, status) = (caller.role, response.status().as_u16());
        info!(principal = %caller, %role, from = %origin, %method, path = %Shown(&path), status, "audit");
    }
    let headers = response.headers_mut();
    if is_for_page {
        // Else the browser would ask for a password on its own account.
        headers.remove(WWW_AUTHENTICATE);
    }
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

const NOWHERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED);

/// A call that does not get to its handler, and who made it, where that is known.
struct Refusal {
    caller: Option<Principal>,
    /// Boxed, since most calls get there.
    fault: Box<Fault>,
}

impl From<Fault> for Refusal {
    fn from(fault: Fault) -> Refusal {
        Refusal { caller: None, fault: Box::new(fault) }
    }
}

/// Who calls; `None` where nobody has to say.
fn judge(
    admin: &Admin,
    limits: &Limits,
    request: &Request,
    origin: Origin,
) -> Result<Option<Principal>, Refusal> {
    let (method, path, headers) = (request.method(), request.uri().path(), request.headers());
    // RFC 9112, section 3.2: a request of HTTP/1.1 without Host must be refused.
    if request.version() == Version::HTTP_11 && !headers.contains_key(HOST) {
        return Err(Fault::bad_request(&"the Host header is missing").into());
    }
    // A browser may have a key in its memory and send it along with what another site has made it send.
    if !is_look(method) && headers.get("sec-fetch-site").is_some_and(|site| site == "cross-site") {
        let message = "another site has made the browser send this";
        return Err(Fault::new(StatusCode::FORBIDDEN, "CROSS_SITE", &message).into());
    }
    if is_open(method, path, limits) {
        return Ok(None);
    }
    let caller = who(admin, origin, headers)?;
    // A browser sends a cookie along whoever has made it send the call.
    if !is_look(method)
        && by_cookie(origin, headers).is_some_and(|token| !cookie::is_from_page(headers, token))
    {
        return Err(Refusal { caller: Some(caller), fault: Box::new(not_from_page()) });
    }
    if caller.role == Role::Viewer && !is_look(method) && !is_for_viewers(path, &caller) {
        let message = "a viewer may look, and change nothing";
        let fault = Fault::new(StatusCode::FORBIDDEN, "UNAUTHORIZED_ROLE", &message);
        return Err(Refusal { caller: Some(caller), fault: Box::new(fault) });
    }
    Ok(Some(caller))
}

/// Who calls.
pub(super) fn who(admin: &Admin, origin: Origin, headers: &HeaderMap) -> Result<Principal, Fault> {
    match origin {
        Origin::Socket => Ok(Principal { kind: Kind::Local, name: String::new(), role: Role::Administrator }),
        Origin::Peer(peer) => match by_cookie(origin, headers) {
            Some(token) => with_token(admin, token),
            None => identify(admin, headers, peer.ip()),
        },
    }
}

/// The token in the cookie, where that is how somebody says who they are.
fn by_cookie(origin: Origin, headers: &HeaderMap) -> Option<&str> {
    let has_a_say = matches!(origin, Origin::Peer(_)) && !headers.contains_key(AUTHORIZATION);
    cookie::token(headers).filter(|_| has_a_say)
}

/// What is said to a browser that sends a call for somebody else.
pub(super) fn not_from_page() -> Fault {
    let message = format!("calls with a cookie that change something need the header {}", cookie::WORD);
    Fault::new(StatusCode::FORBIDDEN, "NOT_FROM_PAGE", &message)
}

async fn pass(request: Request, limits: &Limits, caller: Option<Principal>, next: Next) -> Response {
    match body::limited(request, limits, caller.is_some()).await {
        Ok(mut request) => {
            if let Some(caller) = caller {
                request.extensions_mut().insert(caller);
            }
            next.run(request).await
        }
        Err(fault) => fault.into_response(),
    }
}

fn identify(admin: &Admin, headers: &HeaderMap, peer: IpAddr) -> Result<Principal, Fault> {
    let odd = || Fault::unauthorized("AUTHORIZATION_HEADER_ERROR", &HEADER_ERROR);
    let header = headers.get(AUTHORIZATION).and_then(|header| header.to_str().ok()).ok_or_else(odd)?;
    let (scheme, credentials) = header.trim().split_once(' ').ok_or_else(odd)?;
    let credentials = credentials.trim();
    match scheme.to_ascii_lowercase().as_str() {
        "basic" => {
            let text = STANDARD.decode(credentials).ok().and_then(|bytes| String::from_utf8(bytes).ok());
            let text = text.ok_or_else(odd)?;
            let (key, secret) = text.split_once(':').ok_or_else(odd)?;
            with_key(admin, key, secret, peer)
        }
        "bearer" => with_token(admin, credentials),
        _ => Err(odd()),
    }
}

const HEADER_ERROR: &str = "Missing authorization header. Expected \"Authorization: Basic …\" with an API key and its \
                            secret, or \"Authorization: Bearer …\" with a token of POST /api/v5/login";

/// Keys that were made here have secrets of 256 random bits: whoever shows one has not guessed it, and gets in from an
/// address that others have guessed from. The secrets of a file may be anything.
fn with_key(admin: &Admin, key: &str, secret: &str, peer: IpAddr) -> Result<Principal, Fault> {
    let clock = admin.bouncer.clock();
    let book = admin.accounts.book();
    let opened = book.open(key, secret, clock.now());
    let principal = |key: &crate::accounts::ApiKey| Principal {
        kind: Kind::Key,
        name: key.name.as_str().to_owned(),
        role: key.role,
    };
    if let Some(key) = opened.filter(|key| !key.name.is_of_file()) {
        return Ok(principal(key));
    }
    let mut lockout = admin.accounts.lockout();
    match (lockout.wait(peer, clock.moment()), opened) {
        (Some(left), _) => Err(Fault::too_many_requests(left)),
        (None, Some(key)) => Ok(principal(key)),
        (None, None) => {
            let locked = lockout.attempt(peer, clock.moment()).ok().flatten();
            drop(lockout);
            tell_lock(peer, locked);
            Err(Fault::unauthorized("BAD_API_KEY_OR_SECRET", &"Check api_key/api_secret"))
        }
    }
}

/// Tokens have 256 random bits, too. A wrong one is old, and no guess: it does not count.
fn with_token(admin: &Admin, token: &str) -> Result<Principal, Fault> {
    let bad = || Fault::unauthorized("BAD_TOKEN", &"Get a token by POST /api/v5/login");
    let user =
        admin.accounts.logged_in(token, admin.bouncer.clock().moment()).map_err(|error| match error {
            TokenError::Unknown => bad(),
            TokenError::Ended => {
                Fault::unauthorized("TOKEN_TIME_OUT", &"Token expired, get a new one by POST /api/v5/login")
            }
        })?;
    let book = admin.accounts.book();
    let role = book.user(user.as_str()).ok_or_else(bad)?.role;
    Ok(Principal { kind: Kind::User, name: user.as_str().to_owned(), role })
}

/// Counts an attempt to log in as a failure; whoever succeeds gives it back. No address may make too many of either.
pub(super) fn begin_attempt(admin: &Admin, origin: Origin) -> Result<Option<Duration>, Fault> {
    let Origin::Peer(peer) = origin else { return Ok(None) };
    let (accounts, now) = (&admin.accounts, admin.bouncer.clock().moment());
    // Who is locked is told for how long, however fast it comes.
    if accounts.lockout().wait(peer.ip(), now).is_none() {
        accounts.pace().attempt(peer.ip()).map_err(Fault::too_fast)?;
    }
    accounts.lockout().attempt(peer.ip(), now).map_err(Fault::too_many_requests)
}

/// Says that an address was locked.
pub(super) fn tell_lock(peer: IpAddr, locked: Option<Duration>) {
    if let Some(locked) = locked {
        super::strangers::locked(peer, locked);
    }
}

/// A caller who is a person: through the socket, or logged in. Keys must not make users or other keys.
pub(super) struct Person(pub(super) Principal);

impl<S: Sync> FromRequestParts<S> for Person {
    type Rejection = Fault;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Person, Fault> {
        match parts.extensions.get::<Principal>() {
            Some(caller) if caller.kind != Kind::Key => Ok(Person(caller.clone())),
            _ => Err(Fault::unauthorized(
                "API_KEY_NOT_ALLOW",
                &"This API Key don't have permission to access this resource",
            )),
        }
    }
}

/// Where a call comes from, for handlers.
impl<S: Sync> FromRequestParts<S> for Origin {
    type Rejection = Fault;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Origin, Fault> {
        parts
            .extensions
            .get()
            .copied()
            .ok_or_else(|| Fault::internal(&"nobody knows where the call comes from"))
    }
}
