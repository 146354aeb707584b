//! Calls about the lists: the bans, as EMQX has them and more, and the exemptions, which have the same calls.

mod cursor;
mod export;
mod import;
mod many;
mod named;
mod one;
mod page;
mod preview;
mod rehearsal;
mod shape;
mod target;
mod v4;
mod wanted;

pub use import::{Changes, Mode};
pub(super) use named::Named;
pub use one::one_of;
pub use page::page_of;
pub use rehearsal::rehearse;
pub(super) use v4::calls as v4_calls;
pub(super) use wanted::Moment;

use super::api::Admin;
use super::fault::Fault;
use crate::admission::detection::Detector;
use crate::admission::{Ban, List, MAX_WHO, Terms, Timestamp, Until, Who};
use crate::bouncer::Bouncer;
use crate::exchange::Partial;
use crate::store::{Change, ChangeError, Changed};
use crate::telemetry::Shown;
use std::sync::Arc;
use tracing::info;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub(super) fn calls() -> OpenApiRouter<Admin> {
    OpenApiRouter::new()
        .routes(routes!(page::page, one::create, many::clear))
        .routes(routes!(one::show, one::put, one::patch, one::remove_path))
        .routes(routes!(many::bulk))
        .routes(routes!(import::import))
        .routes(routes!(preview::preview))
        .routes(routes!(export::export))
        .routes(routes!(named::remove_body))
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
    list.ok_or_else(|| {
        Fault::not_found(&format!("{} is not a list; expected banned or exemptions", Shown(name)))
    })
}

/// Makes a ban of what a body says of it.
fn ban_of(partial: Partial, who: Who, now: Timestamp) -> Result<Ban, Fault> {
    let Partial { by, reason, at, until, .. } = partial;
    let until = until.unwrap_or(Until::Infinity);
    let terms = Terms {
        by: by.unwrap_or_else(|| AUTHOR.into()),
        reason: reason.unwrap_or_else(|| "".into()),
        at: at.unwrap_or(now),
        until,
    };
    if !terms.is_active(now) {
        let problem =
            format!("until: the ban would have ended already, at {until}; expected an end in the future");
        return Err(Fault::bad_request(&problem));
    }
    check_length("by", Some(&terms.by))?;
    check_length("reason", Some(&terms.reason))?;
    Ok(Ban { who, terms })
}

fn check_length(field: &str, text: Option<&Arc<str>>) -> Result<(), Fault> {
    match text.map(|text| text.len()) {
        Some(len) if len > MAX_WHO => {
            Err(Fault::bad_request(&format!("{field}: has {len} bytes; expected at most {MAX_WHO}")))
        }
        _ => Ok(()),
    }
}

/// Makes changes, and tells detection of the automatic bans that one of them takes the place of.
async fn change(admin: &Admin, changes: Vec<Change>) -> Result<Changed, ChangeError> {
    // A million look-ups would keep others from this thread.
    let is_long = changes.len() > 1_000;
    let bouncer = admin.bouncer.clone();
    let find = move || {
        let replaced: Vec<Who> = changes.iter().filter_map(|change| replaced(&bouncer, change)).collect();
        (changes, replaced)
    };
    let (changes, replaced) = if is_long {
        tokio::task::spawn_blocking(find).await.map_err(|_| ChangeError::Closed)?
    } else {
        find()
    };
    let done = admin.store.change(changes).await?;
    for who in &replaced {
        // Detection would wait for the end of its own ban otherwise.
        admin.bouncer.lifted(who);
    }
    Ok(done)
}

/// Whom an automatic ban names that this change takes the place of, or makes shorter.
fn replaced(bouncer: &Bouncer, change: &Change) -> Option<Who> {
    let who = match change {
        Change::Put(List::Bans, ban) => &ban.who,
        Change::Amend { list: List::Bans, who, amendment, .. } if amendment.end.is_some() => who,
        _ => return None,
    };
    let there = bouncer.admission().list(List::Bans).get(who)?;
    Detector::is_author(&there.terms.by).then_some(there.who)
}

fn log_one(list: List, what: &'static str, ban: &Ban) {
    let Ban { who, terms } = ban;
    let (name, by, reason) = (who.to_string(), Shown(&terms.by), Shown(&terms.reason));
    info!(%list, r#as = %who.kind(), who = %Shown(&name), %by, %reason, until = %terms.until, "{what}");
}

/// Who makes bans that name no author, in EMQX's words.
const AUTHOR: &str = "mgmt_api";
