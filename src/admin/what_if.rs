//! The call that tells whom other limits would have banned.

use super::api::Admin;
use super::body::Json;
use super::fault::{Fault, FaultBody};
use crate::admission::Timestamp;
use crate::admission::detection::{Detected, Detector};
use crate::admission::parse_duration;
use crate::bouncer::{Limits, Unknown, WhatIf, Wish};
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::task::spawn_blocking;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub(super) fn calls() -> OpenApiRouter<Admin> {
    OpenApiRouter::new().routes(routes!(what_if))
}

/// Limits that somebody has in mind.
#[derive(Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct WishBody {
    /// Only for the listeners of this zone; the others keep their limits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
    /// What each detector is to have; `null` switches it off. Detectors that are not named keep what they have.
    #[serde(default)]
    #[schema(value_type = BTreeMap<String, LimitsBody>)]
    pub detectors: BTreeMap<String, Option<LimitsBody>>,
}

/// The limits of a detector. What is left out stays as it is, or is as recommended where the detector is off.
#[derive(Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct LimitsBody {
    /// How many events make a ban.
    #[schema(maximum = 1_000_000)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_count: Option<u32>,
    /// Within how much time, as in the config file: `"1m"`; 1 ms to 31 days.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window_time: Option<String>,
}

/// Whom these limits would have banned.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(super) struct WhatIfBody {
    /// From when on it is known, RFC 3339: an hour ago, or later.
    pub since: String,
    /// All of the last hour is known. Else the process has not run for so long, or more has happened than is
    /// remembered.
    pub complete: bool,
    /// How many connections were looked at, their beginnings and their ends.
    pub events: usize,
    /// How many different ones would have been banned.
    pub would_ban: usize,
    /// How many by each detector.
    pub by_detector: BTreeMap<String, usize>,
    /// The first hundred of them, in the order of their bans.
    pub data: Vec<WouldBan>,
}

/// Somebody who would have been banned.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(super) struct WouldBan {
    /// When first, RFC 3339.
    pub at: String,
    /// In which zone.
    pub zone: String,
    /// By which detector.
    pub detector: String,
    /// The kind of name.
    pub r#as: String,
    /// Who it is, cut at 256 bytes.
    pub who: String,
}

/// Whom detection would have banned within the last hour with other limits.
///
/// What happened is told again to a detector that has these limits. Whoever was banned meanwhile could do nothing more,
/// so with laxer limits than those in force the answer is what is known, and not all that might have been.
#[utoipa::path(
    post,
    path = "/api/v5/detections/what-if",
    tag = "detections",
    request_body = WishBody,
    responses(
        (status = OK, description = "whom they would have banned", body = WhatIfBody),
        (status = BAD_REQUEST, description = "there are no such limits", body = FaultBody),
        (status = SERVICE_UNAVAILABLE, description = "it is not known, or being found out for somebody else", body = FaultBody),
    )
)]
async fn what_if(
    State(admin): State<Admin>,
    Json(body): Json<WishBody>,
) -> Result<axum::Json<WhatIfBody>, Fault> {
    let wish = wish(body).map_err(|message| Fault::bad_request(&message))?;
    let bouncer = admin.bouncer.clone();
    let answer = spawn_blocking(move || bouncer.what_if(&wish)).await;
    // Not served only when the runtime ends.
    let answer = answer.map_err(|error| Fault::internal(&error))?;
    let fault = |unknown: Unknown| {
        let code = match unknown {
            Unknown::Off => "NOT_REMEMBERED",
            Unknown::Busy => "BUSY",
            Unknown::TooSlow => "TOO_SLOW",
        };
        Fault::new(StatusCode::SERVICE_UNAVAILABLE, code, &unknown)
    };
    Ok(axum::Json(answer.map_err(fault)?.into()))
}

fn wish(body: WishBody) -> Result<Wish, String> {
    let mut detectors = BTreeMap::new();
    for (name, limits) in body.detectors {
        let known = Detector::ALL.into_iter().filter(|detector| *detector != Detector::Hammering);
        let detector = known.clone().find(|detector| detector.as_str() == name);
        let Some(detector) = detector else {
            let names: Vec<_> = known.map(Detector::as_str).collect();
            return Err(format!(
                "detectors: {name:?} is no detector that bans; expected one of {}",
                names.join(", ")
            ));
        };
        let limits = limits.map(|limits| read(&name, &limits)).transpose()?;
        detectors.insert(detector, limits);
    }
    Ok(Wish { zone: body.zone, detectors })
}

