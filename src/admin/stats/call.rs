//! The call that tells them.

use super::Stats;
use crate::admin::Admin;
use axum::Json;
use axum::extract::State;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub(in crate::admin) fn calls() -> OpenApiRouter<Admin> {
    OpenApiRouter::new().routes(routes!(stats))
}

/// All numbers at once.
///
/// What `GET /metrics` has for Prometheus, as JSON. Costs the same with a million bans as with none.
#[utoipa::path(
    get,
    path = "/api/v5/stats",
    tag = "monitoring",
    responses((status = OK, description = "the numbers now", body = Stats))
)]
async fn stats(State(admin): State<Admin>) -> Json<Stats> {
    Json(Stats::of(&admin))
}
