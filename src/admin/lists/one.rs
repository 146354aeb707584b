//! Calls about one ban or exemption.

use super::named::{not_there, remove};
use super::shape::Shape;
use super::target::{Listed, Target};
use super::wanted::Moment;
use super::{ban_of, change, check_length, log_one};
use crate::admin::api::Admin;
use crate::admin::body::JsonBytes;
use crate::admin::fault::{Fault, FaultBody};
use crate::admission::{Ban, List, Match, Terms, Timestamp, Until, Who, parse_duration};
use crate::exchange::Partial;
use crate::store::{Amendment, Change, ChangeError, Entry, NewEnd, ReadError, View};
use aws_lc_rs::digest::{SHA256, digest};
use axum::Json;
use axum::extract::State;
use axum::http::header::{ETAG, IF_MATCH};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde_json::Value;
use std::time::Duration;
use utoipa::{IntoParams, ToSchema};

/// A ban to be made. Times are RFC 3339, or epoch seconds as a number or a text; `null` is the same as nothing.
#[derive(Debug, Deserialize, ToSchema)]
#[expect(dead_code, reason = "it describes what `Partial` reads")]
pub(super) struct NewBan {
    /// `clientid`, `username`, `cert_cn`, `cert_sha256`, `tls_ja4`, `peerhost`, `clientid_re`, `username_re`, `peerhost_net` or `peerhost_re`.
    r#as: String,
    /// The name, address, network or pattern.
    who: String,
    /// What part of a name a pattern has to match: `search` (any, the default) or `full` (the whole).
    r#match: Option<String>,
    /// Who makes it; `mgmt_api` if nobody says so.
    by: Option<String>,
    /// Why.
    reason: Option<String>,
    /// Since when; it holds at once whatever this says.
    at: Option<String>,
    /// Until when; `infinity`, the default, for ever.
    until: Option<String>,
}

/// What changes of a ban.
#[derive(Debug, Deserialize, ToSchema)]
#[expect(dead_code, reason = "it describes what `Partial` reads")]
pub(super) struct BanChanges {
    /// What part of a name a pattern has to match.
    r#match: Option<String>,
    /// Who made it.
    by: Option<String>,
    /// Why.
    reason: Option<String>,
    /// Since when.
    at: Option<String>,
    /// Until when.
    until: Option<String>,
    /// How much longer, e.g. `1h`: later than `until`, or than now where it has ended.
    extend: Option<String>,
}

/// Which list, and whom on it.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Path)]
#[expect(dead_code, reason = "it describes what `Target` reads")]
struct TargetPath {
    /// `banned` or `exemptions`
    list: String,
    /// the kind
    r#as: String,
    /// percent-encoded
    who: String,
}

/// Makes one.
#[utoipa::path(
    post,
    path = "/api/v5/{list}",
    tag = "lists",
    params(("list" = String, Path, description = "`banned` or `exemptions`")),
    request_body = NewBan,
    responses(
        (status = OK, description = "on disk and in force", body = Shape),
        (status = BAD_REQUEST, description = "nothing has changed; with the code ALREADY_EXISTS, `message` is the JSON text of the one that is there", body = FaultBody),
        (status = NOT_FOUND, description = "there is no such list", body = FaultBody),
        (status = PAYLOAD_TOO_LARGE, description = "the body is too long", body = FaultBody),
        (status = UNSUPPORTED_MEDIA_TYPE, description = "the body is not said to be JSON", body = FaultBody),
    )
)]
pub(super) async fn create(
    State(admin): State<Admin>,
    Listed(list): Listed,
    JsonBytes(bytes): JsonBytes,
) -> Result<Json<Shape>, Fault> {
    let now = admin.moment().now;
    let partial = Partial::read(&bytes, false)?;
    let who = partial.named()?;
    let ban = ban_of(partial, who, now)?;
    // What is shown as being there is there.
    if let Some(there) = admin.bouncer.from_file(list, &ban.who).filter(|there| there.terms.is_active(now)) {
        return Err(exists(&there));
    }
    match admin.store.change(vec![Change::Add(list, ban.clone(), now)]).await {
        Ok(_) => {}
        Err(ChangeError::Exists(there)) => return Err(exists(&there)),
        Err(error) => return Err(error.into()),
    }
    log_one(list, "added", &ban);
    Ok(Json(Shape::of_ban(&ban)))
}

