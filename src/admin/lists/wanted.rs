//! What a query asks of a list: EMQX's parameters, and ours.

use super::cursor;
use crate::admin::fault::Fault;
use crate::admin::query::{Params, bad_value, one_of};
use crate::admission::{As, List, Match, Pattern, Status, Timestamp, Until, Who};
use crate::store::{Ends, Selection, Sort, Source};
use std::iter;
use std::time::Duration;

/// What is asked for, and in which form.
#[derive(Debug)]
pub(super) struct Wanted {
    pub(super) selection: Selection,
    pub(super) page: u64,
    pub(super) limit: usize,
    pub(super) form: Form,
    /// All that each ban says, not EMQX's six fields alone.
    pub(super) is_full: bool,
}

/// The form of the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// EMQX's answer to a query without filters.
    All,
    /// EMQX's answer to a filter by an exact name.
    Exact,
    /// EMQX's answer to a filter by a pattern.
    Like,
    /// Ours.
    Ours,
}

/// What holds when the query is asked.
#[derive(Debug, Clone, Copy)]
pub(in crate::admin) struct Moment {
    pub(in crate::admin) now: Timestamp,
    /// How long bans are kept after their end.
    pub(in crate::admin) ttl: Duration,
}

impl Wanted {
    pub(super) fn read(query: Option<&str>, list: List, moment: Moment) -> Result<Wanted, Fault> {
        let params = Params::read(query, &EMQX.into_iter().chain(ours()).collect::<Vec<_>>())?;
        let page = params.number("page", 1, MAX_PAGE)?;
        let limit = params.number("limit", 1, MAX_LIMIT)?.unwrap_or(DEFAULT_LIMIT);
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let (mut selection, emqx) = emqx_filter(&params)?;
        let is_ours = ours().any(|name| params.first(name).is_some());
        our_filters(&params, moment, &mut selection)?;
        order(&params, list, &mut selection)?;
        if let Some(text) = params.first("cursor") {
            if page.is_some() {
                return Err(Fault::bad_request(&"page and cursor do not go together; give one of them"));
            }
            selection.after = Some(cursor::read(text, &selection)?);
        }
        let page = page.unwrap_or(1);
        let skip = usize::try_from(page - 1).unwrap_or(usize::MAX).saturating_mul(limit);
        selection.skip = skip;
        selection.limit = Some(limit);
        let is_full = match params.first("view") {
            None | Some("plain") => false,
            Some("full") => true,
            Some(other) => return Err(bad_value("view", other, "plain or full")),
        };
        Ok(Wanted { selection, page, limit, form: if is_ours { Form::Ours } else { emqx }, is_full })
    }

    /// What an export asks for: everything that is kept, unless it says otherwise.
    pub(super) fn for_export(params: &Params, moment: Moment) -> Result<Selection, Fault> {
        let is_stored = params.first("source").is_none();
        let mut selection = Selection { is_stored, ..Selection::default() };
        our_filters(params, moment, &mut selection)?;
        Ok(selection)
    }
}

