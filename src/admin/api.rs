//! What a running proxy is steered by, and the table of its calls.

use super::accounts::Accounts;
use super::auth::{Origin, Principal};
use super::dashboard::{self, Board};
use super::fault::Fault;
use super::health::Watch;
use super::lists::Moment;
use super::openapi::{self, Head};
use super::server::{Gate, Server};
use super::settings::Limits;
use super::socket::Socket;
use super::steering::Steering;
use super::turns::{Line, Turns};
use super::{
    api_keys, auth, clients, detections, explain, lists, login, monitoring, node, refused, stats, suspects,
    upstreams, users, what_if,
};
use crate::admission::Timestamp;
use crate::bouncer::Bouncer;
use crate::cleanup::CleanupSettings;
use crate::findings::Findings;
use crate::net::listener::Listener;
use crate::net::stop::Stop;
use crate::proxy::Proxy;
use crate::store::Store;
use crate::telemetry::Telemetry;
use crate::webhook;
use arc_swap::ArcSwap;
use axum::Router;
use axum::extract::{DefaultBodyLimit, MatchedPath, Request, State};
use axum::http::StatusCode;
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;
use std::sync::Arc;
use tokio::sync::watch;
use tokio_util::task::TaskTracker;
use utoipa::OpenApi;
use utoipa::openapi::OpenApi as Document;
use utoipa_axum::router::OpenApiRouter;

/// What a running proxy is steered by.
#[derive(Debug, Clone)]
pub struct Admin {
    /// `[node] name`.
    pub node: Arc<str>,
    /// When the process started.
    pub started_at: Timestamp,
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
    /// The clients' side of it, and what is counted there.
    pub proxy: Arc<Proxy>,
    /// The log.
    pub telemetry: Telemetry,
    /// Who is told of events.
    pub webhook: webhook::Current,
    /// When ended bans are forgotten.
    pub cleanup: watch::Receiver<CleanupSettings>,
    /// Whether clients may be sent here.
    pub readiness: Watch,
    /// What the dashboard shows.
    pub board: Board,
    /// When it is a caller's turn.
    pub turns: Turns,
}

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

    /// The time, and how long bans are kept after their end.
    pub(super) fn moment(&self) -> Moment {
        Moment { now: self.bouncer.clock().now(), ttl: self.cleanup.borrow().ttl }
    }

    fn router(self) -> Router {
        let (router, _) = calls().split_for_parts();
        let wrong_method =
            Fault::new(StatusCode::METHOD_NOT_ALLOWED, "METHOD_NOT_ALLOWED", &"this path has no such method");
        router
            .merge(openapi::viewer())
            .merge(dashboard::router(&self))
            .fallback(async || Fault::not_found(&"there is no such call"))
            .method_not_allowed_fallback(async move || wrong_method)
            // Bodies are limited where callers are let in.
            .layer(DefaultBodyLimit::disable())
            // Whoever is turned away stands in no line.
            .layer(from_fn_with_state(self.clone(), wait))
            .layer(from_fn_with_state(self.clone(), auth::admit))
            // Outermost: whoever is turned away counts, too.
            .layer(from_fn_with_state(self.clone(), count))
            .with_state(self)
    }
}

/// Has a call wait for its turn; not whoever asks whether this proxy lives, and believes otherwise while it waits.
async fn wait(State(admin): State<Admin>, request: Request, next: Next) -> Response {
    if matches!(request.uri().path(), "/livez" | "/readyz") {
        return next.run(request).await;
    }
    let known = request.extensions();
    let line = match (known.get::<Origin>(), known.get::<Principal>()) {
        (Some(Origin::Socket), _) => Line::Owner,
        (_, Some(_)) => Line::Known,
        (_, None) => Line::Stranger,
    };
    admin.turns.take(line, next.run(request)).await
}

/// Counts a call by the route that answers it.
async fn count(State(admin): State<Admin>, request: Request, next: Next) -> Response {
    let method = request.method().clone();
    let route = request.extensions().get::<MatchedPath>().map(|path| path.as_str().to_owned());
    let response = next.run(request).await;
    admin.proxy.metrics.api.count(method.as_str(), route.as_deref(), response.status().as_u16());
    response
}

/// The calls, and the document that describes them.
fn calls() -> OpenApiRouter<Admin> {
    OpenApiRouter::with_openapi(Head::openapi())
        .merge(monitoring::calls())
        .merge(stats::calls())
        .merge(dashboard::calls())
        .merge(explain::calls())
        .merge(detections::calls())
        .merge(suspects::calls())
        .merge(what_if::calls())
        .merge(clients::calls())
        .merge(refused::calls())
        .merge(upstreams::calls())
        .merge(lists::calls())
        .merge(lists::v4_calls())
        .merge(login::calls())
        .merge(users::calls())
        .merge(api_keys::calls())
        .merge(node::calls())
        .merge(openapi::calls())
}

/// What the API can do, as OpenAPI has it.
pub fn document() -> Document {
    openapi::complete(calls().into_openapi())
}
