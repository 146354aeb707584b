//! Calls that tell what detection has found.

use super::api::Admin;
use super::schema::Findings;
use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub(super) fn calls() -> OpenApiRouter<Admin> {
    OpenApiRouter::new().routes(routes!(detections))
}

/// The latest findings, the newest first.
#[utoipa::path(
    get,
    path = "/api/v5/detections",
    tag = "detections",
    responses((status = OK, description = "what was found, at most a thousand", body = Findings))
)]
async fn detections(State(admin): State<Admin>) -> Json<Value> {
    Json(json!({ "data": admin.findings.latest() }))
}
