//! Takes in a file of bans or exemptions, in any of the forms that are read: all of it or nothing.

use super::rehearsal::{is_dear, too_long, try_patterns};
use super::target::Listed;
use super::{change, log_one};
use crate::admin::api::Admin;
use crate::admin::fault::{Fault, FaultBody};
use crate::admin::query::Params;
use crate::admission::{As, Ban, List};
use crate::bouncer::Bouncer;
use crate::exchange::{self, Format, ReadOptions};
use crate::store::Change;
use crate::telemetry::Shown;
use axum::Json;
use axum::body::Body;
use axum::extract::{RawQuery, State};
use futures_util::TryStreamExt;
use serde::{Deserialize, Serialize};
use std::collections::HashSet;
use std::io::{self, BufRead, BufReader};
use tokio_util::io::{StreamReader, SyncIoBridge};
use tracing::info;
use utoipa::ToSchema;

/// What an import does with a `who` that is on the list already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Change it.
    Put,
    /// Refuse the import, unless the one that is there has ended.
    Add,
}

/// What an import has done, or would do.
#[derive(Debug, Default, Serialize, ToSchema)]
pub(super) struct Imported {
    /// New ones.
    added: usize,
    /// Those that were there, and say something else now.
    changed: usize,
    /// Of a dry run: how many records there are.
    #[serde(skip_serializing_if = "Option::is_none")]
    records: Option<usize>,
    /// Of a dry run: the first mistakes; with any, nothing would be taken in.
    #[serde(skip_serializing_if = "Option::is_none")]
    mistakes: Option<Vec<String>>,
    /// Of a dry run: how many mistakes there are in all.
    #[serde(skip_serializing_if = "Option::is_none")]
    mistakes_in_all: Option<usize>,
}

/// How many bans or exemptions a call has made and changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Changes {
    /// New ones.
    pub added: usize,
    /// Those that were there, and say something else now.
    pub changed: usize,
}

/// Takes in all records of the body, or none. It is read as it comes, and may be of any length.
#[utoipa::path(
    post,
    path = "/api/v5/{list}/import",
    tag = "lists",
    params(
        ("list" = String, Path, description = "`banned` or `exemptions`"),
        ("mode" = Option<Mode>, Query, description = "what happens to one that is there already; `put` if nothing is said"),
        ("format" = Option<String>, Query, description = "`jsonl` (if nothing is said), `emqx-csv`, `emqx-json`, `tbmq-json` or `plain`"),
        ("as" = Option<String>, Query, description = "what the names of a plain list are"),
        ("by" = Option<String>, Query, description = "the author of those that name none"),
        ("dry_run" = Option<bool>, Query, description = "change nothing, and tell what would come of it, with every mistake"),
        ("keep_expired" = Option<bool>, Query, description = "take in what has ended, too; else that is a mistake"),
    ),
    request_body(content = String, content_type = "application/x-ndjson"),
    responses(
        (status = OK, description = "how many were made and changed", body = Imported),
        (status = BAD_REQUEST, description = "nothing has changed; the message names the line", body = FaultBody),
        (status = NOT_FOUND, description = "there is no such list", body = FaultBody),
    )
)]
pub(super) async fn import(
    State(admin): State<Admin>,
    Listed(list): Listed,
    RawQuery(query): RawQuery,
    body: Body,
) -> Result<Json<Imported>, Fault> {
    let params = Params::read(query.as_deref(), &["mode", "format", "as", "by", "keep_expired", "dry_run"])?;
    let mode = params.parsed("mode", Mode::of, "put or add")?.unwrap_or(Mode::Put);
    let format = params.parsed("format", |name| name.parse().ok(), FORMATS)?.unwrap_or(Format::JsonLines);
    let options = ReadOptions {
        now: admin.moment().now,
        by: params.first("by").unwrap_or(AUTHOR).into(),
        kind: params.parsed("as", |name| name.parse::<As>().ok(), "a kind of ban")?,
        keep_expired: params.flag("keep_expired")?,
    };
    let bytes = StreamReader::new(body.into_data_stream().map_err(io::Error::other));
    let records = BufReader::new(SyncIoBridge::new(bytes));
    if params.flag("dry_run")? {
        let bouncer = admin.bouncer.clone();
        let trying =
            tokio::task::spawn_blocking(move || try_out(&bouncer, format, records, list, mode, options));
        let tried = trying.await.map_err(|_| Fault::internal(&"the records could not be read"))??;
        let Tried { mut imported, dear } = tried;
        let found = admin.store.look_long(move |view| try_patterns(&view, list, &dear)).await?;
        if let Err(error) = found {
            imported.note(error.to_string());
        }
        return Ok(Json(imported));
    }
    let read = tokio::task::spawn_blocking(move || read_changes(format, records, list, mode, options));
    let changes = read.await.map_err(|_| Fault::internal(&"the records could not be read"))??;
    let one = if changes.len() == 1 { changes.first().cloned() } else { None };
    let done = change(&admin, changes).await?;
    if let Some(Change::Put(list, ban) | Change::Add(list, ban, _)) = one {
        log_one(list, "added", &ban);
    } else {
        info!(%list, added = done.added, changed = done.changed, "imported");
    }
    Ok(Json(Imported {
        added: done.added,
        changed: done.changed,
        records: None,
        mistakes: None,
        mistakes_in_all: None,
    }))
}

