//! The bans as EMQX 4.x has them, for scripts that cannot be changed any more.
//!
//! Its answers have status 200 whatever has come of the call, which `code` says: 0 for success. Times are epoch seconds.

use super::target::Target;
use super::{ban_of, change, log_one, named, page};
use crate::admin::api::Admin;
use crate::admin::body::JsonBytes;
use crate::admin::fault::Fault;
use crate::admin::query::Params;
use crate::admission::{List, Timestamp, Until};
use crate::exchange::Partial;
use crate::store::{Change, Entry, Selection};
use axum::Json;
use axum::extract::{RawQuery, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};
use std::time::Duration;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub(in crate::admin) fn calls() -> OpenApiRouter<Admin> {
    OpenApiRouter::new().routes(routes!(list, create)).routes(routes!(remove))
}

/// Shows the bans, as EMQX 4.x does.
#[utoipa::path(
    get,
    path = "/api/v4/banned",
    operation_id = "list_v4",
    tag = "EMQX 4.x",
    params(("_page" = Option<u64>, Query, minimum = 1, maximum = 1_000_000_000, description = "which page, from 1"),
        ("_limit" = Option<u64>, Query, minimum = 1, maximum = 10000, description = "how many on a page; 10000 if nothing is said")),
    responses(
        (status = OK, description = "`{\"code\": 0, \"data\": […], \"meta\": {…}}`", body = Value),
        (status = BAD_REQUEST, description = "the code of a mistake", body = Value),
    )
)]
async fn list(State(admin): State<Admin>, RawQuery(query): RawQuery) -> Result<Response, Fault> {
    let Ok((number, limit)) = page_of(query.as_deref()) else {
        let answer = bad_params("_page and _limit are whole numbers from 1, _limit to 10000");
        return Ok((StatusCode::BAD_REQUEST, answer).into_response());
    };
    let skip = usize::try_from(number - 1).unwrap_or(usize::MAX).saturating_mul(limit);
    let selection = Selection { skip, limit: Some(limit), ..Selection::default() };
    let count = page::count(&admin, List::Bans, &selection);
    let found = page::look(&admin, List::Bans, &selection, count).await?;
    let data: Vec<_> = found.entries.iter().map(row).collect();
    let meta = json!({ "page": number, "limit": limit, "count": count });
    Ok(Json(json!({ "code": 0, "data": data, "meta": meta })).into_response())
}

fn page_of(query: Option<&str>) -> Result<(u64, usize), Fault> {
    let params = Params::read(query, &["_page", "_limit"])?;
    let limit = params.number("_limit", 1, super::wanted::MAX_LIMIT)?.unwrap_or(super::wanted::MAX_LIMIT);
    let page = params.number("_page", 1, MAX_PAGE)?.unwrap_or(1);
    Ok((page, usize::try_from(limit).unwrap_or(usize::MAX)))
}

/// As with other lists.
const MAX_PAGE: u64 = 1_000_000_000;

fn row(entry: &Entry) -> Value {
    let terms = &entry.terms;
    let until = match terms.until {
        Until::Moment(end) => end.as_millis().div_euclid(1000),
        Until::Infinity => FOR_EVER,
    };
    json!({
        "as": entry.kind.as_str(),
        "who": entry.who,
        "by": &*terms.by,
        "reason": &*terms.reason,
        "at": terms.at.as_millis().div_euclid(1000),
        "until": until,
    })
}

/// Bans somebody, or changes the ban, as EMQX 4.x does.
#[utoipa::path(
    post,
    path = "/api/v4/banned",
    operation_id = "create_v4",
    tag = "EMQX 4.x",
    request_body(content = Value, description = "`as`, `who`, and perhaps `by`, `reason`, `at`, `until`; what else there is, is passed over"),
    responses(
        (status = OK, description = "`{\"code\": 0, \"data\": {…}}` with what was sent, or the code of a mistake", body = Value),
        (status = BAD_REQUEST, description = "the body is not a JSON object", body = Value),
    )
)]
async fn create(State(admin): State<Admin>, JsonBytes(bytes): JsonBytes) -> Result<Response, Fault> {
    let Ok(sent) = serde_json::from_slice::<Map<String, Value>>(&bytes) else {
        return Ok((StatusCode::BAD_REQUEST, bad_params("the body is not a JSON object")).into_response());
    };
    let is_missing = |field: &str| sent.get(field).is_none_or(Value::is_null);
    if is_missing("as") || is_missing("who") {
        let answer = json!({ "code": MISSING, "message": "missing mandatory params: ['who', 'as']" });
        return Ok(Json(answer).into_response());
    }
    let now = admin.moment().now;
    let known = |(field, _): &(&String, &Value)| KNOWN.contains(&field.as_str());
    let fields: Map<_, _> =
        sent.iter().filter(known).map(|(field, value)| (field.clone(), value.clone())).collect();
    let ban = Partial::read(Value::Object(fields).to_string().as_bytes(), false)
        .map_err(Fault::from)
        .and_then(|partial| {
            let who = partial.named()?;
            let partial = Partial {
                by: partial.by.or_else(|| Some(AUTHOR.into())),
                until: partial.until.or(Some(Until::Moment(now.after(BAN_TIME)))),
                ..partial
            };
            ban_of(endless(partial), who, now)
        });
    let ban = match ban {
        Ok(ban) => ban,
        Err(fault) => return Ok(bad_params(fault.message())),
    };
    let done = change(&admin, vec![Change::Put(List::Bans, ban.clone())]).await?;
    log_one(List::Bans, if done.added > 0 { "added" } else { "changed" }, &ban);
    Ok(Json(json!({ "code": 0, "data": sent })).into_response())
}

/// What we show of a ban for ever is one when it comes back.
fn endless(partial: Partial) -> Partial {
    let is_endless =
        partial.until.is_some_and(|until| until >= Until::Moment(Timestamp::from_millis(FOR_EVER * 1000)));
    if is_endless { Partial { until: Some(Until::Infinity), ..partial } } else { partial }
}

/// Lifts a ban, as EMQX 4.x does: none there is no mistake.
#[utoipa::path(
    delete,
    path = "/api/v4/banned/{as}/{who}",
    operation_id = "remove_v4",
    tag = "EMQX 4.x",
    params(("as" = String, Path, description = "the kind"), ("who" = String, Path, description = "percent-encoded")),
    responses((status = OK, description = "`{\"code\": 0}`, or the code of a mistake", body = Value))
)]
async fn remove(State(admin): State<Admin>, target: Target) -> Result<Response, Fault> {
    let who = match target.named(None) {
        Ok(who) => who,
        Err(fault) => return Ok(bad_params(fault.message())),
    };
    match named::remove(&admin, List::Bans, who).await {
        Err(fault) if fault.is_conflict() => Ok(bad_params(fault.message())),
        Err(fault) if !fault.is_not_found() => Err(fault),
        Ok(_) | Err(_) => Ok(Json(json!({ "code": 0 })).into_response()),
    }
}

fn bad_params(message: &str) -> Response {
    Json(json!({ "code": BAD_PARAMS, "message": message })).into_response()
}

/// EMQX 4.x's codes.
const MISSING: u32 = 107;
const BAD_PARAMS: u32 = 108;

/// The author of bans that name none, and how long bans hold that do not say it.
const AUTHOR: &str = "user";
const BAN_TIME: Duration = Duration::from_mins(5);

/// What is shown as the end of a ban without one: EMQX 4.x has only numbers. The latest that it can read.
const FOR_EVER: i64 = 253_402_214_400;

const KNOWN: [&str; 7] = ["as", "who", "match", "by", "reason", "at", "until"];
