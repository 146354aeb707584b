//! What a running proxy is steered by, and the table of its calls.

use super::fault::Fault;
use super::socket::Socket;
use super::{detections, explain, lists};
use crate::bouncer::Bouncer;
use crate::findings::Findings;
use crate::store::Store;
use axum::Router;
use std::io;
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
}

/// The head of the OpenAPI document; the calls are gathered from their handlers.
#[derive(Debug, OpenApi)]
#[openapi(info(title = "mqtt-bouncer", description = "Who may reach the broker, and who is there."))]
struct Api;

impl Admin {
    /// Serves callers until `stop` completes, and those that are in by then to their end.
    ///
    /// # Errors
    /// None today: accepting is tried again until it works.
    pub async fn serve(
        self,
        socket: Socket,
        stop: impl Future<Output = ()> + Send + 'static,
    ) -> io::Result<()> {
        let Socket { listener, file } = socket;
        let served = axum::serve(listener, self.router()).with_graceful_shutdown(stop).await;
        drop(file);
        served
    }

    fn router(self) -> Router {
        let (router, _) = calls().split_for_parts();
        router.fallback(async || Fault::not_found(&"there is no such call")).with_state(self)
    }
}

/// The calls, and the document that describes them.
fn calls() -> OpenApiRouter<Admin> {
    OpenApiRouter::with_openapi(Api::openapi())
        .merge(explain::calls())
        .merge(detections::calls())
        .merge(lists::calls())
}

/// What the API can do, as OpenAPI has it.
pub fn document() -> Document {
    calls().into_openapi()
}