/// What an import would come to, and the bans in it whose number is limited, together with those that are there.
struct Tried {
    imported: Imported,
    dear: Vec<Ban>,
}

/// What would come of an import.
fn try_out(
    bouncer: &Bouncer,
    format: Format,
    records: impl BufRead,
    list: List,
    mode: Mode,
    options: ReadOptions,
) -> Result<Tried, Fault> {
    let now = options.now;
    let (mut seen, mut dear) = (HashSet::new(), Vec::new());
    let mut imported = Imported { records: Some(0), mistakes: Some(Vec::new()), ..Imported::default() };
    imported.mistakes_in_all = Some(0);
    let lists = bouncer.admission();
    for record in exchange::read(format, records, options) {
        // One that cannot be read on ends the list.
        let record = record.map_err(|error| Fault::bad_request(&error))?;
        imported.records = imported.records.map(|records| records + 1);
        let ban = match record {
            Ok(ban) => ban,
            Err(error) => {
                imported.note(error.to_string());
                continue;
            }
        };
        let there = lists.list(list).get(&ban.who);
        let is_new = seen.insert(ban.who.clone());
        let holds = there.as_ref().is_some_and(|there| there.terms.is_active(now));
        if let Some(error) = too_long(&ban) {
            imported.note(format!("{} {}: {error}", ban.who.kind(), Shown(&ban.who.to_string())));
        } else if mode == Mode::Add && (holds || !is_new) {
            let who = ban.who.to_string();
            imported.note(format!("{} {} is on the list already", ban.who.kind(), Shown(&who)));
        } else if is_new {
            imported.added += usize::from(there.is_none());
            imported.changed += usize::from(there.is_some_and(|there| there != ban));
            dear.extend(Some(ban).filter(|ban| is_dear(&ban.who)));
        }
    }
    Ok(Tried { imported, dear })
}

impl Imported {
    /// A dry run has found a mistake.
    fn note(&mut self, problem: String) {
        self.mistakes_in_all = self.mistakes_in_all.map(|count| count + 1);
        if let Some(mistakes) = self.mistakes.as_mut().filter(|mistakes| mistakes.len() < MAX_MISTAKES) {
            mistakes.push(problem);
        }
    }
}

/// How many mistakes a dry run tells; the rest it counts.
const MAX_MISTAKES: usize = 100;

/// All records, or the first mistake.
fn read_changes(
    format: Format,
    records: impl BufRead,
    list: List,
    mode: Mode,
    options: ReadOptions,
) -> Result<Vec<Change>, Fault> {
    let now = options.now;
    exchange::read(format, records, options)
        .map(|record| {
            let ban = record
                .map_err(|error| Fault::bad_request(&error))?
                .map_err(|error| Fault::bad_request(&error))?;
            Ok(mode.change(list, ban, now))
        })
        .collect()
}

/// The author of imported bans that name none.
const AUTHOR: &str = "api";

pub(super) const FORMATS: &str = "jsonl, emqx-csv, emqx-json, tbmq-json or plain";