fn read(name: &str, limits: &LimitsBody) -> Result<Limits, String> {
    let LimitsBody { max_count, window_time } = limits;
    if let Some(count) = max_count.filter(|count| *count > MAX_COUNT) {
        return Err(format!("{name}.max_count: {count} is out of range; expected 0 to {MAX_COUNT}"));
    }
    let window = |text: &String| {
        let window =
            parse_duration(text).map_err(|problem| format!("{name}.window_time: {text:?} {problem}"))?;
        if (SHORTEST..=LONGEST).contains(&window) {
            Ok(window)
        } else {
            Err(format!("{name}.window_time: {text:?} is out of range; expected \"1ms\" to \"31d\""))
        }
    };
    Ok(Limits { max_count: *max_count, window_time: window_time.as_ref().map(window).transpose()? })
}

impl From<WhatIf> for WhatIfBody {
    fn from(what_if: WhatIf) -> WhatIfBody {
        let WhatIf { since, is_complete, facts, found } = what_if;
        let mut by_detector = BTreeMap::new();
        for (detected, _) in &found {
            *by_detector.entry(detected.detector.to_string()).or_default() += 1;
        }
        WhatIfBody {
            since: since.to_string(),
            complete: is_complete,
            events: facts,
            would_ban: found.len(),
            by_detector,
            data: found.iter().take(MAX_SHOWN).map(|(detected, at)| WouldBan::new(detected, *at)).collect(),
        }
    }
}

impl WouldBan {
    fn new(detected: &Detected, at: Timestamp) -> WouldBan {
        let mut who = detected.ban.who.to_string();
        who.truncate(who.floor_char_boundary(MAX_NAME));
        WouldBan {
            at: at.to_string(),
            zone: detected.zone.to_string(),
            detector: detected.detector.to_string(),
            r#as: detected.ban.who.kind().to_string(),
            who,
        }
    }
}

/// As in the config file.
const MAX_COUNT: u32 = 1_000_000;
const SHORTEST: Duration = Duration::from_millis(1);
const LONGEST: Duration = Duration::from_hours(31 * 24);

const MAX_SHOWN: usize = 100;
const MAX_NAME: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    fn read_all(text: &str) -> Result<Wish, String> {
        wish(serde_json::from_str(text).map_err(|error| error.to_string())?)
    }

    #[test]
    fn limits_are_read_as_the_config_file_has_them() {
        let text = r#"{"zone": "a", "detectors": {"by_clientid": {"max_count": 3, "window_time": "1m"}, "malformed": null}}"#;
        let read = read_all(text).expect("limits");
        let limits = Limits { max_count: Some(3), window_time: Some(Duration::from_mins(1)) };
        let expected = [(Detector::ByClientId, Some(limits)), (Detector::Malformed, None)];
        assert_eq!(read, Wish { zone: Some("a".to_owned()), detectors: expected.into() });
        assert_eq!(read_all("{}"), Ok(Wish::default()));
    }

    #[test]
    fn what_is_no_limit_is_named() {
        for (text, expected) in [
            (
                r#"{"detectors": {"by_client": {}}}"#,
                "\"by_client\" is no detector that bans; expected one of by_clientid, ",
            ),
            (r#"{"detectors": {"hammering": {}}}"#, "\"hammering\" is no detector that bans"),
            (
                r#"{"detectors": {"malformed": {"max_count": 1000001}}}"#,
                "malformed.max_count: 1000001 is out of range; expected 0 to 1000000",
            ),
            (r#"{"detectors": {"malformed": {"max_count": -1}}}"#, "invalid value"),
            (
                r#"{"detectors": {"malformed": {"window_time": "5"}}}"#,
                "malformed.window_time: \"5\" is not a duration",
            ),
            (
                r#"{"detectors": {"malformed": {"window_time": "0s"}}}"#,
                "malformed.window_time: \"0s\" is out of range",
            ),
            (
                r#"{"detectors": {"malformed": {"window_time": "32d"}}}"#,
                "malformed.window_time: \"32d\" is out of range",
            ),
            (r#"{"detectors": {"malformed": {"window": "1m"}}}"#, "unknown field `window`"),
            (r#"{"limits": {}}"#, "unknown field `limits`"),
        ] {
            let message = read_all(text).expect_err(text);
            assert!(message.contains(expected), "{text}: {message}");
        }
    }
}
