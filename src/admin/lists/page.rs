//! Shows a list, page by page: as EMQX does, and in a form of our own for filters of our own.

use super::cursor;
use super::shape::Shape;
use super::target::Listed;
use super::wanted::{Form, Moment, Wanted};
use crate::admin::api::Admin;
use crate::admin::fault::{Fault, FaultBody};
use crate::admission::{As, List, Timestamp};
use crate::store::{Ends, Page, Selection, View};
use crate::telemetry::Chain;
use axum::Json;
use axum::extract::{RawQuery, State};
use serde::Serialize;
use serde_json::Value;
use std::time::Duration;
use utoipa::{IntoParams, ToSchema};

/// A page of a list.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct PageShape {
    data: Vec<Shape>,
    meta: Meta,
}

/// What page it is. As in EMQX, not every answer has every field.
#[derive(Debug, Serialize, ToSchema)]
struct Meta {
    /// Which page this is; not there behind a cursor.
    #[serde(skip_serializing_if = "Option::is_none")]
    page: Option<u64>,
    /// How many there are on a page.
    limit: usize,
    /// How many there are in all, where that is known without looking at each.
    #[serde(skip_serializing_if = "Option::is_none")]
    count: Option<usize>,
    /// Whether others follow.
    #[serde(skip_serializing_if = "Option::is_none")]
    hasnext: Option<bool>,
    /// What the next call gives as `cursor` to be shown what follows.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<String>,
}

/// What `Wanted` reads.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "it describes what `Wanted` reads")]
pub(super) struct PageParams {
    /// Which page, from 1.
    #[param(minimum = 1)]
    page: Option<u64>,
    /// How many on a page.
    #[param(minimum = 1, maximum = 10000, default = 100)]
    limit: Option<u64>,
    /// Only this client identifier. EMQX's; at most one of EMQX's seven filters.
    clientid: Option<String>,
    /// Only this user name.
    username: Option<String>,
    /// Only this address.
    peerhost: Option<String>,
    /// Only client identifiers, and patterns for them, in whose text this pattern is found.
    like_clientid: Option<String>,
    /// Only user names, and patterns for them, in whose text this pattern is found.
    like_username: Option<String>,
    /// Only addresses in whose text this pattern is found.
    like_peerhost: Option<String>,
    /// Only networks in whose text this pattern is found.
    like_peerhost_net: Option<String>,
    /// `full` for all fields.
    view: Option<String>,
    /// Only with this name, of whatever kind.
    who: Option<String>,
    /// Only those in whose name this pattern is found, of whatever kind.
    like_who: Option<String>,
    /// Only of this kind; may be given several times.
    r#as: Option<String>,
    /// Only made by this author.
    by: Option<String>,
    /// Only with this in the reason.
    reason: Option<String>,
    /// `active`, `expired` or `deleting_soon`.
    status: Option<String>,
    /// Only those that end at this moment or later.
    gte_until: Option<String>,
    /// Only those that end at this moment or before.
    lte_until: Option<String>,
    /// Only those made at this moment or later.
    gte_at: Option<String>,
    /// Only those made at this moment or before.
    lte_at: Option<String>,
    /// Only those with this in their text, whatever the case of its letters.
    text: Option<String>,
    /// `file` or `run_time`.
    source: Option<String>,
    /// `who`, `as`, `by`, `reason`, `at`, `until`, `status`, `hits` or `last_hit`.
    sort: Option<String>,
    /// `asc` or `desc`.
    order: Option<String>,
    /// The `next_cursor` of the page before.
    cursor: Option<String>,
}

