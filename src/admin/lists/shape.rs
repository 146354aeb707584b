//! Bans as the answers have them.

use super::wanted::{Moment, status_name};
use crate::admission::{Ban, List, Match, Terms};
use crate::store::{Entry, Source};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

/// A ban or an exemption. In EMQX's form the first six fields, and `match` where it is `full`.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Shape {
    /// `clientid`, `username`, `cert_cn`, `cert_sha256`, `tls_ja4`, `peerhost`, `peerhost_net`, `clientid_re`, `username_re` or `peerhost_re`.
    r#as: &'static str,
    /// The name, address, network or pattern, in its canonical form.
    who: String,
    /// Who made it.
    by: String,
    /// Why.
    reason: String,
    /// Since when: RFC 3339 with whole seconds.
    at: String,
    /// Until when: RFC 3339 with whole seconds, or `infinity`.
    until: String,
    /// What part of a name a pattern matches: `search` (any) or `full` (the whole).
    #[serde(rename = "match", skip_serializing_if = "Option::is_none")]
    matching: Option<&'static str>,
    /// `active`, `expired` or `deleting_soon`.
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<&'static str>,
    /// Which of its sources is in force: `run_time`, or `file`, the config file.
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<&'static str>,
    /// All the sources that name it.
    #[serde(skip_serializing_if = "Option::is_none")]
    sources: Option<Vec<&'static str>>,
    /// How often it has refused somebody. Bans only.
    #[serde(skip_serializing_if = "Option::is_none")]
    hits: Option<u64>,
    /// When it has refused somebody last; `null` for never. Bans only.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    last_hit: Option<Value>,
}

impl Shape {
    /// In EMQX's form.
    pub(super) fn plain(entry: Entry) -> Shape {
        Shape::new(
            entry.kind.as_str(),
            entry.who,
            entry.matching.filter(|word| *word == Match::Full),
            &entry.terms,
        )
    }

    /// In EMQX's form.
    pub(super) fn of_ban(ban: &Ban) -> Shape {
        let matching = ban.who.matching().filter(|word| *word == Match::Full);
        Shape::new(ban.who.kind().as_str(), ban.who.to_string(), matching, &ban.terms)
    }

    /// With everything that is known.
    pub(super) fn full(entry: Entry, list: List, moment: Moment) -> Shape {
        let other = match entry.source {
            Source::File => Source::RunTime,
            Source::RunTime => Source::File,
        };
        let sources = [Some(entry.source), entry.has_both.then_some(other)];
        let is_counted = list == List::Bans;
        Shape {
            status: Some(status_name(entry.terms.status(moment.now, moment.ttl))),
            source: Some(entry.source.as_str()),
            sources: Some(sources.into_iter().flatten().map(Source::as_str).collect()),
            hits: is_counted.then_some(entry.hits),
            last_hit: is_counted.then(|| entry.last_hit.map(|at| at.to_string()).into()),
            ..Shape::new(entry.kind.as_str(), entry.who, entry.matching, &entry.terms)
        }
    }

    fn new(kind: &'static str, who: String, matching: Option<Match>, terms: &Terms) -> Shape {
        let matching = matching.map(|word| match word {
            Match::Search => "search",
            Match::Full => "full",
        });
        Shape {
            r#as: kind,
            who,
            by: terms.by.to_string(),
            reason: terms.reason.to_string(),
            at: terms.at.to_string(),
            until: terms.until.to_string(),
            matching,
            status: None,
            source: None,
            sources: None,
            hits: None,
            last_hit: None,
        }
    }
}
