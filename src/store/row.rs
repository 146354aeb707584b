//! A row of the table, and the ban that it is.

use super::error::Short;
use crate::admission::{As, Ban, List, Match, Terms, Timestamp, Until, Who};
use rusqlite::Row;
use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

/// A row that is no ban, or no offence: which one, and what is wrong with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadRow {
    /// The columns of its key: `list`, `as`, `who`. A row of the table of offences has `offences` for its list.
    pub key: [String; 3],
    /// What is wrong with it.
    pub problem: String,
}

impl fmt::Display for BadRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [list, kind, who] = &self.key;
        write!(f, "list {list:?}, as {kind:?}, who {:?}: {}", Short(who), self.problem)
    }
}

/// Why a row does not become a ban.
#[derive(Debug)]
pub(super) enum RowError {
    Bad(BadRow),
    Disk(rusqlite::Error),
}

impl From<rusqlite::Error> for RowError {
    fn from(error: rusqlite::Error) -> RowError {
        RowError::Disk(error)
    }
}

/// The columns of the table, in the order in which [`ban`] reads them.
pub(super) const COLUMNS: &str = r#"list, "as", who, matching, "by", reason, at, until"#;

/// Reads a row of [`COLUMNS`].
pub(super) fn ban(row: &Row<'_>, texts: &mut Texts) -> Result<(List, Ban), RowError> {
    parse(row, texts)
        .map_err(|problem| RowError::Bad(BadRow { key: [0, 1, 2].map(|index| shown(row, index)), problem }))
}

/// A column as an error shows it, whatever is in it.
pub(super) fn shown(row: &Row<'_>, index: usize) -> String {
    match row.get_ref(index) {
        Ok(value) => {
            value.as_bytes().map_or_else(|_| String::new(), |text| String::from_utf8_lossy(text).into())
        }
        Err(_) => String::new(),
    }
}

fn parse(row: &Row<'_>, texts: &mut Texts) -> Result<(List, Ban), String> {
    let list: List = text(row, 0, "list")?.parse().map_err(|error| format!("list {error}"))?;
    let kind: As = text(row, 1, "as")?.parse().map_err(|error| format!("as {error}"))?;
    let who = who(kind, text(row, 2, "who")?, matching(row, 3)?)?;
    if kind.is_pattern() && matching(row, 3)?.is_none() {
        return Err("matching is null; expected search or full".to_owned());
    }
    let until = match row.get::<_, Option<i64>>(7).map_err(|error| format!("until: {error}"))? {
        Some(millis) => Until::Moment(Timestamp::from_millis(millis)),
        None => Until::Infinity,
    };
    let terms = Terms {
        by: texts.shared(text(row, 4, "by")?),
        reason: texts.shared(text(row, 5, "reason")?),
        at: Timestamp::from_millis(row.get(6).map_err(|error| format!("at: {error}"))?),
        until,
    };
    Ok((list, Ban { who, terms }))
}

/// Reads the column `who`.
pub(super) fn who(kind: As, written: &str, matching: Option<Match>) -> Result<Who, String> {
    let who = Who::new(kind, written, matching).map_err(|error| format!("who {error}"))?;
    // Its key would not be found again.
    if *key(&who) != *written {
        return Err(format!("who is written otherwise: expected {:?}", Short(&key(&who))));
    }
    Ok(who)
}

pub(super) fn text<'a>(row: &'a Row<'_>, index: usize, column: &str) -> Result<&'a str, String> {
    let value = row.get_ref(index).map_err(|error| format!("{column}: {error}"))?;
    value.as_str().map_err(|error| format!("{column} is no text: {error}"))
}

pub(super) fn matching(row: &Row<'_>, index: usize) -> Result<Option<Match>, String> {
    let value = row.get_ref(index).map_err(|error| format!("matching: {error}"))?;
    match value.as_str_or_null() {
        Ok(None) => Ok(None),
        Ok(Some("search")) => Ok(Some(Match::Search)),
        Ok(Some("full")) => Ok(Some(Match::Full)),
        Ok(Some(other)) => Err(format!("matching is {:?}; expected search or full", Short(other))),
        Err(error) => Err(format!("matching is no text: {error}")),
    }
}

/// The column `who`: the name's one textual form.
pub(super) fn key(who: &Who) -> Cow<'_, str> {
    match who {
        Who::ClientId(name)
        | Who::Username(name)
        | Who::CertCn(name)
        | Who::CertSha256(name)
        | Who::TlsJa4(name) => Cow::Borrowed(name),
        Who::PeerHost(addr) => Cow::Owned(addr.to_string()),
        Who::PeerHostNet(net) => Cow::Owned(net.to_string()),
        Who::ClientIdRe(pattern) | Who::UsernameRe(pattern) | Who::PeerHostRe(pattern) => {
            Cow::Borrowed(pattern.source())
        }
    }
}

/// The column `matching`.
pub(super) fn matching_of(who: &Who) -> Option<&'static str> {
    who.matching().map(|matching| match matching {
        Match::Search => "search",
        Match::Full => "full",
    })
}

/// The column `until`.
pub(super) fn until_of(until: Until) -> Option<i64> {
    match until {
        Until::Moment(end) => Some(end.as_millis()),
        Until::Infinity => None,
    }
}

/// Texts that many bans share, each kept once.
#[derive(Debug, Default)]
pub(super) struct Texts(HashSet<Arc<str>, foldhash::fast::RandomState>);

impl Texts {
    pub(super) fn shared(&mut self, text: &str) -> Arc<str> {
        if let Some(known) = self.0.get(text) {
            return Arc::clone(known);
        }
        let new: Arc<str> = text.into();
        self.0.insert(Arc::clone(&new));
        new
    }
}