/// Shows a list, page by page.
#[utoipa::path(
    get,
    path = "/api/v5/{list}",
    tag = "lists",
    params(("list" = String, Path, description = "`banned` or `exemptions`"), PageParams),
    responses(
        (status = OK, description = "a page", body = PageShape),
        (status = BAD_REQUEST, description = "no such page can be", body = FaultBody),
        (status = NOT_FOUND, description = "there is no such list", body = FaultBody),
    )
)]
pub(super) async fn page(
    State(admin): State<Admin>,
    Listed(list): Listed,
    RawQuery(query): RawQuery,
) -> Result<Json<PageShape>, Fault> {
    let moment = admin.moment();
    let wanted = Wanted::read(query.as_deref(), list, moment)?;
    let count = count(&admin, list, &wanted.selection);
    let found = look(&admin, list, &wanted.selection, count).await?;
    let is_before = found.entries.is_empty()
        && wanted.form == Form::Exact
        && wanted.page > 1
        && is_there(&admin, list, &wanted).await?;
    Ok(Json(PageShape::new(&wanted, list, moment, found, count.or(is_before.then_some(1)))))
}

/// The page that a query asks for, read without a proxy: the bans of the config file are those of the view.
///
/// # Errors
/// What is wrong with the query, or why nothing can be read.
pub fn page_of(
    view: &View<'_>,
    list: List,
    query: &str,
    now: Timestamp,
    ttl: Duration,
) -> Result<Value, String> {
    let moment = Moment { now, ttl };
    let wanted = Wanted::read(Some(query), list, moment).map_err(|fault| fault.message().to_owned())?;
    let found = view.page(list, &wanted.selection).map_err(|error| Chain(&error).to_string())?;
    let page = PageShape::new(&wanted, list, moment, found, None);
    serde_json::to_value(page).map_err(|error| error.to_string())
}

impl PageShape {
    /// `count` is how many there are in all, where that is known.
    fn new(wanted: &Wanted, list: List, moment: Moment, found: Page, count: Option<usize>) -> PageShape {
        let Page { entries, has_next } = found;
        let Wanted { selection, limit, is_full, .. } = wanted;
        let mut meta =
            Meta { page: Some(wanted.page), limit: *limit, count: None, hasnext: None, next_cursor: None };
        match wanted.form {
            Form::All => meta.count = count,
            Form::Exact => {
                meta.count = Some(count.unwrap_or(entries.len()));
                meta.hasnext = Some(false);
            }
            Form::Like => meta.hasnext = Some(has_next),
            Form::Ours => {
                meta.page = meta.page.filter(|_| selection.after.is_none());
                meta.count = count;
                meta.hasnext = Some(has_next);
                let end = entries.last().filter(|_| has_next);
                meta.next_cursor = end.and_then(|end| cursor::write(&end.place(selection), selection));
            }
        }
        let shape = |entry| if *is_full { Shape::full(entry, list, moment) } else { Shape::plain(entry) };
        PageShape { data: entries.into_iter().map(shape).collect(), meta }
    }
}

/// The page; `count` is how many the selection wants, where that is known.
pub(super) async fn look(
    admin: &Admin,
    list: List,
    selection: &Selection,
    count: Option<usize>,
) -> Result<Page, Fault> {
    // Nobody walks through a million bans to see that a page is behind them.
    if count.is_some_and(|count| selection.skip > count.saturating_add(MARGIN)) {
        return Ok(Page::default());
    }
    Ok(admin.store.page(list, selection).await?)
}

/// How many bans may come between the count and the look.
const MARGIN: usize = 10_000;

/// How many a selection by kind wants: the lists in memory know it.
pub(super) fn count(admin: &Admin, list: List, selection: &Selection) -> Option<usize> {
    let Selection { kinds, who, like, text, by, reason, ends, made_from, made_to, source, .. } = selection;
    let is_by_kind = who.is_none()
        && like.is_none()
        && text.is_none()
        && by.is_none()
        && reason.is_none()
        && *ends == Ends::default()
        && made_from.or(*made_to).is_none()
        && source.is_none();
    let wanted = As::ALL.into_iter().filter(|kind| kinds.is_empty() || kinds.contains(kind));
    is_by_kind.then(|| wanted.map(|kind| admin.bouncer.count(list, kind)).sum())
}

async fn is_there(admin: &Admin, list: List, wanted: &Wanted) -> Result<bool, Fault> {
    let first = Selection { skip: 0, ..wanted.selection.clone() };
    Ok(!look(admin, list, &first, None).await?.entries.is_empty())
}