/// EMQX tells the ban that is there as text inside of its message.
fn exists(there: &Ban) -> Fault {
    Fault::already_exists(&serde_json::to_string(&Shape::of_ban(there)).unwrap_or_default())
}

/// Shows one, with everything that is known of it.
#[utoipa::path(
    get,
    path = "/api/v5/{list}/{as}/{who}",
    tag = "lists",
    params(TargetPath),
    responses(
        (status = OK, description = "it, with all its fields", body = Shape),
        (status = BAD_REQUEST, description = "nobody has that name", body = FaultBody),
        (status = NOT_FOUND, description = "there is none", body = FaultBody),
    )
)]
pub(super) async fn show(State(admin): State<Admin>, target: Target) -> Result<Response, Fault> {
    let who = target.named(None)?;
    full(&admin, target.list, &who).await
}

/// One with all its fields, read without a proxy; `None` when there is none.
///
/// # Errors
/// Why it cannot be read.
pub fn one_of(
    view: &View<'_>,
    list: List,
    who: &Who,
    now: Timestamp,
    ttl: Duration,
) -> Result<Option<Value>, ReadError> {
    let found = view.get(list, who.kind(), &who.to_string())?;
    let shape =
        |entry| serde_json::to_value(Shape::full(entry, list, Moment { now, ttl })).unwrap_or_default();
    Ok(found.map(shape))
}

async fn full(admin: &Admin, list: List, who: &Who) -> Result<Response, Fault> {
    let found = found(admin, list, who).await?;
    let found = found.ok_or_else(|| Fault::not_found(&format!("{}: {who} not found", who.kind())))?;
    let tag = found.clone().ban().ok().and_then(|ban| HeaderValue::from_str(&tag_of(&ban)).ok());
    let mut response = Json(Shape::full(found, list, admin.moment())).into_response();
    response.headers_mut().extend(tag.map(|tag| (ETAG, tag)));
    Ok(response)
}

async fn found(admin: &Admin, list: List, who: &Who) -> Result<Option<Entry>, Fault> {
    let (kind, name) = (who.kind(), who.to_string());
    Ok(admin.store.look(move |view| view.get(list, kind, &name)).await?)
}

/// What tells a ban from itself once somebody has changed it.
fn tag_of(ban: &Ban) -> String {
    let Ban { who, terms: Terms { by, reason, at, until } } = ban;
    let until = match until {
        Until::Moment(until) => until.as_millis().to_string(),
        Until::Infinity => "infinity".to_owned(),
    };
    let told = serde_json::json!([
        who.matching().is_some_and(|word| word == Match::Full),
        by,
        reason,
        at.as_millis(),
        until
    ]);
    let digest = digest(&SHA256, told.to_string().as_bytes());
    format!("\"{}\"", URL_SAFE_NO_PAD.encode(digest.as_ref().get(..12).unwrap_or_default()))
}

/// The ban that the caller has seen, where the call is about that one alone.
async fn seen(admin: &Admin, list: List, who: &Who, headers: &HeaderMap) -> Result<Option<Box<Ban>>, Fault> {
    let Some(wanted) = headers.get(IF_MATCH) else { return Ok(None) };
    let there = found(admin, list, who).await?.and_then(|entry| entry.ban().ok());
    match there {
        Some(ban) if wanted.as_bytes() == tag_of(&ban).as_bytes() => Ok(Some(Box::new(ban))),
        Some(_) => Err(Fault::changed()),
        // That there is none is said by whoever looks for it.
        None => Ok(None),
    }
}

/// Makes one, or changes the one that is there.
#[utoipa::path(
    put,
    path = "/api/v5/{list}/{as}/{who}",
    tag = "lists",
    params(TargetPath),
    request_body(content = NewBan, description = "`as` and `who` may be left out; the path says them"),
    responses(
        (status = OK, description = "on disk and in force", body = Shape),
        (status = BAD_REQUEST, description = "nothing has changed", body = FaultBody),
        (status = NOT_FOUND, description = "there is no such list", body = FaultBody),
        (status = PAYLOAD_TOO_LARGE, description = "the body is too long", body = FaultBody),
        (status = UNSUPPORTED_MEDIA_TYPE, description = "the body is not said to be JSON", body = FaultBody),
    )
)]
pub(super) async fn put(
    State(admin): State<Admin>,
    target: Target,
    JsonBytes(bytes): JsonBytes,
) -> Result<Response, Fault> {
    let partial = if bytes.is_empty() { Partial::default() } else { Partial::read(&bytes, false)? };
    let who = same_name(&target, &partial)?;
    let ban = ban_of(partial, who, admin.moment().now)?;
    let done = change(&admin, vec![Change::Put(target.list, ban.clone())]).await?;
    log_one(target.list, if done.added > 0 { "added" } else { "changed" }, &ban);
    full(&admin, target.list, &ban.who).await
}

