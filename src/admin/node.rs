//! Calls about the process itself: how it is, the config that runs, reading the config file again.

use super::api::Admin;
use super::fault::{Fault, FaultBody};
use super::steering::{NotReloaded, Reloaded, RunningConfig, Status, Stopping};
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub(super) fn calls() -> OpenApiRouter<Admin> {
    OpenApiRouter::new()
        .routes(routes!(status))
        .routes(routes!(config))
        .routes(routes!(config_diff))
        .routes(routes!(reload))
}

/// How the process is.
#[utoipa::path(
    get,
    path = "/api/v5/status",
    tag = "node",
    responses(
        (status = OK, description = "how it is", body = Status),
        (status = SERVICE_UNAVAILABLE, description = "it is about to stop", body = FaultBody),
    )
)]
async fn status(State(admin): State<Admin>) -> Result<Json<Status>, Fault> {
    Ok(Json(admin.steering.status().await?))
}

/// The config that runs, option by option, with where each comes from. Secrets are masked.
#[utoipa::path(
    get,
    path = "/api/v5/config",
    tag = "node",
    responses(
        (status = OK, description = "the config", body = RunningConfig),
        (status = SERVICE_UNAVAILABLE, description = "it is about to stop", body = FaultBody),
    )
)]
async fn config(State(admin): State<Admin>) -> Result<Json<RunningConfig>, Fault> {
    Ok(Json(admin.steering.config().await?))
}

/// What reading the config file again would do. Nothing changes.
#[utoipa::path(
    get,
    path = "/api/v5/config/diff",
    tag = "node",
    responses(
        (status = OK, description = "what would be done; with nothing in it, the file says what runs", body = Reloaded),
        (status = BAD_REQUEST, description = "the file cannot be used; every mistake of it", body = BadConfig),
        (status = SERVICE_UNAVAILABLE, description = "it is about to stop", body = FaultBody),
    )
)]
async fn config_diff(State(admin): State<Admin>) -> Result<Response, Fault> {
    Ok(told(admin.steering.diff().await?))
}

/// A config file that cannot be used.
#[derive(Debug, Serialize, ToSchema)]
struct BadConfig {
    /// `BAD_CONFIG`.
    code: &'static str,
    #[serde(flatten)]
    why: NotReloaded,
}

/// Reads the config file again, as SIGHUP does. A file with mistakes changes nothing.
#[utoipa::path(
    post,
    path = "/api/v5/reload",
    tag = "node",
    responses(
        (status = OK, description = "what was done", body = Reloaded),
        (status = BAD_REQUEST, description = "nothing was done; every mistake of the file", body = BadConfig),
        (status = SERVICE_UNAVAILABLE, description = "it is about to stop", body = FaultBody),
    )
)]
async fn reload(State(admin): State<Admin>) -> Result<Response, Fault> {
    Ok(told(admin.steering.reload().await?))
}

/// What came of reading the config file.
fn told(outcome: Result<Reloaded, NotReloaded>) -> Response {
    match outcome {
        Ok(reloaded) => Json(reloaded).into_response(),
        Err(why) => (StatusCode::BAD_REQUEST, Json(BadConfig { code: "BAD_CONFIG", why })).into_response(),
    }
}

impl From<Stopping> for Fault {
    fn from(stopping: Stopping) -> Fault {
        Fault::new(StatusCode::SERVICE_UNAVAILABLE, "SERVICE_UNAVAILABLE", &stopping)
    }
}
