//! Calls that say why a client is refused or let in.

use super::api::Admin;
use super::body::Json;
use super::explanation::{self, Evidence, Explained};
use super::extract::Query;
use super::fault::{Fault, FaultBody};
use super::schema::Explanation;
use crate::admission::Client;
use crate::admission::detection::Detector;
use crate::telemetry::Chain;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::net::IpAddr;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub(super) fn calls() -> OpenApiRouter<Admin> {
    OpenApiRouter::new().routes(routes!(explain_query, explain_body))
}

/// A client that is asked about.
#[derive(Debug, Serialize, Deserialize, ToSchema, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Asked {
    /// Its client identifier; none is the empty one.
    #[serde(default)]
    pub(super) clientid: String,
    /// Its user name, if it has one.
    pub(super) username: Option<String>,
    /// Its address.
    #[schema(value_type = String)]
    #[param(value_type = String)]
    pub(super) peer: IpAddr,
}

/// Says whether a client would be let in, and every rule about it.
#[utoipa::path(
    get,
    path = "/api/v5/explain",
    tag = "explain",
    params(Asked),
    responses(
        (status = OK, description = "the verdict, and every rule about the client", body = Explanation),
        (status = BAD_REQUEST, description = "no such client can be", body = FaultBody),
    )
)]
async fn explain_query(
    State(admin): State<Admin>,
    Query(asked): Query<Asked>,
) -> Result<axum::Json<Value>, Fault> {
    explain(&admin, &asked).await
}

/// The same, for names that are too long for a path.
#[utoipa::path(
    post,
    path = "/api/v5/explain",
    tag = "explain",
    request_body = Asked,
    responses(
        (status = OK, description = "the verdict, and every rule about the client", body = Explanation),
        (status = BAD_REQUEST, description = "no such client can be", body = FaultBody),
    )
)]
async fn explain_body(
    State(admin): State<Admin>,
    Json(asked): Json<Asked>,
) -> Result<axum::Json<Value>, Fault> {
    explain(&admin, &asked).await
}

async fn explain(admin: &Admin, asked: &Asked) -> Result<axum::Json<Value>, Fault> {
    let client = Client::new(asked.peer, &asked.clientid, asked.username.as_deref());
    let explanation = admin.bouncer.explain(&client);
    let mut evidence = Vec::new();
    for ban in explanation.bans.iter().filter(|ban| Detector::is_author(&ban.terms.by)) {
        let offence = admin.store.offence(ban.who.clone()).await;
        let offence = offence.map_err(|error| Fault::internal(&Chain(&error)))?;
        evidence.extend(offence.map(Evidence::from));
    }
    Ok(axum::Json(explanation::to_json(&Explained { explanation, evidence })))
}
