//! Calls that change many bans or exemptions at once.

use super::import::{Changes, Mode};
use super::target::Listed;
use super::{ban_of, change};
use crate::admin::api::Admin;
use crate::admin::body::JsonBytes;
use crate::admin::fault::{Fault, FaultBody};
use crate::admin::query::Params;
use crate::admission::{Ban, List, Timestamp};
use crate::exchange::Partial;
use crate::store::{Change, ChangeError};
use crate::telemetry::Chain;
use axum::Json;
use axum::extract::{RawQuery, State};
use axum::http::StatusCode;
use serde_json::value::RawValue;
use tracing::info;

/// Makes all of the body, a JSON list of what a single call takes, or none.
#[utoipa::path(
    post,
    path = "/api/v5/{list}/bulk",
    tag = "lists",
    params(("list" = String, Path, description = "`banned` or `exemptions`"),
        ("mode" = Option<Mode>, Query, description = "what happens to one that is there already; `add` if nothing is said")),
    request_body = Vec<super::one::NewBan>,
    responses(
        (status = OK, description = "how many were made and changed", body = Changes),
        (status = BAD_REQUEST, description = "nothing has changed; the message says where, from 0, e.g. `[3].who`", body = FaultBody),
        (status = NOT_FOUND, description = "there is no such list", body = FaultBody),
        (status = PAYLOAD_TOO_LARGE, description = "the body is too long", body = FaultBody),
        (status = UNSUPPORTED_MEDIA_TYPE, description = "the body is not said to be JSON", body = FaultBody),
    )
)]
pub(super) async fn bulk(
    State(admin): State<Admin>,
    Listed(list): Listed,
    RawQuery(query): RawQuery,
    JsonBytes(bytes): JsonBytes,
) -> Result<Json<Changes>, Fault> {
    let params = Params::read(query.as_deref(), &["mode"])?;
    let mode = params.parsed("mode", Mode::of, "put or add")?.unwrap_or(Mode::Add);
    let now = admin.moment().now;
    // Patterns take their time to compile.
    let read = tokio::task::spawn_blocking(move || bans_of(&bytes, now));
    let bans = read.await.map_err(|_| Fault::internal(&"the bans could not be read"))??;
    if let Some(fault) = in_file(&admin, list, mode, &bans, now) {
        return Err(fault);
    }
    let changes = bans.iter().map(|ban| mode.change(list, ban.clone(), now)).collect();
    let done = change(&admin, changes).await.map_err(|error| place(error, &bans))?;
    info!(%list, added = done.added, changed = done.changed, "imported");
    Ok(Json(Changes { added: done.added, changed: done.changed }))
}

fn bans_of(bytes: &[u8], now: Timestamp) -> Result<Vec<Ban>, Fault> {
    let records: Vec<&RawValue> = serde_json::from_slice(bytes)
        .map_err(|error| Fault::bad_request(&format!("the body is not a JSON list of objects: {error}")))?;
    let ban = |(index, record): (usize, &&RawValue)| {
        let within = |fault: Fault| fault.within(&format!("[{index}]."));
        let partial = Partial::read(record.get().as_bytes(), false);
        let partial = partial.map_err(|error| match error.field {
            Some(_) => within(error.into()),
            None => Fault::bad_request(&format!("[{index}] {}", error.without_line())),
        })?;
        let who = partial.named().map_err(|error| within(error.into()))?;
        ban_of(partial, who, now).map_err(within)
    };
    records.iter().enumerate().map(ban).collect()
}

/// What is added must not be in the config file, as with a single one.
fn in_file(admin: &Admin, list: List, mode: Mode, bans: &[Ban], now: Timestamp) -> Option<Fault> {
    if mode == Mode::Put {
        return None;
    }
    let is_there =
        |ban: &&Ban| admin.bouncer.from_file(list, &ban.who).is_some_and(|there| there.terms.is_active(now));
    bans.iter().find(is_there).map(|ban| place(ChangeError::Exists(Box::new(ban.clone())), bans))
}

/// Says which of the bans the trouble is about, where that is known.
fn place(error: ChangeError, bans: &[Ban]) -> Fault {
    match &error {
        ChangeError::Exists(there) => {
            // Where one stands in the list twice, the second one is in the way of the first.
            let index = bans.iter().rposition(|ban| ban.who == there.who).unwrap_or(0);
            Fault::already_exists(&format!("[{index}]: {}", Chain(&error)))
        }
        _ => error.into(),
    }
}

impl Mode {
    pub(super) fn of(word: &str) -> Option<Mode> {
        match word {
            "put" => Some(Mode::Put),
            "add" => Some(Mode::Add),
            _ => None,
        }
    }

    pub(super) fn change(self, list: List, ban: Ban, now: Timestamp) -> Change {
        match self {
            Mode::Put => Change::Put(list, ban),
            Mode::Add => Change::Add(list, ban, now),
        }
    }
}

/// Lifts all that were made at run time.
#[utoipa::path(
    delete,
    path = "/api/v5/{list}",
    tag = "lists",
    params(("list" = String, Path, description = "`banned` or `exemptions`")),
    responses(
        (status = NO_CONTENT, description = "lifted"),
        (status = NOT_FOUND, description = "there is no such list", body = FaultBody),
    )
)]
pub(super) async fn clear(State(admin): State<Admin>, Listed(list): Listed) -> Result<StatusCode, Fault> {
    let done = admin.store.change(vec![Change::Clear(list)]).await?;
    info!(%list, removed = done.removed, "cleared");
    Ok(StatusCode::NO_CONTENT)
}
