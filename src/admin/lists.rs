//! Calls that change the lists.

use super::api::Admin;
use super::body::Json;
use super::extract::{Path, Query};
use super::fault::{Fault, FaultBody};
use crate::admission::detection::Detector;
use crate::admission::{As, Ban, List, Timestamp, Who};
use crate::bouncer::Bouncer;
use crate::exchange::{self, Format, ReadOptions};
use crate::store::Change;
use crate::telemetry::Shown;
use axum::body::Body;
use axum::extract::State;
use axum::http::StatusCode;
use futures_util::TryStreamExt;
use serde::{Deserialize, Serialize};
use std::io::{self, BufRead, BufReader};
use tokio_util::io::{StreamReader, SyncIoBridge};
use tracing::info;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub(super) fn calls() -> OpenApiRouter<Admin> {
    OpenApiRouter::new()
        .routes(routes!(import))
        .routes(routes!(remove_body))
        .routes(routes!(remove_path))
        .routes(routes!(clear))
}

/// What an import does with a `who` that is on the list already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Change it.
    Put,
    /// Refuse the import, unless the one that is there has ended.
    Add,
}

/// How many bans or exemptions a call has made and changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Changes {
    /// New ones.
    pub added: usize,
    /// Those that were there, and say something else now.
    pub changed: usize,
}

/// Whom a ban names.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(super) struct Named {
    /// `clientid`, `username`, `peerhost`, `clientid_re`, `username_re`, `peerhost_net` or `peerhost_re`.
    pub(super) r#as: String,
    /// The name, address, network or pattern.
    pub(super) who: String,
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct How {
    /// What happens to one that is there already.
    #[param(inline)]
    mode: Mode,
}

/// Takes in all records of the body, JSON Lines, or none.
#[utoipa::path(
    post,
    path = "/api/v5/{list}/import",
    tag = "lists",
    params(("list" = String, Path, description = "`banned` or `exemptions`"), How),
    request_body(content = String, content_type = "application/x-ndjson"),
    responses(
        (status = OK, description = "how many were made and changed", body = Changes),
        (status = BAD_REQUEST, description = "nothing has changed", body = FaultBody),
        (status = NOT_FOUND, description = "there is none", body = FaultBody),
    )
)]
async fn import(
    State(admin): State<Admin>,
    Path(list): Path<String>,
    Query(How { mode }): Query<How>,
    body: Body,
) -> Result<axum::Json<Changes>, Fault> {
    let list = list_named(&list)?;
    let now = admin.bouncer.clock().now();
    let bytes = StreamReader::new(body.into_data_stream().map_err(io::Error::other));
    let records = BufReader::new(SyncIoBridge::new(bytes));
    let read = tokio::task::spawn_blocking(move || read_changes(records, list, mode, now));
    let changes = read.await.map_err(|_| Fault::internal(&"the records could not be read"))??;
    let one = if changes.len() == 1 { changes.first().cloned() } else { None };
    let replaced = one.as_ref().and_then(|change| replaced(&admin.bouncer, change));
    let done = admin.store.change(changes).await?;
    if let Some(who) = replaced {
        // Detection would wait for the end of its own ban otherwise.
        admin.bouncer.lifted(&who);
    }
    if let Some(Change::Put(list, ban) | Change::Add(list, ban, _)) = one {
        log_one(list, &ban);
    } else {
        info!(%list, added = done.added, changed = done.changed, "imported");
    }
    Ok(axum::Json(Changes { added: done.added, changed: done.changed }))
}

/// Whom an automatic ban names that this change takes the place of.
fn replaced(bouncer: &Bouncer, change: &Change) -> Option<Who> {
    let Change::Put(List::Bans, ban) = change else { return None };
    let there = bouncer.admission().list(List::Bans).get(&ban.who)?;
    Detector::is_author(&there.terms.by).then_some(there.who)
}

