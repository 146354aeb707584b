//! Tells whom a ban would be about before it is made.

use super::target::Listed;
use crate::admin::api::Admin;
use crate::admin::body::Json;
use crate::admin::fault::{Fault, FaultBody};
use crate::admission::{As, Ban, BanList, List, Match, Terms, Timestamp, Until, Who};
use crate::bouncer::Bouncer;
use crate::sessions::Sessions;
use crate::telemetry::Shown;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use std::time::Duration;
use tokio::task::spawn_blocking;
use utoipa::ToSchema;

/// Whom a ban would name.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Draft {
    /// `clientid`, `username`, `cert_cn`, `cert_sha256`, `tls_ja4`, `peerhost`, `clientid_re`, `username_re`, `peerhost_net` or `peerhost_re`.
    r#as: String,
    /// The name, address, network or pattern.
    who: String,
    /// What part of a name a pattern has to match: `search` or `full`.
    r#match: Option<String>,
}

/// Whom it would be about.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Preview {
    /// The kind.
    r#as: &'static str,
    /// The name in its canonical form.
    who: String,
    /// Somebody has put it on the list already.
    exists: bool,
    /// How many are inside now.
    inside: usize,
    /// How many of them it names.
    matches: usize,
    /// How many of those are exempt, and stay what they are.
    exempt: usize,
    /// The client identifiers of the first of them, cut at 256 bytes.
    sample: Vec<String>,
    /// All were looked at; else there was no time for it.
    complete: bool,
}

/// Says how many of those who are inside now a ban would name. Nothing changes.
#[utoipa::path(
    post,
    path = "/api/v5/{list}/preview",
    tag = "lists",
    params(("list" = String, Path, description = "`banned` or `exemptions`")),
    request_body = Draft,
    responses(
        (status = OK, description = "whom it would be about", body = Preview),
        (status = BAD_REQUEST, description = "nobody can be named so; the message says why", body = FaultBody),
        (status = NOT_FOUND, description = "there is no such list", body = FaultBody),
    )
)]
pub(super) async fn preview(
    State(admin): State<Admin>,
    Listed(list): Listed,
    Json(draft): Json<Draft>,
) -> Result<axum::Json<Preview>, Fault> {
    let who = spawn_blocking(move || named(&draft));
    let who = who.await.map_err(|_| Fault::internal(&"the name could not be read"))??;
    let looked = spawn_blocking(move || look(&admin.bouncer, &admin.proxy.sessions, list, who));
    looked.await.map_err(|_| Fault::internal(&"the sessions could not be looked at"))?.map(axum::Json)
}

fn named(draft: &Draft) -> Result<Who, Fault> {
    let Draft { r#as: kind, who, r#match: matching } = draft;
    let kind: As =
        kind.parse().map_err(|error| Fault::bad_request(&format!("as: {} {error}", Shown(kind))))?;
    let matching: Option<Match> = match matching {
        None => None,
        Some(word) => Some(word.parse().map_err(|error| Fault::bad_request(&format!("match: {error}")))?),
    };
    Who::new(kind, who, matching).map_err(|error| Fault::bad_request(&format!("who: {error}")))
}

fn look(bouncer: &Bouncer, sessions: &Sessions, list: List, who: Who) -> Result<Preview, Fault> {
    let (kind, name, began) = (who.kind(), who.to_string(), bouncer.clock().moment());
    let exists = bouncer.admission().list(list).get(&who).is_some();
    let now = Timestamp::from_millis(0);
    let draft = BanList::default();
    let terms = Terms { by: "".into(), reason: "".into(), at: now, until: Until::Infinity };
    draft.insert(Ban { who, terms }).map_err(|error| Fault::bad_request(&format!("who: {error}")))?;
    let mut preview = Preview {
        r#as: kind.as_str(),
        who: name,
        exists,
        inside: sessions.len(),
        matches: 0,
        exempt: 0,
        sample: Vec::new(),
        complete: true,
    };
    for piece in sessions.walk() {
        for live in piece.iter().filter(|live| !live.is_kicked()) {
            if draft.check(&live.client(), now).is_none() {
                continue;
            }
            preview.matches += 1;
            preview.exempt += usize::from(list == List::Bans && bouncer.is_exempt(&live.client()));
            if preview.sample.len() < MAX_SAMPLE {
                preview.sample.push(crate::refused::cut(live.client_id()).into());
            }
        }
        if bouncer.clock().moment().since(began) > PATIENCE {
            preview.complete = false;
            break;
        }
    }
    Ok(preview)
}

const MAX_SAMPLE: usize = 10;

/// Whoever is typing does not wait for longer.
const PATIENCE: Duration = Duration::from_secs(2);
