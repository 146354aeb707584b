//! Calls about who was turned away.

mod selection;
mod top;

use super::api::Admin;
use super::extract::Path;
use super::fault::{Fault, FaultBody};
use super::listing::{Meta, Words, gathered};
use crate::refused::{Origin, Row, TlsSeen};
use axum::Json;
use axum::extract::{RawQuery, State};
use axum::http::StatusCode;
use compact_str::CompactString;
use selection::{COLUMNS, Filter, LATEST_FIRST, select};
use serde::Serialize;
use tracing::info;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub(super) fn calls() -> OpenApiRouter<Admin> {
    OpenApiRouter::new()
        .routes(routes!(refused, clear_refused))
        .routes(routes!(remove_refused))
        .routes(routes!(top::top_refused))
}

/// A client that was turned away.
#[derive(Debug, Serialize, ToSchema)]
struct RefusedBody {
    /// The row's number.
    id: u64,
    /// Its client identifier, cut at 256 bytes; null where it had none.
    clientid: Option<String>,
    /// Its user name, cut likewise.
    username: Option<String>,
    /// Its address, or the network where `others` is true.
    peerhost: String,
    /// The row counts all from `peerhost` for whom there was no row of their own.
    others: bool,
    /// Its CONNECT had a password; null where there was no CONNECT.
    password: Option<bool>,
    /// It spoke TLS.
    tls: bool,
    /// The name of the server that it asked for by TLS, cut at 256 bytes, as the next ones are.
    server_name: Option<String>,
    /// The JA4 fingerprint of its ClientHello.
    ja4: Option<String>,
    /// The common name of its certificate.
    cert_cn: Option<String>,
    /// The SHA-256 of its certificate.
    cert_sha256: Option<String>,
    /// The address of the load balancer that spoke for it, where one did.
    via: Option<String>,
    /// The listener that it came to last.
    listener: String,
    /// That listener's zone.
    zone: String,
    /// Why it was turned away last.
    reason: &'static str,
    /// The code of the broker's CONNACK; null where the broker never saw it.
    connack: Option<u8>,
    /// The kind of the ban that refused it last.
    r#as: Option<&'static str>,
    /// Whom that ban names, cut at 256 bytes.
    who: Option<String>,
    /// When it came first, RFC 3339.
    first_at: String,
    /// When it came last, RFC 3339.
    last_at: String,
    /// How often it came.
    count: u64,
}

/// A page of them.
#[derive(Debug, Serialize, ToSchema)]
struct RefusedPage {
    data: Vec<RefusedBody>,
    meta: Meta,
}

/// Which are asked for; all of it has to fit. Parts are found whatever their case.
#[derive(Debug, Default, IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "this describes the words that are read one by one")]
struct RefusedQuery {
    /// The page, from 1 on.
    #[param(minimum = 1, maximum = 1_000_000_000)]
    page: Option<u32>,
    /// Rows a page: 1 to 10000, 100 if it is not said.
    #[param(minimum = 1, maximum = 10_000)]
    limit: Option<u32>,
    /// The client identifier.
    clientid: Option<String>,
    /// The user name.
    username: Option<String>,
    /// The address, or one in the network.
    peerhost: Option<String>,
    /// In this network.
    net: Option<String>,
    /// A part of the client identifier.
    like_clientid: Option<String>,
    /// A part of the user name.
    like_username: Option<String>,
    /// A part of the address.
    like_peerhost: Option<String>,
    /// A part of whom the ban names.
    like_who: Option<String>,
    /// A part of the reason.
    like_reason: Option<String>,
    /// Why it was turned away last.
    reason: Option<String>,
    /// The kind of the ban.
    r#as: Option<String>,
    /// The listener.
    listener: Option<String>,
    /// The zone.
    zone: Option<String>,
    /// `true` or `false`: whether it had a password.
    password: Option<bool>,
    /// `true` or `false`: whether it spoke TLS.
    tls: Option<bool>,
    /// The name of the server that it asked for by TLS.
    server_name: Option<String>,
    /// The JA4 fingerprint.
    ja4: Option<String>,
    /// The common name of its certificate.
    cert_cn: Option<String>,
    /// The SHA-256 of its certificate.
    cert_sha256: Option<String>,
    /// The address of the load balancer that spoke for it.
    via: Option<String>,
    /// Came last then or later: RFC 3339, or epoch seconds or milliseconds.
    gte_last_at: Option<String>,
    /// Came last then or earlier.
    lte_last_at: Option<String>,
    /// The column to sort by; `last_at`, the latest first, if it is not said.
    sort: Option<String>,
    /// `asc` or `desc`.
    order: Option<String>,
}

