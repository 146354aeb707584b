//! Calls that tell who is near a limit, and what the limits have done of late.

use super::api::Admin;
use super::fault::{Fault, FaultBody};
use super::listing::Words;
use crate::admission::Timestamp;
use crate::admission::detection::{Detector, Suspect};
use crate::findings::MAX_RECENT;
use axum::Json;
use axum::extract::{RawQuery, State};
use serde::Serialize;
use serde_json::Value;
use std::collections::{BTreeMap, HashSet};
use std::time::Duration;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub(super) fn calls() -> OpenApiRouter<Admin> {
    OpenApiRouter::new().routes(routes!(watched))
}

/// Who is near a limit, and what the limits have done of late.
#[derive(Debug, Serialize, ToSchema)]
struct WatchBody {
    /// Whoever is half-way to a limit at least, the nearest first.
    data: Vec<SuspectBody>,
    /// What each detector has done, or would have done, within the last hour.
    last_hour: BTreeMap<String, EffectBody>,
    /// That hour is remembered as a whole; else there were more findings than are remembered.
    complete: bool,
}

/// Somebody who is near a limit.
#[derive(Debug, Serialize, ToSchema)]
struct SuspectBody {
    /// The zone whose limit it is.
    zone: String,
    /// The detector.
    detector: String,
    /// The kind of name.
    r#as: &'static str,
    /// Who it is, cut at 256 bytes.
    who: String,
    /// How many events there were in the window when the last one came.
    count: u32,
    /// How many make a ban; where many live, it may be more.
    limit: u32,
    /// The window, in seconds.
    window_seconds: f64,
    /// Nobody would be banned, and it would only be told.
    shadow: bool,
    /// When the last event came, RFC 3339.
    last_at: String,
    /// Where the events came from: up to eight addresses.
    addresses: Vec<String>,
    /// Up to eight client identifiers.
    client_ids: Vec<String>,
}

/// What a detector has done.
#[derive(Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
struct EffectBody {
    /// How many different ones it has banned.
    banned: usize,
    /// How many different ones it would have banned, or has warned of.
    would_ban: usize,
}

impl From<Suspect> for SuspectBody {
    fn from(suspect: Suspect) -> SuspectBody {
        SuspectBody {
            zone: suspect.zone.to_string(),
            detector: suspect.detector.to_string(),
            r#as: suspect.kind.as_str(),
            who: suspect.name.into(),
            count: suspect.count,
            limit: suspect.limit,
            window_seconds: suspect.window_time.as_secs_f64(),
            shadow: suspect.is_shadow,
            last_at: suspect.last.to_string(),
            addresses: suspect.addresses.iter().map(ToString::to_string).collect(),
            client_ids: suspect.client_ids.into_iter().map(Into::into).collect(),
        }
    }
}

/// What the call reads.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "it describes what the call reads")]
struct WatchParams {
    /// How many of those who are near a limit.
    #[param(minimum = 1, maximum = 1000, default = 100)]
    limit: Option<u32>,
}

/// Who is near a limit of detection now, and what each detector has done within the last hour.
#[utoipa::path(
    get,
    path = "/api/v5/detections/watch",
    tag = "detections",
    params(WatchParams),
    responses(
        (status = OK, description = "who is near, and what was done", body = WatchBody),
        (status = BAD_REQUEST, description = "the query is wrong", body = FaultBody),
    )
)]
async fn watched(State(admin): State<Admin>, RawQuery(query): RawQuery) -> Result<Json<WatchBody>, Fault> {
    let words = Words::read(query.as_deref(), &["limit"])?;
    let limit =
        words.one("limit").map_or(Some(100), |text| text.parse().ok().filter(|n| (1..=1000).contains(n)));
    let limit = limit.ok_or_else(|| Fault::bad_request(&"limit is wrong; expected a number of 1 to 1000"))?;
    let data = admin.bouncer.suspects(limit).into_iter().map(SuspectBody::from).collect();
    let (last_hour, complete) = last_hour(&admin.findings.latest(), admin.bouncer.clock().now());
    Ok(Json(WatchBody { data, last_hour, complete }))
}

/// What each detector has done within the hour before `now`, and whether all of that hour is remembered. `findings` begin
/// with the newest.
fn last_hour(findings: &[Value], now: Timestamp) -> (BTreeMap<String, EffectBody>, bool) {
    let text =
        |finding: &Value, key: &str| finding.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    let from = now.before(Duration::from_hours(1));
    let is_recent = |finding: &&Value| {
        finding
            .get("at")
            .and_then(Value::as_str)
            .and_then(|at| at.parse().ok())
            .is_some_and(|at: Timestamp| at >= from)
    };
    let mut effects: BTreeMap<String, EffectBody> =
        Detector::ALL.into_iter().map(|detector| (detector.to_string(), EffectBody::default())).collect();
    let (mut seen, mut recent) = (HashSet::new(), 0);
    for finding in findings.iter().filter(is_recent) {
        recent += 1;
        let event = text(finding, "event");
        let is_ban = event == "ban" || event == "hush";
        let detector = text(finding, "detector");
        if seen.insert((detector.clone(), is_ban, text(finding, "as"), text(finding, "who")))
            && let Some(effect) = effects.get_mut(&detector)
        {
            *(if is_ban { &mut effect.banned } else { &mut effect.would_ban }) += 1;
        }
    }
    (effects, recent < MAX_RECENT)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_last_hour_counts_each_name_once_and_nothing_older() {
        let now = Timestamp::from_millis(1_920_594_240_000);
        let finding = |event: &str, who: &str, minutes: u64| {
            let at = now.before(Duration::from_mins(minutes)).to_string();
            json!({ "event": event, "detector": "by_clientid", "as": "clientid", "who": who, "at": at })
        };
        let findings = [
            finding("ban", "a", 1),
            finding("would_ban", "b", 2),
            finding("ban", "a", 30),
            finding("would_ban", "c", 59),
            finding("ban", "d", 61),
        ];
        let (effects, is_complete) = last_hour(&findings, now);
        assert_eq!(effects["by_clientid"], EffectBody { banned: 1, would_ban: 2 });
        assert_eq!(effects["by_peerhost"], EffectBody::default());
        assert!(is_complete);
        assert!(!last_hour(&vec![finding("ban", "a", 1); MAX_RECENT], now).1);
    }
}
