//! Serves the page that operators watch, and what it alone asks for.
//!
//! | call | does |
//! |---|---|
//! | `GET /`, `/dashboard` | leads to the page |
//! | `GET /dashboard/`, `/dashboard/{view}` | the page; `view` says what it shows first |
//! | `GET /dashboard/files/{name}` | what the page consists of |
//! | `GET`, `POST`, `DELETE /dashboard/session` | says who is logged in, logs in, logs out: by a cookie |
//! | `GET /dashboard/feed` | tells how it is, every second, for as long as somebody listens (server-sent events) |
//!
//! Everything else that the page does are calls of the API that anybody may make.

mod feed;
mod history;
mod pages;
mod pulse;
mod session;

pub use feed::Board;
pub(super) use history::calls;

use super::api::Admin;
use super::fault::Fault;
use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;
use axum::routing::get;

/// Where the page says who it is.
const SESSION: &str = "/dashboard/session";
const FEED: &str = "/dashboard/feed";

/// What needs no login: the page itself, which knows nothing, and where one logs in.
pub(super) fn is_open(is_look: bool, path: &str) -> bool {
    let is_page = path == "/" || path == "/dashboard" || path.starts_with("/dashboard/") && path != FEED;
    is_page && is_look || path == SESSION
}

/// Whether an answer goes to the page, which asks for a password itself: the browser must not.
pub(super) fn is_for_page(path: &str) -> bool {
    path.starts_with("/dashboard/")
}

/// The page, and what it alone asks for.
pub(super) fn router(admin: &Admin) -> Router<Admin> {
    Router::new()
        .route("/", get(pages::lead))
        .route("/dashboard", get(pages::lead))
        .route("/dashboard/", get(pages::page))
        .route("/dashboard/{view}", get(pages::page))
        .route("/dashboard/files/{name}", get(pages::file))
        .route(SESSION, get(session::show).post(session::log_in).delete(session::log_out))
        .route(FEED, get(feed::feed))
        .layer(from_fn_with_state(admin.clone(), where_it_is_on))
}

async fn where_it_is_on(State(admin): State<Admin>, request: Request, next: Next) -> Result<Response, Fault> {
    if admin.limits.load().dashboard {
        Ok(next.run(request).await)
    } else {
        Err(Fault::not_found(&"the dashboard is switched off; [admin] dashboard = true switches it on"))
    }
}