fn log_one(list: List, ban: &Ban) {
    let Ban { who, terms } = ban;
    let (name, by, reason) = (who.to_string(), Shown(&terms.by), Shown(&terms.reason));
    info!(%list, r#as = %who.kind(), who = %Shown(&name), %by, %reason, until = %terms.until, "added");
}

/// All records, or the first mistake.
fn read_changes(records: impl BufRead, list: List, mode: Mode, now: Timestamp) -> Result<Vec<Change>, Fault> {
    // Whoever imports bans that have ended has said so on the command line.
    let options = ReadOptions { now, by: "api".into(), kind: None, keep_expired: mode == Mode::Put };
    exchange::read(Format::JsonLines, records, options)
        .map(|record| {
            let ban = record
                .map_err(|error| Fault::bad_request(&error))?
                .map_err(|error| Fault::bad_request(&error))?;
            Ok(match mode {
                Mode::Put => Change::Put(list, ban),
                Mode::Add => Change::Add(list, ban, now),
            })
        })
        .collect()
}

/// Lifts one.
#[utoipa::path(
    delete,
    path = "/api/v5/{list}/{as}/{who}",
    tag = "lists",
    params(("list" = String, Path, description = "`banned` or `exemptions`"),
        ("as" = String, Path, description = "the kind"), ("who" = String, Path, description = "percent-encoded")),
    responses(
        (status = NO_CONTENT, description = "lifted"),
        (status = BAD_REQUEST, description = "nothing has changed", body = FaultBody),
        (status = NOT_FOUND, description = "there is none", body = FaultBody),
    )
)]
async fn remove_path(
    State(admin): State<Admin>,
    Path((list, kind, who)): Path<(String, String, String)>,
) -> Result<StatusCode, Fault> {
    remove(&admin, &list, Named { r#as: kind, who }).await
}

/// Lifts one, for names that are too long for a path.
#[utoipa::path(
    post,
    path = "/api/v5/{list}/remove",
    tag = "lists",
    params(("list" = String, Path, description = "`banned` or `exemptions`")),
    request_body = Named,
    responses(
        (status = NO_CONTENT, description = "lifted"),
        (status = BAD_REQUEST, description = "nothing has changed", body = FaultBody),
        (status = NOT_FOUND, description = "there is none", body = FaultBody),
    )
)]
async fn remove_body(
    State(admin): State<Admin>,
    Path(list): Path<String>,
    Json(named): Json<Named>,
) -> Result<StatusCode, Fault> {
    remove(&admin, &list, named).await
}

async fn remove(admin: &Admin, list: &str, named: Named) -> Result<StatusCode, Fault> {
    let Named { r#as: kind, who } = named;
    let list = list_named(list)?;
    let kind: As = kind.parse().map_err(|error| Fault::bad_request(&format!("{kind} {error}")))?;
    let who = Who::new(kind, &who, None).map_err(|error| Fault::bad_request(&format!("who {error}")))?;
    let done = admin.store.change(vec![Change::Remove(list, who.clone())]).await?;
    if done.removed == 0 {
        return Err(Fault::not_found(&format!("{kind}: {} not found", Shown(&who.to_string()))));
    }
    info!(%list, r#as = %kind, who = %Shown(&who.to_string()), "lifted");
    Ok(StatusCode::NO_CONTENT)
}

/// Lifts all that were made at run time.
#[utoipa::path(
    delete,
    path = "/api/v5/{list}",
    tag = "lists",
    params(("list" = String, Path, description = "`banned` or `exemptions`")),
    responses(
        (status = NO_CONTENT, description = "lifted"),
        (status = BAD_REQUEST, description = "nothing has changed", body = FaultBody),
        (status = NOT_FOUND, description = "there is none", body = FaultBody),
    )
)]
async fn clear(State(admin): State<Admin>, Path(list): Path<String>) -> Result<StatusCode, Fault> {
    let list = list_named(&list)?;
    let done = admin.store.change(vec![Change::Clear(list)]).await?;
    info!(%list, removed = done.removed, "cleared");
    Ok(StatusCode::NO_CONTENT)
}

/// `banned` is EMQX's name for the bans.
pub(super) fn path_name(list: List) -> &'static str {
    match list {
        List::Bans => "banned",
        List::Exemptions => "exemptions",
    }
}

fn list_named(name: &str) -> Result<List, Fault> {
    let list = List::ALL.into_iter().find(|list| path_name(*list) == name);
    list.ok_or_else(|| Fault::not_found(&format!("{name} is not a list; expected banned or exemptions")))
}
