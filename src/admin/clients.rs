//! Calls about who is inside.

mod selection;

use super::api::Admin;
use super::body;
use super::extract::Path;
use super::fault::{Fault, FaultBody};
use super::listing::{Meta, Order, Words, gathered};
use crate::admission::Timestamp;
use crate::net::tls::TlsFacts;
use crate::sessions::{Live, Sessions};
use crate::telemetry::Shown;
use crate::wire::mqtt::Version;
use axum::Json;
use axum::extract::{RawQuery, State};
use axum::http::StatusCode;
use selection::{COLUMNS, Column, Filter, level_of, select};
use serde::Serialize;
use tracing::info;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub(super) fn calls() -> OpenApiRouter<Admin> {
    OpenApiRouter::new().routes(routes!(clients)).routes(routes!(client, kick)).routes(routes!(kick_many))
}

/// A client that is inside.
#[derive(Debug, Serialize, ToSchema)]
struct ClientBody {
    /// Its client identifier: its own, or the one that the broker has chosen; empty while it has none.
    clientid: String,
    /// Its user name.
    username: Option<String>,
    /// Its address; `unix` where it came by a Unix socket.
    ip_address: String,
    /// Its port; 0 where it came by a Unix socket.
    port: u16,
    /// The load balancer that speaks for it, as `IP:PORT` or `unix`, where one does.
    via: Option<String>,
    /// The listener that it came through.
    listener: String,
    /// That listener's zone.
    zone: String,
    /// 3 is MQTT 3.1, 4 is 3.1.1, 5 is 5.0.
    proto_ver: u8,
    /// `MQIsdp` or `MQTT`.
    proto_name: &'static str,
    /// The broker has accepted it.
    connected: bool,
    /// When it was let in, RFC 3339.
    connected_at: String,
    /// Its Keep Alive, in seconds.
    keepalive: u16,
    /// It wanted no earlier session back.
    clean_start: bool,
    /// This node's name.
    node: String,
    /// The broker that it was taken to.
    upstream: String,
    /// It speaks TLS.
    tls: bool,
    /// The common name of its certificate, by its handshake with us or as the load balancer says.
    cert_cn: Option<String>,
    /// What its handshake told; null where it speaks no TLS with us.
    tls_facts: Option<TlsBody>,
    /// Bytes that came from it.
    recv_oct: u64,
    /// Bytes that came for it.
    send_oct: u64,
    /// The session's number: they count up.
    number: u64,
}

/// What a TLS handshake told.
#[derive(Debug, Serialize, ToSchema)]
struct TlsBody {
    /// `1.2` or `1.3`.
    version: &'static str,
    /// The cipher suite, as IANA names it.
    cipher: String,
    /// The server that it asked for.
    server_name: Option<String>,
    /// The protocol that was agreed upon.
    alpn: Option<String>,
    /// The JA4 fingerprint.
    ja4: String,
    /// It took up an earlier session.
    resumed: bool,
    /// Its certificate's common name.
    cert_cn: Option<String>,
    /// Its certificate's subject.
    cert_dn: Option<String>,
    /// Its certificate's serial number.
    cert_serial: Option<String>,
    /// The SHA-256 of its certificate.
    cert_sha256: Option<String>,
    /// Its certificate is good until then, RFC 3339.
    cert_not_after: Option<String>,
}

impl TlsBody {
    fn of(facts: &TlsFacts) -> TlsBody {
        let cert = facts.cert.as_ref();
        TlsBody {
            version: facts.version,
            cipher: facts.cipher.to_string(),
            server_name: facts.server_name.as_ref().map(ToString::to_string),
            alpn: facts.alpn.as_ref().map(ToString::to_string),
            ja4: facts.ja4.to_string(),
            resumed: facts.is_resumed,
            cert_cn: cert.and_then(|cert| cert.cn.as_ref().map(ToString::to_string)),
            cert_dn: cert.map(|cert| cert.dn.to_string()),
            cert_serial: cert.map(|cert| cert.serial.to_string()),
            cert_sha256: cert.map(|cert| cert.sha256.to_string()),
            cert_not_after: cert
                .map(|cert| Timestamp::from_millis(cert.not_after.saturating_mul(1000)).to_string()),
        }
    }
}

/// A page of them.
#[derive(Debug, Serialize, ToSchema)]
struct ClientsPage {
    data: Vec<ClientBody>,
    meta: Meta,
}

/// Which clients are asked for; all of it has to fit.
#[derive(Debug, Default, IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "this describes the words that are read one by one")]
struct ClientsQuery {
    /// The page, from 1 on.
    #[param(minimum = 1, maximum = 1_000_000_000)]
    page: Option<u32>,
    /// Rows a page: 1 to 10000, 100 if it is not said.
    #[param(minimum = 1, maximum = 10_000)]
    limit: Option<u32>,
    /// The client identifier; may come again, any of them fits then.
    clientid: Option<String>,
    /// The user name; may come again.
    username: Option<String>,
    /// The address.
    ip_address: Option<String>,
    /// A part of the client identifier.
    like_clientid: Option<String>,
    /// A part of the user name.
    like_username: Option<String>,
    /// A part of the address.
    like_ip_address: Option<String>,
    /// 3, 4 or 5.
    #[param(minimum = 3, maximum = 5)]
    proto_ver: Option<u8>,
    /// Let in then or later: RFC 3339, or epoch seconds or milliseconds.
    gte_connected_at: Option<String>,
    /// Let in then or earlier.
    lte_connected_at: Option<String>,
    /// The listener.
    listener: Option<String>,
    /// The zone.
    zone: Option<String>,
    /// The broker.
    upstream: Option<String>,
    /// The column to sort by; the order in which they came in, if it is not said.
    sort: Option<String>,
    /// `asc` or `desc`.
    order: Option<String>,
}

