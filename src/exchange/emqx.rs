//! EMQX's ban objects, as its API takes and answers them.

use super::draft::{Draft, NAMES};
use super::error::RecordError;
use super::fields::Fields;
use super::moment::{self, NO_MOMENT};
use crate::admission::{As, Ban, Match, Who};
use serde::Serialize;
use std::borrow::Cow;

pub(super) fn read(text: &[u8]) -> Result<Draft<'_>, RecordError> {
    let mut fields = Fields::read(text, &KNOWN, THEY_ARE)?;
    Ok(Draft {
        kind: fields.kind("as")?,
        who: fields.needed_text("who")?,
        matching: None,
        by: fields.text("by")?,
        reason: fields.text("reason")?.unwrap_or(Cow::Borrowed("")),
        at: fields.moment("at")?,
        until: fields.end("until")?,
        names: NAMES,
    })
}

pub(super) fn write(to: &mut Vec<u8>, ban: &Ban) -> Result<(), &'static str> {
    is_known(&ban.who)?;
    write_row(to, &Row::of(ban)?)
}

/// Whether EMQX has bans of this kind.
pub(super) fn is_known(who: &Who) -> Result<(), &'static str> {
    match who.kind() {
        As::PeerHostRe => return Err("EMQX has no patterns for addresses"),
        As::CertCn | As::CertSha256 | As::TlsJa4 => {
            return Err("EMQX does not ban by certificate or fingerprint");
        }
        _ => {}
    }
    match who.matching() {
        Some(Match::Full) => Err("EMQX's patterns match any part of a name, not the whole"),
        Some(Match::Search) | None => Ok(()),
    }
}

/// A ban as it is written. `until` is always there: some versions of EMQX take its absence for a year.
#[derive(Serialize)]
pub(super) struct Row<'a> {
    r#as: &'static str,
    who: Cow<'a, str>,
    #[serde(rename = "match", skip_serializing_if = "Option::is_none")]
    pub(super) matching: Option<&'static str>,
    by: &'a str,
    reason: &'a str,
    at: String,
    until: String,
}

impl Row<'_> {
    pub(super) fn of(ban: &Ban) -> Result<Row<'_>, &'static str> {
        Ok(Row {
            r#as: ban.who.kind().as_str(),
            who: name(&ban.who),
            matching: None,
            by: &ban.terms.by,
            reason: &ban.terms.reason,
            at: moment::moment(ban.terms.at).ok_or(NO_MOMENT)?,
            until: moment::end(ban.terms.until).ok_or(NO_MOMENT)?,
        })
    }

    /// The values in the order of the columns of a CSV file.
    pub(super) fn columns(&self) -> [&str; 6] {
        [self.r#as, &self.who, self.by, self.reason, &self.at, &self.until]
    }
}

pub(super) fn write_row(to: &mut Vec<u8>, row: &impl Serialize) -> Result<(), &'static str> {
    serde_json::to_writer(to, row).map_err(|_| "it is no JSON")
}

/// Whom a ban names, as text.
pub(super) fn name(who: &Who) -> Cow<'_, str> {
    match who {
        Who::ClientId(name)
        | Who::Username(name)
        | Who::CertCn(name)
        | Who::CertSha256(name)
        | Who::TlsJa4(name) => Cow::Borrowed(name),
        Who::ClientIdRe(pattern) | Who::UsernameRe(pattern) | Who::PeerHostRe(pattern) => {
            Cow::Borrowed(pattern.source())
        }
        Who::PeerHost(_) | Who::PeerHostNet(_) => Cow::Owned(who.to_string()),
    }
}

const KNOWN: [&str; 6] = ["as", "who", "by", "reason", "at", "until"];
const THEY_ARE: &str = "as, who, by, reason, at or until";