/// Changes what the body names of one, and leaves the rest as it is.
///
/// With `If-Match`, only if nobody has changed it since its `ETag` was told.
#[utoipa::path(
    patch,
    path = "/api/v5/{list}/{as}/{who}",
    tag = "lists",
    params(TargetPath, ("If-Match" = Option<String>, Header, description = "the `ETag` of the one that is to be changed")),
    request_body = BanChanges,
    responses(
        (status = OK, description = "on disk and in force", body = Shape),
        (status = BAD_REQUEST, description = "nothing has changed", body = FaultBody),
        (status = NOT_FOUND, description = "there is none", body = FaultBody),
        (status = CONFLICT, description = "it stands in the config file", body = FaultBody),
        (status = PRECONDITION_FAILED, description = "somebody has changed it meanwhile; nothing has changed", body = FaultBody),
        (status = PAYLOAD_TOO_LARGE, description = "the body is too long", body = FaultBody),
        (status = UNSUPPORTED_MEDIA_TYPE, description = "the body is not said to be JSON", body = FaultBody),
    )
)]
pub(super) async fn patch(
    State(admin): State<Admin>,
    target: Target,
    headers: HeaderMap,
    JsonBytes(bytes): JsonBytes,
) -> Result<Response, Fault> {
    let partial = Partial::read(&bytes, true)?;
    let who = same_name(&target, &partial)?;
    let (list, now) = (target.list, admin.moment().now);
    let seen = seen(&admin, list, &who, &headers).await?;
    let amendment = Amendment { seen, ..amendment(partial, &who)? };
    let amend = Change::Amend { list, who: who.clone(), amendment: Box::new(amendment), now };
    let done = change(&admin, vec![amend]).await?;
    if done.changed == 0 {
        return Err(not_there(&admin, list, &who));
    }
    if let Some(ban) = admin.bouncer.admission().list(list).get(&who) {
        log_one(list, "changed", &ban);
    }
    full(&admin, list, &who).await
}

fn amendment(partial: Partial, who: &Who) -> Result<Amendment, Fault> {
    let Partial { matching, by, reason, at, until, extend, .. } = partial;
    check_length("by", by.as_ref())?;
    check_length("reason", reason.as_ref())?;
    let end = match (until, extend) {
        (Some(_), Some(_)) => {
            return Err(Fault::bad_request(&"extend: does not go with until; give one of them"));
        }
        (Some(until), None) => Some(NewEnd::At(until)),
        (None, Some(time)) => {
            let later = parse_duration(&time);
            let mistake = |problem| Fault::bad_request(&format!("extend: {problem}"));
            Some(NewEnd::Later(later.map_err(mistake)?))
        }
        (None, None) => None,
    };
    Ok(Amendment { seen: None, who: matching.map(|_| who.clone()), by, reason, at, end })
}

/// Whom the path names; the body may say it again.
fn same_name(target: &Target, partial: &Partial) -> Result<Who, Fault> {
    if let Some(kind) = partial.kind.filter(|kind| *kind != target.kind) {
        return Err(Fault::bad_request(&format!(
            "as: is {kind}; expected {}, as the path has it",
            target.kind
        )));
    }
    let who = target.named(partial.matching)?;
    if let Some(again) = &partial.who
        && Who::new(target.kind, again, None).ok().as_ref() != Some(&who)
    {
        return Err(Fault::bad_request(&"who: names somebody else than the path does"));
    }
    Ok(who)
}

/// Lifts one.
#[utoipa::path(
    delete,
    path = "/api/v5/{list}/{as}/{who}",
    tag = "lists",
    params(TargetPath),
    responses(
        (status = NO_CONTENT, description = "lifted"),
        (status = BAD_REQUEST, description = "nobody has that name", body = FaultBody),
        (status = NOT_FOUND, description = "there is none", body = FaultBody),
        (status = CONFLICT, description = "it stands in the config file", body = FaultBody),
    )
)]
pub(super) async fn remove_path(State(admin): State<Admin>, target: Target) -> Result<StatusCode, Fault> {
    let who = target.named(None)?;
    remove(&admin, target.list, who).await
}