const WORDS: &[&str] = &[
    "page",
    "limit",
    "clientid",
    "username",
    "peerhost",
    "net",
    "like_clientid",
    "like_username",
    "like_peerhost",
    "like_who",
    "like_reason",
    "reason",
    "as",
    "listener",
    "zone",
    "password",
    "tls",
    "server_name",
    "ja4",
    "cert_cn",
    "cert_sha256",
    "via",
    "gte_last_at",
    "lte_last_at",
    "sort",
    "order",
];

/// Who was turned away lately, by a ban, for a bad CONNECT, or by the broker.
#[utoipa::path(
    get,
    path = "/api/v5/refused",
    tag = "refused",
    params(RefusedQuery),
    responses(
        (status = OK, description = "a page of them", body = RefusedPage),
        (status = BAD_REQUEST, description = "the query is wrong", body = FaultBody),
    )
)]
async fn refused(State(admin): State<Admin>, RawQuery(query): RawQuery) -> Result<Json<RefusedPage>, Fault> {
    let words = Words::read(query.as_deref(), WORDS)?;
    let (page, filter) = (words.page()?, Filter::read(&words)?);
    let order = words.order(COLUMNS, LATEST_FIRST)?;
    let now = admin.bouncer.clock().now();
    gathered(move || {
        let (rows, count) = select(&admin.proxy.refused, now, &filter, order, page);
        RefusedPage { data: rows.iter().map(body).collect(), meta: page.meta(count) }
    })
    .await
}

/// Forgets all of them.
#[utoipa::path(
    delete,
    path = "/api/v5/refused",
    tag = "refused",
    responses((status = NO_CONTENT, description = "forgotten"))
)]
async fn clear_refused(State(admin): State<Admin>) -> StatusCode {
    let rows = admin.proxy.refused.clear();
    info!(rows, "the list of refused clients was cleared");
    StatusCode::NO_CONTENT
}

/// Forgets one.
#[utoipa::path(
    delete,
    path = "/api/v5/refused/{id}",
    tag = "refused",
    params(("id" = u64, Path, description = "as the list shows it")),
    responses(
        (status = NO_CONTENT, description = "forgotten"),
        (status = BAD_REQUEST, description = "that is no number", body = FaultBody),
        (status = NOT_FOUND, description = "there is none", body = FaultBody),
    )
)]
async fn remove_refused(State(admin): State<Admin>, Path(id): Path<String>) -> Result<StatusCode, Fault> {
    let wrong = |_| Fault::bad_request(&"the id is wrong; expected a number, as the list shows it");
    let id: u64 = id.parse().map_err(wrong)?;
    if admin.proxy.refused.remove(id) {
        Ok(StatusCode::NO_CONTENT)
    } else {
        Err(Fault::not_found(&format!("there is no refused client {id}")))
    }
}

fn body(row: &Row) -> RefusedBody {
    let told = |part: fn(&TlsSeen) -> &Option<CompactString>| {
        row.tls.as_deref().and_then(|tls| part(tls).as_ref()).map(ToString::to_string)
    };
    RefusedBody {
        id: row.id,
        clientid: row.client_id.as_ref().map(ToString::to_string),
        username: row.username.as_ref().map(ToString::to_string),
        peerhost: row.origin.text(),
        others: matches!(row.origin, Origin::Others(_)),
        password: row.has_password,
        tls: row.is_tls,
        server_name: told(|tls| &tls.server_name),
        ja4: told(|tls| &tls.ja4),
        cert_cn: told(|tls| &tls.cert_cn),
        cert_sha256: told(|tls| &tls.cert_sha256),
        via: row.via.map(|via| via.to_string()),
        listener: row.listener.to_string(),
        zone: row.zone.to_string(),
        reason: row.reason.as_str(),
        connack: row.reason.connack(),
        r#as: row.ban.as_ref().map(|(kind, _)| kind.as_str()),
        who: row.ban.as_ref().map(|(_, who)| who.to_string()),
        first_at: row.first.to_string(),
        last_at: row.last.to_string(),
        count: row.count,
    }
}
