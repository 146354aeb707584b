//! Calls for whoever watches the process: Prometheus, load balancers, orchestrators.

use super::api::Admin;
use super::auth::LOGIN;
use super::exposition::{Form, exposition};
use super::health::{NotReady, Readiness};
use super::stats::Stats;
use axum::Json;
use axum::extract::State;
use axum::http::header::{ACCEPT, CONTENT_TYPE};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub(super) fn calls() -> OpenApiRouter<Admin> {
    OpenApiRouter::new().routes(routes!(metrics)).routes(routes!(livez)).routes(routes!(readyz))
}

/// The paths that everybody may call, without an account.
pub(super) const OPEN_PATHS: [&str; 3] = ["/livez", "/readyz", LOGIN];

/// What a health check is told.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
struct Health {
    /// `ok`, or `unavailable`.
    status: Word,
    /// Why not.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<NotReady>,
    /// The reason for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<String>,
}

#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum Word {
    Ok,
    Unavailable,
}

/// All numbers for Prometheus.
///
/// OpenMetrics 1.0, or the classic text format where `Accept` asks for `text/plain` more. docs/metrics.md explains each.
#[utoipa::path(
    get,
    path = "/metrics",
    tag = "monitoring",
    responses((status = OK, description = "the numbers now", content(
        (String = "application/openmetrics-text"),
        (String = "text/plain"),
    )))
)]
async fn metrics(State(admin): State<Admin>, headers: HeaderMap) -> Response {
    // Prometheus sends one header; whoever sends several means their list.
    let accept: Vec<&str> = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok()).collect();
    let form = Form::accepted(&accept.join(","));
    ([(CONTENT_TYPE, form.content_type())], exposition(Stats::of(&admin), form)).into_response()
}

/// Whether the process runs.
#[utoipa::path(
    get,
    path = "/livez",
    tag = "monitoring",
    responses((status = OK, description = "it runs", body = Health))
)]
async fn livez() -> Json<Health> {
    Json(Health { status: Word::Ok, reason: None, message: None })
}

/// Whether clients may be sent here.
///
/// Not while the proxy starts or drains, and not when none of its brokers can be reached.
#[utoipa::path(
    get,
    path = "/readyz",
    tag = "monitoring",
    responses(
        (status = OK, description = "it serves clients", body = Health),
        (status = SERVICE_UNAVAILABLE, description = "it does not, and why", body = Health),
    )
)]
async fn readyz(State(admin): State<Admin>) -> Response {
    match admin.readiness.look(&admin.proxy).await {
        Readiness::Ready => livez().await.into_response(),
        Readiness::NotReady(reason) => {
            let message = Some(reason.to_string());
            let health = Health { status: Word::Unavailable, reason: Some(reason), message };
            (StatusCode::SERVICE_UNAVAILABLE, Json(health)).into_response()
        }
    }
}
