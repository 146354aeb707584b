//! What a running proxy is steered by, and the table of its calls.

use super::accounts::Accounts;
use super::fault::Fault;
use super::server::{Gate, Server};
use super::settings::Limits;
use super::socket::Socket;
use super::steering::Steering;
use super::{api_keys, auth, detections, explain, lists, login, node, users};
use crate::bouncer::Bouncer;
use crate::findings::Findings;
use crate::net::listener::Listener;
use crate::net::stop::Stop;
use crate::store::Store;
use arc_swap::ArcSwap;
use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::StatusCode;
use axum::middleware::from_fn_with_state;
use std::sync::Arc;
use tokio_util::task::TaskTracker;
use utoipa::OpenApi;
use utoipa::openapi::OpenApi as Document;
use utoipa_axum::router::OpenApiRouter;

/// What a running proxy is steered by.
#[derive(Debug, Clone)]
pub struct Admin {
    /// The lists that are in force.
    pub bouncer: Bouncer,
    /// The bans and exemptions that were made at run time.
    pub store: Store,
    /// What detection has found lately.
    pub findings: Findings,
    /// Who may call.
    pub accounts: Accounts,
    /// How much callers may take.
    pub limits: Arc<ArcSwap<Limits>>,
    /// Asks the one who runs the process.
    pub steering: Steering,
}

/// The head of the OpenAPI document; the calls are gathered from their handlers.
#[derive(Debug, OpenApi)]
#[openapi(info(title = "mqtt-bouncer", description = "Who may reach the broker, and who is there."))]
struct Api;

impl Admin {
    /// Serves callers of the socket until `stop` is raised, and those that are in by then to the end of their calls.
    pub async fn serve_socket(self, socket: Socket, stop: Stop) {
        self.server().keep_socket(socket, stop).await;
    }

    /// Serves callers of a listener until `stop` is raised, and those that are in by then to the end of their calls.
    pub async fn serve_listener(self, listener: Arc<Listener>, gate: Arc<Gate>, stop: Stop) {
        self.server().keep_listener(listener, gate, stop).await;
    }

    fn server(self) -> Server {
        let limits = Arc::clone(&self.limits);
        Server { router: self.router(), limits, connections: TaskTracker::new() }
    }

    fn router(self) -> Router {
        let (router, _) = calls().split_for_parts();
        let wrong_method =
            Fault::new(StatusCode::METHOD_NOT_ALLOWED, "METHOD_NOT_ALLOWED", &"this path has no such method");
        router
            .fallback(async || Fault::not_found(&"there is no such call"))
            .method_not_allowed_fallback(async move || wrong_method)
            // Bodies are limited where callers are let in.
            .layer(DefaultBodyLimit::disable())
            .layer(from_fn_with_state(self.clone(), auth::admit))
            .with_state(self)
    }
}

/// The calls, and the document that describes them.
fn calls() -> OpenApiRouter<Admin> {
    OpenApiRouter::with_openapi(Api::openapi())
        .merge(explain::calls())
        .merge(detections::calls())
        .merge(lists::calls())
        .merge(login::calls())
        .merge(users::calls())
        .merge(api_keys::calls())
        .merge(node::calls())
}

/// What the API can do, as OpenAPI has it.
pub fn document() -> Document {
    calls().into_openapi()
}