/// At most one of EMQX's filters. Of an exact one and its pattern the exact one counts.
fn emqx_filter(params: &Params) -> Result<(Selection, Form), Fault> {
    let exact: Vec<_> = EXACT.iter().filter(|(name, _)| params.first(name).is_some()).collect();
    let like: Vec<_> = LIKE
        .iter()
        .filter(|(name, ..)| params.first(name).is_some())
        .filter(|(name, ..)| !exact.iter().any(|(exact, _)| name.strip_prefix("like_") == Some(exact)))
        .collect();
    if exact.len() + like.len() > 1 {
        let names: Vec<_> =
            EXACT.iter().map(|(name, _)| *name).chain(LIKE.iter().map(|(name, ..)| *name)).collect();
        return Err(Fault::bad_request(&format!(
            "too_many_filters: expected at most one of {}",
            one_of(&names)
        )));
    }
    let mut selection = Selection::default();
    if let Some((name, kind)) = exact.first() {
        let value = params.first(name).unwrap_or_default();
        // An address is found however it is written; a name that nobody can have finds nothing.
        let who = match (kind, Who::new(*kind, value, None)) {
            (As::PeerHost, Err(error)) => {
                return Err(Fault::bad_request(&format!("{name}: {value:?} {error}")));
            }
            (_, Ok(who)) => who.to_string(),
            (_, Err(_)) => value.to_owned(),
        };
        selection.kinds = vec![*kind];
        selection.who = Some(who);
        return Ok((selection, Form::Exact));
    }
    if let Some((name, kinds)) = like.first() {
        let value = params.first(name).unwrap_or_default();
        let pattern = Pattern::parse(value, Match::Search);
        let mistake = |error| Fault::bad_request(&format!("{name} is not a usable pattern: {error}"));
        selection.like = Some(pattern.map_err(mistake)?);
        selection.kinds = kinds.to_vec();
        return Ok((selection, Form::Like));
    }
    Ok((selection, Form::All))
}

fn our_filters(params: &Params, moment: Moment, selection: &mut Selection) -> Result<(), Fault> {
    let mut kinds = Vec::new();
    for name in params.all("as").flat_map(|names| names.split(',')) {
        let kind: As = name.parse().map_err(|error| Fault::bad_request(&format!("as: {name:?} {error}")))?;
        if selection.kinds.is_empty() || selection.kinds.contains(&kind) {
            kinds.push(kind);
        }
    }
    if params.first("as").is_some() {
        if kinds.is_empty() {
            return Err(Fault::bad_request(&"as and the filter by name do not go together: nothing is both"));
        }
        selection.kinds = kinds;
    }
    let text = |name| params.first(name).filter(|text| !text.is_empty()).map(str::to_owned);
    selection.by = params.first("by").map(str::to_owned);
    selection.reason = text("reason");
    selection.text = text("text");
    by_name(params, selection)?;
    let end = |name| params.parsed(name, |value| value.parse::<Until>().ok(), AN_END);
    let moment_of = |name| params.parsed(name, |value| value.parse::<Timestamp>().ok(), A_MOMENT);
    let to = match end("lte_until")? {
        Some(Until::Moment(to)) => Some(to),
        Some(Until::Infinity) | None => None,
    };
    selection.ends = Ends { from: end("gte_until")?, to };
    if let Some(status) = params.parsed("status", status, "active, expired or deleting_soon")? {
        selection.ends = selection.ends.and(ends_of(status, moment));
    }
    selection.made_from = moment_of("gte_at")?;
    selection.made_to = moment_of("lte_at")?;
    if let Some(source) = params.parsed("source", source, "file or run_time")? {
        selection.source = Some(source);
    }
    Ok(())
}

/// Whoever is named so, of whatever kind.
fn by_name(params: &Params, selection: &mut Selection) -> Result<(), Fault> {
    let (who, like) = (params.first("who"), params.first("like_who"));
    if who.or(like).is_some() && selection.who.is_some() | selection.like.is_some() || who.and(like).is_some()
    {
        return Err(Fault::bad_request(
            &"who and like_who go with no other filter by name; give one of them",
        ));
    }
    if let Some(value) = who {
        // An address or a network is found however it is written.
        let canonical = [As::PeerHost, As::PeerHostNet].map(|kind| Who::new(kind, value, None).ok());
        let canonical = canonical.into_iter().flatten().next().map(|who| who.to_string());
        selection.who = Some(canonical.filter(|_| !value.is_empty()).unwrap_or_else(|| value.to_owned()));
        if selection.kinds.is_empty() {
            selection.kinds = As::ALL.to_vec();
        }
    }
    if let Some(value) = like {
        let mistake = |error| Fault::bad_request(&format!("like_who is not a usable pattern: {error}"));
        selection.like = Some(Pattern::parse(value, Match::Search).map_err(mistake)?);
    }
    Ok(())
}

