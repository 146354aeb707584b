//! Calls that say why a client is refused or let in.

use super::api::Admin;
use super::body::Json;
use super::explanation::{self, Evidence, Explained};
use super::extract::Query;
use super::fault::{Fault, FaultBody};
use super::schema::Explanation;
use crate::admission::detection::Detector;
use crate::admission::{Client, TlsIdentity};
use crate::proxy::Traits;
use crate::telemetry::Chain;
use crate::wire::mqtt::Version;
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
pub struct Asked {
    /// Its client identifier; none is the empty one.
    #[serde(default)]
    pub clientid: String,
    /// Its user name, if it has one.
    pub username: Option<String>,
    /// Its address.
    #[schema(value_type = String)]
    #[param(value_type = String)]
    pub peer: IpAddr,
    /// The MQTT version that it speaks, for routes: `3.1`, `3.1.1` or `5`. What is not said fits no route's condition.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub protocol: Option<String>,
    /// The listener that it comes to, for routes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub listener: Option<String>,
    /// The server that it asks for in TLS, for routes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sni: Option<String>,
    /// The common name of its certificate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cert_cn: Option<String>,
    /// The SHA-256 of its certificate, in hexadecimal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cert_sha256: Option<String>,
    /// The JA4 fingerprint of its TLS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ja4: Option<String>,
}

/// A version that does not exist.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("protocol {0:?} is no MQTT version; expected \"3.1\", \"3.1.1\" or \"5\"")]
pub struct UnknownProtocol(String);

impl Asked {
    /// The client as bans name it.
    pub fn client(&self) -> Client<'_> {
        Client::new(self.peer, &self.clientid, self.username.as_deref()).with_tls(TlsIdentity {
            cert_cn: self.cert_cn.as_deref(),
            cert_sha256: self.cert_sha256.as_deref(),
            ja4: self.ja4.as_deref(),
        })
    }

    /// The client as routes look at it.
    pub fn traits(&self) -> Result<Traits<'_>, UnknownProtocol> {
        let known = |text: &String| {
            let version = Version::ALL.into_iter().find(|version| version.as_str() == *text);
            version.ok_or_else(|| UnknownProtocol(text.clone()))
        };
        Ok(Traits {
            version: self.protocol.as_ref().map(known).transpose()?,
            listener: self.listener.as_deref(),
            client_id: &self.clientid,
            username: self.username.as_deref(),
            server_name: self.sni.as_deref(),
            cert_cn: self.cert_cn.as_deref(),
        })
    }
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
    let traits = asked.traits().map_err(|error| Fault::bad_request(&error))?;
    let route = admin.proxy.routes.load().rules.choose(&traits).into();
    let explanation = admin.bouncer.explain(&asked.client());
    let mut evidence = Vec::new();
    for ban in explanation.bans.iter().filter(|ban| Detector::is_author(&ban.terms.by)) {
        let offence = admin.store.offence(ban.who.clone()).await;
        let offence = offence.map_err(|error| Fault::internal(&Chain(&error)))?;
        evidence.extend(offence.map(Evidence::from));
    }
    Ok(axum::Json(explanation::to_json(&Explained { explanation, evidence, route })))
}
