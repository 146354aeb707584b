//! The calls, and what they do.

use super::explanation::{self, Evidence, Explained};
use super::fault::Fault;
use super::socket::Socket;
use crate::admission::detection::Detector;
use crate::admission::{As, Ban, Client, List, Timestamp, Who};
use crate::bouncer::Bouncer;
use crate::exchange::{self, Format, ReadOptions};
use crate::findings::Findings;
use crate::store::{Change, Store};
use crate::telemetry::{Chain, Shown};
use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::routing::{delete, get, post};
use axum::{Json, Router};
use futures_util::TryStreamExt;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::io::{self, BufRead, BufReader};
use std::net::IpAddr;
use tokio_util::io::{StreamReader, SyncIoBridge};
use tracing::info;

/// What a running proxy is steered by.
#[derive(Debug, Clone)]
pub struct Admin {
    /// The lists that are in force.
    pub bouncer: Bouncer,
    /// The bans and exemptions that were made at run time.
    pub store: Store,
    /// What detection has found lately.
    pub findings: Findings,
}

/// What an import does with a `who` that is on the list already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Change it.
    Put,
    /// Refuse the import, unless the one that is there has ended.
    Add,
}

/// How many bans or exemptions a call has made and changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Changes {
    /// New ones.
    pub added: usize,
    /// Those that were there, and say something else now.
    pub changed: usize,
}

impl Admin {
    /// Serves callers until `stop` completes, and those that are in by then to their end.
    ///
    /// # Errors
    /// None today: accepting is tried again until it works.
    pub async fn serve(
        self,
        socket: Socket,
        stop: impl Future<Output = ()> + Send + 'static,
    ) -> io::Result<()> {
        let Socket { listener, file } = socket;
        let served = axum::serve(listener, self.router()).with_graceful_shutdown(stop).await;
        drop(file);
        served
    }

    fn router(self) -> Router {
        Router::new()
            .route("/api/v5/explain", get(explain_query).post(explain_body))
            .route("/api/v5/detections", get(detections))
            .route("/api/v5/{list}/import", post(import))
            .route("/api/v5/{list}/remove", post(remove_body))
            .route("/api/v5/{list}/{kind}/{who}", delete(remove_path))
            .route("/api/v5/{list}", delete(clear))
            .fallback(async || Fault::not_found(&"there is no such call"))
            .with_state(self)
    }
}

/// A client that is asked about.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Asked {
    #[serde(default)]
    pub(super) clientid: String,
    pub(super) username: Option<String>,
    pub(super) peer: IpAddr,
}

/// Whom a ban names.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Named {
    pub(super) r#as: String,
    pub(super) who: String,
}

async fn explain_query(State(admin): State<Admin>, Query(asked): Query<Asked>) -> Result<Json<Value>, Fault> {
    explain(&admin, &asked).await
}

/// For names that are too long for a path.
async fn explain_body(State(admin): State<Admin>, Json(asked): Json<Asked>) -> Result<Json<Value>, Fault> {
    explain(&admin, &asked).await
}

async fn explain(admin: &Admin, asked: &Asked) -> Result<Json<Value>, Fault> {
    let client = Client::new(asked.peer, &asked.clientid, asked.username.as_deref());
    let explanation = admin.bouncer.explain(&client);
    let mut evidence = Vec::new();
    for ban in explanation.bans.iter().filter(|ban| Detector::is_author(&ban.terms.by)) {
        let offence = admin.store.offence(ban.who.clone()).await;
        let offence = offence.map_err(|error| Fault::internal(&Chain(&error)))?;
        evidence.extend(offence.map(Evidence::from));
    }
    Ok(Json(explanation::to_json(&Explained { explanation, evidence })))
}

/// The latest findings, the newest first.
async fn detections(State(admin): State<Admin>) -> Json<Value> {
    Json(json!({ "data": admin.findings.latest() }))
}

#[derive(Debug, Deserialize)]
struct How {
    mode: Mode,
}

async fn import(
    State(admin): State<Admin>,
    Path(list): Path<String>,
    Query(How { mode }): Query<How>,
    body: Body,
) -> Result<Json<Changes>, Fault> {
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
    Ok(Json(Changes { added: done.added, changed: done.changed }))
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

async fn remove_path(
    State(admin): State<Admin>,
    Path((list, kind, who)): Path<(String, String, String)>,
) -> Result<StatusCode, Fault> {
    remove(&admin, &list, Named { r#as: kind, who }).await
}

/// For names that are too long for a path.
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
