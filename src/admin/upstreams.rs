//! Calls about the brokers: how they are, and which of them get no new clients.

use super::api::Admin;
use super::extract::Path;
use super::fault::{Fault, FaultBody};
use crate::admission::Timestamp;
use crate::net::upstream::{Member, Upstream};
use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use tracing::info;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub(super) fn calls() -> OpenApiRouter<Admin> {
    OpenApiRouter::new().routes(routes!(upstreams)).routes(routes!(drain)).routes(routes!(resume))
}

/// All groups of brokers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct UpstreamsBody {
    /// By name.
    pub data: Vec<UpstreamBody>,
}

/// A group of brokers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct UpstreamBody {
    /// Its name; `default` for `[upstream]`.
    pub name: String,
    /// `round_robin`, `least_connections` or `hash`.
    pub balance: String,
    /// Whether TLS is spoken with its servers.
    pub tls: bool,
    /// The group that takes its clients while none of its servers can.
    pub backup: Option<String>,
    /// Whether one of its servers is believed to be well. Where none is, and no spare group has one, all are tried all
    /// the same.
    pub usable: bool,
    /// Its servers, in the order of the config file.
    pub servers: Vec<ServerBody>,
}

/// A broker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ServerBody {
    /// As the config file writes it.
    pub server: String,
    /// `active`; `drain` gets no new clients.
    pub state: String,
    /// `up`; `starting`, it is back and its share grows; `ejected`, it could not be reached and is left alone; `trying`,
    /// the next client tries it again; `down`, its checks fail.
    pub health: String,
    /// Whether clients are taken there now.
    pub usable: bool,
    /// How many clients it takes, compared with the others.
    pub weight: u32,
    /// Whether it takes clients only while none of the others can.
    pub backup: bool,
    /// Connections that live, those that are being made included.
    pub connections: usize,
    /// How often it was left alone.
    pub ejections: u64,
    /// Checks that found it well.
    pub checks_succeeded: u64,
    /// Checks that did not.
    pub checks_failed: u64,
    /// The addresses that its name leads to; none where it is an address, or was not looked up yet.
    pub addresses: Vec<String>,
    /// The last connection or check that failed; null when none did.
    pub last_failure: Option<FailureBody>,
}

/// A connection or a check that failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FailureBody {
    /// When.
    pub at: String,
    /// What came of it.
    pub problem: String,
}

/// The brokers and how they are.
#[utoipa::path(
    get,
    path = "/api/v5/upstreams",
    tag = "upstreams",
    responses((status = OK, description = "all groups, by name", body = UpstreamsBody))
)]
async fn upstreams(State(admin): State<Admin>) -> Json<UpstreamsBody> {
    let (routes, clock) = (admin.proxy.routes.load_full(), Now::of(&admin));
    Json(UpstreamsBody { data: routes.groups.all().map(|group| clock.group(group)).collect() })
}

/// Which server.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Path)]
#[expect(dead_code, reason = "this describes the parts of the path that are read one by one")]
struct ServerPath {
    /// `default` for `[upstream]`; percent-encoded
    group: String,
    /// as the config file writes it; percent-encoded
    server: String,
}

/// Takes no new clients to a broker from now on.
///
/// Those who are there stay. It holds until `resume`, until the config file says another `state` of it than it did, or until
/// the process ends.
#[utoipa::path(
    post,
    path = "/api/v5/upstreams/{group}/{server}/drain",
    tag = "upstreams",
    params(ServerPath),
    responses(
        (status = OK, description = "how it is now", body = ServerBody),
        (status = BAD_REQUEST, description = "the path is wrong", body = FaultBody),
        (status = NOT_FOUND, description = "there is no such group, or no such server in it", body = FaultBody),
    )
)]
async fn drain(
    State(admin): State<Admin>,
    Path(path): Path<(String, String)>,
) -> Result<Json<ServerBody>, Fault> {
    set(&admin, &path, true)
}

/// Takes clients to a broker again.
#[utoipa::path(
    post,
    path = "/api/v5/upstreams/{group}/{server}/resume",
    tag = "upstreams",
    params(ServerPath),
    responses(
        (status = OK, description = "how it is now", body = ServerBody),
        (status = BAD_REQUEST, description = "the path is wrong", body = FaultBody),
        (status = NOT_FOUND, description = "there is no such group, or no such server in it", body = FaultBody),
    )
)]
async fn resume(
    State(admin): State<Admin>,
    Path(path): Path<(String, String)>,
) -> Result<Json<ServerBody>, Fault> {
    set(&admin, &path, false)
}

fn set(
    admin: &Admin,
    (name, server): &(String, String),
    is_drained: bool,
) -> Result<Json<ServerBody>, Fault> {
    let routes = admin.proxy.routes.load_full();
    let group =
        routes.groups.get(name).ok_or_else(|| Fault::not_found(&"there is no such group of brokers"))?;
    let member =
        group.member(server).ok_or_else(|| Fault::not_found(&"there is no such server in the group"))?;
    if member.is_drained() != is_drained {
        member.drain(is_drained);
        let message = if is_drained { "server gets no new clients" } else { "server gets clients again" };
        info!(upstream = %group.name(), server = %member.server(), connections = member.live(), "{message}");
    }
    Ok(Json(Now::of(admin).server(group, member)))
}

/// One moment on both clocks.
struct Now {
    wall: Timestamp,
    moment: Instant,
}

impl Now {
    fn of(admin: &Admin) -> Now {
        Now { wall: admin.bouncer.clock().now(), moment: Instant::now() }
    }

    fn group(&self, group: &Arc<Upstream>) -> UpstreamBody {
        let settings = group.settings();
        UpstreamBody {
            name: group.name().to_string(),
            balance: settings.balance.as_str().to_owned(),
            tls: settings.tls.is_some(),
            backup: settings.backup.clone(),
            usable: group.members().iter().any(|member| member.is_usable(self.moment)),
            servers: group.members().iter().map(|member| self.server(group, member)).collect(),
        }
    }

    fn server(&self, group: &Upstream, member: &Member) -> ServerBody {
        let slow_start = group.settings().slow_start;
        let (checks_succeeded, checks_failed) = member.checks();
        let last_failure = member.last_failure().map(|failure| FailureBody {
            at: self.before(self.moment.saturating_duration_since(failure.at)).to_string(),
            problem: failure.problem,
        });
        ServerBody {
            server: member.server().to_string(),
            state: if member.is_drained() { "drain" } else { "active" }.to_owned(),
            health: member.condition(self.moment, slow_start).as_str().to_owned(),
            usable: member.is_usable(self.moment),
            weight: member.settings().weight,
            backup: member.settings().is_backup,
            connections: member.live(),
            ejections: member.ejections(),
            checks_succeeded,
            checks_failed,
            addresses: member.addresses().iter().map(ToString::to_string).collect(),
            last_failure,
        }
    }

    fn before(&self, age: Duration) -> Timestamp {
        let millis = i64::try_from(age.as_millis()).unwrap_or(i64::MAX);
        Timestamp::from_millis(self.wall.as_millis().saturating_sub(millis))
    }
}