const WORDS: &[&str] = &[
    "page",
    "limit",
    "clientid",
    "username",
    "ip_address",
    "like_clientid",
    "like_username",
    "like_ip_address",
    "proto_ver",
    "gte_connected_at",
    "lte_connected_at",
    "listener",
    "zone",
    "upstream",
    "sort",
    "order",
];

/// Who is inside.
#[utoipa::path(
    get,
    path = "/api/v5/clients",
    tag = "clients",
    params(ClientsQuery),
    responses(
        (status = OK, description = "a page of them", body = ClientsPage),
        (status = BAD_REQUEST, description = "the query is wrong", body = FaultBody),
    )
)]
async fn clients(State(admin): State<Admin>, RawQuery(query): RawQuery) -> Result<Json<ClientsPage>, Fault> {
    let words = Words::read(query.as_deref(), WORDS)?;
    let (page, filter) = (words.page()?, Filter::read(&words)?);
    let order = words.order(COLUMNS, Order { column: Column::Number, is_descending: false })?;
    gathered(move || {
        let (rows, count) = select(&admin.proxy.sessions, &filter, order, page);
        let data = rows.iter().map(|live| shown(live, &admin.node)).collect();
        ClientsPage { data, meta: page.meta(count) }
    })
    .await
}

/// One of them: the session that began last, where several have this client identifier.
#[utoipa::path(
    get,
    path = "/api/v5/clients/{clientid}",
    tag = "clients",
    params(("clientid" = String, Path, description = "percent-encoded")),
    responses(
        (status = OK, description = "the client", body = ClientBody),
        (status = BAD_REQUEST, description = "the path is wrong", body = FaultBody),
        (status = NOT_FOUND, description = "nobody of that client identifier is inside", body = FaultBody),
    )
)]
async fn client(
    State(admin): State<Admin>,
    Path(client_id): Path<String>,
) -> Result<Json<ClientBody>, Fault> {
    let last = admin.proxy.sessions.of_client_id(&client_id).filter(|live| !live.is_kicked()).last();
    last.map(|live| Json(shown(&live, &admin.node))).ok_or_else(Fault::client_not_found)
}

/// Ends every session of a client identifier.
#[utoipa::path(
    delete,
    path = "/api/v5/clients/{clientid}",
    tag = "clients",
    params(("clientid" = String, Path, description = "percent-encoded")),
    responses(
        (status = NO_CONTENT, description = "kicked"),
        (status = BAD_REQUEST, description = "the path is wrong", body = FaultBody),
        (status = NOT_FOUND, description = "nobody of that client identifier is inside", body = FaultBody),
    )
)]
async fn kick(State(admin): State<Admin>, Path(client_id): Path<String>) -> Result<StatusCode, Fault> {
    if kick_all(&admin.proxy.sessions, &client_id) {
        Ok(StatusCode::NO_CONTENT)
    } else {
        Err(Fault::client_not_found())
    }
}

/// Ends every session of these client identifiers. Those that are not inside are passed over.
#[utoipa::path(
    post,
    path = "/api/v5/clients/kickout/bulk",
    tag = "clients",
    request_body = Vec<String>,
    responses(
        (status = NO_CONTENT, description = "kicked"),
        (status = BAD_REQUEST, description = "nobody was kicked", body = FaultBody),
    )
)]
async fn kick_many(
    State(admin): State<Admin>,
    body::Json(client_ids): body::Json<Vec<String>>,
) -> Result<StatusCode, Fault> {
    for client_id in client_ids {
        kick_all(&admin.proxy.sessions, &client_id);
    }
    Ok(StatusCode::NO_CONTENT)
}

/// False when nobody of that client identifier is inside.
fn kick_all(sessions: &Sessions, client_id: &str) -> bool {
    let kicked = sessions.of_client_id(client_id).filter(|live| live.kick()).count();
    if kicked > 0 {
        info!(client_id = %Shown(client_id), sessions = kicked, "kicked");
    }
    kicked > 0
}

fn shown(live: &Live, node: &str) -> ClientBody {
    let (recv_oct, send_oct) = live.bytes();
    ClientBody {
        clientid: live.client_id().to_owned(),
        username: live.username().map(str::to_owned),
        ip_address: live.peer().host(),
        port: live.peer().addr().map_or(0, |addr| addr.port()),
        via: live.via().map(|via| via.to_string()),
        listener: live.listener().to_string(),
        zone: live.zone().to_string(),
        proto_ver: level_of(live.version()),
        proto_name: if live.version() == Version::V31 { "MQIsdp" } else { "MQTT" },
        connected: live.is_accepted(),
        connected_at: live.since().to_string(),
        keepalive: live.keep_alive(),
        clean_start: live.clean_start(),
        node: node.to_owned(),
        upstream: live.upstream().to_owned(),
        tls: live.is_tls(),
        cert_cn: live.cert_cn().map(str::to_owned),
        tls_facts: live.tls().map(TlsBody::of),
        recv_oct,
        send_oct,
        number: live.number(),
    }
}
