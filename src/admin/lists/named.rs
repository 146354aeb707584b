//! Lifts one of a list, by its path or by its name in a body.

use super::target::Listed;
use crate::admin::api::Admin;
use crate::admin::body::Json;
use crate::admin::fault::{Fault, FaultBody};
use crate::admission::{As, List, Who};
use crate::store::Change;
use crate::telemetry::Shown;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use tracing::info;
use utoipa::ToSchema;

/// Whom a ban names.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(in crate::admin) struct Named {
    /// `clientid`, `username`, `cert_cn`, `cert_sha256`, `tls_ja4`, `peerhost`, `clientid_re`, `username_re`, `peerhost_net` or `peerhost_re`.
    pub(in crate::admin) r#as: String,
    /// The name, address, network or pattern.
    pub(in crate::admin) who: String,
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
        (status = CONFLICT, description = "it stands in the config file", body = FaultBody),
    )
)]
pub(super) async fn remove_body(
    State(admin): State<Admin>,
    Listed(list): Listed,
    Json(named): Json<Named>,
) -> Result<StatusCode, Fault> {
    let Named { r#as: kind, who } = named;
    let kind: As =
        kind.parse().map_err(|error| Fault::bad_request(&format!("as: {} {error}", Shown(&kind))))?;
    let who = Who::new(kind, &who, None).map_err(|error| Fault::bad_request(&format!("who: {error}")))?;
    remove(&admin, list, who).await
}

pub(super) async fn remove(admin: &Admin, list: List, who: Who) -> Result<StatusCode, Fault> {
    let done = admin.store.change(vec![Change::Remove(list, who.clone())]).await?;
    if done.removed == 0 {
        return Err(not_there(admin, list, &who));
    }
    info!(%list, r#as = %who.kind(), who = %Shown(&who.to_string()), "lifted");
    Ok(StatusCode::NO_CONTENT)
}

/// Why there is none that could be changed.
pub(super) fn not_there(admin: &Admin, list: List, who: &Who) -> Fault {
    let kind = who.kind();
    if admin.bouncer.from_file(list, who).is_some() {
        return Fault::conflict(&format!("{kind}: {who} stands in the config file, and is changed there"));
    }
    Fault::not_found(&format!("{kind}: {who} not found"))
}