fn order(params: &Params, list: List, selection: &mut Selection) -> Result<(), Fault> {
    // Exemptions are not counted.
    let is_there = |sort: &Sort| list == List::Bans || !matches!(sort, Sort::Hits | Sort::LastHit);
    let columns: Vec<_> = Sort::ALL.into_iter().filter(is_there).collect();
    let names: Vec<_> = columns.iter().map(|sort| sort.as_str()).collect();
    let sort = |name: &str| columns.iter().copied().find(|sort| sort.as_str() == name);
    selection.sort = params.parsed("sort", sort, &one_of(&names))?;
    let is_descending = |word: &str| match word {
        "asc" => Some(false),
        "desc" => Some(true),
        _ => None,
    };
    selection.is_descending = params.parsed("order", is_descending, "asc or desc")?.unwrap_or(false);
    Ok(())
}

/// The name of a status in the API.
pub(super) fn status_name(status: Status) -> &'static str {
    match status {
        Status::Active => "active",
        Status::Expired => "expired",
        Status::DeletingSoon => "deleting_soon",
    }
}

fn status(name: &str) -> Option<Status> {
    [Status::Active, Status::Expired, Status::DeletingSoon]
        .into_iter()
        .find(|status| status_name(*status) == name)
}

/// When bans of this status end. [`Terms::status`](crate::admission::Terms::status) is its other side.
fn ends_of(status: Status, Moment { now, ttl }: Moment) -> Ends {
    let just_after = |moment: Timestamp| Until::Moment(moment.after(Duration::from_millis(1)));
    let deleting = now.before(ttl / 2);
    match status {
        Status::Active => Ends { from: Some(just_after(now)), to: None },
        Status::Expired => Ends { from: Some(just_after(deleting)), to: Some(now) },
        Status::DeletingSoon => Ends { from: None, to: Some(deleting) },
    }
}

fn source(name: &str) -> Option<Source> {
    [Source::File, Source::RunTime].into_iter().find(|source| source.as_str() == name)
}

const EXACT: [(&str, As); 3] =
    [("clientid", As::ClientId), ("username", As::Username), ("peerhost", As::PeerHost)];

const LIKE: [(&str, &[As]); 4] = [
    ("like_clientid", &[As::ClientId, As::ClientIdRe]),
    ("like_username", &[As::Username, As::UsernameRe]),
    ("like_peerhost", &[As::PeerHost]),
    ("like_peerhost_net", &[As::PeerHostNet]),
];

/// EMQX's parameters.
const EMQX: [&str; 9] = [
    "page",
    "limit",
    "clientid",
    "username",
    "peerhost",
    "like_clientid",
    "like_username",
    "like_peerhost",
    "like_peerhost_net",
];

/// The filters that are ours.
const FILTERS: [&str; 12] = [
    "who",
    "like_who",
    "as",
    "by",
    "reason",
    "status",
    "gte_until",
    "lte_until",
    "gte_at",
    "lte_at",
    "text",
    "source",
];

/// The parameters that make the answer ours.
fn ours() -> impl Iterator<Item = &'static str> {
    iter::once("view").chain(FILTERS).chain(["sort", "order", "cursor"])
}

/// The parameters of an export.
pub(super) fn of_export() -> Vec<&'static str> {
    ["format", "skip_unwritable"].into_iter().chain(FILTERS).collect()
}

const AN_END: &str = "\"infinity\", RFC 3339 (its + written as %2B), or epoch seconds";
const A_MOMENT: &str = "RFC 3339 (its + written as %2B), or epoch seconds";
const DEFAULT_LIMIT: u64 = 100;
pub(super) const MAX_LIMIT: u64 = 10_000;
/// The greatest number that the document can name.
const MAX_PAGE: u64 = i64::MAX.unsigned_abs();
