//! The call that tells what has come of late.

use crate::admin::api::Admin;
use crate::admin::fault::{Fault, FaultBody};
use crate::admin::query::Params;
use crate::dashboard::{Point, Span};
use axum::Json;
use axum::extract::{RawQuery, State};
use serde::Serialize;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub(in crate::admin) fn calls() -> OpenApiRouter<Admin> {
    OpenApiRouter::new().routes(routes!(history))
}

/// What `history` reads.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "it describes what the call reads")]
struct HistoryParams {
    /// How far back: `15m`, `6h` or `24h`; `15m` if nothing is said.
    span: Option<String>,
}

/// What has come of late.
#[derive(Debug, Serialize, ToSchema)]
struct HistoryBody {
    /// The moment of the answer, RFC 3339.
    now: String,
    /// How far back it goes, in seconds.
    span_seconds: u64,
    /// The length of a step, in seconds.
    step_seconds: u64,
    /// The steps, the oldest first. Those in which nobody counted are left out.
    points: Vec<PointBody>,
}

/// One step.
#[derive(Debug, Serialize, ToSchema)]
struct PointBody {
    /// When it began, RFC 3339.
    at: String,
    /// For how much of it was counted, in seconds.
    watched_seconds: f64,
    /// Connections that were let in.
    admitted: u64,
    /// Connections that a ban refused.
    banned: u64,
    /// Connections that a limit refused.
    rate_limited: u64,
    /// Connections that spoke something else, or spoke it wrongly.
    malformed: u64,
    /// Connections for which no broker could be reached.
    upstream_down: u64,
    /// Connections that ended otherwise before they were let in.
    other: u64,
    /// Findings of detection.
    detections: u64,
    /// The most sessions that there were.
    sessions: u64,
    /// The most bans that held.
    bans: u64,
}

impl From<Point> for PointBody {
    fn from(Point { at, watched, counts }: Point) -> PointBody {
        PointBody {
            at: at.to_string(),
            watched_seconds: watched.as_secs_f64(),
            admitted: counts.admitted,
            banned: counts.banned,
            rate_limited: counts.rate_limited,
            malformed: counts.malformed,
            upstream_down: counts.upstream_down,
            other: counts.other,
            detections: counts.detections,
            sessions: counts.sessions,
            bans: counts.bans,
        }
    }
}

/// How many connections had which outcome of late, in steps.
///
/// Kept in memory since the start, where `[admin] dashboard` is on.
#[utoipa::path(
    get,
    path = "/api/v5/history",
    tag = "monitoring",
    params(HistoryParams),
    responses(
        (status = OK, description = "what has come", body = HistoryBody),
        (status = BAD_REQUEST, description = "there is no such span", body = FaultBody),
    )
)]
async fn history(State(admin): State<Admin>, RawQuery(query): RawQuery) -> Result<Json<HistoryBody>, Fault> {
    let params = Params::read(query.as_deref(), &["span"])?;
    let span = params.parsed("span", |text| text.parse().ok(), "15m, 6h or 24h")?.unwrap_or(Span::Quarter);
    let now = admin.bouncer.clock().now();
    let points = admin.board.points(span, now);
    Ok(Json(HistoryBody {
        now: now.to_string(),
        span_seconds: span.length().as_secs(),
        step_seconds: span.step().as_secs(),
        points: points.into_iter().map(PointBody::from).collect(),
    }))
}
